-- The rows of one commit, a table a statement, whole columns as arrays. Keys are unique within a call (the caller folds
-- repetitions): ON CONFLICT DO UPDATE cannot touch a row twice.

-- name: events
INSERT INTO event (partition, sequence, event, schema_version, recorded_at, actor, cause, policy_version, fleet_sequence,
                   charger_id, managed_identity_id, purpose, variant, job_id, certificate_id, payload, previous_hash, hash)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::integer[], $5::timestamptz[], $6::text[], $7::text[], $8::bigint[],
                         $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                         $16::text[], $17::bytea[], $18::bytea[]);

-- name: aggregates
INSERT INTO aggregate (partition, key, version, state)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bytea[])
ON CONFLICT (partition, key) DO UPDATE SET version = excluded.version, state = excluded.state;

-- name: inbox
INSERT INTO inbox (partition, evidence_id) SELECT $1, * FROM unnest($2::text[]) ON CONFLICT DO NOTHING;

-- name: chargers
INSERT INTO charger (partition, charger_id, managed_identity_id, serial_number, family, site, cohort, connected,
                     security_profile, decommissioned, incarnation, doc)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[],
                         $9::smallint[], $10::boolean[], $11::text[], $12::bytea[])
ON CONFLICT (charger_id) DO UPDATE SET
    partition = excluded.partition, managed_identity_id = excluded.managed_identity_id,
    serial_number = excluded.serial_number, family = excluded.family, site = excluded.site, cohort = excluded.cohort,
    connected = excluded.connected, security_profile = excluded.security_profile,
    decommissioned = excluded.decommissioned, incarnation = excluded.incarnation, doc = excluded.doc;

-- name: certificates
INSERT INTO certificate (partition, certificate_id, charger_id, managed_identity_id, purpose, realm, variant, mode, state,
                         authority, fingerprint_sha256, serial_number, not_before, not_after, doc)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                         $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::bytea[])
ON CONFLICT (certificate_id) DO UPDATE SET
    partition = excluded.partition, charger_id = excluded.charger_id, managed_identity_id = excluded.managed_identity_id,
    purpose = excluded.purpose, realm = excluded.realm, variant = excluded.variant, mode = excluded.mode,
    state = excluded.state, authority = excluded.authority, fingerprint_sha256 = excluded.fingerprint_sha256,
    serial_number = excluded.serial_number, not_before = excluded.not_before, not_after = excluded.not_after,
    doc = excluded.doc;

-- name: jobs
INSERT INTO job (partition, job_id, charger_id, managed_identity_id, purpose, action, state, stage, overdue, created_at, doc)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[],
                         $10::timestamptz[], $11::bytea[])
ON CONFLICT (job_id) DO UPDATE SET
    partition = excluded.partition, charger_id = excluded.charger_id, managed_identity_id = excluded.managed_identity_id,
    purpose = excluded.purpose, action = excluded.action, state = excluded.state, stage = excluded.stage,
    overdue = excluded.overdue, created_at = excluded.created_at, doc = excluded.doc;

-- name: instructions
INSERT INTO instruction (partition, instruction_id, charger_id, job_id, kind, outstanding, doc)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::bytea[])
ON CONFLICT (instruction_id) DO UPDATE SET
    partition = excluded.partition, charger_id = excluded.charger_id, job_id = excluded.job_id, kind = excluded.kind,
    outstanding = excluded.outstanding, doc = excluded.doc;

-- name: effects
INSERT INTO effect (partition, effect_id, purpose, doc) SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bytea[])
ON CONFLICT (effect_id) DO UPDATE SET partition = excluded.partition, purpose = excluded.purpose, doc = excluded.doc;

-- name: settled_effects
DELETE FROM effect WHERE partition = $1 AND effect_id = ANY ($2::text[]);

-- name: timers
INSERT INTO timer (partition, key, due_at) SELECT $1, * FROM unnest($2::text[], $3::timestamptz[])
ON CONFLICT (partition, key) DO UPDATE SET due_at = excluded.due_at WHERE timer.due_at <> excluded.due_at;

-- name: cleared_timers
DELETE FROM timer WHERE partition = $1 AND key = ANY ($2::text[]);

-- name: key_owners
-- Whoever showed a key first stays its owner.
INSERT INTO key_owner (spki_sha256, managed_identity_id) SELECT * FROM unnest($1::bytea[], $2::text[])
ON CONFLICT DO NOTHING;

-- name: security_events
INSERT INTO security_event (partition, evidence_id, charger_id, kind, observed_at, doc)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[]) ON CONFLICT DO NOTHING;

-- name: idempotency
-- A live record with this key is a conflict on purpose: the same command must not be carried out twice.
INSERT INTO idempotency (key, request_hash, answer) SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]);

-- name: quarantine
INSERT INTO quarantined_evidence (partition, evidence_id, charger_id, error, body)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) ON CONFLICT DO NOTHING;
