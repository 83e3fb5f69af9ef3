"""One upload's body, streamed: at the charger's pace, within the ticket's and the quotas' bounds, hashed on its way."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, StreamReader, web

from bfactors.log_upload import UploadTicket, recorded_content_type, recorded_file_name
from bfactors.ports import Clock, LogWriter
from gateways.logs.multipart import OTHER_BYTES_MAX, FilePart, MalformedMultipart, boundary_of
from gateways.logs.pace import Pace, Progress
from gateways.logs.quota import Quota
from gateways.logs.refused import UploadRefused

_FORM = "multipart/form-data"


class Body:
    """What of a request is the log. `cut_if_slow` may be called any time, on the same loop."""

    def __init__(
        self, request: web.BaseRequest, ticket: UploadTicket, quota: Quota, clock: Clock, pace: Pace
    ) -> None:
        self._request = request
        self._content: StreamReader = request.content
        self._ticket = ticket
        self._quota = quota
        self._clock = clock
        self._patience: asyncio.Timeout | None = None
        self._is_cut = False
        self._hash = hashlib.sha256()
        self.progress = Progress(pace, clock.monotonic())
        self.size_bytes = 0
        self._bound_bytes = ticket.max_bytes
        self._part: FilePart | None = None
        if request.content_type.lower() == _FORM:
            self._bound_bytes += OTHER_BYTES_MAX
            try:
                self._part = FilePart(boundary_of(request.headers.get("Content-Type", "")))
            except MalformedMultipart as error:
                raise UploadRefused(400, "malformed") from error
        if (request.content_length or 0) > self._bound_bytes:
            raise UploadRefused(413, "too-large")

    @property
    def sha256(self) -> str:
        """Of what has been passed on so far; lower hex."""
        return self._hash.hexdigest()

    @property
    def file_name(self) -> str | None:
        """As the file's part named it, recordable; None without one."""
        return recorded_file_name(self._part.file_name) if self._part is not None else None

    @property
    def content_type(self) -> str:
        """Of the file's part, recordable; "" when only the request has one."""
        return recorded_content_type(self._part.content_type) if self._part is not None else ""

    def cut_if_slow(self) -> None:
        """End the upload when its charger breaks the pace."""
        if not self._is_cut and self.progress.is_too_slow(self._clock.monotonic()):
            self._is_cut = True
            if self._patience is not None:
                self._patience.reschedule(0.0)

    async def pass_to(self, writer: LogWriter) -> None:
        """Read everything and write the log's bytes. Raises UploadRefused, or Unavailable from the writer."""
        # Only now: a charger that waits for it has sent nothing in vain until here.
        await _continue(self._request)
        try:
            async for chunk in self._pieces():
                data = chunk if self._part is None else self._part.feed(chunk)
                if data:
                    await self._pass(writer, data)
            if self._part is not None:
                self._part.end()
        except MalformedMultipart as error:
            raise UploadRefused(400, "malformed") from error
        if not self.size_bytes:
            raise UploadRefused(400, "empty")

    async def _pass(self, writer: LogWriter, data: bytes) -> None:
        if self.size_bytes + len(data) > self._ticket.max_bytes:
            raise UploadRefused(413, "too-large")
        exceeded = self._quota.grow(self, len(data))
        if exceeded is not None:
            raise UploadRefused(507, exceeded)
        self._hash.update(data)
        await writer.write(data)
        self.size_bytes += len(data)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while chunk := await self._next():
            if self.progress.received_bytes > self._bound_bytes:
                raise UploadRefused(413, "too-large")
            yield chunk

    async def _next(self) -> bytes:
        if self._is_cut:
            raise UploadRefused(408, "too-slow")
        self.progress.waits(self._clock.monotonic())
        try:
            async with asyncio.timeout(None) as self._patience:
                chunk = await self._content.readany()
        except TimeoutError:
            raise UploadRefused(408, "too-slow") from None
        except (OSError, web.RequestPayloadError) as error:
            raise UploadRefused(400, "broken-off") from error
        finally:
            self._patience = None
        self.progress.received(len(chunk), self._clock.monotonic())
        return chunk


async def _continue(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`; any other expectation was refused at the entrance. Raises UploadRefused."""
    if request.headers.get("Expect") and request.version == HttpVersion11:
        try:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except OSError as error:
            raise UploadRefused(400, "broken-off") from error
        # aiohttp takes what was written for the begin of the answer otherwise.
        request.writer.output_size = 0
