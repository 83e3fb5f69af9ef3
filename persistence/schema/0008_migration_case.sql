-- Migrations of security profiles: each charger's case, the last one if it has ended. `doc` is the API's body.

CREATE TABLE migration_case (
    charger_id text        PRIMARY KEY,
    partition  smallint    NOT NULL,
    family     text        NOT NULL,
    cohort     text        NOT NULL,
    state      text        NOT NULL,  -- pending, active, rollback, quarantine, completed, cancelled
    opened_at  timestamptz NOT NULL,
    doc        bytea       NOT NULL
);
CREATE INDEX migration_case_by_age ON migration_case (opened_at, charger_id);
CREATE INDEX migration_case_by_state ON migration_case (state, opened_at, charger_id);

GRANT SELECT, INSERT, UPDATE ON migration_case TO bf_writer;
GRANT SELECT ON migration_case TO bf_reader;
