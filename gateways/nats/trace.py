"""Frames of chargers under trace, from the connect node that holds the session to every core's memory.

Plain core NATS and no stream: they are for the person who asked, and a lost one is a gap in a list, never a lost fact. The
trace itself reaches connect with the admission record; core asks connect nothing, for no reply would travel back to it
(`deploy/embedded/nats_rights.py`).
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from bfactors import subject
from bfactors.errors import Unavailable
from bfactors.frame_trace import FRAMES_MAX, TEXT_MAX_CHARS, TracedFrame
from bfactors.ports import Metrics
from gateways.nats.connection import NatsConnection
from gateways.nats.message import Message
from gateways.nats.registration import Registration

_LOG = logging.getLogger(__name__)

TRACES_MAX = 32
"""Traces kept in a core's memory; the oldest goes first. Each has at most 500 frames of about 2 KiB."""
MESSAGE_MAX_BYTES = 8 * TEXT_MAX_CHARS

_FRAMES = msgspec.json.Decoder(TracedFrame)
_ENCODER = msgspec.json.Encoder()


class NatsTraceSink:
    """Connect's side: `bfactors.ports.TraceSink`; I/O lane only."""

    def __init__(self, connection: NatsConnection, metrics: Metrics) -> None:
        self._connection = connection
        self._metrics = metrics

    def saw(self, charger_id: str, frame: TracedFrame) -> None:
        try:
            sent = self._connection.post(subject.trace(charger_id), _ENCODER.encode(frame), "", None)
        except Unavailable:
            sent = False
        if not sent:
            self._metrics.count("ocpp_trace_frames_lost")


class TraceWatch:
    """Core's side: the latest traces of all nodes, in this node's memory; I/O lane only."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._traces: OrderedDict[tuple[str, str], list[TracedFrame]] = OrderedDict()
        self._registration: Registration | None = None

    async def start(self) -> None:
        self._registration = await self._connection.subscribe(subject.TRACE_FILTER, self._told)

    async def stop(self) -> None:
        if self._registration is not None:
            await self._connection.unsubscribe(self._registration)

    def frames(self, charger_id: str, trace_id: str) -> Sequence[TracedFrame]:
        """What was seen, in the order it came; empty for a trace that is not known here any more."""
        return tuple(self._traces.get((subject.trace(charger_id), trace_id), ()))

    def _told(self, message: Message) -> None:
        if len(message.payload) > MESSAGE_MAX_BYTES:
            return
        try:
            frame = _FRAMES.decode(message.payload)
        except msgspec.DecodeError:
            # Its text could repeat part of the payload.
            _LOG.error("a frame on %s was not understood", message.subject)
            return
        frames = self._traces.setdefault((message.subject, frame.trace_id), [])
        if len(frames) < FRAMES_MAX:
            frames.append(frame)
        while len(self._traces) > TRACES_MAX:
            self._traces.popitem(last=False)
