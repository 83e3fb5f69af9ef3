-- What pseudonyms stand for. Times are the caller's: the ledger's clock, which recorded since when a name is held no more.

-- name: put
INSERT INTO personal_identifier (pseudonym, kind, key_id, wrapped, nonce, sealed, created_at, last_used_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT (pseudonym) DO UPDATE
   SET last_used_at = greatest(personal_identifier.last_used_at, excluded.last_used_at);

-- name: find
SELECT pseudonym, kind, key_id, wrapped, nonce, sealed FROM personal_identifier WHERE pseudonym = ANY ($1::text[]);

-- name: sweep_unwanted
-- Sealed for a command that never committed, or meanwhile erased or corrected away.
WITH gone AS (
    DELETE FROM personal_identifier WHERE pseudonym IN (
        SELECT pseudonym FROM personal_identifier AS held
         WHERE last_used_at < $1
           AND NOT EXISTS (SELECT FROM identity_holder WHERE external_id = held.pseudonym AND kept)
         ORDER BY last_used_at LIMIT $2)
    RETURNING 1
) SELECT count(*) FROM gone;

-- name: sweep_retired
-- Whoever bore it was retired long ago.
WITH gone AS (
    DELETE FROM personal_identifier WHERE pseudonym IN (
        SELECT pseudonym FROM personal_identifier AS borne
         WHERE EXISTS (SELECT FROM identity_holder WHERE external_id = borne.pseudonym AND kept)
           AND NOT EXISTS (SELECT FROM identity_holder
                            WHERE external_id = borne.pseudonym AND kept AND (held OR since >= $1))
         LIMIT $2)
    RETURNING 1
) SELECT count(*) FROM gone;
