"""Somebody is told: `run.py up` with real receivers on the other side, a webhook and a mail relay.

The receivers lie on loopback, so their host stands in BF_EGRESS_ALLOWED_HOSTS, as the runbook says of one's own network.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from aiohttp import web

from simulator.charger import CsrWithSubjectOf
from simulator.fleet import AdminClient, Fleet, FleetPlan
from tests.conformance.control_plane import ControlPlane
from tests.faults.depot import EAGER
from tests.faults.plant import until
from tests.mail_relay import MailRelay, running
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.xdist_group("up")

FIRST_WAIT_S = 30
"""The runbook's word on when a notice is sent again."""
CANNOT, TAKEN = 500, 204
SIGNATURE = re.compile(r"t=([0-9]+),v1=([0-9a-f]{64})")


@dataclass(frozen=True)
class Delivery:
    """One request as it came in, and how it was answered."""

    signature: str
    body: bytes
    status: int

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def notice(self) -> dict[str, Any]:
        found: dict[str, Any] = self.said["notice"]
        return found

    def signed_at(self, key: str) -> int:
        """When it was signed under this key, in seconds since 1970; 0 if it was not. Reckoned from the runbook's words."""
        found = SIGNATURE.fullmatch(self.signature)
        assert found is not None, self.signature
        at, digest = found.groups()
        expected = hmac.digest(key.encode("ascii"), at.encode("ascii") + b"." + self.body, hashlib.sha256)
        return int(at) if hmac.compare_digest(expected.hex(), digest) else 0


@dataclass
class Receivers:
    """Webhooks by the name in their path. Those in `failing` answer with 500."""

    failing: set[str]
    url: str = ""
    had: defaultdict[str, list[Delivery]] = field(default_factory=lambda: defaultdict(list))

    async def take(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        status = CANNOT if name in self.failing else TAKEN
        delivery = Delivery(request.headers["BetterFleet-Signature"], await request.read(), status)
        self.had[name].append(delivery)
        return web.Response(status=status)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receivers]:
        app = web.Application()
        app.router.add_post("/{name}", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


@contextmanager
def telling(relay: MailRelay) -> Iterator[ControlPlane]:
    """A control plane that may reach both."""
    with ControlPlane.running(
        smtp_host="127.0.0.1",
        smtp_port=str(relay.port),
        smtp_tls="none",
        smtp_sender="bf@depot.example",
        egress_allowed_hosts="127.0.0.1",
    ) as plane:
        yield plane


@asynccontextmanager
async def one_in_each_cohort(plane: ControlPlane) -> AsyncIterator[list[str]]:
    """Two chargers that ask for certificates in another unit's name: of `cohort-1` and of `cohort-2`."""
    plan = FleetPlan(
        chargers=2,
        families=1,
        target_url=plane.ocpp_url.replace("127.0.0.1", "localhost"),
        prefix="told",
        faults={index: (CsrWithSubjectOf("SN-OF-ANOTHER"),) for index in range(2)},
        reconnect=EAGER,
    )
    assert [each.cohort for each in plan.planned()] == ["cohort-1", "cohort-2"]
    async with AdminClient(plane.admin_url, plane.token, attempts=60, retry_s=0.2) as admin:
        enrolment = await admin.enrol(plan, plan.planned())
    fleet = Fleet(
        [
            plan.configuration(
                each, password=enrolment.passwords[each.charger_id], csms_roots=tuple(plane.anchors)
            )
            for each in plan.planned()
        ]
    )
    await fleet.start()
    try:
        for charger in fleet.chargers:
            await charger.wait_for(lambda seen: seen.is_accepted, PATIENCE_S)
        yield [each.charger_id for each in plan.planned()]
    finally:
        await fleet.stop()


async def subscribed(plane: ControlPlane, address: str, cohort: str) -> dict[str, Any]:
    body = {"address": address, "role": "operator", "kinds": ["csr-refused"], "cohorts": [cohort]}
    return await plane.post("/api/v1/notification-subscriptions", body)


def told_to(subscription: dict[str, Any]) -> str:
    return f"/api/v1/notifications?subscription_id={subscription['subscription_id']}"


async def test_a_refusal_is_told_signed_and_again_until_taken_and_to_nobody_else() -> None:
    receivers, relay = Receivers(failing={"ours"}), MailRelay()
    had = receivers.had
    async with receivers.listening(), running(relay):
        with telling(relay) as plane:
            ours = await subscribed(plane, f"{receivers.url}/ours", "cohort-1")
            theirs = await subscribed(plane, f"{receivers.url}/theirs", "cohort-2")
            await subscribed(plane, "ada@depot.example", "cohort-1")
            await subscribed(plane, "bob@elsewhere.example", "cohort-2")
            async with one_in_each_cohort(plane) as (first, second):
                job_id = await plane.order(first)
                await until(lambda: len(relay.mails) >= 1 and len(had["ours"]) >= 1, "cohort-1 was told")
                waiting = await plane.until_items(told_to(ours), lambda told: told[0]["attempts"] >= 1)
                receivers.failing.clear()
                # whoever is told of the second was already asked about the first
                other_job_id = await plane.order(second)
                await until(lambda: len(relay.mails) >= 2 and len(had["theirs"]) >= 1, "cohort-2 was told")
                await until(lambda: had["ours"][-1].status == TAKEN, "what was not taken came again")
                settled = await plane.until_items(told_to(ours), lambda told: told[0]["state"] != "pending")
                told_theirs = await plane.items(told_to(theirs))

    refused, taken = had["ours"][0], had["ours"][-1]
    assert (refused.status, taken.status) == (CANNOT, TAKEN)
    assert [each.said["attempt"] for each in had["ours"]] == list(range(1, len(had["ours"]) + 1))
    assert all(each.notice == refused.notice for each in had["ours"]), "the same notice under the same id"
    assert taken.said["subscription_id"] == refused.said["subscription_id"] == ours["subscription_id"]
    assert (taken.notice["kind"], taken.notice["charger_id"], taken.notice["job_id"]) == (
        "csr-refused",
        first,
        job_id,
    )
    assert "SN-OF-ANOTHER" in taken.notice["text"]

    times = [each.signed_at(ours["signing_key"]) for each in had["ours"]]
    assert min(times) > 0, "the signature verifies"
    assert abs(times[-1] - time.time()) < PATIENCE_S
    assert times[1] - times[0] >= FIRST_WAIT_S - 1, "signed anew, after the pause the runbook names"
    assert taken.signed_at(theirs["signing_key"]) == 0, "each subscription has a key of its own"

    (was,), (now,) = waiting, settled
    assert (was["state"], was["last_error"]) == ("pending", "server-error: 127.0.0.1 answered 500")
    assert was["next_at"] is not None
    assert (now["state"], now["attempts"]) == ("delivered", len(had["ours"]))
    assert was["notice_id"] == now["notice_id"] == taken.notice["notice_id"]

    (other,) = had["theirs"]
    assert other.signed_at(theirs["signing_key"]) > 0
    assert (other.notice["charger_id"], other.notice["job_id"]) == (second, other_job_id)
    assert [each["charger_id"] for each in told_theirs] == [second]

    mails = [message_from_bytes(each, policy=default) for each in relay.mails]
    assert [(each["To"], each["Subject"]) for each in mails] == [
        ("ada@depot.example", f"[warning] {first}: csr-refused"),
        ("bob@elsewhere.example", f"[warning] {second}: csr-refused"),
    ]
    for part in (taken.notice["text"], f"job: {job_id}", f"CSRRefused {taken.notice['notice_id']}"):
        assert part in mails[0].get_content()
