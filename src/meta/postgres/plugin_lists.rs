//! Lists of plugins over several catalogs: by id, searched, and counted by tag and capability.

use tokio_postgres::types::ToSql;

use super::db::Db;
use super::failure::Result;
use super::plugin_versions::{USABLE, columns, page_of, record, within_bytes};
use super::rows::{before_nul, most, text, texts, unsigned};
use super::scopes::pattern;
use crate::access::{CatalogScope, SYSTEM_CATALOG};
use crate::meta::{Facets, PAGE_BYTES, Page, PluginQuery, PluginRecord};

/// Where a catalog stands among those that have a plugin of the same id: the system's comes last.
fn place(catalog: &str) -> (bool, &str) {
    (catalog == SYSTEM_CATALOG, catalog)
}

/// A statement and the values of its parameters. Its text depends on what is asked for, and never on the values,
/// so that few statements are prepared.
pub(super) struct Asked<'a> {
    pub text: String,
    values: Vec<Box<dyn ToSql + Send + Sync + 'a>>,
}

impl<'a> Asked<'a> {
    fn new() -> Self {
        Self { text: String::new(), values: Vec::new() }
    }

    /// Takes a value, and gives the name of its parameter.
    fn bind(&mut self, value: impl ToSql + Send + Sync + 'a) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    pub(super) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }

    /// The rows of scopes: a catalog, what its names have to match, and the first id that is wanted.
    fn scopes(&mut self, query: &'a PluginQuery) -> String {
        let catalogs: Vec<_> = query.scopes.iter().map(|scope| text(&scope.catalog)).collect();
        let patterns: Vec<Option<String>> = query.scopes.iter().map(pattern).collect();
        let from: Vec<String> = query.scopes.iter().map(|scope| first_id(query, scope)).collect();
        let (catalogs, patterns, from) = (self.bind(catalogs), self.bind(patterns), self.bind(from));
        format!(
            "unnest({catalogs}::text[], {patterns}::text[], {from}::text[]) AS scope (catalog, pattern, first_id)"
        )
    }

    /// What a query asks of a plugin `p`, but for its catalog. What is not asked for stands not here either: PostgreSQL
    /// would think that few rows are found, and read them all.
    fn conditions(&mut self, query: &'a PluginQuery) -> String {
        let mut conditions = String::new();
        if query.scopes.iter().any(|scope| scope.only.is_some()) {
            let matched = " AND (scope.pattern IS NULL OR p.catalog || '/' || p.pid ~ scope.pattern)";
            conditions.push_str(matched);
        }
        if !query.with_disabled && query.channel.is_none() {
            conditions.push_str(" AND p.listed");
        }
        if !query.words.is_empty() {
            let words = self.bind(texts(&query.words));
            conditions.push_str(&format!(
                " AND NOT EXISTS (SELECT 1 FROM unnest({words}::text[]) AS word WHERE strpos(p.search, word) = 0)"
            ));
        }
        for (kind, value) in [("tag", &query.tag), ("capability", &query.capability)] {
            if let Some(value) = value {
                let value = self.bind(text(value));
                conditions.push_str(&format!(
                    " AND EXISTS (SELECT 1 FROM plugin_facets AS f WHERE f.catalog = p.catalog
                      AND f.kind = '{kind}' AND f.value = {value} AND f.pid = p.pid)"
                ));
            }
        }
        conditions
    }
}

/// The first id of a catalog that comes behind where the page before ended.
fn first_id(query: &PluginQuery, scope: &CatalogScope) -> String {
    match &query.after {
        None => String::new(),
        // Of the same id, this catalog comes only if it stands behind that one.
        Some((id, catalog)) if place(&scope.catalog) > place(catalog) => before_nul(id).to_owned(),
        // No name holds a character as low as '!', so that nothing is between.
        Some((id, _)) => format!("{}!", before_nul(id)),
    }
}

/// What is told of the plugins of a page, with `page` their keys. Each is looked up by itself: PostgreSQL would rather
/// read tables as a whole, as it does not know how few are asked for.
const OF_PAGE: &str = concat!(
    "SELECT ",
    columns!("page.catalog || '/' || page.pid", "v.metadata", "page.listed AND page.shown = v.id"),
    ", page.pid, page.of_system, page.catalog
     FROM plugin_versions AS v JOIN packages AS k ON k.id = v.package WHERE v.id = page.version OFFSET 0"
);

