"""Security events: answered always, stored once, folded in floods, laid to the job they explain, escalated by policy."""

from typing import Any

import msgspec
import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger.evolve_report import ENTRIES_PER_WINDOW, KINDS_COUNTED
from bfactors.evidence import SecurityEventReported
from bfactors.exchange import ExchangeRules
from bfactors.exchange.flood import EACH_PER_WINDOW, KINDS_PER_WINDOW, WINDOW_S
from bfactors.exchange.message import SessionEnded
from bfactors.ocpp import Answered, DefaultReply, LogStatusNotified, SecurityEventNotified
from bfactors.security_event import OTHER, is_critical
from tests.core import pki
from tests.core.exchange_bench import Bench
from tests.core.world import World, fleet_facts

# ---------------------------------------------------------------- on the session


def notified(
    number: int = 0, kind: str = "TamperDetectionActivated", text: str = ""
) -> SecurityEventNotified:
    return SecurityEventNotified(
        kind, f"2026-03-01T06:{number // 60 % 60:02d}:{number % 60:02d}Z", text or str(number)
    )


def recorded(bench: Bench) -> list[SecurityEventReported]:
    """Every security event that left for the log, each stored at once."""
    found = []
    while bench.recording is not None:
        if isinstance(bench.recording.body, SecurityEventReported):
            found.append(bench.recording.body)
        bench.store()
    return found


def tell(bench: Bench, event: SecurityEventNotified, message_id: str) -> list[SecurityEventReported]:
    """One notification, stored if it is to be; it is answered whatever happens."""
    bench.call(event, message_id)
    replies = list(bench.replies)
    found = []
    while bench.recording is not None:
        if isinstance(bench.recording.body, SecurityEventReported):
            found.append(bench.recording.body)
        bench.store()
        replies += bench.replies
    assert replies == [(message_id, DefaultReply())]
    return found


def test_ten_thousand_notifications_of_one_charger_cost_a_bounded_number_of_messages() -> None:
    bench = Bench.introduced()
    found = [body for number in range(10_000) for body in tell(bench, notified(number), str(number))]
    bench.wait(WINDOW_S)
    found += recorded(bench)
    assert len(found) == EACH_PER_WINDOW + 1
    assert sum(body.count for body in found) == 10_000
    assert found[-1].charger_time == notified(EACH_PER_WINDOW).charger_time


def test_not_even_ever_new_kinds_get_a_charger_past_the_bound() -> None:
    bench = Bench.introduced()
    found = [
        body
        for number in range(2_000)
        for body in tell(bench, notified(number, kind=f"Vendor{number}"), str(number))
    ]
    bench.wait(WINDOW_S)
    found += recorded(bench)
    assert [body.event_type for body in found] == [f"Vendor{n}" for n in range(KINDS_PER_WINDOW)] + [OTHER]
    assert sum(body.count for body in found) == 2_000


def test_what_was_counted_is_recorded_before_the_session_says_that_it_is_over() -> None:
    bench = Bench.introduced()
    for number in range(EACH_PER_WINDOW + 5):
        tell(bench, notified(number), str(number))
    bench.give(SessionEnded("gone"))
    kinds = []
    while bench.recording is not None:
        kinds.append(type(bench.recording.body).__name__)
        if isinstance(bench.recording.body, SecurityEventReported):
            assert bench.recording.body.count == 5
        bench.store()
    assert kinds == ["SecurityEventReported", "SessionClosed"]


def test_while_the_log_is_behind_a_flood_goes_on_being_counted_and_is_recorded_later() -> None:
    bench = Bench.introduced(rules=ExchangeRules(evidence_buffered=6))
    for number in range(EACH_PER_WINDOW + 3):
        tell(bench, notified(number), str(number))
    for number in range(2):
        bench.call(notified(number, kind=f"Other{number}"), f"o{number}")
    bench.wait(5)
    bench.now_s += WINDOW_S
    bench.fail()
    assert bench.state.phase == "open"
    bench.wait(120)
    counts = [body.count for body in recorded(bench)]
    assert 3 in counts


def test_an_event_told_again_is_answered_and_is_no_second_fact() -> None:
    bench = Bench.introduced()
    assert len(tell(bench, notified(1), "a")) == 1
    assert tell(bench, notified(1), "b") == []
    assert len(tell(bench, notified(2), "c")) == 1


