"""The admission records in memory: what upgrades and boots are answered from, also while NATS is away."""

import logging
from collections.abc import Callable

import msgspec

from bfactors import subject
from bfactors.admission import AdmissionPlace, AdmissionRecord
from bfactors.identity_rule import ended_in
from gateways.nats.bucket_watch import BucketWatch
from gateways.nats.connection import NatsConnection
from gateways.nats.ordered_stream import HEARTBEAT_S
from gateways.nats.replies import Replies

_LOG = logging.getLogger(__name__)
_DECODER = msgspec.json.Decoder(AdmissionRecord)


class NatsAdmissionView:
    """`bfactors.ports.AdmissionView` over the bucket `bf_admission`.

    A record that merely is not there any more (a bucket made anew) is kept as it was last known; one that was deleted
    is refused from then on.
    """

    def __init__(
        self, connection: NatsConnection, replies: Replies, *, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self._records: dict[str, AdmissionRecord] = {}
        self._subscribers: list[Callable[[AdmissionRecord], None]] = []
        self._followers: list[Callable[[AdmissionPlace, bool], None]] = []
        self._has_ended_some = False
        self._watch = BucketWatch(
            connection,
            replies,
            subject.BUCKET_ADMISSION,
            put=self._put,
            removed=self._remove,
            current=self._current,
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
        return self._watch.ready

    @property
    def age_s(self) -> float:
        return self._watch.age_s

    def get(self, charger_id: str) -> AdmissionRecord | None:
        return self._records.get(charger_id)

    def subscribe(self, changed: Callable[[AdmissionRecord], None]) -> None:
        """`changed` is called on the I/O lane with every record that is new or newer, from now on."""
        self._subscribers.append(changed)

    def follow(self, current: Callable[[AdmissionPlace, bool], None]) -> None:
        """`current(place, ended)`: everything up to that place is held here, and subscribers have been told. `ended`:
        a leaf may not be used any more by something that came since it was last called.
        """
        self._followers.append(current)

    def __len__(self) -> int:
        return len(self._records)

    def _put(self, charger_id: str, value: bytes) -> None:
        try:
            record = _DECODER.decode(value)
        except msgspec.DecodeError as error:
            _LOG.error(
                "the admission record of %r is unreadable and the last one is kept: %s", charger_id, error
            )
            return
        known = self._records.get(record.charger_id)
        if known is None or record.revision > known.revision:
            if known is not None and ended_in(record).keys() - ended_in(known).keys():
                self._has_ended_some = True
            self._change(record)

    def _remove(self, charger_id: str) -> None:
        known = self._records.get(charger_id)
        if known is not None and known.mode != "refused":
            self._change(
                msgspec.structs.replace(
                    known, mode="refused", refusal_reason="admission-record-removed", credentials=(), keys=()
                )
            )

    def _current(self, bucket: str, position: int) -> None:
        ended, self._has_ended_some = self._has_ended_some, False
        for current in self._followers:
            current(AdmissionPlace(bucket, position), ended)

    def _change(self, record: AdmissionRecord) -> None:
        self._records[record.charger_id] = record
        for changed in self._subscribers:
            changed(record)
