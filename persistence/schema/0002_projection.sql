-- What lists and filters need, written in the transaction of the events it follows from. `doc` is the API's body
-- as JSON bytes, stored as they come and up to a page inline: most of these rows are rewritten more often than they are read.

CREATE TABLE charger (
    charger_id          text     PRIMARY KEY,
    partition           smallint NOT NULL,
    managed_identity_id text    NOT NULL,
    serial_number       text    NOT NULL,
    family              text    NOT NULL,
    site                text    NOT NULL,
    cohort              text    NOT NULL,
    connected           boolean NOT NULL,
    security_profile    smallint NOT NULL,
    decommissioned      boolean NOT NULL,
    incarnation         text,
    doc                 bytea   NOT NULL
) WITH (fillfactor = 70, toast_tuple_target = 8160);
ALTER TABLE charger ALTER COLUMN doc SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX charger_live_serial ON charger (serial_number) WHERE NOT decommissioned;
CREATE INDEX charger_by_identity ON charger (managed_identity_id);
CREATE INDEX charger_by_incarnation ON charger (incarnation) WHERE incarnation IS NOT NULL;
CREATE INDEX charger_by_cohort ON charger (cohort, charger_id);

CREATE TABLE certificate (
    certificate_id      text        PRIMARY KEY,
    partition           smallint    NOT NULL,
    charger_id          text,
    managed_identity_id text        NOT NULL,
    purpose             text        NOT NULL,
    realm               text        NOT NULL,
    variant             text        NOT NULL,
    mode                text        NOT NULL,
    state               text        NOT NULL,
    authority           text        NOT NULL,
    fingerprint_sha256  text        NOT NULL,
    serial_number       text        NOT NULL,
    not_before          timestamptz NOT NULL,
    not_after           timestamptz NOT NULL,
    doc                 bytea       NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE certificate ALTER COLUMN doc SET STORAGE EXTERNAL;
-- A record of a certificate we have only heard of has no fingerprint yet.
CREATE UNIQUE INDEX certificate_by_fingerprint ON certificate (fingerprint_sha256) WHERE fingerprint_sha256 <> '';
CREATE INDEX certificate_by_charger ON certificate (charger_id) WHERE charger_id IS NOT NULL;
CREATE INDEX certificate_by_identity ON certificate (managed_identity_id);
CREATE INDEX certificate_by_expiry ON certificate (not_after, certificate_id);
CREATE INDEX certificate_by_purpose ON certificate (purpose, not_after, certificate_id);
CREATE INDEX certificate_by_state ON certificate (state, not_after, certificate_id);
CREATE INDEX certificate_by_serial ON certificate (serial_number);

CREATE TABLE job (
    job_id              text        PRIMARY KEY,
    partition           smallint    NOT NULL,
    charger_id          text        NOT NULL,
    managed_identity_id text        NOT NULL,
    purpose             text        NOT NULL,
    action              text        NOT NULL,
    state               text        NOT NULL,
    stage               text        NOT NULL,
    overdue             boolean     NOT NULL,
    created_at          timestamptz NOT NULL,
    doc                 bytea       NOT NULL
) WITH (fillfactor = 80, toast_tuple_target = 8160);
ALTER TABLE job ALTER COLUMN doc SET STORAGE EXTERNAL;
CREATE INDEX job_by_age ON job (created_at, job_id);
CREATE INDEX job_by_charger ON job (charger_id, created_at, job_id);
-- Without the stage as a column, so that a job's step from stage to stage touches no index.
CREATE INDEX job_open ON job (created_at, job_id) WHERE state = 'open';

CREATE TABLE instruction (
    instruction_id text    PRIMARY KEY,
    partition      smallint NOT NULL,
    charger_id     text    NOT NULL,
    job_id         text,
    kind           text    NOT NULL,
    outstanding    boolean NOT NULL,
    doc            bytea   NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX instruction_outstanding ON instruction (charger_id) WHERE outstanding;

CREATE TABLE security_event (
    evidence_id text        PRIMARY KEY,
    partition   smallint    NOT NULL,
    charger_id  text,
    kind        text        NOT NULL,
    observed_at timestamptz NOT NULL,
    doc         bytea       NOT NULL
);
CREATE INDEX security_event_by_time ON security_event (observed_at, evidence_id);
CREATE INDEX security_event_by_charger ON security_event (charger_id, observed_at, evidence_id)
    WHERE charger_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON charger, certificate, job, instruction TO bf_writer;
GRANT SELECT, INSERT ON security_event TO bf_writer;
GRANT SELECT ON charger, certificate, job, instruction, security_event TO bf_reader;
