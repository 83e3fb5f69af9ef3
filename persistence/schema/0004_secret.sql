-- Secrets that still have to be sent, each sealed with AES-256-GCM under a key that is not in this database. The seal also
-- covers id, purpose, charger and generation, so that no row can be passed off as another's. 0003 made a first form of this
-- table that nothing ever wrote to.

DROP TABLE secret;

CREATE TABLE secret (
    secret_id  text        PRIMARY KEY,
    purpose    text        NOT NULL,
    charger_id text        NOT NULL,  -- '' for a secret of no charger
    generation integer     NOT NULL,
    key_id     text        NOT NULL,  -- which sealing key
    wrapped    bytea       NOT NULL DEFAULT '',  -- that key, encrypted under a key management service's own; '' for a key file
    nonce      bytea       NOT NULL CHECK (length(nonce) = 12),
    sealed     bytea       NOT NULL CHECK (length(sealed) >= 16),  -- the last 16 bytes are GCM's tag
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz            -- NULL: kept until it is deleted
);
CREATE INDEX secret_by_expiry ON secret (expires_at) WHERE expires_at IS NOT NULL;

-- No UPDATE: a secret is replaced as a whole or not at all. Nothing for the reader.
GRANT SELECT, INSERT, DELETE ON secret TO bf_writer;
