//! Databases that earlier versions made, opened by this one.

use std::fs;
use std::path::Path;
use std::process::Command;

use quire::digest::Sha256;
use quire::meta::sqlite::{SqliteCounters, SqliteMeta};
use quire::meta::{MetaStore, PluginStore};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::attacks::{denied, index, rule, target};
use crate::harness::package::{Package, artifact};
use crate::harness::store::has_no_file;
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
    if has_no_file("it is about a SQLite file of an earlier version") {
        return;
    }
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

/// What is kept of a database's events.
fn events(database: &Connection) -> Vec<Vec<rusqlite::types::Value>> {
    let mut statement = database
        .prepare(
            "SELECT catalog, sequence, kind, repository, tag, digest, previous, actor, at FROM events
             ORDER BY catalog, sequence",
        )
        .expect("a statement");
    let rows = statement.query_map((), |row| (0..9).map(|column| row.get(column)).collect());
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// Indices and triggers of the events.
fn guards(database: &Connection) -> Vec<String> {
    let mut statement = database
        .prepare("SELECT sql FROM sqlite_schema WHERE tbl_name = 'events' AND type <> 'table' ORDER BY name")
        .expect("a statement");
    let rows = statement.query_map((), |row| row.get(0)).expect("rows");
    rows.filter_map(|row| row.expect("a row")).collect()
}

/// Plugins that came in before their packages were read: their tags stay what they are, and one that is pushed
/// again is a plugin from then on.
#[tokio::test]
async fn plugins_of_version_2_go_on() {
    if has_no_file("it is about a SQLite file of an earlier version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let one = include_str!("../../migrations/sqlite/0001_registry.sql");
    let two = include_str!("../../migrations/sqlite/0002_access.sql");
    let old = database(&data, &[(1, "registry", one), (2, "access", two)]);
    old.execute_batch(
        "INSERT INTO catalogs (id, name, sequence, created_at) VALUES ('legacy', 'Legacy', 6, 77);
         INSERT INTO catalog_usage VALUES ('legacy', 1000, 2);",
    )
    .expect("a catalog");
    let (real, fake) = ("legacy/com.acme.real", "legacy/com.acme.fake");
    let good = Package::new("com.acme.real", "1.0").bytes();
    let (bad, config) = (b"no zip".to_vec(), store(&data, b"{}"));
    let mut manifests = Vec::new();
    for (id, name, bytes) in [(1, real, &good), (2, fake, &bad)] {
        let (manifest, layer) = (artifact(bytes).to_string(), store(&data, bytes));
        let digest = store(&data, manifest.as_bytes());
        old.execute("INSERT INTO repositories VALUES (?1, 'legacy', ?2, 77)", (id, name)).expect("a row");
        for (blob, size) in [(config, 2), (layer, bytes.len())] {
            let link = "INSERT INTO blob_links VALUES (?1, 'legacy', ?2, NULL, ?3, 77)";
            old.execute(link, (id, blob.0, size)).expect("a link");
        }
        old.execute(
            "INSERT INTO manifests VALUES (?1, 'legacy', ?2, NULL, ?3, 'application/vnd.oci.image.manifest.v1+json',
                 'application/vnd.quire.plugin.v1', NULL, '{}', 77)",
            (id, digest.0, manifest.len()),
        )
        .expect("a manifest");
        for target in [config, layer] {
            old.execute(
                "INSERT INTO manifest_references VALUES (?1, ?2, ?3, 'blob')",
                (id, digest.0, target.0),
            )
            .expect("a reference");
        }
        for (sequence, tag) in [(1, "1.0"), (2, "latest"), (3, "stable")] {
            old.execute("INSERT INTO tags VALUES (?1, ?2, ?3, 77)", (id, tag, digest.0)).expect("a tag");
            old.execute(
                "INSERT INTO events VALUES ('legacy', ?1, 'tag_set', ?2, ?3, ?4, NULL, 'admin', 77)",
                (sequence + 3 * (id - 1), name, tag, digest.0),
            )
            .expect("an event");
        }
        manifests.push(digest);
    }
    old.execute("INSERT INTO tombstones VALUES (2, '0.9', ?1, 1, 77)", (manifests[1].0,))
        .expect("a tombstone");
    let before = (events(&old), guards(&old));
    assert_eq!((before.0.len(), before.1.len()), (6, 4));
    drop(old);

    let mut server = Server::start_in(folder.path(), &[]);
    let now = Connection::open(data.join("quire.db")).expect("a database");
    assert_eq!((events(&now), guards(&now)), before, "the log is rebuilt as it was");
    for statement in [
        "UPDATE events SET actor = 'other'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE sequence = 1",
    ] {
        let error = now.execute(statement, ()).expect_err("a refusal").to_string();
        assert!(error.contains("append-only"), "{error}");
    }
    let broken: i64 = now
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", (), |row| row.get(0))
        .expect("a check");
    assert_eq!(broken, 0);
    drop(now);

    let admin = server.admin();
    for (place, name) in [(0, real), (1, fake)] {
        for tag in ["1.0", "latest", "stable"] {
            assert_eq!(target(&server, name, tag).await, manifests[place].to_string(), "{name}:{tag}");
        }
        let pid = name.strip_prefix("legacy/").expect("a name");
        let other = Package::new(pid, "1.0").file("other", "").bytes();
        let answer = admin.push_plugin(name, "1.0", &other).await;
        assert_eq!(denied(&answer), rule(403, "version_immutable"), "{name}");
        assert_eq!(denied(&admin.put_manifest(name, "1.0", &index(1)).await), rule(403, "version_immutable"));
    }
    let buried = Package::new("com.acme.fake", "0.9").bytes();
    let answer = admin.push_plugin(fake, "0.9", &buried).await;
    assert_eq!(denied(&answer), rule(403, "version_immutable"), "a tombstone");
    // What can't be read stays, and does not come in again.
    let again = admin.put_manifest(fake, "1.0", &artifact(&bad)).await;
    assert_eq!(again.refusal(), (400, "MANIFEST_INVALID".to_owned()));
    assert_eq!(admin.put_manifest(real, "1.0", &artifact(&good)).await.status, 201);
    let newer = Package::new("com.acme.fake", "2.0").bytes();
    assert_eq!(admin.push_plugin(fake, "2.0", &newer).await.status, 201);
    assert_eq!(target(&server, real, "latest").await, manifests[0].to_string());
    assert_eq!(
        target(&server, fake, "latest").await,
        Sha256::of(artifact(&newer).to_string().as_bytes()).to_string()
    );
    assert_eq!(target(&server, fake, "1.0").await, manifests[1].to_string());
    server.terminate();
    assert!(server.wait());

    let meta = SqliteMeta::open(&data.join("quire.db"), SqliteCounters::noop()).await.expect("a store");
    for (name, expected) in [(real, vec!["1.0"]), (fake, vec!["2.0"])] {
        let name = name.parse().expect("a name");
        let versions = meta.plugin_versions(&name, None, 9).await.expect("versions").items;
        assert_eq!(versions.iter().map(|record| record.version.as_str()).collect::<Vec<_>>(), expected);
        assert!(versions[0].is_latest && versions[0].package_size > 0);
    }
    let told = meta.events("legacy", 0, 99).await.expect("events");
    let numbers: Vec<u64> = told.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..=told.len() as u64).collect::<Vec<_>>());
    assert_eq!(told.len(), 9, "a manifest, its version, and latest of the plugin that has a new one");
}

