"""Orders that name a secret: it is fetched for the one frame that carries it, and remembered nowhere."""

import pytest
from msgspec.structs import replace

from bfactors import evidence as v
from bfactors.disclosed import Disclosed
from bfactors.exchange.message import (
    Finished,
    FrameArrived,
    OpenSecret,
    Record,
    RecordChanged,
    SecretOpened,
    SecretUnavailable,
    Send,
    SessionEnded,
)
from bfactors.instruction import CollectLog, ListCertificates, WriteAuthorizationKey
from bfactors.ocpp import Answered, CallFailed, Disconnected, InboundAnswer, OutboundCall
from tests.core.exchange_bench import Bench

KEY = WriteAuthorizationKey(secret_id="k-1", generation=2)
LOG = CollectLog(log="security", request_id=7, secret_id="l-1")
SECRET = Disclosed(b"0123456789abcdef")


def outcomes(bench: Bench) -> list[object]:
    return [body.outcome for body in bench.recorded if isinstance(body, v.InstructionAnswered)]


def test_the_frame_waits_for_its_secret_and_carries_it() -> None:
    bench = Bench.introduced().order(1, body=KEY)
    assert bench.outputs(OpenSecret) == [OpenSecret("k-1")]
    assert not bench.calls
    [call] = bench.give(SecretOpened("k-1", SECRET)).calls
    assert (call.instruction, call.secret) == (KEY, SECRET)
    bench.answer(call.message_id)
    assert outcomes(bench) == [Answered("Accepted")]


def test_no_secret_is_remembered_or_printed() -> None:
    bench = Bench.introduced().order(1, body=KEY).give(SecretOpened("k-1", SECRET))
    assert "0123456789abcdef" not in repr(bench.state)
    assert "0123456789abcdef" not in repr([o for o in bench.all if isinstance(o, Send | Record)])


def test_what_must_be_announced_is_announced_before_its_secret_is_fetched() -> None:
    bench = Bench.introduced().order(1, body=LOG)
    assert not bench.outputs(OpenSecret)
    assert bench.store().outputs(OpenSecret) == [OpenSecret("l-1")]
    assert len(bench.give(SecretOpened("l-1", SECRET)).calls) == 1


def test_meanwhile_nothing_else_is_called() -> None:
    bench = Bench.introduced().order(1, body=KEY).order(2, body=ListCertificates())
    assert not [o for o in bench.all if isinstance(o, Send) and isinstance(o.outbound, OutboundCall)]
    [call] = bench.give(SecretOpened("k-1", SECRET)).calls
    [following] = bench.answer(call.message_id).calls
    assert following.instruction == ListCertificates()


def test_a_secret_that_is_gone_ends_its_order() -> None:
    bench = Bench.introduced().order(1, body=KEY).give(SecretOpened("k-1", None))
    assert not bench.calls
    [outcome] = outcomes(bench)
    assert isinstance(outcome, CallFailed)
    assert outcome.code == "SecretGone"


def test_with_nobody_to_ask_a_repeatable_order_is_taken_again_when_it_comes_again() -> None:
    bench = Bench.introduced().order(1, body=KEY).give(SecretUnavailable("k-1"))
    assert [f.outcome for f in bench.outputs(Finished)] == ["dropped"]
    assert outcomes(bench) == []
    assert bench.order(1, body=KEY).outputs(OpenSecret) == [OpenSecret("k-1")]


def test_with_nobody_to_ask_an_announced_order_has_failed() -> None:
    bench = Bench.introduced().order(1, body=LOG).store().give(SecretUnavailable("l-1"))
    [outcome] = outcomes(bench)
    assert isinstance(outcome, CallFailed)
    assert outcome.code == "SecretUnavailable"


@pytest.mark.parametrize("late", [SecretOpened("k-1", SECRET), SecretUnavailable("k-1")])
def test_a_session_that_ends_meanwhile_sends_nothing(late: SecretOpened | SecretUnavailable) -> None:
    bench = Bench.introduced().order(1, body=KEY).give(SessionEnded("gone"))
    assert outcomes(bench) == [Disconnected()]
    assert not bench.give(late).calls


def test_a_secret_nobody_waits_for_changes_nothing() -> None:
    bench = Bench.introduced()
    before = bench.state
    assert bench.give(SecretOpened("k-1", SECRET)).out == ()
    assert bench.give(SecretUnavailable("k-1")).state == before


def test_a_new_key_waits_until_the_gateway_knows_that_it_is_admitted() -> None:
    bench = Bench.introduced()
    known = bench.state.record.revision
    bench.order(1, body=KEY, admission_revision=known + 1).order(2, body=ListCertificates())
    assert bench.state.opening is None
    bench.answer(bench.calls[0].message_id)
    assert bench.outputs(OpenSecret) == []
    bench.give(RecordChanged(replace(bench.state.record, revision=known + 1)))
    assert bench.outputs(OpenSecret) == [OpenSecret("k-1")]


@pytest.mark.parametrize(
    "outcome",
    [
        CallFailed("InternalError", "busy with WDB2030461A123456"),
        Answered("Rejected", "Car", detail="VIN: WDB2030461A123456", payload='{"a":"WDB2030461A123456"}'),
    ],
)
def test_what_a_charger_writes_of_a_car_is_taken_out_before_it_is_on_record(
    outcome: Answered | CallFailed,
) -> None:
    bench = Bench.introduced().order(1, body=ListCertificates())
    [call] = bench.calls
    bench.give(FrameArrived(InboundAnswer(call.message_id, outcome)))
    [recorded] = outcomes(bench)
    assert type(recorded) is type(outcome)
    assert "WDB2030461A123456" not in repr(recorded)
    assert "[personal identifier]" in repr(recorded)
