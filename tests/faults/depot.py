"""A depot's chargers in the test's own loop, its operator at the admin API, and what both must find when all is over."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
import orjson

from persistence.verification import verify_database
from simulator.charger import ChargerEvent, Fault, Happening, ReconnectBackoff
from simulator.fleet import AdminClient, Fleet, FleetPlan
from tests.faults.plant import Plant
from tests.patience import PATIENCE_S

EAGER = ReconnectBackoff(timedelta(milliseconds=100), timedelta(milliseconds=400), 2)
_LOOK_AGAIN_S = 0.25
EXPECTED_ACTIONS = ("issue", "renew", "migrate")
"""An order, a renewal of a second key, and the change of profile that an installed certificate implies."""
_seeds = itertools.count(1)
_occasions = itertools.count(1)

Body = dict[str, Any]


class Tally:
    """How often something happened in the fleet, and a bell that rings at every count asked for."""

    def __init__(self, fleet: Fleet) -> None:
        self.counts: Counter[Happening] = Counter()
        self._rung = asyncio.Event()
        for charger in fleet.chargers:
            charger.subscribe(self._heard)

    def _heard(self, event: ChargerEvent) -> None:
        self.counts[event.happening] += 1
        self._rung.set()

    async def reaches(self, happening: Happening, count: int, within_s: float) -> None:
        """Wait until it happened so often since the tally began."""
        try:
            async with asyncio.timeout(within_s):
                while self.counts[happening] < count:
                    self._rung.clear()
                    await self._rung.wait()
        except TimeoutError:
            raise AssertionError(
                f"{happening} happened {self.counts[happening]} times of {count} within {within_s:g} s; {dict(self.counts)}"
            ) from None


@dataclass(slots=True)
class Operator:
    """Reads and commands of the admin API; tolerant of a core that is just away."""

    base: str
    http: aiohttp.ClientSession

    async def get(self, path: str, **query: str) -> tuple[int, Body]:
        """Status and body; (0, {}) when nobody answers."""
        try:
            async with self.http.get(self.base + path, params=query) as answer:
                return answer.status, orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError):
            return 0, {}

    async def post(self, path: str, body: Body, key: str = "") -> tuple[int, Body]:
        headers = {"Idempotency-Key": key or f"fault-{next(_occasions)}", "Content-Type": "application/json"}
        try:
            async with self.http.post(self.base + path, data=orjson.dumps(body), headers=headers) as answer:
                return answer.status, orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError):
            return 0, {}

    async def insist(self, path: str, body: Body) -> tuple[int, Body]:
        """A POST that is repeated, as the API asks for, while the answer is 503 or none at all."""
        key = f"fault-{next(_occasions)}"
        async with asyncio.timeout(PATIENCE_S):
            while (answered := await self.post(path, body, key))[0] in (0, 503):
                await pause()
        return answered

    async def items(self, path: str, **query: str) -> list[Body]:
        """Every item of a list."""
        found: list[Body] = []
        cursor: str | None = None
        while True:
            page_query = {"limit": "200", **query, **({"cursor": cursor} if cursor else {})}
            status, page = await self.get(path, **page_query)
            assert status == 200, f"GET {path}: {status} {page}"
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def missing(self) -> list[str] | None:
        """What /readyz says is missing; None when nobody answers."""
        status, body = await self.get("/readyz")
        return None if status == 0 else list(body["missing"])

    async def missing_becomes(self, expected: Iterable[str], within_s: float) -> float:
        """Wait until exactly this is missing; the seconds it took."""
        loop = asyncio.get_running_loop()
        began, wanted = loop.time(), set(expected)
        seen: list[str] | None = None
        while loop.time() - began < within_s:
            seen = await self.missing()
            if seen is not None and set(seen) == wanted:
                return loop.time() - began
            await pause()
        raise AssertionError(f"/readyz says {seen}, not {sorted(wanted)}, after {within_s:g} s")


async def pause() -> None:
    """Until the next look at another process, which rings no bell when it is done."""
    never = asyncio.Event()
    try:
        await asyncio.wait_for(never.wait(), _LOOK_AGAIN_S)
    except TimeoutError:
        return


@dataclass(slots=True)
class Depot:
    """A fleet of its own for each test, registered but not switched on."""

    plant: Plant
    operator: Operator
    admin: AdminClient
    fleet: Fleet
    plan: FleetPlan
    tally: Tally
    ids: list[str]
    ordered: dict[str, str] = field(default_factory=dict)

    async def order(self) -> None:
        """A certificate for everyone."""
        refused = await self.admin.order("issue", self.ids, f"{self.plan.prefix}-{self.plan.seed}")
        assert not refused, refused

    async def jobs(self) -> list[Body]:
        """The issue jobs of this fleet."""
        ours = set(self.ids)
        return [j for j in await self.operator.items("/api/v1/jobs") if j["charger_id"] in ours]

    async def all_active(self, within_s: float) -> float:
        """Wait until every charger has proven its certificate and the ledger says so; the seconds it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.tally.reaches(Happening.CERTIFICATE_PROVEN, len(self.ids), within_s)
        jobs: list[Body] = []
        while loop.time() - began < within_s:
            status, _ = await self.operator.get("/healthz")
            if status == 200:
                jobs = await self.jobs()
                done = {j["charger_id"] for j in jobs if j["action"] == "issue" and j["state"] == "succeeded"}
                if len(done) == len(self.ids) and not any(j["state"] == "open" for j in jobs):
                    return loop.time() - began
            await pause()
        stuck = [
            (j["charger_id"], j["action"], j["stage"], j["reason"]) for j in jobs if j["state"] != "succeeded"
        ]
        raise AssertionError(f"not all active within {within_s:g} s; {len(stuck)} not done: {stuck[:5]}")

    async def assert_active_exactly_once(self) -> None:
        """Each charger: one order, succeeded; one active certificate, in its slot, and the charger uses that one.

        A charger that is triggered again after a reconnect may make a second key, and if that comes when its job is
        done, it is a renewal like any other: a job of its own, which must have succeeded too.
        """
        ours = set(self.ids)
        jobs = await self.jobs()
        ordered = Counter(j["charger_id"] for j in jobs if j["action"] == "issue")
        assert ordered == Counter(self.ids), [c for c, n in ordered.items() if n != 1]
        assert [j for j in jobs if j["state"] != "succeeded" or j["action"] not in EXPECTED_ACTIONS] == []
        migrated = Counter(j["charger_id"] for j in jobs if j["action"] == "migrate")
        assert set(migrated.values()) <= {1}, migrated
        states = Counter(
            (c["charger_id"], c["state"])
            for c in await self.operator.items("/api/v1/certificates")
            if c["charger_id"] in ours
        )
        assert [c for c in self.ids if states[c, "active"] != 1] == []
        unfinished = [key for key in states if key[1] not in ("active", "superseded")]
        assert unfinished == []
        for charger_id in self.ids:
            _, body = await self.operator.get(f"/api/v1/chargers/{charger_id}")
            slots = [s for s in body["slots"] if s["purpose"] == "charging_station"]
            assert len(slots) == 1, body
            assert slots[0]["next"] is None, body
            held = self.fleet.charger(charger_id).snapshot().credential_fingerprint
            assert slots[0]["current"]["fingerprint_sha256"] == held, body


