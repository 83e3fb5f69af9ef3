"""What the known CAs say of themselves becomes evidence when it is news, and numbers in any case."""

from typing import Any

import msgspec
import pytest

from bfactors import command as c
from bfactors import evidence as v
from bfactors.ca import NotReady, Permanent, Transient
from bfactors.errors import Unavailable
from bfactors.fleet import decide as fleet
from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_row import AggregateRow
from bfactors.refusal import Refusal
from bfactors.revocation_list import SeenList
from deploy.role.authority import CaClients
from deploy.role.authority_watch import AuthorityWatch
from deploy.role.revocation_desk import SeenLists
from gateways.ca.call_limits import CallLimits
from tests.core.rollover_world import P, described
from tests.core.world import ARN, NEXT_ARN
from tests.fakes.ca import CountedMetrics, FakeCa, ManualTime


class Log:
    def __init__(self) -> None:
        self.appended: list[tuple[v.EvidenceBody, int | None]] = []

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        self.appended.append((evidence.body, partition))


class Desk:
    """A fleet with one CA, whose client is a fake."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.ca = FakeCa(self.time, arn=ARN)
        self.log = Log()
        self.metrics = CountedMetrics()
        self.state = FleetState()
        self.do(described(ARN))
        limits = CallLimits(15, monotonic=self.time.monotonic)
        self.clients = CaClients({P: self.ca}, {P: ARN}, limits)  # type: ignore[dict-item]
        self.lists = SeenLists()
        self.watch = AuthorityWatch(self, self.clients, self.log, self.time, self.metrics, self.lists)

    def do(self, command: fleet.FleetCommand) -> None:
        self.state = fleet.decide_command(self.state, command, "system:start", self.time.now()).state

    async def aggregate(self, partition: int, key: str) -> AggregateRow | None:
        return AggregateRow(key, 1, msgspec.json.encode(self.state))


async def test_a_status_is_told_when_it_is_another_than_the_ledger_knows() -> None:
    desk = Desk()
    await desk.watch.look()
    assert desk.log.appended == []
    desk.ca.status = "DISABLED"
    await desk.watch.look()
    body = v.AuthorityObserved(purpose=P, authority_arn=ARN, status="DISABLED")
    assert desk.log.appended == [(body, FLEET)]
    authority_id = desk.state.facts.authorities[P].authority_id
    assert desk.metrics.gauges["bf_authority_active", P, authority_id] == 0
    ends = desk.state.facts.authorities[P].not_after.timestamp()
    assert desk.metrics.gauges["bf_authority_expiry_timestamp_seconds", P, authority_id] == ends


async def test_a_ca_that_does_not_answer_is_no_news_and_holds_up_no_other() -> None:
    desk = Desk()
    desk.do(described(NEXT_ARN))  # the fake does not know it
    desk.ca.status = "DISABLED"
    await desk.watch.look()
    assert [body.authority_arn for body, _ in desk.log.appended] == [ARN]  # type: ignore[union-attr]


async def test_a_rollover_s_step_is_a_number() -> None:
    desk = Desk()
    desk.do(described(NEXT_ARN))
    to_id = next(iter(desk.state.facts.further))
    desk.do(c.StartRollover(rollover_id="r", purpose=P, to_id=to_id, reason="x"))
    await desk.watch.look()
    assert desk.metrics.gauges["bf_ca_rollover_step_timestamp_seconds", P] == desk.time.now().timestamp()


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Permanent("ResourceNotFoundException", "none"), "authority-cannot-be-read"), (None, None)],
)
async def test_a_ca_is_asked_what_it_is_before_it_is_made_known(fault: Any, code: str | None) -> None:
    desk = Desk()
    if fault is not None:
        desk.ca.fail("describe", fault)
    said = await desk.watch.described(P, ARN)
    assert (said.code if isinstance(said, Refusal) else None) == code
    if not isinstance(said, Refusal):
        assert said.root_pem == desk.ca.pki.root_pem


async def test_one_that_is_not_active_or_of_no_purpose_of_ours_is_refused_and_one_that_is_away_is_away() -> (
    None
):
    desk = Desk()
    desk.ca.status = "PENDING_CERTIFICATE"
    said = await desk.watch.described(P, ARN)
    assert isinstance(said, Refusal)
    assert said.code == "authority-not-active"
    said = await desk.watch.described("backend_server", ARN)
    assert isinstance(said, Refusal)
    assert said.code == "no-ca-here"
    for error in (Transient("Throttling", "later"), NotReady("RequestInProgressException", "later")):
        desk.ca.fail("describe", error)
        with pytest.raises(Unavailable):
            await desk.watch.described(P, ARN)


def test_a_further_ca_s_audit_reports_go_where_its_realm_s_go() -> None:
    desk = Desk()
    desk.clients.realm_buckets = {"charger-identity": "audit"}
    desk.clients.know(P, NEXT_ARN)
    assert desk.clients.audit_buckets == {NEXT_ARN: "audit"}


async def test_how_a_ca_s_list_stood_is_told_as_it_was_noted_last() -> None:
    desk = Desk()
    assert desk.watch.list_of(ARN) is None
    for number in ("1", "2"):
        now = desk.time.now()
        noted = SeenList(number=number, this_update=now, next_update=None, seen_at=now)
        desk.lists.note(ARN, noted)
    assert desk.watch.list_of(ARN) == noted
    assert desk.watch.list_of(NEXT_ARN) is None


async def test_a_ca_that_was_made_known_elsewhere_can_be_asked_for_reports_before_it_is_asked_how_it_stands() -> (
    None
):
    desk = Desk()
    desk.clients.realm_buckets = {"charger-identity": "audit"}
    desk.do(described(NEXT_ARN))
    await desk.watch.learn()
    assert desk.clients.audit_buckets == {ARN: "audit", NEXT_ARN: "audit"}
    assert desk.ca.calls == []


async def test_a_ca_that_was_made_known_here_can_be_asked_for_reports_at_once() -> None:
    desk = Desk()
    desk.clients.realm_buckets = {"charger-identity": "audit"}
    assert not isinstance(await desk.watch.described(P, ARN), Refusal)
    assert desk.clients.audit_buckets == {ARN: "audit"}
