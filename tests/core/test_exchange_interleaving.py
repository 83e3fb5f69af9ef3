"""Whatever comes in whatever order - frames, acknowledgements, failures, repetitions, ticks - the promises hold."""

from typing import assert_never

import hypothesis.strategies as st
import msgspec
from hypothesis import given, settings

from bfactors import evidence as v
from bfactors.exchange import ExchangeRules, Input
from bfactors.exchange.message import (
    Ask,
    Close,
    Decided,
    EvidenceFailed,
    EvidenceStored,
    Finished,
    FrameArrived,
    Leave,
    NewerSession,
    OrderArrived,
    Output,
    PauseChanged,
    Record,
    RecordChanged,
    RelayFailed,
    RelayOut,
    RelayStored,
    Restate,
    Retire,
    Send,
    SessionEnded,
    SetTimer,
    Tick,
    Undecided,
)
from bfactors.instruction import (
    CloseSession,
    InstructionKind,
    ListCertificates,
    ObtainCsr,
    Reboot,
    is_repeatable,
)
from bfactors.ocpp import (
    Answered,
    CallFailed,
    CsrPresented,
    CsrReply,
    DecisionAsked,
    HeartbeatSent,
    InboundAnswer,
    InboundCall,
    InboundProblem,
    OutboundCall,
    OutboundReply,
    Relayed,
    Reply,
    SecurityEventNotified,
    StationMessage,
)
from tests.core.exchange_bench import BOOT, Bench, order, record, session_info

MESSAGES: tuple[StationMessage, ...] = (
    BOOT,
    HeartbeatSent(),
    CsrPresented("charging_station", "MIIB"),
    CsrPresented("charging_station", "MIIC"),
    SecurityEventNotified("TamperDetectionActivated", "then", None),
    Relayed("MeterValues", b"1"),
    Relayed("TransactionEvent", b"2", confirm=True),
    DecisionAsked("Authorize", b"3"),
)
BODIES: tuple[InstructionKind, ...] = (
    ListCertificates(),
    ObtainCsr("charging_station"),
    Reboot(),
    CloseSession("renewed"),
)
ANSWER_WAIT_S = 7
WORDS = ("stored", "failed", "lost")


