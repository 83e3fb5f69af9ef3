-- What the admin API shows. Every filter is optional: `$n IS NULL OR` vanishes when the plan is made, because the reader's
-- pool plans each execution with its values (plan_cache_mode = force_custom_plan). Pages are cut by key, never by offset.

-- name: chargers
SELECT charger_id, doc FROM charger
 WHERE ($1::text IS NULL OR family = $1)
   AND ($2::text IS NULL OR site = $2)
   AND ($3::text IS NULL OR cohort = $3)
   AND ($4::boolean IS NULL OR connected = $4)
   AND ($5::text IS NULL OR strpos(lower(concat_ws(' ', charger_id, serial_number, managed_identity_id)), lower($5)) > 0)
   AND ($6::boolean OR NOT decommissioned)
   AND ($7::text IS NULL OR charger_id > $7)
   AND ($9::text[] IS NULL OR cohort = ANY($9))
 ORDER BY charger_id LIMIT $8;

-- name: charger
SELECT doc FROM charger WHERE charger_id = $1;

-- name: lockouts
-- By a charger's own credentials, or by the end of its bundle if that comes first: those of one bundle end together ($8-$10).
-- Each half walks an index in the order of the answer, so that a page costs a page.
WITH trust AS (
    SELECT * FROM unnest($8::text[], $9::timestamptz[], $10::text[]) AS ends (bundle, at, cause)
), own AS (
    SELECT locked_out_at AS at, charger_id, lockout_cause AS cause, lockout_certificate_id AS certificate_id, family, site, cohort,
           connected, doc
      FROM charger
     WHERE locked_out_at IS NOT NULL AND NOT decommissioned
       AND NOT EXISTS (SELECT FROM trust WHERE trust.bundle = trust_bundle AND trust.at < locked_out_at)
       AND ($1::timestamptz IS NULL OR locked_out_at < $1)
       AND ($2::text IS NULL OR lockout_cause = $2)
       AND ($3::text IS NULL OR family = $3) AND ($4::text IS NULL OR site = $4) AND ($5::text IS NULL OR cohort = $5)
       AND ($6::boolean IS NULL OR connected = $6) AND ($7::text IS NULL OR charger_id = $7)
       AND ($11::timestamptz IS NULL OR (locked_out_at, charger_id) > ($11, $12::text))
     ORDER BY locked_out_at, charger_id LIMIT $13
), untrusting AS (
    SELECT trust.at, one.charger_id, trust.cause, NULL::text AS certificate_id, family, site, cohort, connected, doc
      FROM trust CROSS JOIN LATERAL (
           SELECT * FROM charger
            WHERE trust_bundle = trust.bundle AND NOT decommissioned
              AND (locked_out_at IS NULL OR locked_out_at > trust.at)
              AND ($3::text IS NULL OR family = $3) AND ($4::text IS NULL OR site = $4) AND ($5::text IS NULL OR cohort = $5)
              AND ($6::boolean IS NULL OR connected = $6) AND ($7::text IS NULL OR charger_id = $7)
              AND ($11::timestamptz IS NULL OR (trust.at, charger_id) > ($11, $12::text))
            ORDER BY charger_id LIMIT $13) AS one
     WHERE ($1::timestamptz IS NULL OR trust.at < $1) AND ($2::text IS NULL OR trust.cause = $2)
)
SELECT at, charger_id, json_build_object(
           'charger_id', charger_id, 'locked_out_at', at, 'cause', cause, 'certificate_id', certificate_id, 'family', family,
           'site', site, 'cohort', cohort, 'connected', connected,
           'last_seen_at', convert_from(doc, 'UTF8')::json -> 'last_seen_at')::text AS doc
  FROM (SELECT * FROM own UNION ALL SELECT * FROM untrusting ORDER BY at, charger_id LIMIT $13) AS found
 ORDER BY at, charger_id;

