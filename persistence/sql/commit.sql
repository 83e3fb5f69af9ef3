-- One commit is one statement. The lease's row is moved first, and every other part takes its rows through that move:
-- a fenced commit finds no row to write with. `persistence/commit_statement.py` puts the parts together as
-- WITH lease AS (...), events AS (...), ... SELECT, counting the parameters of each part on from those before it.
--
-- A table a part; its rows travel as one JSON text, bytes in it as base64, because that costs the process that commits a
-- tenth of an array a column. Keys are unique within a call (the caller folds repetitions): ON CONFLICT DO UPDATE cannot
-- touch a row twice.

-- name: lease
-- The fence, the lease and the chain's head in one: no row means another epoch or another sequence.
UPDATE partition
   SET sequence = $4, head_hash = $5, evidence_position = $6, fleet_position = $7, lease_until = clock_timestamp() + $8,
       outbox_position = greatest(outbox_position, $9)
 WHERE number = $1 AND epoch = $2 AND sequence = $3
RETURNING number, outbox_position;

-- name: outcome
SELECT outbox_position FROM lease;

-- name: events
INSERT INTO event (partition, sequence, event, schema_version, recorded_at, actor, cause, policy_version, fleet_sequence,
                   charger_id, managed_identity_id, purpose, variant, job_id, certificate_id, payload, previous_hash, hash)
SELECT number, new.sequence, event, schema_version, recorded_at, actor, cause, policy_version, fleet_sequence,
       charger_id, managed_identity_id, purpose, variant, job_id, certificate_id, payload,
       decode(previous_hash, 'hex'), decode(hash, 'hex')
  FROM lease, json_to_recordset($1) AS new(
       sequence bigint, event text, schema_version integer, recorded_at timestamptz, actor text, cause text,
       policy_version bigint, fleet_sequence bigint, charger_id text, managed_identity_id text, purpose text,
       variant text, job_id text, certificate_id text, payload text, previous_hash text, hash text);

-- name: aggregates
INSERT INTO aggregate (partition, key, version, state)
SELECT number, key, version, decode(state, 'base64')
  FROM lease, json_to_recordset($1) AS new(key text, version bigint, state text)
ON CONFLICT (partition, key) DO UPDATE SET version = excluded.version, state = excluded.state;

-- name: inbox
-- Evidence taken before is a conflict on purpose: the batch was decided as if it were new.
INSERT INTO inbox (partition, evidence_id) SELECT number, new.* FROM lease, unnest($1::text[]) AS new;

-- name: chargers
INSERT INTO charger (partition, charger_id, managed_identity_id, serial_number, family, site, cohort, connected,
                     security_profile, decommissioned, incarnation, locked_out_at, lockout_cause, lockout_certificate_id,
                     trust_bundle, doc)
SELECT number, charger_id, managed_identity_id, serial_number, family, site, cohort, connected,
       security_profile, decommissioned, incarnation, locked_out_at, lockout_cause, lockout_certificate_id,
       trust_bundle, decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       charger_id text, managed_identity_id text, serial_number text, family text, site text, cohort text,
       connected boolean, security_profile smallint, decommissioned boolean, incarnation text,
       locked_out_at timestamptz, lockout_cause text, lockout_certificate_id text, trust_bundle text, doc text)
ON CONFLICT (charger_id) DO UPDATE SET
    partition = excluded.partition, managed_identity_id = excluded.managed_identity_id,
    serial_number = excluded.serial_number, family = excluded.family, site = excluded.site, cohort = excluded.cohort,
    connected = excluded.connected, security_profile = excluded.security_profile,
    decommissioned = excluded.decommissioned, incarnation = excluded.incarnation,
    locked_out_at = excluded.locked_out_at, lockout_cause = excluded.lockout_cause,
    lockout_certificate_id = excluded.lockout_certificate_id, trust_bundle = excluded.trust_bundle, doc = excluded.doc;

-- name: certificates
INSERT INTO certificate (partition, certificate_id, charger_id, managed_identity_id, purpose, realm, variant, mode, state,
                         authority, fingerprint_sha256, serial_number, not_before, not_after, due_since, escalated_days,
                         renew_again_at, issuing_ca_id, spki_sha256, issued_at, incident_id, incident_state,
                         came_later, doc)
