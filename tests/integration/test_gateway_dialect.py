"""OCPP 2.0.1 as a table: every instruction and every reply against the official schemas, every answer back to a value."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.instruction import (
    CloseSession,
    InstallAnchor,
    InstallLeaf,
    InstructionKind,
    ListCertificates,
    ObtainCsr,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
)
from bfactors.ocpp import (
    Answered,
    BootReply,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    HeartbeatReply,
    HeartbeatSent,
    Relayed,
    Reply,
    SecurityEventNotified,
)
from bfactors.purpose import purposes
from gateways.ocpp.dialect import NotSendable, Unsupported, loaded_dialects, subprotocol
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
    ],
)
def test_what_the_version_has_no_message_for_is_not_sendable(instruction: InstructionKind) -> None:
    with pytest.raises(NotSendable):
        DIALECT.call_of(instruction)


def test_a_chain_beyond_the_versions_limit_breaks_the_schema_before_it_leaves() -> None:
    action, payload = DIALECT.call_of(InstallLeaf("charging_station", "c", "f", "x" * 10_001))
    violation = DIALECT.schemas.request_violation(action, payload)
    assert violation is not None
    assert violation[0] == "PropertyConstraintViolation"


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


def test_a_signing_use_without_a_purpose_is_not_supported() -> None:
    if any(spec.realm == "iso15118" and spec.identity_kind == "evse" for spec in purposes().values()):
        pytest.skip("a purpose for V2G leaves is loaded")
    with pytest.raises(Unsupported):
        DIALECT.message_of("SignCertificate", {"csr": "x", "certificateType": "V2GCertificate"})


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
