-- Which programs may use the database once a step has run: those from `oldest` on, MAJOR.MINOR.PATCH.
-- Steps that ran before this table was there have no row.
CREATE TABLE schema_programs (
    step   INTEGER NOT NULL PRIMARY KEY,
    oldest TEXT    NOT NULL
) STRICT;
