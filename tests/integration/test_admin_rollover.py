"""`/api/v1/authorities` and a purpose's rollover over the real decisions: made known, forecast, step by step, given up."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bfactors import evidence as v
from bfactors.command import CommandEnvelope, RegisterAuthority, SetPolicy
from bfactors.errors import Unavailable
from bfactors.identity import FLEET
from bfactors.refusal import Refusal
from bfactors.revocation_list import SeenList
from bfactors.x509 import fingerprint_sha256, split_chain
from gateways.admin.ports import Token
from tests.core import pki
from tests.core.rollover_world import described
from tests.core.world import ARN, NEXT_ARN, evidence
from tests.core.world import World as CoreWorld
from tests.integration.admin_world import BEGIN, AdminWorld, ApiToken, Reply

PURPOSE = "charging_station"
PATH = "/api/v1/authorities"
ROLLOVER = f"{PATH}/{PURPOSE}/rollover"


class Desk:
    """Knows one CA beside the first."""

    async def described(self, purpose: str, authority_arn: str) -> RegisterAuthority | Refusal:
        if authority_arn == "arn:away":
            raise Unavailable("the CA does not answer")
        if authority_arn != NEXT_ARN:
            return Refusal("authority-cannot-be-read", "no CA has this ARN", "authority_arn", 409)
        return described(NEXT_ARN)

    def list_of(self, authority_arn: str) -> SeenList | None:
        if authority_arn != ARN:
            return None
        made = BEGIN - timedelta(minutes=90)
        return SeenList(number="1f", this_update=made, next_update=made + timedelta(days=1), seen_at=BEGIN)


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld(authorities=Desk()).served() as world:
        envelope = CommandEnvelope(command_id="a", actor="system:start", role="system", body=described(ARN))
        assert (await world.door.request(FLEET, envelope)).refusal is None
        assert (await world.bundle([pki.ca().root_pem])).status == 201
        yield world


async def post(world: AdminWorld, path: str, status: int, **body: object) -> Reply:
    reply = await world.ask("POST", path, body, role="pki-admin")
    assert reply.status == status, reply.body
    return reply


async def agreed(world: AdminWorld, held: Reply, status: int = 200) -> Reply:
    """A second person's word."""
    second: Token = ApiToken(name="second", role="pki-admin")
    world.tokens.live["bf_second-token"] = second  # type: ignore[assignment]
    word = {"content_hash": held.body["content_hash"], "reason": "read it"}
    headers = {"Authorization": "Bearer bf_second-token"}
    path = f"{held.headers['Location']}/approve"
    reply = await world.ask("POST", path, word, role=None, headers=headers)
    assert reply.status == status, reply.body
    return reply


async def begun_by_two(world: AdminWorld, authority_id: str) -> Any:
    """The rollover as it is shown once somebody else has agreed to its beginning."""
    held = await post(world, ROLLOVER, 202, authority_id=authority_id, reason="x", dry_run=False)
    assert held.body["kind"] == "rollover"
    assert (await world.ask("GET", ROLLOVER)).status == 404
    await agreed(world, held)
    return (await world.ask("GET", ROLLOVER)).body


async def made_known(world: AdminWorld) -> str:
    reply = await post(world, PATH, 201, purpose=PURPOSE, authority_arn=NEXT_ARN)
    return str(reply.body["authority_id"])


async def verified(world: AdminWorld) -> None:
    prints = tuple(fingerprint_sha256(split_chain(pki.ca(name).pem)[0]) for name in ("Fleet", "Next"))
    body = v.NodeTrustReported(node="n1", incarnation="i1", fingerprints=prints)
    await world.door.tell(FLEET, evidence("", body, BEGIN))


async def test_another_ca_is_made_known_and_listed_beside_the_first(world: AdminWorld) -> None:
    authority_id = await made_known(world)
    listed = (await world.ask("GET", PATH, role="viewer")).body["items"]
    assert {(each["authority_arn"], each["state"], each["certificates"]) for each in listed} == {
        (ARN, "current", 0),
        (NEXT_ARN, "incoming", 0),
    }
    lists = {each["authority_arn"]: each["crl"] for each in listed}
    assert lists[NEXT_ARN] is None
    assert lists[ARN].pop("age_s") == 90 * 60
    assert lists[ARN] == {
        "number": "1f",
        "this_update": "2026-03-01T10:30:00Z",
        "next_update": "2026-03-02T10:30:00Z",
        "seen_at": "2026-03-01T12:00:00Z",
    }
    assert (await world.ask("GET", f"{PATH}/{authority_id}/holders")).body["items"] == []
    assert (await world.ask("GET", f"{PATH}/{'0' * 16}/holders")).status == 404


