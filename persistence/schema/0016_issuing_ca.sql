-- Which CA a certificate hangs on: before one is retired, everything that does is counted and named.

ALTER TABLE certificate ADD COLUMN issuing_ca_id text NOT NULL DEFAULT '';

UPDATE certificate SET issuing_ca_id = coalesce(convert_from(doc, 'UTF8')::json ->> 'issuing_ca_id', '');

CREATE INDEX certificate_by_issuing_ca ON certificate (issuing_ca_id, not_after)
 WHERE state IN ('issued', 'installed', 'active', 'superseded');
