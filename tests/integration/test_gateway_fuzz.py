"""Every loaded dialect under a storm: no frame crashes a session, no call goes without its one answer, nothing piles up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors.admission import AdmissionRecord, SessionInfo
from bfactors.capability import Capabilities
from bfactors.certificate_hash import HashData
from bfactors.disclosed import Disclosed
from bfactors.instruction import (
    AskFor,
    CallAction,
    CloseSession,
    CollectLog,
    CompareRootStores,
    DeleteCertificate,
    DeleteFirmwareRoot,
    InstallAnchor,
    InstallFirmwareRoot,
    InstallLeaf,
    InstructionKind,
    ListCertificates,
    ListFirmwareRoots,
    ObtainCsr,
    RaiseSecurityProfile,
    ReadSettings,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
    UpdateFirmware,
    WriteAuthorizationKey,
    WriteSetting,
)
from bfactors.ocpp import (
    BootNotified,
    BootReply,
    CallErrorReply,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    HeartbeatReply,
    HeartbeatSent,
    Inbound,
    InboundAnswer,
    InboundCall,
    InboundProblem,
    OutboundCall,
    OutboundReply,
    Reply,
)
from bfactors.ports import Session
from gateways.ocpp.dialect import Dialect, Unsupported, loaded_dialects, subprotocol
from gateways.ocpp.pnc_envelope import VENDOR_ID
from gateways.ocpp.session import MAX_CALLS_IN_FLIGHT, OcppSession
from tests.core.x509_maker import NOW
from tests.integration.gateway_world import Counts

Payload = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

COMMON_CODES = {
    "GenericError", "InternalError", "NotImplemented", "NotSupported", "PropertyConstraintViolation", "ProtocolError",
    "SecurityError", "TypeConstraintViolation",
}  # fmt: skip
CODES_2X = COMMON_CODES | {
    "FormatViolation", "MessageTypeNotSupported", "OccurrenceConstraintViolation", "RpcFrameworkError",
}  # fmt: skip
CODES = {
    "1.6": COMMON_CODES | {"FormationViolation", "OccurenceConstraintViolation"},
    "2.0.1": CODES_2X,
    "2.1": CODES_2X,
}
PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
HASH_DATA = HashData("SHA256", "aa", "bb", "0FFF")
INSTRUCTIONS: list[InstructionKind] = [
    ObtainCsr("charging_station"),
    InstallLeaf("charging_station", "c", "f", PEM, root_pem=PEM, request_id=3),
    InstallAnchor("backend_server", "f", PEM),
    ListCertificates("backend_server"),
    ListCertificates(),
    ListCertificates("no-such-purpose"),
    DeleteCertificate("CSMSRootCertificate", HASH_DATA),
    DeleteCertificate("V2GRootCertificate", HASH_DATA),
    SetNetworkProfile(1, "wss://cs.example", 3),
    SetProfilePriority((1, 0)),
    Reboot(),
    RaiseSecurityProfile(3),
    WriteSetting("organization", "x"),
    WriteSetting("network-priority", "1"),
    ReadSettings(("organization", "network-priority")),
    WriteAuthorizationKey("s", 1),
    CollectLog("security", 1, "s"),
    AskFor("status"),
    InstallFirmwareRoot("f", PEM),
    ListFirmwareRoots(),
    CompareRootStores(),
    DeleteFirmwareRoot(HASH_DATA),
    UpdateFirmware(1, "https://x.example/f", "2026-01-01T00:00:00.000Z", PEM, "AA=="),
    CallAction("DataTransfer", '{"vendorId": "v"}'),
    CallAction("NoSuchAction", "{}"),
]
DECISIONS = [
    b'{"idTokenInfo":{"status":"Accepted"}}',
    b'{"idTagInfo":{"status":"Blocked"}}',
    b'{"status":"Failed"}',
]
SECRET = Disclosed(b"0123456789abcdef")

# ---------------------------------------------------------------- what is sent

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
MESSAGE_ID = st.just("id-1") | st.text(min_size=1, max_size=36) | JSON


@cache
def schemas_of(version: str) -> dict[str, Any]:
    """Every schema of a version, by the name of its file."""
    folder = resources.files(f"ocpp.v{version.replace('.', '')}") / "schemas"
    return {
        entry.name.removesuffix(".json"): orjson.loads(entry.read_bytes().removeprefix(b"\xef\xbb\xbf"))
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    }


def request_schema(version: str, action: str) -> Any:
    return schemas_of(version)[action if version == "1.6" else f"{action}Request"]


@cache
def actions_of(version: str) -> list[str]:
    names = schemas_of(version)
    known = loaded_dialects()[f"ocpp{version}"].schemas.knows
    return sorted(action for name in names if known(action := name.removesuffix("Request")))


def instance(draw: Draw, schema: Any, root: Any, depth: int = 0) -> Any:
    """Something like what a schema describes; not always valid, and often enough."""
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            return {
                name: instance(draw, part, root, depth + 1)
                for name, part in schema.get("properties", {}).items()
                if name in required or (depth < 3 and draw(st.booleans()))
            }
        case "array":
            least = schema.get("minItems", 0)
            count = draw(st.integers(least, least + 1))
            return [instance(draw, schema["items"], root, depth + 1) for _ in range(count)]
        case "string" if schema.get("format") == "date-time":
            return "2026-01-01T00:00:00Z"
        case "string":
            return draw(st.text(max_size=min(schema.get("maxLength", 8), 8)))
        case "integer" | "number":
            return draw(st.integers(schema.get("minimum", 0), schema.get("maximum", 9)))
        case "boolean":
            return draw(st.booleans())
        case _:
            return {}


def spoiled(draw: Draw, payload: Any) -> Any:
    """The payload, often as it is, else with one thing wrong."""
    if not isinstance(payload, dict):
        return payload
    match draw(st.integers(0, 12)):
        case 0 if payload:
            del payload[draw(st.sampled_from(sorted(payload)))]
        case 1 if payload:
            payload[draw(st.sampled_from(sorted(payload)))] = draw(JSON)
        case 2:
            payload[draw(st.text(max_size=5))] = draw(JSON)
        case 3:
            return draw(JSON)
        case _:
            pass
    return payload


def envelope(draw: Draw) -> Payload:
    actions = ["Authorize", "Get15118EVCertificate", "GetCertificateStatus", "SignCertificate", "Reset"]
    action = draw(st.sampled_from(actions))
    schema = request_schema("2.0.1", action)
    data = json.dumps(spoiled(draw, instance(draw, schema, schema)))
    cut = draw(st.integers(0, 9))
    return {"vendorId": VENDOR_ID, "messageId": action, "data": data[:-1] if cut == 0 else data}


@cache
def served(version: str) -> list[str]:
    """The actions that chargers of a version may call."""
    dialect = loaded_dialects()[f"ocpp{version}"]

    def is_served(action: str) -> bool:
        try:
            dialect.message_of(action, {})
        except Unsupported:
            return False
        except KeyError:
            return True  # it would read the payload
        return True

    return [action for action in actions_of(version) if is_served(action)]


@st.composite
def calls(draw: Draw, version: str) -> tuple[str, Any, Any]:
    """(action, message id, payload) of a CALL."""
    match draw(st.integers(0, 9)):
        case 0:
            return (
                draw(st.text(max_size=20) | st.just("DataTransfer:Authorize")),
                draw(MESSAGE_ID),
                draw(JSON),
            )
        case 1:
            action = draw(st.sampled_from(actions_of(version)))
        case 2 | 3:
            return "DataTransfer", "id-1", envelope(draw)
        case _:
            action = draw(st.sampled_from(served(version)))
    schema = request_schema(version, action)
    return action, "id-1", spoiled(draw, instance(draw, schema, schema))


RAW = (
    st.binary(max_size=60)
    | st.lists(JSON, max_size=6).map(lambda value: json.dumps(value).encode())
    | st.tuples(st.integers(2, 7), MESSAGE_ID, JSON, JSON).map(lambda value: json.dumps(value).encode())
    | st.tuples(st.integers(2, 7), MESSAGE_ID, JSON).map(lambda value: json.dumps(value).encode())
)


# ---------------------------------------------------------------- around the session


class WireOfTest:
    """Keeps what the session writes, and whether it has given up."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.ended: list[tuple[int, str]] = []

    def write_text(self, data: bytes) -> None:
        self.written.append(orjson.loads(data))

    def close(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))

    def fail(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))

    def hold(self) -> None:
        raise AssertionError("nobody asked for a rest")

    def release(self) -> None:
        raise AssertionError("nobody asked for a rest")


