"""What OCPP 2.1 adds to the exchange rules: numbered CSRs, messages never answered, complaints, and a car's patience."""

import msgspec

from bfactors import evidence as v
from bfactors.exchange import ExchangeRules
from bfactors.exchange.message import Finished, FrameArrived, RelayOut, RelayStored
from bfactors.ocpp import (
    CsrPresented,
    CsrReply,
    DecisionAsked,
    DefaultReply,
    InboundComplaint,
    InboundSend,
    Relayed,
)
from tests.core.exchange_bench import Bench, record, session_info

CSR = CsrPresented("charging_station", "MIIB", 7)
STREAM = InboundSend("s1", Relayed("NotifyPeriodicEventStream", b"{}"))


def csrs(bench: Bench) -> list[int | None]:
    return [body.request_id for body in bench.recorded if isinstance(body, v.CsrReceived)]


def test_the_same_csr_under_another_number_is_another_request() -> None:
    bench = Bench.introduced()
    assert csrs(bench.call(CSR, "1")) == [7]
    assert bench.store().reply == CsrReply(accepted=True)
    assert bench.call(CSR, "2").reply == CsrReply(accepted=True), "held already: answered, not submitted"
    assert bench.recorded == []
    renumbered = msgspec.structs.replace(CSR, request_id=8)
    assert csrs(bench.call(renumbered, "3")) == [8]
    assert bench.store().reply == CsrReply(accepted=True)
    assert csrs(bench.call(CSR, "4")) == [7], "only the newest number is held"


def test_the_same_csr_under_another_number_does_not_wait_for_the_first_ones_evidence() -> None:
    bench = Bench.introduced().call(CSR, "1")
    bench.call(CSR, "2").call(msgspec.structs.replace(CSR, request_id=8), "3")
    bench.store()
    assert [message_id for message_id, _ in bench.replies] == ["1", "2"]
    assert [message_id for message_id, _ in bench.store().replies] == ["3"]


def test_what_is_never_answered_is_passed_on() -> None:
    bench = Bench.introduced().give(FrameArrived(STREAM))
    assert [relay.action for relay in bench.outputs(RelayOut)] == ["NotifyPeriodicEventStream"]
    assert bench.replies == []
    assert bench.give(RelayStored(bench.state.relays[0])).replies == []


def test_a_stream_is_bounded_and_what_is_too_much_is_lost() -> None:
    bench = Bench.introduced(rules=ExchangeRules(relays_in_flight=2))
    for _ in range(3):
        bench.give(FrameArrived(STREAM))
    assert len(bench.state.relays) == 2
    assert [done.outcome for done in bench.outputs(Finished)] == ["dropped"]
    assert bench.closes == []


def test_a_pending_charger_passes_nothing_on_and_is_told_nothing() -> None:
    bench = Bench.introduced(session_info(record=record(mode="pending"))).give(FrameArrived(STREAM))
    assert bench.out == ()


def test_a_complaint_is_recorded_and_not_answered() -> None:
    bench = Bench.introduced().give(FrameArrived(InboundComplaint("a", "FormatViolation", "interval")))
    [body] = bench.recorded
    assert isinstance(body, v.SecurityEventReported)
    assert (body.event_type, body.tech_info) == ("AnswerRefused", "FormatViolation interval")
    assert bench.replies == []


def test_complaints_without_end_neither_fill_the_buffer_nor_end_the_session() -> None:
    bench = Bench.introduced()
    for number in range(100):
        bench.give(FrameArrived(InboundComplaint(str(number), "FormatViolation", "")))
    assert len(bench.state.evidence) == 1
    assert bench.state.phase == "open"


def test_a_car_gets_the_default_before_it_gives_up() -> None:
    asked = DecisionAsked("Get15118EVCertificate", b"{}", wait_s=4.0)
    bench = Bench.introduced().call(asked, "1", asked.action)
    assert bench.wait(3.9).replies == []
    assert bench.wait(0.2).reply == DefaultReply()
