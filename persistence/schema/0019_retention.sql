-- Which core sweeps, hour by hour: whoever moves this row on does it. Who is late deletes nothing that should have stayed.

CREATE TABLE retention_run (
    the_one  boolean     PRIMARY KEY DEFAULT true CHECK (the_one),
    begun_at timestamptz NOT NULL
);
CREATE INDEX quarantined_evidence_by_age ON quarantined_evidence (quarantined_at);

GRANT SELECT, INSERT, UPDATE ON retention_run TO bf_writer;
-- A projection and a record of trouble; what they were made from, events and evidence, no role may delete.
GRANT DELETE ON security_event, quarantined_evidence TO bf_writer;