/// What reads a page of plugins, each catalog in order from its own place in the index.
pub(super) fn statement(query: &PluginQuery) -> Asked<'_> {
    let mut asked = Asked::new();
    let scopes = asked.scopes(query);
    // From what is rarest: the plugins of a capability or a tag, else all of the catalog.
    let rare = query.capability.as_ref().map(|value| ("capability", value));
    let rare = rare.or(query.tag.as_ref().map(|value| ("tag", value)));
    let (mut from, ids) = match rare {
        Some((kind, value)) => {
            let value = asked.bind(text(value));
            let from = format!(
                "(SELECT o.catalog, o.pid FROM plugin_facets AS o WHERE o.kind = '{kind}' AND o.value = {value}) AS o
                 CROSS JOIN LATERAL
                 (SELECT * FROM plugins WHERE catalog = o.catalog AND pid = o.pid OFFSET 0) AS p"
            );
            (from, "o")
        }
        None => ("plugins AS p".to_owned(), "p"),
    };
    let mut version = "p.shown";
    if let Some(channel) = &query.channel {
        let channel = asked.bind(channel);
        version = "v.id";
        from.push_str(&format!(
            " CROSS JOIN LATERAL
             (SELECT v.id FROM tags AS t JOIN plugin_versions AS v
                  ON v.repository = t.repository AND v.manifest = t.manifest {USABLE}
              WHERE t.repository = p.repository AND t.tag = {channel} OFFSET 0) AS v"
        ));
    }
    let conditions = asked.conditions(query);
    let limit = asked.bind(most(query.limit.saturating_add(1)));
    let in_catalog = format!(
        "SELECT p.pid, p.catalog = '{SYSTEM_CATALOG}' AS of_system, p.catalog, p.listed, p.shown,
             {version} AS version
         FROM {from}
         WHERE {ids}.catalog = scope.catalog AND {ids}.pid >= scope.first_id
             {conditions}
         ORDER BY {ids}.pid LIMIT {limit}"
    );
    let page = format!(
        "SELECT found.* FROM {scopes} CROSS JOIN LATERAL ({in_catalog}) AS found
         ORDER BY found.pid, found.of_system, found.catalog LIMIT {limit}"
    );
    let told = format!("SELECT told.* FROM ({page}) AS page CROSS JOIN LATERAL ({OF_PAGE}) AS told");
    let bytes = asked.bind(most(PAGE_BYTES));
    asked.text = within_bytes(&told, "pid, of_system, catalog", &bytes);
    asked
}

pub(super) async fn list(db: &Db, query: &PluginQuery) -> Result<Page<PluginRecord>> {
    let asked = statement(query);
    let rows = db.rows(&asked.text, &asked.values()).await?;
    let found = rows.iter().map(record).collect::<Result<_>>()?;
    Ok(page_of(found, query.limit))
}

/// What counts the plugins that a query finds, by catalog and by everything that their shown version says.
pub(super) fn counting(query: &PluginQuery) -> Asked<'_> {
    let mut asked = Asked::new();
    let scopes = asked.scopes(query);
    let mut conditions = asked.conditions(query);
    if let Some(channel) = &query.channel {
        let channel = asked.bind(channel);
        conditions.push_str(&format!(
            " AND EXISTS (SELECT 1 FROM tags AS t JOIN plugin_versions AS v
              ON v.repository = t.repository AND v.manifest = t.manifest
              WHERE t.repository = p.repository AND t.tag = {channel} {USABLE})"
        ));
    }
    asked.text = format!(
        "WITH found AS MATERIALIZED (
             SELECT p.catalog, p.pid FROM {scopes} JOIN plugins AS p ON p.catalog = scope.catalog
             WHERE p.pid >= scope.first_id {conditions})
         SELECT 'catalog', catalog, count(*) FROM found GROUP BY catalog
         UNION ALL SELECT f.kind, f.value, count(*)
             FROM found JOIN plugin_facets AS f ON f.catalog = found.catalog AND f.pid = found.pid
             GROUP BY f.kind, f.value"
    );
    asked
}

pub(super) async fn facets(db: &Db, query: &PluginQuery) -> Result<Facets> {
    // A count is of everything, whatever page is shown.
    let query = PluginQuery { after: None, ..query.clone() };
    let asked = counting(&query);
    let mut facets = Facets::default();
    for row in db.rows(&asked.text, &asked.values()).await? {
        let counted = match row.try_get(0)? {
            "tag" => &mut facets.tags,
            "capability" => &mut facets.capabilities,
            _ => &mut facets.catalogs,
        };
        counted.push((row.try_get(1)?, unsigned(&row, 2)?));
    }
    for counted in [&mut facets.tags, &mut facets.capabilities, &mut facets.catalogs] {
        // Most first, and those of the same number by name.
        counted.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    }
    Ok(facets)
}