-- name: lockout_counts
-- By week and cause; what lies before $1, and what never comes (no cause), in no week. Reads every charger's row.
SELECT CASE WHEN at < $1::timestamptz OR at = 'infinity' THEN NULL ELSE date_trunc('week', at, 'UTC') END AS week, cause, count(*) AS count
  FROM (SELECT coalesce(least(locked_out_at, trust.at), 'infinity') AS at,
               CASE WHEN trust.at < coalesce(locked_out_at, 'infinity') THEN trust.cause ELSE lockout_cause END AS cause
          FROM charger LEFT JOIN unnest($5::text[], $6::timestamptz[], $7::text[]) AS trust (bundle, at, cause)
            ON trust.bundle = trust_bundle
         WHERE NOT decommissioned AND ($2::text IS NULL OR family = $2) AND ($3::text IS NULL OR site = $3)
           AND ($4::text IS NULL OR cohort = $4)) AS each
 GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2;

-- name: lockouts_within
-- By family and cause, how many are locked out before each of the moments $1.
SELECT family, cause, moment.number - 1 AS number, count(*) AS count
  FROM (SELECT family, least(locked_out_at, trust.at) AS at,
               CASE WHEN trust.at < coalesce(locked_out_at, 'infinity') THEN trust.cause ELSE lockout_cause END AS cause
          FROM charger LEFT JOIN unnest($2::text[], $3::timestamptz[], $4::text[]) AS trust (bundle, at, cause)
            ON trust.bundle = trust_bundle
         WHERE NOT decommissioned AND (locked_out_at IS NOT NULL OR trust.at IS NOT NULL)) AS each
  JOIN unnest($1::timestamptz[]) WITH ORDINALITY AS moment (at, number) ON each.at < moment.at
 GROUP BY family, cause, moment.number;

-- name: renewals
-- What is due, whose end is nearest first, with the open job that is to replace it.
SELECT due.not_after, due.certificate_id, json_build_object(
           'certificate_id', due.certificate_id, 'charger_id', charger_id, 'managed_identity_id', due.managed_identity_id,
           'purpose', due.purpose, 'family', family, 'site', site, 'cohort', cohort, 'not_after', due.not_after,
           'due_since', due_since, 'escalated_days', escalated_days, 'renew_again_at', renew_again_at,
           'connected', connected, 'last_seen_at', convert_from(charger.doc, 'UTF8')::json -> 'last_seen_at',
           'paused_reason', convert_from(charger.doc, 'UTF8')::json -> 'paused_reason',
           'overdue', coalesce(work.overdue, false), 'job', convert_from(work.doc, 'UTF8')::json)::text AS doc
  FROM certificate AS due JOIN charger USING (charger_id)
  LEFT JOIN LATERAL (
       SELECT overdue, doc FROM job
        WHERE job.charger_id = due.charger_id AND job.purpose = due.purpose AND job.state = 'open'
          AND job.managed_identity_id = due.managed_identity_id
          AND action IN ('issue', 'renew')
        ORDER BY created_at DESC LIMIT 1) AS work ON true
 WHERE due_since IS NOT NULL
   AND ($1::text IS NULL OR CASE $1 WHEN 'due' THEN true WHEN 'overdue' THEN work.overdue
                                    WHEN 'escalated' THEN escalated_days IS NOT NULL END)
   AND ($2::boolean IS NULL OR connected <> $2)
   AND ($3::text IS NULL OR due.purpose = $3)
   AND ($4::text IS NULL OR family = $4) AND ($5::text IS NULL OR site = $5) AND ($6::text IS NULL OR cohort = $6)
   AND ($7::timestamptz IS NULL OR due.not_after < $7)
   AND ($8::timestamptz IS NULL OR (due.not_after, due.certificate_id) > ($8, $9::text))
 ORDER BY due.not_after, due.certificate_id LIMIT $10;

-- name: renewal_counts
SELECT due.purpose, cohort, count(*) AS due, count(late.charger_id) AS overdue,
       count(*) FILTER (WHERE escalated_days IS NOT NULL) AS escalated, count(*) FILTER (WHERE NOT connected) AS offline,
       count(*) FILTER (WHERE escalated_days IS NOT NULL AND NOT connected) AS stragglers
  FROM certificate AS due JOIN charger USING (charger_id)
  LEFT JOIN (SELECT DISTINCT charger_id, managed_identity_id, purpose FROM job
              WHERE state = 'open' AND overdue AND action IN ('issue', 'renew')) AS late
    ON late.charger_id = due.charger_id AND late.managed_identity_id = due.managed_identity_id AND late.purpose = due.purpose
 WHERE due_since IS NOT NULL
 GROUP BY due.purpose, cohort ORDER BY due.purpose, cohort;

