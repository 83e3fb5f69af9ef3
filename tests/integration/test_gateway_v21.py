"""OCPP 2.1: its table against the official schemas, and its two new frame types over a real socket."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection

import bfactors.purposes
from bfactors.certificate_hash import HashData
from bfactors.disclosed import Disclosed
from bfactors.instruction import (
    CallAction,
    InstallAnchor,
    InstallLeaf,
    ListCertificates,
    ObtainCsr,
    SetNetworkProfile,
    SetProfilePriority,
    WriteAuthorizationKey,
)
from bfactors.ocpp import (
    CallErrorReply,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    HeartbeatReply,
    Inbound,
    InboundCall,
    InboundComplaint,
    InboundProblem,
    InboundSend,
    OutboundReply,
    Relayed,
)
from bfactors.ports import Session
from bfactors.purpose import purposes
from gateways.ocpp import v201
from gateways.ocpp.dialect import NotSendable, loaded_dialects
from gateways.ocpp.v21 import DIALECT
from tests.core.x509_maker import NOW
from tests.integration.gateway_world import World, answer, ask, world

__all__ = ["world"]
pytestmark = pytest.mark.uvloop

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
HASH = {"hashAlgorithm": "SHA512", "issuerNameHash": "aA", "issuerKeyHash": "bb", "serialNumber": "0FFF"}

# ---------------------------------------------------------------- what we call


def sent(*arguments: Any, **more: Any) -> dict[str, Any]:
    """The payload of a call, which keeps its schema."""
    action, payload = DIALECT.call_of(*arguments, **more)
    assert DIALECT.schemas.request_violation(action, payload) is None
    return payload


def test_it_is_preferred_to_every_older_version() -> None:
    assert next(iter(loaded_dialects())) == "ocpp2.1"
    assert loaded_dialects()["ocpp2.1"] is DIALECT


@pytest.mark.parametrize("request_id", [0, 7, -1])
def test_a_certificate_names_the_request_it_answers(request_id: int) -> None:
    leaf = InstallLeaf("charging_station", "c", "f", PEM, request_id=request_id)
    assert sent(leaf) == {
        "certificateChain": PEM,
        "certificateType": "ChargingStationCertificate",
        "requestId": request_id,
    }
    assert "requestId" not in sent(replace_id(leaf, None))
    assert "requestId" not in v201.DIALECT.call_of(leaf)[1], "2.0.1 knows no such field"


def replace_id(leaf: InstallLeaf, request_id: int | None) -> InstallLeaf:
    return InstallLeaf(
        leaf.purpose, leaf.certificate_id, leaf.fingerprint_sha256, leaf.chain_pem, "", request_id
    )


def test_a_network_profile_carries_neither_version_nor_identity_nor_password() -> None:
    payload = sent(SetNetworkProfile(1, "wss://cs.example/" + "x" * 1900, 3))
    assert payload["configurationSlot"] == 1
    assert sorted(payload["connectionData"]) == [
        "messageTimeout",
        "ocppCsmsUrl",
        "ocppInterface",
        "ocppTransport",
        "securityProfile",
    ]


def test_what_2_1_does_not_change_is_said_as_in_2_0_1() -> None:
    for instruction in (
        ObtainCsr("charging_station"),
        SetProfilePriority((1, 0)),
        CallAction("Reset", '{"type":"OnIdle"}'),
    ):
        assert sent(instruction) == v201.DIALECT.call_of(instruction)[1]


def test_larger_anchors_and_keys_fit() -> None:
    sent(InstallAnchor("backend_server", "ab", "x" * 10_000))
    key = sent(WriteAuthorizationKey("s", 1), secret=Disclosed(b"k" * 64))
    assert key["setVariableData"][0]["attributeValue"] == "k" * 64
    action, payload = v201.DIALECT.call_of(InstallAnchor("backend_server", "ab", "x" * 10_000))
    assert v201.DIALECT.schemas.request_violation(action, payload) is not None


def test_an_operator_may_write_out_what_only_2_1_has() -> None:
    assert sent(CallAction("GetTariffs", '{"evseId": 0}')) == {"evseId": 0}
    with pytest.raises(NotSendable):
        v201.DIALECT.call_of(CallAction("GetTariffs", '{"evseId": 0}'))
    with pytest.raises(NotSendable):
        DIALECT.call_of(CallAction("NotifyPeriodicEventStream", "{}"))


# ---------------------------------------------------------------- what chargers call


def test_a_csr_comes_with_its_number_and_the_root_it_wants() -> None:
    payload = {"csr": "x", "requestId": 0, "hashRootCertificate": HASH}
    assert DIALECT.schemas.request_violation("SignCertificate", payload) is None
    root = HashData("SHA512", "aA", "bb", "0FFF")
    assert DIALECT.message_of("SignCertificate", payload) == CsrPresented("charging_station", "x", 0, root)


def test_a_csr_for_a_use_without_a_purpose_is_for_none_rather_than_for_another() -> None:
    asked = DIALECT.message_of("SignCertificate", {"csr": "x", "certificateType": "SomethingNewer"})
    assert asked == CsrPresented("", "x")


PURPOSE_FILE = '''"""A purpose of ISO 15118, for the test."""

from bfactors.purpose import PurposeSpec

PURPOSE = PurposeSpec(
    name="{name}",
    title="{name}",
    realm="iso15118",
    modes=("managed",),
    owner="BetterFleet",
    identity_kind="{kind}",
    anchor_bundle=None,
    evidence_rungs=("issued", "installed"),
    active_rung="installed",
    template="EndEntityCertificate/V1",
)
'''
PLUG_AND_CHARGE = {
    "secc_iso15118_2": "evse",
    "secc_iso15118_20": "evse",
    "contract": "contract",
    "oem_provisioning": "vehicle",
}


@pytest.fixture
def plug_and_charge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The purposes of ISO 15118, those that are not there yet as files of the test."""
    missing = {name: kind for name, kind in PLUG_AND_CHARGE.items() if name not in purposes()}
    for name, kind in missing.items():
        (tmp_path / f"{name}.py").write_text(PURPOSE_FILE.format(name=name, kind=kind))
    monkeypatch.setattr(bfactors.purposes, "__path__", [*bfactors.purposes.__path__, str(tmp_path)])
    purposes.cache_clear()
    yield
    monkeypatch.undo()
    for name in missing:
        sys.modules.pop(f"bfactors.purposes.{name}", None)
    purposes.cache_clear()