def test_an_event_told_again_before_it_is_stored_is_answered_with_the_first() -> None:
    bench = Bench.introduced()
    bench.call(notified(1), "a").call(notified(1), "b")
    assert bench.replies == []
    assert bench.store().replies == [("a", DefaultReply()), ("b", DefaultReply())]
    assert bench.recording is None


def test_a_status_told_again_and_again_is_one_fact() -> None:
    bench = Bench.introduced()
    bench.call(LogStatusNotified("Uploading", 7), "a").store()
    for number in range(100):
        assert bench.call(LogStatusNotified("Uploading", 7), f"b{number}").reply == DefaultReply()
        assert bench.recording is None
    assert bench.call(LogStatusNotified("Uploaded", 7), "c").recorded == [
        v.LogStatusReported(session_id="s-1", status="Uploaded", request_id=7)
    ]


# ---------------------------------------------------------------- in the ledger


def reported(kind: str = "TamperDetectionActivated", **fields: Any) -> SecurityEventReported:
    values: dict[str, Any] = {"charger_time": "2026-03-01T06:00:00Z", "tech_info": "door", **fields}
    return SecurityEventReported(session_id="s1", event_type=kind, **values)


def events(world: World) -> list[e.SecurityEventRecorded]:
    return [event for event in world.events if isinstance(event, e.SecurityEventRecorded)]


def connected(version: str = "2.0.1", **policy: object) -> World:
    commands = (c.SetPolicy(scope="purpose:charging_station", values=policy),) if policy else ()
    world = World(fleet_facts(*commands))
    world.connect(version=version)
    return world


@pytest.mark.parametrize(
    ("kind", "in_16", "in_201", "in_21"),
    [
        ("FirmwareUpdated", True, True, True),
        ("TamperDetectionActivated", True, True, True),
        ("InvalidFirmwareSignature", False, True, True),
        ("InvalidChargingStationCertificate", False, True, True),
        ("InvalidTLSVersion", False, True, True),
        ("MaintenanceLoginFailed", False, True, True),
        ("DiscardedRenewedClientCertificate", False, False, True),
        ("FailedToAuthenticateAtCsms", False, False, False),
        ("VendorSpecific", False, False, False),
    ],
)
def test_what_is_critical_depends_on_the_version(kind: str, in_16: bool, in_201: bool, in_21: bool) -> None:
    assert [is_critical(kind, version) for version in ("1.6", "2.0.1", "2.1")] == [in_16, in_201, in_21]


def test_an_event_is_recorded_with_both_times_and_shown_on_the_charger() -> None:
    world = connected()
    world.tell(reported("StartupOfTheDevice"))
    (event,) = events(world)
    assert (event.critical, event.charger_time, event.detail) == (True, "2026-03-01T06:00:00Z", "door")
    (shown,) = world.charger.security_events
    assert (shown.kind, shown.observed_at, shown.count) == ("StartupOfTheDevice", world.now, 1)


def test_a_flood_that_reaches_the_ledger_is_one_entry_with_a_count() -> None:
    world = connected()
    for number in range(ENTRIES_PER_WINDOW + 30):
        world.tell(reported(charger_time=str(number), count=2))
    rows = {event.row_id or str(index) for index, event in enumerate(events(world))}
    assert len(rows) == ENTRIES_PER_WINDOW + 1
    assert world.charger.security_events[-1].count == 60
    assert len(world.charger.security_events) == 5
    world.wait(hours=2)
    world.tell(reported(charger_time="later"))
    assert events(world)[-1].row_id is None


def test_ever_new_kinds_do_not_grow_what_is_remembered_of_a_charger() -> None:
    world = connected()
    for number in range(200):
        world.tell(reported(f"Vendor{number}"))
    assert len(world.charger.security_windows) == KINDS_COUNTED + 1
    assert events(world)[-1].kind == OTHER


def test_the_open_job_gets_the_reason_the_charger_reported() -> None:
    world = World()
    world.request()
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    (job,) = world.charger.jobs.values()
    assert job.stage == "installing"
    world.tell(reported("InvalidChargingStationCertificate", tech_info="chain incomplete"))
    (job,) = world.charger.jobs.values()
    assert events(world)[-1].job_id == job.job_id
    assert (job.stage, job.reason_code) == ("installing", "invalid-charging-station-certificate")
    assert "chain incomplete" in (job.reason_message or "")
    world.wait(seconds=1)
    assert next(iter(world.charger.jobs.values())).reason_code == "invalid-charging-station-certificate"