async def test_a_ca_that_cannot_be_read_is_refused_with_the_reason(world: AdminWorld) -> None:
    refused = await post(world, PATH, 409, purpose=PURPOSE, authority_arn="arn:aws:nothing")
    assert refused.body["code"] == "authority-cannot-be-read"
    await post(world, PATH, 503, purpose=PURPOSE, authority_arn="arn:away")
    unknown = await post(world, PATH, 422, purpose="nothing", authority_arn=NEXT_ARN)
    assert unknown.body["code"] == "unknown-purpose"


async def test_a_rollover_is_forecast_first_and_changes_nothing_by_that(world: AdminWorld) -> None:
    authority_id = await made_known(world)
    forecast = (await post(world, ROLLOVER, 200, authority_id=authority_id, reason="x")).body
    assert forecast["renewals"] == 0
    assert forecast["anchors"][0]["has_root"] is False
    assert (await world.ask("GET", ROLLOVER)).status == 404
    refused = await post(world, ROLLOVER, 404, authority_id="0" * 16, reason="x")
    assert refused.body["code"] == "unknown-authority"


async def test_step_by_step_to_the_end_each_saying_what_it_waits_for(world: AdminWorld) -> None:
    authority_id = await made_known(world)
    begun = await begun_by_two(world, authority_id)
    assert (begun["step"], [each["code"] for each in begun["waiting_for"]]) == (
        "gateways",
        ["gateway-does-not-verify-issuer"],
    )
    refused = await post(world, f"{ROLLOVER}/advance", 409, step="gateways", reason="x")
    assert refused.body["code"] == "gateway-does-not-verify-issuer"
    await verified(world)
    steps = []
    for step in ("gateways", "anchors", "overlap"):
        moved = (await post(world, f"{ROLLOVER}/advance", 202, step=step, reason="x")).body
        steps.append((moved["rollover"]["step"], moved["rollover"]["anchors"][0]["version"]))
    assert steps == [("anchors", 2), ("overlap", 2), ("renewal", 2)]
    again = await post(world, f"{ROLLOVER}/advance", 202, step="gateways", reason="x")
    assert again.body["rollover"]["step"] == "renewal"
    held = await post(world, f"{ROLLOVER}/advance", 202, step="renewal", reason="x")
    assert (await world.ask("GET", ROLLOVER)).body["step"] == "renewal"
    await agreed(world, held)
    assert (await world.ask("GET", ROLLOVER)).status == 404
    listed = (await world.ask("GET", PATH)).body["items"]
    assert {each["state"]: each["authority_arn"] for each in listed} == {"retired": ARN, "current": NEXT_ARN}


async def test_a_certificate_of_the_old_ca_holds_the_end_up_and_is_named(world: AdminWorld) -> None:
    core = CoreWorld()
    certificate = core.to_active()
    await world.adopt(core)
    authority_id = await made_known(world)
    forecast = (await post(world, ROLLOVER, 200, authority_id=authority_id, reason="x")).body
    assert (forecast["renewals"], forecast["minutes"]) == (1, 1)
    await begun_by_two(world, authority_id)
    await verified(world)
    for step in ("gateways", "anchors", "overlap"):
        await post(world, f"{ROLLOVER}/advance", 202, step=step, reason="x")
    refused = await post(world, f"{ROLLOVER}/advance", 409, step="renewal", reason="x")
    assert refused.body["code"] == "authority-in-use"
    shown = (await world.ask("GET", ROLLOVER, role="viewer")).body
    assert (shown["certificates"], [each["code"] for each in shown["waiting_for"]]) == (
        1,
        ["authority-in-use"],
    )
    held = (await world.ask("GET", f"{PATH}/{shown['leaving_id']}/holders", role="viewer")).body["items"]
    assert [(each["charger_id"], each["certificate_id"]) for each in held] == [
        ("CP-1", certificate.certificate_id)
    ]


