-- Notices on their way: what the ledger's events mean to somebody who is not looking. The one row of `notifier` says how far
-- the published events have been gone through, and which core does so; an owner that was replaced is fenced by its epoch.

CREATE TABLE notifier (
    the_one     boolean     PRIMARY KEY DEFAULT true CHECK (the_one),
    owner       text        NOT NULL,
    epoch       bigint      NOT NULL,
    lease_until timestamptz NOT NULL,
    position    bigint      -- in the stream of published events; NULL: it has never begun
);

CREATE TABLE notification (
    notice_id       text        NOT NULL,
    subscription_id text        NOT NULL,
    kind            text        NOT NULL,
    charger_id      text,
    created_at      timestamptz NOT NULL,
    state           text        NOT NULL CHECK (state IN ('pending', 'delivered', 'given-up', 'withdrawn')),
    attempts        integer     NOT NULL DEFAULT 0,
    next_at         timestamptz NOT NULL,
    settled_at      timestamptz,
    last_error      text,
    notice          bytea       NOT NULL,
    PRIMARY KEY (notice_id, subscription_id)
);
CREATE INDEX notification_due ON notification (next_at) WHERE state = 'pending';
CREATE INDEX notification_by_age ON notification (created_at, (notice_id || '/' || subscription_id));
CREATE INDEX notification_settled ON notification (settled_at) WHERE settled_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON notifier TO bf_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON notification TO bf_writer;
GRANT SELECT ON notifier, notification TO bf_reader;
