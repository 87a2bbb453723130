-- Several nodes may serve one registry; the bytes of an upload session are on the one that opened it.
CREATE TABLE nodes (
    -- Made once, kept in the node's data folder.
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- The process that serves under this id; of two with copies of one data folder, the one that came last.
    run        BLOB    NOT NULL CHECK (length(run) = 16),
    -- How other nodes reach it; absent: they do not.
    url        TEXT,
    started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Absent: opened before nodes had ids, by the one node that there was.
ALTER TABLE uploads ADD COLUMN node BLOB CHECK (length(node) = 16);
CREATE INDEX uploads_by_node ON uploads (node);
