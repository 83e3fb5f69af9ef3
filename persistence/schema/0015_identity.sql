-- Managed identities that are no chargers: EVSEs, vehicles, contracts, servers. VIN, EMAID and PCID stand here, and in the
-- events, as pseudonyms only; what they stand for is in `personal_identifier`, sealed, and can be erased there.

CREATE TABLE identity (
    identity_id text     PRIMARY KEY,
    partition   smallint NOT NULL,
    kind        text     NOT NULL,
    state       text     NOT NULL,  -- registered, retired
    family      text     NOT NULL,
    site        text     NOT NULL,
    cohort      text     NOT NULL,
    charger_id  text,               -- of an EVSE
    doc         bytea    NOT NULL
);
CREATE INDEX identity_by_charger ON identity (charger_id) WHERE charger_id IS NOT NULL;

-- Who is called what. `held`: now; at most one identity holds a name. `kept`: what the name stands for may stay.
CREATE TABLE identity_holder (
    external_id text        NOT NULL,  -- a pseudonym, or `<scheme>:<value>`
    identity_id text        NOT NULL,
    held        boolean     NOT NULL,
    kept        boolean     NOT NULL,
    since       timestamptz NOT NULL,
    PRIMARY KEY (external_id, identity_id)
);
CREATE UNIQUE INDEX identity_holder_one ON identity_holder (external_id) WHERE held;

-- The seal (AES-256-GCM, under a key that is not in this database) covers pseudonym and kind as well.
CREATE TABLE personal_identifier (
    pseudonym    text        PRIMARY KEY,
    kind         text        NOT NULL,
    key_id       text        NOT NULL,  -- which sealing key
    wrapped      bytea       NOT NULL DEFAULT '',
    nonce        bytea       NOT NULL CHECK (length(nonce) = 12),
    sealed       bytea       NOT NULL CHECK (length(sealed) >= 16),
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL
);
CREATE INDEX personal_identifier_by_use ON personal_identifier (last_used_at);

GRANT SELECT, INSERT, UPDATE ON identity, identity_holder TO bf_writer;
GRANT SELECT ON identity, identity_holder TO bf_reader;
-- The one table of the three that forgets. Nothing for the reader.
GRANT SELECT, INSERT, DELETE, UPDATE (last_used_at) ON personal_identifier TO bf_writer;