-- name: certificates
SELECT not_after, certificate_id, doc FROM certificate
 WHERE ($1::text IS NULL OR charger_id = $1)
   AND ($2::text IS NULL OR managed_identity_id = $2)
   AND ($3::text IS NULL OR purpose = $3)
   AND ($4::text IS NULL OR state = $4)
   AND ($5::text IS NULL OR mode = $5)
   AND ($6::text IS NULL OR realm = $6)
   AND ($7::timestamptz IS NULL OR not_after < $7)
   AND ($8::text IS NULL OR fingerprint_sha256 = $8)
   AND ($9::text IS NULL OR serial_number = $9)
   AND ($10::text IS NULL OR lower(charger_id) LIKE $10 OR lower(managed_identity_id) LIKE $10 OR serial_number LIKE $10
        OR (fingerprint_sha256 LIKE $10 AND fingerprint_sha256 <> '')
        OR (certificate_id LIKE $10 AND fingerprint_sha256 = ''))
   AND ($11::timestamptz IS NULL OR (not_after, certificate_id) > ($11, $12::text))
   AND ($14::text[] IS NULL OR EXISTS (
           SELECT FROM charger WHERE charger.charger_id = certificate.charger_id AND charger.cohort = ANY($14)))
 ORDER BY not_after, certificate_id LIMIT $13;

-- name: certificate
SELECT doc FROM certificate WHERE certificate_id = $1;

-- name: jobs
SELECT created_at, job_id, doc FROM job
 WHERE ($1::text IS NULL OR state = $1)
   AND ($2::text IS NULL OR stage = $2)
   AND ($3::text IS NULL OR purpose = $3)
   AND ($4::text IS NULL OR charger_id = $4)
   AND ($5::boolean IS NULL OR overdue = $5)
   AND ($6::timestamptz IS NULL OR (created_at, job_id) < ($6, $7::text))
   AND ($9::text[] IS NULL OR EXISTS (
           SELECT FROM charger WHERE charger.charger_id = job.charger_id AND charger.cohort = ANY($9)))
 ORDER BY created_at DESC, job_id DESC LIMIT $8;

-- name: job
SELECT doc FROM job WHERE job_id = $1;

-- name: open_approval_counts
SELECT kind, count(*) AS count FROM approval WHERE state = 'open' GROUP BY kind;

-- name: job_events
SELECT recorded_at, event, actor, cause, payload FROM event WHERE job_id = $1 ORDER BY sequence LIMIT $2;

-- name: certificate_events
-- By the charger's index: a charger has few certificates, and the ledger has no index of its own for them.
SELECT recorded_at, event, actor, cause, payload
  FROM event
 WHERE charger_id = $1 AND certificate_id = $2
 ORDER BY recorded_at, sequence LIMIT $3;

-- name: audit
SELECT partition, sequence, event, recorded_at, actor, cause, policy_version, payload, previous_hash, hash, schema_version,
       fleet_sequence, charger_id, managed_identity_id, purpose, variant, job_id, certificate_id
  FROM event
 WHERE ($1::text IS NULL OR managed_identity_id = $1)
   AND ($2::text IS NULL OR charger_id = $2)
   AND ($3::text IS NULL OR event = $3)
   AND ($4::text IS NULL OR job_id = $4)
   AND ($5::timestamptz IS NULL OR (recorded_at, partition, sequence) > ($5, $6::smallint, $7::bigint))
 ORDER BY recorded_at, partition, sequence LIMIT $8;

-- name: recorded_at
SELECT recorded_at FROM event WHERE partition = $1 AND sequence = $2;

