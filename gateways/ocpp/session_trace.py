"""A session's frames on their way to whoever asked to see them."""

from bfactors.admission import AdmissionRecord, SessionInfo
from bfactors.frame_trace import Direction, FrameTrace, TraceOrder
from bfactors.ports import Clock, TraceSink


class SessionTrace:
    """One trace of one session; I/O lane only."""

    __slots__ = ("_charger_id", "_clock", "_sink", "_trace")

    def __init__(self, order: TraceOrder, info: SessionInfo, sink: TraceSink, clock: Clock) -> None:
        self._trace = FrameTrace(order, info.session_id)
        self._charger_id = info.charger_id
        self._sink = sink
        self._clock = clock

    def saw(self, direction: Direction, data: bytes) -> bool:
        """Tell of one frame; False when the trace is over."""
        frame = self._trace.take(direction, data, self._clock.now())
        if frame is not None:
            self._sink.saw(self._charger_id, frame)
        return frame is not None


class TraceDesk:
    """Begins what admission records ask for, once in each session."""

    def __init__(self, sink: TraceSink | None, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock

    def begun(self, record: AdmissionRecord, info: SessionInfo, last: str | None) -> SessionTrace | None:
        """The trace to begin now, if one is wanted that is neither over nor the `last` this session had."""
        order = record.trace
        if self._sink is None or order is None or order.trace_id == last or order.until <= self._clock.now():
            return None
        return SessionTrace(order, info, self._sink, self._clock)
