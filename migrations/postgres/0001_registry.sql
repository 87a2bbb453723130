-- Times are milliseconds since 1970 in UTC. Digests are raw bytes; a SHA-512 stands only where a client used it.
-- Text that is ordered or compared by its bytes has the collation "C", whatever the database was made with.

CREATE TABLE catalogs (
    id                 text   COLLATE "C" NOT NULL PRIMARY KEY,
    name               text   NOT NULL DEFAULT '',
    domain             text   COLLATE "C",
    quota_bytes        bigint,
    quota_repositories bigint,
    -- The last sequence number given out in `events`.
    sequence           bigint NOT NULL DEFAULT 0,
    created_at         bigint NOT NULL,
    -- The row stays when an organisation is deleted, as its events refer to it.
    deleted_at         bigint
) WITH (fillfactor = 50);
INSERT INTO catalogs (id, name, created_at) VALUES ('system', 'system', 0);
CREATE UNIQUE INDEX catalogs_by_domain ON catalogs (domain) WHERE domain IS NOT NULL AND deleted_at IS NULL;

-- What a catalog holds: a blob or manifest counts once, in however many of its repositories it is.
-- The sum of its rows counts; one of them alone may be below 0. Writers spread over them, so that none waits long.
CREATE TABLE catalog_usage (
    catalog      text   COLLATE "C" NOT NULL REFERENCES catalogs (id),
    shard        int    NOT NULL,
    bytes        bigint NOT NULL,
    repositories bigint NOT NULL,
    PRIMARY KEY (catalog, shard)
) WITH (fillfactor = 50);

CREATE TABLE repositories (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    catalog    text   COLLATE "C" NOT NULL REFERENCES catalogs (id),
    -- The full name, catalog included.
    name       text   COLLATE "C" NOT NULL UNIQUE,
    created_at bigint NOT NULL
);
CREATE INDEX repositories_by_catalog ON repositories (catalog, name);

-- A blob exists in a repository by its row here, whatever the blob store holds.
-- The catalog stands here too, so that looking for a digest in a catalog reads one entry of an index.
CREATE TABLE blob_links (
    repository bigint NOT NULL REFERENCES repositories (id),
    catalog    text   COLLATE "C" NOT NULL,
    sha256     bytea  NOT NULL CHECK (octet_length(sha256) = 32),
    sha512     bytea           CHECK (octet_length(sha512) = 64),
    size       bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (repository, sha256)
);
CREATE INDEX blob_links_by_sha256 ON blob_links (sha256, catalog);
CREATE INDEX blob_links_by_sha512 ON blob_links (sha512, catalog) WHERE sha512 IS NOT NULL;
CREATE INDEX blob_links_of_repository_by_sha512 ON blob_links (repository, sha512) WHERE sha512 IS NOT NULL;
-- Some digests are in every repository. Whatever the server counts, it is to think of each that it is in many, and to
-- look for a digest in a repository by both.
ALTER TABLE blob_links ALTER COLUMN sha256 SET (n_distinct = -0.001), ALTER COLUMN sha512 SET (n_distinct = -0.001);

CREATE TABLE manifests (
    repository    bigint NOT NULL REFERENCES repositories (id),
    catalog       text   COLLATE "C" NOT NULL,
    sha256        bytea  NOT NULL CHECK (octet_length(sha256) = 32),
    sha512        bytea           CHECK (octet_length(sha512) = 64),
    size          bigint NOT NULL,
    media_type    text   NOT NULL,
    -- What a list of referrers shows.
    artifact_type text   COLLATE "C",
    -- The digest as the manifest writes it; it need not exist.
    subject       text   COLLATE "C",
    -- A JSON object of texts. No jsonb: that refuses the character U+0000.
    annotations   text   NOT NULL,
    created_at    bigint NOT NULL,
    PRIMARY KEY (repository, sha256)
);
CREATE INDEX manifests_by_sha256 ON manifests (sha256, catalog);
CREATE INDEX manifests_by_sha512 ON manifests (repository, sha512) WHERE sha512 IS NOT NULL;
CREATE INDEX manifests_by_subject ON manifests (repository, subject, sha256) WHERE subject IS NOT NULL;
CREATE INDEX manifests_by_subject_and_type ON manifests (repository, subject, artifact_type, sha256)
    WHERE subject IS NOT NULL;