@pytest.mark.usefixtures("plug_and_charge")
def test_2_1_tells_the_two_generations_of_iso_15118_apart_and_2_0_1_has_the_first_only() -> None:
    assert sent(ObtainCsr("secc_iso15118_2")) == {"requestedMessage": "SignV2GCertificate"}
    assert sent(ObtainCsr("secc_iso15118_20")) == {"requestedMessage": "SignV2G20Certificate"}
    leaf = InstallLeaf("secc_iso15118_20", "c", "f", PEM, request_id=3)
    assert sent(leaf)["certificateType"] == "V2G20Certificate"
    for use, purpose_name in (
        ("V2GCertificate", "secc_iso15118_2"),
        ("V2G20Certificate", "secc_iso15118_20"),
        ("ChargingStationCertificate", "charging_station"),
    ):
        presented = DIALECT.message_of("SignCertificate", {"csr": "x", "certificateType": use})
        assert presented == CsrPresented(purpose_name, "x")
    older = v201.DIALECT
    assert older.call_of(ObtainCsr("secc_iso15118_2"))[1] == {"requestedMessage": "SignV2GCertificate"}
    presented = older.message_of("SignCertificate", {"csr": "x", "certificateType": "V2GCertificate"})
    assert presented == CsrPresented("secc_iso15118_2", "x")
    for instruction in (ObtainCsr("secc_iso15118_20"), leaf):
        with pytest.raises(NotSendable):
            older.call_of(instruction)


@pytest.mark.usefixtures("plug_and_charge")
@pytest.mark.parametrize(
    ("purpose_name", "store", "is_in_2_0_1"),
    [
        ("secc_iso15118_2", "V2GRootCertificate", True),
        ("contract", "MORootCertificate", True),
        ("oem_provisioning", "OEMRootCertificate", False),
        ("backend_server", "CSMSRootCertificate", True),
    ],
)
def test_every_anchor_goes_to_the_store_of_its_realm(
    purpose_name: str, store: str, is_in_2_0_1: bool
) -> None:
    anchor = InstallAnchor(purpose_name, "ab", PEM)
    assert sent(anchor)["certificateType"] == store
    assert sent(ListCertificates(purpose_name)) == {"certificateType": [store]}
    if is_in_2_0_1:
        assert v201.DIALECT.call_of(anchor)[1]["certificateType"] == store
    else:
        with pytest.raises(NotSendable):
            v201.DIALECT.call_of(anchor)


