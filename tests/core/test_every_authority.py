"""Every CA of a purpose is compared with the ledger, one after another; and what becomes of that when one is retired."""

from datetime import timedelta
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.effect import ReconcileAuthority, RevokeCertificate
from bfactors.fleet import reconciliation
from bfactors.fleet.evolve import evolve
from bfactors.fleet.reconciliation_view import body, item_bodies, known_of
from bfactors.fleet.state import FleetState, authority_id_of
from tests.core.rollover_world import ARN, NEXT_ARN, P, RollingFleet, described

SERIAL = "ab"


def ask(fleet: RollingFleet, run_id: str) -> list[str]:
    """The CAs that it asks about."""
    decided = fleet.do(c.RequestReconciliation(purpose=P, run_id=run_id, reason="test"))
    assert decided.refusal is None
    return [event.authority_arn for event in decided.events if isinstance(event, e.ReconciliationRequested)]


def compared(fleet: RollingFleet, run_id: str, arn: str, *serials: str, certificates: int = 1) -> list[str]:
    """The names of the events that this report leads to."""
    items = tuple(
        e.ReconciliationItem(
            kind="unexplained",
            serial_number=serial,
            external_ref=f"{arn}/certificate/{serial}",
            certificate_id=None,
            charger_id=None,
            subject="CN=x",
            not_after=fleet.now + timedelta(days=9),
            issued_at=fleet.now - timedelta(days=1),
        )
        for serial in serials
    )
    decided = fleet.tell(
        v.AuthorityCompared(
            purpose=P,
            run_id=run_id,
            authority_arn=arn,
            report_ref=f"report of {arn}",
            report_at=fleet.now,
            certificates=certificates,
            counts={"unexplained": len(items)} if items else {},
            items=items,
        )
    )
    return [type(event).__name__ for event in decided.events]


def owed(state: FleetState, kind: Any) -> list[Any]:
    return [each for each in reconciliation.effects(state) if isinstance(each, kind)]


def turns(fleet: RollingFleet) -> list[str]:
    """The CAs that are being compared."""
    return [each.authority_arn for each in owed(fleet.state, ReconcileAuthority)]


def shown(fleet: RollingFleet) -> dict[str, Any]:
    return body(known_of(fleet.state, P))


def revoking() -> RollingFleet:
    fleet = RollingFleet()
    fleet.do(c.SetPolicy(scope=f"purpose:{P}", values={"unexplained_certificates": "revoke"}))
    return fleet


def test_a_run_takes_every_ca_that_is_not_retired_one_after_another() -> None:
    fleet = RollingFleet()
    fleet.to_step("renewal")
    assert ask(fleet, "a") == [NEXT_ARN, ARN], "the current one, and the one that is left"
    assert turns(fleet) == [NEXT_ARN]
    (first,) = owed(fleet.state, ReconcileAuthority)
    assert first.authority_pem == described(NEXT_ARN).certificate_pem
    assert compared(fleet, "a", NEXT_ARN, certificates=5) == ["AuthorityReconciled"]
    assert turns(fleet) == [ARN]
    (second,) = owed(fleet.state, ReconcileAuthority)
    assert (second.authority_pem, second.run_id) == (described(ARN).certificate_pem, "a")
    assert second.effect_id != first.effect_id
    assert shown(fleet)["state"] == "running"
    assert compared(fleet, "a", ARN, SERIAL, certificates=7)[0] == "AuthorityReconciled"
    assert turns(fleet) == []
    found = shown(fleet)
    assert (found["state"], found["run_id"], found["authority_arn"]) == ("done", "a", NEXT_ARN)
    assert (found["certificates"], found["counts"]) == (12, {"unexplained": 1})
    assert [each["authority_arn"] for each in found["authorities"]] == [NEXT_ARN, ARN]
    items = [item for known in known_of(fleet.state, P) for item in item_bodies(known)]
    assert [(item["authority_arn"], item["authority_id"], item["run_id"]) for item in items] == [
        (ARN, fleet.id_of(ARN), "a")
    ]


def test_an_incoming_ca_is_compared_too_but_not_in_a_run_that_began_without_it() -> None:
    fleet = RollingFleet()
    assert ask(fleet, "a") == [ARN]
    fleet.do(described(NEXT_ARN))
    assert ask(fleet, "b") == [], "the run under way answers as well"
    compared(fleet, "a", ARN)
    assert shown(fleet)["state"] == "done"
    assert ask(fleet, "b") == [ARN, NEXT_ARN]


