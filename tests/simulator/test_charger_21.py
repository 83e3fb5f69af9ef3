"""A charger of OCPP 2.1: what it says and takes that one of 2.0.1 does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography import x509

from simulator.charger import (
    CertificateUse,
    Charger,
    ComplainsAboutAnswers,
    Happening,
    OcppVersion,
)
from tests.patience import PATIENCE_S
from tests.simulator.authority import fingerprint, pem
from tests.simulator.central_system import CallFailed, CentralSystem, Payload, Seen
from tests.simulator.conftest import MakeCharger, Pki
from tests.simulator.errand import csr, install_root, network_profile, order_profile_3, set_variable, signed

STREAM: Payload = {
    "id": 1,
    "pending": 0,
    "basetime": "2026-11-22T00:00:00Z",
    "data": [{"t": 0.5, "v": "16"}],
}
KEY = "k" * 60


async def start(make_charger: MakeCharger, csms: CentralSystem, **changes: Any) -> tuple[Charger, Seen]:
    charger = await make_charger(ocpp_version=OcppVersion.V21, **changes)
    seen = await csms.session(charger.configuration.charger_id)
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    return charger, seen


async def test_a_certificate_counts_only_under_the_request_id_it_was_asked_with(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    assert seen.subprotocol == "ocpp2.1"
    await install_root(pki, seen)
    await csr(csms, seen)
    chain = pki.identity.sign(await csr(csms, seen))
    ids = [said["requestId"] for said in seen.said("SignCertificate")]
    assert len(set(ids)) == 2
    for wrong in ({}, {"requestId": ids[0]}):
        answer = await seen.call("CertificateSigned", signed(chain) | wrong)
        assert answer["statusInfo"]["additionalInfo"] == "the request id is not that of the request"
    right = signed(chain) | {"requestId": ids[1]}
    assert await seen.call("CertificateSigned", right) == {"status": "Accepted"}
    await order_profile_3(csms, seen)
    assert (await csms.session("depot-1", 3)).fingerprint == fingerprint(chain)
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.security_profile == 3)


async def test_both_generations_of_iso_15118_are_asked_for_under_a_named_root(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    for kind in ("V2GRootCertificate", "OEMRootCertificate"):
        root = {"certificateType": kind, "certificate": pem(pki.identity_root.certificate)}
        assert await seen.call("InstallCertificate", root) == {"status": "Accepted"}
    for number, (wanted, use) in enumerate(
        (("SignV2GCertificate", "V2GCertificate"), ("SignV2G20Certificate", "V2G20Certificate")), 1
    ):
        assert await seen.call("TriggerMessage", {"requestedMessage": wanted}) == {"status": "Accepted"}
        text = await csms.csr(seen, number)
        asked = seen.said("SignCertificate")[-1]
        assert asked["certificateType"] == use
        assert (
            asked["hashRootCertificate"]["serialNumber"] == f"{pki.identity_root.certificate.serial_number:x}"
        )
        answer = {
            "certificateChain": pki.identity.sign(text),
            "certificateType": use,
            "requestId": asked["requestId"],
        }
        assert await seen.call("CertificateSigned", answer) == {"status": "Accepted"}
        size = x509.load_pem_x509_csr(text.encode()).public_key().key_size  # type: ignore[union-attr]
        assert size == (256, 521)[number - 1]
    listed = await seen.call("GetInstalledCertificateIds", {})
    kinds = [entry["certificateType"] for entry in listed["certificateHashDataChain"]]
    assert kinds.count("V2GCertificateChain") == 2
    assert "OEMRootCertificate" in kinds
    assert charger.snapshot().sessions == 1


async def test_2_1_takes_longer_certificates_and_passwords_than_2_0_1(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    _, newer = await start(make_charger, csms)
    await make_charger()
    older = await csms.session("depot-2")
    root = {"certificateType": "CSMSRootCertificate", "certificate": "x" * 6000}
    assert (await newer.call("InstallCertificate", root))["status"] == "Rejected"
    with pytest.raises(CallFailed, match="PropertyConstraintViolation"):
        await older.call("InstallCertificate", root)
    assert await set_variable(older, "SecurityCtrlr", "BasicAuthPassword", KEY) == "Rejected"
    csms.passwords["depot-1"] = KEY
    assert await set_variable(newer, "SecurityCtrlr", "BasicAuthPassword", KEY) == "Accepted"


async def test_a_password_may_come_with_the_network_profile(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    profile = network_profile(csms.url, 2)
    profile["connectionData"] |= {"basicAuthPassword": KEY}
    assert await seen.call("SetNetworkProfile", profile) == {"status": "Accepted"}
    csms.passwords["depot-1"] = KEY
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.refused == []


async def test_messages_without_an_answer_go_both_ways(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    await charger.initiative.send("NotifyPeriodicEventStream", STREAM)
    await csms.wait_for(lambda: seen.told == [("NotifyPeriodicEventStream", STREAM)])
    await seen.tell("NotifyPeriodicEventStream", STREAM)
    await charger.wait_for(lambda snapshot: snapshot.counters.get(Happening.MESSAGE_HEARD) == 1)
    await seen.dispute("no-such-id")
    await charger.wait_for(lambda snapshot: snapshot.counters.get(Happening.ANSWER_DISPUTED) == 1)


async def test_an_answer_may_be_disputed(csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger, seen = await start(make_charger, csms, faults=(ComplainsAboutAnswers("SignCertificate", 1),))
    await csr(csms, seen)
    await csms.wait_for(lambda: len(seen.disputes) == 1)
    seen_after = await charger.wait_for(lambda snapshot: bool(snapshot.last_errors))
    assert "SignCertificate: FormatViolation" in seen_after.last_errors[0]


async def test_an_older_charger_takes_the_newer_message_types_for_garbage(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(ocpp_version=OcppVersion.V16)
    seen = await csms.session("depot-1")
    await seen.tell("NotifyPeriodicEventStream", STREAM)
    await charger.wait_for(lambda snapshot: snapshot.counters.get(Happening.MALFORMED_FRAME) == 1)


async def test_the_status_of_a_chain_is_asked_for(csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger, _ = await start(make_charger, csms)
    answer: Payload = {"certificateStatus": []}
    csms.replies["GetCertificateChainStatus"] = lambda seen, payload: answer
    names = {"hashAlgorithm": "SHA256", "issuerNameHash": "0a", "issuerKeyHash": "0b", "serialNumber": "c"}
    wanted = {"certificateHashData": names, "source": "OCSP", "urls": ["http://ocsp.example/"]}
    asked = {"certificateStatusRequests": [wanted]}
    assert await charger.initiative.call("GetCertificateChainStatus", asked) == answer


async def test_a_combined_request_leaves_out_its_use_and_becomes_the_stations_certificate(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger()
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    trigger = {"requestedMessage": "SignCombinedCertificate"}
    assert await seen.call("TriggerMessage", trigger) == {"status": "Accepted"}
    chain = pki.identity.sign(await csms.csr(seen))
    assert seen.said("SignCertificate")[0].keys() == {"csr"}
    assert await seen.call("CertificateSigned", {"certificateChain": chain}) == {"status": "Accepted"}
    assert charger.snapshot().renewed_fingerprint == fingerprint(chain)


async def test_a_transaction_is_told_as_events(csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger, seen = await start(make_charger, csms)
    transaction = await charger.initiative.transact()
    events = seen.said("TransactionEvent")
    assert [event["eventType"] for event in events] == ["Started", "Updated", "Ended"]
    assert {event["transactionInfo"]["transactionId"] for event in events} == {transaction}


async def test_a_charger_renews_by_itself_one_request_for_each_use(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    charger.initiative.request_certificate()
    charger.initiative.request_certificate(CertificateUse.V2G)
    async with asyncio.timeout(PATIENCE_S):
        await csms.csr(seen, 2)
    assert {said["certificateType"] for said in seen.said("SignCertificate")} == {
        "ChargingStationCertificate",
        "V2GCertificate",
    }
    assert set(charger.dump_memory()["pending"]) == set(CertificateUse) - {CertificateUse.V2G20}