def test_an_event_that_follows_the_refusal_still_belongs_to_the_job_that_has_ended() -> None:
    world = World()
    world.request()
    world.connect(version="1.6")
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    (job_id,) = world.charger.jobs
    world.carry_out(Answered("Rejected"))
    assert world.jobs[job_id].state == "failed"
    world.tell(reported("InvalidChargePointCertificate"))
    assert events(world)[-1].job_id == job_id
    world.wait(hours=1)
    world.tell(reported("InvalidChargePointCertificate", charger_time="2026-03-01T07:00:00Z"))
    assert events(world)[-1].job_id is None


def test_a_charger_that_cannot_verify_us_explains_the_job_that_installs_anchors() -> None:
    world = World()
    world.request()
    world.connect()
    (job_id,) = world.charger.jobs
    assert world.charger.jobs[job_id].stage == "awaiting-trust-anchor"
    world.tell(reported("InvalidCsmsCertificate"))
    assert world.charger.jobs[job_id].reason_code == "invalid-csms-certificate"


def test_a_discarded_renewal_is_laid_to_the_job_that_waits_for_the_reconnect() -> None:
    world = World()
    active = world.to_active()
    world.request("renew", certificate_id=active.certificate_id)
    world.carry_out()
    world.present_csr(pki.csr("SN-1"))
    world.ca_issues()
    world.carry_out()
    (job,) = world.charger.jobs.values()
    assert job.stage == "awaiting-reconnect"
    world.tell(reported("DiscardedRenewedClientCertificate"))
    job = world.charger.jobs[job.job_id]
    assert (job.stage, job.reason_code) == ("awaiting-reconnect", "renewed-certificate-discarded")
    assert job.due_at is not None


@pytest.mark.parametrize(
    ("policy", "kind", "version", "escalated"),
    [
        ({}, "TamperDetectionActivated", "2.0.1", True),
        ({}, "StartupOfTheDevice", "2.0.1", False),
        ({"escalate_security_events": ["critical"]}, "StartupOfTheDevice", "2.0.1", True),
        ({"escalate_security_events": ["critical"]}, "InvalidTLSVersion", "1.6", False),
        ({"escalate_security_events": ["VendorAlarm"]}, "VendorAlarm", "2.1", True),
        ({"escalate_security_events": []}, "TamperDetectionActivated", "2.1", False),
    ],
)
def test_policy_says_which_events_are_escalated(
    policy: dict[str, object], kind: str, version: str, escalated: bool
) -> None:
    world = connected(version, **policy)
    world.tell(reported(kind))
    assert ("SecurityEventEscalated" in world.names()) is escalated


def test_a_flood_escalates_no_more_often_than_it_has_entries() -> None:
    world = connected()
    for number in range(100):
        world.tell(reported(charger_time=str(number)))
    assert world.names().count("SecurityEventEscalated") == ENTRIES_PER_WINDOW


def test_an_event_told_again_after_a_reconnect_is_no_second_entry() -> None:
    world = connected()
    world.tell(reported())
    world.connect()
    for body in (
        reported(),
        reported(tech_info="lid"),
        reported(charger_time="2026-03-01T06:00:01Z"),
        reported(),
    ):
        world.tell(body)
    assert [(event.charger_time, event.detail) for event in events(world)] == [
        ("2026-03-01T06:00:00Z", "door"),
        ("2026-03-01T06:00:00Z", "lid"),
        ("2026-03-01T06:00:01Z", "door"),
    ]
    world.tell(reported(count=5))
    assert events(world)[-1].count == 5, "a flood is counted whatever it repeats"


def test_what_is_remembered_of_told_events_is_bounded() -> None:
    world = connected()
    for number in range(100):
        world.tell(reported(charger_time=f"{number}"))
    assert len(world.charger.security_known) == 64


def test_states_and_evidence_of_before_are_still_read() -> None:
    world = connected()
    stored = msgspec.to_builtins(world.charger)
    for name in ("security_windows", "security_events", "security_known", "logs", "last_request_id"):
        del stored[name]
    assert msgspec.convert(stored, type(world.charger)).logs == ()
    old = msgspec.to_builtins(reported())
    del old["count"]
    assert msgspec.convert(old, v.SecurityEventReported).count == 1


def test_whose_car_it_was_is_taken_out_of_an_event_before_it_is_evidence() -> None:
    told = SecurityEventNotified("TamperDetectionActivated", "now", "plug pulled from WDB2030461A123456")
    bench = Bench.introduced().call(told, "m1")
    [body] = [body for body in bench.recorded if isinstance(body, v.SecurityEventReported)]
    assert body.tech_info == "plug pulled from [personal identifier]"
