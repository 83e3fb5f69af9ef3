"""Revocations by the issuance actor: until they are accepted, or refused for good."""

from __future__ import annotations

import pytest

from bfactors import evidence as v
from bfactors.ca import (
    NotActive,
    Permanent,
    Transient,
)
from bfactors.effect import RevokeCertificate
from bfactors.x509 import parse_certificates
from tests.actors.test_issuance import Desk, lost, throttled
from tests.fakes.ca import ARN, settle

# ---------------------------------------------------------------- revoking


def revocation(
    serial_number: str = "abc", reason: str = "superseded", name: str = "c", is_incident: bool = False
) -> RevokeCertificate:
    return RevokeCertificate(
        effect_id=f"{name}:revoke",
        charger_id="CP-1",
        purpose="charging_station",
        certificate_id=name,
        authority_arn=ARN,
        serial_number=serial_number,
        reason=reason,
        is_incident=is_incident,
    )


async def issued_serial(desk: Desk) -> str:
    await desk.ask()
    (made,) = desk.ca.made.values()
    return parse_certificates(made.chain.leaf_pem)[0].serial_number


async def test_a_revocation_is_asked_for_and_recorded() -> None:
    desk = Desk()
    desk.want(revocation(await issued_serial(desk), "key_compromise"))
    await settle()
    assert desk.facts(v.RevocationAccepted) == [v.RevocationAccepted(certificate_id="c")]
    assert [made.revoked_for for made in desk.ca.made.values()] == ["key_compromise"]


async def test_what_an_incident_has_revoked_goes_before_other_revocations_whatever_its_reason() -> None:
    desk = Desk(revoking_at_once=0)  # only the places for incidents are left
    serial_number = await issued_serial(desk)
    desk.want(revocation("abc", name="routine"))
    desk.want(revocation(serial_number, name="struck", is_incident=True))
    await settle()
    assert desk.facts(v.RevocationAccepted) == [v.RevocationAccepted(certificate_id="struck")]
    assert [hurry for hurry in desk.ca.hurries if hurry[0] == "revoke"] == [("revoke", True)]


async def test_a_certificate_for_an_incident_is_fetched_before_others_too() -> None:
    for is_incident in (True, False):
        desk = Desk()
        desk.want(desk.issue(is_incident=is_incident))
        await settle()
        assert desk.ca.hurries == [("fetch", is_incident)]


async def test_a_revocation_that_happened_before_is_accepted_too() -> None:
    desk = Desk()
    serial_number = await issued_serial(desk)
    desk.ca.fail("revoke", lost(), took_effect=True)
    desk.want(revocation(serial_number))
    await desk.time.advance(5)
    assert desk.called("revoke") == 2
    assert len(desk.facts(v.RevocationAccepted)) == 1


async def test_a_revocation_is_asked_for_until_the_ca_can_serve() -> None:
    desk = Desk()
    serial_number = await issued_serial(desk)
    desk.ca.fail("revoke", throttled(), times=20)
    desk.ca.fail("revoke", NotActive("InvalidStateException", "DISABLED", retry_after_s=300))
    desk.want(revocation(serial_number))
    await desk.time.advance(1200)
    assert len(desk.facts(v.RevocationAccepted)) == 1
    assert desk.called("revoke") == 22


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (Permanent("InvalidRequestException", "a root"), 1),
        (Transient("RequestFailedException", "failed", bounded=True), 5),
    ],
)
async def test_a_revocation_refused_for_good_is_recorded(error: Permanent | Transient, calls: int) -> None:
    desk = Desk()
    desk.ca.fail("revoke", error, times=10)
    desk.want(revocation())
    await desk.time.advance(600)
    (refused,) = desk.facts(v.RevocationRefused)
    assert (refused.certificate_id, refused.code, refused.message) == ("c", error.code, error.message)
    assert desk.called("revoke") == calls


async def test_a_ca_without_the_power_to_revoke_refuses() -> None:
    desk = Desk()
    desk.revoker = None
    desk.new_actor()
    desk.want(revocation())
    await settle()
    assert [fact.code for fact in desk.facts(v.RevocationRefused)] == ["NotSupported"]


async def test_certificates_in_the_making_never_hold_up_a_revocation() -> None:
    desk = Desk(issuing_at_once=2)
    serial_number = await issued_serial(desk)
    desk.ca.fail("issue", throttled(), times=1000)
    for number in range(10):
        desk.want(desk.issue(job_id=f"j{number}"))
    desk.want(revocation(serial_number))
    await settle()
    assert len(desk.facts(v.RevocationAccepted)) == 1
