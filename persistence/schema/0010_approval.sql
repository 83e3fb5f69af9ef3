-- What somebody asked for and somebody else must agree to. `charger_id` null: it is about the fleet. `doc` is the API's body.

CREATE TABLE approval (
    approval_id  text        PRIMARY KEY,
    partition    smallint    NOT NULL,
    charger_id   text,
    kind         text        NOT NULL,
    state        text        NOT NULL,  -- open, approved, rejected, expired, withdrawn
    requested_at timestamptz NOT NULL,
    doc          bytea       NOT NULL
);
CREATE INDEX approval_by_age ON approval (requested_at, approval_id);

GRANT SELECT, INSERT, UPDATE ON approval TO bf_writer;
GRANT SELECT ON approval TO bf_reader;
