-- What the nodes of the core share about a CA. Not the ledger's: losing a row costs a wait, never a certificate.

CREATE TABLE ca_report (
    authority_arn text        PRIMARY KEY,
    report_id     text        NOT NULL,
    bucket        text        NOT NULL,
    key           text        NOT NULL,
    created_at    timestamptz NOT NULL
);

-- One row for each account, region and operation; every node takes its calls from here.
CREATE TABLE ca_call_bucket (
    scope     text             NOT NULL,
    operation text             NOT NULL,
    tokens    double precision NOT NULL,
    granted   integer          NOT NULL,  -- by the last take: an upsert can return it no other way
    filled_at timestamptz      NOT NULL,  -- the database's clock, nobody else's
    PRIMARY KEY (scope, operation)
) WITH (fillfactor = 10);

-- Which node compares which CA with the ledger, and when that is due again.
CREATE TABLE ca_reconciliation (
    authority_arn text        PRIMARY KEY,
    due_at        timestamptz NOT NULL,
    claimed_by    text        NOT NULL DEFAULT '',
    claimed_until timestamptz NOT NULL DEFAULT '-infinity'
);

GRANT SELECT, INSERT, UPDATE ON ca_report, ca_call_bucket, ca_reconciliation TO bf_writer;
GRANT SELECT ON ca_report, ca_call_bucket, ca_reconciliation TO bf_reader;
