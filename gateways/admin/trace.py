"""A charger's frames on demand: begun here, read here, over by itself."""

from typing import Annotated

import msgspec

from bfactors.command import StartTrace
from bfactors.frame_trace import FRAMES_MAX, SECONDS_MAX, TracedFrame, TraceOrder
from bfactors.identity import partition_of
from bfactors.ledger_fold import charger_key
from gateways.admin import field
from gateways.admin.command import Commands
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route


class StartTraceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long, how many frames at most in each session, and why."""

    reason: field.Reason
    seconds: Annotated[int, msgspec.Meta(ge=1, le=SECONDS_MAX)] = 60
    frames: Annotated[int, msgspec.Meta(ge=1, le=FRAMES_MAX)] = 200


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A trace as far as it has come. `until`: when it ends; `frames`: oldest first, empty after this process restarted."""

    charger_id: str
    trace_id: str
    running: bool
    until: str
    limit: int
    frames: list[TracedFrame]


class _Traced(msgspec.Struct, frozen=True):
    trace: TraceOrder | None = None


_TRACED = msgspec.json.Decoder(_Traced)


class Traces:
    """`/api/v1/chargers/{charger_id}/trace`."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._clock = dependencies.clock
        self._frames = dependencies.traced_frames
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        path = "/api/v1/chargers/{charger_id}/trace"
        return (
            Route(
                method="POST",
                path=path,
                operation="chargers.trace",
                summary="Have a charger's frames written down for a while",
                description=f"For {SECONDS_MAX} seconds and {FRAMES_MAX} frames at most; it ends by itself, and a new one "
                "takes the place of one that runs. Keys, passwords, identifications, CSRs, certificates and EXI messages are "
                "masked. That it was asked for is recorded (`TraceStarted`); the frames are not.",
                handler=self.start,
                body=StartTraceBody,
                answer=Trace,
                status=202,
            ),
            Route(
                method="GET",
                path=path,
                operation="chargers.traced",
                summary="The frames of a charger's latest trace, oldest first",
                handler=self.read,
                answer=Trace,
            ),
        )

    async def start(self, call: Call, body: StartTraceBody) -> Answer:
        charger_id = call.path["charger_id"]
        command = StartTrace(
            trace_id=call.repetition.new_id("trace"),
            charger_id=charger_id,
            seconds=body.seconds,
            frames=body.frames,
            reason=body.reason,
        )
        await self._commands.to_charger(call, charger_id, command)
        return Answer(await self._trace(charger_id), 202)

    async def read(self, call: Call) -> Answer:
        return Answer(await self._trace(call.path["charger_id"]))

    async def _trace(self, charger_id: str) -> Trace:
        row = await self._reader.aggregate(partition_of(charger_id), charger_key(charger_id))
        if row is None:
            raise Problem.unknown("charger", charger_id)
        order = _TRACED.decode(row.state).trace
        if order is None:
            raise Problem.unknown("charger-trace", charger_id)
        return Trace(
            charger_id=charger_id,
            trace_id=order.trace_id,
            running=self._clock.now() < order.until,
            until=order.until.isoformat(),
            limit=order.frames,
            frames=list(self._frames(charger_id, order.trace_id)),
        )
