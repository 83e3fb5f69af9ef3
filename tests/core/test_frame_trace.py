"""Frames written down for people: what they show, what they never show, and when they end."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors import command as c
from bfactors import event as e
from bfactors.charger import outgoing
from bfactors.frame_trace import TEXT_MAX_CHARS, FrameTrace, TracedFrame, TraceOrder
from bfactors.refusal import Refusal
from tests.core.world import World

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "0123456789abcdef0123456789abcdef"
CSR = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"


def trace(frames: int = 10) -> FrameTrace:
    order = TraceOrder(trace_id="t1", until=BEGIN + timedelta(seconds=60), frames=frames)
    return FrameTrace(order, "s1")


def taken(frame: Any) -> TracedFrame:
    data = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
    seen = trace().take("from-charger", data, BEGIN)
    assert seen is not None
    return seen


def setting(name: str) -> dict[str, Any]:
    return {"variable": {"name": name}, "component": {"name": "SecurityCtrlr"}, "attributeValue": SECRET}


def test_a_frame_is_shown_with_its_action_message_id_and_payload() -> None:
    seen = taken([2, "m1", "BootNotification", {"reason": "PowerUp"}])
    assert (seen.kind, seen.action, seen.message_id) == ("call", "BootNotification", "m1")
    assert json.loads(seen.text) == {"reason": "PowerUp"}
    assert (seen.session_id, seen.trace_id, seen.at, seen.is_cut) == ("s1", "t1", BEGIN, False)


def test_an_answer_is_shown_with_the_action_of_its_call() -> None:
    under_trace = trace()
    under_trace.take("to-charger", b'[2,"m1","Reset",{}]', BEGIN)
    under_trace.take("from-charger", b'[2,"m1","Heartbeat",{}]', BEGIN)
    ours = under_trace.take("from-charger", b'[3,"m1",{}]', BEGIN)
    theirs = under_trace.take("to-charger", b'[4,"m1","InternalError","",{}]', BEGIN)
    stray = under_trace.take("from-charger", b'[3,"m1",{}]', BEGIN)
    assert ours is not None
    assert theirs is not None
    assert stray is not None
    assert (ours.action, theirs.action, stray.action) == ("Reset", "Heartbeat", None)
    assert (ours.kind, theirs.kind) == ("result", "error")


@pytest.mark.parametrize(
    "payload",
    [
        {"csr": SECRET},
        {"certificateChain": SECRET},
        {"certificate": SECRET},
        {"signingCertificate": SECRET},
        {"exiRequest": SECRET},
        {"exiResponse": SECRET},
        {"idTag": SECRET},
        {"idToken": {"idToken": SECRET, "type": "ISO14443"}},
        {"idToken": {"additionalInfo": [{"additionalIdToken": SECRET, "type": "x"}]}},
        {"key": "AuthorizationKey", "value": SECRET},
        {"configurationKey": [{"key": "authorizationKEY", "readonly": False, "value": SECRET}]},
        {"setVariableData": [setting("BasicAuthPassword")]},
        {"getVariableResult": [setting("BasicAuthPassword")]},
        {"connectionData": {"basicAuthPassword": SECRET, "securityProfile": 2}},
        {"connectionData": {"vpn": {"server": "x", "user": "u", "password": "p", "key": SECRET}}},
        {"connectionData": {"apn": {"apn": "internet", "apnPassword": SECRET, "simPin": 1234}}},
        {"remoteLocation": f"https://user:{SECRET}@logs.example/x"},
        {"log": {"remoteLocation": f"https://logs.example/{SECRET}"}},
        {"location": f"https://logs.example?{SECRET}"},
        {"ocppCsmsUrl": f"wss://u:{SECRET}@csms.example/ocpp"},
        {"ocppCsmsUrl": f"wss://u:p@{SECRET}@csms.example/ocpp"},
        {"setVariableData": [setting("VpnKey"), setting("ApnSimPin"), setting("WifiPassphrase")]},
        {"configurationKey": [{"key": "Vendor.WlanPassword", "readonly": False, "value": SECRET}]},
        {"reportData": [{"variable": {"name": "VpnPassword"}, "variableAttribute": [{"value": SECRET}]}]},
        {"eventData": [{"variable": {"name": "BasicAuthPassword"}, "actualValue": SECRET}]},
        {"vendorId": "x", "data": json.dumps({"csr": SECRET})},
        {"vendorId": "x", "data": json.dumps({"data": json.dumps({"idToken": {"idToken": SECRET}})})},
        {"vendorId": "x", "data": f"raw {SECRET}"},
        {"vendorId": "x", "data": json.dumps(SECRET)},
        {"vendorId": "x", "data": {"csr": SECRET}},
        {"somethingElse": CSR.replace("MIIB", SECRET)},
    ],
)
def test_what_is_secret_is_masked_wherever_it_stands(payload: dict[str, Any]) -> None:
    for frame in (
        [2, "m", "X", payload],
        [3, "m", payload],
        [4, "m", "code", "text", payload],
        [6, "m", "X", payload],
    ):
        seen = taken(frame)
        assert seen.kind != "unreadable"
        assert SECRET not in seen.text
        assert "chars)" in seen.text


@pytest.mark.parametrize(
    "call",
    [
        ["SetVariables", {"setVariableData": [setting("BasicAuthPassword")]}],
        ["ChangeConfiguration", {"key": "AuthorizationKey", "value": SECRET}],
        ["SetNetworkProfile", {"connectionData": {"vpn": {"key": SECRET}}}],
        ["GetLog", {"log": {"remoteLocation": f"https://u:{SECRET}@logs.example/x"}}],
    ],
)
def test_an_answer_that_repeats_a_secret_is_shown_without_its_words(call: list[Any]) -> None:
    for answer, shown in (
        ([4, "m", "PropertyConstraintViolation", f"not {SECRET}", {"was": SECRET}], "PropertyConstraint"),
        ([3, "m", {"status": "Rejected", "statusInfo": {"additionalInfo": SECRET}}], "Rejected"),
        ([3, "m", {"setVariableResult": [{"attributeStatus": "Rejected", "why": SECRET}]}], "Rejected"),
    ):
        for is_seen in (True, False):
            under_trace = trace()
            if is_seen:
                under_trace.take("to-charger", json.dumps([2, "m", *call]).encode(), BEGIN)
            told = under_trace.take("from-charger", json.dumps(answer).encode(), BEGIN)
            assert told is not None
            assert SECRET not in told.text
            assert shown in told.text


def test_an_answer_to_a_call_without_secrets_is_shown_whole() -> None:
    under_trace = trace()
    under_trace.take("to-charger", b'[2,"m","SetVariables",{"setVariableData":[]}]', BEGIN)
    told = under_trace.take("from-charger", b'[3,"m",{"statusInfo":{"additionalInfo":"busy"}}]', BEGIN)
    assert told is not None
    assert "busy" in told.text


@pytest.mark.parametrize(
    "payload",
    [
        {"techInfo": "car WDB2030461A123456 unplugged"},
        {"vin": "WDB2030461A123456"},
        {
            "eventData": [
                {
                    "component": {"name": "ConnectedEV"},
                    "variable": {"name": "VehicleId"},
                    "actualValue": "WDB2030461A123456",
                }
            ]
        },
        {"vendorId": "acme", "data": '{"evccId": "WDB2030461A123456"}'},
        {"customData": {"note": "DE-8AA-CA1B2C3D4-X"}},
    ],
)
def test_whose_car_it_is_is_not_shown(payload: dict[str, Any]) -> None:
    text = taken([2, "m1", "NotifyEvent", payload]).text
    assert "WDB2030461A123456" not in text
    assert "CA1B2C3D4" not in text


def test_what_is_not_secret_stays() -> None:
    payload = {
        "certificateType": "ChargingStationCertificate",
        "certificateHashData": {"serialNumber": "0a"},
        "setVariableData": [setting("OrganizationName")],
        "log": {"remoteLocation": "https://logs.example:8443/abc"},
        "n": 1,
        "b": True,
        "none": None,
    }
    text = taken([2, "m", "X", payload]).text
    shown = json.loads(text)
    assert shown.pop("log") == {"remoteLocation": "https://logs.example:8443/***(4 chars)"}
    assert shown == {name: value for name, value in payload.items() if name != "log"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'"text"',
        b"[2]",
        b"[9,1,2]",
        b'[2,5,"A",{}]',
        b"[" * 5000,
        b'[2,"m","A",{' + b"x" * 3_000_000,
    ],
)
def test_what_cannot_be_read_is_not_shown(data: bytes) -> None:
    seen = taken(data)
    assert (seen.kind, seen.chars) == ("unreadable", len(data))
    assert seen.text == f"***({len(data)} chars)"


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_no_frame_breaks_a_trace(frame: Any) -> None:
    taken(frame)


def test_a_long_payload_is_cut_after_it_was_cleaned() -> None:
    seen = taken([2, "m", "X", {"a": "x" * (TEXT_MAX_CHARS - 20), "csr": SECRET}])
    assert (len(seen.text), seen.is_cut) == (TEXT_MAX_CHARS, True)
    assert SECRET[:4] not in seen.text


def test_a_trace_ends_by_number_and_by_time() -> None:
    few = trace(frames=2)
    assert [few.take("from-charger", b"[]", BEGIN) is None for _ in range(3)] == [False, False, True]
    late = trace()
    assert late.take("from-charger", b"[]", late.order.until - timedelta(microseconds=1)) is not None
    assert late.take("from-charger", b"[]", late.order.until) is None


# ---------------------------------------------------------------- the order


def start(**more: Any) -> c.StartTrace:
    given: dict[str, Any] = {"trace_id": "t1", "seconds": 60, "frames": 5, "reason": "it stutters"}
    return c.StartTrace(charger_id="CP-1", **{**given, **more})


def test_a_trace_is_recorded_and_travels_with_the_admission_record() -> None:
    world = World()
    assert outgoing.admission(world.charger).trace is None
    world.command(start())
    (event,) = [event for event in world.events if isinstance(event, e.TraceStarted)]
    assert (event.until, event.frames, event.reason) == (world.now + timedelta(seconds=60), 5, "it stutters")
    assert outgoing.admission(world.charger).trace == TraceOrder(trace_id="t1", until=event.until, frames=5)


def test_the_same_request_again_begins_nothing_and_another_replaces_it() -> None:
    world = World()
    world.command(start())
    before = len(world.events)
    world.command(start())
    assert len(world.events) == before
    world.command(start(trace_id="t2"))
    assert world.charger.trace is not None
    assert world.charger.trace.trace_id == "t2"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"seconds": 601}, "invalid-value"),
        ({"seconds": 0}, "invalid-value"),
        ({"frames": 501}, "invalid-value"),
        ({"frames": 0}, "invalid-value"),
        ({"reason": " "}, "reason-missing"),
    ],
)
def test_a_trace_is_bounded(wrong: dict[str, Any], code: str) -> None:
    refusal = World().command(start(**wrong)).refusal
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
