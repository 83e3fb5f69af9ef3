"""ChargerActor: one connected charger's session, the exchange rules folded over what happens to it.

Lives on its family's lane. It decides nothing itself: `bfactors.exchange.step` does; here the outputs meet the ports.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, assert_never

from actors.mailbox import HighWaterGauge, MailboxState
from actors.prompt_mailbox import PromptMailbox
from bfactors.disclosed import Disclosed
from bfactors.errors import Unavailable
from bfactors.exchange import ExchangeRules, ExchangeState, Input, Moment, Output, start, step
from bfactors.exchange.message import (
    Ask,
    Close,
    Decided,
    EvidenceFailed,
    EvidenceStored,
    Finished,
    FrameArrived,
    Leave,
    OpenSecret,
    OrderArrived,
    PauseChanged,
    Record,
    RelayFailed,
    RelayOut,
    RelayStored,
    Retire,
    SecretOpened,
    SecretUnavailable,
    Send,
    SetTimer,
    Tick,
    Undecided,
)
from bfactors.ports import Clock, Decisions, EvidenceLog, Metrics, Relay, SecretSource, Session

_LOG = logging.getLogger(__name__)

MAILBOX_CAPACITY = 64
_PORT_WAIT_S = 15.0  # a port that neither returns nor raises must not hold the queue for ever
_TICK_AGAIN_S = 0.1
_DRAIN_S = 5.0


class Timer(Protocol):
    def cancel(self) -> None: ...


Schedule = Callable[[float, Callable[[], None]], Timer]
"""(delay in seconds, callback) -> what cancels it; the callback runs on the caller's loop."""

T = TypeVar("T")


def on_this_loop(delay_s: float, callback: Callable[[], None]) -> Timer:
    """The running loop's own timer."""
    return asyncio.get_running_loop().call_later(delay_s, callback)


class Owner(Protocol):
    """Who placed the actor; told on the actor's lane."""

    def frame_handled(self) -> None: ...
    def owes(self, evidence: int) -> None:
        """How much of the session's evidence is not acknowledged."""
        ...

    def retired(self) -> None:
        """The actor has nothing left to do and has stopped."""
        ...


class NobodyDecides:
    """Stands where no other part of BetterFleet is: every question gets the default answer."""

    async def ask(self, charger_id: str, action: str, message_id: str, payload: bytes) -> bytes:
        raise Unavailable("the deciding service", "there is none")


class NoSecrets:
    """Stands where no core can be asked: every secret is out of reach."""

    async def fetch(
        self, secret_id: str, charger_id: str, session_id: str, generation: int | None = None
    ) -> Disclosed | None:
        raise Unavailable("the secrets", "there is nobody to ask")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargerPorts:
    """What all chargers' actors of a node share."""

    evidence: EvidenceLog
    relay: Relay
    clock: Clock
    metrics: Metrics
    decisions: Decisions = field(default_factory=NobodyDecides)
    secrets: SecretSource = field(default_factory=NoSecrets)
    rules: ExchangeRules = field(default_factory=ExchangeRules)
    schedule: Schedule = on_this_loop


