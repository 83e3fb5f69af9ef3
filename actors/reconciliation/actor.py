"""The actor that compares a purpose's CA with the ledger."""

from contextlib import suppress
from dataclasses import dataclass

from actors.issuance.message import Settled, Wanted
from actors.issuance.patience import Interrupted, Patience
from actors.mailbox import HighWaterGauge, Mailbox
from actors.reconciliation.in_doubt import Round
from actors.reconciliation.ports import ReconciliationPorts
from bfactors.effect import ReconcileIssuance

MAILBOX_CAPACITY = 200_000


@dataclass(frozen=True, slots=True)
class _RoundOver:
    pass


@dataclass(frozen=True, slots=True)
class _Broke:
    error: BaseException


Message = Wanted | Settled | _RoundOver | _Broke


class ReconciliationActor(Mailbox[Message]):
    """Of one purpose on one node; lives on the purpose's lane. A pause holds nothing here: it only finds out."""

    __slots__ = ("_answered", "_is_searching", "_patience", "_ports", "_purpose", "_wanted", "is_paused")

    def __init__(
        self, purpose: str, ports: ReconciliationPorts, *, gauge: HighWaterGauge | None = None
    ) -> None:
        super().__init__(f"reconciliation-{purpose}", capacity=MAILBOX_CAPACITY, gauge=gauge)
        self._purpose = purpose
        self._ports = ports
        self._patience = Patience(ports.sleep)
        self._wanted: dict[str, ReconcileIssuance] = {}
        self._answered: set[str] = set()  # recorded; the ledger has not settled them yet
        self._is_searching = False
        self.is_paused = False

    def set_paused(self, paused: bool) -> None:
        """Noted only."""
        self.is_paused = paused

    async def drain(self) -> None:
        """Stop waiting; whoever is given the effects next begins anew."""
        self._patience.end()
        await super().drain()

    async def receive(self, message: Message) -> None:
        match message:
            case Wanted(ReconcileIssuance() as effect):
                self._wanted[effect.effect_id] = effect
            case Wanted():
                pass  # another actor's
            case Settled(effect_id):
                self._wanted.pop(effect_id, None)
                self._answered.discard(effect_id)
            case _RoundOver():
                self._is_searching = False
            case _Broke(error):
                raise error
        self._go_on()

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
