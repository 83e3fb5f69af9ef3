-- As of every table but those with secrets: when the last round of sweeping began is for the reader too.
GRANT SELECT ON retention_run TO bf_reader;
