-- What only a partition's owner writes: its lease row, its events, the folded state and the bookkeeping of one commit.
-- No foreign keys: a commit has just locked its partition row, and a check for every row written would cost more than the row.

CREATE TABLE partition (
    number            smallint    PRIMARY KEY,
    owner             text        NOT NULL DEFAULT '',
    epoch             bigint      NOT NULL DEFAULT 0,
    lease_until       timestamptz NOT NULL DEFAULT '-infinity',  -- the database's clock, nobody else's
    sequence          bigint      NOT NULL DEFAULT 0,
    head_hash         bytea       NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(head_hash) = 32),
    evidence_position bigint      NOT NULL DEFAULT 0,
    fleet_position    bigint      NOT NULL DEFAULT 0,
    outbox_position   bigint      NOT NULL DEFAULT 0
) WITH (fillfactor = 10);  -- rewritten by every commit: room for the new version on the same page

INSERT INTO partition (number) SELECT generate_series(0, 15);

CREATE TABLE event (
    partition           smallint    NOT NULL,
    sequence            bigint      NOT NULL,
    event               text        NOT NULL,
    schema_version      integer     NOT NULL,
    recorded_at         timestamptz NOT NULL,
    actor               text        NOT NULL,
    cause               text        NOT NULL,
    policy_version      bigint      NOT NULL,
    fleet_sequence      bigint      NOT NULL,
    charger_id          text,
    managed_identity_id text,
    purpose             text,
    variant             text,
    job_id              text,
    certificate_id      text,
    payload             text        NOT NULL,  -- the very text that was hashed, so neither json nor jsonb
    previous_hash       bytea       NOT NULL CHECK (length(previous_hash) = 32),
    hash                bytea       NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (partition, sequence)
);

-- The audit trail is read in the order (recorded_at, partition, sequence). Time comes second in every index, so that
-- the newest entries of one value lie together and a page is one short range.
CREATE INDEX event_by_time ON event (recorded_at, partition, sequence);
CREATE INDEX event_by_name ON event (event, recorded_at, partition, sequence);
CREATE INDEX event_by_charger ON event (charger_id, recorded_at, partition, sequence) WHERE charger_id IS NOT NULL;
CREATE INDEX event_by_identity ON event (managed_identity_id, recorded_at, partition, sequence)
    WHERE managed_identity_id IS NOT NULL;
CREATE INDEX event_by_job ON event (job_id, sequence) WHERE job_id IS NOT NULL;

-- A second lock on the door: grants already keep the writer out, this also stops the owner's slip of the hand.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER event_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE aggregate (
    partition smallint NOT NULL,
    key       text     NOT NULL,
    version   bigint   NOT NULL,
    state     bytea    NOT NULL,
    PRIMARY KEY (partition, key)
) WITH (fillfactor = 60, toast_tuple_target = 8160);
-- Rewritten with every event: compressing it each time costs more than the bytes it saves.
ALTER TABLE aggregate ALTER COLUMN state SET STORAGE EXTERNAL;

CREATE TABLE inbox (
    partition   smallint    NOT NULL,
    evidence_id text        NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, evidence_id)
);
CREATE INDEX inbox_by_age ON inbox USING brin (recorded_at);

CREATE TABLE timer (
    partition smallint    NOT NULL,
    key       text        NOT NULL,
    due_at    timestamptz NOT NULL,
    PRIMARY KEY (partition, key)
);
CREATE INDEX timer_by_due ON timer (partition, due_at, key);

CREATE TABLE effect (
    effect_id text     PRIMARY KEY,
    partition smallint NOT NULL,
    purpose   text     NOT NULL,
    doc       bytea    NOT NULL
);
CREATE INDEX effect_by_partition ON effect (partition, effect_id);

CREATE TABLE key_owner (
    spki_sha256         bytea PRIMARY KEY CHECK (length(spki_sha256) = 32),
    managed_identity_id text  NOT NULL
);

CREATE TABLE idempotency (
    key          text        PRIMARY KEY,
    request_hash text        NOT NULL,
    answer       bytea       NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_by_age ON idempotency (recorded_at);

CREATE TABLE quarantined_evidence (
    evidence_id    text        PRIMARY KEY,
    partition      smallint    NOT NULL,
    charger_id     text        NOT NULL,
    error          text        NOT NULL,
    body           bytea       NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, UPDATE ON partition TO bf_writer;
GRANT SELECT, INSERT ON event, inbox, key_owner, quarantined_evidence TO bf_writer;
GRANT SELECT, INSERT, UPDATE ON aggregate TO bf_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON timer, effect TO bf_writer;
GRANT SELECT, INSERT, DELETE ON idempotency TO bf_writer;
GRANT DELETE ON inbox TO bf_writer;  -- entries older than the evidence streams are pruned
GRANT SELECT ON partition, event, aggregate, inbox, timer, effect, key_owner, quarantined_evidence TO bf_reader;
