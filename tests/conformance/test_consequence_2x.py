"""What follows from the requirements of OCPP 2.0.1 and 2.1 beyond their cases, against `run.py up`.

Source: OCPP 2.0.1 part 2 A02-A04, M01, M06; OCPP 2.1 part 2 A02.FR.24-27, M07, part 4.
"""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.conformance.control_plane import ControlPlane
from tests.conformance.decision_service import deciding
from tests.conformance.operator_call import IN_21, IN_BOTH_VERSIONS, new_root
from tests.conformance.raw_charger import Call, CallError, Charger, Payload, Session, certificates
from tests.fakes.revocation import responding
from tests.patience import measured

pytestmark = pytest.mark.xdist_group("core-201")

CAR_WAITS_S = 4.6
"""What is left of ISO 15118-2's 5 s when the way to the charger and back is taken off."""
HASH = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "a" * 64,
    "issuerKeyHash": "b" * 64,
    "serialNumber": "0A",
}

# ---------------------------------------------------------------- requests for a certificate


def jobs_of(charger: Charger) -> str:
    return f"/api/v1/jobs?charger_id={charger.charger_id}"


async def asked_for_a_csr(charger: Charger, session: Session) -> None:
    """The charger has what it needs and was triggered."""
    await charger.boot(session)
    await charger.obey(session, until="TriggerMessage")


async def installed(charger: Charger, session: Session, is_taken: Any) -> list[Call]:
    """Refuse every CertificateSigned until one is taken; all of them."""
    sent = []
    while True:
        call = await session.expect("CertificateSigned")
        sent.append(call)
        if is_taken(call.payload):
            await session.answer(call, charger._as_told(call))
            return sent
        await session.answer(call, {"status": "Rejected"})


