"""CSRs: sent again, overtaken, asked for by the charger itself, or longer at the CA than the charger has patience."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import clock, outgoing
from bfactors.effect import IssueCertificate
from bfactors.instruction import InstallLeaf
from bfactors.ocpp import Answered
from tests.core import pki
from tests.core.world import World, fleet_facts

SLOW = "authority-slower-than-charger"


def to_csr(world: World, text: str | None = None) -> World:
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr(text)
    return world


# ---------------------------------------------------------------- sent again, overtaken


def test_a_csr_sent_again_in_another_session_gets_the_same_certificate() -> None:
    world, text = World(), pki.csr("SN-1")
    to_csr(world, text)
    token = world.issue_effect().token
    world.connect()
    world.present_csr(text)
    assert world.issue_effect().token == token
    certificate = world.ca_issues()
    world.connect()
    world.present_csr(text)
    assert not [x for x in outgoing.effects(world.charger, world.facts) if isinstance(x, IssueCertificate)]
    (order,) = world.orders()
    assert isinstance(order, InstallLeaf)
    assert order.certificate_id == certificate.certificate_id
    assert list(world.charger.certificates) == [certificate.certificate_id]


def test_a_csr_sent_again_when_its_certificate_is_taken_starts_nothing() -> None:
    world, text = World(), pki.csr("SN-1")
    to_csr(world, text)
    world.ca_issues()
    world.carry_out()
    before = len(world.charger.certificates)
    world.connect()
    world.present_csr(text)
    assert not [x for x in outgoing.effects(world.charger, world.facts) if isinstance(x, IssueCertificate)]
    assert len(world.charger.certificates) == before


def test_the_cas_answer_for_an_overtaken_key_is_kept_and_never_delivered_across_sessions() -> None:
    world = to_csr(World())
    old = world.issue_effect()
    world.connect()
    world.present_csr()
    new = world.issue_effect()
    chain = pki.ca().sign(old.csr_pem, old.not_before, old.not_after)
    world.connect()
    world.tell(
        v.IssuanceCompleted(job_id=old.job_id, attempt=1, external_ref="arn/certificate/old", chain_pem=chain)
    )
    (stale,) = world.charger.certificates.values()
    assert (stale.state, stale.admit_until) == ("superseded", None)
    assert not [body for body in world.orders() if isinstance(body, InstallLeaf)]
    assert world.issue_effect() == new


# ---------------------------------------------------------------- by itself


def own_renewal(world: World) -> bool:
    """The charger asks by itself; whether it gets a certificate, which it takes and uses."""
    world.present_csr()
    if not world.charger.jobs:
        return False
    new = world.ca_issues()
    world.carry_out()
    world.connect(3, new.fingerprint_sha256)
    assert not world.charger.jobs
    return True


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_charger_that_renews_at_every_boot_gets_so_many_certificates_a_day(limit: int) -> None:
    policy = c.SetPolicy(scope="purpose:charging_station", values={"own_renewals_per_day": limit})
    world = World(fleet_facts(policy))
    world.to_active()
    assert [own_renewal(world) for _ in range(5)] == [True] * limit + [False] * (5 - limit)
    assert world.names().count("CSRHeldBack") == 1, "said once an hour"
    world.wait(days=1)
    assert own_renewal(world)


def test_no_limit_lets_it_renew_always() -> None:
    policy = c.SetPolicy(scope="purpose:charging_station", values={"own_renewals_per_day": 0})
    world = World(fleet_facts(policy))
    world.to_active()
    assert all(own_renewal(world) for _ in range(5))


def test_in_the_last_safe_days_it_is_held_back_no_more() -> None:
    policy = c.SetPolicy(
        scope="purpose:charging_station", values={"own_renewals_per_day": 1, "validity_days": 46}
    )
    world = World(fleet_facts(policy))
    world.to_active()
    assert own_renewal(world)
    assert not own_renewal(world)
    slot = world.charger.slots["charging_station/default"]
    world.now = world.charger.certificates[slot.current or ""].not_after - timedelta(days=2)
    world.state = world.charger
    assert own_renewal(world)


def test_a_job_that_waits_for_a_csr_takes_it_whatever_the_number() -> None:
    policy = c.SetPolicy(scope="purpose:charging_station", values={"own_renewals_per_day": 1})
    world = World(fleet_facts(policy))
    world.to_active()
    assert own_renewal(world)
    world.request("renew", job_id="wanted")
    world.carry_out()
    world.present_csr()
    assert world.issue_effect().job_id == "wanted"


def test_the_key_of_the_certificate_in_use_shown_again_is_no_new_wish() -> None:
    world = World()
    key = ec.generate_private_key(ec.SECP256R1())
    to_csr(world, pki.csr("SN-1", key=key))
    leaf = world.ca_issues()
    for _ in range(4):
        world.carry_out()
    world.connect(3, leaf.fingerprint_sha256)
    world.present_csr(pki.csr("SN-1", key=key))
    assert world.charger.jobs == {}
    assert world.names()[-1] == "CSRHeldBack"


# ---------------------------------------------------------------- a slow CA


def test_a_ca_slower_than_the_chargers_patience_is_shown_and_its_answer_delivered() -> None:
    world = to_csr(World())
    world.wait(seconds=3599)
    assert world.charger.jobs["job"].reason_code != SLOW
    assert (clock.next_due(world.charger, world.facts, world.now) or world.now) <= world.now + timedelta(
        seconds=1
    )
    world.wait(seconds=1)
    assert world.charger.jobs["job"].reason_code == SLOW
    world.tell(v.IssuanceDelayed(job_id="job", attempt=1, code="ca-throttled", message="Throttling"))
    job = world.charger.jobs["job"]
    assert job.reason_code == SLOW
    assert "Throttling" in (job.reason_message or "")
    world.wait(hours=5)
    assert world.names().count("AuthoritySlowerThanCharger") == 1
    world.ca_issues()
    world.carry_out()
    assert world.charger.jobs["job"].stage == "awaiting-reconnect"


def test_a_leaf_that_came_too_late_and_is_refused_ends_the_job_with_that_reason() -> None:
    world = to_csr(World())
    world.wait(hours=2)
    world.ca_issues()
    world.carry_out(Answered("Rejected"))
    assert world.jobs["job"].reason_code == SLOW


def test_a_newer_key_begins_the_patience_anew() -> None:
    world = to_csr(World())
    world.wait(minutes=50)
    world.present_csr()
    world.wait(minutes=50)
    assert world.charger.jobs["job"].reason_code != SLOW
    world.wait(minutes=10)
    assert world.charger.jobs["job"].reason_code == SLOW