SELECT number, certificate_id, charger_id, managed_identity_id, purpose, realm, variant, mode, state,
       authority, fingerprint_sha256, serial_number, not_before, not_after, due_since, escalated_days,
       renew_again_at, issuing_ca_id, spki_sha256, issued_at, incident_id, incident_state, came_later,
       decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       certificate_id text, charger_id text, managed_identity_id text, purpose text, realm text, variant text,
       mode text, state text, authority text, fingerprint_sha256 text, serial_number text,
       not_before timestamptz, not_after timestamptz, due_since timestamptz, escalated_days smallint,
       renew_again_at timestamptz, issuing_ca_id text, spki_sha256 text, issued_at timestamptz, incident_id text,
       incident_state text, came_later boolean, doc text)
ON CONFLICT (certificate_id) DO UPDATE SET
    partition = excluded.partition, charger_id = excluded.charger_id, managed_identity_id = excluded.managed_identity_id,
    purpose = excluded.purpose, realm = excluded.realm, variant = excluded.variant, mode = excluded.mode,
    state = excluded.state, authority = excluded.authority, fingerprint_sha256 = excluded.fingerprint_sha256,
    serial_number = excluded.serial_number, not_before = excluded.not_before, not_after = excluded.not_after,
    due_since = excluded.due_since, escalated_days = excluded.escalated_days, renew_again_at = excluded.renew_again_at,
    issuing_ca_id = excluded.issuing_ca_id, spki_sha256 = excluded.spki_sha256, issued_at = excluded.issued_at,
    incident_id = excluded.incident_id, incident_state = excluded.incident_state,
    came_later = excluded.came_later, doc = excluded.doc;

-- name: jobs
INSERT INTO job (partition, job_id, charger_id, managed_identity_id, purpose, action, state, stage, overdue, created_at, doc)
SELECT number, job_id, charger_id, managed_identity_id, purpose, action, state, stage, overdue, created_at,
       decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       job_id text, charger_id text, managed_identity_id text, purpose text, action text, state text, stage text,
       overdue boolean, created_at timestamptz, doc text)
ON CONFLICT (job_id) DO UPDATE SET
    partition = excluded.partition, charger_id = excluded.charger_id, managed_identity_id = excluded.managed_identity_id,
    purpose = excluded.purpose, action = excluded.action, state = excluded.state, stage = excluded.stage,
    overdue = excluded.overdue, created_at = excluded.created_at, doc = excluded.doc;

-- name: instructions
INSERT INTO instruction (partition, instruction_id, charger_id, job_id, kind, outstanding, doc)
SELECT number, instruction_id, charger_id, job_id, kind, outstanding, decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       instruction_id text, charger_id text, job_id text, kind text, outstanding boolean, doc text)
ON CONFLICT (instruction_id) DO UPDATE SET
    partition = excluded.partition, charger_id = excluded.charger_id, job_id = excluded.job_id, kind = excluded.kind,
    outstanding = excluded.outstanding, doc = excluded.doc;

-- name: effects
INSERT INTO effect (partition, effect_id, purpose, doc)
SELECT number, effect_id, purpose, decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(effect_id text, purpose text, doc text)
ON CONFLICT (effect_id) DO UPDATE SET partition = excluded.partition, purpose = excluded.purpose, doc = excluded.doc;

-- name: settled_effects
DELETE FROM effect USING lease WHERE partition = number AND effect_id = ANY ($1::text[]);

-- name: timers
INSERT INTO timer (partition, key, due_at)
SELECT number, key, due_at FROM lease, json_to_recordset($1) AS new(key text, due_at timestamptz)
ON CONFLICT (partition, key) DO UPDATE SET due_at = excluded.due_at WHERE timer.due_at <> excluded.due_at;

-- name: cleared_timers
DELETE FROM timer USING lease WHERE partition = number AND key = ANY ($1::text[]);

-- name: key_owners
-- Whoever showed a key first stays its owner.
INSERT INTO key_owner (spki_sha256, managed_identity_id)
SELECT decode(spki_sha256, 'hex'), managed_identity_id
  FROM lease, json_to_recordset($1) AS new(spki_sha256 text, managed_identity_id text)
ON CONFLICT DO NOTHING;