class Actor:
    """Answers at once, as any actor would; `decided` is what others decide."""

    def __init__(self, decided: bytes) -> None:
        self.decided = decided
        self.answers: list[InboundAnswer] = []

    def opened(self, session: Session) -> None:
        pass

    def closed(self, session: Session, reason: str) -> None:
        pass

    def received(self, session: Session, inbound: Inbound) -> bool:
        match inbound:
            case InboundCall(message_id, action, message):
                session.send(OutboundReply(message_id, action, self._reply(message)))
            case InboundProblem(message_id, code, description):
                session.send(OutboundReply(message_id, "", CallErrorReply(code, description)))
            case InboundAnswer():
                self.answers.append(inbound)
            case _:
                pass
        return True

    def _reply(self, message: object) -> Reply:
        match message:
            case BootNotified():
                return BootReply("Pending", 30, NOW)
            case HeartbeatSent():
                return HeartbeatReply(NOW)
            case CsrPresented():
                return CsrReply(accepted=len(message.csr) % 2 == 0, reason="odd")
            case DecisionAsked():
                return DecidedReply(self.decided) if self.decided else DefaultReply()
            case _:
                return DefaultReply()


def new_session(dialect: Dialect, decided: bytes) -> tuple[OcppSession, WireOfTest, Actor]:
    record = AdmissionRecord(
        charger_id="CS-1",
        managed_identity_id="id-1",
        serial_number="SN-1",
        expected_common_name="SN-1",
        organization=None,
        family="acme",
        site="depot",
        cohort="pilot",
        allowed_profiles=(2,),
        capabilities=Capabilities(include_root_in_chain=True, needs_crlf=True),
    )
    info = SessionInfo(
        session_id="s-1",
        charger_id="CS-1",
        node="n",
        incarnation="i",
        ocpp_version=dialect.version,
        security_profile=2,
        remote_address="127.0.0.1",
        opened_at=NOW,
        record=record,
    )
    wire, actor = WireOfTest(), Actor(decided)
    return OcppSession(info, dialect, wire, actor, Counts(), lambda step: step()), wire, actor


