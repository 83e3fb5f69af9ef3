"""One certificate, as its CA lists it and as the ledger has it: what is odd about it, by a table."""

from datetime import UTC, datetime, timedelta

import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.audit_report import AuditEntry
from bfactors.authority_comparison import (
    REVOCATION_NOT_KEPT,
    REVOKED_AT_CA,
    UNEXPLAINED,
    is_missing,
    oddity,
)
from bfactors.fleet import decide as fleet
from bfactors.fleet import reconciliation
from bfactors.fleet.state import FleetState, authority_id_of
from bfactors.known_certificate import KnownCertificate
from tests.core.world import ARN, evidence, fleet_facts

REPORT_AT = datetime(2026, 6, 2, 2, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def listed(**changes: object) -> AuditEntry:
    values: dict[str, object] = {
        "external_ref": f"{ARN}/certificate/1",
        "serial_number": "ab",
        "subject": "CN=SN-1",
        "template": "EndEntityClientAuthCertificate/V1",
        "not_before": REPORT_AT - DAY,
        "not_after": REPORT_AT + DAY,
        "issued_at": REPORT_AT - DAY,
    }
    return AuditEntry(**(values | changes))  # type: ignore[arg-type]


def known(**changes: object) -> KnownCertificate:
    values: dict[str, object] = {
        "certificate_id": "c1",
        "charger_id": "CP-1",
        "purpose": "charging_station",
        "state": "active",
        "serial_number": "ab",
        "issuing_ca_id": ARN,
        "external_ref": f"{ARN}/certificate/1",
        "not_after": REPORT_AT + DAY,
        "issued_at": REPORT_AT - DAY,
    }
    return KnownCertificate(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "row", "expected"),
    [
        (listed(), known(), None),
        (listed(), None, UNEXPLAINED),
        (listed(issued_at=REPORT_AT - 14 * MINUTE), None, None),
        (listed(issued_at=REPORT_AT - 16 * MINUTE), None, UNEXPLAINED),
        (listed(not_after=REPORT_AT), None, None),
        (listed(revoked_at=REPORT_AT - HOUR), None, None),
        (listed(revoked_at=REPORT_AT - HOUR), known(), REVOKED_AT_CA),
        (listed(revoked_at=REPORT_AT - HOUR), known(revocation_requested_at=REPORT_AT), None),
        (listed(revoked_at=REPORT_AT - HOUR), known(revoked_at=REPORT_AT - HOUR, state="revoked"), None),
        (listed(), known(revoked_at=REPORT_AT - HOUR, state="revoked"), REVOCATION_NOT_KEPT),
        (listed(), known(revoked_at=REPORT_AT - MINUTE, state="revoked"), None),
        (listed(), known(revocation_requested_at=REPORT_AT - HOUR), None),
        (listed(not_after=REPORT_AT), known(revoked_at=REPORT_AT - HOUR), None),
    ],
)
def test_what_is_odd(entry: AuditEntry, row: KnownCertificate | None, expected: str | None) -> None:
    assert oddity(entry, row, REPORT_AT) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (known(), True),
        (known(issuing_ca_id=ARN + "2"), False),
        (known(issuing_ca_id=None), False),
        (known(issued_at=REPORT_AT - MINUTE), False),
        (known(not_after=REPORT_AT), False),
    ],
)
def test_what_is_missing(row: KnownCertificate, expected: bool) -> None:
    assert is_missing(row, ARN, REPORT_AT) == expected


# ---------------------------------------------------------------- the fleet's decisions


def asked(run_id: str, purpose: str = "charging_station") -> c.RequestReconciliation:
    return c.RequestReconciliation(purpose=purpose, run_id=run_id, reason="test")


def ended(state: FleetState, run_id: str, *items: e.ReconciliationItem) -> fleet.FleetDecision:
    body = v.AuthorityCompared(
        purpose="charging_station",
        run_id=run_id,
        authority_arn=ARN,
        report_ref="r1",
        report_at=REPORT_AT,
        certificates=7,
        counts={"unexplained": len(items)} if items else {},
        items=items,
    )
    return fleet.decide_evidence(state, evidence("", body), REPORT_AT)


def test_a_run_is_owed_until_it_has_ended_and_the_same_run_is_none() -> None:
    state = FleetState(facts=fleet_facts())
    decided = fleet.decide_command(state, asked("a"), "operator:test", REPORT_AT)
    assert [type(event).__name__ for event in decided.events] == ["ReconciliationRequested"]
    assert not fleet.changes_facts(decided.events), "no other partition needs to know"
    (effect,) = reconciliation.effects(decided.state)
    assert effect.effect_id == f"{authority_id_of('charging_station', ARN)}:compare:a"
    (row,) = reconciliation.effect_rows(state, decided.state)
    assert (row.effect_id, row.outstanding) == (effect.effect_id, True)
    for run_id in ("a", "b"):
        again = fleet.decide_command(decided.state, asked(run_id), "operator:test", REPORT_AT)
        assert (again.events, again.result["run_id"]) == ((), "a"), "the run under way answers as well"
    done = ended(decided.state, "a")
    assert reconciliation.effects(done.state) == []
    (row,) = reconciliation.effect_rows(decided.state, done.state)
    assert (row.effect_id, row.outstanding) == (effect.effect_id, False)
    assert fleet.decide_command(done.state, asked("a"), "operator:test", REPORT_AT).events == ()
    assert ended(done.state, "a").events == (), "said twice"
    assert fleet.decide_command(done.state, asked("b"), "operator:test", REPORT_AT).events


def test_a_purpose_without_a_ca_has_nothing_to_be_compared() -> None:
    refused = fleet.decide_command(
        FleetState(facts=fleet_facts()), asked("a", "backend_server"), "o", REPORT_AT
    )
    assert refused.refusal is not None
    assert (refused.refusal.code, refused.refusal.status) == ("no-issuing-authority", 404)


def test_a_revocation_of_what_nothing_accounts_for_is_recorded_once() -> None:
    policy = c.SetPolicy(scope="purpose:charging_station", values={"unexplained_certificates": "revoke"})
    state = FleetState(facts=fleet_facts(policy))
    state = fleet.decide_command(state, asked("a"), "operator:test", REPORT_AT).state
    item = e.ReconciliationItem(
        kind=UNEXPLAINED,
        serial_number="ab",
        external_ref=f"{ARN}/certificate/1",
        certificate_id=None,
        charger_id=None,
        subject="CN=x",
        not_after=REPORT_AT + DAY,
        issued_at=REPORT_AT - DAY,
    )
    state = ended(state, "a", item).state
    (effect,) = reconciliation.effects(state)
    assert (effect.charger_id, effect.purpose) == ("", "charging_station")
    accepted = evidence("", v.RevocationAccepted(certificate_id="ab"))
    once = fleet.decide_evidence(state, accepted, REPORT_AT)
    assert [type(event).__name__ for event in once.events] == ["UnexplainedCertificateRevoked"]
    assert reconciliation.effects(once.state) == []
    assert fleet.decide_evidence(once.state, accepted, REPORT_AT).events == ()
