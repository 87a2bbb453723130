//! Plans of statements: what is asked often finds its rows by an index, and is not sorted.

use rusqlite::Connection;

use super::migrations::MIGRATIONS;
use super::{blocks, digests, plugin_lists, plugin_versions};
use crate::access::CatalogScope;
use crate::meta::PluginQuery;

fn plan(database: &Connection, statement: &str) -> Vec<String> {
    let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    // Its parameters are left open.
    let rows = plan.raw_query().mapped(|row| row.get(3));
    rows.map(Result::unwrap).collect()
}

fn empty_database() -> Connection {
    let database = Connection::open_in_memory().unwrap();
    for step in MIGRATIONS {
        database.execute_batch(step.sql).unwrap();
    }
    database
}

/// A list of digests goes from one to the next, and what tells whether one is hot starts at that digest.
#[test]
fn lists_of_digests_have_their_index() {
    let database = empty_database();
    for (statement, indexes) in [
        (digests::NEXT_BLOB, &["blob_links USING INDEX blob_links_by_sha256 (sha256>?)"][..]),
        (digests::NEXT_MANIFEST, &["manifests USING INDEX manifests_by_sha256 (sha256>?)"]),
        (
            digests::IS_TAGGED,
            &[
                "m USING COVERING INDEX manifests_by_sha256 (sha256=?)",
                "t USING COVERING INDEX tags_by_manifest (repository=? AND manifest=?)",
            ],
        ),
        (
            digests::IS_REFERRED_TO,
            &[
                "blob_links USING COVERING INDEX blob_links_by_sha256 (sha256=?)",
                "manifests USING COVERING INDEX manifests_by_sha256 (sha256=?)",
                "r USING COVERING INDEX manifest_references_by_target (repository=? AND target=?)",
                "t USING COVERING INDEX tags_by_manifest (repository=? AND manifest=?)",
            ],
        ),
        (
            digests::IS_REACHED,
            &[
                "blob_links USING COVERING INDEX blob_links_by_sha256 (sha256=?)",
                "manifests USING COVERING INDEX manifests_by_sha256 (sha256=?)",
                "r USING COVERING INDEX manifest_references_by_target (repository=? AND target=?)",
                "t USING COVERING INDEX tags_by_manifest (repository=? AND manifest=?)",
            ],
        ),
    ] {
        let plan = plan(&database, statement);
        for index in indexes {
            assert!(plan.contains(&format!("SEARCH {index}")), "{index}: {statement}\n{plan:#?}");
        }
        // The only things gone through are what the statement itself has found.
        let scans = plan.iter().filter(|step| step.starts_with("SCAN"));
        let strange: Vec<_> =
            scans.filter(|step| !["SCAN holding", "SCAN above"].contains(&step.as_str())).collect();
        assert!(strange.is_empty(), "{statement}\n{plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("FOR ORDER BY")), "{statement}\n{plan:#?}");
    }
}

#[test]
fn statements_about_plugins_have_their_index() {
    let database = empty_database();
    let all = PluginQuery { limit: 9, ..PluginQuery::default() };
    let after = || Some(("com.acme.tool".to_owned(), "system".to_owned()));
    let list = |query: PluginQuery| plugin_lists::statement(&query, &CatalogScope::whole("a")).text;
    let words = vec!["mail".to_owned()];
    let capability = Some("mail".to_owned());
    let channel: Option<crate::name::Tag> = "stable".parse().ok();
    for (index, statement) in [
        ("p USING INDEX plugins_listed (catalog=?)", list(all.clone())),
        (
            "p USING INDEX plugins_listed (catalog=? AND pid>?)",
            list(PluginQuery { after: after(), ..all.clone() }),
        ),
        ("p USING INDEX plugins_listed (catalog=?)", list(PluginQuery { words, ..all.clone() })),
        (
            "p USING INDEX plugins_by_pid (catalog=? AND pid>?)",
            list(PluginQuery { after: after(), with_disabled: true, ..all.clone() }),
        ),
        (
            "o USING PRIMARY KEY (catalog=? AND kind=? AND value=? AND pid>?)",
            list(PluginQuery { after: after(), capability: capability.clone(), ..all.clone() }),
        ),
        (
            "o USING PRIMARY KEY (catalog=? AND kind=? AND value=?)",
            list(PluginQuery { tag: Some("beta".into()), with_disabled: true, ..all.clone() }),
        ),
        (
            "f EXISTS USING COVERING INDEX plugin_facets_by_pid (catalog=? AND pid=? AND kind=? AND value=?)",
            list(PluginQuery { tag: Some("beta".into()), capability, ..all.clone() }),
        ),
        ("t USING PRIMARY KEY (repository=? AND tag=?)", list(PluginQuery { channel, ..all })),
        ("v USING PRIMARY KEY (id=?)", plugin_versions::select(plugin_versions::BY_ID)),
        ("v USING PRIMARY KEY (id=?)", plugin_versions::select(plugin_versions::SHOWN)),
        (
            "v USING INDEX plugin_versions_by_precedence (repository=? AND precedence=?)",
            plugin_versions::select(plugin_versions::BY_VERSION),
        ),
        (
            "v USING INDEX plugin_versions_by_manifest (manifest=? AND repository=?)",
            plugin_versions::select(plugin_versions::BY_CHANNEL),
        ),
        (
            "v USING INDEX plugin_versions_by_precedence (repository=? AND precedence<?)",
            plugin_versions::select(plugin_versions::PAGE),
        ),
        (
            "v USING INDEX plugin_versions_usable (repository=?)",
            plugin_versions::select_highest(plugin_versions::USABLE),
        ),
        ("d USING PRIMARY KEY (sha256=?)", blocks::REASON.to_owned()),
        ("v USING INDEX plugin_versions_by_manifest (manifest=?)", blocks::VERSIONS.to_owned()),
        ("f USING COVERING INDEX package_files_by_sha256 (sha256=?)", blocks::FALLS.to_owned()),
        ("v USING INDEX plugin_versions_by_package (package=?)", blocks::FALLS.to_owned()),
    ] {
        let plan = plan(&database, &statement);
        assert!(
            plan.iter().any(|step| *step == format!("SEARCH {index}")),
            "{index}: {statement}\n{plan:#?}"
        );
        // What falls with a digest is gathered first, and put together from there.
        let gathers = statement == blocks::FALLS;
        let expensive = |step: &&String| match step.as_str() {
            "SCAN hit" | "SCAN CONSTANT ROW" => !gathers,
            step => step.starts_with("SCAN") || step.contains("TEMP B-TREE") && !gathers,
        };
        assert_eq!(plan.iter().find(expensive), None, "{statement}\n{plan:#?}");
    }
}
