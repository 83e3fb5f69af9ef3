-- The notifier's side. Leases are by the database's clock; the times of attempts are the notifier's own.

-- name: hold
INSERT INTO notifier AS held (owner, epoch, lease_until) VALUES ($1, 1, clock_timestamp() + $2::interval)
ON CONFLICT (the_one) DO UPDATE
   SET owner = $1, lease_until = excluded.lease_until,
       epoch = CASE WHEN held.owner = $1 AND held.lease_until > clock_timestamp() THEN held.epoch ELSE held.epoch + 1 END
 WHERE held.owner = $1 OR held.lease_until <= clock_timestamp()
RETURNING epoch, position;

-- name: release
UPDATE notifier SET lease_until = '-infinity' WHERE owner = $1 AND epoch = $2;

-- name: advance
UPDATE notifier SET position = $3 WHERE owner = $1 AND epoch = $2 RETURNING position;

-- name: add
INSERT INTO notification (notice_id, subscription_id, kind, charger_id, created_at, state, next_at, notice)
VALUES ($1, $2, $3, $4, $5, 'pending', $5, $6)
ON CONFLICT DO NOTHING;

-- name: due
SELECT notice, subscription_id, created_at, attempts FROM notification
 WHERE state = 'pending' AND next_at <= $1 ORDER BY next_at, notice_id LIMIT $2;

-- name: settled
UPDATE notification SET state = $3, settled_at = $4, last_error = $5, attempts = attempts + 1
 WHERE notice_id = $1 AND subscription_id = $2 AND state = 'pending';

-- name: failed
UPDATE notification SET attempts = attempts + 1, next_at = $3, last_error = $4
 WHERE notice_id = $1 AND subscription_id = $2 AND state = 'pending';
