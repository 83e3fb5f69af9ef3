-- What a partition's owner reads back, on demand or after a take-over.

-- name: aggregates
SELECT key, version, state FROM aggregate WHERE partition = $1 AND key = ANY ($2::text[]);

-- name: aggregates_after
SELECT key, version, state FROM aggregate WHERE partition = $1 AND key > $2 ORDER BY key LIMIT $3;

-- name: chargers_on
SELECT charger_id FROM charger WHERE incarnation = $2 AND partition = $1 ORDER BY charger_id;

-- name: known_evidence
SELECT evidence_id FROM inbox WHERE partition = $1 AND evidence_id = ANY ($2::text[]);

-- name: idempotent_answer
SELECT request_hash, answer FROM idempotency WHERE key = $1;

-- name: key_owner
SELECT spki_sha256, managed_identity_id FROM key_owner WHERE spki_sha256 = ANY ($1::bytea[]);

-- name: former_certificates
-- Rows from before keys had a column say theirs in `doc` only.
SELECT certificate_id, charger_id, managed_identity_id, purpose, state, issuing_ca_id, coalesce(spki_sha256, '') AS spki_sha256,
       coalesce(issued_at, not_before) AS issued_at, not_after, CASE WHEN spki_sha256 IS NULL THEN doc END AS doc
  FROM certificate
 WHERE partition = $1 AND charger_id = ANY ($2::text[]) AND state = ANY ($3::text[]) AND not_after > $4 AND mode = 'managed'
 ORDER BY charger_id, issued_at, certificate_id;

-- name: certificate_docs
SELECT certificate_id, doc FROM certificate WHERE partition = $1 AND certificate_id = ANY ($2::text[]);

-- name: serial_owner
SELECT charger_id FROM charger WHERE serial_number = $1 AND NOT decommissioned;

-- name: identity_holders
SELECT external_id, identity_id FROM identity_holder WHERE external_id = ANY ($1::text[]) AND held;

-- name: outstanding_effects
SELECT effect_id, purpose, doc FROM effect WHERE partition = $1 ORDER BY effect_id;

-- name: due
SELECT key, due_at FROM timer WHERE partition = $1 ORDER BY due_at, key LIMIT $2;

-- name: events_after
SELECT partition, sequence, event, schema_version, recorded_at, actor, cause, policy_version, fleet_sequence, charger_id,
       managed_identity_id, purpose, variant, job_id, certificate_id, payload, previous_hash, hash
  FROM event WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3;

-- name: prune_idempotency
DELETE FROM idempotency WHERE key IN (
    SELECT key FROM idempotency WHERE recorded_at < clock_timestamp() - $1::interval ORDER BY recorded_at LIMIT $2);

-- name: prune_inbox
DELETE FROM inbox WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM inbox WHERE recorded_at < clock_timestamp() - $1::interval LIMIT $2));
