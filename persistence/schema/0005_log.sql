-- Logs of chargers: asked for, with the ticket for their upload, and what became of it. The bytes are in the log store.
--
-- Two writers, each of columns of its own: the ledger's commit writes what was asked for and the outcome, the upload
-- receiver what it holds. Of ticket and credential there are only SHA-256 hashes.

CREATE TABLE charger_log (
    log_id          text        PRIMARY KEY,
    partition       smallint    NOT NULL,
    charger_id      text        NOT NULL,
    request_id      integer     NOT NULL,
    log             text        NOT NULL,
    state           text        NOT NULL,  -- requested, stored, failed: the ticket is good while it is requested
    secret_id       text        NOT NULL,
    ticket_hash     bytea       NOT NULL UNIQUE CHECK (length(ticket_hash) = 32),
    credential_hash bytea       NOT NULL CHECK (length(credential_hash) = 32),
    max_bytes       bigint      NOT NULL,
    requested_at    timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    doc             bytea       NOT NULL,
    received        bytea,                 -- the receiver's fact as JSON; whoever writes it first has used the ticket up
    announced       boolean     NOT NULL DEFAULT false  -- whether that fact is in the evidence stream
);
CREATE INDEX charger_log_by_age ON charger_log (requested_at, log_id);
CREATE INDEX charger_log_by_charger ON charger_log (charger_id, requested_at, log_id);
CREATE INDEX charger_log_unannounced ON charger_log (log_id) WHERE received IS NOT NULL AND NOT announced;

GRANT SELECT, INSERT, UPDATE (state, doc, received, announced) ON charger_log TO bf_writer;
GRANT SELECT ON charger_log TO bf_reader;

-- A flood of security events is one entry whose count grows.
GRANT UPDATE (doc) ON security_event TO bf_writer;
