-- What the reader must never see: sealed secrets and the hashes of API tokens.

CREATE TABLE secret (
    secret_id  text        NOT NULL,
    generation integer     NOT NULL,
    key_id     text        NOT NULL,  -- which sealing key; the key itself is never here
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (secret_id, generation)
);

CREATE TABLE api_token (
    token_hash bytea       PRIMARY KEY CHECK (length(token_hash) = 32),
    role       text        NOT NULL,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE UNIQUE INDEX api_token_live_name ON api_token (name) WHERE revoked_at IS NULL;

GRANT SELECT, INSERT, DELETE ON secret TO bf_writer;
GRANT SELECT, INSERT ON api_token TO bf_writer;
GRANT UPDATE (revoked_at) ON api_token TO bf_writer;
