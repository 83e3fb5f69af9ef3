"""What the peer remembers across a kill -9: one sqlite file in WAL mode.

A commit reaches the operating system before the caller is answered, so it outlives the process; it is not
forced to the disk, so a power cut may lose the last moments. The connection belongs to the event loop's
thread; long work in another thread opens its own.
"""

import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS authority (
    id TEXT PRIMARY KEY, arn TEXT NOT NULL UNIQUE, realm TEXT NOT NULL, kind TEXT NOT NULL, parent_id TEXT,
    key_algorithm TEXT NOT NULL, certificate BLOB NOT NULL, status TEXT NOT NULL,
    created_at REAL NOT NULL, changed_at REAL NOT NULL, crl_number INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS certificate (
    authority_id TEXT NOT NULL, serial TEXT NOT NULL, body BLOB NOT NULL, subject TEXT NOT NULL,
    template_arn TEXT NOT NULL, not_before REAL NOT NULL, not_after REAL NOT NULL,
    issued_at REAL NOT NULL, ready_at REAL NOT NULL, token TEXT, parameter_hash TEXT NOT NULL,
    public_key_sha256 TEXT NOT NULL, self_signed INTEGER NOT NULL DEFAULT 0,
    revoked_at REAL, revocation_reason TEXT,
    PRIMARY KEY (authority_id, serial)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS certificate_by_token ON certificate (token, issued_at) WHERE token IS NOT NULL;
CREATE INDEX IF NOT EXISTS certificate_by_key ON certificate (public_key_sha256);
CREATE INDEX IF NOT EXISTS certificate_revoked ON certificate (authority_id, revoked_at)
    WHERE revoked_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS token_conflict (
    token TEXT NOT NULL, first_arn TEXT NOT NULL, first_hash TEXT NOT NULL, later_hash TEXT NOT NULL,
    seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS audit_report (
    id TEXT PRIMARY KEY, authority_id TEXT NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL,
    format TEXT NOT NULL, status TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS object (
    bucket TEXT NOT NULL, key TEXT NOT NULL, content_type TEXT NOT NULL, body BLOB NOT NULL,
    stored_at REAL NOT NULL, PRIMARY KEY (bucket, key));
CREATE TABLE IF NOT EXISTS session (
    access_key_id TEXT PRIMARY KEY, token TEXT NOT NULL, role_arn TEXT NOT NULL, name TEXT NOT NULL,
    expires_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS acm_certificate (
    arn TEXT PRIMARY KEY, kind TEXT NOT NULL, domain TEXT NOT NULL, names TEXT NOT NULL,
    key_algorithm TEXT NOT NULL, authority_arn TEXT, pca_arn TEXT, key_pem TEXT NOT NULL, chain_pem TEXT,
    token TEXT, requested_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value REAL NOT NULL);
"""


def connect(state_dir: Path) -> sqlite3.Connection:
    """An autocommit connection with rows that answer to column names; creates the tables when missing.

    A connection works only in the thread that opened it; a second one sees what the first committed.
    """
    connection = sqlite3.connect(state_dir / "peer.sqlite3", isolation_level=None, timeout=10)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_SCHEMA)
    return connection
