"""A KV bucket held in memory: every key's last value, kept current while NATS is there and kept while it is not."""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from bfactors.identity import name_of_token
from gateways.nats.background import begun, ended
from gateways.nats.connection import NatsConnection
from gateways.nats.delivery import Stored
from gateways.nats.ordered_stream import HEARTBEAT_S, OrderedStream
from gateways.nats.replies import Replies

_LOG = logging.getLogger(__name__)

_OPERATION = "KV-Operation"
_MARKER = "Nats-Marker-Reason"


class BucketWatch:
    """Calls `put(name, value)` and `removed(name)` on the I/O lane for what the bucket holds and whatever changes in it."""

    def __init__(
        self,
        connection: NatsConnection,
        replies: Replies,
        bucket: str,
        *,
        put: Callable[[str, bytes], None],
        removed: Callable[[str], None],
        current: Callable[[str, int], None] = lambda _, __: None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """`current(bucket, position)` is called when everything up to there has been taken in, and nothing newer waits."""
        self._bucket = bucket
        self._subject_prefix = f"$KV.{bucket}."
        self._put = put
        self._removed = removed
        self._current = current
        self._stream = OrderedStream(
            connection, replies, f"KV_{bucket}", start="last-per-subject", heartbeat_s=heartbeat_s
        )
        self._task: asyncio.Task[None] | None = None
        self._became_ready = asyncio.Event()

    def start(self) -> None:
        self._task = begun(self._watch(), f"watch {self._bucket}")

    async def stop(self) -> None:
        await ended(self._task)

    @property
    def ready(self) -> bool:
        """Whether the first full snapshot has been seen."""
        return self._became_ready.is_set()

    async def wait_ready(self) -> None:
        await self._became_ready.wait()

    @property
    def age_s(self) -> float:
        """Seconds since this was last known to be current: 0 while watching, infinite before the first snapshot."""
        if not self.ready:
            return math.inf
        return 0.0 if self._stream.live else max(0.0, time.monotonic() - self._stream.current_at)

    async def _watch(self) -> None:
        batches = self._stream.batches()
        try:
            async for batch in batches:
                for stored in batch.messages:
                    self._apply(stored)
                if batch.caught_up:
                    self._became_ready.set()
                    self._current(self._stream.created, self._stream.position)
        finally:
            await batches.aclose()

    def _apply(self, stored: Stored) -> None:
        try:
            name = name_of_token(stored.subject.removeprefix(self._subject_prefix))
            if stored.headers.keys() & {_OPERATION, _MARKER}:
                self._removed(name)
            else:
                self._put(name, stored.payload)
        except Exception:  # noqa: BLE001 - the outermost handler of the watch: one value must not stop all others
            _LOG.exception("a value of %s was not taken in", self._bucket)