def test_a_run_is_asked_for_once_and_each_report_counts_once() -> None:
    fleet = RollingFleet()
    fleet.do(described(NEXT_ARN))
    ask(fleet, "a")
    compared(fleet, "a", ARN)
    assert ask(fleet, "a") == []
    assert ask(fleet, "b") == [], "one of its CAs is still to come"
    assert compared(fleet, "a", ARN, SERIAL) == [], "said twice"
    compared(fleet, "a", NEXT_ARN)
    assert ask(fleet, "a") == []
    assert compared(fleet, "a", NEXT_ARN, SERIAL) == []
    before = fleet.state
    assert compared(fleet, "a", "arn:of-another", SERIAL) == [], "a CA that was never asked for"
    assert fleet.state == before


def test_one_ca_without_a_report_does_not_keep_the_others_from_theirs() -> None:
    fleet = RollingFleet()
    fleet.do(described(NEXT_ARN))
    ask(fleet, "a")
    no_report = v.AuthorityNotCompared(
        purpose=P, run_id="a", authority_arn=ARN, code="AccessDeniedException", message="denied"
    )
    assert fleet.tell(no_report).events
    assert fleet.tell(no_report).events == ()
    assert turns(fleet) == [NEXT_ARN]
    compared(fleet, "a", NEXT_ARN)
    found = shown(fleet)
    assert (found["state"], found["reason"]["code"]) == ("failed", "AccessDeniedException")
    assert [each["state"] for each in found["authorities"]] == ["failed", "done"]


def test_a_ca_retired_between_request_and_report_is_waited_for_no_more() -> None:
    fleet = RollingFleet()
    fleet.to_step("renewal")
    ask(fleet, "a")
    compared(fleet, "a", NEXT_ARN)
    (effect,) = owed(fleet.state, ReconcileAuthority)
    before = fleet.state
    assert fleet.advance() is None
    assert [each.arn for each in fleet.state.retired] == [ARN]
    assert turns(fleet) == []
    rows = reconciliation.effect_rows(before, fleet.state)
    assert [(row.effect_id, row.outstanding) for row in rows] == [(effect.effect_id, False)]
    assert shown(fleet)["state"] == "done"
    after = fleet.state
    assert compared(fleet, "a", ARN, SERIAL) == [], "its report comes all the same"
    late = v.AuthorityNotCompared(purpose=P, run_id="a", authority_arn=ARN, code="x", message="x")
    assert fleet.tell(late).events == ()
    assert fleet.state == after
    assert ask(fleet, "b") == [NEXT_ARN]


def test_one_retired_before_its_turn_does_not_hold_up_the_next() -> None:
    fleet = RollingFleet()
    fleet.do(described(NEXT_ARN))
    ask(fleet, "a")
    assert turns(fleet) == [ARN]
    fleet.to_step("renewal")
    assert turns(fleet) == [ARN], "what has become current meanwhile takes nobody's turn"
    assert fleet.advance() is None
    assert turns(fleet) == [NEXT_ARN]
    compared(fleet, "a", NEXT_ARN)
    assert shown(fleet)["state"] == "done"


def test_what_nothing_accounts_for_is_revoked_at_the_ca_that_signed_it() -> None:
    fleet = revoking()
    fleet.do(described(NEXT_ARN))
    ask(fleet, "a")
    compared(fleet, "a", ARN)
    compared(fleet, "a", NEXT_ARN, SERIAL)
    (effect,) = owed(fleet.state, RevokeCertificate)
    assert (effect.authority_arn, effect.serial_number) == (NEXT_ARN, SERIAL)
    accepted = v.RevocationAccepted(certificate_id=effect.certificate_id)
    (event,) = fleet.tell(accepted).events
    assert isinstance(event, e.UnexplainedCertificateRevoked)
    assert event.authority_arn == NEXT_ARN
    assert owed(fleet.state, RevokeCertificate) == []
    assert fleet.tell(accepted).events == ()


