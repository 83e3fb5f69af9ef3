-- Who owns a partition. Only the database's clock counts, and clock_timestamp() rather than now(): a statement may have
-- waited for the row's lock, and PostgreSQL then evaluates the condition again on the row as the other left it.

-- name: claim
UPDATE partition
   SET owner = $2, epoch = epoch + 1, lease_until = clock_timestamp() + $3
 WHERE number = $1 AND (owner = $2 OR lease_until <= clock_timestamp())
RETURNING epoch, sequence, head_hash, evidence_position, fleet_position, outbox_position;

-- name: renew
UPDATE partition SET lease_until = clock_timestamp() + $3 WHERE number = $1 AND epoch = $2 RETURNING number;

-- name: release
UPDATE partition SET owner = '', lease_until = '-infinity', outbox_position = greatest(outbox_position, $3)
 WHERE number = $1 AND epoch = $2;

-- name: outbox_done
UPDATE partition SET outbox_position = greatest(outbox_position, $3) WHERE number = $1 AND epoch = $2 RETURNING number;
