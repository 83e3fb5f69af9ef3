"""The actor that compares a purpose's CA with the ledger: attempts in doubt, and every night everything."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from actors.issuance.message import Settled, Wanted
from actors.issuance.patience import Interrupted, Patience
from actors.issuance.record import record_fact
from actors.mailbox import HighWaterGauge, Mailbox
from actors.reconciliation.comparison import Comparison
from actors.reconciliation.in_doubt import Round
from actors.reconciliation.night import command_of, last_night
from actors.reconciliation.ports import ReconciliationPorts
from actors.reconciliation.report import ReportNotHad, report_patiently
from bfactors.ca import CaError, next_delay_s
from bfactors.command import CommandEnvelope
from bfactors.effect import ReconcileAuthority, ReconcileIssuance
from bfactors.errors import NotOwner, Unavailable
from bfactors.evidence import AuthorityNotCompared
from bfactors.identity import FLEET

_LOG = logging.getLogger(__name__)

MAILBOX_CAPACITY = 200_000
RETRY_BASE_S, RETRY_LONGEST_S = 1.0, 60.0
FIRST_AFTER_S = 60.0
"""After a start, the night that may have been missed is asked for once everything has come up."""


@dataclass(frozen=True, slots=True)
class _RoundOver:
    pass


@dataclass(frozen=True, slots=True)
class _Ended:
    """A comparison, or the keeping of nights; the ledger settles the one, a drain ends the other."""


@dataclass(frozen=True, slots=True)
class _Broke:
    error: BaseException


Message = Wanted | Settled | _RoundOver | _Ended | _Broke


class ReconciliationActor(Mailbox[Message]):
    """Of one purpose on one node; lives on the purpose's lane. A pause holds nothing here: it only finds out.

    `hour_utc` is when nights are asked for; None: never by itself.
    """

    __slots__ = (
        "_answered",
        "_comparing",
        "_hour_utc",
        "_is_searching",
        "_patience",
        "_ports",
        "_purpose",
        "_wanted",
        "is_paused",
    )

    def __init__(
        self,
        purpose: str,
        ports: ReconciliationPorts,
        *,
        hour_utc: int | None = None,
        gauge: HighWaterGauge | None = None,
    ) -> None:
        super().__init__(f"reconciliation-{purpose}", capacity=MAILBOX_CAPACITY, gauge=gauge)
        self._purpose = purpose
        self._ports = ports
        self._hour_utc = hour_utc
        self._patience = Patience(ports.sleep)
        self._wanted: dict[str, ReconcileIssuance] = {}
        self._answered: set[str] = set()  # recorded; the ledger has not settled them yet
        self._comparing: set[str] = set()  # kept until the ledger settles it, so that none is begun twice
        self._is_searching = False
        self.is_paused = False

    def set_paused(self, paused: bool) -> None:
        """Noted only."""
        self.is_paused = paused

    async def begin(self) -> None:
        """Begin to keep the nights."""
        if self._hour_utc is not None:
            self.spawn(self._keep_nights(self._hour_utc), lambda _: _Ended(), _Broke)

    async def drain(self) -> None:
        """Stop waiting; whoever is given the effects next begins anew."""
        self._patience.end()
        await super().drain()

    async def receive(self, message: Message) -> None:
        match message:
            case Wanted(ReconcileIssuance() as effect):
                self._wanted[effect.effect_id] = effect
            case Wanted(ReconcileAuthority() as effect):
                self._compare(effect)
            case Wanted():
                pass  # another actor's
            case Settled(effect_id):
                self._wanted.pop(effect_id, None)
                self._answered.discard(effect_id)
                self._comparing.discard(effect_id)
            case _RoundOver():
                self._is_searching = False
            case _Ended():
                pass
            case _Broke(error):
                raise error
        self._go_on()

    # ------------------------------------------------------------ attempts in doubt

    def _go_on(self) -> None:
        waiting = self._unanswered()
        self._ports.metrics.gauge("bf_issuance_reconciliation_waiting", len(waiting), purpose=self._purpose)
        if self._is_searching or self._patience.is_over or not waiting:
            return
        self._is_searching = True
        self.spawn(self._search(waiting[0].authority_arn), lambda _: _RoundOver(), _Broke)

    def _unanswered(self) -> list[ReconcileIssuance]:
        return [effect for effect_id, effect in self._wanted.items() if effect_id not in self._answered]

    async def _search(self, authority_arn: str) -> None:
        """One report at a time; who comes too late for it has the next."""
        with suppress(Interrupted):
            await Round(
                self._ports,
                self._patience,
                self._purpose,
                lambda: [effect for effect in self._unanswered() if effect.authority_arn == authority_arn],
                lambda effect: self._answered.add(effect.effect_id),
            ).carry_out()

    # ------------------------------------------------------------ everything

    def _compare(self, effect: ReconcileAuthority) -> None:
        if effect.effect_id in self._comparing or self._patience.is_over:
            return
        self._comparing.add(effect.effect_id)
        self.spawn(self._compared(effect), lambda _: _Ended(), _Broke)

    async def _compared(self, effect: ReconcileAuthority) -> None:
        ports, auditor = self._ports, self._ports.auditor
        with suppress(Interrupted):
            try:
                if auditor is None:
                    raise ReportNotHad("no-audit-report", "this CA offers no audit report")
                report = await report_patiently(
                    ports, self._patience, auditor, effect.authority_arn, effect.requested_at
                )
                await Comparison(ports, auditor, effect, self._patience.wait).carry_out(report)
            except (CaError, Unavailable, ReportNotHad) as problem:
                code = "store-away" if isinstance(problem, Unavailable) else problem.code
                _LOG.warning("the CA of %s is not compared with the ledger: %s", self._purpose, problem)
                fact = AuthorityNotCompared(
                    purpose=effect.purpose,
                    run_id=effect.run_id,
                    authority_arn=effect.authority_arn,
                    code=code,
                    message=str(problem),
                )
                await record_fact(ports, effect.authority_arn, "", fact, effect.effect_id, "not-compared")

    # ------------------------------------------------------------ nights

    async def _keep_nights(self, hour_utc: int) -> None:
        """Every node asks for every night; the ledger hears the first. One that was missed is asked for at the start."""
        with suppress(Interrupted):
            await self._patience.wait(FIRST_AFTER_S)
            while True:
                now = self._ports.clock.now()
                night = last_night(self._purpose, now, hour_utc)
                await self._ask(command_of(self._purpose, night))
                next_s = (night + timedelta(days=1) - self._ports.clock.now()).total_seconds()
                await self._patience.wait(max(1.0, next_s))

    async def _ask(self, envelope: CommandEnvelope) -> None:
        """Until the ledger has answered; a refusal (no CA yet) waits for the next night."""
        delay_s = 0.0
        while True:
            with suppress(NotOwner, Unavailable):
                answer = await self._ports.commands.request(FLEET, envelope)
                if not answer.retry:
                    return
            delay_s = next_delay_s(
                delay_s, base_s=RETRY_BASE_S, longest_s=RETRY_LONGEST_S, uniform=self._ports.uniform
            )
            await self._patience.wait(delay_s)