def test_two_cas_may_give_the_same_serial_number() -> None:
    fleet = revoking()
    fleet.do(described(NEXT_ARN))
    ask(fleet, "a")
    for arn in (ARN, NEXT_ARN):
        compared(fleet, "a", arn, SERIAL)
    first, second = owed(fleet.state, RevokeCertificate)
    assert (first.authority_arn, second.authority_arn) == (ARN, NEXT_ARN)
    assert first.effect_id != second.effect_id
    assert len(fleet.tell(v.RevocationAccepted(certificate_id=first.certificate_id)).events) == 1
    assert owed(fleet.state, RevokeCertificate) == [second]


def test_a_retired_ca_still_revokes_what_it_was_to_revoke_and_is_then_forgotten() -> None:
    fleet = revoking()
    fleet.to_step("renewal")
    ask(fleet, "a")
    compared(fleet, "a", NEXT_ARN)
    compared(fleet, "a", ARN, SERIAL, "cd")
    first, second = owed(fleet.state, RevokeCertificate)
    fleet.tell(v.RevocationAccepted(certificate_id=first.certificate_id))
    assert fleet.advance() is None
    assert owed(fleet.state, RevokeCertificate) == [second]
    (_, gone) = shown(fleet)["authorities"]
    assert (gone["authority_arn"], gone["is_retired"], gone["counts"]) == (ARN, True, {"unexplained": 1})
    assert ask(fleet, "b") == [NEXT_ARN]
    compared(fleet, "b", NEXT_ARN)
    fleet.tell(v.RevocationAccepted(certificate_id=second.certificate_id))
    assert owed(fleet.state, RevokeCertificate) == []
    assert [each["authority_arn"] for each in shown(fleet)["authorities"]] == [NEXT_ARN]
    assert shown(fleet)["counts"] == {}


def as_written_before(fleet: RollingFleet) -> FleetState:
    """The state as it was kept while a purpose had one comparison: by purpose, and without what came since."""
    written = msgspec.json.decode(msgspec.json.encode(fleet.state))
    (known,) = written["reconciliations"].values()
    del known["is_retired"]
    written["reconciliations"] = {P: known}
    return msgspec.json.decode(msgspec.json.encode(written), type=FleetState)


def test_a_run_that_was_asked_for_by_an_older_version_ends_and_leaves_nothing_owed() -> None:
    fleet = RollingFleet()
    ask(fleet, "a")
    fleet.state = as_written_before(fleet)
    (effect,) = owed(fleet.state, ReconcileAuthority)
    assert effect.effect_id == f"{P}:compare:a", "the row that is outstanding in the database"
    before = fleet.state
    assert compared(fleet, "a", ARN)[0] == "AuthorityReconciled"
    rows = reconciliation.effect_rows(before, fleet.state)
    assert [(row.effect_id, row.outstanding) for row in rows] == [(effect.effect_id, False)]
    assert list(fleet.state.reconciliations) == [authority_id_of(P, ARN)]


def test_what_an_older_version_found_and_began_to_revoke_is_seen_through() -> None:
    fleet = revoking()
    ask(fleet, "a")
    compared(fleet, "a", ARN, SERIAL)
    fleet.state = as_written_before(fleet)
    assert shown(fleet)["counts"] == {"unexplained": 1}
    fleet.do(described(NEXT_ARN))
    assert ask(fleet, "a") == []
    assert ask(fleet, "b") == [ARN, NEXT_ARN]
    assert len(fleet.state.reconciliations) == 2, "it has not been doubled"
    (event,) = fleet.tell(v.RevocationAccepted(certificate_id=SERIAL)).events
    assert isinstance(event, e.UnexplainedCertificateRevoked), "ordered by the serial number alone"
    assert owed(fleet.state, RevokeCertificate) == []


def test_a_revocation_recorded_by_an_older_version_names_no_ca() -> None:
    world = revoking()
    ask(world, "a")
    compared(world, "a", ARN, SERIAL)
    event = e.UnexplainedCertificateRevoked(purpose=P, serial_number=SERIAL)
    assert owed(evolve(world.state, event, world.now), RevokeCertificate) == []


def test_a_revocation_that_is_accepted_meanwhile_takes_no_ca_its_turn() -> None:
    fleet = revoking()
    ask(fleet, "a")
    compared(fleet, "a", ARN, SERIAL)
    fleet.do(described(NEXT_ARN))
    ask(fleet, "b")
    assert turns(fleet) == [ARN]
    (effect,) = owed(fleet.state, RevokeCertificate)
    assert fleet.tell(v.RevocationAccepted(certificate_id=effect.certificate_id)).events
    assert turns(fleet) == [ARN]