class ChargerActor(PromptMailbox[Input]):
    """Made anew for every session; a session that is closed keeps its actor until what it owes the log is stored."""

    __slots__ = ("_exchange", "_owed", "_owner", "_ports", "_retirement", "_session", "_timer")

    def __init__(
        self, session: Session, ports: ChargerPorts, owner: Owner, gauge: HighWaterGauge | None = None
    ) -> None:
        super().__init__(session.info.session_id, capacity=MAILBOX_CAPACITY, gauge=gauge)
        self._session = session
        self._ports = ports
        self._owner = owner
        self._exchange: ExchangeState | None = None
        self._timer: Timer | None = None
        self._owed = 0
        self._retirement: asyncio.Event | None = None

    # -- messages ---------------------------------------------------------------------------------

    def accept(self, message: Input) -> bool:
        """Take a message that must not be lost to a full mailbox: it then stands in line. Orders may be lost.

        False: it was not taken, because the actor is no more or (an order) because the mailbox is full.
        """
        if self.tell(message):
            return True
        if self.state is not MailboxState.OPEN or isinstance(message, OrderArrived):
            return False
        self.spawn(_at_once(message), _itself, _raise)
        return True

    def set_paused(self, paused: bool) -> None:
        """The family's supervisor was paused or resumed."""
        self.accept(PauseChanged(paused))

    def prepare(self) -> None:
        self._carry_out(*start(self._session.info, self._ports.rules, self._now()))

    def handle(self, message: Input) -> None:
        assert self._exchange is not None
        self._carry_out(*step(self._exchange, message, self._now()))
        if isinstance(message, FrameArrived):
            self._owner.frame_handled()

    # -- life -------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Let the charger go (it connects elsewhere) and record that, for a few seconds at most; then stop."""
        if self.state is MailboxState.OPEN:
            self._retirement = asyncio.Event()
            self.accept(Leave(1012, "draining"))
            try:
                async with asyncio.timeout(_DRAIN_S):
                    await self._retirement.wait()
            except TimeoutError:
                _LOG.warning("a session did not end while draining", extra={"session": self.name})
        await self.stop()

    async def stop(self) -> None:
        self._cancel_timer()
        await super().stop()

    # -- inside -----------------------------------------------------------------------------------

    def _now(self) -> Moment:
        return Moment(self._ports.clock.monotonic(), self._ports.clock.now())

    def _carry_out(self, exchange: ExchangeState, outputs: tuple[Output, ...]) -> None:
        self._exchange = exchange
        for output in outputs:
            if self._state is MailboxState.ABANDONED:
                return  # this lane was wedged and is replaced: its late words are not wanted
            self._act(output)
        if (owed := len(exchange.evidence)) != self._owed:
            self._owed = owed
            self._owner.owes(owed)

    def _act(self, output: Output) -> None:
        match output:
            case Send(outbound):
                self._session.send(outbound)
            case Record(evidence):
                evidence_id = evidence.evidence_id
                self.spawn(
                    self._ports.evidence.append(evidence),
                    lambda _: EvidenceStored(evidence_id),
                    lambda error: EvidenceFailed(_if_away(error, evidence_id)),
                    within_s=_PORT_WAIT_S,
                )
            case Finished():
                self._tell_of(output)
            case RelayOut(token, action, message_id, payload):
                self.spawn(
                    self._ports.relay.publish(self._session.info.charger_id, action, message_id, payload),
                    lambda _: RelayStored(token),
                    lambda error: RelayFailed(_if_away(error, token)),
                    within_s=_PORT_WAIT_S,
                )
            case Ask(token, action, message_id, payload):
                self.spawn(
                    self._ports.decisions.ask(self._session.info.charger_id, action, message_id, payload),
                    lambda payload: Decided(token, payload),
                    lambda error: Undecided(_if_away(error, token)),
                    within_s=_PORT_WAIT_S,
                )
            case OpenSecret(secret_id):
                self.spawn(
                    self._ports.secrets.fetch(
                        secret_id, self._session.info.charger_id, self._session.info.session_id
                    ),
                    lambda secret: SecretOpened(secret_id, secret),
                    lambda error: SecretUnavailable(_if_away(error, secret_id)),
                    within_s=_PORT_WAIT_S,
                )
            case Close(code, reason):
                self._session.close(code, reason)
            case SetTimer(at_s):
                if self._timer is not None:
                    self._timer.cancel()
                delay_s = max(0.0, at_s - self._ports.clock.monotonic())
                self._timer = self._ports.schedule(delay_s, self._tick)
            case Retire():
                self._retire()
            case _:
                assert_never(output)

    def _tick(self) -> None:
        self._timer = None
        if not self.tell(Tick()) and self.state is MailboxState.OPEN:
            self._timer = self._ports.schedule(_TICK_AGAIN_S, self._tick)

    def _tell_of(self, exchange: Finished) -> None:
        metrics = self._ports.metrics
        metrics.count(
            "bf_exchanges_total",
            action=exchange.action,
            outcome=exchange.outcome,
            direction=exchange.direction,
        )
        if exchange.direction != "relay" and exchange.outcome not in ("dropped", "repeated"):
            metrics.observe("bf_exchange_seconds", exchange.latency_s, action=exchange.action)
        if _LOG.isEnabledFor(logging.INFO):
            info = self._session.info
            _LOG.info(
                "exchange",
                extra={
                    "direction": exchange.direction,
                    "action": exchange.action,
                    "outcome": exchange.outcome,
                    "latency_ms": round(exchange.latency_s * 1000, 3),
                    "message_id": exchange.message_id,
                    "charger": info.charger_id,
                    "session": info.session_id,
                    "family": info.record.family,
                },
            )

    def _retire(self) -> None:
        self._owner.retired()
        if self._retirement is not None:
            self._retirement.set()
        self._cancel_timer()
        self.end()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _if_away(error: BaseException, about: T) -> T:
    """What failed, if the peer was away; anything else is a defect and fails the actor."""
    if isinstance(error, Unavailable | TimeoutError | asyncio.CancelledError):
        return about
    raise error


async def _at_once(message: Input) -> Input:
    return message


def _itself(message: Input) -> Input:
    return message


def _raise(error: BaseException) -> Input:
    raise error
