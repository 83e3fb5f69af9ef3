"""Which events become notices, who wants them, when they are tried again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet import decide as fleet
from bfactors.fleet.state import FleetState
from bfactors.fleet.subscription import MOST_SUBSCRIPTIONS
from bfactors.ledger_row import GENESIS, EventRow
from bfactors.notice import (
    KINDS,
    SEVERITIES,
    Notice,
    Severity,
    Subscription,
    Telling,
    next_attempt,
    notice_of,
)
from tests.fakes.ledger_row import event as ledger_event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(event: Any, partition: int = 1, sequence: int = 1, **fields: Any) -> EventRow:
    payload = msgspec.json.encode(event).decode()
    return ledger_event(GENESIS, partition, sequence, event=type(event).__name__, payload=payload, **fields)


@pytest.mark.parametrize(
    ("event", "kind", "severity", "text"),
    [
        (
            e.CertificateExpiryEscalated(certificate_id="c", days_left=14),
            *("expiry-escalated", "warning", "ends in at most 14 days"),
        ),
        (
            e.CertificateExpiryEscalated(certificate_id="c", days_left=7),
            *("expiry-escalated", "critical", "ends in at most 7 days"),
        ),
        (e.CertificateExpired(certificate_id="c"), "certificate-expired", "critical", "has ended"),
        (
            e.CertificateJobOverdue(
                job_id="j", reason_code="not-reconnected", reason_message="it stayed away"
            ),
            *("job-overdue", "warning", "not-reconnected: it stayed away"),
        ),
        (
            e.CSRRefused(job_id="j", csr_fingerprint="f", reason="csr-subject-mismatch", message="another's"),
            *("csr-refused", "warning", "csr-subject-mismatch: another's"),
        ),
        (
            e.SupervisorStateSet(
                kind="family", name="acme", state="paused", reason="recall", by="operator:ada", at=NOW
            ),
            *("supervisor-state", "warning", "family acme is paused: recall (operator:ada)"),
        ),
        (
            e.SupervisorStateSet(
                kind="family", name="acme", state="running", reason="done", by="operator:ada", at=NOW
            ),
            *("supervisor-state", "info", "family acme is running"),
        ),
        (
            e.EvidenceQuarantined(charger_id="CP-1", evidence_id="ev", error="KeyError"),
            *("evidence-quarantined", "critical", "evidence ev"),
        ),
    ],
)
def test_an_event_somebody_must_see_becomes_a_notice_in_words(
    event: Any, kind: str, severity: str, text: str
) -> None:
    notice = notice_of(row(event, charger_id="CP-1", partition=3, sequence=9))
    assert notice is not None
    assert (notice.kind, notice.severity, notice.notice_id) == (kind, severity, "3:9")
    assert text in notice.text
    assert notice.charger_id == "CP-1"


def test_most_events_are_nobody_s_business() -> None:
    assert notice_of(row(e.CertificateJobSucceeded(job_id="j", certificate_id="c"))) is None
    assert notice_of(ledger_event(GENESIS, 1, 1, event="SomethingOfTomorrow", payload="{}")) is None


def test_every_kind_names_an_event_there_is() -> None:
    events = {kind.__name__ for kind in (*e.ChargerEvent.__args__, *e.FleetEvent.__args__)}
    assert set(KINDS) <= events


def a_notice(severity: Severity = "warning", kind: str = "job-overdue") -> Notice:
    return Notice(
        notice_id="1:1",
        kind=kind,
        severity=severity,
        event="",
        recorded_at=NOW,
        text="",
        charger_id="CP-1",
        managed_identity_id=None,
        purpose=None,
        job_id=None,
        certificate_id=None,
    )


@given(
    st.sampled_from(SEVERITIES),
    st.sampled_from(SEVERITIES),
    st.sets(st.sampled_from(["job-overdue", "csr-refused"])),
    st.sets(st.sampled_from(["north", "south"])),
    st.sampled_from(["north", "south", None]),
)
def test_a_subscription_wants_what_is_urgent_enough_and_of_its_kinds_and_cohorts(
    least: Severity, severity: Severity, kinds: set[str], cohorts: set[str], cohort: str | None
) -> None:
    one = Subscription(
        subscription_id="s",
        channel="webhook",
        target="h",
        role="operator",
        secret_id="x",
        least_severity=least,
        kinds=tuple(kinds),
        cohorts=tuple(cohorts),
    )
    urgent = SEVERITIES.index(severity) >= SEVERITIES.index(least)
    wanted = urgent and (not kinds or "job-overdue" in kinds) and (not cohorts or cohort in cohorts)
    assert one.wants(a_notice(severity), cohort) == wanted


def test_what_was_recorded_before_somebody_subscribed_is_not_told() -> None:
    one = Subscription(
        subscription_id="s",
        channel="webhook",
        target="h",
        role="operator",
        secret_id="x",
        since=NOW + timedelta(seconds=1),
    )
    assert not one.wants(a_notice(), None)
    assert msgspec.structs.replace(one, since=NOW).wants(a_notice(), None)


def test_it_is_tried_again_with_growing_pauses_and_given_up_after_a_day() -> None:
    now, attempts, pauses = NOW, 0, []
    while True:
        again = next_attempt(
            Telling(notice=a_notice(), subscription_id="s", created_at=NOW, attempts=attempts), now
        )
        if again is None:
            break
        pauses.append((again - now).total_seconds())
        now, attempts = again, attempts + 1
    assert pauses[0] == 30
    assert pauses == sorted(pauses)
    assert max(pauses) == 3600
    assert timedelta(days=1) <= now - NOW < timedelta(days=1, hours=1)
    assert attempts < 40


# ---------------------------------------------------------------- subscriptions, in the fleet partition

SET = c.SetSubscription(
    subscription_id="sub-1", channel="webhook", target="hooks.example.com", role="operator", secret_id="s-1"
)


def test_a_subscription_is_set_replaced_and_removed_and_told_to_no_other_partition() -> None:
    state = FleetState()
    made = fleet.decide_command(state, SET, "operator:ada", NOW)
    assert [type(event).__name__ for event in made.events] == ["NotificationSubscriptionSet"]
    assert not fleet.changes_facts(made.events)
    assert fleet.decide_command(made.state, SET, "operator:ada", NOW).events == ()
    other = msgspec.structs.replace(SET, secret_id="s-2", kinds=("job-failed", "job-failed"))
    replaced = fleet.decide_command(made.state, other, "operator:ada", NOW)
    assert replaced.result == {"since": NOW}
    assert replaced.state.subscriptions["sub-1"].kinds == ("job-failed",)
    gone = fleet.decide_command(
        replaced.state, c.RemoveSubscription(subscription_id="sub-1", reason="left"), "operator:ada", NOW
    )
    assert gone.result == {"secret_id": "s-2"}
    assert gone.state.subscriptions == {}
    stored = msgspec.json.decode(msgspec.json.encode(replaced.state), type=FleetState)
    assert stored.subscriptions == replaced.state.subscriptions


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (msgspec.structs.replace(SET, kinds=("gossip",)), "invalid-value"),
        (msgspec.structs.replace(SET, least_severity="mild"), "invalid-value"),
        (msgspec.structs.replace(SET, channel="pigeon"), "invalid-value"),
        (c.RemoveSubscription(subscription_id="sub-9", reason="why"), "unknown-subscription"),
        (c.RemoveSubscription(subscription_id="sub-9", reason=" "), "reason-missing"),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(command: Any, code: str) -> None:
    decision = fleet.decide_command(FleetState(), command, "operator:ada", NOW)
    assert decision.refusal is not None
    assert decision.refusal.code == code


def test_their_number_is_bounded() -> None:
    state = FleetState()
    for number in range(MOST_SUBSCRIPTIONS):
        one = msgspec.structs.replace(SET, subscription_id=f"sub-{number}")
        state = fleet.decide_command(state, one, "operator:ada", NOW).state
    more = msgspec.structs.replace(SET, subscription_id="one-more")
    refusal = fleet.decide_command(state, more, "operator:ada", NOW).refusal
    assert refusal is not None
    assert refusal.code == "too-many-subscriptions"
