-- API tokens. Only hashes; the reader role has no access to this table.

-- name: create
INSERT INTO api_token (token_hash, role, name, cohorts) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING RETURNING name;

-- name: verify
SELECT name, role, cohorts, created_at, revoked_at FROM api_token WHERE token_hash = $1 AND revoked_at IS NULL;

-- name: revoke
UPDATE api_token SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL RETURNING name;

-- name: list
SELECT name, role, cohorts, created_at, revoked_at FROM api_token ORDER BY created_at, name;
