"""The actor that carries out a purpose's effects at its CA: few at a time, each once, from wherever the last life left it.

waiting ──a place is free──► running ──recorded──► reported ──Settled──► forgotten
                                └──not ready in time──► pending (holds no place) ──recorded──► reported
"""

import enum
from dataclasses import dataclass
from datetime import timedelta

from actors.issuance import revocation
from actors.issuance.attempt import Attempt
from actors.issuance.hold import Hold
from actors.issuance.message import Broke, CarriedOut, Message, Settled, Wanted
from actors.issuance.patience import Patience
from actors.issuance.ports import IssuancePorts
from actors.issuance.turn import Turns, urgency_of_effect
from actors.mailbox import HighWaterGauge, Mailbox
from bfactors.charger.issuance import CALL_WINDOW
from bfactors.effect import IssueCertificate, RevokeCertificate
from bfactors.urgency import Urgency

MAILBOX_CAPACITY = 200_000
"""Every effect outstanding is given at once after a restart, and one that finds no room would wait for the next."""
ISSUING_AT_ONCE = 16
REVOKING_AT_ONCE = 4
FOR_INCIDENTS = 4
"""Places beyond those: calls of all the others may be queuing for the CA's bucket."""
GIVEN_WITHIN = timedelta(seconds=2)
"""An effect that comes later than this after its decision may have been in other hands first; a lease lasts longer."""


class _Stage(enum.Enum):
    WAITING = "waiting"
    RUNNING = "running"
    REPORTED = "reported"


@dataclass(slots=True)
class _Entry:
    effect: IssueCertificate | RevokeCertificate
    lived_through: bool
    stage: _Stage = _Stage.WAITING
    is_settled: bool = False
    holds_place: bool = False


