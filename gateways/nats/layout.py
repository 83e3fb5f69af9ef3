"""The streams and buckets, as they shall be: created when missing, corrected when different. Core's business only."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from bfactors import subject
from bfactors.errors import Unavailable
from bfactors.identity import PARTITIONS
from gateways.nats.replies import Replies

API_TIMEOUT_S = 5.0
NOT_FOUND = 10059
NAME_IN_USE = 10058
GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class NatsLayout:
    """Sizes and ages of what JetStream keeps. A full evidence stream refuses; the feeds drop their oldest."""

    evidence_bytes: int = 512 * MIB
    evidence_age: timedelta = timedelta(days=7)
    ledger_bytes: int = 2 * GIB
    ledger_age: timedelta = timedelta(days=30)
    ocpp_bytes: int = GIB
    ocpp_age: timedelta = timedelta(days=1)
    duplicate_window: timedelta = timedelta(minutes=2)
    node_ttl: timedelta = timedelta(seconds=10)
    replicas: int = 1
    first_evidence: Mapping[int, int] = field(default_factory=dict)
    """Per partition the sequence a newly created evidence stream starts at, so that a store that was lost cannot
    bring positions the ledger has already passed."""

    def streams(self) -> list[dict[str, Any]]:
        """Every stream's configuration in the words of JetStream's API."""
        return [
            *(self._evidence(partition) for partition in range(PARTITIONS)),
            self._stream(subject.STREAM_LEDGER, "bf.ledger.>", self.ledger_age, self.ledger_bytes, "old"),
            self._stream(subject.STREAM_OCPP, "bf.ocpp.>", self.ocpp_age, self.ocpp_bytes, "old"),
            self._bucket(subject.BUCKET_ADMISSION),
            self._bucket(subject.BUCKET_CONTROL),
            self._nodes(),
        ]

    def _evidence(self, partition: int) -> dict[str, Any]:
        name, filter_ = subject.evidence_stream(partition), subject.evidence_filter(partition)
        stream = self._stream(name, filter_, self.evidence_age, self.evidence_bytes, "new")
        if first := self.first_evidence.get(partition):
            stream["first_seq"] = first
        return stream

    def _stream(
        self, name: str, subject_filter: str, age: timedelta, max_bytes: int, discard: str
    ) -> dict[str, Any]:
        return {
            "name": name,
            "subjects": [subject_filter],
            "retention": "limits",
            "storage": "file",
            "discard": discard,
            "max_age": _nanoseconds(age),
            "max_bytes": max_bytes,
            "duplicate_window": _nanoseconds(min(self.duplicate_window, age)),
            "num_replicas": self.replicas,
            "allow_direct": True,
            "deny_delete": discard == "new",
            "deny_purge": discard == "new",
        }

    def _bucket(self, bucket: str) -> dict[str, Any]:
        """A KV bucket is a stream that keeps one message per key."""
        return {
            "name": f"KV_{bucket}",
            "subjects": [f"$KV.{bucket}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "duplicate_window": _nanoseconds(self.duplicate_window),
            "num_replicas": self.replicas,
            "allow_direct": True,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
        }

    def _nodes(self) -> dict[str, Any]:
        """One message per node incarnation; the server leaves a marker when one is not renewed in time."""
        return {
            "name": subject.STREAM_NODE,
            "subjects": [subject.NODE_FILTER],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "max_msgs_per_subject": 1,
            "max_age": _nanoseconds(self.node_ttl),
            "duplicate_window": _nanoseconds(min(self.node_ttl, self.duplicate_window)),
            "subject_delete_marker_ttl": _nanoseconds(timedelta(minutes=1)),
            "allow_msg_ttl": True,
            "allow_rollup_hdrs": True,
            "num_replicas": self.replicas,
        }


async def ensure_layout(replies: Replies, layout: NatsLayout) -> None:
    """Bring the server to the layout; running it again, or from two nodes at once, changes nothing. Raises Unavailable."""
    await asyncio.gather(*(_ensure(replies, stream) for stream in layout.streams()))


async def _ensure(replies: Replies, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    info = await _call(replies, f"STREAM.INFO.{name}", None)
    if _error_code(info) == NOT_FOUND:
        created = await _call(replies, f"STREAM.CREATE.{name}", wanted)
        if _error_code(created) not in (0, NAME_IN_USE):
            raise Unavailable("NATS", f"stream {name}: {created['error'].get('description')}")
        return
    _raise_on_error(name, info)
    present: dict[str, Any] = info["config"]
    changed = {
        key: value for key, value in wanted.items() if key != "first_seq" and present.get(key) != value
    }
    if changed:
        _raise_on_error(name, await _call(replies, f"STREAM.UPDATE.{name}", {**present, **changed}))


async def _call(replies: Replies, operation: str, body: dict[str, Any] | None) -> dict[str, Any]:
    payload = b"" if body is None else msgspec.json.encode(body)
    answer = await replies.request(f"$JS.API.{operation}", payload, API_TIMEOUT_S)
    if answer.nobody_listens:
        raise Unavailable("NATS", "JetStream is not enabled or not ready")
    decoded: dict[str, Any] = msgspec.json.decode(answer.payload)
    return decoded


def _error_code(answer: dict[str, Any]) -> int:
    return int(answer.get("error", {}).get("err_code", 0))


def _raise_on_error(name: str, answer: dict[str, Any]) -> None:
    if _error_code(answer):
        raise Unavailable("NATS", f"stream {name}: {answer['error'].get('description')}")


def _nanoseconds(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1_000_000_000)
