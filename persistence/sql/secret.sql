-- Expiry is by the database's clock, as leases are: cores need not agree on the time.

-- name: put
INSERT INTO secret (secret_id, purpose, charger_id, generation, key_id, wrapped, nonce, sealed, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (secret_id) DO NOTHING
RETURNING secret_id;

-- name: find
SELECT secret_id, purpose, charger_id, generation, key_id, wrapped, nonce, sealed
FROM secret WHERE secret_id = $1 AND (expires_at IS NULL OR expires_at > now());

-- name: take
DELETE FROM secret WHERE secret_id = $1 AND (expires_at IS NULL OR expires_at > now())
RETURNING secret_id, purpose, charger_id, generation, key_id, wrapped, nonce, sealed;

-- name: delete
DELETE FROM secret WHERE secret_id = $1 RETURNING secret_id;

-- name: delete_expired
DELETE FROM secret WHERE secret_id = $1 AND expires_at <= now();

-- name: expire
-- A key is sealed under the id of the job that brings it, and is wanted for as long as that is open.
WITH gone AS (
    DELETE FROM secret
     WHERE expires_at <= now()
        OR (purpose = 'authorization-key' AND EXISTS (SELECT FROM job WHERE job_id = secret_id AND state <> 'open'))
    RETURNING 1
) SELECT count(*) FROM gone;
