"""A renewal told truthfully: Accepted is not active, an old certificate after it is counted, its own word counts at once.

Source: OCPP 2.0.1 A02.FR.08-10, errata 2025-09 (A02.FR.28/29, DiscardedRenewedClientCertificate); OCPP 2.1 A02, A03.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conformance.control_plane import ControlPlane
from tests.conformance.operator_call import IN_BOTH_VERSIONS
from tests.conformance.raw_charger import Charger, Session

pytestmark = pytest.mark.xdist_group("core-201")

DISCARDED = "renewed-certificate-discarded"


async def takes_a_renewed_leaf(system: ControlPlane, charger: Charger) -> tuple[str, ssl.SSLContext]:
    """The job, and the client certificate it had before."""
    before = charger.tls()
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        job_id = await system.order(charger.charger_id, "renew")
        await charger.obey(session, until="CertificateSigned")
        await system.until_job(job_id, lambda job: job["stage"] == "awaiting-reconnect")
    return job_id, before


async def takes_another_key(charger: Charger, session: Session) -> None:
    """Asked for another key, it makes one and takes the certificate."""
    await charger.obey(session, until="CertificateSigned")


async def is_done_with_the_new_one(system: ControlPlane, charger: Charger, job_id: str) -> None:
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        await system.until_job(job_id, lambda job: job["state"] == "succeeded")


@IN_BOTH_VERSIONS
async def test_an_old_certificate_seen_once_after_accepted_is_no_verdict(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.enrolled(system, tmp_path)
    job_id, before = await takes_a_renewed_leaf(system, charger)
    async with charger.connected(before) as session:
        await charger.boot(session)
        job = await system.until_job(job_id, lambda job: job["reason"])
        assert job["reason"]["code"] == "reconnected-with-old-certificate"
        assert job["reconnect"] == {"steps": [], "with_old_certificate": 1}
        assert (job["state"], job["stage"]) == ("open", "awaiting-reconnect")
    await is_done_with_the_new_one(system, charger, job_id)


@IN_BOTH_VERSIONS
async def test_its_word_that_it_discarded_the_certificate_brings_another_key_at_once(
    system: ControlPlane, tmp_path: Path
) -> None:
    """And the discarded one keeps its grace: a charger that changes late is let in."""
    charger = await Charger.enrolled(system, tmp_path)
    job_id, before = await takes_a_renewed_leaf(system, charger)
    discarded = charger.tls()
    async with charger.connected(before) as session:
        await charger.boot(session)
        event = {"type": "DiscardedRenewedClientCertificate", "timestamp": datetime.now(UTC).isoformat()}
        assert await session.call("SecurityEventNotification", event) == {}
        await takes_another_key(charger, session)
        job = await system.until_job(job_id, lambda job: job["stage"] == "awaiting-reconnect")
        assert "CertificateDiscarded" in [step["event"] for step in job["timeline"]]
    assert await charger.refusal(discarded) == 101
    await is_done_with_the_new_one(system, charger, job_id)
    shown = await system.items(f"/api/v1/certificates?charger_id={charger.charger_id}")
    assert sorted(one["state"] for one in shown) == ["active", "superseded", "superseded"]


async def test_an_old_certificate_seen_three_times_after_accepted_is_a_discarded_new_one(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.enrolled(system, tmp_path)
    job_id, before = await takes_a_renewed_leaf(system, charger)
    for _ in range(2):
        async with charger.connected(before) as session:
            await charger.boot(session)
    async with charger.connected(before) as session:
        await charger.boot(session)
        job = await system.until_job(job_id, lambda job: (job["reason"] or {}).get("code") == DISCARDED)
        assert "3 times" in job["reason"]["message"]
        await takes_another_key(charger, session)
    await is_done_with_the_new_one(system, charger, job_id)


async def test_a_charger_that_stays_on_its_session_has_its_socket_closed(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    cohort = {"cohort": "hasty"}
    await system.patch(f"/api/v1/chargers/{charger.charger_id}", cohort)
    await system.put(
        "/api/v1/policies/cohort:hasty/charging_station",
        {"values": {"reconnect_close_s": 2}, "reason": "TC"},
    )
    first = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await charger.obey(session, until="Reset")
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        await system.until_job(first, lambda job: job["state"] == "succeeded")
        job_id = await system.order(charger.charger_id, "renew")
        await charger.obey(session, until="CertificateSigned")
        assert await session.closed() == 1000
    job = await system.until_job(job_id, lambda job: job["reason"])
    assert job["reason"]["code"] == "socket-closed"
    assert job["reconnect"]["steps"] == ["close-socket"]
    await is_done_with_the_new_one(system, charger, job_id)


@IN_BOTH_VERSIONS
async def test_a_charger_that_renews_by_itself_is_accepted_and_in_the_end_held_back(
    system: ControlPlane, tmp_path: Path
) -> None:
    """SignCertificate is answered Accepted in any case (A02.FR.11); the third of a day brings nothing and is on record."""
    charger = await Charger.enrolled(system, tmp_path)
    for _ in range(2):
        async with charger.connected(charger.tls()) as session:
            await charger.boot(session)
            request = charger.signing(charger.new_csr(), "ChargingStationCertificate")
            assert await session.call("SignCertificate", request) == {"status": "Accepted"}
            await charger.obey(session, until="CertificateSigned")
        async with charger.connected(charger.tls()) as session:
            await charger.boot(session)
            await system.until_items(
                f"/api/v1/jobs?state=open&charger_id={charger.charger_id}", lambda jobs: not jobs
            )
    kept = charger.key
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        request = charger.signing(charger.new_csr(), "ChargingStationCertificate")
        assert await session.call("SignCertificate", request) == {"status": "Accepted"}
        await system.until_items(
            f"/api/v1/audit?charger_id={charger.charger_id}&event=CSRHeldBack", lambda events: events
        )
        assert session.waiting_calls == 0
    assert charger.key is kept
