-- Checkpoints of the ledger: made by a partition's owner, read by whoever proves something.

-- name: latest
SELECT note, frontier FROM checkpoint WHERE origin = $1 AND partition = $2 ORDER BY size DESC LIMIT 1;

-- name: record
-- Fenced like a commit, though without a lock: a stale owner's checkpoint is of committed rows all the same.
WITH owned AS (SELECT number FROM partition WHERE number = $1 AND epoch = $2 AND sequence >= $4),
nodes AS (
    INSERT INTO merkle_node (partition, height, index, hash)
    SELECT number, new.height, new.index, new.hash
      FROM owned, unnest($10::smallint[], $11::bigint[], $12::bytea[]) AS new(height, index, hash)
    ON CONFLICT DO NOTHING),
written AS (
    INSERT INTO checkpoint (origin, partition, size, root_hash, head_hash, made_at, note, frontier)
    SELECT $3, number, $4, $5, $6, $7, $8, $9 FROM owned ON CONFLICT DO NOTHING)
SELECT number FROM owned;

-- name: row_hashes
-- The hashes of the next rows, end to end. Rows have no gaps, or fewer come than were asked for.
SELECT string_agg(hash, ''::bytea ORDER BY sequence)
  FROM event WHERE partition = $1 AND sequence > $2 AND sequence <= $3;

-- name: notes
SELECT size, note FROM checkpoint WHERE origin = $1 AND partition = $2 AND size > $3 ORDER BY size LIMIT $4;

-- name: last_notes
SELECT note FROM checkpoint WHERE origin = $1 AND partition = $2 ORDER BY size DESC LIMIT $3;

-- name: all_notes
SELECT origin, partition, size, note FROM checkpoint
 WHERE (origin, partition, size) > ($1, $2::smallint, $3::bigint) ORDER BY origin, partition, size LIMIT $4;

-- name: keep_key
INSERT INTO checkpoint_key (name, key_id, algorithm, der) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: keys
SELECT name, algorithm, der, first_used_at FROM checkpoint_key ORDER BY first_used_at, name, der;

-- name: node_hashes
SELECT string_agg(hash, ''::bytea ORDER BY index)
  FROM merkle_node WHERE partition = $1 AND height = $2 AND index >= $3 AND index < $4;

-- name: page
SELECT made_at, origin, partition, size, root_hash, head_hash, note FROM checkpoint
 WHERE ($1::smallint IS NULL OR partition = $1)
   AND ($2::timestamptz IS NULL OR (made_at, origin, partition, size) < ($2, $3::text, $4::smallint, $5::bigint))
 ORDER BY made_at DESC, origin DESC, partition DESC, size DESC LIMIT $6;

-- name: of_size
SELECT note FROM checkpoint WHERE origin = $1 AND partition = $2 AND size = $3;

-- name: newest_origin
-- The origin that the newest checkpoint of a partition bears.
SELECT origin FROM checkpoint WHERE partition = $1 ORDER BY made_at DESC, size DESC LIMIT 1;

-- name: charger_events
SELECT partition, sequence, event, schema_version, recorded_at, actor, cause, policy_version, fleet_sequence, charger_id,
       managed_identity_id, purpose, variant, job_id, certificate_id, payload, encode(previous_hash, 'hex') AS previous_hash,
       encode(hash, 'hex') AS hash
  FROM event WHERE charger_id = $1 AND partition = $2 ORDER BY recorded_at, sequence LIMIT $3;

-- name: charger_certificates
SELECT certificate_id, doc FROM certificate WHERE charger_id = $1 ORDER BY not_before, certificate_id;
