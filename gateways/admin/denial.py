"""Denied requests as evidence for the fleet's partition: who claimed what, where from, what they tried; never their token."""

import asyncio
import base64
import binascii
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from bfactors.errors import Unavailable
from bfactors.evidence import AccessDenied, Evidence, evidence_id
from bfactors.ports import Clock, EvidenceLog
from gateways.admin.denial_fold import KINDS_MAX, DenialFold

_LOG = logging.getLogger(__name__)
TICK_S = 1.0
UNSENT_MAX = 4 * KINDS_MAX
TEXT_MAX_CHARS = 128
_PAYLOAD_MAX_CHARS = 8192


class DenialReporter:
    """I/O lane only. What cannot be stored now is kept, up to a bound beyond which the oldest is forgotten."""

    def __init__(
        self,
        log: EvidenceLog,
        clock: Clock,
        *,
        source: str,
        now_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._log = log
        self._clock = clock
        self._source = source
        self._now_s = now_s
        self._wait = wait
        self._fold = DenialFold()
        self._unsent: deque[Evidence] = deque(maxlen=UNSENT_MAX)
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="denial reporter")

    async def stop(self) -> None:
        """Stop; what was counted is sent if NATS takes it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._keep(list(self._fold.rest()))
        await self._send()

    def denied(self, denial: AccessDenied) -> None:
        """Count one denied request."""
        self._fold.denied(denial, self._now_s())
        self._something.set()

    async def _run(self) -> None:
        while True:
            if not len(self._fold) and not self._unsent:
                self._something.clear()
                await self._something.wait()
            await self._wait(TICK_S)
            self._keep(list(self._fold.due(self._now_s())))
            await self._send()

    def _keep(self, found: list[AccessDenied]) -> None:
        now = self._clock.now()
        for denial in found:
            self._unsent.append(
                Evidence(
                    evidence_id=evidence_id("denied", self._source, self._clock.new_id()),
                    charger_id="",
                    source=self._source,
                    observed_at=now,
                    body=denial,
                )
            )

    async def _send(self) -> None:
        while self._unsent:
            evidence = self._unsent[0]
            try:
                await self._log.append(evidence)
            except Unavailable as away:
                _LOG.warning("denied requests are kept for later: %s", away)
                return
            if self._unsent and self._unsent[0] is evidence:
                self._unsent.popleft()


def plain(text: str) -> str:
    """What a stranger sent, fit to be stored and shown: printable, and short."""
    return "".join(character for character in text[:TEXT_MAX_CHARS] if character.isprintable())


def claimed_by(authorization: str | None) -> str:
    """What a request says of who sends it, believed by nobody: an unverified JWT's subject, or the kind of credential."""
    if authorization is None:
        return "no token"
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return "not a bearer token"
    parts = text.strip().split(".")
    if len(parts) != 3:
        return "a token"
    subject = _subject(parts[1])
    return f"a JWT of {plain(subject)!r}" if subject else "a JWT"


class _Claims(msgspec.Struct):
    sub: str = ""


def _subject(payload: str) -> str:
    if len(payload) > _PAYLOAD_MAX_CHARS:
        return ""
    try:
        raw = base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_")
        return msgspec.json.decode(raw, type=_Claims).sub
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        return ""
