"""Everything one session's actor remembers: small when idle, bounded always."""

from typing import Literal

import msgspec

from bfactors.admission import AdmissionRecord, SessionInfo
from bfactors.evidence import Evidence, SecurityEventReported
from bfactors.exchange.message import RelayOut
from bfactors.instruction import InstructionOrder
from bfactors.ocpp import Reply

Phase = Literal["open", "closing", "ended", "retired"]
"""`closing`: we asked for the close. `ended`: the socket is gone, evidence is still owed. `retired`: nothing is."""

Boot = Literal["awaited", "skipped", "accepted", "pending", "rejected"]
"""How far BootNotification got. `skipped`: the charger works without one, as many do after a mere reconnect."""


class ExchangeRules(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers behind the rules; one object serves all sessions of a node. Times in seconds."""

    evidence_wait_s: float = 10.0
    """How long a charger's call, or an order, waits for its evidence to be acknowledged."""
    relay_wait_s: float = 10.0
    relay_retry_s: float = 1.0
    decision_wait_s: float = 5.0
    """How long a charger waits for somebody's decision (Authorize) before it gets the configured default."""
    retry_first_s: float = 0.5
    """The first pause after evidence failed; it doubles up to `retry_longest_s`."""
    retry_longest_s: float = 30.0
    evidence_buffered: int = 16
    """Evidence waiting for an acknowledgement; what must not be lost closes the session when it no longer fits."""
    calls_in_flight: int = 8
    answers_remembered: int = 6
    answer_memory_s: float = 30.0
    """A call repeated within this time is the same call. Longer would mistake chargers that re-use message ids."""
    orders_queued: int = 16
    decisions_remembered: int = 256
    relays_in_flight: int = 8
    csr_chars: int = 5500
    heartbeat_interval_s: int = 300
    pending_interval_s: int = 60
    boot_wait_s: float = 5.0
    """Orders wait this long for a BootNotification; then the charger counts as one that sends none."""
    boot_required: bool = False
    """Whether an accepted charger is served before its BootNotification (or `boot_wait_s`) only with SecurityError."""
    linger_s: float = 60.0
    """How long an ended session that the ledger never heard of keeps trying to be heard."""
    pending_flags: frozenset[str] = frozenset({"factory-credential", "expired-credential"})
    """Session flags with which BootNotification is answered Pending whatever the record says (A00.FR.429, 807)."""


class Pending(msgspec.Struct, frozen=True):
    """Evidence not yet acknowledged.

    `expires_s` is None for what must not be lost. `attempted`: it left at least once, so it may be stored.
    `given_up`: whoever waited for it was told otherwise; it only stays because it is in flight.
    """

    evidence: Evidence
    expires_s: float | None
    attempted: bool = False
    given_up: bool = False


class WaitingCall(msgspec.Struct, frozen=True):
    """A charger's call that has no answer on the socket yet.

    `content` is a hash of its message: with id and action it tells a repetition from a re-used id. `reply` set: ready,
    but an earlier call must be answered first. Otherwise it waits for `evidence_id`, `relay` or `decision` until `deadline_s`.
    """

    message_id: str
    action: str
    content: int
    arrived_s: float
    deadline_s: float
    evidence_id: str | None = None
    relay: RelayOut | None = None
    relay_again_s: float | None = None
    decision: int | None = None
    """The token of the question asked for it: past the deadline it gets the default, not an error."""
    reply: Reply | None = None


class RememberedAnswer(msgspec.Struct, frozen=True):
    """What a recent call was answered, in case the charger repeats it."""

    message_id: str
    action: str
    content: int
    reply: Reply
    until_s: float


class SecurityCount(msgspec.Struct, frozen=True):
    """One kind of security event within the present window: how many were recorded alone, and what was only counted."""

    kind: str
    alone: int = 0
    folded: SecurityEventReported | None = None


class OutstandingCall(msgspec.Struct, frozen=True):
    """The one call of ours the charger owes an answer to."""

    order: InstructionOrder
    message_id: str
    sent_s: float
    deadline_s: float


class ExchangeState(msgspec.Struct, frozen=True, kw_only=True):
    """One session. Changed only by `bfactors.exchange.step`."""

    info: SessionInfo
    record: AdmissionRecord
    rules: ExchangeRules
    started_s: float
    phase: Phase = "open"
    close_reason: str | None = None
    ended_s: float = 0.0
    is_concluded: bool = False
    """Whether SessionClosed stands in the queue, or has been stored."""
    boot: Boot = "awaited"

    # evidence: first in, first out, one in flight, so that the log has it in the order it happened
    evidence: tuple[Pending, ...] = ()
    is_recording: bool = False
    is_introduced: bool = False
    """Whether SessionOpened was acknowledged."""
    failures: int = 0
    retry_at_s: float = 0.0

    # what the charger asked
    waiting: tuple[WaitingCall, ...] = ()
    remembered: tuple[RememberedAnswer, ...] = ()
    held_csrs: tuple[tuple[str, str, int | None], ...] = ()
    """(purpose, SHA-256 of the text, request id) of the last CSR of each purpose that the evidence log holds."""
    security_known: tuple[str, ...] = ()
    """Digests of the last security events that the evidence log holds."""
    security_counts: tuple[SecurityCount, ...] = ()
    security_until_s: float = 0.0
    """When the window of those counts ends."""
    statuses_known: tuple[tuple[str, str, int | None], ...] = ()
    """(kind, status, request id) of the last log and firmware status that the evidence log holds."""
    charging: frozenset[int] = frozenset()
    """Connectors at which a car is charging, as far as the charger said so on this session."""
    transactions: frozenset[str] = frozenset()
    """Transactions that run (2.x), as far as the charger said so on this session, a few dozen at most."""
    is_clock_wrong: bool = False
    """Whether the charger's clock was last found to be wrong on this session."""
    relays: tuple[int, ...] = ()
    """Tokens of unconfirmed traffic on its way."""
    next_token: int = 0

    # what we ask
    is_paused: bool = False
    orders: tuple[InstructionOrder, ...] = ()
    announced: InstructionOrder | None = None
    """The order whose InstructionSent is being recorded; its frame has not left."""
    opening: InstructionOrder | None = None
    """The order whose secret is being fetched; its frame has not left."""
    outstanding: OutstandingCall | None = None
    carried_out: tuple[tuple[str, int], ...] = ()
    triggered: frozenset[str] = frozenset()
    """Purposes a CSR was asked for on this session: those are served even while Pending (B02.FR.09)."""

    timer_s: float | None = None
