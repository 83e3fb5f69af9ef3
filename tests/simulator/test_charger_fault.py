"""Each scripted fault does what its name says, and nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from simulator.charger import (
    CannotListCertificates,
    ClockSkew,
    CsrWithSubjectOf,
    DropsSocketBeforeAnswering,
    DuplicatesAnswers,
    Happening,
    LateAnswers,
    LeafOnlyClient,
    NeverReconnectAfterCertificate,
    NewKeyOnRetry,
    RejectsCertificate,
    RejectsTrigger,
    SameCsrTwice,
    SendsGarbage,
    SilentOn,
    StoreFull,
    WrongBootSerial,
)
from tests.simulator.authority import fingerprint, pem
from tests.simulator.central_system import CallFailed, CentralSystem
from tests.simulator.conftest import MakeCharger, Pki
from tests.simulator.errand import (
    TRIGGER,
    csr,
    install_root,
    obtain_certificate,
    order_profile_3,
    signed,
    variable,
    walk,
)

READ = {"getVariableData": [variable("SecurityCtrlr", "SecurityProfile")]}


async def test_never_reconnect_accepts_everything_and_stays_where_it_is(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(NeverReconnectAfterCertificate(),))
    first = await csms.session("depot-1", 2)
    mark = await obtain_certificate(pki, csms, first)
    await order_profile_3(csms, first)
    assert "getVariableResult" in await first.call("GetVariables", READ)
    assert charger.snapshot().renewed_fingerprint == mark

    await first.socket.close()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert [seen.profile for seen in csms.sessions] == [2, 2]


async def test_a_csr_may_carry_another_units_name(csms: CentralSystem, make_charger: MakeCharger) -> None:
    await make_charger(faults=(CsrWithSubjectOf("SN9999"),))
    request = x509.load_pem_x509_csr((await csr(csms, await csms.session("depot-1"))).encode())
    assert request.subject.rfc4514_string() == "CN=SN9999,O=Depot Ltd"
    assert request.is_signature_valid


async def test_a_rejected_certificate_comes_with_a_security_event(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(RejectsCertificate(times=1),))
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    answer = await seen.call("CertificateSigned", signed(pki.identity.sign(await csr(csms, seen))))
    assert answer["status"] == "Rejected"
    await csms.wait_for(
        lambda: (
            "InvalidChargingStationCertificate"
            in [event["type"] for event in seen.said("SecurityEventNotification")]
        )
    )
    mark = await obtain_certificate(pki, csms, seen)
    assert charger.snapshot().renewed_fingerprint == mark


async def test_silence_leaves_a_call_without_answer_and_without_effect(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(SilentOn("TriggerMessage", times=1),))
    seen = await csms.session("depot-1")
    unheard = asyncio.create_task(seen.call("TriggerMessage", TRIGGER))
    await charger.wait_for(lambda snapshot: snapshot.counters.get(Happening.FAULT_STRUCK) == 1)
    assert "getVariableResult" in await seen.call("GetVariables", READ)
    assert not unheard.done()
    assert not charger.snapshot().awaits_certificate
    unheard.cancel()
    await csr(csms, seen)


async def test_silence_on_its_own_call_means_that_it_is_not_made(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(SilentOn("SignCertificate"),))
    seen = await csms.session("depot-1")
    assert await seen.call("TriggerMessage", TRIGGER) == {"status": "Accepted"}
    await charger.wait_for(lambda snapshot: snapshot.counters.get(Happening.FAULT_STRUCK) == 1)
    assert "getVariableResult" in await seen.call("GetVariables", READ)
    assert seen.said("SignCertificate") == []


async def test_a_lost_answer_hides_a_certificate_that_is_used_all_the_same(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(DropsSocketBeforeAnswering("InstallCertificate"),))
    seen = await csms.session("depot-1")
    with pytest.raises(ConnectionResetError):
        await install_root(pki, seen)
    again = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert fingerprint(pem(pki.identity_root.certificate)) in again.root_fingerprints

    lossy = await make_charger(faults=(DropsSocketBeforeAnswering("CertificateSigned", times=2),))
    seen = await csms.session("depot-2")
    await install_root(pki, seen)
    chain = pki.identity.sign(await csr(csms, seen))
    with pytest.raises(ConnectionResetError):
        await seen.call("CertificateSigned", signed(chain))
    back = await lossy.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert back.renewed_fingerprint == fingerprint(chain)
    await order_profile_3(csms, await csms.session("depot-2"))
    secured = await csms.session("depot-2", 3)
    assert secured.fingerprint == fingerprint(chain)
    await lossy.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.security_profile == 3)

    chain = pki.identity.sign(await csr(csms, secured))
    with pytest.raises(ConnectionResetError):
        await secured.call("CertificateSigned", signed(chain))
    back = await lossy.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 4)
    assert back.session_fingerprint == fingerprint(chain)


async def test_answers_come_twice(csms: CentralSystem, make_charger: MakeCharger) -> None:
    await make_charger(faults=(DuplicatesAnswers(),))
    seen = await csms.session("depot-1")
    await seen.call("GetVariables", READ)
    await csms.wait_for(lambda: [len(answers) for answers in seen.answers.values()] == [2])


async def test_a_late_answer_comes_and_what_follows_from_it_after_it(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(LateAnswers("TriggerMessage", timedelta(milliseconds=5)),))
    seen = await csms.session("depot-1")
    await csr(csms, seen)
    assert charger.snapshot().counters[Happening.FAULT_STRUCK] == 1


async def test_a_late_answer_holds_up_no_other_and_is_lost_with_its_connection(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(LateAnswers("GetVariables", timedelta(hours=1)),))
    seen = await csms.session("depot-1")
    late = asyncio.create_task(seen.call("GetVariables", READ))
    await charger.wait_for(lambda snapshot: snapshot.counters.get(Happening.FAULT_STRUCK) == 1)
    await csr(csms, seen)
    assert not late.done()
    charger.cut()
    with pytest.raises(ConnectionResetError):
        await late
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)


async def test_a_trigger_is_rejected_as_often_as_scripted(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(RejectsTrigger(times=1),))
    seen = await csms.session("depot-1")
    assert await seen.call("TriggerMessage", TRIGGER) == {"status": "Rejected"}
    await csr(csms, seen)


async def test_certificates_cannot_be_listed(csms: CentralSystem, make_charger: MakeCharger) -> None:
    await make_charger(faults=(CannotListCertificates(),))
    seen = await csms.session("depot-1")
    with pytest.raises(CallFailed, match="NotSupported"):
        await seen.call("GetInstalledCertificateIds", {})


async def test_a_full_store_takes_no_root(pki: Pki, csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger = await make_charger(faults=(StoreFull(),))
    seen = await csms.session("depot-1")
    root = {
        "certificateType": "CSMSRootCertificate",
        "certificate": pem(pki.identity_root.certificate),
    }
    assert (await seen.call("InstallCertificate", root))["status"] == "Failed"
    assert len(charger.snapshot().root_fingerprints) == 1


async def test_the_same_csr_comes_twice_under_two_message_ids(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(SameCsrTwice(),))
    seen = await csms.session("depot-1")
    first = await csr(csms, seen)
    assert await csms.csr(seen, 2) == first


@pytest.mark.parametrize("renews", [False, True])
async def test_an_unanswered_request_is_repeated_with_the_same_key_or_a_new_one(
    renews: bool, pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(
        faults=(NewKeyOnRetry(),) if renews else (),
        certificate_signing_wait_minimum=timedelta(milliseconds=5),
        certificate_signing_repeat_times=2,
    )
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    first = await csr(csms, seen)
    last = await csms.csr(seen, 3)
    assert (first == last) is not renews
    await charger.wait_for(lambda snapshot: Happening.CERTIFICATE_REQUEST_GIVEN_UP in snapshot.counters)
    assert len(seen.said("SignCertificate")) == 3
    if renews:
        stale = await seen.call("CertificateSigned", signed(pki.identity.sign(first)))
        assert stale["statusInfo"]["additionalInfo"] == "the certificate is for another key"
    # Given up is not forgotten: the answer may still come.
    assert await seen.call("CertificateSigned", signed(pki.identity.sign(last))) == {"status": "Accepted"}


async def test_the_boot_names_another_unit(csms: CentralSystem, make_charger: MakeCharger) -> None:
    await make_charger(faults=(WrongBootSerial("SN9999"),))
    seen = await csms.session("depot-1")
    assert seen.said("BootNotification")[0]["chargingStation"]["serialNumber"] == "SN9999"


async def test_only_the_leaf_is_presented(pki: Pki, csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger = await make_charger(faults=(LeafOnlyClient(),))
    assert (await walk(pki, csms, charger)).presented == 1


async def test_a_charger_living_an_hour_and_more_ago_takes_no_certificate_of_today(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(ClockSkew(timedelta(minutes=-50)),))
    seen = await csms.session("depot-1")
    await install_root(pki, seen)
    chain = pki.identity.sign(await csr(csms, seen), since=timedelta(minutes=-10))
    answer = await seen.call("CertificateSigned", signed(chain))
    assert answer["statusInfo"]["additionalInfo"] == "a certificate of the chain is not valid yet"
    status = datetime.fromisoformat(seen.said("StatusNotification")[0]["timestamp"])
    assert timedelta(minutes=49) < datetime.now(UTC) - status < timedelta(minutes=51)


@pytest.mark.parametrize("delta", [timedelta(days=-365), timedelta(days=365)])
async def test_a_charger_far_from_the_present_trusts_no_server(
    delta: timedelta, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(faults=(ClockSkew(delta),))
    seen = await charger.wait_for(lambda snapshot: bool(snapshot.last_errors))
    assert "out of date on this charger's clock" in seen.last_errors[0]
    assert csms.sessions == []


async def test_garbage_is_sent_once_and_as_it_is(csms: CentralSystem, make_charger: MakeCharger) -> None:
    frames = ("[2,", "[9]", b"\x00\x01")
    charger = await make_charger(faults=(SendsGarbage(frames),))
    await csms.wait_for(lambda: frames[-1] in [raw for seen in csms.sessions for raw in seen.raw])
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert [raw for seen in csms.sessions for raw in seen.raw if raw in frames] == list(frames)
