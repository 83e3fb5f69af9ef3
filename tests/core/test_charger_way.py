"""The way of a certificate, from request to seen live."""

from bfactors.instruction import (
    InstallAnchor,
    InstallLeaf,
    ListCertificates,
    ObtainCsr,
    RaiseSecurityProfile,
    ReadSettings,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
)
from tests.core.world import World


def test_a_charger_walks_from_profile_2_to_a_leaf_seen_live() -> None:
    world = World()
    job_id = world.request().job_id
    assert job_id is not None
    assert world.charger.jobs[job_id].stage == "awaiting-trust-anchor"
    world.connect()
    assert [type(o) for o in world.orders()] == [InstallAnchor, InstallAnchor]
    world.carry_out()
    world.carry_out()
    assert [type(o) for o in world.orders()] == [ListCertificates]
    world.list_all_anchors()
    assert [type(o) for o in world.orders()] == [ObtainCsr]
    world.carry_out()
    assert world.charger.jobs[job_id].stage == "awaiting-csr"
    world.present_csr()
    assert world.charger.jobs[job_id].stage == "issuing"
    certificate = world.ca_issues()
    assert [type(o) for o in world.orders()] == [InstallLeaf]
    world.carry_out()
    assert world.charger.certificates[certificate.certificate_id].state == "installed"
    for step in (ReadSettings, SetNetworkProfile, SetProfilePriority, Reboot):
        assert [type(o) for o in world.orders()] == [step]
        world.carry_out()
    assert world.charger.jobs[job_id].stage == "awaiting-reconnect"
    world.connect(3, certificate.fingerprint_sha256)
    assert world.charger.certificates[certificate.certificate_id].state == "active"
    assert world.jobs[job_id].state == "succeeded"
    assert world.charger.security_profile == 3
    assert world.charger.jobs == {}
    assert world.charger.instructions == {}


def test_a_charger_of_ocpp_16_is_told_its_new_profile_by_a_key_and_reset() -> None:
    world = World(ocpp_versions=("1.6",))
    world.request()
    world.connect(version="1.6")
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    leaf = world.ca_issues()
    world.carry_out()
    assert world.orders() == [RaiseSecurityProfile(3)]
    world.carry_out()
    assert world.orders() == [Reboot(when="immediate")]
    world.carry_out()
    world.connect(profile=3, fingerprint=leaf.fingerprint_sha256, version="1.6")
    assert world.charger.certificates[leaf.certificate_id].state == "active"
    assert world.charger.security_profile == 3
    assert not world.charger.instructions