-- name: security_events
SELECT observed_at, evidence_id, doc FROM security_event
 WHERE ($1::text IS NULL OR charger_id = $1)
   AND ($2::text IS NULL OR kind = $2)
   AND ($3::timestamptz IS NULL OR (observed_at, evidence_id) < ($3, $4::text))
   AND ($6::text[] IS NULL OR EXISTS (
           SELECT FROM charger WHERE charger.charger_id = security_event.charger_id AND charger.cohort = ANY($6)))
 ORDER BY observed_at DESC, evidence_id DESC LIMIT $5;

-- name: logs
SELECT requested_at, log_id, doc FROM charger_log
 WHERE ($1::text IS NULL OR charger_id = $1)
   AND ($2::text IS NULL OR state = $2)
   AND ($3::timestamptz IS NULL OR (requested_at, log_id) < ($3, $4::text))
   AND ($6::text[] IS NULL OR EXISTS (
           SELECT FROM charger WHERE charger.charger_id = charger_log.charger_id AND charger.cohort = ANY($6)))
 ORDER BY requested_at DESC, log_id DESC LIMIT $5;

-- name: log
SELECT doc FROM charger_log WHERE log_id = $1;

-- name: migrations
SELECT opened_at, charger_id, doc FROM migration_case
 WHERE ($1::text IS NULL OR state = $1)
   AND ($2::text IS NULL OR cohort = $2)
   AND ($3::text IS NULL OR family = $3)
   AND ($4::timestamptz IS NULL OR (opened_at, charger_id) < ($4, $5::text))
   AND ($7::text[] IS NULL OR cohort = ANY($7))
 ORDER BY opened_at DESC, charger_id DESC LIMIT $6;

-- name: notifications
SELECT created_at, notice_id || '/' || subscription_id AS place,
       json_build_object(
           'notice_id', notice_id, 'subscription_id', subscription_id, 'kind', kind,
           'severity', said ->> 'severity', 'text', said ->> 'text', 'charger_id', charger_id, 'job_id', said ->> 'job_id',
           'state', state, 'attempts', attempts, 'created_at', created_at,
           'next_at', CASE WHEN state = 'pending' THEN next_at END, 'settled_at', settled_at, 'last_error', last_error
       )::text AS doc
  FROM notification, LATERAL (SELECT convert_from(notice, 'UTF8')::json AS said) AS decoded
 WHERE ($1::text IS NULL OR state = $1)
   AND ($2::text IS NULL OR subscription_id = $2)
   AND ($3::text IS NULL OR charger_id = $3)
   AND ($4::timestamptz IS NULL OR (created_at, notice_id || '/' || subscription_id) < ($4, $5::text))
 ORDER BY created_at DESC, notice_id || '/' || subscription_id DESC LIMIT $6;

-- name: authorization_keys
-- Of chargers that use one, or should: profiles 1 and 2.
SELECT charger_id, json_build_object(
           'charger_id', charger_id, 'family', family, 'site', site, 'cohort', cohort, 'security_profile', security_profile,
           'generation', generation, 'origin', origin, 'weakness', weakness, 'active_since', active_since,
           'pending_since', pending_since, 'states', array_remove(ARRAY[
               CASE WHEN origin = 'factory' OR weakness = 'factory-key' THEN 'factory' END,
               CASE WHEN shared THEN 'shared' END,
               CASE WHEN active_since < $5 THEN 'old' END,
               CASE WHEN weakness IS NOT NULL THEN 'weak' END,
               CASE WHEN generation IS NULL THEN 'unknown' END,
               CASE WHEN pending_since IS NOT NULL THEN 'pending' END,
               CASE WHEN in_doubt THEN 'in-doubt' END], NULL)) AS doc
  FROM charger LEFT JOIN authorization_key AS known USING (charger_id)
 CROSS JOIN LATERAL (SELECT EXISTS (
           SELECT FROM authorization_key AS other
            WHERE other.charger_id <> known.charger_id AND other.digests && known.digests) AS shared) AS compared
 WHERE NOT decommissioned AND security_profile IN (1, 2)
   AND ($1::text IS NULL OR CASE $1
            WHEN 'factory' THEN origin = 'factory' OR weakness = 'factory-key'
            WHEN 'shared' THEN shared
            WHEN 'old' THEN active_since < $5
            WHEN 'weak' THEN weakness IS NOT NULL
            WHEN 'unknown' THEN generation IS NULL
            WHEN 'pending' THEN pending_since IS NOT NULL
            WHEN 'in-doubt' THEN in_doubt END)
   AND ($2::text IS NULL OR family = $2)
   AND ($3::text IS NULL OR site = $3)
   AND ($4::text IS NULL OR cohort = $4)
   AND ($6::text IS NULL OR charger_id > $6)
   AND ($8::text[] IS NULL OR cohort = ANY($8))
 ORDER BY charger_id LIMIT $7;

