-- What incidents choose certificates by, and how far each has come with which of them.

ALTER TABLE certificate
    ADD COLUMN spki_sha256    text,
    ADD COLUMN issued_at      timestamptz,
    ADD COLUMN incident_id    text,   -- NULL: part of none
    ADD COLUMN incident_state text;

UPDATE certificate SET issued_at = (convert_from(doc, 'UTF8')::json ->> 'issued_at')::timestamptz;
-- Of those that have left their charger's state the key is not known here; the edge lists them no more.
UPDATE certificate SET spki_sha256 = known.one ->> 'spki_sha256'
  FROM (SELECT each.value AS one
          FROM aggregate, json_each(convert_from(state, 'UTF8')::json -> 'certificates') AS each
         WHERE aggregate.key LIKE 'charger:%') AS known
 WHERE certificate.certificate_id = known.one ->> 'certificate_id';

CREATE INDEX certificate_by_key ON certificate (spki_sha256) WHERE spki_sha256 IS NOT NULL;
CREATE INDEX certificate_by_incident ON certificate (incident_id, incident_state, certificate_id) WHERE incident_id IS NOT NULL;
