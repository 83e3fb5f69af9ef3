"""OCPP 1.6 as a table: every instruction and reply against the official schemas, the envelope of ISO 15118, its error codes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from bfactors.capability import Capabilities
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.disclosed import Disclosed
from bfactors.instruction import (
    AskFor,
    CallAction,
    CloseSession,
    CollectLog,
    CompareRootStores,
    DeleteCertificate,
    InstallAnchor,
    InstallLeaf,
    InstructionKind,
    ListCertificates,
    ObtainCsr,
    RaiseSecurityProfile,
    ReadSettings,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
    WriteAuthorizationKey,
    WriteSetting,
)
from bfactors.ocpp import (
    Answered,
    BootNotified,
    BootReply,
    CallErrorReply,
    CallFailed,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    FirmwareStatusNotified,
    HeartbeatReply,
    HeartbeatSent,
    Inbound,
    InboundAnswer,
    InboundCall,
    InboundProblem,
    LogStatusNotified,
    OutboundCall,
    OutboundReply,
    ReadSetting,
    Relayed,
    Reply,
    SecurityEventNotified,
    StationMessage,
)
from bfactors.ports import Session
from gateways.ocpp.dialect import NotSendable, Unsupported, loaded_dialects, wire_action
from gateways.ocpp.pnc_envelope import VENDOR_ID
from gateways.ocpp.v16 import DIALECT, Ocpp16
from tests.integration.gateway_world import World, answer, ask, world

__all__ = ["world"]
pytestmark = pytest.mark.uvloop

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
ROOT = PEM.replace("AA==", "BB==")
NOW = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
HASH = {"hashAlgorithm": "SHA384", "issuerNameHash": "aA", "issuerKeyHash": "bb", "serialNumber": "0FFF"}
HASH_DATA = HashData("SHA384", "aA", "bb", "0FFF")
KEY = Disclosed(bytes(range(20)))
URL = Disclosed(b"https://logs.example/u/1")
LEAF = InstallLeaf("charging_station", "cert-1", "ab", PEM, root_pem=ROOT)

Call = tuple[InstructionKind, Disclosed | None, str, dict[str, Any]]


def change(key: str, value: str) -> tuple[str, dict[str, Any]]:
    return "ChangeConfiguration", {"key": key, "value": value}


CALLS: list[Call] = [
    (
        ObtainCsr("charging_station"),
        None,
        "ExtendedTriggerMessage",
        {"requestedMessage": "SignChargePointCertificate"},
    ),
    (LEAF, None, "CertificateSigned", {"certificateChain": PEM}),
    (
        InstallAnchor("backend_server", "ab", PEM),
        None,
        "InstallCertificate",
        {"certificateType": "CentralSystemRootCertificate", "certificate": PEM},
    ),
    (
        ListCertificates("backend_server"),
        None,
        "GetInstalledCertificateIds",
        {"certificateType": "CentralSystemRootCertificate"},
    ),
    (
        ListCertificates(),
        None,
        "GetInstalledCertificateIds",
        {"certificateType": "CentralSystemRootCertificate"},
    ),
    (
        DeleteCertificate("CentralSystemRootCertificate", HASH_DATA),
        None,
        "DeleteCertificate",
        {"certificateHashData": HASH},
    ),
    (Reboot("on-idle"), None, "Reset", {"type": "Soft"}),
    (Reboot("immediate"), None, "Reset", {"type": "Hard"}),
    (RaiseSecurityProfile(3), None, *change("SecurityProfile", "3")),
    (WriteSetting("organization", "Depot GmbH"), None, *change("CpoName", "Depot GmbH")),
    (
        WriteSetting("additional-root-check", "true"),
        None,
        *change("AdditionalRootCertificateCheck", "true"),
    ),
    (WriteSetting("csr-wait-s", "30"), None, *change("CertSigningWaitMinimum", "30")),
    (WriteSetting("csr-repeats", "3"), None, *change("CertSigningRepeatTimes", "3")),
    (
        ReadSettings(("organization", "max-chain-chars", "trust-store-slots", "network-priority")),
        None,
        "GetConfiguration",
        {"key": ["CpoName", "CertificateSignedMaxChainSize", "CertificateStoreMaxLength"]},
    ),
    (
        WriteAuthorizationKey("s", 2),
        KEY,
        *change("AuthorizationKey", "000102030405060708090a0b0c0d0e0f10111213"),
    ),
    (
        CollectLog("security", 7, "s", oldest="2026-01-01T00:00:00Z"),
        URL,
        "GetLog",
        {
            "logType": "SecurityLog",
            "requestId": 7,
            "log": {
                "remoteLocation": "https://logs.example/u/1",
                "oldestTimestamp": "2026-01-01T00:00:00Z",
            },
        },
    ),
    (
        CollectLog("diagnostics", 8, "s"),
        URL,
        "GetLog",
        {
            "logType": "DiagnosticsLog",
            "requestId": 8,
            "log": {"remoteLocation": "https://logs.example/u/1"},
        },
    ),
    (AskFor("boot"), None, "TriggerMessage", {"requestedMessage": "BootNotification"}),
    (AskFor("heartbeat"), None, "TriggerMessage", {"requestedMessage": "Heartbeat"}),
    (AskFor("status"), None, "TriggerMessage", {"requestedMessage": "StatusNotification"}),
    (AskFor("log-status"), None, "ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"}),
    (
        AskFor("firmware-status"),
        None,
        "ExtendedTriggerMessage",
        {"requestedMessage": "FirmwareStatusNotification"},
    ),
    (CallAction("UnlockConnector", '{"connectorId": 1}'), None, "UnlockConnector", {"connectorId": 1}),
    (
        CallAction("DataTransfer", '{"vendorId": "v", "data": "é"}'),
        None,
        "DataTransfer",
        {"vendorId": "v", "data": "é"},
    ),
]


@pytest.mark.parametrize(("instruction", "secret", "action", "payload"), CALLS, ids=lambda v: str(v)[:40])
def test_an_instruction_becomes_its_call_and_keeps_the_schema(
    instruction: InstructionKind, secret: Disclosed | None, action: str, payload: dict[str, Any]
) -> None:
    assert DIALECT.call_of(instruction, secret=secret) == (action, payload)
    assert DIALECT.schemas.request_violation(action, payload) is None


@pytest.mark.parametrize(
    ("instruction", "secret"),
    [
        (ObtainCsr("backend_server"), None),
        (CompareRootStores(), None),
        (ObtainCsr("nonsense"), None),
        (InstallLeaf("backend_server", "c", "f", PEM), None),
        (InstallAnchor("nonsense", "", ""), None),
        (ListCertificates("nonsense"), None),
        (SetNetworkProfile(1, "wss://cs.example", 3), None),
        (SetProfilePriority((1, 0)), None),
        (CloseSession("x"), None),
        (WriteSetting("network-priority", "1,0"), None),
        (WriteSetting("max-chain-chars", "1"), None),
        (WriteSetting("trust-store-slots", "1"), None),
        (WriteSetting("security-profile", "1"), None),
        (ReadSettings(("network-priority",)), None),
        (ReadSettings(()), None),
        (WriteAuthorizationKey("s", 1), None),
        (WriteAuthorizationKey("s", 1), Disclosed(b"x" * 15)),
        (WriteAuthorizationKey("s", 1), Disclosed(b"x" * 21)),
        (WriteAuthorizationKey("s", 1), Disclosed(b"\xff" * 21)),
        (WriteAuthorizationKey("s", 1), Disclosed(b"ab" * 21)),
        (CollectLog("security", 1, "s"), None),
        (CallAction("SetVariables", "{}"), None),
        (CallAction("DataTransfer:SignCertificate", "{}"), None),
        (CallAction("BootNotification", "{}"), None),
        (CallAction("Reset", "[]"), None),
        (CallAction("Reset", "{"), None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_the_version_has_no_message_for_is_not_sendable(
    instruction: InstructionKind, secret: Disclosed | None
) -> None:
    with pytest.raises(NotSendable) as refused:
        DIALECT.call_of(instruction, secret=secret)
    assert "xxxx" not in str(refused.value), "no secret in what is said"


def test_a_key_leaves_as_hex_of_its_bytes_whether_bare_or_written_down() -> None:
    def sent(value: bytes) -> str:
        return str(DIALECT.call_of(WriteAuthorizationKey("s", 1), secret=Disclosed(value))[1]["value"])

    assert sent(bytes(range(16))) == "000102030405060708090a0b0c0d0e0f"
    assert sent(b"000102030405060708090a0b0c0d0e0f") == "000102030405060708090a0b0c0d0e0f"
    assert bytes.fromhex(sent(b"\xff\x00" * 10)) == b"\xff\x00" * 10
    assert bytes.fromhex(sent(b"a-plain-password")) == b"a-plain-password"


# ---------------------------------------------------------------- capabilities


def test_a_charger_gets_the_chain_as_it_can_read_it() -> None:
    picky = Capabilities(needs_crlf=True, include_root_in_chain=True, max_chain_chars=1000)
    assert DIALECT.call_of(LEAF, picky)[1] == {"certificateChain": (PEM + ROOT).replace("\n", "\r\n")}
    anchor = DIALECT.call_of(InstallAnchor("backend_server", "ab", PEM), picky)[1]
    assert anchor["certificate"] == PEM.replace("\n", "\r\n")


def test_a_chain_longer_than_the_charger_takes_is_not_sendable() -> None:
    exactly = Capabilities(max_chain_chars=len(PEM))
    assert DIALECT.call_of(LEAF, exactly)[1] == {"certificateChain": PEM}
    with pytest.raises(NotSendable, match=f"{len(PEM)} characters.*takes {len(PEM) - 1}"):
        DIALECT.call_of(LEAF, Capabilities(max_chain_chars=len(PEM) - 1))


def test_what_a_charger_cannot_is_not_asked_of_it() -> None:
    with pytest.raises(NotSendable):
        DIALECT.call_of(ListCertificates("backend_server"), Capabilities(cannot_list=True))
    with pytest.raises(NotSendable):
        DIALECT.call_of(
            DeleteCertificate("CentralSystemRootCertificate", HASH_DATA), Capabilities(cannot_delete=True)
        )


# ---------------------------------------------------------------- answers

LISTED = ReportedCertificate("CentralSystemRootCertificate", HASH_DATA)


@pytest.mark.parametrize(
    ("instruction", "payload", "expected"),
    [
        (ObtainCsr("charging_station"), {"status": "NotImplemented"}, Answered("NotImplemented")),
        (LEAF, {"status": "Rejected"}, Answered("Rejected")),
        (InstallAnchor("backend_server", "f", PEM), {"status": "Failed"}, Answered("Failed")),
        (ListCertificates("backend_server"), {"status": "NotFound"}, Answered("NotFound")),
        (
            ListCertificates("backend_server"),
            {"status": "Accepted", "certificateHashData": [HASH, HASH]},
            Answered("Accepted", listed=(LISTED, LISTED)),
        ),
        (DeleteCertificate("X", HASH_DATA), {"status": "NotFound"}, Answered("NotFound")),
        (WriteSetting("organization", "x"), {"status": "RebootRequired"}, Answered("RebootRequired")),
        (RaiseSecurityProfile(2), {"status": "NotSupported"}, Answered("NotSupported")),
        (
            ReadSettings(("organization", "security-profile")),
            {
                "configurationKey": [
                    {"key": "cponame", "readonly": False, "value": "Depot"},
                    {"key": "SecurityProfile", "readonly": True},
                    {"key": "Else", "readonly": False, "value": "x"},
                ],
                "unknownKey": ["CertificateStoreMaxLength"],
            },
            Answered(
                "Accepted",
                settings=(
                    ReadSetting("organization", "Depot"),
                    ReadSetting("security-profile", None, is_read_only=True),
                ),
            ),
        ),
        (
            CollectLog("security", 1, "s"),
            {"status": "AcceptedCanceled", "filename": "a.log"},
            Answered("AcceptedCanceled", file_name="a.log"),
        ),
        (
            CallAction("UnlockConnector", '{"connectorId": 1}'),
            {"status": "UnlockFailed"},
            Answered("UnlockFailed", payload='{"status":"UnlockFailed"}'),
        ),
        (
            CallAction("GetConfiguration", "{}"),
            {"unknownKey": ["x"]},
            Answered("Accepted", payload='{"unknownKey":["x"]}'),
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_answer_becomes_a_value_verbatim(
    instruction: InstructionKind, payload: dict[str, Any], expected: Answered
) -> None:
    action, _ = DIALECT.call_of(instruction, secret=URL)
    assert DIALECT.schemas.response_violation(action, payload) is None
    assert DIALECT.answer_of(instruction, payload) == expected


# ---------------------------------------------------------------- what chargers call

BOOT = {"chargePointVendor": "v", "chargePointModel": "m"}
STARTED = {"connectorId": 1, "idTag": "A1", "meterStart": 5, "timestamp": "2026-01-01T00:00:00Z"}
STOPPED = {"transactionId": 1, "meterStop": 9, "timestamp": "2026-01-01T01:00:00Z"}
STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}


@pytest.mark.parametrize(
    ("action", "payload", "message"),
    [
        ("BootNotification", BOOT, BootNotified("v", "m", None, None, "Unknown")),
        (
            "BootNotification",
            {
                **BOOT,
                "chargePointSerialNumber": "P1",
                "chargeBoxSerialNumber": "B1",
                "firmwareVersion": "2",
            },
            BootNotified("v", "m", "P1", "2", "Unknown"),
        ),
        (
            "BootNotification",
            {**BOOT, "chargeBoxSerialNumber": "B1"},
            BootNotified("v", "m", "B1", None, "Unknown"),
        ),
        ("Heartbeat", {}, HeartbeatSent()),
        ("SignCertificate", {"csr": "x"}, CsrPresented("charging_station", "x")),
        (
            "SecurityEventNotification",
            {"type": "Tamper", "timestamp": "2026-01-01T00:00:00Z", "techInfo": "t"},
            SecurityEventNotified("Tamper", "2026-01-01T00:00:00Z", "t"),
        ),
        ("LogStatusNotification", {"status": "Uploaded", "requestId": 0}, LogStatusNotified("Uploaded", 0)),
        ("DiagnosticsStatusNotification", {"status": "Idle"}, LogStatusNotified("Idle")),
        ("FirmwareStatusNotification", {"status": "Installed"}, FirmwareStatusNotified("Installed")),
        (
            "SignedFirmwareStatusNotification",
            {"status": "InvalidSignature", "requestId": 3},
            FirmwareStatusNotified("InvalidSignature", 3),
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_security_calls_are_typed(action: str, payload: dict[str, Any], message: StationMessage) -> None:
    assert DIALECT.schemas.request_violation(action, payload) is None
    assert DIALECT.message_of(action, payload) == message
    assert DIALECT.effective_action(action, payload) == action


@pytest.mark.parametrize(
    ("action", "payload", "confirm"),
    [
        ("StatusNotification", STATUS, False),
        ("StopTransaction", STOPPED, True),
        ("DataTransfer", {"vendorId": "v", "data": "é"}, False),
        ("MeterValues", {"connectorId": 1, "meterValue": []}, False),
    ],
)
def test_other_traffic_is_relayed_as_it_came_and_ended_transactions_are_confirmed(
    action: str, payload: dict[str, Any], confirm: bool
) -> None:
    message = DIALECT.message_of(action, payload)
    assert isinstance(message, Relayed)
    assert (message.action, json.loads(message.payload), message.confirm) == (action, payload, confirm)


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("2026-01-01T00:00:00Z", True),
        ("2026-01-01T00:00:00.123+02:00", True),
        ("2026-01-01T00:00:00", True),
        ("2026-01-01", False),
        ("yesterday", False),
        ("2026-01-01T00:00:00" + "Z" * 100, False),
    ],
)
def test_a_time_may_lack_its_zone(text: str, is_taken: bool) -> None:
    event = {"type": "Tamper", "timestamp": text}
    violation = DIALECT.schemas.request_violation("SecurityEventNotification", event)
    assert (violation is None) is is_taken


def test_a_token_and_the_start_of_a_transaction_are_decided_elsewhere() -> None:
    for action, payload in (("Authorize", {"idTag": "A1"}), ("StartTransaction", STARTED)):
        message = DIALECT.message_of(action, payload)
        assert isinstance(message, DecisionAsked)
        assert json.loads(message.payload) == payload


def test_a_transaction_nobody_decides_has_a_number_of_its_own_and_keeps_it_when_it_is_told_again() -> None:
    def number(**more: Any) -> int:
        message = DIALECT.message_of("StartTransaction", {**STARTED, **more})
        assert isinstance(message, DecisionAsked)
        reply = DIALECT.reply_of("StartTransaction", DecidedReply(message.undecided))
        assert DIALECT.schemas.response_violation("StartTransaction", reply) is None
        assert reply["idTagInfo"] == {"status": "Invalid"}
        assert 0 <= reply["transactionId"] < 2**31
        return int(reply["transactionId"])

    assert number() == number()
    assert number() != number(timestamp="2026-01-01T00:00:01Z")


@pytest.mark.parametrize("action", ["Reset", "GetLog", "InstallCertificate", "RemoteStartTransaction"])
def test_a_charger_may_not_call_what_only_we_call(action: str) -> None:
    with pytest.raises(Unsupported):
        DIALECT.message_of(action, {})


REPLIES: list[tuple[str, Reply, dict[str, Any]]] = [
    (
        "BootNotification",
        BootReply("Pending", 30, NOW),
        {"status": "Pending", "interval": 30, "currentTime": "2026-06-01T10:00:00.123Z"},
    ),
    ("Heartbeat", HeartbeatReply(NOW), {"currentTime": "2026-06-01T10:00:00.123Z"}),
    ("SignCertificate", CsrReply(True), {"status": "Accepted"}),
    ("SignCertificate", CsrReply(False, "why"), {"status": "Rejected"}),
    ("Authorize", DefaultReply(), {"idTagInfo": {"status": "Invalid"}}),
    (
        "Authorize",
        DecidedReply(b'{"idTagInfo":{"status":"Blocked"}}'),
        {"idTagInfo": {"status": "Blocked"}},
    ),
    ("StartTransaction", DefaultReply(), {"transactionId": 0, "idTagInfo": {"status": "Invalid"}}),
    ("StopTransaction", DefaultReply(), {}),
    ("DataTransfer", DefaultReply(), {"status": "UnknownVendorId"}),
    *(
        (action, DefaultReply(), {})
        for action in (
            "DiagnosticsStatusNotification",
            "FirmwareStatusNotification",
            "LogStatusNotification",
            "MeterValues",
            "SecurityEventNotification",
            "SignedFirmwareStatusNotification",
            "StatusNotification",
        )
    ),
]


@pytest.mark.parametrize(("action", "reply", "payload"), REPLIES, ids=lambda value: str(value)[:40])
def test_a_reply_becomes_its_payload_and_keeps_the_schema(
    action: str, reply: Reply, payload: dict[str, Any]
) -> None:
    assert DIALECT.reply_of(action, reply) == payload
    assert DIALECT.schemas.response_violation(action, payload) is None


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("Accepted", "Accepted"),
        ("Blocked", "Blocked"),
        ("ConcurrentTx", "ConcurrentTx"),
        ("Unknown", "Invalid"),
        ("NoCredit", "Invalid"),
    ],
)
def test_what_an_undecided_token_is_answered_can_be_configured_in_the_words_of_a_newer_version(
    status: str, word: str
) -> None:
    lenient = DIALECT.authorizing(status)
    for action in ("Authorize", "StartTransaction"):
        payload = lenient.reply_of(action, DefaultReply())
        assert payload["idTagInfo"] == {"status": word}
        assert lenient.schemas.response_violation(action, payload) is None
    inside = lenient.reply_of("DataTransfer:Authorize", DefaultReply())
    assert json.loads(inside["data"]) == {"idTokenInfo": {"status": status}}


# ---------------------------------------------------------------- the envelope of ISO 15118

STORED_V2G = [{"certificateType": "V2GRootCertificate", "certificateHashData": HASH}]
EV_REQUEST = {"iso15118SchemaVersion": "urn:x", "action": "Install", "exiRequest": "gA=="}
OCSP = {**HASH, "responderURL": "http://ocsp.example"}


@pytest.fixture
def secc() -> str:
    """The name of a purpose of the realm of ISO 15118."""
    return "secc_iso15118_2"


def enveloped(action: str, content: Any) -> dict[str, Any]:
    return {"vendorId": VENDOR_ID, "messageId": action, "data": json.dumps(content)}


def test_what_belongs_to_iso_15118_leaves_in_the_envelope_as_ocpp_201(secc: str) -> None:
    expected: dict[InstructionKind, tuple[str, dict[str, Any]]] = {
        ObtainCsr(secc): ("TriggerMessage", {"requestedMessage": "SignV2GCertificate"}),
        InstallLeaf(secc, "c", "f", PEM): (
            "CertificateSigned",
            {"certificateChain": PEM, "certificateType": "V2GCertificate"},
        ),
        InstallAnchor(secc, "f", PEM): (
            "InstallCertificate",
            {"certificateType": "V2GRootCertificate", "certificate": PEM},
        ),
        ObtainCsr(secc, evse=2): (
            "TriggerMessage",
            {"requestedMessage": "SignV2GCertificate", "evse": {"id": 2}},
        ),
        ListCertificates(secc, with_leaves=True): (
            "GetInstalledCertificateIds",
            {"certificateType": ["V2GRootCertificate", "V2GCertificateChain"]},
        ),
        ListCertificates(secc): (
            "GetInstalledCertificateIds",
            {"certificateType": ["V2GRootCertificate"]},
        ),
        DeleteCertificate("V2GRootCertificate", HASH_DATA): (
            "DeleteCertificate",
            {"certificateHashData": HASH},
        ),
    }
    for instruction, (inner_action, content) in expected.items():
        action, payload = DIALECT.call_of(instruction)
        assert action == f"DataTransfer:{inner_action}"
        assert wire_action(action) == "DataTransfer"
        assert (payload["vendorId"], payload["messageId"]) == (VENDOR_ID, inner_action)
        assert json.loads(payload["data"]) == content
        assert DIALECT.schemas.request_violation(action, payload) is None


def test_an_envelopes_content_keeps_the_newer_schema_both_ways(secc: str) -> None:
    too_long = DIALECT.call_of(InstallLeaf(secc, "c", "f", "x" * 10_001))
    assert DIALECT.schemas.request_violation(*too_long) is not None
    action = "DataTransfer:GetInstalledCertificateIds"
    for data in ('{"status": "Perhaps"}', "{}", "[]", "no", ""):
        assert DIALECT.schemas.response_violation(action, {"status": "Accepted", "data": data}) is not None
    assert DIALECT.schemas.response_violation(action, {"status": "Accepted"}) is not None
    assert DIALECT.schemas.response_violation(action, {"status": "UnknownMessageId"}) is None
    assert DIALECT.schemas.response_violation(action, {"status": "Perhaps"}) is not None


def test_an_answer_in_the_envelope_becomes_a_value_verbatim(secc: str) -> None:
    content = {"status": "Accepted", "certificateHashDataChain": STORED_V2G}
    listed = DIALECT.answer_of(ListCertificates(secc), {"status": "Accepted", "data": json.dumps(content)})
    assert listed == Answered("Accepted", listed=(ReportedCertificate("V2GRootCertificate", HASH_DATA),))
    rejected = DIALECT.answer_of(
        InstallLeaf(secc, "c", "f", PEM), {"status": "Accepted", "data": '{"status": "Rejected"}'}
    )
    assert rejected.status == "Rejected"
    unknown = DIALECT.answer_of(ObtainCsr(secc), {"status": "UnknownVendorId"})
    assert (unknown.status, unknown.detail) == ("UnknownVendorId", "the status of DataTransfer")


def test_a_certificate_request_in_the_envelope_is_for_the_purpose_of_its_type(secc: str) -> None:
    payload = enveloped("SignCertificate", {"csr": "x", "certificateType": "V2GCertificate"})
    assert DIALECT.effective_action("DataTransfer", payload) == "DataTransfer:SignCertificate"
    assert DIALECT.message_of("DataTransfer", payload) == CsrPresented(secc, "x")
    reply = DIALECT.reply_of("DataTransfer:SignCertificate", CsrReply(False, "too-large"))
    assert reply["status"] == "Accepted"
    assert json.loads(reply["data"])["status"] == "Rejected"
    assert DIALECT.schemas.response_violation("DataTransfer:SignCertificate", reply) is None


def test_a_certificate_request_without_a_type_is_for_the_chargers_own_identity_only(secc: str) -> None:
    assert DIALECT.message_of("SignCertificate", {"csr": "x"}) == CsrPresented("charging_station", "x")
    untyped = enveloped("SignCertificate", {"csr": "x"})
    assert DIALECT.message_of("DataTransfer", untyped) == CsrPresented("charging_station", "x")


@pytest.mark.parametrize(
    ("action", "content", "default"),
    [
        ("Get15118EVCertificate", EV_REQUEST, {"status": "Failed", "exiResponse": ""}),
        ("GetCertificateStatus", {"ocspRequestData": OCSP}, {"status": "Failed"}),
        ("Authorize", {"idToken": {"idToken": "A", "type": "eMAID"}}, {"idTokenInfo": {"status": "Unknown"}}),
    ],
)
def test_a_call_in_the_envelope_is_decided_under_its_own_name_and_answered_in_the_envelope(
    action: str, content: dict[str, Any], default: dict[str, Any]
) -> None:
    payload = enveloped(action, content) | {"vendorId": VENDOR_ID.upper()}
    effective = DIALECT.effective_action("DataTransfer", payload)
    assert effective == f"DataTransfer:{action}"
    message = DIALECT.message_of("DataTransfer", payload)
    assert isinstance(message, DecisionAsked)
    assert (message.action, json.loads(message.payload)) == (action, content)
    undecided = DIALECT.reply_of(effective, DefaultReply())
    assert (undecided["status"], json.loads(undecided["data"])) == ("Accepted", default)
    assert DIALECT.schemas.response_violation(effective, undecided) is None
    unusable = DIALECT.reply_of(effective, DecidedReply(b'{"status": "Perhaps"}'))
    assert DIALECT.schemas.response_violation(effective, unusable) is not None


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"vendorId": "another"}, "UnknownVendorId"),
        ({"vendorId": VENDOR_ID}, "UnknownMessageId"),
        (enveloped("NotifyReport", {}), "UnknownMessageId"),
        (enveloped("Rejected", {}), "UnknownMessageId"),
        (enveloped("BootNotification", {}), "UnknownMessageId"),
        (enveloped("Get15118EVCertificate", {"action": "Install"}), "Rejected"),
        (enveloped("Authorize", []), "Rejected"),
        ({"vendorId": VENDOR_ID, "messageId": "Authorize", "data": "{"}, "Rejected"),
        ({"vendorId": VENDOR_ID, "messageId": "Authorize"}, "Rejected"),
    ],
)
def test_an_envelope_that_cannot_be_opened_is_passed_on_and_answered_with_its_status(
    payload: dict[str, Any], status: str
) -> None:
    message = DIALECT.message_of("DataTransfer", payload)
    assert isinstance(message, Relayed)
    assert json.loads(message.payload) == payload
    effective = DIALECT.effective_action("DataTransfer", payload)
    reply = DIALECT.reply_of(effective, DefaultReply())
    assert reply == {"status": status}
    assert DIALECT.schemas.response_violation(effective, reply) is None


def test_no_action_of_a_frame_is_an_effective_one() -> None:
    assert not DIALECT.schemas.knows("DataTransfer:SignCertificate")


# ---------------------------------------------------------------- on the wire


def respond(session: Session, inbound: Inbound) -> None:
    match inbound:
        case InboundProblem(message_id, code, description):
            session.send(OutboundReply(message_id, "", CallErrorReply(code, description)))
        case InboundCall(message_id, "Heartbeat"):
            session.send(OutboundReply(message_id, "Heartbeat", HeartbeatReply(NOW)))
        case InboundCall(message_id, action):
            session.send(OutboundReply(message_id, action, DefaultReply()))
        case _:
            pass


SIXTEEN = ["ocpp1.6"]

MALFORMED: list[tuple[Any, str, str]] = [
    ("not json", "-1", "GenericError"),
    ([2, "1"], "1", "GenericError"),
    ([2, "x" * 37, "Heartbeat", {}], "-1", "GenericError"),
    ([2, "1", "Heartbeat", []], "1", "FormationViolation"),
    ([2, "1", "NoSuchAction", {}], "1", "NotImplemented"),
    ([2, "1", "SetVariables", {}], "1", "NotImplemented"),
    ([2, "1", "DataTransfer:Authorize", {}], "1", "NotImplemented"),
    ([2, "1", "Reset", {"type": "Hard"}], "1", "NotSupported"),
    ([2, "1", "SignCertificate", {}], "1", "OccurenceConstraintViolation"),
    ([2, "1", "SignCertificate", {"csr": 1}], "1", "TypeConstraintViolation"),
    ([2, "1", "SignCertificate", {"csr": "x" * 5501}], "1", "PropertyConstraintViolation"),
    ([2, "1", "SignCertificate", {"csr": "x", "certificateType": "V2GCertificate"}], "1", "FormationViolation"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "message_id", "code"), MALFORMED, ids=lambda value: str(value)[:40])
async def test_a_refused_frame_gets_an_error_code_of_1_6(
    world: World, sent: Any, message_id: str, code: str
) -> None:
    world.charger()
    world.door.react = respond
    async with world.dial_basic(subprotocols=SIXTEEN) as socket:
        await ask(socket, sent)
        kind, answered_id, answered_code, _, details = await answer(socket)
        assert (kind, answered_id, answered_code, details) == (4, message_id, code, {})


async def test_a_message_type_1_6_does_not_know_is_ignored(world: World) -> None:
    world.charger()
    world.door.react = respond
    async with world.dial_basic(subprotocols=SIXTEEN) as socket:
        await ask(socket, [5, "1", "InternalError", "", {}])
        await ask(socket, [6, "2", "NotifyPeriodicEventStream", {}])
        await ask(socket, [2, "3", "Heartbeat", {}])
        assert (await answer(socket))[:2] == [3, "3"]


async def test_an_envelope_travels_as_data_transfer_and_comes_back_as_its_answer(
    world: World, secc: str
) -> None:
    world.charger()
    world.door.react = respond
    async with world.dial_basic(subprotocols=SIXTEEN) as socket:
        await ask(socket, [2, "1", "DataTransfer", enveloped("Get15118EVCertificate", EV_REQUEST)])
        kind, message_id, payload = await answer(socket)
        assert (kind, message_id, payload["status"]) == (3, "1", "Accepted")
        assert json.loads(payload["data"]) == {"status": "Failed", "exiResponse": ""}
        broken = CallFailed("InvalidAnswer", "PropertyConstraintViolation: enum violated at status")
        outcomes: dict[str, Answered | CallFailed] = {
            '{"status": "Accepted"}': Answered("Accepted"),
            '{"status": "Perhaps"}': broken,
        }
        for number, (data, outcome) in enumerate(outcomes.items()):
            world.door.send(OutboundCall(f"m{number}", ObtainCsr(secc)))
            kind, message_id, action, payload = await answer(socket)
            assert (kind, action, payload["messageId"]) == (2, "DataTransfer", "TriggerMessage")
            await ask(socket, [3, message_id, {"status": "Accepted", "data": data}])
            told = await world.door.next_inbound(number + 2)
            assert told == InboundAnswer(f"m{number}", outcome)


# ---------------------------------------------------------------- the subprotocol


async def test_the_version_is_offered_because_its_file_is_here(world: World) -> None:
    assert loaded_dialects()["ocpp1.6"] is DIALECT
    assert isinstance(DIALECT, Ocpp16)
    world.charger()
    async with world.dial_basic(subprotocols=["ocpp0.1", "ocpp1.6"]) as socket:
        assert socket.subprotocol == "ocpp1.6"
        await world.door.until(lambda: bool(world.door.sessions))
        assert world.door.sessions[0].info.ocpp_version == "1.6"


async def test_a_charger_known_for_it_may_go_without_a_subprotocol(world: World) -> None:
    world.charger(capabilities=Capabilities(assume_version="1.6"))
    world.door.react = respond
    async with world.dial_basic(subprotocols=[]) as socket:
        assert socket.subprotocol is None
        await ask(socket, [2, "1", "BootNotification", BOOT])
        await world.door.until(lambda: bool(world.door.calls))
        assert world.door.sessions[0].info.ocpp_version == "1.6"


@pytest.mark.parametrize(
    ("assumed", "offered"), [(None, []), ("1.6", ["ocpp0.1"]), ("0.1", []), ("1.6", ["ocpp1.5"])]
)
async def test_every_other_charger_without_a_common_subprotocol_is_refused(
    world: World, assumed: str | None, offered: list[str]
) -> None:
    world.charger(capabilities=Capabilities(assume_version=assumed))
    with pytest.raises(InvalidStatus) as refused:
        async with world.dial_basic(subprotocols=offered):
            pass
    assert refused.value.response.status_code == 400
    assert world.reports.refused == [("CS-1", "no-common-subprotocol", 400)]
