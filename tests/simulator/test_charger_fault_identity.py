"""Faults about keys, signing requests and certificate lists do what their names say."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from simulator.charger import (
    ChargerMemory,
    ClockWrongUntilBoot,
    CsrDress,
    DiscardsRenewedCertificate,
    DressesCsr,
    FirmwareStopsAt,
    FloodsSecurityEvents,
    HashStyle,
    IgnoresTriggers,
    ListsCertificatesAs,
    ListsEveryAlgorithm,
    NeedsCrlf,
    NeedsRootInChain,
    NoBootOnReconnect,
    OcppVersion,
    TwoKeysAtOnce,
)
from tests.simulator.authority import Authority, pem
from tests.simulator.central_system import CentralSystem, Payload, Seen
from tests.simulator.conftest import MakeCharger, Pki
from tests.simulator.errand import TRIGGER, csr, install_root, obtain_certificate, signed, variable, walk


@pytest.mark.parametrize("dress", list(CsrDress))
async def test_a_dressed_request_is_still_the_same_request(
    dress: CsrDress, pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(DressesCsr(dress),))
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    text = await csr(csms, seen)
    tidy = charger.dump_memory()["pending"]["ChargingStationCertificate"]["csr_pem"]
    assert text != tidy
    body = "".join(line for line in tidy.splitlines() if "-----" not in line)
    stripped = text.replace("\\n", "").replace("\r", "").replace("\n", "")
    assert body in stripped
    marks = {
        CsrDress.CRLF: "\r\n",
        CsrDress.LITERAL_NEWLINE: "-----\\n",
        CsrDress.NEW_HEADER: "BEGIN NEW CERTIFICATE REQUEST",
        CsrDress.TEXT_AROUND: "request of",
    }
    assert marks.get(dress, "") in text
    assert ("\n" in text) is (
        dress not in (CsrDress.BARE_BASE64, CsrDress.SINGLE_LINE, CsrDress.LITERAL_NEWLINE)
    )
    chain = pki.identity.sign(tidy)
    assert await seen.call("CertificateSigned", signed(chain)) == {"status": "Accepted"}


async def test_two_keys_may_be_sent_one_after_the_other_and_only_the_second_counts(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(TwoKeysAtOnce(),))
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    first = await csr(csms, seen)
    second = await csms.csr(seen, 2)
    assert first != second
    stale = await seen.call("CertificateSigned", signed(pki.identity.sign(first)))
    assert stale["statusInfo"]["additionalInfo"] == "the certificate is for another key"
    assert await seen.call("CertificateSigned", signed(pki.identity.sign(second))) == {"status": "Accepted"}


async def test_a_renewed_certificate_may_be_discarded_with_a_word_about_it(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger()
    first = (await walk(pki, csms, charger)).fingerprint
    dumped = charger.dump_memory()
    await charger.stop()
    other = await make_charger(
        charger_id="depot-1",
        serial_number="SN0001",
        faults=(DiscardsRenewedCertificate(times=1),),
        memory=lambda configuration: ChargerMemory.load(dumped, configuration),
    )
    await other.wait_for(lambda snapshot: snapshot.is_accepted)
    new = await obtain_certificate(pki, csms, await csms.session("depot-1", 3))
    back = await other.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert back.session_fingerprint == first
    assert back.installed_fingerprints == (first,)
    live = await csms.session("depot-1", 3)
    await csms.wait_for(lambda: live.said("SecurityEventNotification"))
    event = live.said("SecurityEventNotification")[-1]
    assert (event["type"], event["techInfo"]) == ("DiscardedRenewedClientCertificate", new)

    new = await obtain_certificate(pki, csms, live)
    back = await other.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 3)
    assert back.session_fingerprint == new


async def test_a_charger_may_insist_on_crlf_and_on_the_root(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(NeedsCrlf(), NeedsRootInChain()))
    seen = await csms.session("depot-1")
    root = pem(pki.identity_root.certificate)
    asked = {"certificateType": "CSMSRootCertificate", "certificate": root}
    assert (await seen.call("InstallCertificate", asked))["status"] == "Rejected"
    asked["certificate"] = root.replace("\n", "\r\n")
    assert (await seen.call("InstallCertificate", asked))["status"] == "Accepted"
    chain = pki.identity.sign(await csr(csms, seen))
    reasons = []
    for text in (chain, chain.replace("\n", "\r\n"), "nothing"):
        answer = await seen.call("CertificateSigned", signed(text))
        reasons.append(answer["statusInfo"]["additionalInfo"])
    assert reasons == ["its lines do not end in CRLF", "its root is missing", "not a PEM certificate chain"]
    whole = (chain + root).replace("\n", "\r\n")
    assert await seen.call("CertificateSigned", signed(whole)) == {"status": "Accepted"}


async def listing(seen: Seen) -> list[Payload]:
    answer = await seen.call("GetInstalledCertificateIds", {"certificateType": ["CSMSRootCertificate"]})
    return [entry["certificateHashData"] for entry in answer["certificateHashDataChain"]]


@pytest.mark.parametrize("style", [HashStyle.UPPER_CASE, HashStyle.SPKI, HashStyle.URL_SAFE])
async def test_a_charger_with_a_style_of_its_own_deletes_only_by_that(
    style: HashStyle, pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(ListsCertificatesAs(style),))
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    root = pki.identity_root.certificate
    name = sha256(root.subject.public_bytes()).digest()
    spki = root.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    listed = (await listing(seen))[1]
    if style is HashStyle.UPPER_CASE:
        assert listed["issuerNameHash"] == name.hex().upper()
        assert listed["serialNumber"] == f"{root.serial_number:X}"
    elif style is HashStyle.SPKI:
        assert listed["issuerNameHash"] == name.hex()
        assert listed["issuerKeyHash"] == sha256(spki).hexdigest()
    else:
        assert base64.urlsafe_b64decode(listed["issuerNameHash"]) == name
    changed = listed | {"issuerKeyHash": listed["issuerKeyHash"].swapcase()}
    assert await seen.call("DeleteCertificate", {"certificateHashData": changed}) == {"status": "NotFound"}
    assert await seen.call("DeleteCertificate", {"certificateHashData": listed}) == {"status": "Accepted"}


async def test_each_certificate_may_be_listed_under_every_algorithm(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(ListsEveryAlgorithm(),))
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    listed = await listing(seen)
    assert [each["hashAlgorithm"] for each in listed] == [
        name for name in ("SHA256", "SHA384", "SHA512") for _ in range(2)
    ]
    assert await seen.call("DeleteCertificate", {"certificateHashData": listed[5]}) == {"status": "Accepted"}
    assert len(await listing(seen)) == 3


async def test_a_charger_does_not_delete_its_own_certificate(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger()
    seen = await walk(pki, csms, charger)
    chain = charger.dump_memory()["credential"]["chain_pem"]
    leaf, issuer = x509.load_pem_x509_certificates(chain.encode())
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256()).build()
    own = {
        "hashAlgorithm": "SHA256",
        "issuerNameHash": request.issuer_name_hash.hex(),
        "issuerKeyHash": request.issuer_key_hash.hex(),
        "serialNumber": f"{leaf.serial_number:x}",
    }
    answer = await seen.call("DeleteCertificate", {"certificateHashData": own})
    assert answer["status"] == "Failed"


async def test_with_the_additional_check_only_a_root_signed_by_the_present_one_is_taken(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(additional_root_check=True)
    seen = await csms.session("depot-1")

    async def install(authority: Authority) -> str:
        root = {"certificateType": "CSMSRootCertificate", "certificate": pem(authority.certificate)}
        return str((await seen.call("InstallCertificate", root))["status"])

    assert await install(pki.identity_root) == "Rejected"
    assert await install(pki.server_root) == "Accepted"
    second = pki.server_root.below("second")
    assert await install(second) == "Accepted"
    assert await install(pki.server_root.below("beside")) == "Rejected"
    assert len(await listing(seen)) == 2
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    read = {"getVariableData": [variable("SecurityCtrlr", "AdditionalRootCertificateCheck")]}
    answer = await (await csms.session("depot-1")).call("GetVariables", read)
    assert answer["getVariableResult"][0]["attributeValue"] == "true"


async def test_triggers_may_be_accepted_and_ignored(csms: CentralSystem, make_charger: MakeCharger) -> None:
    await make_charger(faults=(IgnoresTriggers(times=2),))
    seen = await csms.session("depot-1")
    assert await seen.call("TriggerMessage", {"requestedMessage": "Heartbeat"}) == {"status": "Accepted"}
    assert await seen.call("TriggerMessage", TRIGGER) == {"status": "Accepted"}
    await csr(csms, seen)
    assert len(seen.said("SignCertificate")) == 1
    assert seen.said("Heartbeat") == []


async def test_security_events_may_come_in_floods(csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger = await make_charger(
        ocpp_version=OcppVersion.V16, faults=(FloodsSecurityEvents("InvalidCsmsCertificate", 30),)
    )
    seen = await csms.session("depot-1")
    await csms.wait_for(lambda: len(seen.said("SecurityEventNotification")) == 30)
    events = seen.said("SecurityEventNotification")
    assert {event["type"] for event in events} == {"InvalidCentralSystemCertificate"}
    assert len({event["timestamp"] for event in events}) == 30
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)


async def test_an_event_on_demand_is_told_again_after_a_lost_connection(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)

    def vanish(seen: Seen, payload: Payload) -> Payload:
        if seen is csms.sessions[0]:
            seen.socket.transport.abort()
        return {}

    csms.replies["SecurityEventNotification"] = vanish
    await charger.initiative.tell_security_event("MemoryExhaustion")
    assert [len(seen.said("SecurityEventNotification")) for seen in csms.sessions] == [1, 1]


async def test_a_clock_without_battery_is_wrong_until_the_boot_is_answered(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(ClockWrongUntilBoot(timedelta(days=-20_000)),))
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    assert charger.journal.recent[0].at.year < 1990
    seen = await csms.session("depot-1")
    await csms.wait_for(lambda: seen.said("StatusNotification"))
    told = datetime.fromisoformat(seen.said("StatusNotification")[0]["timestamp"])
    assert abs(datetime.now(UTC) - told) < timedelta(minutes=1)


async def test_a_charger_may_greet_instead_of_boot(csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger = await make_charger(faults=(NoBootOnReconnect(),))
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.sessions[1].heard[0] == ("Heartbeat", {})


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        ("DownloadFailed", ["Downloading", "DownloadFailed"]),
        ("InvalidSignature", ["Downloading", "Downloaded", "InvalidSignature"]),
        (
            "InstallationFailed",
            ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallationFailed"],
        ),
    ],
)
async def test_an_update_may_stop_at_any_step(
    stop: str, told: list[str], csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(FirmwareStopsAt(stop),))
    seen = await csms.session("depot-1")
    maker = Authority.root("maker")
    root = {"certificateType": "ManufacturerRootCertificate", "certificate": pem(maker.certificate)}
    assert await seen.call("InstallCertificate", root) == {"status": "Accepted"}
    firmware = {
        "location": "https://firmware.example/1",
        "retrieveDateTime": "2026-11-22T00:00:00Z",
        "signingCertificate": pem(maker.below("signer").certificate),
        "signature": "AA==",
    }
    update = {"requestId": 5, "firmware": firmware}
    assert await seen.call("UpdateFirmware", update) == {"status": "Accepted"}
    await csms.wait_for(lambda: len(seen.said("FirmwareStatusNotification")) == len(told))
    assert [each["status"] for each in seen.said("FirmwareStatusNotification")] == told
    assert {each["requestId"] for each in seen.said("FirmwareStatusNotification")} == {5}
