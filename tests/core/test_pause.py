"""What no pause holds."""

from msgspec.structs import replace

from bfactors.charger.pause import replaces_compromised
from bfactors.charger.state import Slot, slot_key
from tests.core.world import World


def test_a_job_is_urgent_while_its_slot_is_empty_because_of_a_compromised_key_and_for_no_other_slots_sake() -> (
    None
):
    world = World()
    certificate = world.to_active()
    world.request("renew", job_id="j2")
    job = world.charger.jobs["j2"]
    bad = replace(certificate, state="revoked", revocation_reason="key_compromise")
    key = slot_key(job.purpose, job.variant)
    empty = replace(world.charger, certificates={bad.certificate_id: bad}, slots={key: Slot()})
    assert replaces_compromised(empty, job)
    assert replaces_compromised(replace(empty, slots={}), job)
    assert not replaces_compromised(replace(empty, slots={key: Slot(current="another")}), job)
    for other in (
        replace(bad, revocation_reason="superseded"),
        replace(bad, purpose="backend_server"),
        replace(bad, variant="rsa"),
    ):
        assert not replaces_compromised(replace(empty, certificates={other.certificate_id: other}), job)
    assert not replaces_compromised(empty, replace(job, action="delete"))
