"""Turning renewals that are due into commands, at a pace the fleet and its CA can take, whichever ends first first.

The ledger decides which renewal is due and what becomes of the command; this actor only sends it, again and again if
nobody answers. The job's id makes a repeated command the same command.
"""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from actors.issuance.message import Settled, Wanted
from actors.issuance.patience import Interrupted, Patience
from actors.mailbox import HighWaterGauge, Mailbox
from bfactors.ca import next_delay_s
from bfactors.command import CommandAnswer, CommandEnvelope, RequestJob
from bfactors.effect import StartRenewal
from bfactors.errors import NotOwner
from bfactors.identity import partition_of
from bfactors.ports import Clock, CommandDoor, Metrics
from bfactors.urgency import Urgency, urgency_of

_LOG = logging.getLogger(__name__)

MAILBOX_CAPACITY = 200_000
RENEWALS_PER_MINUTE = 60.0
CA_SHARE = 0.25
"""What one core node takes of the rate of CA calls: four of them together start no more than the CA's bucket lets through."""
RETRY_BASE_S, RETRY_LONGEST_S = 1.0, 60.0
AGAIN_AFTER_S = 900.0
"""How long after a refusal, or after a renewal whose job came to nothing, the same certificate's turn comes again."""
ACTOR = "system:renewal"


LOOK_AGAIN_S = 1.0
"""How soon the CA's bucket is looked at again that has no room."""


async def _always_room(_: str, __: Urgency) -> float:
    return 0.0


@dataclass(frozen=True, kw_only=True)
class RenewalPorts:
    """What renewing needs of the rest of the system, time and chance included."""

    commands: CommandDoor
    clock: Clock
    metrics: Metrics
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    room_s: Callable[[str, Urgency], Awaitable[float]] = _always_room
    """In how many seconds this CA has room for an order in that hurry; 0: now."""


@dataclass(frozen=True, slots=True)
class _Paced:
    """The next renewal may start."""


@dataclass(frozen=True, slots=True)
class _Rested:
    """An effect that was left alone for a while may have its turn again."""

    effect_id: str


@dataclass(frozen=True, slots=True)
class _Answered:
    effect_id: str
    answer: CommandAnswer


@dataclass(frozen=True, slots=True)
class _Broke:
    error: BaseException


Message = Wanted | Settled | _Paced | _Rested | _Answered | _Broke


