"""A local controller that speaks for chargers: admitted where it is listed, and never taken for the charger itself."""

from datetime import timedelta
from typing import get_args

import msgspec
import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import (
    AdmissionRefused,
    CredentialState,
    PresentedCredential,
    Speaker,
    spoken_for_flag,
)
from bfactors.charger import inventory, outgoing
from bfactors.identity_rule import (
    Admitted,
    Upgrade,
    admit,
    boot_serial_problem,
    cut_problem,
    ended_in,
    ended_problem,
)
from bfactors.path import TrustSet
from bfactors.refusal import Refusal
from tests.core.test_identity_rule import MUTUAL, RECORD, ROOT
from tests.core.world import World
from tests.core.x509_maker import Authority

CONTROLLER = ROOT.leaf("depot-controller")
SPEAKER = Speaker("lc-1", CONTROLLER.fingerprint)
SPOKEN_FOR = msgspec.structs.replace(RECORD, spoken_for_by=(SPEAKER,))
COMES = msgspec.structs.replace(
    MUTUAL, record=SPOKEN_FOR, credential=PresentedCredential(CONTROLLER.der), user=None, password=None
)


def outcome(upgrade: Upgrade, **changes: object) -> str | Admitted:
    decided = admit(msgspec.structs.replace(upgrade, **changes))
    return decided.reason if isinstance(decided, AdmissionRefused) else decided


def test_a_listed_controller_is_admitted_without_the_names_of_the_charger() -> None:
    assert outcome(COMES) == Admitted(
        security_profile=2,
        fingerprint_sha256=CONTROLLER.fingerprint,
        flags=("via-local-controller:lc-1",),
    )
    only_basic = msgspec.structs.replace(SPOKEN_FOR, allowed_profiles=(2,), organization="Another")
    assert isinstance(outcome(COMES, record=only_basic), Admitted)


def test_a_controller_of_others_is_refused_by_its_own_reason() -> None:
    of_others = frozenset({CONTROLLER.fingerprint})
    assert outcome(COMES, record=RECORD, controllers=of_others) == "not-spoken-for"
    only_basic = msgspec.structs.replace(RECORD, allowed_profiles=(2,))
    assert outcome(COMES, record=only_basic, controllers=of_others) == "not-spoken-for"
    assert outcome(COMES, record=RECORD) == "credential-unknown"


def test_a_controllers_certificate_is_checked_as_any_other() -> None:
    assert outcome(COMES, trust=TrustSet.of([])) not in ("", None)
    assert isinstance(outcome(COMES, trust=TrustSet.of([])), str)
    stranger = Authority.root().leaf("depot-controller")
    listed = msgspec.structs.replace(RECORD, spoken_for_by=(Speaker("lc-1", stranger.fingerprint),))
    assert isinstance(outcome(COMES, record=listed, credential=PresentedCredential(stranger.der)), str)
    expired = CONTROLLER.certificate.not_valid_after_utc + timedelta(seconds=1)
    assert isinstance(outcome(COMES, now=expired, forgive_expired_leaf=True), str), (
        "nobody forgives a controller"
    )


def test_only_the_listed_leaf_speaks_and_no_other_of_its_ca() -> None:
    other = ROOT.leaf("depot-controller")
    assert outcome(COMES, credential=PresentedCredential(other.der)) == "credential-unknown"
    elsewhere = frozenset({other.fingerprint})
    assert (
        outcome(COMES, credential=PresentedCredential(other.der), controllers=elsewhere) == "not-spoken-for"
    )


@pytest.mark.parametrize("state", ["revoked", "inactive", "rejected"])
def test_a_controller_whose_leaf_has_ended_as_another_chargers_speaks_for_nobody(state: str) -> None:
    assert outcome(COMES, ended={CONTROLLER.fingerprint: state}) == f"credential-{state}"
    assert isinstance(outcome(COMES, ended={"0" * 64: state}), Admitted)


def test_a_chargers_own_leaf_is_its_own_even_where_it_is_listed_as_a_controllers() -> None:
    [own] = RECORD.credentials
    listed = (Speaker("lc-1", own.fingerprint_sha256),)
    as_both = msgspec.structs.replace(RECORD, spoken_for_by=listed)
    itself = outcome(MUTUAL, record=as_both, controllers=frozenset({own.fingerprint_sha256}))
    assert isinstance(itself, Admitted)
    assert (itself.security_profile, itself.flags) == (3, ())
    low = msgspec.structs.replace(as_both, allowed_profiles=(2,))
    controllers = frozenset({own.fingerprint_sha256})
    assert outcome(MUTUAL, record=low, controllers=controllers) == "profile-not-allowed"
    revoked = msgspec.structs.replace(as_both, credentials=(msgspec.structs.replace(own, state="revoked"),))
    assert outcome(MUTUAL, record=revoked) == "credential-revoked"
    other_name = msgspec.structs.replace(as_both, expected_common_name="SN-2")
    assert outcome(MUTUAL, record=other_name) == "common-name-mismatch"


