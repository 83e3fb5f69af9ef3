-- The certificates in use whose renewal is wanted: the work that is due. A certificate is among them from the opening of its
-- window until another has taken its place, so the index holds a few in a hundred.

ALTER TABLE certificate
    ADD COLUMN due_since      timestamptz,
    ADD COLUMN escalated_days smallint,     -- the last escalation window it reached
    ADD COLUMN renew_again_at timestamptz;  -- after a renewal that came to nothing

-- When it became due was not kept before; an escalation, or the next renewal, writes it.
UPDATE certificate SET due_since = now(), escalated_days = (known.one ->> 'escalated_days')::smallint
  FROM (SELECT each.value AS one
          FROM aggregate, json_each(convert_from(state, 'UTF8')::json -> 'certificates') AS each
         WHERE aggregate.key LIKE 'charger:%') AS known
 WHERE certificate.certificate_id = known.one ->> 'certificate_id' AND certificate.state = 'active'
   AND (known.one ->> 'renewal_due')::boolean;

CREATE INDEX certificate_due ON certificate (not_after, certificate_id) WHERE due_since IS NOT NULL;