-- name: security_events
INSERT INTO security_event (partition, evidence_id, charger_id, kind, observed_at, doc)
SELECT number, evidence_id, charger_id, kind, observed_at, decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       evidence_id text, charger_id text, kind text, observed_at timestamptz, doc text)
ON CONFLICT (evidence_id) DO UPDATE SET doc = excluded.doc;

-- name: logs
INSERT INTO charger_log (partition, log_id, charger_id, request_id, log, state, secret_id, ticket_hash, credential_hash,
                         max_bytes, requested_at, expires_at, doc)
SELECT number, log_id, charger_id, request_id, log, state, secret_id, decode(ticket_hash, 'hex'),
       decode(credential_hash, 'hex'), max_bytes, requested_at, expires_at, decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       log_id text, charger_id text, request_id integer, log text, state text, secret_id text, ticket_hash text,
       credential_hash text, max_bytes bigint, requested_at timestamptz, expires_at timestamptz, doc text)
ON CONFLICT (log_id) DO UPDATE SET state = excluded.state, doc = excluded.doc;

-- name: migrations
INSERT INTO migration_case (partition, charger_id, family, cohort, state, opened_at, doc)
SELECT number, charger_id, family, cohort, state, opened_at, decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       charger_id text, family text, cohort text, state text, opened_at timestamptz, doc text)
ON CONFLICT (charger_id) DO UPDATE SET
    partition = excluded.partition, family = excluded.family, cohort = excluded.cohort, state = excluded.state,
    opened_at = excluded.opened_at, doc = excluded.doc;

-- name: authorization_keys
INSERT INTO authorization_key (partition, charger_id, generation, origin, weakness, active_since, pending_since, in_doubt,
                               digests)
SELECT number, charger_id, generation, origin, weakness, active_since, pending_since, in_doubt, digests
  FROM lease, json_to_recordset($1) AS new(
       charger_id text, generation integer, origin text, weakness text, active_since timestamptz,
       pending_since timestamptz, in_doubt boolean, digests text[])
ON CONFLICT (charger_id) DO UPDATE SET
    partition = excluded.partition, generation = excluded.generation, origin = excluded.origin,
    weakness = excluded.weakness, active_since = excluded.active_since, pending_since = excluded.pending_since,
    in_doubt = excluded.in_doubt, digests = excluded.digests;

-- name: approvals
INSERT INTO approval (partition, approval_id, charger_id, kind, state, requested_at, doc)
SELECT number, approval_id, charger_id, kind, state, requested_at, decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       approval_id text, charger_id text, kind text, state text, requested_at timestamptz, doc text)
ON CONFLICT (approval_id) DO UPDATE SET state = excluded.state, doc = excluded.doc;

-- name: identities
INSERT INTO identity (partition, identity_id, kind, state, family, site, cohort, charger_id, doc)
SELECT number, identity_id, kind, state, family, site, cohort, charger_id, decode(doc, 'base64')
  FROM lease, json_to_recordset($1) AS new(
       identity_id text, kind text, state text, family text, site text, cohort text, charger_id text, doc text)
ON CONFLICT (identity_id) DO UPDATE SET
    state = excluded.state, family = excluded.family, site = excluded.site, cohort = excluded.cohort, doc = excluded.doc;

-- name: identity_holders
-- A name that another identity holds is a conflict on purpose.
INSERT INTO identity_holder (external_id, identity_id, held, kept, since)
SELECT external_id, identity_id, held, kept, since
  FROM lease, json_to_recordset($1) AS new(
       external_id text, identity_id text, held boolean, kept boolean, since timestamptz)
ON CONFLICT (external_id, identity_id) DO UPDATE SET held = excluded.held, kept = excluded.kept, since = excluded.since;

-- name: erased_identifiers
DELETE FROM personal_identifier USING lease WHERE pseudonym = ANY ($1::text[]);

-- name: idempotency
-- A live record with this key is a conflict on purpose: the same command must not be carried out twice.
INSERT INTO idempotency (key, request_hash, answer)
SELECT key, request_hash, decode(answer, 'base64')
  FROM lease, json_to_recordset($1) AS new(key text, request_hash text, answer text);

-- name: quarantine
INSERT INTO quarantined_evidence (partition, evidence_id, charger_id, error, body)
SELECT number, evidence_id, charger_id, error, decode(body, 'base64')
  FROM lease, json_to_recordset($1) AS new(evidence_id text, charger_id text, error text, body text)
ON CONFLICT DO NOTHING;