class IssuanceActor(Mailbox[Message]):
    """Of one purpose on one node; lives on the purpose's lane. An error nobody foresaw fails it, and nothing is lost."""

    __slots__ = (
        "_at_once",
        "_born_at",
        "_entries",
        "_hold",
        "_patience",
        "_ports",
        "_purpose",
        "_running",
        "_turns",
        "is_paused",
    )

    def __init__(
        self,
        purpose: str,
        ports: IssuancePorts,
        *,
        issuing_at_once: int = ISSUING_AT_ONCE,
        revoking_at_once: int = REVOKING_AT_ONCE,
        gauge: HighWaterGauge | None = None,
    ) -> None:
        super().__init__(f"issuance-{purpose}", capacity=MAILBOX_CAPACITY, gauge=gauge)
        self._purpose = purpose
        self._ports = ports
        self._born_at = ports.clock.now()
        self._hold = Hold()
        self._patience = Patience(ports.sleep)
        self._entries: dict[str, _Entry] = {}
        # Revocations have places of their own: no number of certificates being made holds one up.
        self._at_once: dict[type, int] = {
            IssueCertificate: issuing_at_once,
            RevokeCertificate: revoking_at_once,
        }
        self._turns: dict[type, Turns] = {IssueCertificate: Turns(), RevokeCertificate: Turns()}
        self._running: dict[type, int] = {IssueCertificate: 0, RevokeCertificate: 0}
        self.is_paused = False

    def set_paused(self, paused: bool) -> None:
        """Noted only: what reaches this actor was decided before, and a pause never holds back a revocation."""
        self.is_paused = paused

    async def drain(self) -> None:
        """Finish the calls under way; what only waits for the CA is left to whoever is given the effect next."""
        self._patience.end()
        await super().drain()

    async def receive(self, message: Message) -> None:
        match message:
            case Wanted(IssueCertificate() | RevokeCertificate() as effect):
                self._accept(effect)
            case Wanted():
                pass  # a renewal; it has an actor of its own
            case Settled(effect_id):
                self._settle(effect_id)
            case CarriedOut() as done:
                self._carried_out(self._entries[done.effect_id], done)
            case Broke(_, error):
                raise error
        self._go_on()

    # ------------------------------------------------------------ what is wanted

    def _accept(self, effect: IssueCertificate | RevokeCertificate) -> None:
        known = self._entries.get(effect.effect_id)
        if known is not None:
            known.effect = effect  # it may carry the reference by now
            known.is_settled = False
            return
        self._entries[effect.effect_id] = _Entry(effect, self._has_had_since_decided(effect))
        turns, urgency = self._turns[type(effect)], urgency_of_effect(effect, self._ports.clock.now())
        if isinstance(effect, RevokeCertificate):
            turns.append(effect.effect_id, urgency)
        elif effect.attempt > 1 or effect.external_ref is not None:
            turns.come_first(effect.effect_id, urgency, effect.replaces_until)  # its job has waited longest
        else:
            turns.append(effect.effect_id, urgency, effect.replaces_until)

    def _has_had_since_decided(self, effect: IssueCertificate | RevokeCertificate) -> bool:
        if isinstance(effect, RevokeCertificate):
            return True
        decided_at = effect.call_before - CALL_WINDOW
        return self._born_at <= decided_at and self._ports.clock.now() - decided_at <= GIVEN_WITHIN

    def _settle(self, effect_id: str) -> None:
        entry = self._entries.get(effect_id)
        if entry is None:
            return
        entry.is_settled = True
        if entry.stage is not _Stage.RUNNING:
            del self._entries[effect_id]  # its place in the queue, if any, is skipped

    # ------------------------------------------------------------ places

    def _go_on(self) -> None:
        if self._patience.is_over:
            return
        for kind, turns in self._turns.items():
            while (effect_id := self._next(kind)) is not None:
                entry = self._entries.get(effect_id)
                if entry is not None and entry.stage is _Stage.WAITING:
                    self._begin(entry)
            self._ports.metrics.gauge(
                "bf_issuance_waiting", len(turns), purpose=self._purpose, effect=kind.__name__
            )

    def _next(self, kind: type) -> str | None:
        """Whose turn it is, if there is a place; a few places are for incidents alone."""
        free = self._at_once[kind] - self._running[kind]
        if free <= -FOR_INCIDENTS:
            return None
        least = Urgency.ROUTINE if free > 0 else Urgency.INCIDENT
        return self._turns[kind].next(least, self._ports.clock.now())

    def _begin(self, entry: _Entry) -> None:
        entry.stage = _Stage.RUNNING
        entry.holds_place = True
        effect = entry.effect
        self._running[type(effect)] += 1
        work = (
            self._attempt(entry, effect).carry_out()
            if isinstance(effect, IssueCertificate)
            else revocation.carry_out(effect, self._ports, self._patience, lambda: entry.is_settled)
        )
        self.spawn(work, lambda done: done, lambda error: Broke(effect.effect_id, error))

    def _attempt(self, entry: _Entry, effect: IssueCertificate) -> Attempt:
        return Attempt(
            effect, self._ports, self._hold, self._patience, entry.lived_through, lambda: entry.is_settled
        )

    def _carried_out(self, entry: _Entry, done: CarriedOut) -> None:
        effect, pending_ref = entry.effect, done.pending_ref
        if entry.holds_place:
            entry.holds_place = False
            self._running[type(effect)] -= 1
        if pending_ref is not None and isinstance(effect, IssueCertificate):
            work = self._attempt(entry, effect).wait_for(pending_ref)
            self.spawn(work, lambda done: done, lambda error: Broke(effect.effect_id, error))
            return
        if done.has_lapsed and isinstance(effect, IssueCertificate) and effect.external_ref is not None:
            entry.stage = _Stage.WAITING  # the CA's answer to an earlier life was recorded meanwhile
            self._turns[IssueCertificate].come_first(effect.effect_id, Urgency.INCIDENT)
            return
        entry.stage = _Stage.REPORTED
        if entry.is_settled:
            del self._entries[effect.effect_id]
