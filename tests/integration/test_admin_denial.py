"""Denied requests are on record: who claimed what and tried what, without their token, and floods of them as few facts."""

import base64
import json
from collections.abc import AsyncIterator

import pytest

from bfactors.errors import Unavailable
from bfactors.evidence import AccessDenied, Evidence
from bfactors.identity import FLEET
from gateways.admin.denial import TEXT_MAX_CHARS, UNSENT_MAX, DenialReporter, claimed_by, plain
from gateways.admin.denial_fold import KINDS_MAX, VARIOUS, DenialFold
from tests.integration.admin_world import BEGIN, AdminWorld, HandClock, token_of


def denial(address: str = "192.0.2.1", who: str = "", operation: str = "jobs.list") -> AccessDenied:
    return AccessDenied(
        remote_address=address,
        who=who,
        role="viewer" if who else "",
        claimed="a token",
        operation=operation,
        request="GET /api/v1/jobs",
        status=403 if who else 401,
        code="forbidden" if who else "unauthorized",
    )


class Log:
    """An evidence log in memory."""

    def __init__(self) -> None:
        self.stored: list[Evidence] = []
        self.away = False

    async def append(self, evidence: Evidence, partition: int | None = None) -> None:
        if self.away:
            raise Unavailable("NATS")
        self.stored.append(evidence)


# ---------------------------------------------------------------- folding


def told(fold: DenialFold, now_s: float) -> list[AccessDenied]:
    return list(fold.due(now_s))


def test_one_denied_request_is_one_fact_told_once_and_forgotten() -> None:
    fold = DenialFold()
    fold.denied(denial(), 0)
    assert told(fold, 9.9) == []
    assert told(fold, 10) == [denial()]
    assert told(fold, 49) == []
    assert len(fold) == 1
    assert told(fold, 50) == []
    assert len(fold) == 0


def test_a_steady_flood_from_one_address_is_told_ever_more_seldom_and_every_request_counted() -> None:
    fold, facts, sent = DenialFold(), [], 0
    for second in range(86_400):
        for _ in range(20):
            fold.denied(denial(), second)
            sent += 1
        facts += told(fold, second)
    facts += list(fold.rest())
    assert sum(fact.count for fact in facts) == sent
    assert len(facts) < 160


def test_a_flood_from_everywhere_neither_fills_the_memory_nor_the_ledger() -> None:
    fold, facts = DenialFold(), []
    for number in range(200_000):
        fold.denied(
            denial(f"198.51.{number % 256}.{number // 256}", operation=f"o{number % 90}"), number / 100
        )
        assert len(fold) <= KINDS_MAX + 1
        facts += told(fold, number / 100) if number % 100 == 0 else []
    facts += list(fold.rest())
    assert sum(fact.count for fact in facts) == 200_000
    assert VARIOUS in {fact.remote_address for fact in facts}
    assert len(facts) < 2_000 * (KINDS_MAX + 1) / 30


def test_strangers_do_not_hide_what_somebody_known_tried() -> None:
    fold = DenialFold()
    for number in range(10 * KINDS_MAX):
        fold.denied(denial(f"192.0.2.{number}"), 0)
    fold.denied(denial(who="the-viewer"), 0)
    (known,) = (fact for fact in told(fold, 10) if fact.who)
    assert (known.who, known.operation, known.count) == ("the-viewer", "jobs.list", 1)


def test_known_people_are_told_apart_by_what_they_tried() -> None:
    fold = DenialFold()
    for operation in ("a", "b", "b"):
        fold.denied(denial(who="eve", operation=operation), 0)
    fold.denied(denial(who="ben", operation="a"), 0)
    assert sorted((f.who, f.operation, f.count) for f in told(fold, 10)) == [
        ("ben", "a", 1),
        ("eve", "a", 1),
        ("eve", "b", 2),
    ]


# ---------------------------------------------------------------- telling


async def test_what_nats_does_not_take_is_kept_up_to_a_bound_and_told_later() -> None:
    log, now = Log(), [0.0]
    reporter = DenialReporter(log, HandClock(), source="admin:core-1", now_s=lambda: now[0])
    log.away = True
    for round_number in range(6):
        for number in range(KINDS_MAX):
            reporter.denied(denial(f"{round_number}.{number}"))
        now[0] += 10
        reporter._keep(list(reporter._fold.due(now[0])))
        await reporter._send()
        now[0] += 1000
        list(reporter._fold.due(now[0]))
    assert len(reporter._unsent) == UNSENT_MAX
    log.away = False
    await reporter.stop()
    assert len(log.stored) == UNSENT_MAX
    assert len({evidence.evidence_id for evidence in log.stored}) == UNSENT_MAX


async def test_what_was_counted_is_told_when_the_process_stops() -> None:
    log = Log()
    reporter = DenialReporter(log, HandClock(), source="admin:core-1")
    reporter.start()
    reporter.denied(denial())
    await reporter.stop()
    (evidence,) = log.stored
    assert (evidence.charger_id, evidence.source, evidence.observed_at) == ("", "admin:core-1", BEGIN)
    assert evidence.body == denial()


