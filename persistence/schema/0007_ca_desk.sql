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

GRANT SELECT, INSERT, UPDATE ON ca_report, ca_call_bucket TO bf_writer;
GRANT SELECT ON ca_report, ca_call_bucket TO bf_reader;
