-- Organisations with quotas, API tokens, rules of tags, and the audit log.
-- Every catalog but `system` is an organisation; those that a push made before this step become one too.

ALTER TABLE catalogs ADD COLUMN name               TEXT NOT NULL DEFAULT '';
ALTER TABLE catalogs ADD COLUMN domain             TEXT;
ALTER TABLE catalogs ADD COLUMN quota_bytes        INTEGER;
ALTER TABLE catalogs ADD COLUMN quota_repositories INTEGER;
-- The row stays when an organisation is deleted, as its events refer to it.
ALTER TABLE catalogs ADD COLUMN deleted_at         INTEGER;
UPDATE catalogs SET name = id;
INSERT INTO catalogs (id, name, created_at) VALUES ('system', 'system', 0) ON CONFLICT DO NOTHING;
CREATE UNIQUE INDEX catalogs_by_domain ON catalogs (domain) WHERE domain IS NOT NULL AND deleted_at IS NULL;

-- What a catalog holds: a blob or manifest counts once, in however many of its repositories it is.
CREATE TABLE catalog_usage (
    catalog      TEXT    NOT NULL PRIMARY KEY REFERENCES catalogs (id),
    bytes        INTEGER NOT NULL DEFAULT 0,
    repositories INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO catalog_usage (catalog, bytes, repositories)
    SELECT c.id, coalesce(b.bytes, 0) + coalesce(m.bytes, 0), coalesce(r.count, 0)
    FROM catalogs AS c
    LEFT JOIN (SELECT catalog, sum(size) AS bytes FROM
                  (SELECT catalog, max(size) AS size FROM blob_links GROUP BY catalog, sha256)
               GROUP BY catalog) AS b ON b.catalog = c.id
    LEFT JOIN (SELECT catalog, sum(size) AS bytes FROM
                  (SELECT catalog, max(size) AS size FROM manifests GROUP BY catalog, sha256)
               GROUP BY catalog) AS m ON m.catalog = c.id
    LEFT JOIN (SELECT catalog, count(*) AS count FROM repositories GROUP BY catalog) AS r ON r.catalog = c.id;

-- How many bytes wait in upload sessions of a catalog's repositories.
CREATE INDEX uploads_by_repository ON uploads (repository, received);
-- Which repositories are plugins.
CREATE INDEX manifests_of_plugins ON manifests (repository) WHERE artifact_type = 'application/vnd.quire.plugin.v1';

-- Globs that make tags of a catalog immutable.
CREATE TABLE tag_rules (
    catalog      TEXT    NOT NULL REFERENCES catalogs (id),
    position     INTEGER NOT NULL,
    repositories TEXT    NOT NULL,
    tags         TEXT    NOT NULL,
    PRIMARY KEY (catalog, position)
) STRICT, WITHOUT ROWID;

-- Immutable tags that were deleted: only the same manifest may come back.
CREATE TABLE tombstones (
    repository INTEGER NOT NULL REFERENCES repositories (id),
    tag        TEXT    NOT NULL,
    manifest   BLOB    NOT NULL CHECK (length(manifest) = 32),
    -- 1: a version of a plugin, which no rule can free.
    version    INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_tokens (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name         TEXT    NOT NULL,
    -- Of the secret, which is kept nowhere.
    sha256       BLOB    NOT NULL UNIQUE CHECK (length(sha256) = 32),
    -- A JSON list of globs; NULL: not narrowed.
    repositories TEXT,
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE token_grants (
    token   BLOB NOT NULL REFERENCES api_tokens (id),
    catalog TEXT NOT NULL REFERENCES catalogs (id),
    role    TEXT NOT NULL,
    PRIMARY KEY (token, catalog, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX token_grants_by_catalog ON token_grants (catalog, token);

-- Raised by every change of tokens, organisations and rules, so that nodes know when to forget what they remember.
CREATE TABLE access_version (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    version  INTEGER NOT NULL
) STRICT;
INSERT INTO access_version VALUES (1, 1);

-- Append-only: who did what, and what was refused. Written in the transaction of the change.
CREATE TABLE audit (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    -- NULL: about no catalog.
    catalog    TEXT,
    object     TEXT    NOT NULL,
    outcome    TEXT    NOT NULL CHECK (outcome IN ('done', 'refused')),
    -- The grant that allowed it, or the code of the refusal.
    rule       TEXT    NOT NULL,
    address    TEXT,
    request_id TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_by_catalog ON audit (catalog, id);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- A replacing insert fires no trigger of a deletion.
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER events_are_never_replaced BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE catalog = NEW.catalog AND sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
