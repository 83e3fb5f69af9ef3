"""Retention in the fleet's partition: bounds, twice, and what a sweep leaves on record."""

from datetime import UTC, datetime, timedelta

import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.decide import FleetDecision, changes_facts, decide_command
from bfactors.fleet.state import FleetState
from bfactors.retention import KINDS, days_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SET = c.SetRetention(kind="notices", days=7, reason="data protection")
SWEEP = c.RecordSweep(kind="notices", count=3, before=NOW)


def when(command: c.SetRetention | c.RecordSweep, state: FleetState | None = None) -> FleetDecision:
    return decide_command(state or FleetState(), command, "operator:ada", NOW)


def test_a_kind_is_kept_as_somebody_decided() -> None:
    decision = when(SET)
    assert decision.events == (
        e.RetentionSet(kind="notices", days=7, reason="data protection", by="operator:ada"),
    )
    assert days_of(decision.state.retention, "notices") == 7
    assert days_of(decision.state.retention, "security-events") == 730
    assert decision.result["set"] == {"reason": "data protection", "by": "operator:ada", "at": NOW}
    assert not changes_facts(decision.events)


def test_the_same_again_changes_nothing() -> None:
    assert when(SET, when(SET).state).events == ()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_has_bounds(kind: str) -> None:
    known = KINDS[kind]
    for days in (known.least_days - 1, known.most_days + 1):
        refusal = when(c.SetRetention(kind=kind, days=days, reason="x")).refusal
        assert refusal is not None
        assert (refusal.code, refusal.field) == ("retention-out-of-range", "days")
    for days in (known.least_days, known.most_days):
        assert when(c.SetRetention(kind=kind, days=days, reason="x")).refusal is None


@pytest.mark.parametrize("kind", ["events", "checkpoints", "certificates", ""])
def test_what_is_kept_for_good_is_no_kind(kind: str) -> None:
    refusal = when(c.SetRetention(kind=kind, days=30, reason="x")).refusal
    assert refusal is not None
    assert refusal.code == "unknown-retention-kind"


def test_a_sweep_is_on_record_once() -> None:
    first = when(SWEEP)
    assert first.events == (e.RetentionSwept(kind="notices", count=3, before=NOW),)
    assert when(SWEEP, first.state).events == ()
    late = c.RecordSweep(kind="notices", count=1, before=NOW - timedelta(days=1))
    assert when(late, first.state).events == ()
    assert when(c.RecordSweep(kind="notices", count=0, before=NOW)).events == ()
    assert first.result["last_swept"]["count"] == 3