@asynccontextmanager
async def depot(
    plant: Plant,
    chargers: int,
    *,
    faults: Mapping[int, tuple[Fault, ...]] | None = None,
    connects_at_once: int = 32,
    url: str | None = None,
) -> AsyncIterator[Depot]:
    """Register a fleet nobody else uses and switch it on, at the charger port of `url`; switched off at the end."""
    plan = FleetPlan(
        chargers=chargers,
        target_url=url or plant.ocpp_url,
        prefix="fault",
        seed=next(_seeds),
        faults=faults or {},
        reconnect=EAGER,
    )
    async with (
        aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {plant.token}"}, timeout=aiohttp.ClientTimeout(total=8)
        ) as http,
        AdminClient(plant.admin_url, plant.token, attempts=60, retry_s=0.25, requests_at_once=16) as admin,
    ):
        roots = await admin.server_roots()
        enrolment = await admin.enrol(plan, plan.planned())
        assert not enrolment.refused, enrolment.refused
        fleet = Fleet(
            [
                plan.configuration(each, password=enrolment.passwords[each.charger_id], csms_roots=roots)
                for each in plan.planned()
            ],
            connects_at_once=connects_at_once,
        )
        tally = Tally(fleet)
        operator = Operator(plant.admin_url, http)
        ids = [each.charger_id for each in plan.planned()]
        await fleet.start()
        try:
            yield Depot(plant, operator, admin, fleet, plan, tally, ids)
        finally:
            await fleet.stop()


async def peer_statistics(plant: Plant) -> Body:
    """What the AWS peer says of every call there was."""
    async with aiohttp.ClientSession() as http, http.get(f"{plant.aws.url}/_peer/stats") as answer:
        found: Body = orjson.loads(await answer.read())
        return found


async def peer_log(plant: Plant, operation: str) -> list[Body]:
    """The peer's calls of one operation, oldest first."""
    url = f"{plant.aws.url}/_peer/log"
    async with aiohttp.ClientSession() as http, http.get(url, params={"operation": operation}) as answer:
        return list(orjson.loads(await answer.read())["entries"])


async def assert_ledger_intact(plant: Plant) -> int:
    """Every hash chain holds; the number of events."""
    report = await verify_database(plant.postgres.dsn("bf_reader"))
    assert report.intact, report.problems
    return report.rows