def jwt_of(payload: bytes) -> str:
    return "a." + base64.urlsafe_b64encode(payload).decode().rstrip("=") + ".c"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "no token"),
        ("", "not a bearer token"),
        ("Basic YTpi", "not a bearer token"),
        ("Bearer bf_secret", "a token"),
        ("Bearer a.b.c", "a JWT"),
        ("Bearer " + jwt_of(b'{"sub": "ada"}'), "a JWT of 'ada'"),
        ("Bearer " + jwt_of(b'{"sub": 5}'), "a JWT"),
        ("Bearer " + jwt_of(b"[" * 4000), "a JWT"),
        ("Bearer " + jwt_of(json.dumps({"sub": "a\nb\x00"}).encode()), "a JWT of 'ab'"),
    ],
)
def test_what_is_claimed_is_named_and_not_repeated(header: str | None, said: str) -> None:
    assert claimed_by(header) == said


def test_what_strangers_send_is_short_and_printable() -> None:
    assert plain("x" * 9999) == "x" * TEXT_MAX_CHARS
    assert plain("a\r\nb\u202ec") == "abc"


# ---------------------------------------------------------------- on record


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        yield made


async def recorded(world: AdminWorld) -> list[dict[str, object]]:
    """What the list of security events says once the ledger has been told."""
    for body in world.denied:
        world.clock.at = world.clock.at.replace(microsecond=world.clock.at.microsecond + 1)
        evidence = Evidence(
            evidence_id=world.clock.new_id(),
            charger_id="",
            source="admin:core-1",
            observed_at=world.clock.now(),
            body=body,
        )
        await world.door.tell(FLEET, evidence)
    return (await world.ask("GET", "/api/v1/security-events")).body["items"]


async def test_a_role_that_may_not_is_on_record_with_its_name_and_what_it_tried(world: AdminWorld) -> None:
    body = {"values": {}, "reason": "x"}
    await world.ask("PUT", "/api/v1/policies/purpose:charging_station", body, role="viewer")
    (event,) = await recorded(world)
    assert event["kind"] == "AccessDenied/forbidden"
    assert event["detail"] == (
        "the-viewer (viewer) policies.set: PUT /api/v1/policies/purpose:charging_station"
    )
    assert event["remote_address"] == "127.0.0.1"
    trail = (await world.ask("GET", "/api/v1/audit?event=SecurityEventRecorded")).body["items"]
    assert trail[0]["payload"]["kind"] == "AccessDenied/forbidden"


async def test_a_wrong_token_is_on_record_without_the_token(world: AdminWorld) -> None:
    for header in ("Bearer bf_guessed-token", None):
        await world.ask("GET", "/api/v1/jobs", role=None, headers={"Authorization": header} if header else {})
    events = await recorded(world)
    assert {event["kind"] for event in events} == {"AccessDenied/unauthorized"}
    assert {event["detail"] for event in events} == {
        "a token jobs.list: GET /api/v1/jobs",
        "no token jobs.list: GET /api/v1/jobs",
    }
    assert "guessed" not in str(world.store.events) + str(world.denied)


async def test_a_vin_in_a_denied_path_is_not_on_record(world: AdminWorld) -> None:
    await world.ask("GET", "/api/v1/jobs/WDB2030461A123456", role=None)
    (event,) = await recorded(world)
    assert event["detail"] == "no token jobs.get: GET /api/v1/jobs/[personal identifier]"


async def test_a_vin_in_a_reason_is_refused(world: AdminWorld) -> None:
    await world.register()
    body = {"charger_id": "CP-1", "purpose": "charging_station", "action": "issue"}
    refused = await world.ask("POST", "/api/v1/jobs", body | {"reason": "sold with WDB2030461A123456"})
    assert (refused.status, refused.body["type"].rpartition(":")[2]) == (422, "personal-data")
    assert "WDB2030461A123456" not in str(refused.body)
    assert (await world.ask("POST", "/api/v1/jobs", body | {"reason": "sold"})).status == 202


async def test_a_refusal_for_who_asks_is_on_record_also_when_the_ledger_makes_it(world: AdminWorld) -> None:
    await world.register()
    needed = ["rollback", "policy"]
    policy = "/api/v1/policies/purpose:charging_station"
    await world.ask(
        "PUT", policy, {"values": {"approvals_needed": [*needed, "waiver", "incident", "rollover"]}}
    )
    held = await world.ask("PUT", policy, {"values": {"approvals_needed": needed}})
    word = {"content_hash": held.body["content_hash"], "reason": "mine"}
    own = await world.ask("POST", f"{held.headers['Location']}/approve", word)
    assert own.status == 403
    assert [(one.who, one.code, one.operation) for one in world.denied] == [
        ("the-pki-admin", "own-approval", "approvals.approve")
    ]


async def test_what_is_allowed_or_wrong_for_another_reason_is_no_denial(world: AdminWorld) -> None:
    await world.ask("GET", "/api/v1/jobs")
    await world.ask("GET", "/api/v1/chargers/none")
    await world.ask("POST", "/api/v1/jobs", {}, role="operator")
    assert world.denied == []
    assert token_of("operator") not in str(world.store.events)