-- Which repositories are plugins, and of what kinds manifests are.
CREATE INDEX manifests_by_type ON manifests (repository, artifact_type) WHERE artifact_type IS NOT NULL;
-- The same as of blobs.
ALTER TABLE manifests ALTER COLUMN sha256 SET (n_distinct = -0.001), ALTER COLUMN sha512 SET (n_distinct = -0.001);

-- What a manifest needs: blobs and manifests of the same repository, by their SHA-256.
CREATE TABLE manifest_references (
    repository bigint NOT NULL,
    manifest   bytea  NOT NULL,
    target     bytea  NOT NULL,
    kind       text   NOT NULL CHECK (kind IN ('blob', 'manifest')),
    PRIMARY KEY (repository, manifest, target),
    FOREIGN KEY (repository, manifest) REFERENCES manifests (repository, sha256) ON DELETE CASCADE
);
CREATE INDEX manifest_references_by_target ON manifest_references (repository, target);

CREATE TABLE tags (
    repository bigint NOT NULL,
    tag        text   COLLATE "C" NOT NULL,
    manifest   bytea  NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (repository, tag),
    FOREIGN KEY (repository, manifest) REFERENCES manifests (repository, sha256)
);
CREATE INDEX tags_by_manifest ON tags (repository, manifest);

-- Globs that make tags of a catalog immutable.
CREATE TABLE tag_rules (
    catalog      text COLLATE "C" NOT NULL REFERENCES catalogs (id),
    position     int  NOT NULL,
    repositories text NOT NULL,
    tags         text NOT NULL,
    PRIMARY KEY (catalog, position)
);

-- Immutable tags that were deleted: only the same manifest may come back.
CREATE TABLE tombstones (
    repository bigint  NOT NULL REFERENCES repositories (id),
    tag        text    COLLATE "C" NOT NULL,
    manifest   bytea   NOT NULL CHECK (octet_length(manifest) = 32),
    -- A version of a plugin, which no rule can free.
    version    boolean NOT NULL,
    deleted_at bigint  NOT NULL,
    PRIMARY KEY (repository, tag)
);

-- Several nodes may serve one registry; the bytes of an upload session are on the one that opened it.
CREATE TABLE nodes (
    -- Made once, kept in the node's data folder.
    id         uuid   NOT NULL PRIMARY KEY,
    -- The process that serves under this id; of two with copies of one data folder, the one that came last.
    run        uuid   NOT NULL,
    -- How other nodes reach it; absent: they do not.
    url        text,
    started_at bigint NOT NULL
);

CREATE TABLE uploads (
    id         uuid   NOT NULL PRIMARY KEY,
    repository text   COLLATE "C" NOT NULL,
    -- Whose session it is; to everybody else it is unknown.
    subject    text   NOT NULL,
    -- Bytes that are durable in the staging folder, and the state of the hash after them.
    received   bigint NOT NULL,
    hash_state bytea  NOT NULL,
    created_at bigint NOT NULL,
    touched_at bigint NOT NULL,
    -- Whose bytes they are: those of the node that opened the session.
    node       uuid
);
CREATE INDEX uploads_by_touched ON uploads (touched_at);
CREATE INDEX uploads_by_node ON uploads (node);
-- How many bytes wait in upload sessions of a catalog's repositories.
CREATE INDEX uploads_by_repository ON uploads (repository) INCLUDE (received);

-- Append-only: what changed in a catalog, in the order of its sequence.
CREATE TABLE events (
    catalog    text   COLLATE "C" NOT NULL REFERENCES catalogs (id),
    sequence   bigint NOT NULL,
    kind       text   NOT NULL
        CHECK (kind IN ('manifest_pushed', 'manifest_deleted', 'tag_set', 'tag_deleted', 'blob_deleted',
                        'version_changed')),
    repository text   COLLATE "C" NOT NULL,
    tag        text   COLLATE "C",
    digest     bytea  NOT NULL,
    -- What the tag pointed to before.
    previous   bytea,
    actor      text   NOT NULL,
    at         bigint NOT NULL,
    PRIMARY KEY (catalog, sequence)
);
CREATE INDEX events_by_tag ON events (repository, tag, sequence) WHERE tag IS NOT NULL;

