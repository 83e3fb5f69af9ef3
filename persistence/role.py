"""The three database roles and how they come to exist: owner (migrations), writer (the ledger), reader (everyone else).

What each may touch is granted by the migrations, beside the tables.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping

import asyncpg

from bfactors.errors import SettingsError
from persistence.database import MIGRATION_LOCK, unavailable_when_lost

OWNER = "bf_owner"
WRITER = "bf_writer"
READER = "bf_reader"
ROLES = (OWNER, WRITER, READER)

_SCRAM_ITERATIONS = 4096
"""What PostgreSQL itself uses by default; the passwords are random and long, so more would only slow every login."""

_ROLE_SETTINGS = {
    WRITER: {"idle_in_transaction_session_timeout": "30s"},
    READER: {"default_transaction_read_only": "on", "statement_timeout": "10s"},
}


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL stores for a password, made here so that no statement (and no log) ever carries the password.

    Raises SettingsError for an empty password or one outside ASCII, where SASLprep could change it.
    Source: RFC 5802 section 3, RFC 7677.
    """
    if not password or not password.isascii() or not password.isprintable():
        raise SettingsError("a database role's password must be printable ASCII and not empty")
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(value).decode() for value in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{text[0]}${text[1]}:{text[2]}"


async def ensure_roles(superuser_dsn: str, passwords: Mapping[str, str]) -> None:
    """Create or bring into line the three roles, and let nobody else into the database that the DSN names.

    `passwords` maps each of `ROLES` to its password. Safe to repeat and to run from several nodes at once; run it before
    the first `migrate`. Raises SettingsError, Unavailable.
    """
    missing = [role for role in ROLES if not passwords.get(role)]
    if missing:
        raise SettingsError(f"no password given for the database role {missing[0]}")
    verifiers = {role: scram_verifier(passwords[role]) for role in ROLES}
    async with unavailable_when_lost():
        connection = await asyncpg.connect(superuser_dsn)
        try:
            async with connection.transaction():
                # Roles belong to the cluster: two databases prepared at once would collide in the catalogue.
                await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
                for role in ROLES:
                    await _ensure_role(connection, role, verifiers[role])
                await _close_to_others(connection)
        finally:
            await connection.close()


async def _ensure_role(connection: asyncpg.Connection, role: str, verifier: str) -> None:
    exists = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role)
    verb = "ALTER" if exists else "CREATE"
    # Names are our constants and a verifier is base64 with $ and :, so nothing needs quoting beyond this.
    await connection.execute(
        f"{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD '{verifier}'"
    )
    for name, value in _ROLE_SETTINGS.get(role, {}).items():
        await connection.execute(f"ALTER ROLE {role} SET {name} = '{value}'")


async def _close_to_others(connection: asyncpg.Connection) -> None:
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    await connection.execute(f"GRANT CONNECT ON DATABASE {database} TO {', '.join(ROLES)}")
    await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    await connection.execute(f"GRANT USAGE ON SCHEMA public TO {', '.join(ROLES)}")
    await connection.execute(f"GRANT CREATE ON SCHEMA public TO {OWNER}")
