-- Signed heads of the Merkle trees over each partition's rows, and what makes proofs cheap. A copy of every note lies outside
-- the database: nothing here has to be believed.

CREATE TABLE checkpoint (
    origin    text        NOT NULL,  -- a new one begins a new series; old ones stay
    partition smallint    NOT NULL,
    size      bigint      NOT NULL,
    root_hash bytea       NOT NULL CHECK (length(root_hash) = 32),
    head_hash bytea       NOT NULL CHECK (length(head_hash) = 32),
    made_at   timestamptz NOT NULL,
    note      text        NOT NULL,  -- the signed text with its signatures
    frontier  bytea       NOT NULL,  -- from here the next one is made of new rows alone
    PRIMARY KEY (origin, partition, size)
);
CREATE INDEX checkpoint_by_age ON checkpoint (made_at, origin, partition, size);

-- Roots of the complete subtrees of 256 leaves, of 65,536, ...: what lies between is hashed again when a proof is asked for.
CREATE TABLE merkle_node (
    partition smallint NOT NULL,
    height    smallint NOT NULL,
    index     bigint   NOT NULL,
    hash      bytea    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (partition, height, index)
);

CREATE TABLE checkpoint_key (
    name          text        NOT NULL,
    key_id        bytea       NOT NULL CHECK (length(key_id) = 4),
    algorithm     text        NOT NULL,
    der           bytea       NOT NULL,  -- SubjectPublicKeyInfo
    first_used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, der)
);

CREATE TRIGGER checkpoint_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER merkle_node_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON merkle_node
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER checkpoint_key_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoint_key
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON checkpoint, merkle_node, checkpoint_key TO bf_writer;
GRANT SELECT ON checkpoint, merkle_node, checkpoint_key TO bf_reader;
