"""What becomes current, what steps back for it, and what is left alone."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger import activation
from bfactors.charger.draft import Draft
from bfactors.charger.state import CertificateRecord
from bfactors.purpose import Rung
from tests.core.test_certificate_rule import policy
from tests.core.world import World, fleet_facts

DAY = timedelta(days=1)


def holding(*certificates: CertificateRecord, world: World) -> Draft:
    """A decision about a charger that has these, in the order they were issued."""
    known = {each.certificate_id: each for each in certificates}
    return Draft(replace(world.charger, certificates=known), world.context())


def called(certificate: CertificateRecord, name: str, **changes: object) -> CertificateRecord:
    return replace(certificate, certificate_id=name, fingerprint_sha256=name, **changes)


def superseded(draft: Draft) -> dict[str, e.CertificateSuperseded]:
    events = [event for event in draft.events if isinstance(event, e.CertificateSuperseded)]
    return {event.certificate_id: event for event in events}


def test_only_what_was_in_use_in_the_same_slot_steps_back() -> None:
    world = World()
    old = world.to_active()
    draft = holding(
        called(old, "revoked", state="revoked"),
        called(old, "refused", is_denied=True),
        called(old, "other-variant", variant="other"),
        called(old, "other-purpose", purpose="backend_server"),
        called(old, "old"),
        called(old, "new", state="installed"),
        called(old, "newer", state="issued"),
        world=world,
    )
    activation.activate(draft, "new", world.now)
    assert set(superseded(draft)) == {"old"}
    assert superseded(draft)["old"].superseded_by == "new"
    states = {name: each.state for name, each in draft.state.certificates.items()}
    assert states == {
        "revoked": "revoked",
        "refused": "active",
        "other-variant": "active",
        "other-purpose": "active",
        "old": "superseded",
        "new": "active",
        "newer": "issued",
    }


@pytest.mark.parametrize(
    ("state", "grace_days", "has_grace"),
    [("active", 14, True), ("installed", 14, True), ("issued", 14, False), ("active", 0, False)],
)
def test_a_grace_is_for_what_the_charger_may_hold_and_as_long_as_policy_says(
    state: str, grace_days: int, has_grace: bool
) -> None:
    world = World(fleet_facts(policy(superseded_grace_days=grace_days)))
    own = replace(world.to_active(), state=state)
    draft = holding(own, world=world)
    activation.supersede(draft, own, by=None, reason="newer-key")
    until = superseded(draft)[own.certificate_id].admit_until
    assert until == (world.now + grace_days * DAY if has_grace else None)


@pytest.mark.parametrize(
    ("changes", "rung", "is_activated"),
    [
        ({}, "seen-live", True),
        ({}, "listed", False),
        ({"is_denied": True}, "seen-live", False),
        ({"state": "rejected"}, "seen-live", False),
    ],
)
def test_only_the_purpose_s_own_rung_activates_and_only_what_may_be_used(
    changes: dict[str, object], rung: Rung, is_activated: bool
) -> None:
    world = World()
    own = replace(world.to_installed(), **changes)
    draft = holding(own, world=world)
    activation.reached(draft, own.certificate_id, rung)
    activated = [event for event in draft.events if isinstance(event, e.CertificateActivated)]
    assert bool(activated) is is_activated