def test_a_refused_csr_may_say_more_than_in_2_0_1() -> None:
    payload = DIALECT.reply_of("SignCertificate", CsrReply(False, "x" * 2000))
    assert len(payload["statusInfo"]["additionalInfo"]) == 1024
    assert DIALECT.schemas.response_violation("SignCertificate", payload) is None


CALLED_BY_CHARGERS: dict[str, dict[str, Any]] = {
    "BatterySwap": {}, "ClosePeriodicEventStream": {"id": 1}, "NotifyDERAlarm": {}, "NotifyDERStartStop": {},
    "NotifyPriorityCharging": {}, "NotifySettlement": {}, "OpenPeriodicEventStream": {}, "PullDynamicScheduleUpdate": {},
    "ReportDERControl": {}, "VatNumberValidation": {"vatNumber": "NL1"},
}  # fmt: skip


@pytest.mark.parametrize("action", CALLED_BY_CHARGERS)
def test_each_new_call_of_a_charger_is_served_with_a_default_that_keeps_the_schema(action: str) -> None:
    message = DIALECT.message_of(action, CALLED_BY_CHARGERS[action])
    assert isinstance(message, Relayed | DecisionAsked)
    reply = DIALECT.reply_of(action, DefaultReply())
    if isinstance(message, DecisionAsked) and message.undecided:
        reply = orjson.loads(message.undecided)
    assert DIALECT.schemas.response_violation(action, reply) is None


def test_money_and_batteries_are_stored_before_they_are_answered() -> None:
    confirmed = {
        action
        for action, payload in CALLED_BY_CHARGERS.items()
        if isinstance(message := DIALECT.message_of(action, payload), Relayed) and message.confirm
    }
    assert confirmed == {"BatterySwap", "NotifySettlement"}


STATUSES = [
    {
        "source": source,
        "urls": ["http://ocsp.example"],
        "certificateHashData": {**HASH, "serialNumber": serial},
    }
    for source, serial in (("OCSP", "01"), ("CRL", "02"), ("OCSP", "03"), ("OCSP", "04"))
]


@pytest.mark.parametrize("entries", [1, 4])
def test_a_chain_nobody_can_judge_is_failed_entry_by_entry_with_a_time_to_ask_again(entries: int) -> None:
    dialect = replace(DIALECT, now=lambda: NOW)
    asked = dialect.message_of("GetCertificateChainStatus", {"certificateStatusRequests": STATUSES[:entries]})
    assert isinstance(asked, DecisionAsked)
    assert asked.wait_s is not None
    assert asked.wait_s <= 4.5
    payload = orjson.loads(asked.undecided)
    assert DIALECT.schemas.response_violation("GetCertificateChainStatus", payload) is None
    assert [entry["certificateHashData"]["serialNumber"] for entry in payload["certificateStatus"]] == [
        "01",
        "02",
        "03",
        "04",
    ][:entries]
    assert {entry["status"] for entry in payload["certificateStatus"]} == {"Failed"}
    assert {entry["nextUpdate"] for entry in payload["certificateStatus"]} == {"2026-06-01T13:00:00.000Z"}


def test_what_an_undecided_token_is_answered_can_be_configured_here_too() -> None:
    lenient = DIALECT.authorizing("Accepted")
    assert lenient.version == "2.1"
    assert lenient.reply_of("Authorize", DefaultReply()) == {"idTokenInfo": {"status": "Accepted"}}
    assert lenient.reply_of("Get15118EVCertificate", DefaultReply()) == {
        "status": "Failed",
        "exiResponse": "",
    }


# ---------------------------------------------------------------- over a socket


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


@pytest.fixture
async def charger(world: World) -> AsyncIterator[ClientConnection]:
    world.charger()
    world.door.react = respond
    async with world.dial_basic(subprotocols=["ocpp2.0.1", "ocpp2.1"]) as socket:
        assert socket.subprotocol == "ocpp2.1"
        yield socket


async def is_heard_again(charger: ClientConnection) -> None:
    """The next answer belongs to a heartbeat: nothing before it was answered."""
    await ask(charger, [2, "hb", "Heartbeat", {}])
    assert (await answer(charger))[:2] == [3, "hb"]


STREAM = {"data": [{"t": 0, "v": "1"}], "id": 1, "pending": 0, "basetime": "2026-06-01T12:00:00Z"}


