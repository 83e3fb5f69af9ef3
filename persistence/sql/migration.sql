-- The record of what was applied; older than the first migration.

-- name: create_record
CREATE TABLE IF NOT EXISTS schema_migration (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON schema_migration TO bf_writer, bf_reader;

-- name: applied
SELECT version, checksum FROM schema_migration ORDER BY version;

-- name: record
INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3);
