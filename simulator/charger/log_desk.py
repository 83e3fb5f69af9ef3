"""GetLog's answer, the upload itself over HTTP, and the status notifications around it."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp

from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.fault import FaultScript
from simulator.charger.fault_conduct import ClaimsUpload
from simulator.charger.journal import Happening, Journal
from simulator.charger.log_request import LogRequest
from simulator.charger.memory import ChargerMemory
from simulator.charger.tls import server_trust

Tell = Callable[[int, str], Awaitable[None]]
UPLOAD_S = 30


class LogDesk:
    """One upload at a time; a new request ends the one before it (OCPP 2.0.1 N01)."""

    def __init__(
        self,
        configuration: ChargerConfiguration,
        memory: ChargerMemory,
        faults: FaultScript,
        journal: Journal,
    ) -> None:
        self._configuration = configuration
        self._memory = memory
        self._faults = faults
        self._journal = journal
        self._upload: asyncio.Task[None] | None = None
        self._request: LogRequest | None = None
        self.status = "Idle"

    @property
    def request_id(self) -> int | None:
        """The id of the upload under way."""
        return self._request.request_id if self._request else None

    def file_name(self, kind: str) -> str:
        """What a log is called; where GetLog's address ends in a slash it is appended to it."""
        return f"{self._configuration.charger_id}-{kind.lower()}.log"

    def begin(self, request: LogRequest, tell: Tell, *, tells_cancelled: bool) -> None:
        """Upload in the background, telling every status; whatever went on before is cancelled.

        `tells_cancelled` is for versions that have a status for that.
        """
        before, earlier = self._upload, self._request
        self._request = request

        async def run() -> None:
            if before is not None and not before.done() and earlier is not None:
                before.cancel()
                await asyncio.wait({before})
                if tells_cancelled:
                    await tell(earlier.request_id, "AcceptedCanceled")
            self._request = request
            try:
                await self._run(request, tell)
            finally:
                if self._request is request:
                    self._request, self.status = None, "Idle"

        self._upload = asyncio.create_task(run())

    async def stop(self) -> None:
        """Give up what is under way; nothing is told."""
        if self._upload is not None:
            self._upload.cancel()
            with suppress(asyncio.CancelledError):
                await self._upload

    async def _run(self, request: LogRequest, tell: Tell) -> None:
        await self._say(request, "Uploading", tell)
        outcome = "UploadFailure"
        for attempt in range(request.retries + 1):
            if attempt:
                await asyncio.sleep(request.retry_interval_s)
            outcome = "Uploaded" if self._faults.has(ClaimsUpload) else await self._send(request)
            if outcome != "UploadFailure":
                break
        await self._say(request, outcome, tell)

    async def _say(self, request: LogRequest, status: str, tell: Tell) -> None:
        self.status = status
        self._journal.record(Happening.LOG_STATUS, f"{request.request_id}: {status}")
        await tell(request.request_id, status)

    async def _send(self, request: LogRequest) -> str:
        """One attempt; the answer is an upload status."""
        parts = urlsplit(request.location)
        if parts.scheme not in ("http", "https"):
            return "NotSupportedOperation"
        if not parts.hostname:
            return "BadMessage"
        headers = {"Content-Type": "text/plain"}
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        path = parts.path + request.filename if parts.path.endswith("/") else parts.path
        address = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
        url = urlunsplit((parts.scheme, address, path, parts.query, ""))
        trust: ssl.SSLContext | bool = True
        if parts.scheme == "https":
            trust = server_trust(self._memory.trust.pems(), self._configuration.family.tls_offer, False)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=UPLOAD_S)) as http,
                http.request(
                    self._configuration.family.upload_method,
                    url,
                    data=self.text(request.kind).encode(),
                    ssl=trust,
                    allow_redirects=False,
                    headers=headers,
                ) as response,
            ):
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return "UploadFailure"
        if status < 300:
            return "Uploaded"
        return "PermissionDenied" if status in (401, 403) else "UploadFailure"

    def text(self, kind: str) -> str:
        """A log's lines."""
        if kind == "SecurityLog":
            lines = [
                f"{each.at.isoformat()} {each.type} {each.tech_info}" for each in self._memory.security_log
            ]
        else:
            lines = [f"{each.at.isoformat()} {each.happening} {each.detail}" for each in self._journal.recent]
        title = f"{kind} of {self._configuration.charger_id}"
        return "\n".join([title, *lines]) + "\n"
