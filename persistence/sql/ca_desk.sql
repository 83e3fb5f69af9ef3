-- What the nodes of the core share about a CA.

-- name: latest_report
SELECT report_id, bucket, key, created_at FROM ca_report WHERE authority_arn = $1;

-- name: put_report
INSERT INTO ca_report AS r (authority_arn, report_id, bucket, key, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (authority_arn) DO UPDATE
   SET report_id = excluded.report_id, bucket = excluded.bucket, key = excluded.key, created_at = excluded.created_at
 WHERE r.created_at < excluded.created_at;

-- name: take
-- $3 tokens a second, $4 the most the bucket holds, $5 wanted, $6 left for those who are in a greater hurry. The row's
-- lock makes takers queue; each refills by the database's clock what has passed since the one before.
INSERT INTO ca_call_bucket AS b (scope, operation, tokens, granted, filled_at)
VALUES ($1, $2, $4::float8 - greatest(0, least($5::int, floor($4::float8 - $6::float8))),
        greatest(0, least($5::int, floor($4::float8 - $6::float8))), clock_timestamp())
    ON CONFLICT (scope, operation) DO UPDATE
   SET (tokens, granted, filled_at) = (
       SELECT filled.tokens - filled.granted, filled.granted, filled.at
         FROM (SELECT held.tokens, held.at, greatest(0, least($5::int, floor(held.tokens - $6::float8 + 1e-9)))::int AS granted
                 FROM (SELECT greatest(moment.at, b.filled_at) AS at,
                              least($4::float8, b.tokens + $3::float8 *
                                    greatest(0, extract(epoch FROM moment.at - b.filled_at)::float8)) AS tokens
                         FROM (SELECT clock_timestamp() AS at) moment) held) filled)
RETURNING granted, tokens;
