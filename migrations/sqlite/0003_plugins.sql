-- Plugins: packages that were read, versions with their state, what organisations enable, and blocked digests.

-- A zip that was read and found to be a plugin, whichever repositories have it.
CREATE TABLE packages (
    id     INTEGER NOT NULL PRIMARY KEY,
    sha256 BLOB    NOT NULL UNIQUE CHECK (length(sha256) = 32),
    size   INTEGER NOT NULL
) STRICT;

-- The files in it, and where their bytes lie.
CREATE TABLE package_files (
    package         INTEGER NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    path            TEXT    NOT NULL,
    data_offset     INTEGER NOT NULL,
    compressed_size INTEGER NOT NULL,
    size            INTEGER NOT NULL,
    method          TEXT    NOT NULL CHECK (method IN ('stored', 'deflate')),
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    executable      INTEGER NOT NULL,
    PRIMARY KEY (package, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX package_files_by_sha256 ON package_files (sha256, package);

-- Repositories that hold plugins, and what a list shows of each.
CREATE TABLE plugins (
    repository INTEGER NOT NULL PRIMARY KEY REFERENCES repositories (id),
    catalog    TEXT    NOT NULL REFERENCES catalogs (id),
    pid        TEXT    NOT NULL,
    -- The version that a list shows: what `latest` names, or the highest of all when none can be `latest`.
    shown      BLOB    NOT NULL CHECK (length(shown) = 16),
    -- 1: the shown version is `latest`.
    listed     INTEGER NOT NULL,
    -- What a search looks through: words of the shown version in lower case.
    search     TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX plugins_by_pid ON plugins (catalog, pid);
CREATE INDEX plugins_listed ON plugins (catalog, pid) WHERE listed = 1;

-- Tags and capabilities of the shown versions.
CREATE TABLE plugin_facets (
    catalog TEXT    NOT NULL,
    listed  INTEGER NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('tag', 'capability')),
    value   TEXT    NOT NULL,
    pid     TEXT    NOT NULL,
    PRIMARY KEY (catalog, kind, value, pid)
) STRICT, WITHOUT ROWID;
CREATE INDEX plugin_facets_by_pid ON plugin_facets (catalog, pid);

-- A version of a plugin: everything in it comes out of the package. The row stays when its tag or manifest is
-- deleted, as the version stays what it was: pushed again, it is as yanked or disabled as it was before.
CREATE TABLE plugin_versions (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    repository INTEGER NOT NULL REFERENCES repositories (id),
    -- As it is written.
    version    TEXT    NOT NULL,
    -- The same for every spelling of a version; its bytes are in the order of versions.
    precedence BLOB    NOT NULL,
    -- 0: a pre-release.
    release    INTEGER NOT NULL,
    manifest   BLOB    NOT NULL,
    package    INTEGER NOT NULL REFERENCES packages (id),
    enabled    INTEGER NOT NULL DEFAULT 1,
    -- Why it is yanked.
    yanked     TEXT,
    -- What to do instead of using it, and by which plugin.
    deprecated TEXT,
    successor  TEXT,
    created_at INTEGER NOT NULL,
    -- When its tag or its manifest was deleted.
    deleted_at INTEGER,
    -- The config document: what the package says about itself. Last, as it may be long.
    metadata   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX plugin_versions_by_precedence ON plugin_versions (repository, precedence);
CREATE INDEX plugin_versions_by_order ON plugin_versions (repository, release, precedence)
    WHERE deleted_at IS NULL;
CREATE INDEX plugin_versions_usable ON plugin_versions (repository, release, precedence)
    WHERE deleted_at IS NULL AND enabled = 1 AND yanked IS NULL;
CREATE INDEX plugin_versions_by_manifest ON plugin_versions (manifest, repository);
CREATE INDEX plugin_versions_by_package ON plugin_versions (package);

-- Which plugins the orchestrators of an organisation load.
CREATE TABLE enablements (
    organisation TEXT    NOT NULL REFERENCES catalogs (id),
    -- Where the plugin comes from: `system`, or the organisation itself.
    catalog      TEXT    NOT NULL REFERENCES catalogs (id),
    pid          TEXT    NOT NULL,
    version      TEXT,
    channel      TEXT,
    -- What the choice led to when it was made: the settings that its administrators know.
    accepted     TEXT    NOT NULL,
    package      BLOB    NOT NULL CHECK (length(package) = 32),
    schema       TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (organisation, catalog, pid),
    CHECK ((version IS NULL) <> (channel IS NULL))
) STRICT, WITHOUT ROWID;

-- Digests that an administrator blocked: of a zip, a manifest, a file of a package, or any blob.
CREATE TABLE blocks (
    sha256     BLOB    NOT NULL PRIMARY KEY CHECK (length(sha256) = 32),
    reason     TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is blocked by them: the digest itself, and every package and manifest that has it in it.
CREATE TABLE blocked_digests (
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    cause  BLOB NOT NULL REFERENCES blocks (sha256) ON DELETE CASCADE,
    PRIMARY KEY (sha256, cause)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocked_digests_by_cause ON blocked_digests (cause);

-- Events have one more kind: the state of a version changed. A list of kinds can't be changed in place.
CREATE TABLE events_with_states (
    catalog    TEXT    NOT NULL REFERENCES catalogs (id),
    sequence   INTEGER NOT NULL,
    kind       TEXT    NOT NULL
        CHECK (kind IN ('manifest_pushed', 'manifest_deleted', 'tag_set', 'tag_deleted', 'blob_deleted',
                        'version_changed')),
    repository TEXT    NOT NULL,
    tag        TEXT,
    digest     BLOB    NOT NULL,
    -- What the tag pointed to before.
    previous   BLOB,
    actor      TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (catalog, sequence)
) STRICT, WITHOUT ROWID;
INSERT INTO events_with_states SELECT * FROM events;
DROP TABLE events;
ALTER TABLE events_with_states RENAME TO events;
CREATE INDEX events_by_tag ON events (repository, tag, sequence) WHERE tag IS NOT NULL;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_replaced BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE catalog = NEW.catalog AND sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