def test_what_has_ended_is_told_and_what_is_replaced_or_expired_is_not() -> None:
    [own] = RECORD.credentials
    states = get_args(CredentialState)
    listed = tuple(msgspec.structs.replace(own, fingerprint_sha256=name, state=name) for name in states)
    ended = ended_in(msgspec.structs.replace(RECORD, credentials=listed))
    assert ended == {name: name for name in ("revoked", "inactive", "rejected")}
    assert ended_problem("revoked").code == "credential-revoked"


def test_a_refused_charger_is_refused_to_its_controller_too() -> None:
    refused = msgspec.structs.replace(SPOKEN_FOR, mode="refused", refusal_reason="decommissioned")
    assert outcome(COMES, record=refused) == "decommissioned"


def test_the_charger_itself_comes_as_before() -> None:
    itself = outcome(MUTUAL, record=SPOKEN_FOR)
    assert isinstance(itself, Admitted)
    assert (itself.security_profile, itself.flags) == (3, ())


def test_a_controller_that_is_listed_no_more_is_cut() -> None:
    assert cut_problem(SPOKEN_FOR, CONTROLLER.fingerprint, None) is None
    cut = cut_problem(RECORD, CONTROLLER.fingerprint, None)
    assert cut is not None
    assert cut.code == "credential-unknown"


def test_the_serial_of_a_boot_is_not_compared_with_the_controllers_certificate() -> None:
    assert boot_serial_problem(SPOKEN_FOR, 2, "whatever") is None


# ---------------------------------------------------------------- the ledger


def said(*speakers: Speaker, reason: str = "behind it") -> c.SetSpokenFor:
    return c.SetSpokenFor(charger_id="CP-1", speakers=speakers, reason=reason)


def test_who_speaks_for_a_charger_is_in_its_admission_record() -> None:
    world = World()
    world.command(said(SPEAKER, SPEAKER))
    assert outgoing.admission(world.charger).spoken_for_by == (SPEAKER,)
    before = len(world.events)
    world.command(said(SPEAKER))
    assert len(world.events) == before, "said already"
    world.command(said())
    assert outgoing.admission(world.charger).spoken_for_by == ()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (said(SPEAKER, reason=" "), "reason-missing"),
        (said(*(Speaker(f"lc-{n}", f"{n:064x}") for n in range(9))), "invalid-value"),
        (said(SPEAKER, Speaker("lc-2", SPEAKER.fingerprint_sha256)), "invalid-value"),
    ],
)
def test_what_makes_no_sense_is_refused(command: c.SetSpokenFor, code: str) -> None:
    refusal = World().command(command).refusal
    assert isinstance(refusal, Refusal)
    assert refusal.code == code


def comes(world: World, fingerprint: str, *, profile: int, spoken_for: bool = True) -> None:
    world.tell(
        v.SessionOpened(
            session_id="by-controller",
            node="n1",
            incarnation="i1",
            ocpp_version="2.0.1",
            security_profile=profile,
            remote_address="192.0.2.1",
            opened_at=world.now,
            fingerprint_sha256=fingerprint,
            flags=(spoken_for_flag("lc-1"),) if spoken_for else (),
            leaf_pem=CONTROLLER.pem,
        )
    )


@pytest.mark.parametrize("spoken_for", [True, False])
def test_a_spoken_for_session_activates_no_certificate_and_no_profile(spoken_for: bool) -> None:
    """Even one that showed the charger's own leaf; the other half proves that the same session without the flag would."""
    world = World()
    certificate = world.to_installed()
    world.to_reset()
    comes(world, certificate.fingerprint_sha256, profile=3, spoken_for=spoken_for)
    names = world.names()
    assert ("CertificateActivated" in names, "SecurityProfileMigrated" in names) == (
        not spoken_for,
        not spoken_for,
    )


def test_a_controllers_leaf_is_neither_adopted_nor_a_stranger_nor_an_old_certificate() -> None:
    world = World()
    world.to_installed()
    world.to_reset()
    before = dict(world.charger.certificates)
    job = next(iter(world.charger.jobs.values()))
    comes(world, CONTROLLER.fingerprint, profile=2)
    assert world.charger.certificates == before
    assert list(inventory.seen(world.charger)) == []
    assert world.charger.jobs[job.job_id].reason_code == job.reason_code
    assert world.charger.session is not None
    assert world.charger.session.flags == ("via-local-controller:lc-1",)


def test_a_charger_cannot_be_spoken_for_with_its_own_certificate() -> None:
    world = World()
    certificate = world.to_installed()
    refusal = world.command(said(Speaker("lc-1", certificate.fingerprint_sha256))).refusal
    assert isinstance(refusal, Refusal)
    assert refusal.code == "own-certificate"
    assert not any(isinstance(event, e.SpokenForSet) for event in world.events)