-- Append-only: who did what, and what was refused. Written in the transaction of the change.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         bigint NOT NULL,
    actor      text   NOT NULL,
    action     text   NOT NULL,
    -- NULL: about no catalog.
    catalog    text   COLLATE "C",
    object     text   NOT NULL,
    outcome    text   NOT NULL CHECK (outcome IN ('done', 'refused')),
    -- The grant that allowed it, or the code of the refusal.
    rule       text   NOT NULL,
    address    text,
    request_id text   NOT NULL
);
CREATE INDEX audit_by_catalog ON audit (catalog, id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE api_tokens (
    id           uuid   NOT NULL PRIMARY KEY,
    name         text   NOT NULL,
    -- Of the secret, which is kept nowhere.
    sha256       bytea  NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
    -- Globs; NULL: not narrowed.
    repositories text[],
    created_by   text   NOT NULL,
    created_at   bigint NOT NULL,
    expires_at   bigint,
    revoked_at   bigint
);

CREATE TABLE token_grants (
    token   uuid NOT NULL REFERENCES api_tokens (id),
    catalog text COLLATE "C" NOT NULL REFERENCES catalogs (id),
    role    text COLLATE "C" NOT NULL,
    PRIMARY KEY (token, catalog, role)
);
CREATE INDEX token_grants_by_catalog ON token_grants (catalog, token);

-- Raised by every change of tokens, organisations and rules, so that nodes know when to forget what they remember.
CREATE TABLE access_version (
    only_row int    NOT NULL PRIMARY KEY CHECK (only_row = 1),
    version  bigint NOT NULL
);
INSERT INTO access_version VALUES (1, 1);

-- Keys that replicas share. At most one of a purpose is not retired.
CREATE TABLE signing_keys (
    purpose    text   COLLATE "C" NOT NULL,
    id         text   COLLATE "C" NOT NULL,
    public     bytea  NOT NULL,
    -- PKCS#8; absent when the operator gives the key at every start.
    private    bytea,
    created_at bigint NOT NULL,
    retired_at bigint,
    PRIMARY KEY (purpose, id)
);
CREATE UNIQUE INDEX signing_keys_in_use ON signing_keys (purpose) WHERE retired_at IS NULL;

-- A zip that was read and found to be a plugin, whichever repositories have it.
CREATE TABLE packages (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 bytea  NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
    size   bigint NOT NULL
);

-- The files in it, and where their bytes lie.
CREATE TABLE package_files (
    package         bigint  NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    path            text    COLLATE "C" NOT NULL,
    data_offset     bigint  NOT NULL,
    compressed_size bigint  NOT NULL,
    size            bigint  NOT NULL,
    method          text    NOT NULL CHECK (method IN ('stored', 'deflate')),
    sha256          bytea   NOT NULL CHECK (octet_length(sha256) = 32),
    executable      boolean NOT NULL,
    PRIMARY KEY (package, path)
);
CREATE INDEX package_files_by_sha256 ON package_files (sha256, package);

-- A version of a plugin: everything in it comes out of the package. The row stays when its tag or manifest is
-- deleted, as the version stays what it was: pushed again, it is as yanked or disabled as it was before.
CREATE TABLE plugin_versions (
    id         uuid    NOT NULL PRIMARY KEY,
    repository bigint  NOT NULL REFERENCES repositories (id),
    -- As it is written.
    version    text    COLLATE "C" NOT NULL,
    -- The same for every spelling of a version; its bytes are in the order of versions.
    precedence bytea   NOT NULL,
    -- false: a pre-release.
    release    boolean NOT NULL,
    manifest   bytea   NOT NULL,
    package    bigint  NOT NULL REFERENCES packages (id),
    enabled    boolean NOT NULL DEFAULT true,
    -- Why it is yanked.
    yanked     text,
    -- What to do instead of using it, and by which plugin.
    deprecated text,
    successor  text,
    created_at bigint  NOT NULL,
    -- When its tag or its manifest was deleted.
    deleted_at bigint,
    -- The config document: what the package says about itself, byte for byte.
    metadata   text    NOT NULL
);
CREATE UNIQUE INDEX plugin_versions_by_precedence ON plugin_versions (repository, precedence);
CREATE INDEX plugin_versions_by_order ON plugin_versions (repository, release, precedence)
    WHERE deleted_at IS NULL;
CREATE INDEX plugin_versions_usable ON plugin_versions (repository, release, precedence)
    WHERE deleted_at IS NULL AND enabled AND yanked IS NULL;
CREATE INDEX plugin_versions_by_manifest ON plugin_versions (manifest, repository);
CREATE INDEX plugin_versions_by_package ON plugin_versions (package);

-- Repositories that hold plugins, and what a list shows of each.
CREATE TABLE plugins (
    repository bigint  NOT NULL PRIMARY KEY REFERENCES repositories (id),
    catalog    text    COLLATE "C" NOT NULL,
    pid        text    COLLATE "C" NOT NULL,
    -- The version that a list shows: what `latest` names, or the highest of all when none can be `latest`.
    shown      uuid    NOT NULL,
    -- The shown version is `latest`.
    listed     boolean NOT NULL,
    -- What a search looks through: words of the shown version in lower case.
    search     text    COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX plugins_by_pid ON plugins (catalog, pid);
CREATE INDEX plugins_listed ON plugins (catalog, pid) WHERE listed;

-- Tags and capabilities of the shown versions.
CREATE TABLE plugin_facets (
    catalog text    COLLATE "C" NOT NULL,
    listed  boolean NOT NULL,
    kind    text    COLLATE "C" NOT NULL CHECK (kind IN ('tag', 'capability')),
    value   text    COLLATE "C" NOT NULL,
    pid     text    COLLATE "C" NOT NULL,
    PRIMARY KEY (catalog, kind, value, pid)
);
CREATE INDEX plugin_facets_by_pid ON plugin_facets (catalog, pid);

-- Which plugins the orchestrators of an organisation load.
CREATE TABLE enablements (
    organisation text   COLLATE "C" NOT NULL REFERENCES catalogs (id),
    -- Where the plugin comes from: `system`, or the organisation itself.
    catalog      text   COLLATE "C" NOT NULL REFERENCES catalogs (id),
    pid          text   COLLATE "C" NOT NULL,
    version      text   COLLATE "C",
    channel      text   COLLATE "C",
    -- What the choice led to when it was made: the settings that its administrators know.
    accepted     text   NOT NULL,
    package      bytea  NOT NULL CHECK (octet_length(package) = 32),
    schema       text   NOT NULL,
    actor        text   NOT NULL,
    updated_at   bigint NOT NULL,
    PRIMARY KEY (organisation, catalog, pid),
    CHECK ((version IS NULL) <> (channel IS NULL))
);

-- Digests that an administrator blocked: of a zip, a manifest, a file of a package, or any blob.
CREATE TABLE blocks (
    sha256     bytea  NOT NULL PRIMARY KEY CHECK (octet_length(sha256) = 32),
    reason     text   NOT NULL,
    actor      text   NOT NULL,
    created_at bigint NOT NULL
);

-- What is blocked by them: the digest itself, and every package and manifest that has it in it.
CREATE TABLE blocked_digests (
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    cause  bytea NOT NULL REFERENCES blocks (sha256) ON DELETE CASCADE,
    PRIMARY KEY (sha256, cause)
);
CREATE INDEX blocked_digests_by_cause ON blocked_digests (cause);

-- A mark of every transaction that wrote, for minutes: by it a node that lost the answer to a commit finds out whether
-- it came through. The time is the server's, as nodes may have other clocks.
CREATE TABLE commits (
    at bigint NOT NULL,
    id bigint NOT NULL,
    PRIMARY KEY (at, id)
);
