//! A catalog of 100,000 plugins with 1,000,000 versions, written into the database of a server that is not running.

use std::io;
use std::path::Path;

use quire::version::Version;
use rusqlite::Connection;

/// Plugins, each with as many versions as [`VERSIONS`].
pub const PLUGINS: u32 = 100_000;
const VERSIONS: [&str; 10] = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9"];
/// The organisation that has them.
pub const ORGANISATION: &str = "big";

/// Rows as pushes would have made them, but for the bytes behind their digests.
const SEED: &str = "
    CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $PLUGINS)
        SELECT i, printf('com.big.p%06d', i) AS pid FROM n;
    CREATE TEMP TABLE w AS SELECT n.i * 10 + x.v AS k, n.i, n.pid, x.v, x.version, x.precedence FROM n, x;
    INSERT INTO repositories (id, catalog, name, created_at) SELECT i, 'big', 'big/' || pid, 0 FROM n;
    INSERT INTO packages (id, sha256, size) SELECT k, CAST(printf('%032d', k) AS BLOB), 5000000 FROM w;
    INSERT INTO manifests (repository, catalog, sha256, size, media_type, artifact_type, annotations, created_at)
        SELECT i, 'big', CAST(printf('m%031d', k) AS BLOB), 900, 'application/vnd.oci.image.manifest.v1+json',
               'application/vnd.quire.plugin.v1', '{}', 0 FROM w;
    INSERT INTO tags (repository, tag, manifest, updated_at)
        SELECT i, version, CAST(printf('m%031d', k) AS BLOB), 0 FROM w;
    INSERT INTO tags (repository, tag, manifest, updated_at)
        SELECT i, 'latest', CAST(printf('m%031d', k) AS BLOB), 0 FROM w WHERE v = 9;
    INSERT INTO plugin_versions (id, repository, version, precedence, release, manifest, package, metadata, created_at)
        SELECT CAST(printf('%016d', k) AS BLOB), i, version, precedence, 1, CAST(printf('m%031d', k) AS BLOB), k,
               json_object('pid', pid, 'name', 'Plugin ' || i, 'version', version,
                   'description', 'Does what plugin number ' || i || ' does, and says so in a sentence.',
                   'tag', 'kind' || (i % 20), 'capabilities', json_array('common', 'able' || (i % 500)),
                   'dependencies', json_array(), 'is_specialized', json('false'), 'is_scoped', json('false'),
                   'stateless', json('true'), 'sdk_version', '>=2.0.0,<3.0.0', 'extra', json_object(),
                   'settings_schema', json_array(json_object('key', 'url', 'name', 'url', 'type', 'str',
                       'description', 'Where it is.', 'required', json('true'), 'sensitive', json('false')))), 0
        FROM w;
    INSERT INTO plugins (repository, catalog, pid, shown, listed, search)
        SELECT i, 'big', pid, CAST(printf('%016d', k) AS BLOB), 1,
               pid || char(10) || 'plugin ' || i || char(10) || 'does what plugin number ' || i || ' does' FROM w
        WHERE v = 9;
    INSERT INTO plugin_facets (catalog, listed, kind, value, pid) SELECT 'big', 1, 'tag', 'kind' || (i % 20), pid FROM n;
    INSERT INTO plugin_facets (catalog, listed, kind, value, pid) SELECT 'big', 1, 'capability', 'common', pid FROM n;
    INSERT INTO plugin_facets (catalog, listed, kind, value, pid)
        SELECT 'big', 1, 'capability', 'able' || (i % 500), pid FROM n;
";

/// Fills the database of a server that has been started once and has the organisation.
pub fn seed(database: &Path) -> io::Result<()> {
    fill(database).map_err(io::Error::other)
}

fn fill(database: &Path) -> rusqlite::Result<()> {
    let mut db = Connection::open(database)?;
    db.pragma_update(None, "synchronous", "OFF")?;
    let seeding = db.transaction()?;
    seeding.execute_batch("CREATE TEMP TABLE x (v INTEGER, version TEXT, precedence BLOB)")?;
    for (number, text) in VERSIONS.iter().enumerate() {
        let version: Version = text.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
        seeding.execute("INSERT INTO x VALUES (?1, ?2, ?3)", (number, *text, version.sort_key()))?;
    }
    seeding.execute_batch(&SEED.replace("$PLUGINS", &PLUGINS.to_string()))?;
    seeding.commit()
}
