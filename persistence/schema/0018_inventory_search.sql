-- What the inventory is searched by, in the order in which it is shown. `q` is the beginning of a name: pattern indexes, which
-- need no extension and also serve equality, so that two take the place of earlier ones.

DROP INDEX certificate_by_serial, certificate_by_fingerprint;
CREATE INDEX certificate_by_serial ON certificate (serial_number text_pattern_ops);
-- A record of a certificate we have only heard of has no fingerprint yet.
CREATE UNIQUE INDEX certificate_by_fingerprint ON certificate (fingerprint_sha256 text_pattern_ops)
    WHERE fingerprint_sha256 <> '';
CREATE INDEX certificate_by_charger_name ON certificate (lower(charger_id) text_pattern_ops);
CREATE INDEX certificate_by_identity_name ON certificate (lower(managed_identity_id) text_pattern_ops);
CREATE INDEX certificate_by_realm ON certificate (realm, not_after, certificate_id);
CREATE INDEX certificate_by_mode ON certificate (mode, not_after, certificate_id) WHERE mode <> 'managed';
-- With a fingerprint, the id is how that begins.
CREATE INDEX certificate_by_name ON certificate (certificate_id text_pattern_ops) WHERE fingerprint_sha256 = '';
CREATE INDEX certificate_by_purpose_state ON certificate (purpose, state, not_after, certificate_id);

-- A beginning that one in a few hundred shares is best found by its name, one that many share by walking the dates. By the
-- default of a hundred steps the planner cannot tell these apart.
ALTER INDEX certificate_by_charger_name ALTER COLUMN 1 SET STATISTICS 1000;
ALTER INDEX certificate_by_identity_name ALTER COLUMN 1 SET STATISTICS 1000;
ALTER TABLE certificate ALTER serial_number SET STATISTICS 1000, ALTER fingerprint_sha256 SET STATISTICS 1000;

-- Everything that is asked of due work stands in its index: the rows themselves are a page each to read. That works for pages
-- that a vacuum has seen since they changed, so it comes more often than after a fifth of the table.
DROP INDEX certificate_due;
CREATE INDEX certificate_due ON certificate (not_after, certificate_id)
    INCLUDE (charger_id, managed_identity_id, purpose, due_since, escalated_days, renew_again_at) WHERE due_since IS NOT NULL;
ALTER TABLE certificate SET (autovacuum_vacuum_scale_factor = 0.01);
