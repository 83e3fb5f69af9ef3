-- The upload receiver's side of `charger_log`.

-- name: claim
SELECT charger_id, request_id, log, expires_at, max_bytes, credential_hash
  FROM charger_log WHERE ticket_hash = $1 AND state = 'requested' AND received IS NULL;

-- name: use_up
UPDATE charger_log SET received = $2 WHERE ticket_hash = $1 AND received IS NULL RETURNING log_id;

-- name: used_by
SELECT received FROM charger_log WHERE ticket_hash = $1;

-- name: unannounced
SELECT received FROM charger_log WHERE received IS NOT NULL AND NOT announced LIMIT $1;

-- name: announced
UPDATE charger_log SET announced = true WHERE ticket_hash = $1;

-- name: forget_secrets
-- The address of a request that has ended is wanted by nobody.
WITH gone AS (
    DELETE FROM secret USING charger_log
     WHERE secret.secret_id = charger_log.secret_id AND (charger_log.state <> 'requested' OR charger_log.received IS NOT NULL)
    RETURNING 1
) SELECT count(*) FROM gone;