-- name: authorization_key_counts
WITH repeated AS (
    SELECT digest FROM authorization_key, unnest(digests) AS digest GROUP BY digest HAVING count(*) > 1
), twice AS (
    SELECT DISTINCT charger_id FROM authorization_key, unnest(digests) AS digest WHERE digest IN (SELECT * FROM repeated)
)
SELECT count(*) AS total,
       count(*) FILTER (WHERE origin = 'factory' OR weakness = 'factory-key') AS factory,
       count(twice.charger_id) AS shared,
       count(*) FILTER (WHERE active_since < $1) AS old,
       count(*) FILTER (WHERE weakness IS NOT NULL) AS weak,
       count(*) FILTER (WHERE generation IS NULL) AS unknown,
       count(*) FILTER (WHERE pending_since IS NOT NULL) AS pending,
       count(*) FILTER (WHERE in_doubt) AS in_doubt
  FROM charger LEFT JOIN authorization_key USING (charger_id) LEFT JOIN twice USING (charger_id)
 WHERE NOT decommissioned AND security_profile IN (1, 2);

-- name: approvals
SELECT requested_at, approval_id, doc FROM approval
 WHERE ($1::text IS NULL OR state = $1)
   AND ($2::text IS NULL OR kind = $2)
   AND ($3::text IS NULL OR charger_id = $3)
   AND ($4::timestamptz IS NULL OR (requested_at, approval_id) < ($4, $5::text))
   AND ($7::text[] IS NULL OR EXISTS (
           SELECT FROM charger WHERE charger.charger_id = approval.charger_id AND charger.cohort = ANY($7)))
 ORDER BY requested_at DESC, approval_id DESC LIMIT $6;

-- name: approval
SELECT doc FROM approval WHERE approval_id = $1;

-- name: identities
-- Two lists in one order, each cut before they are put together. An EVSE stands where its charger stands.
SELECT identity_id, place, doc FROM (
    (SELECT i.identity_id, '' AS place,
            (convert_from(i.doc, 'UTF8')::jsonb || CASE WHEN c.charger_id IS NULL THEN '{}' ELSE
                jsonb_build_object('family', c.family, 'site', c.site, 'cohort', c.cohort) END)::text AS doc
       FROM identity i LEFT JOIN charger c ON c.charger_id = i.charger_id
      WHERE ($1::text IS NULL OR i.kind = $1)
        AND ($2::text IS NULL OR i.state = $2)
        AND ($3::text IS NULL OR coalesce(c.family, i.family) = $3)
        AND ($4::text IS NULL OR coalesce(c.site, i.site) = $4)
        AND ($5::text IS NULL OR coalesce(c.cohort, i.cohort) = $5)
        AND ($6::text IS NULL OR i.charger_id = $6)
        AND ($7::text IS NULL OR strpos(lower(concat_ws(' ', i.identity_id, i.charger_id)), lower($7)) > 0
             OR i.identity_id IN (SELECT identity_id FROM identity_holder WHERE external_id = ANY ($8::text[])))
        AND ($9::text IS NULL OR NOT EXISTS (
             SELECT FROM json_array_elements($9::json) AS sought
              WHERE NOT EXISTS (SELECT FROM identity_holder h JOIN json_array_elements_text(sought) AS name
                                    ON h.external_id = name WHERE h.identity_id = i.identity_id)))
        AND ($9::text IS NULL OR i.identity_id IN (
             SELECT identity_id FROM identity_holder
              WHERE external_id IN (SELECT name FROM json_array_elements($9::json) AS sought,
                                                     json_array_elements_text(sought) AS name)))
        AND ($10::text IS NULL OR (i.identity_id, '') > ($10, $11))
      ORDER BY i.identity_id LIMIT $12)
    UNION ALL
    (SELECT managed_identity_id, charger_id,
            json_build_object('identity_id', managed_identity_id, 'kind', 'charger',
                'state', CASE WHEN decommissioned THEN 'retired' ELSE 'registered' END,
                'names', json_build_array('serial_number:' || serial_number),
                'family', family, 'site', site, 'cohort', cohort, 'charger_id', charger_id,
                'registered_at', NULL, 'retired_at', NULL, 'erased_at', NULL)::text
       FROM charger
      WHERE ($1::text IS NULL OR $1 = 'charger')
        AND ($2::text IS NULL OR $2 = CASE WHEN decommissioned THEN 'retired' ELSE 'registered' END)
        AND ($3::text IS NULL OR family = $3)
        AND ($4::text IS NULL OR site = $4)
        AND ($5::text IS NULL OR cohort = $5)
        AND ($6::text IS NULL OR charger_id = $6)
        AND ($7::text IS NULL OR strpos(lower(concat_ws(' ', charger_id, serial_number, managed_identity_id)), lower($7)) > 0)
        AND $9::text IS NULL
        AND ($10::text IS NULL OR (managed_identity_id, charger_id) > ($10, $11))
      ORDER BY managed_identity_id, charger_id LIMIT $12)
) AS every ORDER BY identity_id, place LIMIT $12;