class RenewalActor(Mailbox[Message]):
    """Of one purpose on one node; lives on the purpose's lane. While paused, no renewal is started."""

    __slots__ = (
        "_arrivals",
        "_asked_at_s",
        "_interval_s",
        "_is_pacing",
        "_lined_up",
        "_patience",
        "_ports",
        "_purpose",
        "_turns",
        "_wanted",
        "is_paused",
    )

    def __init__(
        self,
        purpose: str,
        ports: RenewalPorts,
        *,
        per_minute: float = RENEWALS_PER_MINUTE,
        gauge: HighWaterGauge | None = None,
    ) -> None:
        if per_minute <= 0:
            raise ValueError("renewals need a pace")
        super().__init__(f"renewal-{purpose}", capacity=MAILBOX_CAPACITY, gauge=gauge)
        self._purpose = purpose
        self._ports = ports
        self._patience = Patience(ports.sleep)
        self._interval_s = 60.0 / per_minute
        self._wanted: dict[str, StartRenewal] = {}
        self._turns: list[tuple[float, int, str]] = []
        """A heap by the certificate's end, then by who came first."""
        self._arrivals = count()
        self._lined_up: set[str] = set()  # in `_turns`, or at rest before
        self._asked_at_s: dict[str, float] = {}
        self._is_pacing = False
        self.is_paused = False

    def set_paused(self, paused: bool) -> None:
        """A renewal whose command has left goes on; the next one waits."""
        self.is_paused = paused
        if not paused:
            self._go_on()

    async def drain(self) -> None:
        """Send nothing more; what is due is given to whoever comes next."""
        self._patience.end()
        await super().drain()

    async def receive(self, message: Message) -> None:
        match message:
            case Wanted(StartRenewal() as effect):
                self._accept(effect)
            case Wanted():
                pass  # the issuance actor's
            case Settled(effect_id):
                self._wanted.pop(effect_id, None)
            case _Paced():
                self._is_pacing = False
                self._start_next()
            case _Rested(effect_id):
                self._line_up(effect_id)
            case _Answered(effect_id, answer):
                self._answered(effect_id, answer)
            case _Broke(error):
                raise error
        self._go_on()

    # ------------------------------------------------------------ turns

    def _accept(self, effect: StartRenewal) -> None:
        if effect.effect_id in self._wanted:
            return
        self._wanted[effect.effect_id] = effect
        if effect.effect_id in self._lined_up:
            return  # wanted before, settled, and wanted again
        asked_at_s = self._asked_at_s.get(effect.effect_id)
        rest_s = 0.0 if asked_at_s is None else asked_at_s + AGAIN_AFTER_S - self._ports.clock.monotonic()
        if rest_s > 0:
            self._rest(effect.effect_id, rest_s)
        else:
            self._line_up(effect.effect_id)

    def _line_up(self, effect_id: str) -> None:
        """What nobody wants any more is forgotten: wanted again, it comes again."""
        effect = self._wanted.get(effect_id)
        if effect is None:
            self._lined_up.discard(effect_id)
            return
        self._lined_up.add(effect_id)
        ends_s = effect.replaces_until.timestamp() if effect.replaces_until is not None else math.inf
        heappush(self._turns, (ends_s, next(self._arrivals), effect_id))

    def _go_on(self) -> None:
        """Let the next turn come."""
        self._ports.metrics.gauge("bf_renewal_waiting", len(self._turns), purpose=self._purpose)
        if self._is_pacing or self.is_paused or self._patience.is_over or not self._turns:
            return
        self._is_pacing = True
        self.spawn(self._turn(), lambda _: _Paced(), _Broke)

    async def _turn(self) -> None:
        """One interval from now, and not while whatever is in a greater hurry uses up what the CA takes."""
        await self._wait(self._interval_s)
        while not (self.is_paused or self._patience.is_over):
            effect = self._first()
            if effect is None or not effect.authority_arn:
                return
            hurry = urgency_of(
                is_incident=False, replaces_until=effect.replaces_until, now=self._ports.clock.now()
            )
            room_s = await self._ports.room_s(effect.authority_arn, hurry)
            if room_s <= 0:
                return
            await self._wait(max(LOOK_AGAIN_S, room_s))

    def _first(self) -> StartRenewal | None:
        while self._turns and self._turns[0][2] not in self._wanted:
            self._lined_up.discard(heappop(self._turns)[2])  # settled while it waited
        return self._wanted[self._turns[0][2]] if self._turns else None

    def _start_next(self) -> None:
        while self._turns and not self.is_paused and not self._patience.is_over:
            _, _, effect_id = heappop(self._turns)
            self._lined_up.discard(effect_id)
            effect = self._wanted.get(effect_id)
            if effect is None:
                continue  # settled while it waited
            self._note(effect.effect_id)
            self._send(effect)
            return

    def _send(self, effect: StartRenewal) -> None:
        self.spawn(self._request(effect), lambda answer: _Answered(effect.effect_id, answer), _Broke)

    def _note(self, effect_id: str) -> None:
        now_s = self._ports.clock.monotonic()
        self._asked_at_s = {
            known: at_s for known, at_s in self._asked_at_s.items() if at_s + AGAIN_AFTER_S > now_s
        }
        self._asked_at_s[effect_id] = now_s

    # ------------------------------------------------------------ the command

    async def _request(self, effect: StartRenewal) -> CommandAnswer:
        """The ledger's answer; until there is one, the same command again."""
        envelope = command_of(effect)
        delay_s = 0.0
        while effect.effect_id in self._wanted:
            try:
                answer = await self._ports.commands.request(partition_of(effect.charger_id), envelope)
            except NotOwner as away:
                if not delay_s:
                    _LOG.info("renewal %s waits: %s", effect.job_id, away)
            else:
                if not answer.retry:
                    return answer
            delay_s = next_delay_s(
                delay_s, base_s=RETRY_BASE_S, longest_s=RETRY_LONGEST_S, uniform=self._ports.uniform
            )
            await self._wait(delay_s)
            if self._patience.is_over:
                break
        return CommandAnswer(retry=True)

    def _answered(self, effect_id: str, answer: CommandAnswer) -> None:
        if answer.retry:
            return  # given up before it was answered
        refusal = answer.refusal
        outcome = "ok" if refusal is None else refusal.code
        self._ports.metrics.count("bf_renewals_started_total", purpose=self._purpose, outcome=outcome)
        if refusal is not None and effect_id in self._wanted:
            _LOG.warning("renewal %s was refused: %s: %s", effect_id, refusal.code, refusal.message)
            self._rest(effect_id, AGAIN_AFTER_S)

    def _rest(self, effect_id: str, rest_s: float) -> None:
        if effect_id in self._lined_up:
            return
        self._lined_up.add(effect_id)
        self.spawn(self._wait(rest_s), lambda _: _Rested(effect_id), _Broke)

    async def _wait(self, duration_s: float) -> None:
        """Returns at once when the actor drains."""
        with suppress(Interrupted):
            await self._patience.wait(duration_s)


def pace_of(ca_calls_per_s: float, purposes: int) -> float:
    """Renewals a minute that one node starts for one of so many purposes: within its share of the CA's bucket."""
    return ca_calls_per_s * CA_SHARE * 60.0 / max(1, purposes)


def command_of(effect: StartRenewal) -> CommandEnvelope:
    """The same envelope for the same effect, however often and by whomever it is sent."""
    return CommandEnvelope(
        command_id=f"renewal:{effect.job_id}",
        actor=ACTOR,
        role="system",
        body=RequestJob(
            job_id=effect.job_id,
            charger_id=effect.charger_id,
            purpose=effect.purpose,
            action="renew",
            reason="due for renewal",
            certificate_id=effect.certificate_id,
            due_reason=effect.due_reason,
        ),
    )
