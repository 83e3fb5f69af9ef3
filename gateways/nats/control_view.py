"""Pauses, family facts and other fleet control as this node knows it."""

from collections.abc import Callable

from bfactors import subject
from gateways.nats.bucket_watch import BucketWatch
from gateways.nats.connection import NatsConnection
from gateways.nats.ordered_stream import HEARTBEAT_S
from gateways.nats.replies import Replies


class NatsControlView:
    """`bfactors.ports.ControlView` over the bucket `bf_control`; a deleted key is reported as an empty value."""

    def __init__(
        self, connection: NatsConnection, replies: Replies, *, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self._values: dict[str, bytes] = {}
        self._subscribers: list[Callable[[str, bytes], None]] = []
        self._watch = BucketWatch(
            connection,
            replies,
            subject.BUCKET_CONTROL,
            put=self._put,
            removed=lambda key: self._put(key, b""),
            heartbeat_s=heartbeat_s,
        )

    def start(self) -> None:
        self._watch.start()

    async def stop(self) -> None:
        await self._watch.stop()

    async def wait_ready(self) -> None:
        await self._watch.wait_ready()

    @property
    def ready(self) -> bool:
        """Whether the first full snapshot has been seen; without one a node starts nothing new."""
        return self._watch.ready

    @property
    def age_s(self) -> float:
        return self._watch.age_s

    def subscribe(self, changed: Callable[[str, bytes], None]) -> None:
        """`changed(key, value)` for every key, at once for those already known."""
        self._subscribers.append(changed)
        for key, value in list(self._values.items()):
            changed(key, value)

    def _put(self, key: str, value: bytes) -> None:
        if self._values.get(key) == value:
            return  # told again after a reconnect
        self._values[key] = value
        for changed in self._subscribers:
            changed(key, value)
