"""What a charger answers, and how it behaves while it is not yet, or no longer, welcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from simulator.charger import HashAlgorithm, NetworkProfile
from simulator.charger.configuration import ReconnectBackoff
from tests.simulator.authority import Authority, pem
from tests.simulator.central_system import CallFailed, CentralSystem, Payload, Seen
from tests.simulator.conftest import FAMILY, PASSWORD, MakeCharger, Pki
from tests.simulator.errand import TRIGGER, csr, install_root, network_profile, set_variable, signed, variable

NEW_PASSWORD = "staple-battery-horse"


async def test_a_pending_charger_boots_again_until_accepted_and_serves_triggers_meanwhile(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    csms.boot = lambda seen: {"status": "Pending", "interval": 0}
    charger = await make_charger(boot_retry=timedelta(hours=1))
    seen = await csms.session("depot-1")
    await charger.wait_for(lambda snapshot: snapshot.state == "pending")
    await csr(csms, seen)
    assert seen.said("StatusNotification") == []

    csms.boot = lambda seen: {"status": "Accepted", "interval": 300}
    boot = {"requestedMessage": "BootNotification"}
    assert await seen.call("TriggerMessage", boot) == {"status": "Accepted"}
    await csms.wait_for(lambda: seen.said("StatusNotification"))
    assert [sent["reason"] for sent in seen.said("BootNotification")] == ["PowerUp", "Triggered"]
    assert await seen.call("TriggerMessage", boot) == {"status": "Rejected"}


async def test_a_pending_charger_that_is_cut_off_does_not_sit_out_its_boot_interval(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    csms.boot = lambda seen: {"status": "Pending", "interval": 3600}
    charger = await make_charger()
    await charger.wait_for(lambda snapshot: snapshot.state == "pending")
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.state == "pending" and snapshot.sessions == 2)


async def test_a_rejected_charger_asks_again_after_the_interval_and_says_nothing_else(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    csms.boot = lambda seen: {
        "status": "Rejected" if len(seen.said("BootNotification")) < 3 else "Accepted",
        "interval": 0,
    }
    charger = await make_charger(boot_retry=timedelta(milliseconds=5))
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    actions = [action for action, _ in csms.sessions[0].heard]
    assert actions[:3] == ["BootNotification"] * 3


async def test_an_accepted_charger_reports_every_evse_and_beats(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(evses=2)
    seen = await csms.session("depot-1")
    await csms.wait_for(lambda: len(seen.said("StatusNotification")) == 2)
    assert [status["evseId"] for status in seen.said("StatusNotification")] == [1, 2]
    assert await seen.call("TriggerMessage", {"requestedMessage": "Heartbeat"}) == {"status": "Accepted"}
    await csms.wait_for(lambda: seen.said("Heartbeat"))
    one = {"requestedMessage": "StatusNotification", "evse": {"id": 2}}
    assert await seen.call("TriggerMessage", one) == {"status": "Accepted"}
    await csms.wait_for(lambda: len(seen.said("StatusNotification")) == 3)


async def test_a_quiet_charger_greets_with_a_heartbeat_and_boots_when_that_is_refused(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(family=replace(FAMILY, boots_on_every_connection=False))
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.sessions[1].heard[0] == ("Heartbeat", {})
    assert csms.sessions[1].said("BootNotification") == []

    csms.replies["Heartbeat"] = lambda seen, payload: {"error": "SecurityError"}
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 3)
    assert len(csms.sessions[2].said("BootNotification")) == 1


@pytest.mark.parametrize("algorithm", list(HashAlgorithm))
async def test_roots_are_listed_by_their_hashes_and_deleted_by_them(
    algorithm: HashAlgorithm, pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(family=replace(FAMILY, hash_algorithm=algorithm))
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    await install_root(pki, seen)
    listed = await seen.call("GetInstalledCertificateIds", {"certificateType": ["CSMSRootCertificate"]})
    entries = listed["certificateHashDataChain"]
    root = pki.identity_root.certificate
    expected = (
        ocsp.OCSPRequestBuilder().add_certificate(root, root, getattr(hashes, algorithm.value)()).build()
    )
    assert len(entries) == 2
    assert entries[1]["certificateHashData"] == {
        "hashAlgorithm": algorithm.value,
        "issuerNameHash": expected.issuer_name_hash.hex(),
        "issuerKeyHash": expected.issuer_key_hash.hex(),
        "serialNumber": f"{root.serial_number:x}",
    }
    wanted = entries[1]["certificateHashData"] | {
        "issuerNameHash": entries[1]["certificateHashData"]["issuerNameHash"].upper()
    }
    assert await seen.call("DeleteCertificate", {"certificateHashData": wanted}) == {"status": "Accepted"}
    assert await seen.call("DeleteCertificate", {"certificateHashData": wanted}) == {"status": "NotFound"}
    last = {"certificateHashData": entries[0]["certificateHashData"]}
    assert (await seen.call("DeleteCertificate", last))["status"] == "Failed"
    assert await seen.call("GetInstalledCertificateIds", {"certificateType": ["MORootCertificate"]}) == {
        "status": "NotFound"
    }


async def test_only_self_signed_cas_become_roots(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger()
    seen = await csms.session("depot-1")
    for certificate in (pem(pki.identity.certificate), "no certificate"):
        root = {"certificateType": "CSMSRootCertificate", "certificate": certificate}
        assert (await seen.call("InstallCertificate", root))["status"] == "Rejected"


async def test_the_store_fills_up(csms: CentralSystem, make_charger: MakeCharger) -> None:
    await make_charger(certificate_entries=2)
    seen = await csms.session("depot-1")
    statuses = []
    for name in ("a", "b"):
        root = pem(Authority.root(name).certificate)
        answer = await seen.call(
            "InstallCertificate", {"certificateType": "CSMSRootCertificate", "certificate": root}
        )
        statuses.append(answer["status"])
    assert statuses == ["Accepted", "Failed"]


async def test_a_certificate_must_fit_key_root_and_limit(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(maximum_chain_chars=3000)
    seen = await csms.session("depot-1")

    async def refusal(chain: str) -> str:
        answer = await seen.call("CertificateSigned", signed(chain))
        assert answer["status"] == "Rejected"
        return str(answer["statusInfo"]["additionalInfo"])

    assert await refusal(pki.identity.sign(await csr(csms, seen))) == "the chain leads to no installed root"
    await install_root(pki, seen)
    stale = await csr(csms, seen)
    fresh = await csr(csms, seen)
    assert await refusal(pki.identity.sign(stale)) == "the certificate is for another key"
    chain = pki.identity.sign(fresh)
    leaf, above = x509.load_pem_x509_certificates(chain.encode())
    assert await refusal(pem(leaf) + pem(leaf) + pem(above)) == "the chain is out of order or broken"
    assert await refusal(pem(leaf)) == "the chain leads to no installed root"
    assert await refusal(chain * 3) == "longer than MaxCertificateChainSize"
    late = pki.identity.sign(fresh, since=timedelta(days=-60))
    assert await refusal(late) == "a certificate of the chain has expired"
    assert await seen.call("CertificateSigned", signed(chain)) == {"status": "Accepted"}
    assert await refusal(chain) == "no certificate was asked for"


async def test_a_refused_csr_is_not_sent_again(csms: CentralSystem, make_charger: MakeCharger) -> None:
    csms.replies["SignCertificate"] = lambda seen, payload: {"status": "Rejected"}
    charger = await make_charger(certificate_signing_wait_minimum=timedelta(milliseconds=1))
    seen = await csms.session("depot-1")
    await csr(csms, seen)
    await charger.wait_for(lambda snapshot: "certificate-request-refused" in snapshot.counters)
    assert not charger.snapshot().awaits_certificate


async def test_a_profile_is_refused_without_its_prerequisites_or_below_the_present_one(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger()
    seen = await csms.session("depot-1")

    async def refusal(payload: Payload) -> str:
        answer = await seen.call("SetNetworkProfile", payload)
        assert answer["status"] == "Rejected"
        return str(answer["statusInfo"].get("additionalInfo", answer["statusInfo"]["reasonCode"]))

    assert await refusal(network_profile(csms.url, 3)) == "no ChargingStationCertificate is installed"
    assert await refusal(network_profile("ws://127.0.0.1/ocpp", 1)) == "NoSecurityDowngrade"
    assert await refusal(network_profile("ws://127.0.0.1/ocpp", 2)) == "no wss:// address"
    assert await refusal(network_profile(csms.url, 2, slot=9)) == "InvalidConfSlot"
    assert await set_variable(seen, "OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1") == "Rejected"
    assert await seen.call("SetNetworkProfile", network_profile(csms.url, 2)) == {"status": "Accepted"}
    assert await set_variable(seen, "OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1") == "Accepted"


async def test_a_slot_whose_prerequisites_are_gone_gets_no_priority(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    slots = {1: NetworkProfile(csms.url, 2), 2: NetworkProfile(csms.url, 3)}
    await make_charger(network_profiles=slots)
    seen = await csms.session("depot-1")
    assert await set_variable(seen, "OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1") == "Rejected"


async def test_a_charger_on_plain_websocket_refuses_tls_without_a_root(make_charger: MakeCharger) -> None:
    async with CentralSystem().listen(None) as plain:
        url = f"ws://127.0.0.1:{plain.port}/ocpp"
        plain.passwords["old"] = PASSWORD
        charger = await make_charger(
            charger_id="old", network_profiles={1: NetworkProfile(url, 1)}, csms_roots=()
        )
        seen = await plain.session("old", 1)
        answer = await seen.call("SetNetworkProfile", network_profile("wss://127.0.0.1/ocpp", 2))
        assert answer["statusInfo"]["additionalInfo"] == "no CSMSRootCertificate is installed"
        await charger.stop()


async def test_a_new_password_is_used_at_once_and_a_refused_one_never(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger()
    seen = await csms.session("depot-1")
    assert await set_variable(seen, "SecurityCtrlr", "BasicAuthPassword", "short") == "Rejected"
    csms.passwords["depot-1"] = NEW_PASSWORD
    assert await set_variable(seen, "SecurityCtrlr", "BasicAuthPassword", NEW_PASSWORD) == "Accepted"
    again = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.refused == []
    assert NEW_PASSWORD not in repr(again) + repr(charger.configuration) + repr(charger.journal.recent)


async def test_variables_are_read_written_and_reported(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger()
    seen = await csms.session("depot-1")
    assert await set_variable(seen, "SecurityCtrlr", "OrganizationName", "Other Ltd") == "Accepted"
    assert await set_variable(seen, "SecurityCtrlr", "SecurityProfile", "3") == "Rejected"
    assert await set_variable(seen, "SecurityCtrlr", "Colour", "red") == "UnknownVariable"
    assert await set_variable(seen, "Paint", "Colour", "red") == "UnknownComponent"
    asked = [
        variable("SecurityCtrlr", "OrganizationName"),
        variable("SecurityCtrlr", "BasicAuthPassword"),
        variable("OCPPCommCtrlr", "NetworkConfigurationPriority"),
    ]
    answer = await seen.call("GetVariables", {"getVariableData": asked})
    results = answer["getVariableResult"]
    assert [result.get("attributeValue") for result in results] == ["Other Ltd", None, "1"]
    report = {"requestId": 7, "reportBase": "ConfigurationInventory"}
    assert await seen.call("GetBaseReport", report) == {"status": "Accepted"}
    await csms.wait_for(lambda: [part for part in seen.said("NotifyReport") if not part["tbc"]])
    parts = seen.said("NotifyReport")
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    entries = [entry for part in parts for entry in part["reportData"]]
    slots = [entry for entry in entries if entry["variable"]["name"] == "NetworkConfigurationPriority"]
    assert slots[0]["variableCharacteristics"]["valuesList"] == "1,2,3"
    assert PASSWORD not in repr(parts)


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("ClearCache", {}, "NotImplemented"),
        ("Reset", {}, "OccurrenceConstraintViolation"),
        ("Reset", {"type": 1}, "TypeConstraintViolation"),
        ("SetVariables", {"setVariableData": []}, "OccurrenceConstraintViolation"),
    ],
)
async def test_calls_that_cannot_be_served_are_refused_with_the_right_code(
    action: str, payload: Payload, code: str, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger()
    seen = await csms.session("depot-1")
    with pytest.raises(CallFailed, match=code):
        await seen.call(action, payload)
    assert await seen.call("TriggerMessage", TRIGGER) == {"status": "Accepted"}


async def test_a_server_under_another_root_is_not_trusted_and_reported_later(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(csms_roots=(pem(pki.identity_root.certificate),))
    seen = await charger.wait_for(lambda snapshot: bool(snapshot.last_errors))
    assert "server certificate" in seen.last_errors[0]
    assert csms.sessions == []
    assert [event["type"] for event in charger.dump_memory()["security_events"]] == ["InvalidCsmsCertificate"]


async def test_a_dropped_charger_stays_away_until_it_comes_back(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    charger.drop()
    await charger.wait_for(lambda snapshot: snapshot.state == "away")
    charger.come_back()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)


async def test_a_charger_whose_heartbeat_finds_no_answer_connects_again(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(
        answer_timeout=timedelta(milliseconds=200), boot_retry=timedelta(milliseconds=20)
    )
    seen = await csms.session("depot-1")
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    csms.deaf_to = {"Heartbeat"}
    assert await seen.call("TriggerMessage", {"requestedMessage": "Heartbeat"}) == {"status": "Accepted"}
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)


async def test_a_request_made_before_the_connection_is_lost_is_repeated_on_the_next(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    def vanish(seen: Seen, payload: Payload) -> Payload:
        if seen is csms.sessions[0]:
            seen.socket.transport.abort()
        return {"status": "Accepted"}

    csms.replies["SignCertificate"] = vanish
    charger = await make_charger(certificate_signing_wait_minimum=timedelta(milliseconds=20))
    first = await csms.session("depot-1")
    sent = await csr(csms, first)
    await csms.wait_for(lambda: len(csms.sessions) == 2 and csms.sessions[1].said("SignCertificate"))
    assert await csms.csr(csms.sessions[1]) == sent
    assert charger.snapshot().awaits_certificate


def test_the_pause_between_attempts_doubles_up_to_a_bound_with_chance_on_top() -> None:
    backoff = ReconnectBackoff(timedelta(seconds=1), timedelta(seconds=2), repeat_times=2)
    assert [backoff.delay_s(failures, 0.0) for failures in range(5)] == [1, 2, 4, 4, 4]
    assert backoff.delay_s(0, 0.5) == 2