/// A database keeps the hash of every step that made it, and is refused when a step is another.
#[test]
fn released_steps_are_never_changed() {
    for (step, released) in [
        (
            include_str!("../../migrations/sqlite/0001_registry.sql"),
            "ac5eb96223c83ec3557e7bffc5b65e6f60dee23ab9569c5300d0369c5eb5fc53",
        ),
        (
            include_str!("../../migrations/sqlite/0002_access.sql"),
            "0adf8f4781992657be7a2191b5764b85adc2ed9b4aaf9f56b5581de6828ba6f2",
        ),
        (
            include_str!("../../migrations/sqlite/0003_plugins.sql"),
            "0f211f2a104e399870e838b18fbf645a6b7079b3e066c50f978e7b44806cad76",
        ),
    ] {
        assert_eq!(Sha256::of(step.as_bytes()).hex(), released, "add a step in place of changing one");
    }
}

/// Steps of a newer program are no obstacle as long as that one said so, and neither is a rollback to this one.
#[tokio::test]
async fn sqlite_goes_on_beside_newer_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quire.db");
    let open = || SqliteMeta::open(&path, SqliteCounters::noop());
    drop(open().await.expect("a store"));
    let later = Connection::open(&path).expect("a database");
    let add = |version: i64, oldest: &str| {
        later
            .execute("INSERT INTO schema_migrations VALUES (?1, 'later', 'hash', 0)", (version,))
            .and_then(|_| later.execute("INSERT INTO schema_programs VALUES (?1, ?2)", (version, oldest)))
            .expect("rows")
    };
    add(900, env!("CARGO_PKG_VERSION"));
    open().await.expect("a store that a newer program expanded").probe().await.expect("an answer");
    add(901, "77.0.1");
    add(902, "77.0.0");
    let error = open().await.err().expect("a refusal").to_string();
    assert!(error.contains("(step 901) for quire 77.0.1"), "{error}");
    assert!(error.contains("use 77.0.1 or newer"), "{error}");
}

/// The command looks without a trace, keeps off a file that is served, and runs what is pending.
#[test]
fn migrations_are_checked_and_applied_by_a_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let told = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
        command.arg("migrate").args(arguments).arg("--data").arg(&data).env("QUIRE_LOG", "warn");
        let done = command.output().expect("quire");
        let said = String::from_utf8([done.stdout, done.stderr].concat()).expect("a text");
        (done.status.code(), said)
    };
    let (code, pending) = told(&["--check"]);
    assert_eq!(code, Some(1), "{pending}");
    assert!(pending.starts_with("pending 1 registry\npending 2 access\n"), "{pending}");
    assert!(!data.exists(), "a check makes nothing");

    let three = [
        (1, "registry", include_str!("../../migrations/sqlite/0001_registry.sql")),
        (2, "access", include_str!("../../migrations/sqlite/0002_access.sql")),
        (3, "plugins", include_str!("../../migrations/sqlite/0003_plugins.sql")),
    ];
    drop(database(&data, &three));
    let (code, pending) = told(&["--check"]);
    assert_eq!(code, Some(1), "{pending}");
    assert!(pending.starts_with("pending 4 programs\n"), "{pending}");
    let (code, ran) = told(&["--apply"]);
    assert_eq!((code, ran), (Some(0), pending.replace("pending", "ran")));
    assert_eq!(told(&["--check"]), (Some(0), "nothing is pending\n".to_owned()));

    if has_no_file("the server uses another store") {
        return;
    }
    let server = Server::start_in(folder.path(), &[]);
    let (code, refused) = told(&["--apply"]);
    assert_eq!(code, Some(2), "{refused}");
    assert!(refused.contains("another quire is using this folder"), "{refused}");
    assert_eq!(told(&["--check"]).0, Some(0), "looking is no harm");
    drop(server);
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
