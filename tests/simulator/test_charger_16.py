"""A charger of OCPP 1.6 with the security whitepaper's messages, and ISO 15118 in DataTransfer."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from simulator.charger import (
    CertificateUse,
    Charger,
    NetworkProfile,
    OcppVersion,
    RebootRequiredFor,
    RejectsSetting,
    UsesHexTextAsPassword,
)
from tests.simulator.authority import Authority, fingerprint, pem
from tests.simulator.central_system import CallFailed, CentralSystem, Payload, Seen
from tests.simulator.conftest import PASSWORD, MakeCharger, Pki
from tests.simulator.errand import change_key, csr_16, install_root_16, obtain_certificate_16

KEY = "00112233445566778899aabbccddeeff"
TRIGGER = {"requestedMessage": "SignChargePointCertificate"}


async def start(make_charger: MakeCharger, csms: CentralSystem, **changes: Any) -> tuple[Charger, Seen]:
    charger = await make_charger(ocpp_version=OcppVersion.V16, **changes)
    seen = await csms.session(charger.configuration.charger_id)
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    return charger, seen


async def test_a_1_6_charger_boots_reports_and_beats_in_its_own_words(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    _, seen = await start(make_charger, csms, evses=2)
    assert seen.subprotocol == "ocpp1.6"
    boot = seen.said("BootNotification")[0]
    assert boot["chargePointSerialNumber"] == boot["chargeBoxSerialNumber"] == "SN0001"
    await csms.wait_for(lambda: len(seen.said("StatusNotification")) == 2)
    assert [each["connectorId"] for each in seen.said("StatusNotification")] == [1, 2]
    for wanted, said in (("Heartbeat", "Heartbeat"), ("MeterValues", "MeterValues")):
        assert await seen.call("TriggerMessage", {"requestedMessage": wanted}) == {"status": "Accepted"}
        await csms.wait_for(partial(seen.said, said))
    for wanted, said in (
        ("LogStatusNotification", "LogStatusNotification"),
        ("FirmwareStatusNotification", "SignedFirmwareStatusNotification"),
    ):
        trigger = {"requestedMessage": wanted}
        assert await seen.call("ExtendedTriggerMessage", trigger) == {"status": "Accepted"}
        await csms.wait_for(partial(seen.said, said))
        assert seen.said(said) == [{"status": "Idle"}]
    boot_again = {"requestedMessage": "BootNotification"}
    assert await seen.call("ExtendedTriggerMessage", boot_again) == {"status": "Rejected"}


async def test_a_1_6_charger_charges_a_car(csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger, seen = await start(make_charger, csms)
    csms.replies["StartTransaction"] = lambda seen, payload: {
        "transactionId": 17,
        "idTagInfo": {"status": "Accepted"},
    }
    csms.replies["Authorize"] = lambda seen, payload: {"idTagInfo": {"status": "Accepted"}}
    assert (await charger.initiative.authorize("CARD1"))["idTagInfo"] == {"status": "Accepted"}
    assert await charger.initiative.transact(readings=2) == "17"
    actions = [action for action, _ in seen.heard if action.endswith(("Transaction", "MeterValues"))]
    assert actions == ["StartTransaction", "MeterValues", "MeterValues", "StopTransaction"]
    assert seen.said("StopTransaction")[0]["transactionId"] == 17
    assert seen.said("StopTransaction")[0]["meterStop"] == 750


async def test_a_1_6_charger_climbs_to_profile_3_with_a_reset_and_drops_the_old_way(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    mark = await obtain_certificate_16(pki, csms, seen)
    assert seen.said("SignCertificate")[0].keys() == {"csr"}
    assert await change_key(seen, "SecurityProfile", "2") == "Rejected"
    assert await change_key(seen, "SecurityProfile", "3") == "Accepted"
    assert (await read(seen, "SecurityProfile"))["SecurityProfile"] == "2"
    assert await seen.call("Reset", {"type": "Hard"}) == {"status": "Accepted"}
    secured = await csms.session("depot-1", 3)
    assert (secured.fingerprint, secured.presented) == (mark, 2)
    after = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.security_profile == 3)
    assert set(after.network_profiles.values()) == {3}
    assert (await read(secured, "SecurityProfile"))["SecurityProfile"] == "3"

    mark = await obtain_certificate_16(pki, csms, secured)
    renewed = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 3)
    assert renewed.session_fingerprint == mark


async def test_a_1_6_charger_refused_on_its_new_profile_falls_back_to_the_old(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    await obtain_certificate_16(pki, csms, seen)
    csms.refuses = lambda charger_id, profile, mark: 403 if profile == 3 else 0
    assert await change_key(seen, "SecurityProfile", "3") == "Accepted"
    assert await seen.call("Reset", {"type": "Soft"}) == {"status": "Accepted"}
    back = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert back.security_profile == 2
    assert csms.refused == [("depot-1", 403)] * 2


async def test_a_1_6_charger_leaves_plain_websocket_once_it_has_a_root(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    async with CentralSystem().listen(None) as plain:
        plain.passwords["depot-1"] = PASSWORD
        charger = await make_charger(
            ocpp_version=OcppVersion.V16,
            network_profiles={1: NetworkProfile(f"ws://127.0.0.1:{plain.port}/ocpp", 1)},
            csms_roots=(),
            secure_url=csms.url,
        )
        seen = await plain.session("depot-1", 1)
        assert await change_key(seen, "SecurityProfile", "2") == "Rejected"
        root = {
            "certificateType": "CentralSystemRootCertificate",
            "certificate": pem(pki.server_root.certificate),
        }
        assert await seen.call("InstallCertificate", root) == {"status": "Accepted"}
        assert await change_key(seen, "SecurityProfile", "2") == "Accepted"
        assert await seen.call("Reset", {"type": "Hard"}) == {"status": "Accepted"}
        await csms.session("depot-1", 2)
        after = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
        assert after.security_profile == 2
        assert plain.violations == []


async def test_a_1_6_charger_without_any_password_is_given_one_and_then_uses_it(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    async with CentralSystem().listen(None) as plain:
        plain.open_to = {"depot-1"}
        charger = await make_charger(
            ocpp_version=OcppVersion.V16,
            network_profiles={1: NetworkProfile(f"ws://127.0.0.1:{plain.port}/ocpp", 0)},
            basic_password="",
        )
        seen = await plain.session("depot-1")
        assert await change_key(seen, "SecurityProfile", "1") == "Rejected"
        assert await change_key(seen, "AuthorizationKey", KEY) == "Accepted"
        await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
        assert plain.logins == [("depot-1", None)] * 2
        plain.open_to, plain.passwords = set(), {"depot-1": bytes.fromhex(KEY)}
        seen = await plain.session("depot-1")
        assert await change_key(seen, "SecurityProfile", "1") == "Accepted"
        assert await seen.call("Reset", {"type": "Hard"}) == {"status": "Accepted"}
        after = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 3)
        assert after.security_profile == 1
        assert plain.refused == []
        await charger.stop()


async def test_an_authorization_key_is_hex_on_ocpp_and_bytes_in_http(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    for wrong in ("staple-battery-horse", KEY[:30], KEY + "0011223344", KEY[:-1], KEY[:-1] + "g"):
        assert await change_key(seen, "AuthorizationKey", wrong) == "Rejected"
    csms.passwords["depot-1"] = bytes.fromhex(KEY)
    assert await change_key(seen, "AuthorizationKey", KEY) == "Accepted"
    again = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.refused == []
    assert KEY not in repr(again) + repr(charger.journal.recent)
    live = await csms.session("depot-1")
    assert "AuthorizationKey" not in await read(live)
    asked = await live.call("GetConfiguration", {"key": ["AuthorizationKey"]})
    assert asked == {"configurationKey": [{"key": "AuthorizationKey", "readonly": False}]}


async def test_the_hex_text_may_be_used_by_mistake(csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger, seen = await start(make_charger, csms, faults=(UsesHexTextAsPassword(),))
    csms.passwords["depot-1"] = KEY
    assert await change_key(seen, "AuthorizationKey", KEY) == "Accepted"
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.refused == []


async def test_a_factory_key_of_32_hex_digits_stands_for_its_bytes(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    csms.passwords["depot-1"] = bytes.fromhex(KEY)
    await start(make_charger, csms, basic_password=KEY)
    assert csms.refused == []


async def test_keys_are_read_changed_refused_unknown_or_wait_for_a_reset(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    faults = (RebootRequiredFor("OrganizationName", times=1), RejectsSetting("HeartbeatInterval"))
    charger, seen = await start(make_charger, csms, faults=faults, certificate_entries=7)
    values = await read(seen)
    assert values["CertificateStoreMaxLength"] == "7"
    assert values["AdditionalRootCertificateCheck"] == "false"
    assert values["CpoName"] == "Depot Ltd"
    assert await change_key(seen, "CertificateSignedMaxChainSize", "1") == "Rejected"
    assert await change_key(seen, "HeartbeatInterval", "5") == "Rejected"
    assert await change_key(seen, "Colour", "red") == "NotSupported"
    unknown = await seen.call("GetConfiguration", {"key": ["Colour"]})
    assert unknown == {"configurationKey": [], "unknownKey": ["Colour"]}
    assert await change_key(seen, "CpoName", "Other Ltd") == "RebootRequired"
    assert (await read(seen))["CpoName"] == "Depot Ltd"
    assert await seen.call("Reset", {"type": "Soft"}) == {"status": "Accepted"}
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert (await read(await csms.session("depot-1")))["CpoName"] == "Other Ltd"


async def test_1_6_lists_one_type_flat_and_deletes_by_what_it_listed(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    _, seen = await start(make_charger, csms)
    await install_root_16(pki, seen)
    with pytest.raises(CallFailed, match="OccurenceConstraintViolation"):
        await seen.call("GetInstalledCertificateIds", {})
    asked = {"certificateType": "CentralSystemRootCertificate"}
    listed = (await seen.call("GetInstalledCertificateIds", asked))["certificateHashData"]
    root = pki.identity_root.certificate
    expected = ocsp.OCSPRequestBuilder().add_certificate(root, root, hashes.SHA256()).build()
    assert listed[1]["issuerKeyHash"] == expected.issuer_key_hash.hex()
    assert len(listed) == 2
    none = {"certificateType": "ManufacturerRootCertificate"}
    assert await seen.call("GetInstalledCertificateIds", none) == {"status": "NotFound"}
    gone = {"certificateHashData": listed[1]}
    assert [(await seen.call("DeleteCertificate", gone))["status"] for _ in range(2)] == [
        "Accepted",
        "NotFound",
    ]
    last = {"certificateHashData": listed[0]}
    assert await seen.call("DeleteCertificate", last) == {"status": "Failed"}


async def test_1_6_tells_of_refused_certificates_by_its_own_names(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    _, seen = await start(make_charger, csms)
    await install_root_16(pki, seen)
    stranger = Authority.root("stranger").sign(await csr_16(csms, seen))
    assert await seen.call("CertificateSigned", {"certificateChain": stranger}) == {"status": "Rejected"}
    root = {
        "certificateType": "CentralSystemRootCertificate",
        "certificate": pem(pki.identity.certificate),
    }
    assert await seen.call("InstallCertificate", root) == {"status": "Rejected"}
    await csms.wait_for(lambda: len(seen.said("SecurityEventNotification")) == 2)
    assert {event["type"] for event in seen.said("SecurityEventNotification")} == {
        "InvalidChargePointCertificate",
        "InvalidCentralSystemCertificate",
    }


async def test_a_1_6_charger_without_an_operator_asks_for_no_certificate(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    _, seen = await start(make_charger, csms, organization="")
    assert await seen.call("ExtendedTriggerMessage", TRIGGER) == {"status": "Rejected"}
    assert await change_key(seen, "CpoName", "Depot Ltd") == "Accepted"
    request = x509.load_pem_x509_csr((await csr_16(csms, seen)).encode())
    assert request.subject.rfc4514_string() == "CN=SN0001,O=Depot Ltd"


async def test_iso_15118_certificates_travel_in_the_envelope(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms, secc_id="DEDEPS0001")
    root = {"certificateType": "V2GRootCertificate", "certificate": pem(pki.identity_root.certificate)}
    assert (await seen.transfer("InstallCertificate", root))["status"] == "Accepted"
    trigger = {"requestedMessage": "SignV2GCertificate"}
    assert (await seen.transfer("TriggerMessage", trigger))["status"] == "Accepted"
    envelope = (await csms.wait_for(lambda: seen.said("DataTransfer")))[0]
    assert envelope["messageId"] == "SignCertificate"
    inner = json.loads(envelope["data"])
    assert inner["certificateType"] == "V2GCertificate"
    chain = pki.identity.sign(inner["csr"])
    leaf = x509.load_pem_x509_certificate(chain.encode())
    assert leaf.subject.rfc4514_string() == "DC=CPO,CN=DEDEPS0001,O=Depot Ltd,C=DE"
    signed = {"certificateChain": chain, "certificateType": "V2GCertificate"}
    assert (await seen.transfer("CertificateSigned", signed))["status"] == "Accepted"
    assert charger.snapshot().installed_fingerprints == ()

    wanted: Payload = {"certificateType": ["V2GCertificateChain", "V2GRootCertificate"]}
    listed = (await seen.transfer("GetInstalledCertificateIds", wanted))["certificateHashDataChain"]
    assert [entry["certificateType"] for entry in listed] == wanted["certificateType"]
    assert listed[0]["certificateHashData"]["serialNumber"] == f"{leaf.serial_number:x}"
    assert len(listed[0]["childCertificateHashData"]) == 1
    for entry in listed:
        gone = {"certificateHashData": entry["certificateHashData"]}
        assert (await seen.transfer("DeleteCertificate", gone))["status"] == "Accepted"
    assert charger.dump_memory()["v2g"] == {}


async def test_the_envelope_is_refused_for_strangers_and_for_what_is_not_iso_15118(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    _, seen = await start(make_charger, csms)
    vendor = "org.openchargealliance.iso15118pnc"
    for wrong, status in (
        ({"vendorId": "other", "messageId": "TriggerMessage"}, "UnknownVendorId"),
        ({"vendorId": vendor, "messageId": "Reset", "data": "{}"}, "UnknownMessageId"),
        ({"vendorId": vendor, "messageId": "TriggerMessage", "data": "{"}, "Rejected"),
        (
            {
                "vendorId": vendor,
                "messageId": "CertificateSigned",
                "data": json.dumps(
                    {"certificateChain": "x", "certificateType": "ChargingStationCertificate"}
                ),
            },
            "Rejected",
        ),
    ):
        assert await seen.call("DataTransfer", wrong) == {"status": status}


async def test_a_1_6_charger_asks_for_cars_in_the_envelope(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, _ = await start(make_charger, csms)
    csms.replies["Get15118EVCertificate"] = lambda seen, payload: {"status": "Accepted", "exiResponse": "BB"}
    csms.replies["GetCertificateStatus"] = lambda seen, payload: {"status": "Failed"}
    csms.replies["Authorize"] = lambda seen, payload: {"idTokenInfo": {"status": "Accepted"}}
    exi = base64.b64encode(b"exi").decode()
    answer = await charger.initiative.ask_ev_certificate(exi)
    assert answer == {"status": "Accepted", "exiResponse": "BB"}
    names = {
        "hashAlgorithm": "SHA256",
        "issuerNameHash": "0a",
        "issuerKeyHash": "0b",
        "serialNumber": "c",
    }
    status = await charger.initiative.ask_certificate_status(names, "http://ocsp.example/")
    assert status == {"status": "Failed"}
    contract = await charger.initiative.authorize("DEDEPC0001", contract="-----BEGIN")
    assert contract == {"idTokenInfo": {"status": "Accepted"}}
    del csms.replies["Get15118EVCertificate"]
    csms.replies["DataTransfer"] = lambda seen, payload: {"status": "UnknownVendorId"}
    assert await charger.initiative.ask_ev_certificate(exi) == {"status": "Rejected"}
    charger.initiative.request_certificate(CertificateUse.V2G)
    await charger.wait_for(lambda snapshot: "certificate-request-refused" in snapshot.counters)


async def test_a_signed_update_tells_every_step_in_1_6(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    maker = Authority.root("maker")
    firmware = {
        "location": "https://firmware.example/1",
        "retrieveDateTime": "2026-11-22T00:00:00Z",
        "signingCertificate": pem(maker.below("signer").certificate),
        "signature": "AA==",
    }
    update = {"requestId": 5, "firmware": firmware}
    assert await seen.call("SignedUpdateFirmware", update) == {"status": "InvalidCertificate"}
    root = {"certificateType": "ManufacturerRootCertificate", "certificate": pem(maker.certificate)}
    assert await seen.call("InstallCertificate", root) == {"status": "Accepted"}
    assert await seen.call("SignedUpdateFirmware", update) == {"status": "Accepted"}
    await csms.wait_for(lambda: len(seen.said("SecurityEventNotification")) == 2)
    assert [each["status"] for each in seen.said("SignedFirmwareStatusNotification")] == [
        "Downloading",
        "Downloaded",
        "SignatureVerified",
        "Installing",
        "Installed",
    ]
    assert [each["type"] for each in seen.said("SecurityEventNotification")] == [
        "InvalidFirmwareSigningCertificate",
        "FirmwareUpdated",
    ]
    assert fingerprint(pem(maker.certificate)) not in charger.snapshot().root_fingerprints


async def read(seen: Seen, *keys: str) -> dict[str, str]:
    answer = await seen.call("GetConfiguration", {"key": list(keys)} if keys else {})
    return {entry["key"]: entry.get("value", "") for entry in answer["configurationKey"]}
