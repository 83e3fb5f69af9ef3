"""OCPP-J framing over a real socket: each malformed frame and its exact answer, and a process that minds none of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from bfactors.capability import Capabilities
from bfactors.disclosed import Disclosed
from bfactors.instruction import InstallAnchor, ListCertificates, Reboot, WriteAuthorizationKey
from bfactors.ocpp import (
    Answered,
    CallErrorReply,
    CallFailed,
    DecidedReply,
    DefaultReply,
    HeartbeatReply,
    Inbound,
    InboundAnswer,
    InboundCall,
    InboundProblem,
    OutboundCall,
    OutboundReply,
)
from bfactors.ports import Session
from gateways.ocpp import frame
from tests.core.x509_maker import NOW
from tests.integration.gateway_world import World, answer, ask, world

__all__ = ["world"]
pytestmark = pytest.mark.uvloop

KEY = "0123456789abcdef0123"


def respond(session: Session, inbound: Inbound) -> None:
    """What any actor does: problems are answered as they are, heartbeats with the time, the rest by default."""
    match inbound:
        case InboundProblem(message_id, code, description):
            session.send(OutboundReply(message_id, "", CallErrorReply(code, description)))
        case InboundCall(message_id, "Heartbeat"):
            session.send(OutboundReply(message_id, "Heartbeat", HeartbeatReply(NOW)))
        case InboundCall(message_id, action):
            session.send(OutboundReply(message_id, action, DefaultReply()))
        case _:
            pass


@pytest.fixture
async def charger(world: World) -> AsyncIterator[ClientConnection]:
    world.charger()
    world.door.react = respond
    async with world.dial_basic() as socket:
        await world.door.until(lambda: bool(world.door.sessions))
        yield socket


HEARTBEAT = [3, "hb", {"currentTime": "2026-06-01T12:00:00.000Z"}]

MALFORMED: list[tuple[Any, str, str]] = [
    ("", "-1", "RpcFrameworkError"),
    ("not json", "-1", "RpcFrameworkError"),
    ("{}", "-1", "RpcFrameworkError"),
    ("[]", "-1", "RpcFrameworkError"),
    ("null", "-1", "RpcFrameworkError"),
    ('[2, "1", "Heartbeat", {}', "-1", "RpcFrameworkError"),
    ("[" * 5000, "-1", "RpcFrameworkError"),
    ([2], "-1", "RpcFrameworkError"),
    ([2, 7, "Heartbeat", {}], "-1", "RpcFrameworkError"),
    ([2, "", "Heartbeat", {}], "-1", "RpcFrameworkError"),
    ([2, "x" * 37, "Heartbeat", {}], "-1", "RpcFrameworkError"),
    ([2, None, "Heartbeat", {}], "-1", "RpcFrameworkError"),
    ([2, "1"], "1", "RpcFrameworkError"),
    ([2, "1", "Heartbeat"], "1", "RpcFrameworkError"),
    ([2, "1", "Heartbeat", {}, {}], "1", "RpcFrameworkError"),
    ([2, "1", 5, {}], "1", "RpcFrameworkError"),
    ([2, "1", "Heartbeat", []], "1", "FormatViolation"),
    ([2, "1", "Heartbeat", "x"], "1", "FormatViolation"),
    (["2", "1", "Heartbeat", {}], "1", "RpcFrameworkError"),
    ([True, "1", "Heartbeat", {}], "1", "RpcFrameworkError"),
    ([2.0, "1", "Heartbeat", {}], "1", "RpcFrameworkError"),
    ([5, "1", {}], "1", "MessageTypeNotSupported"),
    ([6, "1", "NotifyPeriodicEventStream", {}], "1", "MessageTypeNotSupported"),
    ([0, 9], "-1", "MessageTypeNotSupported"),
    ([2, "1", "NoSuchAction", {}], "1", "NotImplemented"),
    ([2, "1", "heartbeat", {}], "1", "NotImplemented"),
    ([2, "1", "Reset", {"type": "Immediate"}], "1", "NotSupported"),
    ([2, "1", "SignCertificate", {}], "1", "OccurrenceConstraintViolation"),
    ([2, "1", "SignCertificate", {"csr": 1}], "1", "TypeConstraintViolation"),
    ([2, "1", "SignCertificate", {"csr": "x" * 5501}], "1", "PropertyConstraintViolation"),
    ([2, "1", "SignCertificate", {"csr": "x", "certificateType": "Other"}], "1", "PropertyConstraintViolation"),
    ([2, "1", "SignCertificate", {"csr": "x", "more": 1}], "1", "FormatViolation"),
    ([2, "1", "SecurityEventNotification", {"type": "x", "timestamp": "yesterday"}], "1", "FormatViolation"),
    ([2, "1", "MeterValues", {"evseId": 1, "meterValue": []}], "1", "OccurrenceConstraintViolation"),
    ([2, "1", "BootNotification", {"reason": "PowerUp", "chargingStation": {"model": "m"}}], "1",
     "OccurrenceConstraintViolation"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "message_id", "code"), MALFORMED, ids=lambda value: str(value)[:40])
async def test_a_malformed_frame_gets_its_exact_answer_and_the_session_goes_on(
    charger: ClientConnection, sent: Any, message_id: str, code: str
) -> None:
    await ask(charger, sent)
    kind, answered_id, answered_code, description, details = await answer(charger)
    assert (kind, answered_id, answered_code, details) == (4, message_id, code, {})
    assert isinstance(description, str)
    assert len(description) <= 255
    await ask(charger, [2, "hb", "Heartbeat", {}])
    assert await answer(charger) == HEARTBEAT


async def test_a_null_payload_is_an_empty_one(charger: ClientConnection) -> None:
    await ask(charger, '[2, "hb", "Heartbeat", null]')
    assert await answer(charger) == HEARTBEAT


async def test_what_breaks_the_schema_is_named_but_never_quoted(charger: ClientConnection) -> None:
    await ask(charger, [2, "1", "SignCertificate", {"csr": "secret" * 1000}])
    assert "secret" not in json.dumps(await answer(charger))


async def test_a_second_call_under_an_id_still_being_answered_does_not_spoil_the_first(
    world: World, charger: ClientConnection
) -> None:
    world.door.react = lambda session, inbound: None
    await ask(charger, [2, "same", "Heartbeat", {}])
    await ask(charger, [2, "same", "Heartbeat", {}])
    second = await world.door.next_inbound(2)
    assert isinstance(second, InboundProblem)
    assert (second.message_id, second.code) == ("-1", "RpcFrameworkError")
    world.door.send(OutboundReply("same", "Heartbeat", HeartbeatReply(NOW)))
    assert (await answer(charger))[:2] == [3, "same"]
    world.door.react = respond
    await ask(charger, [2, "same", "Heartbeat", {}])
    assert (await answer(charger))[:2] == [3, "same"]


async def test_a_charger_with_too_many_calls_open_is_cut(world: World, charger: ClientConnection) -> None:
    world.door.react = lambda session, inbound: None
    for number in range(65):
        await ask(charger, [2, str(number), "Heartbeat", {}])
    with pytest.raises(ConnectionClosed, match="1008"):
        await answer(charger)
    assert len(world.door.calls) == 64


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"binary", 1003), ('[2,"\u00e9"]'.encode("latin-1"), 1007)],
)
async def test_bytes_that_are_no_text_end_the_session(
    world: World, charger: ClientConnection, message: bytes, code: int
) -> None:
    await charger.send(message, text=code == 1007)
    with pytest.raises(ConnectionClosed, match=str(code)):
        await answer(charger)
    await world.door.until(lambda: world.door.closed_because == {"session-1": "protocol-error"})


async def test_a_message_in_fragments_is_one_message(charger: ClientConnection) -> None:
    await charger.send(iter(['[2,"hb",', '"Heart', 'beat",{}]']))
    assert await answer(charger) == HEARTBEAT


# ---------------------------------------------------------------- answers to our calls


async def test_an_answer_reaches_the_actor_once_and_its_double_nobody(
    world: World, charger: ClientConnection
) -> None:
    world.door.send(OutboundCall("c1", Reboot("on-idle")))
    assert await answer(charger) == [2, "c1", "Reset", {"type": "OnIdle"}]
    await ask(charger, [3, "c1", {"status": "Scheduled"}])
    await ask(charger, [3, "c1", {"status": "Rejected"}])
    await ask(charger, [2, "hb", "Heartbeat", {}])
    assert await answer(charger) == HEARTBEAT
    answers = [inbound for _, inbound in world.door.inbound if isinstance(inbound, InboundAnswer)]
    assert answers == [InboundAnswer("c1", Answered("Scheduled"))]
    assert world.counts.counted["ocpp_answers_dropped stray"] == 1


async def test_a_late_answer_does_not_settle_the_next_call(world: World, charger: ClientConnection) -> None:
    world.door.send(OutboundCall("c1", Reboot()))
    await answer(charger)
    world.door.send(OutboundCall("c2", Reboot("immediate")))
    await answer(charger)
    await ask(charger, [3, "c1", {"status": "Rejected"}])
    await ask(charger, [4, "c2", "InternalError", "broke", {}])
    assert await world.door.next_inbound(1) == InboundAnswer("c2", CallFailed("InternalError", "broke"))


@pytest.mark.parametrize(
    ("sent", "dropped"),
    [
        ([3, "nobody", {"status": "Accepted"}], "stray"),
        ([4, "nobody", "GenericError", "", {}], "stray"),
        ([3, "nobody"], "broken"),
        ([3], "broken"),
        ([3, 5, {}], "broken"),
        ([4, "nobody", 5], "broken"),
        ([3, "c1", "text"], ""),
        ([3, "c1"], ""),
        ([4, "c1"], ""),
        ([3, "c1", {"status": "Maybe"}], ""),
        ([3, "c1", {}], ""),
    ],
)
async def test_answers_that_are_none_are_never_answered(
    world: World, charger: ClientConnection, sent: list[Any], dropped: str
) -> None:
    world.door.send(OutboundCall("c1", Reboot()))
    await answer(charger)
    await ask(charger, sent)
    await ask(charger, [2, "hb", "Heartbeat", {}])
    assert await answer(charger) == HEARTBEAT
    first = world.door.inbound[0][1]
    if dropped:
        assert world.counts.counted[f"ocpp_answers_dropped {dropped}"] == 1
        assert isinstance(first, InboundCall)
    else:
        assert isinstance(first, InboundAnswer)
        assert isinstance(first.outcome, CallFailed)
        assert first.outcome.code == "InvalidAnswer"


@pytest.mark.parametrize(
    ("answered", "outcome"),
    [
        (
            [4, "c1", "PropertyConstraintViolation", f"'{KEY}' is too long", {"was": KEY}],
            CallFailed("PropertyConstraintViolation", "'***' is too long"),
        ),
        (
            [3, "c1", {"setVariableResult": [
                {
                    "attributeStatus": "Rejected",
                    "component": {"name": "SecurityCtrlr"},
                    "variable": {"name": "BasicAuthPassword"},
                    "attributeStatusInfo": {"reasonCode": KEY[:16], "additionalInfo": f"bad {KEY.upper()}"},
                }
            ]}],
            Answered("Rejected", "***", "bad ***"),
        ),
    ],
)  # fmt: skip
async def test_a_charger_that_repeats_a_secret_puts_it_on_no_record(
    world: World, charger: ClientConnection, answered: list[Any], outcome: Answered | CallFailed
) -> None:
    instruction = WriteAuthorizationKey(secret_id="k-1", generation=2)
    world.door.send(OutboundCall("c1", instruction, Disclosed(KEY.encode())))
    assert KEY in str(await answer(charger))
    await ask(charger, answered)
    assert await world.door.next_inbound(1) == InboundAnswer("c1", outcome)


async def test_a_call_the_charger_could_not_be_sent_fails_without_leaving(
    world: World, charger: ClientConnection
) -> None:
    world.door.send(OutboundCall("c1", ListCertificates("no-such-purpose")))
    failed = await world.door.next_inbound(1)
    assert isinstance(failed, InboundAnswer)
    assert isinstance(failed.outcome, CallFailed)
    assert failed.outcome.code == "NotSendable"
    await ask(charger, [2, "hb", "Heartbeat", {}])
    assert await answer(charger) == HEARTBEAT


async def test_what_is_learned_of_a_charger_holds_for_its_open_session(
    world: World, charger: ClientConnection
) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    world.records.edit("CS-1", capabilities=Capabilities(needs_crlf=True))
    world.door.send(OutboundCall("c1", InstallAnchor("backend_server", "ab", pem)))
    assert (await answer(charger))[3]["certificate"] == pem.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (b'{"idTokenInfo":{"status":"Accepted"}}', "Accepted"),
        (b'{"idTokenInfo":{"status":"Perhaps"}}', "Unknown"),
        (b"not JSON", "Unknown"),
    ],
)
async def test_a_decision_is_validated_before_the_charger_gets_it(
    world: World, charger: ClientConnection, word: bytes, status: str
) -> None:
    def decide(session: Session, inbound: Inbound) -> None:
        assert isinstance(inbound, InboundCall)
        session.send(OutboundReply(inbound.message_id, inbound.action, DecidedReply(word)))

    world.door.react = decide
    await ask(charger, [2, "a", "Authorize", {"idToken": {"idToken": "A1", "type": "ISO14443"}}])
    assert await answer(charger) == [3, "a", {"idTokenInfo": {"status": status}}]
    assert world.counts.counted["ocpp_decisions_unusable Authorize"] == (status == "Unknown")


# ---------------------------------------------------------------- anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
ACTIONS = st.sampled_from(
    [
        "Heartbeat",
        "BootNotification",
        "SignCertificate",
        "StatusNotification",
        "MeterValues",
        "DataTransfer",
        "Reset",
        "GetCertificateChainStatus",
        "NotifyPeriodicEventStream",
    ]
)
FRAMES = (
    st.text(max_size=200)
    | JSON.map(json.dumps)
    | st.lists(JSON, max_size=6).map(json.dumps)
    | st.tuples(
        st.sampled_from([2, 3, 4, 5, 6]), st.text(max_size=40), ACTIONS | st.text(max_size=20), JSON
    ).map(json.dumps)
)


@settings(max_examples=400, deadline=None)
@given(
    data=st.binary(max_size=300) | FRAMES.map(lambda text: text.encode("utf-8", "surrogatepass")),
    has_sends=st.booleans(),
)
def test_whatever_the_bytes_a_frame_is_read_without_an_error(data: bytes, has_sends: bool) -> None:
    read = frame.parse(data, has_sends=has_sends)
    if not has_sends:
        assert not isinstance(read, frame.Send | frame.BrokenSend | frame.ResultError)
    if isinstance(read, frame.Broken):
        assert len(read.message_id) <= 36
    if isinstance(read, frame.Call):
        assert 0 < len(read.message_id) <= 36


@pytest.mark.parametrize("subprotocol", ["ocpp2.0.1", "ocpp2.1", "ocpp1.6"])
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(frames=st.lists(FRAMES.filter(lambda text: _encodes(text)), min_size=20, max_size=40))
async def test_no_sequence_of_frames_disturbs_the_session_or_the_process(
    world: World, subprotocol: str, frames: list[str]
) -> None:
    world.charger()
    world.door.react = respond
    async with world.dial_basic(subprotocols=[subprotocol]) as socket:
        for text in frames:
            await socket.send(text)
        await ask(socket, [2, "the last one", "Heartbeat", {}])
        while (received := await answer(socket))[1] != "the last one":
            assert received[0] in (3, 4)
        assert received[0] == 3
    assert world.counts.counted["ocpp_sessions_closed internal-error"] == 0


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "the last one" not in text
