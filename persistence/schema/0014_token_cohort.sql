-- The cohorts a token is limited to; null: it is not limited.

ALTER TABLE api_token ADD COLUMN cohorts text[];