class World:
    """A session with a log, a relay and a gateway around it that may fail, and an eye on every promise."""

    def __init__(self, mode: str, buffered: int) -> None:
        rules = ExchangeRules(evidence_buffered=buffered, answers_remembered=10_000, answer_memory_s=1e9)
        self.bench = Bench(session_info(record=record(mode=mode, revision=1)), rules)
        self.recording: v.Evidence | None = None
        self.stored: list[v.Evidence] = []
        self.acknowledged: set[str] = set()
        self.relays: list[int] = []
        self.questions: list[int] = []
        self.ordered: set[tuple[str, int]] = set()
        self.sent: dict[tuple[str, int], OutboundCall] = {}
        self.outstanding: tuple[str, float] | None = None
        self.answers: dict[tuple[str, str, object], Reply] = {}
        self.asked: dict[str, list[tuple[str, object]]] = {}
        self.is_closed = False
        self.has_ended = False
        self.retired = 0
        self.timer_s: float | None = None
        self._watch(self.bench.out)

    # -- doing ------------------------------------------------------------------------------------

    def give(self, message: Input) -> None:
        self._watch(self.bench.give(message).out)

    def wait(self, seconds: float) -> None:
        """Time passes, and every timer asked for rings on its way."""
        end_s = self.bench.now_s + seconds
        for _ in range(1000):
            if self.timer_s is None or self.timer_s > end_s:
                break
            self.bench.now_s = max(self.bench.now_s, self.timer_s)
            self.timer_s = None
            self.give(Tick())
        else:
            raise AssertionError("the timer rings for ever")
        self.bench.now_s = end_s

    def log_says(self, word: str) -> None:
        """The log's word on what it was given: `stored`, `failed`, or stored with its acknowledgement `lost`."""
        evidence = self.recording
        if evidence is None:
            return
        self.recording = None
        if word != "failed":
            self.stored.append(evidence)
        if word == "stored":
            self.acknowledged.add(evidence.evidence_id)
            self.give(EvidenceStored(evidence.evidence_id))
        else:
            self.give(EvidenceFailed(evidence.evidence_id))

    def call(self, message_id: str, message: StationMessage) -> None:
        action = type(message).__name__
        self.asked.setdefault(message_id, []).append((action, message))
        self.give(FrameArrived(InboundCall(message_id, action, message)))

    def answer(self, is_right: bool, is_error: bool) -> None:
        message_id = self.outstanding[0] if self.outstanding and is_right else "stray"
        if message_id != "stray":
            self.outstanding = None
        outcome = CallFailed("GenericError") if is_error else Answered("Accepted")
        self.give(FrameArrived(InboundAnswer(message_id, outcome)))

    def end(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self.outstanding = None
            self.give(SessionEnded("connection-lost"))

    # -- watching ---------------------------------------------------------------------------------

    def _watch(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            assert not self.retired, "nothing is done after retiring"
            match output:
                case Send(outbound):
                    assert not self.is_closed, "nothing is sent after the close"
                    assert not self.has_ended, "nothing is sent after the end"
                    if isinstance(outbound, OutboundCall):
                        self._called(outbound)
                    else:
                        self._replied(outbound)
                case Record(evidence):
                    assert self.recording is None, "one piece of evidence at a time"
                    self._recorded(evidence)
                case RelayOut():
                    self.relays.append(output.token)
                case Ask():
                    self.questions.append(output.token)
                case Close():
                    assert not self.is_closed, "closed once"
                    self.is_closed = True
                case SetTimer(at_s):
                    self.timer_s = at_s
                case Retire():
                    assert self.has_ended
                    self.retired += 1
                case Finished():
                    pass
                case _:
                    assert_never(output)

    def _recorded(self, evidence: v.Evidence) -> None:
        self.recording = evidence
        kinds = [type(e.body) for e in self.stored if e.evidence_id in self.acknowledged]
        if not isinstance(evidence.body, v.SessionOpened):
            assert v.SessionOpened in kinds, "SessionOpened is stored before all else"
        assert v.SessionClosed not in kinds, "SessionClosed is the last word"

    def _called(self, call: OutboundCall) -> None:
        now_s = self.bench.now_s
        if self.outstanding is not None:
            assert self.outstanding[1] <= now_s, "two calls outstanding"
        if is_repeatable(call.instruction):
            allowed = self.ordered
            kinds = [type(e.body) for e in self.stored if e.evidence_id in self.acknowledged]
            assert v.SessionOpened in kinds, "a frame left before the ledger could hear of its session"
        else:
            allowed = {
                (e.body.instruction_id, e.body.decision)
                for e in self.stored
                if isinstance(e.body, v.InstructionSent) and e.evidence_id in self.acknowledged
            }
        keys = [key for key in allowed if message_id_of(key) == call.message_id]
        assert keys, "a frame left before its InstructionSent was stored"
        [key] = keys
        assert key not in self.sent, "a decision is carried out once"
        self.sent[key] = call
        self.outstanding = (call.message_id, now_s + ANSWER_WAIT_S)

    def _replied(self, sent: OutboundReply) -> None:
        asked = [message for action, message in self.asked[sent.message_id] if action == sent.action]
        assert asked, "an answer to a call nobody made"
        if len(set(asked)) == 1:
            key = (sent.message_id, sent.action, asked[0])
            assert self.answers.setdefault(key, sent.reply) == sent.reply, "a call was answered in two ways"
        if sent.reply == CsrReply(accepted=True):
            held = [e.body.csr for e in self.stored if isinstance(e.body, v.CsrReceived)]
            wanted = [m.csr for m in asked if isinstance(m, CsrPresented)]
            assert any(csr in text for csr in wanted for text in held), "accepted before it was stored"

    # -- the end ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """The socket goes, NATS is back and stays: everything owed is stored, and nothing was lost."""
        self.end()
        for _ in range(500):
            if self.recording is not None:
                self.log_says("stored")
            elif not self.retired:
                self.wait(1)
        assert self.retired == 1
        answered: dict[tuple[str, int], int] = {}
        for evidence in {e.evidence_id: e for e in self.stored}.values():
            if isinstance(evidence.body, v.InstructionAnswered):
                key = (evidence.body.instruction_id, evidence.body.decision)
                answered[key] = answered.get(key, 0) + 1
        for evidence in self.stored:
            if isinstance(evidence.body, v.InstructionSent):
                key = (evidence.body.instruction_id, evidence.body.decision)
                assert answered.get(key) == 1, "what was announced is settled once"
        for key in self.sent:
            assert answered.get(key) == 1, "what was sent is settled once"
        if self.bench.state.is_introduced:
            assert isinstance(self.stored[-1].body, v.SessionClosed)


def message_id_of(key: tuple[str, int]) -> str:
    return v.evidence_id("s-1", key[0], str(key[1]))


STEPS = st.one_of(
    st.tuples(st.just("call"), st.integers(0, 6), st.integers(0, len(MESSAGES) - 1)),
    st.tuples(st.just("order"), st.integers(0, 3), st.integers(1, 3)),
    st.tuples(st.just("log"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("log"), st.just(0), st.just(0)),
    st.tuples(st.just("relay"), st.booleans(), st.just(0)),
    st.tuples(st.just("decision"), st.booleans(), st.just(0)),
    st.tuples(st.just("answer"), st.booleans(), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.4, 1.0, 3.0, 7.0, 10.0, 40.0]), st.just(0)),
    st.tuples(st.just("other"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("end"), st.integers(0, 9), st.just(0)),
)


def perform(world: World, name: str, first: int, second: int) -> None:
    match name:
        case "call":
            world.call(str(first), MESSAGES[second])
        case "order":
            body = BODIES[first]
            world.ordered.add((f"i-{first}", second))
            world.give(OrderArrived(order(first, second, body, answer_wait_s=ANSWER_WAIT_S)))
        case "log":
            world.log_says(WORDS[first])
        case "relay":
            if world.relays:
                token = world.relays.pop(0)
                world.give(RelayStored(token) if first else RelayFailed(token))
        case "decision":
            if world.questions:
                token = world.questions.pop(0)
                world.give(Decided(token, b"{}") if first else Undecided(token))
        case "answer":
            world.answer(bool(first), bool(second))
        case "wait":
            world.wait(first)
        case "other":
            world.give(
                (
                    Restate(),
                    RecordChanged(record(mode="accepted", revision=2)),
                    FrameArrived(InboundProblem("-1", "RpcFrameworkError", "not JSON")),
                    RelayStored(99),
                    EvidenceStored("of nobody"),
                    Tick(),
                    PauseChanged(True),
                    PauseChanged(False),
                )[first]
            )
        case "end":
            if first == 0:
                world.end()
            elif first == 1:
                world.give(NewerSession())
            elif first == 2:
                world.give(Leave(1012, "draining"))


@settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(STEPS, min_size=10, max_size=60),
    mode=st.sampled_from(["accepted", "accepted", "pending"]),
    is_known=st.booleans(),
    is_prompt=st.booleans(),
    buffered=st.sampled_from([2, 6, 16]),
)
def test_no_interleaving_breaks_a_promise(
    steps: list[tuple[str, int, int]], mode: str, is_known: bool, is_prompt: bool, buffered: int
) -> None:
    world = World(mode, buffered)
    world.asked["-1"] = [("", msgspec.UNSET)]
    if is_known:
        world.log_says("stored")
    for name, first, second in steps:
        perform(world, name, first, second)
        if is_prompt:
            world.log_says("stored")
    world.settle()
