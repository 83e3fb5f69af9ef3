-- What is known of each charger's AuthorizationKey, for the report of keys to be replaced. `digests` are of the key in use, in
-- each form it may be presented in: hashes of the HMACs under the pepper, so equal ones are equal keys.

CREATE TABLE authorization_key (
    charger_id    text        PRIMARY KEY,
    partition     smallint    NOT NULL,
    generation    integer,               -- NULL: no key in use
    origin        text,                  -- generated, given, factory
    weakness      text,
    active_since  timestamptz,
    pending_since timestamptz,           -- a rotation is open
    in_doubt      boolean     NOT NULL,  -- keys beside it that the charger may be using
    digests       text[]      NOT NULL
);
CREATE INDEX authorization_key_by_digest ON authorization_key USING gin (digests);

INSERT INTO authorization_key
SELECT state ->> 'charger_id', partition, (state -> 'keys' -> 0 ->> 'generation')::integer, state ->> 'key_origin', NULL,
       (state ->> 'key_since')::timestamptz, NULL, false,
       ARRAY(SELECT encode(sha256(convert_to((key ->> 'pepper_id') || ':' || (key ->> 'verifier'), 'UTF8')), 'hex')
               FROM jsonb_array_elements(state -> 'keys') AS key)
  FROM (SELECT partition, convert_from(state, 'UTF8')::jsonb AS state FROM aggregate WHERE key LIKE 'charger:%') AS known
 WHERE jsonb_array_length(state -> 'keys') > 0;

GRANT SELECT, INSERT, UPDATE ON authorization_key TO bf_writer;
GRANT SELECT ON authorization_key TO bf_reader;
