//! Lists of plugins over several catalogs: by id, searched, and counted by tag and capability.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::plugin_versions::{COLUMNS, USABLE, page_of, record};
use super::repositories::name;
use crate::access::{CatalogScope, SYSTEM_CATALOG};
use crate::meta::{Facets, PAGE_BYTES, Page, PluginQuery, PluginRecord};

/// Where a catalog stands among those that have a plugin of the same id: the system's comes last.
fn place(catalog: &str) -> (bool, &str) {
    (catalog == SYSTEM_CATALOG, catalog)
}

/// Each catalog is read from its own place in the index, at most a page of it.
pub(super) fn list(db: &Connection, query: &PluginQuery) -> rusqlite::Result<Page<PluginRecord>> {
    let mut found = Vec::new();
    for scope in &query.scopes {
        list_in(db, query, scope, &mut found)?;
    }
    found.sort_by(|left: &PluginRecord, right| {
        let (left, right) = (&left.repository, &right.repository);
        let ids = left.without_catalog().cmp(right.without_catalog());
        ids.then_with(|| place(left.catalog()).cmp(&place(right.catalog())))
    });
    // A catalog that was read to the bytes of a page has more of them than are left here.
    Ok(page_of(found, query.limit))
}

/// A condition, and the values of its parameters in their order.
#[derive(Default)]
pub(super) struct Sql {
    pub(super) text: String,
    values: Vec<Value>,
}

impl Sql {
    /// Adds a piece with a `?` for each of the values.
    fn add(&mut self, text: &str, values: impl IntoIterator<Item = String>) {
        self.text.push_str(text);
        self.values.extend(values.into_iter().map(Value::Text));
    }
}

/// What a query asks of a plugin `p`, but for its catalog.
fn conditions(query: &PluginQuery, sql: &mut Sql) {
    if !query.with_disabled && query.channel.is_none() {
        sql.add(" AND p.listed = 1", []);
    }
    for word in &query.words {
        sql.add(" AND instr(p.search, ?) > 0", [word.clone()]);
    }
    for (kind, value) in [("tag", &query.tag), ("capability", &query.capability)] {
        if let Some(value) = value {
            sql.add(
                " AND EXISTS (SELECT 1 FROM plugin_facets AS f WHERE f.catalog = p.catalog AND f.kind = ?
                  AND f.value = ? AND f.pid = p.pid)",
                [kind.to_owned(), value.clone()],
            );
        }
    }
}

/// What reads the plugins of one catalog in their order.
pub(super) fn statement(query: &PluginQuery, scope: &CatalogScope) -> Sql {
    let mut sql = Sql::default();
    // From what is rarest: the plugins of a capability or a tag, else all of the catalog.
    let rare = query.capability.as_ref().map(|value| ("capability", value));
    let rare = rare.or(query.tag.as_ref().map(|value| ("tag", value)));
    let (ids, order) = match rare {
        Some((kind, value)) => {
            sql.add(
                "plugin_facets AS o CROSS JOIN plugins AS p ON p.catalog = o.catalog AND p.pid = o.pid
                 CROSS JOIN ",
                [],
            );
            (Some((kind, value)), "o.pid")
        }
        None => {
            sql.add("plugins AS p CROSS JOIN ", []);
            (None, "p.pid")
        }
    };
    match &query.channel {
        Some(channel) => sql.add(
            &format!(
                "tags AS t ON t.repository = p.repository AND t.tag = ?
                 CROSS JOIN plugin_versions AS v ON v.repository = t.repository AND v.manifest = t.manifest
                     {USABLE}"
            ),
            [channel.as_str().to_owned()],
        ),
        None => sql.add("plugin_versions AS v ON v.id = p.shown", []),
    }
    sql.add(
        " CROSS JOIN packages AS k ON k.id = v.package CROSS JOIN repositories AS r ON r.id = v.repository",
        [],
    );
    match ids {
        Some((kind, value)) => {
            let values = [scope.catalog.clone(), kind.to_owned(), value.clone()];
            sql.add(" WHERE o.catalog = ? AND o.kind = ? AND o.value = ?", values);
        }
        None => sql.add(" WHERE p.catalog = ?", [scope.catalog.clone()]),
    }
    if let Some((pid, catalog)) = &query.after {
        // Of the same id, this catalog comes only if it stands behind that one.
        let behind = if place(&scope.catalog) > place(catalog) { ">=" } else { ">" };
        sql.add(&format!(" AND {order} {behind} ?"), [pid.clone()]);
    }
    conditions(query, &mut sql);
    sql.text = format!("SELECT {COLUMNS} FROM {} ORDER BY {order}", sql.text);
    sql
}

