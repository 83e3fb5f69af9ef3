"""Upload tickets in memory, with the promises of `bfactors.ports.UploadTickets`."""

import asyncio
import secrets
from datetime import datetime

from bfactors.errors import Unavailable
from bfactors.log_upload import (
    UploadFailed,
    UploadReceived,
    UploadTicket,
    credential_hash,
    ticket_hash,
    ticket_text,
)


class MemoryUploadTickets:
    """Tickets by hash. `away` makes every method raise; `news` is set with every outcome."""

    def __init__(self) -> None:
        self._tickets: dict[str, UploadTicket] = {}
        self._used: dict[str, UploadReceived] = {}
        self.away = False
        self.failures: list[UploadFailed] = []
        self.news = asyncio.Event()

    @property
    def received(self) -> list[UploadReceived]:
        return list(self._used.values())

    def issue(
        self,
        charger_id: str = "CP-1",
        *,
        expires_at: datetime,
        request_id: int = 7,
        max_bytes: int = 1_000_000,
        credential: tuple[str, str] | None = None,
    ) -> str:
        """A fresh ticket, as it stands in a URL."""
        ticket = ticket_text(secrets.token_bytes(32))
        self._tickets[ticket_hash(ticket)] = UploadTicket(
            charger_id=charger_id,
            request_id=request_id,
            log_type="SecurityLog",
            expires_at=expires_at,
            max_bytes=max_bytes,
            credential_hash=credential_hash(*credential) if credential else None,
        )
        return ticket

    async def claim(self, ticket_hash: str) -> UploadTicket | None:
        self._reach()
        return None if ticket_hash in self._used else self._tickets.get(ticket_hash)

    async def finished(self, received: UploadReceived) -> bool:
        self._reach()
        first = self._used.setdefault(received.ticket_hash, received)
        self.news.set()
        return first == received

    async def failed(self, failure: UploadFailed) -> None:
        self._reach()
        self.failures.append(failure)
        self.news.set()

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("NATS")
