-- From when on a charger's own credentials let it in no more, and what it verifies us by. Until when that verifies us is the
-- same for all that confirmed one bundle: it is joined when it is read, so that a new anchor rewrites no charger's row.

ALTER TABLE charger
    ADD COLUMN locked_out_at          timestamptz,  -- NULL: nothing of its own locks it out
    ADD COLUMN lockout_cause          text,
    ADD COLUMN lockout_certificate_id text,
    ADD COLUMN trust_bundle           text;         -- '': confirmed none; NULL: it is shown no server certificate

-- Nearly what the ledger would say; each charger's next event writes it in full.
UPDATE charger SET
    (locked_out_at, lockout_cause, lockout_certificate_id) = (
        SELECT not_after, 'certificate-expiry', certificate_id FROM certificate
         WHERE certificate.charger_id = charger.charger_id AND purpose = 'charging_station' AND state IN ('installed', 'active')
         ORDER BY not_after DESC LIMIT 1)
 WHERE security_profile >= 3;
UPDATE charger SET trust_bundle = coalesce(
        (SELECT held ->> 'bundle_id' FROM json_array_elements(convert_from(doc, 'UTF8')::json -> 'trust_anchors') AS held
          WHERE held ->> 'purpose' = 'backend_server' LIMIT 1), '')
 WHERE security_profile >= 2;

CREATE INDEX charger_by_lockout ON charger (locked_out_at, charger_id) WHERE locked_out_at IS NOT NULL;
CREATE INDEX charger_by_trust_bundle ON charger (trust_bundle, charger_id) WHERE trust_bundle IS NOT NULL;
