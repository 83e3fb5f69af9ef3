"""OCPP 2.0.1 as a table: every instruction and every reply against the official schemas, every answer back to a value."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from bfactors.capability import Capabilities
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.disclosed import Disclosed
from bfactors.instruction import (
    AskFor,
    CallAction,
    CloseSession,
    CollectLog,
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
    BootReply,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    FirmwareStatusNotified,
    HeartbeatReply,
    HeartbeatSent,
    LogStatusNotified,
    ReadSetting,
    Relayed,
    Reply,
    SecurityEventNotified,
)
from bfactors.purpose import purposes
from gateways.ocpp.dialect import NotSendable, loaded_dialects, subprotocol
from gateways.ocpp.v201 import DIALECT, Ocpp201

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
NOW = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))

CALLS: list[tuple[InstructionKind, str, dict[str, Any]]] = [
    (ObtainCsr("charging_station"), "TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}),
    (
        InstallLeaf("charging_station", "cert-1", "ab", PEM),
        "CertificateSigned",
        {"certificateChain": PEM, "certificateType": "ChargingStationCertificate"},
    ),
    (
        InstallAnchor("backend_server", "ab", PEM),
        "InstallCertificate",
        {"certificateType": "CSMSRootCertificate", "certificate": PEM},
    ),
    (ListCertificates(), "GetInstalledCertificateIds", {}),
    (
        ListCertificates("backend_server"),
        "GetInstalledCertificateIds",
        {"certificateType": ["CSMSRootCertificate"]},
    ),
    (
        SetNetworkProfile(1, "wss://cs.example/ocpp", 3),
        "SetNetworkProfile",
        {
            "configurationSlot": 1,
            "connectionData": {
                "ocppVersion": "OCPP20",
                "ocppTransport": "JSON",
                "ocppCsmsUrl": "wss://cs.example/ocpp",
                "messageTimeout": 30,
                "securityProfile": 3,
                "ocppInterface": "Wired0",
            },
        },
    ),
    (
        SetProfilePriority((1, 0)),
        "SetVariables",
        {
            "setVariableData": [
                {
                    "attributeValue": "1,0",
                    "component": {"name": "OCPPCommCtrlr"},
                    "variable": {"name": "NetworkConfigurationPriority"},
                }
            ]
        },
    ),
    (Reboot("on-idle"), "Reset", {"type": "OnIdle"}),
    (Reboot("immediate"), "Reset", {"type": "Immediate"}),
    (
        DeleteCertificate("CSMSRootCertificate", HashData("SHA384", "aA", "Bb", "0FFF")),
        "DeleteCertificate",
        {
            "certificateHashData": {
                "hashAlgorithm": "SHA384",
                "issuerNameHash": "aA",
                "issuerKeyHash": "Bb",
                "serialNumber": "0FFF",
            }
        },
    ),
    (
        WriteSetting("csr-wait-s", "60"),
        "SetVariables",
        {
            "setVariableData": [
                {
                    "attributeValue": "60",
                    "component": {"name": "SecurityCtrlr"},
                    "variable": {"name": "CertSigningWaitMinimum"},
                }
            ]
        },
    ),
    (
        ReadSettings(("organization", "trust-store-slots")),
        "GetVariables",
        {
            "getVariableData": [
                {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "OrganizationName"}},
                {
                    "component": {"name": "SecurityCtrlr"},
                    "variable": {"name": "CertificateEntries"},
                    "attributeType": "MaxSet",
                },
            ]
        },
    ),
    (
        AskFor("status"),
        "TriggerMessage",
        {"requestedMessage": "StatusNotification", "evse": {"id": 1, "connectorId": 1}},
    ),
    (AskFor("boot"), "TriggerMessage", {"requestedMessage": "BootNotification"}),
    (AskFor("log-status"), "TriggerMessage", {"requestedMessage": "LogStatusNotification"}),
    (
        CallAction("GetBaseReport", '{"requestId": 5, "reportBase": "FullInventory"}'),
        "GetBaseReport",
        {"requestId": 5, "reportBase": "FullInventory"},
    ),
    (CallAction("DataTransfer", '{"vendorId": "v"}'), "DataTransfer", {"vendorId": "v"}),
]


@pytest.mark.parametrize(("instruction", "action", "payload"), CALLS, ids=lambda value: str(value)[:30])
def test_an_instruction_becomes_its_call_and_keeps_the_schema(
    instruction: InstructionKind, action: str, payload: dict[str, Any]
) -> None:
    assert DIALECT.call_of(instruction) == (action, payload)
    assert DIALECT.schemas.request_violation(action, payload) is None


def test_every_session_credential_of_the_loaded_purposes_can_be_asked_for() -> None:
    for spec in purposes().values():
        if spec.is_session_credential:
            assert DIALECT.call_of(ObtainCsr(spec.name))[0] == "TriggerMessage"


@pytest.mark.parametrize(
    "instruction",
    [
        ObtainCsr("backend_server"),
        ObtainCsr("nonsense"),
        InstallAnchor("nonsense", "", ""),
        CloseSession("x"),
        RaiseSecurityProfile(3),
        WriteSetting("security-profile", "3"),
        WriteSetting("trust-store-slots", "9"),
        CallAction("NoSuchAction", "{}"),
        CallAction("ExtendedTriggerMessage", '{"requestedMessage": "Heartbeat"}'),
        CallAction("BootNotification", "{}"),
        CallAction("SignCertificate", '{"csr": "x"}'),
        CallAction("Reset", "[]"),
        CallAction("Reset", "no JSON"),
        WriteAuthorizationKey("secret-1", 2),
        CollectLog("security", 1, "secret-1"),
    ],
)
def test_what_the_version_has_no_message_for_is_not_sendable(instruction: InstructionKind) -> None:
    with pytest.raises(NotSendable):
        DIALECT.call_of(instruction)


SECRET = "a-key-of-24-letters-long"


def test_an_authorization_key_leaves_as_the_text_it_is() -> None:
    call = WriteAuthorizationKey("secret-1", 2)
    action, payload = DIALECT.call_of(call, secret=Disclosed(SECRET.encode()))
    assert action == "SetVariables"
    [entry] = payload["setVariableData"]
    assert entry["attributeValue"] == SECRET
    assert (entry["component"]["name"], entry["variable"]["name"]) == ("SecurityCtrlr", "BasicAuthPassword")
    assert DIALECT.schemas.request_violation(action, payload) is None


@pytest.mark.parametrize("key", [b"too-short", b"with a space in its text", b"\xff" * 16, b"x" * 41])
def test_a_key_the_version_has_no_form_for_is_not_sendable_and_not_repeated(key: bytes) -> None:
    with pytest.raises(NotSendable) as refused:
        DIALECT.call_of(WriteAuthorizationKey("secret-1", 2), secret=Disclosed(key))
    assert repr(key)[2:-1] not in str(refused.value)


@pytest.mark.parametrize(("log", "named"), [("security", "SecurityLog"), ("diagnostics", "DiagnosticsLog")])
def test_a_log_is_asked_for_with_the_address_that_was_disclosed(log: Any, named: str) -> None:
    call = CollectLog(log, 17, "secret-1", oldest="2026-01-01T00:00:00Z")
    action, payload = DIALECT.call_of(call, secret=Disclosed(b"https://logs.example/u/ticket/"))
    assert (action, payload) == (
        "GetLog",
        {
            "logType": named,
            "requestId": 17,
            "log": {
                "remoteLocation": "https://logs.example/u/ticket/",
                "oldestTimestamp": "2026-01-01T00:00:00Z",
            },
        },
    )
    assert DIALECT.schemas.request_violation(action, payload) is None


# ---------------------------------------------------------------- as this charger takes it

LEAF = InstallLeaf("charging_station", "c", "f", PEM, root_pem=PEM.replace("AA==", "ROOT"))


def chain_sent(**capabilities: Any) -> str:
    chain = DIALECT.call_of(LEAF, Capabilities(**capabilities))[1]["certificateChain"]
    assert isinstance(chain, str)
    return chain


def test_the_root_is_in_the_chain_only_for_a_charger_that_wants_it() -> None:
    assert chain_sent() == PEM
    assert chain_sent(include_root_in_chain=True) == PEM + LEAF.root_pem


def test_a_charger_that_reads_crlf_gets_crlf() -> None:
    assert chain_sent(needs_crlf=True) == PEM.replace("\n", "\r\n")
    anchor = InstallAnchor("backend_server", "ab", PEM)
    sent = DIALECT.call_of(anchor, Capabilities(needs_crlf=True))[1]["certificate"]
    assert sent == PEM.replace("\n", "\r\n")


def test_a_chain_longer_than_the_charger_takes_is_not_sendable_and_says_both_lengths() -> None:
    assert chain_sent(max_chain_chars=len(PEM)) == PEM
    with pytest.raises(NotSendable, match=rf"{len(PEM) + 3} characters.*{len(PEM)}"):
        chain_sent(max_chain_chars=len(PEM), needs_crlf=True)


@pytest.mark.parametrize(
    ("instruction", "capabilities"),
    [
        (ListCertificates(), Capabilities(cannot_list=True)),
        (DeleteCertificate("", HashData("SHA256", "a", "b", "1")), Capabilities(cannot_delete=True)),
    ],
)
def test_what_a_charger_is_known_not_to_do_is_not_sent(
    instruction: InstructionKind, capabilities: Capabilities
) -> None:
    DIALECT.call_of(instruction)
    with pytest.raises(NotSendable, match="this charger cannot"):
        DIALECT.call_of(instruction, capabilities)


def test_a_chain_beyond_the_versions_limit_breaks_the_schema_before_it_leaves() -> None:
    action, payload = DIALECT.call_of(InstallLeaf("charging_station", "c", "f", "x" * 10_001))
    violation = DIALECT.schemas.request_violation(action, payload)
    assert violation is not None
    assert violation[0] == "PropertyConstraintViolation"


def got(component: str, variable: str, status: str, value: str | None = None) -> dict[str, Any]:
    told = {} if value is None else {"attributeValue": value}
    return {
        "attributeStatus": status,
        "component": {"name": component},
        "variable": {"name": variable},
        **told,
    }


def test_the_answer_to_a_log_request_names_the_file() -> None:
    answer = {"status": "AcceptedCanceled", "filename": "log.tgz"}
    assert DIALECT.answer_of(CollectLog("security", 1, "s"), answer) == Answered(
        "AcceptedCanceled", file_name="log.tgz"
    )


HASH = {"hashAlgorithm": "SHA256", "issuerNameHash": "aa", "issuerKeyHash": "bb", "serialNumber": "0FFF"}


@pytest.mark.parametrize(
    ("instruction", "payload", "expected"),
    [
        (ObtainCsr("charging_station"), {"status": "NotImplemented"}, Answered("NotImplemented")),
        (
            InstallLeaf("charging_station", "c", "f", PEM),
            {"status": "Rejected", "statusInfo": {"reasonCode": "InvalidCert", "additionalInfo": "dates"}},
            Answered("Rejected", "InvalidCert", "dates"),
        ),
        (ListCertificates(), {"status": "NotFound"}, Answered("NotFound")),
        (
            ListCertificates(),
            {
                "status": "Accepted",
                "certificateHashDataChain": [
                    {
                        "certificateType": "V2GCertificateChain",
                        "certificateHashData": HASH,
                        "childCertificateHashData": [{**HASH, "hashAlgorithm": "SHA512"}],
                    }
                ],
            },
            Answered(
                "Accepted",
                listed=(
                    ReportedCertificate(
                        "V2GCertificateChain",
                        HashData("SHA256", "aa", "bb", "0FFF"),
                        (HashData("SHA512", "aa", "bb", "0FFF"),),
                    ),
                ),
            ),
        ),
        (
            SetProfilePriority((1, 0)),
            {
                "setVariableResult": [
                    {
                        "attributeStatus": "RebootRequired",
                        "attributeStatusInfo": {"reasonCode": "Reboot"},
                        "component": {"name": "OCPPCommCtrlr"},
                        "variable": {"name": "NetworkConfigurationPriority"},
                    }
                ]
            },
            Answered("RebootRequired", "Reboot"),
        ),
        (
            WriteSetting("organization", "Depot"),
            {
                "setVariableResult": [
                    {
                        "attributeStatus": "UnknownVariable",
                        "component": {"name": "SecurityCtrlr"},
                        "variable": {"name": "OrganizationName"},
                    }
                ]
            },
            Answered("UnknownVariable"),
        ),
        (
            ReadSettings(("organization", "csr-wait-s", "csr-repeats", "max-chain-chars")),
            {
                "getVariableResult": [
                    got("securityCTRLR", "organizationname", "Accepted", "Depot"),
                    got("SecurityCtrlr", "CertSigningWaitMinimum", "Rejected"),
                    got("SecurityCtrlr", "CertSigningRepeatTimes", "UnknownVariable"),
                    got("SecurityCtrlr", "SomethingElse", "Accepted", "x"),
                    got("SecurityCtrlr", "MaxCertificateChainSize", "Accepted", "10000"),
                ]
            },
            Answered(
                "Accepted",
                settings=(
                    ReadSetting("organization", "Depot"),
                    ReadSetting("csr-wait-s", None),
                    ReadSetting("max-chain-chars", "10000"),
                ),
            ),
        ),
        (
            DeleteCertificate("x", HashData("SHA256", "a", "b", "1")),
            {"status": "NotFound"},
            Answered("NotFound"),
        ),
        (AskFor("heartbeat"), {"status": "Rejected"}, Answered("Rejected")),
        (
            CallAction("Reset", '{"type": "OnIdle"}'),
            {"status": "Scheduled"},
            Answered("Scheduled", payload='{"status":"Scheduled"}'),
        ),
        (
            CallAction("GetLocalListVersion", "{}"),
            {"versionNumber": 3},
            Answered("Accepted", payload='{"versionNumber":3}'),
        ),
    ],
)
def test_an_answer_becomes_a_value_verbatim(
    instruction: InstructionKind, payload: dict[str, Any], expected: Answered
) -> None:
    action, _ = DIALECT.call_of(instruction)
    assert DIALECT.schemas.response_violation(action, payload) is None
    assert DIALECT.answer_of(instruction, payload) == expected


REPLIES: list[tuple[str, Reply, dict[str, Any]]] = [
    (
        "BootNotification",
        BootReply("Pending", 30, NOW),
        {"status": "Pending", "interval": 30, "currentTime": "2026-06-01T10:00:00.123Z"},
    ),
    ("Heartbeat", HeartbeatReply(NOW), {"currentTime": "2026-06-01T10:00:00.123Z"}),
    ("SignCertificate", CsrReply(True), {"status": "Accepted"}),
    (
        "SignCertificate",
        CsrReply(False, "x" * 600),
        {"status": "Rejected", "statusInfo": {"reasonCode": "InvalidCSR", "additionalInfo": "x" * 512}},
    ),
    ("Authorize", DefaultReply(), {"idTokenInfo": {"status": "Unknown"}}),
    (
        "Authorize",
        DecidedReply(b'{"idTokenInfo":{"status":"Blocked"}}'),
        {"idTokenInfo": {"status": "Blocked"}},
    ),
    ("DataTransfer", DefaultReply(), {"status": "UnknownVendorId"}),
    ("Get15118EVCertificate", DefaultReply(), {"status": "Failed", "exiResponse": ""}),
    ("GetCertificateStatus", DefaultReply(), {"status": "Failed"}),
]


@pytest.mark.parametrize(("action", "reply", "payload"), REPLIES, ids=lambda value: str(value)[:30])
def test_a_reply_becomes_its_payload_and_keeps_the_schema(
    action: str, reply: Reply, payload: dict[str, Any]
) -> None:
    assert DIALECT.reply_of(action, reply) == payload
    assert DIALECT.schemas.response_violation(action, payload) is None


TYPED = ("Authorize", "SecurityEventNotification", "FirmwareStatusNotification", "LogStatusNotification")
CALLED_BY_CHARGERS = (
    "Authorize", "ClearedChargingLimit", "DataTransfer", "FirmwareStatusNotification", "LogStatusNotification",
    "MeterValues", "NotifyChargingLimit", "NotifyCustomerInformation", "NotifyDisplayMessages", "NotifyEVChargingNeeds",
    "NotifyEVChargingSchedule", "NotifyEvent", "NotifyMonitoringReport", "NotifyReport",
    "PublishFirmwareStatusNotification", "ReportChargingProfiles", "ReservationStatusUpdate", "SecurityEventNotification",
    "StatusNotification", "TransactionEvent",
)  # fmt: skip


@pytest.mark.parametrize("action", CALLED_BY_CHARGERS)
def test_the_default_reply_of_every_action_keeps_the_schema(action: str) -> None:
    assert DIALECT.schemas.response_violation(action, DIALECT.reply_of(action, DefaultReply())) is None


@pytest.mark.parametrize("answer", [b"", b"no", b"[]", b'{"idTokenInfo":{"status":"Perhaps"}}'])
def test_a_decision_that_is_none_breaks_the_schema(answer: bytes) -> None:
    payload = DIALECT.reply_of("Authorize", DecidedReply(answer))
    assert DIALECT.schemas.response_violation("Authorize", payload) is not None


def test_what_an_undecided_token_is_answered_can_be_configured() -> None:
    lenient = DIALECT.authorizing("Accepted")
    assert lenient.reply_of("Authorize", DefaultReply()) == {"idTokenInfo": {"status": "Accepted"}}
    assert lenient.reply_of("DataTransfer", DefaultReply()) == {"status": "UnknownVendorId"}
    assert DIALECT.reply_of("Authorize", DefaultReply()) == {"idTokenInfo": {"status": "Unknown"}}


def test_a_token_is_asked_about_as_it_came() -> None:
    payload = {"idToken": {"idToken": "A1", "type": "ISO14443"}}
    asked = DIALECT.message_of("Authorize", payload)
    assert isinstance(asked, DecisionAsked)
    assert orjson.loads(asked.payload) == payload


def test_default_replies_can_be_configured() -> None:
    open_site = Ocpp201(default_replies={"Authorize": {"idTokenInfo": {"status": "Accepted"}}})
    assert open_site.reply_of("Authorize", DefaultReply()) == {"idTokenInfo": {"status": "Accepted"}}
    assert open_site.reply_of("TransactionEvent", DefaultReply()) == {}


# ---------------------------------------------------------------- what chargers call


def test_certificate_and_security_calls_are_typed() -> None:
    assert DIALECT.message_of("Heartbeat", {}) == HeartbeatSent()
    assert DIALECT.message_of("SignCertificate", {"csr": "x"}) == CsrPresented("charging_station", "x")
    named = {"csr": "x", "certificateType": "ChargingStationCertificate"}
    assert DIALECT.message_of("SignCertificate", named) == CsrPresented("charging_station", "x")
    event = {"type": "Tamper", "timestamp": "2026-01-01T00:00:00Z"}
    assert DIALECT.message_of("SecurityEventNotification", event) == SecurityEventNotified(
        "Tamper", "2026-01-01T00:00:00Z", None
    )


def test_how_uploads_and_updates_go_on_is_typed() -> None:
    told = {"status": "Uploading", "requestId": 4}
    assert DIALECT.message_of("LogStatusNotification", told) == LogStatusNotified("Uploading", 4)
    assert DIALECT.message_of("LogStatusNotification", {"status": "Idle"}) == LogStatusNotified("Idle", None)
    told = {"status": "InvalidSignature", "requestId": 5}
    assert DIALECT.message_of("FirmwareStatusNotification", told) == FirmwareStatusNotified(
        "InvalidSignature", 5
    )


@pytest.mark.parametrize("action", ["Get15118EVCertificate", "GetCertificateStatus"])
def test_what_a_car_waits_for_is_asked_about_within_its_time(action: str) -> None:
    asked = DIALECT.message_of(action, {"exiRequest": "x"})
    assert isinstance(asked, DecisionAsked)
    assert asked.wait_s is not None
    assert asked.wait_s <= 4.5


def test_a_signing_use_without_a_purpose_is_a_request_for_none() -> None:
    asked = DIALECT.message_of("SignCertificate", {"csr": "x", "certificateType": "V2G20Certificate"})
    assert asked == CsrPresented("", "x")


def test_other_traffic_is_relayed_as_it_came_and_transactions_are_confirmed() -> None:
    payload = {"vendorId": "v", "customData": {"vendorId": "é", "deep": [1, {"x": None}]}}
    relayed = DIALECT.message_of("DataTransfer", payload)
    assert isinstance(relayed, Relayed)
    assert orjson.loads(relayed.payload) == payload
    confirmed = {
        action
        for action in CALLED_BY_CHARGERS
        if action not in TYPED and DIALECT.message_of(action, {}).confirm  # type: ignore[union-attr]
    }
    assert confirmed == {"TransactionEvent"}


def test_every_loaded_dialect_is_found_by_its_file() -> None:
    assert subprotocol(DIALECT) == "ocpp2.0.1"
    assert loaded_dialects()["ocpp2.0.1"] is DIALECT
