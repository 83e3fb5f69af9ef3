-- Read in one snapshot: the heads that commits left in the partition rows, and every event in chain order, page by page.

-- name: heads
SELECT number, sequence, head_hash FROM partition ORDER BY number;

-- name: events
SELECT partition, sequence, event, schema_version, recorded_at, actor, cause, policy_version, fleet_sequence, charger_id,
       managed_identity_id, purpose, variant, job_id, certificate_id, payload, encode(previous_hash, 'hex') AS previous_hash,
       encode(hash, 'hex') AS hash
  FROM event WHERE (partition, sequence) > ($1, $2) ORDER BY partition, sequence LIMIT $3;