-- name: identity
SELECT coalesce(
    (SELECT (convert_from(i.doc, 'UTF8')::jsonb || CASE WHEN c.charger_id IS NULL THEN '{}' ELSE
                jsonb_build_object('family', c.family, 'site', c.site, 'cohort', c.cohort) END)::text
       FROM identity i LEFT JOIN charger c ON c.charger_id = i.charger_id WHERE i.identity_id = $1),
    (SELECT json_build_object('identity_id', managed_identity_id, 'kind', 'charger',
                'state', CASE WHEN decommissioned THEN 'retired' ELSE 'registered' END,
                'names', json_build_array('serial_number:' || serial_number),
                'family', family, 'site', site, 'cohort', cohort, 'charger_id', charger_id,
                'registered_at', NULL, 'retired_at', NULL, 'erased_at', NULL)::text
       FROM charger WHERE managed_identity_id = $1 ORDER BY decommissioned, charger_id LIMIT 1));

-- name: external_ids_known
SELECT DISTINCT external_id FROM identity_holder WHERE external_id = ANY ($1::text[]);

-- name: aggregate
SELECT key, version, state FROM aggregate WHERE partition = $1 AND key = $2;

-- name: open_job_counts
SELECT stage, purpose, overdue, count(*) AS count FROM job WHERE state = 'open' GROUP BY stage, purpose, overdue;

-- name: certificate_counts
SELECT purpose, state, mode, count(*) AS count FROM certificate GROUP BY purpose, state, mode;

-- name: charger_counts
SELECT family, cohort, connected, count(*) AS count FROM charger WHERE NOT decommissioned GROUP BY family, cohort, connected;

-- name: charger_groups
SELECT family, cohort, count(*) AS count FROM charger WHERE NOT decommissioned
 GROUP BY family, cohort ORDER BY count(*) DESC, family, cohort;

-- name: active_ending_in
SELECT span.family, span.cohort, count(*) AS count
  FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[]) AS span (family, cohort, after, until)
  JOIN charger USING (family, cohort)
  JOIN certificate USING (charger_id)
 WHERE NOT charger.decommissioned AND certificate.purpose = $1 AND certificate.state = 'active'
   AND certificate.not_after > span.after AND certificate.not_after <= span.until
 GROUP BY span.family, span.cohort;

-- name: authority_load
SELECT authority.arn AS authority_arn,
       (SELECT count(*) FROM certificate WHERE issuing_ca_id = authority.arn AND not_after > $2
           AND state IN ('issued', 'installed', 'active', 'superseded')
           AND (state <> 'superseded' OR (convert_from(doc, 'UTF8')::json ->> 'admit_until')::timestamptz > $2)) AS certificates,
       (SELECT count(*) FROM effect CROSS JOIN LATERAL convert_from(effect.doc, 'UTF8') AS said
         WHERE said::json ->> 'type' IN ('IssueCertificate', 'ReconcileIssuance')
           AND said::json ->> 'authority_arn' = authority.arn) AS orders,
       (SELECT min(fleet_position) FROM partition WHERE number <> 0) AS heard_sequence
  FROM unnest($1::text[]) AS authority (arn);

