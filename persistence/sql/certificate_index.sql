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
SELECT charger.charger_id FROM key_owner JOIN charger USING (managed_identity_id) WHERE key_owner.spki_sha256 = $1 LIMIT 1;

-- name: newest_issued
SELECT d.issuing_ca_id, d.pem || d.chain_pem AS chain_pem
  FROM certificate, json_to_record(convert_from(doc, 'UTF8')::json) AS d (issuing_ca_id text, pem text, chain_pem text)
 WHERE purpose = $1 AND mode = 'managed'
 ORDER BY not_after DESC, certificate_id DESC LIMIT 1;