@IN_BOTH_VERSIONS
async def test_a_newer_key_supersedes_an_older_one_that_is_still_being_signed(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await asked_for_a_csr(charger, session)
        first, second = charger.signing(charger.new_csr()), charger.signing(charger.new_csr())
        answers = await asyncio.gather(
            session.call("SignCertificate", first), session.call("SignCertificate", second)
        )
        assert [answer["status"] for answer in answers] == ["Accepted", "Accepted"]
        assert charger.pending_key is not None
        newest = charger.pending_key.public_key()
        await installed(
            charger,
            session,
            lambda payload: certificates(payload["certificateChain"])[0].public_key() == newest,
        )
        await charger.obey(session, until="Reset")
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        await system.until_job(job_id, lambda job: job["state"] == "succeeded")


@IN_BOTH_VERSIONS
async def test_a_csr_sent_again_is_accepted_and_signed_once(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await asked_for_a_csr(charger, session)
        csr = charger.new_csr()
        for _ in range(3):  # CertSigningWaitMinimum is over, again and again (A02.FR.17)
            assert await session.call("SignCertificate", charger.signing(csr)) == {"status": "Accepted"}
        await installed(charger, session, lambda payload: payload.get("requestId") == charger.request_id)
        assert charger.key is not None
        assert certificates(charger.chain_pem)[0].public_key() == charger.key.public_key()
        assert len(await system.items(f"/api/v1/certificates?charger_id={charger.charger_id}")) == 1


def issuing_root(system: ControlPlane, charger: Charger) -> x509.Certificate:
    """The anchor above the charger's own chain."""
    issuer = certificates(charger.chain_pem)[-1].issuer
    roots = [x509.load_pem_x509_certificate(pem.encode()) for pem in system.anchors]
    [root] = [root for root in roots if root.subject == issuer]
    return root


@IN_BOTH_VERSIONS
async def test_a_certificate_of_a_kind_nobody_issues_here_is_rejected_and_never_signed_as_another(
    system: ControlPlane, tmp_path: Path
) -> None:
    """A02.FR.12: Rejected, for good; the charger's own identity is asked for and signed apart."""
    charger = await Charger.registered(system, tmp_path)
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await asked_for_a_csr(charger, session)
        csr = charger.new_csr()
        told = await session.call("SignCertificate", charger.signing(csr, "V2GCertificate"))
        assert (told["status"], told["statusInfo"]["additionalInfo"]) == ("Rejected", "no-such-purpose")
        assert await session.call("SignCertificate", charger.signing(csr)) == {"status": "Accepted"}
        signed = await session.expect("CertificateSigned")
        assert signed.payload["certificateType"] == "ChargingStationCertificate"
    assert [job["job_id"] for job in await system.until_items(jobs_of(charger), bool)] == [job_id]


@IN_21
async def test_a_root_our_ca_leads_to_may_be_named_in_any_algorithm(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.enrolled(system, tmp_path)
    charger.algorithm = "SHA512"
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        root = charger.hash_data(issuing_root(system, charger))
        request = {**charger.signing(charger.new_csr()), "hashRootCertificate": root}
        assert await session.call("SignCertificate", request) == {"status": "Accepted"}
        await charger.obey(session, until="CertificateSigned")


@IN_21
async def test_another_root_is_refused_to_the_operator_with_its_reason(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await asked_for_a_csr(charger, session)
        foreign = charger.hash_data(x509.load_pem_x509_certificate(new_root("Foreign root").encode()))
        request = {**charger.signing(charger.new_csr()), "hashRootCertificate": foreign}
        assert await session.call("SignCertificate", request) == {"status": "Accepted"}
        job = await system.until_job(job_id, lambda job: job["state"] == "failed")
        assert job["reason"]["code"] == "csr-root-not-ours"


# ---------------------------------------------------------------- what a charger is known for


@IN_BOTH_VERSIONS
async def test_a_charger_that_wants_root_and_crlf_gets_its_chain_so(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    wanted = {"capabilities": {"include_root_in_chain": True, "needs_crlf": True}, "reason": "TC"}
    await system.put(f"/api/v1/chargers/{charger.charger_id}/capabilities", wanted)
    await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        told = await charger.obey(session, until="CertificateSigned")
    chain = told["CertificateSigned"].payload["certificateChain"]
    assert chain.count("\n") == chain.count("\r\n")
    last = certificates(chain)[-1]
    assert last.subject == last.issuer
    assert last == issuing_root(system, charger)


@IN_BOTH_VERSIONS
async def test_a_chain_the_charger_cannot_take_is_kept_back_and_the_job_says_why(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    limit = {"capabilities": {"max_chain_chars": 500}, "reason": "TC"}
    await system.put(f"/api/v1/chargers/{charger.charger_id}/capabilities", limit)
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await asked_for_a_csr(charger, session)
        request = charger.signing(charger.new_csr())
        assert await session.call("SignCertificate", request) == {"status": "Accepted"}
        job = await system.until_job(job_id, lambda job: job["reason"])
        assert "this charger takes 500" in job["reason"]["message"]
        assert session.waiting_calls == 0


# ---------------------------------------------------------------- what a car waits for

CAR_QUESTIONS: dict[str, Payload] = {
    "Get15118EVCertificate": {
        "iso15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef",
        "action": "Install",
        "exiRequest": base64.b64encode(b"\x80\x98").decode(),
    },
    "GetCertificateStatus": {"ocspRequestData": {**HASH, "responderURL": "http://ocsp.example"}},
}
FAILED: dict[str, Payload] = {
    "Get15118EVCertificate": {"status": "Failed", "exiResponse": ""},
    "GetCertificateStatus": {"status": "Failed"},
}


@IN_BOTH_VERSIONS
@pytest.mark.parametrize("action", CAR_QUESTIONS)
async def test_what_nobody_decides_is_failed_at_once(
    system: ControlPlane, tmp_path: Path, action: str
) -> None:
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        with measured() as watch:
            assert await session.call(action, CAR_QUESTIONS[action]) == FAILED[action]
            assert watch.fair_s < CAR_WAITS_S


@IN_BOTH_VERSIONS
async def test_a_broker_that_takes_too_long_is_failed_while_the_car_still_waits(
    system: ControlPlane, tmp_path: Path
) -> None:
    action = "Get15118EVCertificate"
    charger = await Charger.registered(system, tmp_path)
    async with (
        deciding(system, lambda *_: None) as asked,
        charger.connected(authorization=charger.basic()) as session,
    ):
        await charger.boot(session)
        with measured() as watch:
            assert await session.call(action, CAR_QUESTIONS[action]) == FAILED[action]
            assert watch.fair_s < CAR_WAITS_S
        assert len(asked) == 1


@IN_BOTH_VERSIONS
async def test_a_responder_that_says_nothing_is_failed_while_the_car_still_waits(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    async with responding() as responder, charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        data = {**responder.issuer.hash_data(1), "responderURL": f"{responder.url}/silent"}
        with measured() as watch:
            answer = await session.call("GetCertificateStatus", {"ocspRequestData": data})
            assert answer == {"status": "Failed"}
            assert watch.fair_s < CAR_WAITS_S
        assert responder.asked == ["/silent"]


@IN_BOTH_VERSIONS
async def test_a_responder_inside_our_own_network_is_not_asked(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    async with responding() as responder, charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        for address in (f"http://localhost:{responder.port}", f"http://[::1]:{responder.port}"):
            data = {**responder.issuer.hash_data(1), "responderURL": f"{address}/ocsp"}
            answer = await session.call("GetCertificateStatus", {"ocspRequestData": data})
            assert answer == {"status": "Failed"}
        assert responder.asked == []


@IN_21
async def test_a_chain_is_judged_by_responder_and_list(system: ControlPlane, tmp_path: Path) -> None:
    """M07.FR.01-08: every entry is answered, by the first of its addresses that gives something."""
    charger = await Charger.registered(system, tmp_path)
    async with responding() as responder, charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        issuer = responder.issuer
        issuer.revoked.add(2)
        issuer.unknown.add(3)
        asked = [
            (1, "OCSP", ["broken", "ocsp"], "Good"),
            (3, "OCSP", ["ocsp"], "Unknown"),
            (2, "CRL", ["crl"], "Revoked"),
            (4, "CRL", ["moved", "ocsp"], "Failed"),
        ]
        entries = [
            {
                "certificateHashData": issuer.hash_data(serial),
                "source": source,
                "urls": [f"{responder.url}/{path}" for path in paths],
            }
            for serial, source, paths, _ in asked
        ]
        told = await session.call("GetCertificateChainStatus", {"certificateStatusRequests": entries})
        judged = told["certificateStatus"]
        assert [(each["certificateHashData"], each["source"]) for each in judged] == [
            (entry["certificateHashData"], entry["source"]) for entry in entries
        ]
        assert [each["status"] for each in judged] == [status for *_, status in asked]
        until = f"{issuer.now + issuer.valid_for:%Y-%m-%dT%H:%M:%SZ}"
        assert [each["nextUpdate"] for each in judged[:3]] == [until] * 3
        assert judged[3]["nextUpdate"] < until


@IN_21
async def test_a_chain_nobody_can_judge_is_failed_certificate_by_certificate(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    entries = [
        {
            "certificateHashData": {**HASH, "serialNumber": serial},
            "source": source,
            "urls": ["http://x.example"],
        }
        for serial, source in (("01", "OCSP"), ("02", "CRL"))
    ]
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        told = await session.call("GetCertificateChainStatus", {"certificateStatusRequests": entries})
    judged = told["certificateStatus"]
    assert [
        (each["certificateHashData"]["serialNumber"], each["source"], each["status"]) for each in judged
    ] == [
        ("01", "OCSP", "Failed"),
        ("02", "CRL", "Failed"),
    ]
    assert all(each["nextUpdate"] for each in judged)


# ---------------------------------------------------------------- frames and events


@IN_21
async def test_a_message_that_wants_no_answer_gets_none(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    stream = {"data": [{"t": 0, "v": "1"}], "id": 1, "pending": 0, "basetime": "2026-01-01T00:00:00Z"}
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        for frame in (
            [6, "s1", "NotifyPeriodicEventStream", stream],
            [6, "s2", "NotifyPeriodicEventStream", {}],
            [6, "s3", "NoSuchAction", {}],
            [6],
        ):
            await session.socket.send(json.dumps(frame))
        # An answer to one of them would be unexpected, and end the reader of the session.
        assert "currentTime" in await session.call("Heartbeat", {})


@IN_21
async def test_an_answer_the_charger_cannot_use_is_on_record(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await session.socket.send(json.dumps([5, "raw-1", "PropertyConstraintViolation", "interval", {}]))
        assert "currentTime" in await session.call("Heartbeat", {})
        path = f"/api/v1/security-events?charger_id={charger.charger_id}&kind=AnswerRefused"
        [event] = await system.until_items(path, bool)
        assert "PropertyConstraintViolation" in json.dumps(event)


async def test_the_frames_of_2_1_are_unknown_to_a_2_0_1_session(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        for kind in (5, 6):
            expected = session._expected[f"x{kind}"] = asyncio.get_running_loop().create_future()
            await session.socket.send(json.dumps([kind, f"x{kind}", "NotifyPeriodicEventStream", {}]))
            with pytest.raises(CallError, match="MessageTypeNotSupported"):
                await asyncio.wait_for(expected, 10)


@IN_BOTH_VERSIONS
async def test_security_events_of_any_name_and_age_are_answered(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        for kind in ("StartupOfTheDevice", "SettingSystemTime", "AcmeDoorOpened", "AcmeDoorOpened"):
            event = {"type": kind, "timestamp": "2019-01-01T00:00:00Z"}
            assert await session.call("SecurityEventNotification", event) == {}


async def test_a_charger_that_speaks_both_is_spoken_to_in_2_1(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    both = ("ocpp2.0.1", "ocpp2.1")
    async with charger.connected(authorization=charger.basic(), subprotocols=both) as session:
        assert session.socket.subprotocol == "ocpp2.1"
        await charger.boot(session)