async def test_a_send_is_passed_on_and_never_answered(world: World, charger: ClientConnection) -> None:
    await ask(charger, [6, "s1", "NotifyPeriodicEventStream", STREAM])
    await is_heard_again(charger)
    passed_on = await world.door.next_inbound(1)
    assert isinstance(passed_on, InboundSend)
    assert (passed_on.message_id, passed_on.message.action) == ("s1", "NotifyPeriodicEventStream")
    assert orjson.loads(passed_on.message.payload) == STREAM


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ([6, "s1", "NotifyPeriodicEventStream", {"id": 1}], "OccurrenceConstraintViolation"),
        ([6, "s1", "Heartbeat", {}], "NotImplemented"),
        ([6, "s1", "NoSuchAction", {}], "NotImplemented"),
        ([6, "s1"], "RpcFrameworkError"),
        ([6], "RpcFrameworkError"),
        ([6, "s1", "NotifyPeriodicEventStream", []], "FormatViolation"),
    ],
)
async def test_a_send_that_is_none_is_counted_and_never_answered(
    world: World, charger: ClientConnection, frame: Any, reason: str
) -> None:
    await ask(charger, frame)
    await is_heard_again(charger)
    assert world.counts.counted[f"ocpp_frames_refused {reason}"] == 1
    assert [inbound for _, inbound in world.door.inbound if not isinstance(inbound, InboundCall)] == []


@pytest.mark.parametrize(
    ("frame", "message_id", "code"),
    [
        ([5, "a1", "PropertyConstraintViolation", "interval", {}], "a1", "PropertyConstraintViolation"),
        ([5, "a1"], "a1", ""),
        ([5], "-1", ""),
        ([5, 7, 8, 9, 10], "-1", ""),
    ],
)
async def test_a_complaint_about_an_answer_is_told_the_actor_and_never_answered(
    world: World, charger: ClientConnection, frame: Any, message_id: str, code: str
) -> None:
    await ask(charger, frame)
    await is_heard_again(charger)
    complaint = await world.door.next_inbound(1)
    assert isinstance(complaint, InboundComplaint)
    assert (complaint.message_id, complaint.code) == (message_id, code)
    assert world.counts.counted["ocpp_answers_refused"] == 1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ([7, "1", {}], "MessageTypeNotSupported"),
        ([2, "1", "NoSuchAction", {}], "NotImplemented"),
        ([2, "1", "NotifyPeriodicEventStream", STREAM], "NotImplemented"),
        ([2, "1", "GetTariffs", {"evseId": 0}], "NotSupported"),
        (
            [2, "1", "SignCertificate", {"csr": "x", "certificateType": "Combined"}],
            "PropertyConstraintViolation",
        ),
        (
            [2, "1", "GetCertificateChainStatus", {"certificateStatusRequests": []}],
            "OccurrenceConstraintViolation",
        ),
    ],
)
async def test_what_2_1_does_not_allow_is_answered_with_its_code(
    charger: ClientConnection, frame: Any, code: str
) -> None:
    await ask(charger, frame)
    assert (await answer(charger))[:3] == [4, "1", code]


@pytest.mark.parametrize("word", [None, b"no JSON", b'{"certificateStatus": []}'])
async def test_a_chain_status_nobody_decides_well_is_answered_with_its_own_default(
    world: World, charger: ClientConnection, word: bytes | None
) -> None:
    def decide(session: Session, inbound: Inbound) -> None:
        assert isinstance(inbound, InboundCall)
        reply = DefaultReply() if word is None else DecidedReply(word)
        session.send(OutboundReply(inbound.message_id, inbound.action, reply))

    world.door.react = decide
    for message_id in ("a", "b"):
        request = {"certificateStatusRequests": STATUSES[:2]}
        await ask(charger, [2, message_id, "GetCertificateChainStatus", request])
        kind, answered_id, payload = await answer(charger)
        assert (kind, answered_id) == (3, message_id)
        assert [entry["status"] for entry in payload["certificateStatus"]] == ["Failed", "Failed"]


async def test_an_older_session_knows_neither_send_nor_complaint(world: World) -> None:
    world.charger()
    world.door.react = respond
    async with world.dial_basic(subprotocols=["ocpp2.0.1"]) as socket:
        for frame in ([6, "1", "NotifyPeriodicEventStream", STREAM], [5, "1", "InternalError", "", {}]):
            await ask(socket, frame)
            assert (await answer(socket))[:3] == [4, "1", "MessageTypeNotSupported"]
