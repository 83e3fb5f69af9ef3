"""Core's part in logs of chargers: makes the one-time addresses, tells the ledger what arrived, hands logs out."""

import logging
import secrets
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import unquote, urlsplit

from aiohttp import web

from bfactors.disclosed import Disclosed
from bfactors.errors import LedgerCorrupt
from bfactors.evidence import Evidence, LogUploaded, evidence_id, kind_name
from bfactors.log_upload import (
    UploadFailed,
    UploadReceived,
    UploadTicket,
    credential_hash,
    ticket_hash,
    ticket_text,
    upload_url,
)
from bfactors.ports import Clock, EvidenceLog, LogStore, SecretStore
from bfactors.secret import SecretName
from gateways.admin.ports import MadeTicket
from gateways.logs.download import send_log
from persistence.upload_ticket import PostgresUploadTickets

_LOG = logging.getLogger(__name__)
PURPOSE = "log-upload"
_USER = "log"
_TICKET_BYTES = 32
_PASSWORD_BYTES = 24


class Uploads:
    """`bfactors.ports.UploadTickets`: the row first, then the evidence; what is missing of the latter is made up for."""

    def __init__(self, rows: PostgresUploadTickets, evidence: EvidenceLog, clock: Clock) -> None:
        self._rows = rows
        self._evidence = evidence
        self._clock = clock

    async def claim(self, ticket_hash: str) -> UploadTicket | None:
        return await self._rows.claim(ticket_hash)

    async def finished(self, received: UploadReceived) -> bool:
        if not await self._rows.use_up(received):
            return False
        await self._announce(received)
        return True

    async def failed(self, failure: UploadFailed) -> None:
        _LOG.warning(
            "a log upload came to nothing",
            extra={
                "charger": failure.charger_id,
                "reason": failure.reason,
                "bytes": failure.received_bytes,
                "request_id": failure.request_id,
            },
        )

    async def catch_up(self) -> int:
        """Tell the ledger of logs whose news were lost on the way; how many. Raises Unavailable."""
        waiting = await self._rows.unannounced()
        for received in waiting:
            await self._announce(received)
        return len(waiting)

    async def forget_secrets(self) -> None:
        """Delete the addresses nobody wants any more. Raises Unavailable."""
        await self._rows.forget_secrets()

    async def _announce(self, received: UploadReceived) -> None:
        body = LogUploaded(
            request_id=received.request_id,
            sha256=received.sha256,
            size_bytes=received.size_bytes,
            stored_name=received.stored_name,
            file_name=received.file_name,
            remote_address=received.remote_address,
        )
        evidence = Evidence(
            evidence_id=evidence_id("log", received.ticket_hash, kind_name(body)),
            charger_id=received.charger_id,
            source="log-receiver",
            observed_at=received.received_at,
            body=body,
        )
        await self._evidence.append(evidence)
        await self._rows.announced(received.ticket_hash)


class LogDesk:
    """`gateways.admin.ports.LogDesk`. `public_url` is the receiver as chargers reach it."""

    def __init__(
        self,
        store: LogStore,
        secret_store: SecretStore,
        clock: Clock,
        public_url: Callable[[], str],
        *,
        ticket_life: timedelta,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._secrets = secret_store
        self._clock = clock
        self._public_url = public_url
        self._ticket_life = ticket_life
        self._max_bytes = max_bytes

    async def ticket(self, secret_id: str, charger_id: str) -> MadeTicket:
        """Make an address for one log and seal it; under the same secret id the same one again. Raises Unavailable."""
        expires_at = self._clock.now() + self._ticket_life
        ticket, password = (
            ticket_text(secrets.token_bytes(_TICKET_BYTES)),
            secrets.token_urlsafe(_PASSWORD_BYTES),
        )
        url = upload_url(self._public_url(), ticket, user=_USER, password=password)
        name = SecretName(secret_id=secret_id, purpose=PURPOSE, charger_id=charger_id)
        if not await self._secrets.put(name, Disclosed(url.encode()), expires_at):
            opened = await self._secrets.open(secret_id)
            if opened is None or opened.name != name:
                raise LedgerCorrupt(f"the secret {secret_id} is not the address of a log")
            url = opened.disclosed.value.decode()
        parts = urlsplit(url)
        return MadeTicket(
            ticket_hash=ticket_hash(parts.path.rpartition("/")[2]),
            credential_hash=credential_hash(unquote(parts.username or ""), unquote(parts.password or "")),
            max_bytes=self._max_bytes,
            expires_at=expires_at,
        )

    async def send(self, request: web.Request, stored_name: str) -> web.StreamResponse | None:
        """The content as an attachment; None: it is not kept any more. Raises Unavailable."""
        return await send_log(request, self._store, stored_name)