def test_no_kind_of_instruction_is_left_out() -> None:
    kinds = {type(instruction) for instruction in INSTRUCTIONS}
    assert kinds == set(get_args(InstructionKind)) - {CloseSession}


def check_answer(dialect: Dialect, written: Any, action: str) -> None:
    """One frame of ours that answers a call: in the version's own words."""
    if written[0] == 3:
        assert dialect.schemas.response_violation(action, written[2]) is None
        return
    kind, _, code, description, details = written
    assert (kind, details) == (4, {})
    assert code in CODES[dialect.version]
    assert code != "InternalError", "an answer of ours broke its schema"
    assert len(description) <= 255


def is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 36


DIALECTS = pytest.mark.parametrize("dialect", loaded_dialects().values(), ids=subprotocol)


@DIALECTS
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_call_is_answered_once_in_the_words_of_its_version(
    dialect: Dialect, data: st.DataObject
) -> None:
    decided = data.draw(
        st.just(b"") | JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=9)
    )
    session, wire, _ = new_session(dialect, decided)
    for _ in range(4):
        action, message_id, payload = data.draw(calls(dialect.version))
        before = len(wire.written)
        session.received(json.dumps([2, message_id, action, payload]).encode())
        assert len(wire.written) == before + 1
        written = wire.written[-1]
        assert written[1] == (message_id if is_id(message_id) else "-1")
        check_answer(dialect, written, action)
    assert wire.ended == []


@DIALECTS
@settings(max_examples=200, deadline=None)
@given(frames=st.lists(RAW, min_size=1, max_size=8))
def test_no_bytes_disturb_a_session(dialect: Dialect, frames: list[bytes]) -> None:
    session, wire, actor = new_session(dialect, b"")
    for data in frames:
        before = len(wire.written)
        session.received(data)
        said = wire.written[before:]
        assert len(said) <= 1
        for written in said:
            check_answer(dialect, written, "")
        if is_call(data):
            assert len(said) == 1
    assert actor.answers == []
    for number in range(MAX_CALLS_IN_FLIGHT + 1):  # nothing of all that is still being answered
        session.received(json.dumps([2, f"hb{number}", "Heartbeat", {}]).encode())
        assert wire.written[-1][:2] == [3, f"hb{number}"]


def is_call(data: bytes) -> bool:
    try:
        frame = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return isinstance(frame, list) and bool(frame) and type(frame[0]) is int and frame[0] == 2


@DIALECTS
@settings(max_examples=200, deadline=None)
@given(data=st.data())
async def test_every_call_of_ours_ends_once_whatever_the_charger_answers(
    dialect: Dialect, data: st.DataObject
) -> None:
    session, wire, actor = new_session(dialect, b"")
    for number in range(3):
        message_id = f"o{number}"
        instruction = data.draw(st.sampled_from(INSTRUCTIONS))
        before = len(wire.written)
        session.send(OutboundCall(message_id, instruction, SECRET))
        await asyncio.sleep(0)
        if len(wire.written) > before:
            kind, sent_id, action, payload = wire.written[-1]
            assert (kind, sent_id) == (2, message_id)
            assert dialect.schemas.request_violation(action, payload) is None
            session.received(data.draw(answers(dialect.version, message_id, action)))
            session.received(json.dumps([3, message_id, {"status": "Accepted"}]).encode())
        assert len(wire.written) <= before + 1, "an answer is never answered"
        assert [answer.message_id for answer in actor.answers] == [f"o{n}" for n in range(number + 1)]


@st.composite
def answers(draw: Draw, version: str, message_id: str, action: str) -> bytes:
    if draw(st.integers(0, 4)) == 0:
        return json.dumps([4, message_id, *draw(st.lists(JSON, max_size=3))]).encode()
    schema = schemas_of(version)[f"{action}Response"]
    payload = spoiled(draw, instance(draw, schema, schema))
    if action == "DataTransfer" and isinstance(payload, dict) and draw(st.booleans()):
        payload |= {"status": "Accepted", "data": json.dumps(draw(JSON))}
    return json.dumps([3, message_id, payload]).encode()
