"""Takes logs in: a one-time ticket, bounds before and while reading, and a fact recorded before the charger is answered.

Nothing here logs a path, a ticket, a password, a file name or content.
"""

import asyncio
import hmac
import logging
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, TypeVar

from aiohttp import web

from bfactors.errors import Unavailable
from bfactors.log_upload import (
    UploadFailed,
    UploadReceived,
    UploadTicket,
    recorded_content_type,
    stored_name,
    ticket_hash,
)
from bfactors.ports import Clock, LogStore, LogWriter, Metrics, UploadTickets
from gateways.logs.address import UploadAddress, presented_credential, upload_address
from gateways.logs.body import Body
from gateways.logs.limits import ReceiverLimits
from gateways.logs.quota import Quota
from gateways.logs.refused import UploadRefused

_LOG = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_AFTER = {"Retry-After": "30"}
_METHODS = frozenset({"PUT", "POST"})
_LEFT_A_LOG = frozenset({"tickets-away", "used-meanwhile"})
"""Refusals after which some upload of this ticket is stored; they are no failure to report."""


class LogReceiver:
    """Uploads of one process, on one loop. `gateways.logs.server` puts it behind a socket."""

    def __init__(
        self,
        *,
        tickets: UploadTickets,
        store: LogStore,
        clock: Clock,
        metrics: Metrics,
        limits: ReceiverLimits | None = None,
    ) -> None:
        self._tickets = tickets
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self.limits = limits or ReceiverLimits()
        self._quota = Quota(self.limits.quota)
        self._claimed: set[str] = set()
        self._bodies: set[Body] = set()
        self._settling: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Learn what the store holds. Raises Unavailable."""
        self._quota.learn(await self._store.stored())
        self._publish()

    async def close(self) -> None:
        """Wait for what is being settled; call it after the listener has closed."""
        while self._settling:
            await asyncio.wait(self._settling)

    def sweep(self) -> None:
        """End uploads that are too slow; called about once a second."""
        for body in tuple(self._bodies):
            body.cut_if_slow()

    async def expire(self, older_than: datetime) -> int:
        """Delete logs stored before `older_than` and count the rest anew; returns how many went. Raises Unavailable."""
        gone = await self._store.expire(older_than)
        self._quota.learn(await self._store.stored())
        self._publish()
        return len(gone)

    async def receive(self, request: web.BaseRequest) -> UploadReceived:
        """Take one upload in. Raises UploadRefused; whatever ends it, nothing half written stays."""
        if request.method not in _METHODS:
            raise UploadRefused(405, "method", {"Allow": "POST, PUT"})
        address = upload_address(request.raw_path)
        if address is None:
            raise UploadRefused(404, "unknown-ticket")
        hashed = ticket_hash(address.ticket)
        if hashed in self._claimed:
            raise UploadRefused(409, "under-way")
        self._claimed.add(hashed)
        try:
            ticket = await self._claim(hashed, request)
            return await self._take(request, address, hashed, ticket)
        finally:
            self._claimed.discard(hashed)

    # ------------------------------------------------------------ before the body

    async def _claim(self, hashed: str, request: web.BaseRequest) -> UploadTicket:
        """The ticket, when it is good and its credential was given. Unknown, used and expired look alike from outside."""
        try:
            ticket = await self._tickets.claim(hashed)
        except Unavailable as away:
            raise UploadRefused(503, "tickets-away", RETRY_AFTER) from away
        if ticket is None:
            raise UploadRefused(404, "unknown-ticket")
        if ticket.expires_at <= self._clock.now():
            raise UploadRefused(404, "expired-ticket")
        if ticket.credential_hash is not None:
            presented = presented_credential(request.headers.get("Authorization")) or ""
            if not hmac.compare_digest(presented, ticket.credential_hash):
                raise UploadRefused(401, "credential", {"WWW-Authenticate": 'Basic realm="logs"'})
        return ticket

    async def _take(
        self, request: web.BaseRequest, address: UploadAddress, hashed: str, ticket: UploadTicket
    ) -> UploadReceived:
        body: Body | None = None
        try:
            if not request.body_exists:
                raise UploadRefused(411 if request.content_length is None else 400, "empty")
            body = Body(request, ticket, self._quota, self._clock, self.limits.pace)
            self._admit(body, request, ticket)
            received = await self._stored(request, body, address, hashed, ticket)
        except UploadRefused as refused:
            refused.charger_id = ticket.charger_id
            if refused.reason not in _LEFT_A_LOG:
                await self._failed(request, hashed, ticket, refused.reason, body)
            raise
        finally:
            if body is not None:
                self._leave(body, is_stored=False)
        return received

    def _admit(self, body: Body, request: web.BaseRequest, ticket: UploadTicket) -> None:
        exceeded = self._quota.enter(body, ticket.charger_id, request.content_length or 0)
        if exceeded is not None:
            raise UploadRefused(507 if exceeded.endswith("quota") else 429, exceeded, RETRY_AFTER)
        self._bodies.add(body)
        self._publish()

    def _leave(self, body: Body, *, is_stored: bool) -> None:
        self._bodies.discard(body)
        self._quota.leave(body, is_stored=is_stored)
        self._publish()

    # ------------------------------------------------------------ the body and after

    async def _stored(
        self,
        request: web.BaseRequest,
        body: Body,
        address: UploadAddress,
        hashed: str,
        ticket: UploadTicket,
    ) -> UploadReceived:
        name = stored_name(ticket.charger_id, self._clock.now(), self._clock.new_id())
        try:
            writer = await self._store.begin(name)
            try:
                await body.pass_to(writer)
            except BaseException:
                await self._settled(writer.abandon())
                raise
            received = self._fact(request, body, address, hashed, ticket, name)
            await self._settled(self._finish(writer, received, body))
        except Unavailable as away:
            _LOG.warning("log upload not stored: %s", away)
            raise UploadRefused(503, "store-away", RETRY_AFTER) from away
        return received

    async def _finish(self, writer: LogWriter, received: UploadReceived, body: Body) -> None:
        """Store, then record. When the recording is in doubt the log is kept: a fact may name it."""
        try:
            await writer.finish(received.sha256)
        except Unavailable:
            await writer.abandon()
            raise
        is_kept = True
        try:
            if not await self._recorded(received):
                is_kept = not await self._store.delete(received.stored_name)
                raise UploadRefused(409, "used-meanwhile")
        finally:
            self._leave(body, is_stored=is_kept)

    async def _recorded(self, received: UploadReceived) -> bool:
        try:
            return await self._tickets.finished(received)
        except Unavailable as away:
            raise UploadRefused(503, "tickets-away", RETRY_AFTER) from away

    def _fact(
        self,
        request: web.BaseRequest,
        body: Body,
        address: UploadAddress,
        hashed: str,
        ticket: UploadTicket,
        name: str,
    ) -> UploadReceived:
        return UploadReceived(
            ticket_hash=hashed,
            charger_id=ticket.charger_id,
            request_id=ticket.request_id,
            log_type=ticket.log_type,
            sha256=body.sha256,
            size_bytes=body.size_bytes,
            stored_name=name,
            received_at=self._clock.now(),
            remote_address=request.remote or "",
            content_type=body.content_type or recorded_content_type(request.headers.get("Content-Type")),
            file_name=body.file_name or address.file_name,
        )

    async def _failed(
        self, request: web.BaseRequest, hashed: str, ticket: UploadTicket, reason: str, body: Body | None
    ) -> None:
        failure = UploadFailed(
            ticket_hash=hashed,
            charger_id=ticket.charger_id,
            request_id=ticket.request_id,
            reason=reason,
            received_bytes=body.progress.received_bytes if body is not None else 0,
            failed_at=self._clock.now(),
            remote_address=request.remote or "",
        )
        try:
            await self._tickets.failed(failure)
        except Unavailable as away:
            # Not worth an answer of its own: the charger reports UploadFailure over OCPP too.
            _LOG.warning("a failed log upload could not be reported: %s", away)

    async def _settled(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end even if the connection or the server goes away meanwhile."""
        task = asyncio.ensure_future(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return await asyncio.shield(task)

    def _publish(self) -> None:
        self._metrics.gauge("bf_log_uploads_open", self._quota.uploads)
        self._metrics.gauge("bf_log_stored_bytes", self._quota.stored_bytes)
