-- The ledger's certificates as a CA's records are compared with them.

-- name: by_serial
SELECT certificate_id, charger_id, purpose, state, serial_number, not_after, d.issuing_ca_id, d.external_ref, d.issued_at,
       d.revocation_requested_at, d.revoked_at
  FROM certificate, json_to_record(convert_from(doc, 'UTF8')::json) AS d (issuing_ca_id text, external_ref text,
       issued_at timestamptz, revocation_requested_at timestamptz, revoked_at timestamptz)
 WHERE serial_number = ANY ($1::text[]);

-- name: of_purpose
SELECT certificate_id, charger_id, purpose, state, serial_number, not_after, d.issuing_ca_id, d.external_ref, d.issued_at,
       d.revocation_requested_at, d.revoked_at
  FROM certificate, json_to_record(convert_from(doc, 'UTF8')::json) AS d (issuing_ca_id text, external_ref text,
       issued_at timestamptz, revocation_requested_at timestamptz, revoked_at timestamptz)
 WHERE purpose = $1 AND mode = 'managed'
   AND ($2::timestamptz IS NULL OR (not_after, certificate_id) > ($2, $3::text))
 ORDER BY not_after, certificate_id LIMIT $4;

-- name: charger_of_key
SELECT coalesce(charger.charger_id, identity.charger_id) AS charger_id
  FROM key_owner LEFT JOIN charger USING (managed_identity_id)
  LEFT JOIN identity ON identity.identity_id = key_owner.managed_identity_id
 WHERE key_owner.spki_sha256 = $1 AND coalesce(charger.charger_id, identity.charger_id) IS NOT NULL LIMIT 1;

-- name: newest_issued
-- One step through the index for each CA, however many certificates each has. The range, not the equal sign: else the
-- planner may walk all certificates by their end, looking for the one that an old CA has left.
WITH RECURSIVE authority AS (
    SELECT min(issuing_ca_id) AS arn FROM certificate
     WHERE issuing_ca_id > '' AND state IN ('issued', 'installed', 'active', 'superseded')
    UNION ALL
    SELECT (SELECT min(issuing_ca_id) FROM certificate
             WHERE issuing_ca_id > authority.arn AND state IN ('issued', 'installed', 'active', 'superseded'))
      FROM authority WHERE authority.arn IS NOT NULL)
SELECT authority.arn, newest.chain_pem
  FROM authority CROSS JOIN LATERAL (
       SELECT d.pem || d.chain_pem AS chain_pem
         FROM certificate, json_to_record(convert_from(doc, 'UTF8')::json) AS d (pem text, chain_pem text)
        WHERE issuing_ca_id >= authority.arn AND issuing_ca_id <= authority.arn AND purpose = $1 AND mode = 'managed'
          AND state IN ('issued', 'installed', 'active', 'superseded') AND state <> 'superseded'
        ORDER BY issuing_ca_id DESC, not_after DESC LIMIT 1) AS newest
 ORDER BY authority.arn;