fn list_in(
    db: &Connection,
    query: &PluginQuery,
    scope: &CatalogScope,
    found: &mut Vec<PluginRecord>,
) -> rusqlite::Result<()> {
    let sql = statement(query, scope);
    let mut statement = db.prepare_cached(&sql.text)?;
    let mut rows = statement.query(params_from_iter(sql.values))?;
    let full = found.len().saturating_add(query.limit).saturating_add(1);
    let mut bytes = 0;
    while found.len() < full
        && bytes <= PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let record = record(row)?;
        if scope.admits(&record.repository) {
            bytes += record.metadata.len();
            found.push(record);
        }
    }
    Ok(())
}

pub(super) fn facets(db: &Connection, query: &PluginQuery) -> rusqlite::Result<Facets> {
    let mut counted = Counts::default();
    for scope in &query.scopes {
        count_in(db, query, scope, &mut counted)?;
    }
    Ok(Facets {
        tags: sorted(counted.tags),
        capabilities: sorted(counted.capabilities),
        catalogs: sorted(counted.catalogs),
    })
}

#[derive(Default)]
struct Counts {
    tags: std::collections::HashMap<String, u64>,
    capabilities: std::collections::HashMap<String, u64>,
    catalogs: std::collections::HashMap<String, u64>,
}

/// Most first, and those of the same number by name.
fn sorted(counts: std::collections::HashMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    counts
}

fn count_in(
    db: &Connection,
    query: &PluginQuery,
    scope: &CatalogScope,
    counts: &mut Counts,
) -> rusqlite::Result<()> {
    let mut sql = Sql::default();
    sql.add("FROM plugins AS p WHERE p.catalog = ?", [scope.catalog.clone()]);
    conditions(query, &mut sql);
    if let Some(channel) = &query.channel {
        let leads = format!(
            " AND EXISTS (SELECT 1 FROM tags AS t JOIN plugin_versions AS v
              ON v.repository = t.repository AND v.manifest = t.manifest
              WHERE t.repository = p.repository AND t.tag = ? {USABLE})"
        );
        sql.add(&leads, [channel.as_str().to_owned()]);
    }
    let PluginQuery { words, tag, capability, channel, .. } = query;
    let unasked = words.is_empty() && tag.is_none() && capability.is_none() && channel.is_none();
    if scope.only.is_none() && unasked {
        // The counts of everything come out of the index alone.
        let listed = if query.with_disabled { "" } else { "AND listed = 1" };
        let mut all = db.prepare_cached(&format!(
            "SELECT kind, value, count(*) FROM plugin_facets WHERE catalog = ?1 {listed} GROUP BY kind, value"
        ))?;
        let mut rows = all.query((&scope.catalog,))?;
        while let Some(row) = rows.next()? {
            counts.add(&row.get::<_, String>(0)?, row.get(1)?, row.get(2)?);
        }
        let text = format!("SELECT count(*) {}", sql.text);
        let count = db.prepare_cached(&text)?.query_row(params_from_iter(sql.values), |row| row.get(0))?;
        counts.add("catalog", scope.catalog.clone(), count);
        return Ok(());
    }
    let mut of_plugin =
        db.prepare_cached("SELECT kind, value FROM plugin_facets WHERE catalog = ?1 AND pid = ?2")?;
    let mut statement = db.prepare_cached(&format!("SELECT p.pid {}", sql.text))?;
    let mut rows = statement.query(params_from_iter(sql.values))?;
    while let Some(row) = rows.next()? {
        let pid: String = row.get(0)?;
        if scope.only.is_some() && !scope.admits(&name(&format!("{}/{pid}", scope.catalog))?) {
            continue;
        }
        counts.add("catalog", scope.catalog.clone(), 1);
        let mut facets = of_plugin.query((&scope.catalog, &pid))?;
        while let Some(row) = facets.next()? {
            counts.add(&row.get::<_, String>(0)?, row.get(1)?, 1);
        }
    }
    Ok(())
}

impl Counts {
    fn add(&mut self, kind: &str, value: String, count: u64) {
        let counts = match kind {
            "tag" => &mut self.tags,
            "capability" => &mut self.capabilities,
            _ => &mut self.catalogs,
        };
        if count > 0 {
            *counts.entry(value).or_default() += count;
        }
    }
}
