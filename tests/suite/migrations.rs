//! Databases that earlier versions made, opened by this one.

use std::fs;
use std::path::Path;

use quire::digest::Sha256;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Server, image};

/// Runs the released steps up to a version, as the program of that version did.
fn database(folder: &Path, steps: &[(i64, &str, &str)]) -> Connection {
    fs::create_dir_all(folder).expect("a folder");
    let database = Connection::open(folder.join("quire.db")).expect("a database");
    let table = "CREATE TABLE schema_migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,
         sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT";
    database.execute_batch(table).expect("a table");
    for (version, name, sql) in steps {
        database.execute_batch(sql).expect("a step");
        database
            .execute(
                "INSERT INTO schema_migrations VALUES (?1, ?2, ?3, 0)",
                (version, name, Sha256::of(sql.as_bytes()).hex()),
            )
            .expect("a row");
    }
    database
}

fn store(folder: &Path, bytes: &[u8]) -> Sha256 {
    let digest = Sha256::of(bytes);
    let hex = digest.hex();
    let path = folder.join("blobs/sha256").join(&hex[..2]);
    fs::create_dir_all(&path).expect("a folder");
    fs::write(path.join(hex), bytes).expect("a blob");
    digest
}

/// Catalogs that a push made become organisations, with what they hold counted.
#[tokio::test]
async fn catalogs_of_version_1_become_organisations() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let one = include_str!("../../migrations/sqlite/0001_registry.sql");
    let old = database(&data, &[(1, "registry", one)]);
    let (config, layer) = (store(&data, b"{}"), store(&data, b"a layer"));
    let manifest = image(&config.to_string(), 2, &[(&layer.to_string(), 7)]).to_string();
    let digest = store(&data, manifest.as_bytes());
    for (id, catalog, name) in
        [(1, "legacy", "legacy/tool"), (2, "legacy", "legacy/copy"), (3, "bare", "bare/x")]
    {
        old.execute(
            "INSERT OR IGNORE INTO catalogs (id, sequence, created_at) VALUES (?1, 0, 77)",
            (catalog,),
        )
        .expect("a catalog");
        old.execute("INSERT INTO repositories VALUES (?1, ?2, ?3, 77)", (id, catalog, name))
            .expect("a repository");
        let link = "INSERT INTO blob_links VALUES (?1, ?2, ?3, NULL, ?4, 77)";
        old.execute(link, (id, catalog, config.0, 2)).expect("a link");
        if catalog == "bare" {
            continue;
        }
        old.execute(link, (id, catalog, layer.0, 7)).expect("a link");
        old.execute(
            "INSERT INTO manifests VALUES (?1, ?2, ?3, NULL, ?4, 'application/vnd.oci.image.manifest.v1+json',
                 NULL, NULL, '{}', 77)",
            (id, catalog, digest.0, manifest.len()),
        )
        .expect("a manifest");
        for target in [config, layer] {
            old.execute(
                "INSERT INTO manifest_references VALUES (?1, ?2, ?3, 'blob')",
                (id, digest.0, target.0),
            )
            .expect("a reference");
        }
        old.execute("INSERT INTO tags VALUES (?1, 'v1', ?2, 77)", (id, digest.0)).expect("a tag");
        old.execute(
            "INSERT INTO events VALUES ('legacy', ?1, 'tag_set', ?2, 'v1', ?3, NULL, 'admin', 77)",
            (id, name, digest.0),
        )
        .expect("an event");
        old.execute("UPDATE catalogs SET sequence = ?1 WHERE id = 'legacy'", (id,)).expect("a sequence");
    }
    drop(old);

    let server = Server::start_in(folder.path(), &[]);
    let admin = server.admin();
    let shown = |organisation: &Value| {
        json!([organisation["id"], organisation["name"], organisation["usage"], organisation["created_at"]])
    };
    for (id, bytes, repositories) in [("legacy", 9 + manifest.len(), 2), ("bare", 2, 1)] {
        let found = admin.get(&format!("/api/orgs/{id}")).await;
        let usage = json!({"bytes": bytes, "repositories": repositories});
        assert_eq!(shown(&found.json()), json!([id, id, usage, "1970-01-01T00:00:00.077Z"]));
    }
    assert_eq!(admin.get("/api/orgs/system").await.status, 404, "a catalog, and no organisation");
    let pulled = admin.get("/v2/legacy/tool/manifests/v1").await;
    assert_eq!(pulled.body, manifest.as_bytes());
    let history = admin.get("/v2/legacy/tool/_quire/tags/v1/history").await.json();
    assert_eq!(history["history"][0]["digest"], digest.to_string());

    // And they go on: with roles, new pushes, and the sequence where it was.
    let publisher = server.caller(&[("legacy", "publisher")]).await;
    publisher.push_artifact("legacy/tool", "v2", "another layer").await;
    admin.push_artifact("system/tool", "v1", "a layer").await;
    let history = publisher.get("/v2/legacy/tool/_quire/tags/v2/history").await.json();
    assert_eq!(history["history"][0]["sequence"], 4, "the push of the manifest is the third");
    let denied = publisher.get("/v2/bare/x/tags/list").await;
    assert_eq!(denied.refusal(), (403, "DENIED".to_owned()));
}

/// Each catalog is counted in one pass over the links, however many catalogs there are.
#[test]
fn counting_does_not_grow_with_the_product() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = include_str!("../../migrations/sqlite/0001_registry.sql");
    let two = include_str!("../../migrations/sqlite/0002_access.sql");
    let old = database(folder.path(), &[(1, "registry", one)]);
    let start = two.find("INSERT INTO catalog_usage").expect("the counting");
    let end = start + two[start..].find(';').expect("its end");
    let before = &two[..start];
    old.execute_batch(before).expect("what comes before");
    let mut plan = old.prepare(&format!("EXPLAIN QUERY PLAN {}", &two[start..end])).expect("a plan");
    let steps: Vec<String> =
        plan.query_map((), |row| row.get(3)).expect("rows").map(|row| row.expect("a row")).collect();
    assert!(steps.iter().all(|step| !step.contains("CORRELATED")), "{steps:#?}");
    assert!(steps.iter().filter(|step| step.starts_with("SCAN blob_links")).count() == 1, "{steps:#?}");
}
