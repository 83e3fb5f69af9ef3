"""Counts over the whole fleet for Prometheus, read from the projections now and then; and the ledger's housekeeping."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from bfactors.errors import Unavailable
from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from bfactors.ports import Clock
from bfactors.server_certificate import Presented
from bfactors.trust_end import trust_ends
from deploy.role.database import Database
from gateways.metrics import PrometheusMetrics

_LOG = logging.getLogger(__name__)
_FLEET = msgspec.json.Decoder(FleetState)
EVERY_S = 10.0
PRUNED_AT_ONCE = 10_000
PRUNE_EVERY = 360
"""Rounds between two prunings: an hour."""
FORECAST_EVERY = 6
WITHIN = {"now": timedelta(), **{f"{days}d": timedelta(days=days) for days in (7, 30, 90)}}
"""The spans in which lock-outs are counted; each holds those before it."""


async def keep_counting(
    database: Database, metrics: PrometheusMetrics, clock: Clock, shown: Callable[[], Sequence[Presented]]
) -> None:
    """Until cancelled. I/O lane. `shown`: what the connect nodes show chargers."""
    rounds = 0
    while True:
        try:
            await count(database, metrics)
            if rounds % FORECAST_EVERY == 0:
                await forecast(database, metrics, clock.now(), shown())
            if rounds % PRUNE_EVERY == PRUNE_EVERY - 1:
                gone = 0
                while (deleted := await database.store.prune(PRUNED_AT_ONCE)) >= PRUNED_AT_ONCE:
                    gone += deleted
                gone += deleted
                _LOG.info("housekeeping deleted %d rows past their time", gone)
        except Unavailable as away:
            _LOG.info("the fleet is not counted: %s", away)
        rounds += 1
        await asyncio.sleep(EVERY_S)


async def count(database: Database, metrics: PrometheusMetrics) -> None:
    """One round. Raises Unavailable."""
    jobs: Counter[tuple[str, str]] = Counter()
    overdue: Counter[str] = Counter()
    for row in await database.reader.open_job_counts():
        jobs[row["stage"], row["purpose"]] += row["count"]
        overdue[row["purpose"]] += row["count"] if row["overdue"] else 0
    metrics.gauges("bf_jobs", [({"stage": s, "purpose": p}, n) for (s, p), n in jobs.items()])
    metrics.gauges("bf_jobs_overdue", [({"purpose": p}, n) for p, n in overdue.items()])
    await _exceptions(database, metrics)
    certificates: Counter[tuple[str, str]] = Counter()
    for row in await database.reader.certificate_counts():
        certificates[row["purpose"], row["state"]] += row["count"]
    metrics.gauges("bf_certificates", [({"purpose": p, "state": s}, n) for (p, s), n in certificates.items()])


async def forecast(
    database: Database, metrics: PrometheusMetrics, now: datetime, shown: Sequence[Presented]
) -> None:
    """Count who is, or soon will be, locked out. Raises Unavailable."""
    row = await database.reader.aggregate(FLEET, FLEET_KEY)
    state = FleetState() if row is None else msgspec.json.decode(row.state, type=FleetState)
    rows = await database.reader.lockouts_within(
        trust_ends(state.history.values(), shown), [now + span for span in WITHIN.values()]
    )
    names = tuple(WITHIN)
    metrics.gauges(
        "bf_lockout_chargers",
        [
            (
                {"family": each["family"], "cause": each["cause"], "within": names[each["number"]]},
                each["count"],
            )
            for each in rows
        ],
    )


async def _exceptions(database: Database, metrics: PrometheusMetrics) -> None:
    """What is set aside, and what waits for somebody's word. Raises Unavailable."""
    row = await database.reader.aggregate(FLEET, FLEET_KEY)
    fleet = _FLEET.decode(row.state) if row is not None else FleetState()
    waivers = Counter(
        (waiver.subject.partition(":")[0], waiver.purpose, waiver.rule)
        for held in fleet.facts.waivers.values()
        for waiver in held
    )
    metrics.gauges(
        "bf_waivers", [({"subject": s, "purpose": p, "rule": r}, n) for (s, p, r), n in waivers.items()]
    )
    opened = {row["kind"]: row["count"] for row in await database.reader.open_approval_counts()}
    metrics.gauges("bf_approvals_open", [({"kind": kind}, n) for kind, n in opened.items()])