-- name: authority_holders
SELECT certificate.certificate_id, certificate.charger_id, charger.family, charger.cohort, charger.connected, certificate.state,
       certificate.not_after
  FROM certificate JOIN charger USING (charger_id)
 WHERE issuing_ca_id = $1 AND not_after > $2 AND certificate.state IN ('issued', 'installed', 'active', 'superseded')
   AND (certificate.state <> 'superseded'
        OR (convert_from(certificate.doc, 'UTF8')::json ->> 'admit_until')::timestamptz > $2)
 ORDER BY charger.connected, certificate.not_after, certificate.certificate_id LIMIT $3;

-- name: incarnations
SELECT DISTINCT convert_from(doc, 'UTF8')::json -> 'session' ->> 'node' AS node, incarnation
  FROM charger WHERE incarnation IS NOT NULL;

-- name: partitions
SELECT number, owner, epoch, lease_until > clock_timestamp() AS live, sequence, sequence - outbox_position AS outbox_backlog,
       evidence_position, (SELECT count(*) FROM quarantined_evidence q WHERE q.partition = number) AS quarantined,
       clock_timestamp() AS database_now
  FROM partition ORDER BY number;

-- name: anchor_holders
-- Chargers that meet us over TLS, by how surely they hold a bundle of $1 that is among $2. Reads every charger's body.
-- Those among $5 are each a group of its own, for what policy says of them alone.
SELECT family, cohort, cannot_list, apart, rung, count(*) AS count,
       (array_agg(charger_id ORDER BY charger_id))[1:$4::int] AS examples
  FROM (SELECT charger_id, family, cohort, CASE WHEN charger_id = ANY ($5::text[]) THEN charger_id END AS apart,
               coalesce((body -> 'capabilities' ->> 'cannot_list')::boolean, false) AS cannot_list,
               (SELECT held ->> 'rung' FROM json_array_elements(body -> 'trust_anchors') AS held
                 WHERE held ->> 'purpose' = $1 AND held ->> 'bundle_id' = ANY ($2::text[]) LIMIT 1) AS rung
          FROM (SELECT charger_id, family, cohort, convert_from(doc, 'UTF8')::json AS body
                  FROM charger WHERE NOT decommissioned AND security_profile >= $3::smallint) AS read) AS each
 GROUP BY family, cohort, cannot_list, apart, rung
 ORDER BY family, cohort, cannot_list, apart NULLS FIRST, rung NULLS FIRST;

-- name: incident_forecast
-- By family, cohort and state, the certificates a selector chooses; `locked_out`: of chargers that have no other in use,
-- if such certificates open sessions ($11).
WITH chosen AS MATERIALIZED (
    SELECT certificate_id, certificate.charger_id, certificate.state, family, cohort, connected, security_profile
      FROM certificate JOIN charger USING (charger_id)
     WHERE purpose = $1 AND certificate.state NOT IN ('revoked', 'expired') AND not_after > $2::timestamptz
       AND ($3::text[] = '{}' OR issuing_ca_id = ANY ($3)) AND ($4::text[] = '{}' OR spki_sha256 = ANY ($4))
       AND ($5::text[] = '{}' OR certificate_id = ANY ($5)) AND ($6::text[] = '{}' OR family = ANY ($6))
       AND ($7::text[] = '{}' OR site = ANY ($7)) AND ($8::text[] = '{}' OR cohort = ANY ($8))
       AND ($9::timestamptz IS NULL OR issued_at >= $9) AND ($10::timestamptz IS NULL OR issued_at < $10))
