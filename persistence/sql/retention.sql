-- One round of sweeping is one core's; each kind is deleted in portions, the oldest first.

-- name: begin
INSERT INTO retention_run AS run (begun_at) VALUES ($1)
ON CONFLICT (the_one) DO UPDATE SET begun_at = excluded.begun_at WHERE run.begun_at <= excluded.begun_at - $2::interval
RETURNING begun_at;

-- name: security_events
WITH gone AS (
    DELETE FROM security_event WHERE evidence_id IN (
        SELECT evidence_id FROM security_event WHERE observed_at < $1 ORDER BY observed_at, evidence_id LIMIT $2)
    RETURNING 1
) SELECT count(*) FROM gone;

-- name: notices
WITH gone AS (
    DELETE FROM notification WHERE (notice_id, subscription_id) IN (
        SELECT notice_id, subscription_id FROM notification WHERE settled_at < $1 ORDER BY settled_at LIMIT $2)
    RETURNING 1
) SELECT count(*) FROM gone;

-- name: quarantined_evidence
WITH gone AS (
    DELETE FROM quarantined_evidence WHERE evidence_id IN (
        SELECT evidence_id FROM quarantined_evidence WHERE quarantined_at < $1 ORDER BY quarantined_at LIMIT $2)
    RETURNING 1
) SELECT count(*) FROM gone;
