"""How far a token that is limited to cohorts reaches, as the ledger decides it."""

from typing import Any

import pytest

from bfactors import command as c
from bfactors.reach import out_of_reach
from tests.core.ledger import Partition, asked, issue, registration
from tests.core.world import World

WAIVER: dict[str, Any] = {
    "waiver_id": "w",
    "purpose": "charging_station",
    "rule": "max_attempts",
    "value": 2,
    "reason": "x",
    "ends_at": World().now,
}
PAUSE: dict[str, Any] = {"action": "pause", "reason": "x"}
WORD: dict[str, Any] = {"approval_id": "a", "content_hash": "h", "reason": "x"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (c.ResumeCharger(charger_id="CP-1", reason="x"), None),
        (c.ChangeCharger(charger_id="CP-1", site="south"), None),
        (c.ChangeCharger(charger_id="CP-1", cohort="rest"), "other-cohort"),
        (c.SetSupervisorState(kind="cohort", name="canary", **PAUSE), None),
        (c.SetSupervisorState(kind="cohort", name="rest", **PAUSE), "other-cohort"),
        (c.SetSupervisorState(kind="family", name="canary", **PAUSE), "fleet-wide"),
        (c.RequestWaiver(subject="cohort:canary", **WAIVER), None),
        (c.RequestWaiver(subject="cohort:rest", cohort="canary", **WAIVER), "other-cohort"),
        (c.RequestWaiver(subject="charger:CP-1", cohort="canary", **WAIVER), None),
        (c.RequestWaiver(subject="charger:CP-2", cohort="rest", **WAIVER), "other-cohort"),
        (c.EndWaiver(waiver_id="w", reason="x"), "fleet-wide"),
        (c.SetPolicy(scope="cohort:canary/charging_station", values={}), "fleet-wide"),
        (c.DecideFleetApproval(verdict="withdraw", **WORD), None),
        (c.DecideFleetApproval(verdict="approve", **WORD), "fleet-wide"),
        (c.DecideFleetApproval(verdict="reject", **WORD), "fleet-wide"),
    ],
)
def test_a_limited_token_reaches_its_cohort_and_nothing_of_the_fleet(
    body: c.Command, code: str | None
) -> None:
    state = World().charger
    refusal = out_of_reach(asked(body, cohorts=("canary",)), state)
    assert (refusal.code if refusal is not None else None) == code
    assert out_of_reach(asked(body), state) is None
    other = out_of_reach(asked(body, cohorts=()), state)
    withdraws = isinstance(body, c.DecideFleetApproval) and body.verdict == "withdraw"
    assert (other is None) is withdraws


def test_a_charger_that_was_moved_in_the_same_batch_is_out_of_reach_at_once() -> None:
    partition = Partition()
    partition.commit(asked(registration()))
    batch = partition.commit(
        asked(issue("j1"), "c1", cohorts=("canary",)),
        asked(c.ChangeCharger(charger_id="CP-1", cohort="rest"), "c2"),
        asked(issue("j2"), "c3", cohorts=("canary",)),
    )
    first, _, last = partition.answers[-3:]
    assert first.refusal is None
    assert last.refusal is not None
    assert (last.refusal.code, last.refusal.status) == ("other-cohort", 403)
    assert {event.event for event in batch.events} >= {"CertificateRequested", "ChargerChanged"}


def test_a_charger_is_registered_within_reach_only() -> None:
    partition = Partition()
    partition.commit(asked(registration(cohort="rest"), cohorts=("canary",)))
    refusal = partition.answers[-1].refusal
    assert refusal is not None
    assert refusal.code == "other-cohort"
    assert partition.rows == []
