"""The core's way to PostgreSQL: roles, migrations, and one set of connections per database role."""

import logging
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from bfactors.ports import KeyCustody
from bfactors.settings import Settings
from persistence.ca_desk import PostgresCaDesk
from persistence.certificate_index import PostgresCertificateIndex
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import migrate
from persistence.notification import PostgresNotifications
from persistence.personal_identifier import PostgresPersonalIdentifiers
from persistence.proof import ProofReader
from persistence.reader import LedgerReader
from persistence.retention import PostgresRetention
from persistence.role import OWNER, READER, WRITER, ensure_roles
from persistence.secret import PostgresSecretStore
from persistence.token import TokenStore
from persistence.upload_ticket import PostgresUploadTickets

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Database:
    """The core's connections, each under its own role."""

    store: PostgresLedgerStore
    reader: LedgerReader
    tokens: TokenStore
    secrets: PostgresSecretStore
    personal: PostgresPersonalIdentifiers
    retention: PostgresRetention
    uploads: PostgresUploadTickets
    ca_desk: PostgresCaDesk
    certificates: PostgresCertificateIndex
    proofs: ProofReader
    notifications: PostgresNotifications

    @classmethod
    async def open(cls, settings: Settings, passwords: dict[str, str], custody: KeyCustody) -> "Database":
        """Create roles where we may, migrate, connect. Raises Unavailable, SettingsError."""
        if settings.postgres_superuser_dsn:
            await ensure_roles(settings.postgres_superuser_dsn, passwords or _passwords_in(settings))
        applied = await migrate(settings.postgres_owner_dsn)
        if applied:
            _LOG.info("database migrated: %s", ", ".join(f"{number:04d}" for number in applied))
        store = await PostgresLedgerStore.open(settings.postgres_writer_dsn)
        reader = await LedgerReader.open(settings.postgres_reader_dsn)
        tokens = await TokenStore.open(settings.postgres_writer_dsn)
        secrets = await PostgresSecretStore.reach(settings.postgres_writer_dsn, custody)
        personal = await PostgresPersonalIdentifiers.reach(settings.postgres_writer_dsn, custody)
        retention = await PostgresRetention.reach(settings.postgres_writer_dsn, personal)
        uploads = await PostgresUploadTickets.reach(settings.postgres_writer_dsn)
        ca_desk = await PostgresCaDesk.reach(settings.postgres_writer_dsn)
        certificates = await PostgresCertificateIndex.reach(settings.postgres_reader_dsn)
        proofs = await ProofReader.open(settings.postgres_reader_dsn)
        notifications = await PostgresNotifications.reach(settings.postgres_writer_dsn)
        return cls(
            *(
                store,
                reader,
                tokens,
                secrets,
                personal,
                retention,
                uploads,
                ca_desk,
                certificates,
                proofs,
                notifications,
            )
        )

    async def close(self) -> None:
        await self.store.close()
        await self.reader.close()
        await self.tokens.close()
        await self.secrets.close()
        await self.personal.close()
        await self.retention.close()
        await self.uploads.close()
        await self.ca_desk.close()
        await self.certificates.close()
        await self.proofs.close()
        await self.notifications.close()


def _passwords_in(settings: Settings) -> dict[str, str]:
    """The roles' passwords as their DSNs carry them. Empty ones are refused by `ensure_roles`."""
    dsns = {
        OWNER: settings.postgres_owner_dsn,
        WRITER: settings.postgres_writer_dsn,
        READER: settings.postgres_reader_dsn,
    }
    return {role: unquote(urlsplit(dsn).password or "") for role, dsn in dsns.items()}