SELECT family, cohort, state, count(*) AS certificates, count(*) FILTER (WHERE connected) AS connected,
       count(*) FILTER (WHERE $11::boolean AND state IN ('installed', 'active') AND security_profile >= 3 AND NOT EXISTS (
           SELECT FROM certificate AS other
            WHERE other.charger_id = chosen.charger_id AND other.purpose = $1 AND other.state IN ('installed', 'active')
              AND other.certificate_id NOT IN (SELECT certificate_id FROM chosen AS beside
                                                WHERE beside.charger_id = chosen.charger_id))) AS locked_out
  FROM chosen GROUP BY family, cohort, state ORDER BY family, cohort, state;

-- name: incident_selection_counts
-- What a selector chooses now, as the forecast does ($1 to $10), by family and by CA ('' for one that is not known).
SELECT family, coalesce(issuing_ca_id, '') AS issuing_ca_id, count(*) AS certificates, count(*) FILTER (WHERE connected) AS connected
  FROM certificate JOIN charger USING (charger_id)
 WHERE purpose = $1 AND certificate.state NOT IN ('revoked', 'expired') AND not_after > $2::timestamptz
   AND ($3::text[] = '{}' OR issuing_ca_id = ANY ($3)) AND ($4::text[] = '{}' OR spki_sha256 = ANY ($4))
   AND ($5::text[] = '{}' OR certificate_id = ANY ($5)) AND ($6::text[] = '{}' OR family = ANY ($6))
   AND ($7::text[] = '{}' OR site = ANY ($7)) AND ($8::text[] = '{}' OR cohort = ANY ($8))
   AND ($9::timestamptz IS NULL OR issued_at >= $9) AND ($10::timestamptz IS NULL OR issued_at < $10)
 GROUP BY 1, 2 ORDER BY 1, 2;

-- name: incident_selection
-- The same, one by one, in the form of an incident's targets.
SELECT certificate_id, json_build_object(
           'certificate_id', certificate_id, 'charger_id', certificate.charger_id, 'family', family, 'site', site, 'cohort', cohort,
           'connected', connected, 'certificate_state', certificate.state, 'state', 'selected', 'came_later', false,
           'not_after', not_after, 'last_seen_at', convert_from(charger.doc, 'UTF8')::json -> 'last_seen_at')::text AS doc
  FROM certificate JOIN charger USING (charger_id)
 WHERE purpose = $1 AND certificate.state NOT IN ('revoked', 'expired') AND not_after > $2::timestamptz
   AND ($3::text[] = '{}' OR issuing_ca_id = ANY ($3)) AND ($4::text[] = '{}' OR spki_sha256 = ANY ($4))
   AND ($5::text[] = '{}' OR certificate_id = ANY ($5)) AND ($6::text[] = '{}' OR family = ANY ($6))
   AND ($7::text[] = '{}' OR site = ANY ($7)) AND ($8::text[] = '{}' OR cohort = ANY ($8))
   AND ($9::timestamptz IS NULL OR issued_at >= $9) AND ($10::timestamptz IS NULL OR issued_at < $10)
   AND ($11::text IS NULL OR certificate_id > $11) AND ($13::text[] IS NULL OR cohort = ANY ($13))
 ORDER BY certificate_id LIMIT $12;

-- name: incident_counts
SELECT incident_id, incident_state AS state, count(*) AS count, count(*) FILTER (WHERE came_later) AS came_later FROM certificate
 WHERE incident_id = ANY ($1::text[]) GROUP BY incident_id, incident_state ORDER BY incident_id, incident_state;

-- name: incident_targets
SELECT certificate_id, json_build_object(
           'certificate_id', certificate_id, 'charger_id', certificate.charger_id, 'family', family, 'site', site, 'cohort', cohort,
           'connected', coalesce(connected, false), 'certificate_state', certificate.state, 'state', incident_state,
           'came_later', came_later, 'not_after', not_after, 'last_seen_at', convert_from(charger.doc, 'UTF8')::json -> 'last_seen_at')::text AS doc
  FROM certificate LEFT JOIN charger USING (charger_id)
 WHERE incident_id = $1 AND ($2::text IS NULL OR incident_state = $2)
   AND ($3::text IS NULL OR certificate_id > $3) AND ($5::text[] IS NULL OR cohort = ANY ($5))
 ORDER BY certificate_id LIMIT $4;