async def test_where_policy_leaves_it_out_one_person_begins_and_ends_it(world: AdminWorld) -> None:
    values = {"approvals_needed": ["rollback", "waiver", "incident"]}
    envelope = CommandEnvelope(
        command_id="p",
        actor="system:start",
        role="system",
        body=SetPolicy(scope=f"purpose:{PURPOSE}", values=values),
    )
    assert (await world.door.request(FLEET, envelope)).refusal is None
    authority_id = await made_known(world)
    begun = await post(world, ROLLOVER, 202, authority_id=authority_id, reason="x", dry_run=False)
    assert begun.body["step"] == "gateways"
    await verified(world)
    for step in ("gateways", "anchors", "overlap"):
        await post(world, f"{ROLLOVER}/advance", 202, step=step, reason="x")
    ended = await post(world, f"{ROLLOVER}/advance", 202, step="renewal", reason="x")
    assert ended.body == {"purpose": PURPOSE, "rollover": None}


async def test_whoever_is_to_agree_sees_both_cas_and_what_stands_in_the_way(world: AdminWorld) -> None:
    authority_id = await made_known(world)
    held = await post(world, ROLLOVER, 202, authority_id=authority_id, reason="x", dry_run=False)
    seen = (await world.ask("GET", held.headers["Location"], role="viewer")).body["rollover"]
    assert (seen["leaving"]["authority_arn"], seen["to"]["authority_arn"]) == (ARN, NEXT_ARN)
    assert seen["to"]["fingerprint_sha256"] == fingerprint_sha256(split_chain(pki.ca("Next").pem)[0])
    assert seen["to"]["root_sha256"] == fingerprint_sha256(split_chain(pki.ca("Next").root_pem)[0])
    assert seen["waiting_for"] == []
    for status, codes in (("DISABLED", ["authority-not-active"]), ("ACTIVE", [])):
        said = v.AuthorityObserved(purpose=PURPOSE, authority_arn=NEXT_ARN, status=status)
        await world.door.tell(FLEET, evidence("", said, BEGIN))
        now = (await world.ask("GET", held.headers["Location"])).body["rollover"]["waiting_for"]
        assert [each["code"] for each in now] == codes
    await agreed(world, held)
    over = (await world.ask("GET", held.headers["Location"])).body
    assert (over["state"], over.get("rollover")) == ("approved", None)


async def test_what_hangs_on_the_old_ca_is_read_when_its_end_is_agreed_to(world: AdminWorld) -> None:
    authority_id = await made_known(world)
    await begun_by_two(world, authority_id)
    await verified(world)
    for step in ("gateways", "anchors", "overlap"):
        await post(world, f"{ROLLOVER}/advance", 202, step=step, reason="x")
    held = await post(world, f"{ROLLOVER}/advance", 202, step="renewal", reason="x")
    assert not {"hanging", "heard_sequence"} & set(held.body["content"])
    core = CoreWorld()
    core.to_active()
    await world.adopt(core)  # nothing hung on it when it was asked for
    seen = (await world.ask("GET", held.headers["Location"])).body["rollover"]
    assert [each["code"] for each in seen["waiting_for"]] == ["authority-in-use"]
    refused = await agreed(world, held, 409)
    assert refused.body["code"] == "authority-in-use"
    open_still = (await world.ask("GET", held.headers["Location"])).body
    assert (open_still["state"], (await world.ask("GET", ROLLOVER)).body["step"]) == ("open", "renewal")
    assert (await post(world, f"{ROLLOVER}/abort", 202, reason="x")).body["ended"] is True
    assert (await agreed(world, held, 409)).body["code"] == "approval-ended"


async def test_one_that_is_given_up_is_over(world: AdminWorld) -> None:
    authority_id = await made_known(world)
    await begun_by_two(world, authority_id)
    assert (await post(world, f"{ROLLOVER}/abort", 202, reason="x")).body["ended"] is True
    assert (await world.ask("GET", ROLLOVER)).status == 404
    assert (await post(world, f"{ROLLOVER}/abort", 409, reason="x")).body["code"] == "no-rollover"
