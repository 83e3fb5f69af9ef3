"""What the embedded PostgreSQL is told on its command line, beyond its own defaults."""

SETTINGS = {
    "max_connections": "60",
    "shared_buffers": "64MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "unix_socket_permissions": "0700",
    "log_checkpoints": "off",
    # A failing CREATE ROLE would otherwise put its password into the log.
    "log_min_error_statement": "panic",
}
NOT_DURABLE_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "shared_buffers": "32MB",
}
