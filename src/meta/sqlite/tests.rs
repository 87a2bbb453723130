//! Plans of the statements about plugins: what is asked often finds its rows by an index, and is not sorted.

use rusqlite::Connection;

use super::{MIGRATIONS, blocks, plugin_lists, plugin_versions};
use crate::access::CatalogScope;
use crate::meta::PluginQuery;

fn plan(database: &Connection, statement: &str) -> Vec<String> {
    let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    // Its parameters are left open.
    let rows = plan.raw_query().mapped(|row| row.get(3));
    rows.map(Result::unwrap).collect()
}

#[test]
fn statements_about_plugins_have_their_index() {
    let database = Connection::open_in_memory().unwrap();
    for step in MIGRATIONS {
        database.execute_batch(step.sql).unwrap();
    }
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
