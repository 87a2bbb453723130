-- Times are milliseconds since 1970 in UTC. Digests are raw bytes; a SHA-512 stands only where a client used it.

CREATE TABLE catalogs (
    id         TEXT    NOT NULL PRIMARY KEY,
    -- The last sequence number given out in `events`.
    sequence   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE repositories (
    id         INTEGER NOT NULL PRIMARY KEY,
    catalog    TEXT    NOT NULL REFERENCES catalogs (id),
    -- The full name, catalog included.
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX repositories_by_catalog ON repositories (catalog, name);

-- A blob exists in a repository by its row here, whatever the blob store holds.
-- The catalog stands here too, so that looking for a digest in a catalog reads one entry of an index.
CREATE TABLE blob_links (
    repository INTEGER NOT NULL REFERENCES repositories (id),
    catalog    TEXT    NOT NULL REFERENCES catalogs (id),
    sha256     BLOB    NOT NULL CHECK (length(sha256) = 32),
    sha512     BLOB             CHECK (length(sha512) = 64),
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (repository, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_links_by_sha256 ON blob_links (sha256, catalog);
CREATE INDEX blob_links_by_sha512 ON blob_links (sha512, catalog) WHERE sha512 IS NOT NULL;
CREATE INDEX blob_links_of_repository_by_sha512 ON blob_links (repository, sha512) WHERE sha512 IS NOT NULL;

CREATE TABLE manifests (
    repository    INTEGER NOT NULL REFERENCES repositories (id),
    catalog       TEXT    NOT NULL REFERENCES catalogs (id),
    sha256        BLOB    NOT NULL CHECK (length(sha256) = 32),
    sha512        BLOB             CHECK (length(sha512) = 64),
    size          INTEGER NOT NULL,
    media_type    TEXT    NOT NULL,
    -- What a list of referrers shows.
    artifact_type TEXT,
    -- The digest as the manifest writes it; it need not exist.
    subject       TEXT,
    -- A JSON object of texts.
    annotations   TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (repository, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifests_by_sha256 ON manifests (sha256, catalog);
CREATE INDEX manifests_by_sha512 ON manifests (repository, sha512) WHERE sha512 IS NOT NULL;
CREATE INDEX manifests_by_subject ON manifests (repository, subject, sha256) WHERE subject IS NOT NULL;
CREATE INDEX manifests_by_subject_and_type ON manifests (repository, subject, artifact_type, sha256)
    WHERE subject IS NOT NULL;

-- What a manifest needs: blobs and manifests of the same repository, by their SHA-256.
CREATE TABLE manifest_references (
    repository INTEGER NOT NULL,
    manifest   BLOB    NOT NULL,
    target     BLOB    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('blob', 'manifest')),
    PRIMARY KEY (repository, manifest, target),
    FOREIGN KEY (repository, manifest) REFERENCES manifests (repository, sha256) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_references_by_target ON manifest_references (repository, target);

CREATE TABLE tags (
    repository INTEGER NOT NULL,
    tag        TEXT    NOT NULL,
    manifest   BLOB    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag),
    FOREIGN KEY (repository, manifest) REFERENCES manifests (repository, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_manifest ON tags (repository, manifest);

CREATE TABLE uploads (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    repository TEXT    NOT NULL,
    -- Whose session it is; to everybody else it is unknown.
    subject    TEXT    NOT NULL,
    -- Bytes that are durable in the staging folder, and the state of the hash after them.
    received   INTEGER NOT NULL,
    hash_state BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_touched ON uploads (touched_at);

-- Append-only: what changed in a catalog, in the order of its sequence.
CREATE TABLE events (
    catalog    TEXT    NOT NULL REFERENCES catalogs (id),
    sequence   INTEGER NOT NULL,
    kind       TEXT    NOT NULL
        CHECK (kind IN ('manifest_pushed', 'manifest_deleted', 'tag_set', 'tag_deleted', 'blob_deleted')),
    repository TEXT    NOT NULL,
    tag        TEXT,
    digest     BLOB    NOT NULL,
    -- What the tag pointed to before.
    previous   BLOB,
    actor      TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (catalog, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_by_tag ON events (repository, tag, sequence) WHERE tag IS NOT NULL;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- Keys that replicas share. At most one of a purpose is not retired.
CREATE TABLE signing_keys (
    purpose    TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    public     BLOB    NOT NULL,
    -- PKCS#8; absent when the operator gives the key at every start.
    private    BLOB,
    created_at INTEGER NOT NULL,
    retired_at INTEGER,
    PRIMARY KEY (purpose, id)
) STRICT, WITHOUT ROWID;
