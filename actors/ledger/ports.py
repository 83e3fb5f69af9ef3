"""What a ledger's actor is built on."""

from collections.abc import Callable
from dataclasses import dataclass

from bfactors.effect import Effect
from bfactors.ports import (
    Checkpointing,
    Clock,
    CommandDoor,
    EdgeWatch,
    EvidenceLog,
    EvidenceReader,
    LedgerStore,
    Metrics,
    Outbox,
)


@dataclass(frozen=True, slots=True)
class Ports:
    """What a ledger actor is given. `effects(effect_id, effect)` takes an effect, or None once it is settled.

    Without `checkpoints` none are made, and without `edge` nobody is asked whether gateways refuse what was revoked.
    """

    store: LedgerStore
    reader: EvidenceReader
    commands: CommandDoor
    outbox: Outbox
    evidence_log: EvidenceLog
    effects: Callable[[str, Effect | None], None]
    clock: Clock
    metrics: Metrics
    ocpp_url: Callable[[], str]
    is_current: Callable[[], bool] = lambda: True
    checkpoints: Checkpointing | None = None
    edge: EdgeWatch | None = None
