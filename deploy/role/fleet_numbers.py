"""Counts over the whole fleet for Prometheus, read from the projections now and then; and the ledger's housekeeping."""

import asyncio
import logging
from collections import Counter

from bfactors.errors import Unavailable
from deploy.role.database import Database
from gateways.metrics import PrometheusMetrics

_LOG = logging.getLogger(__name__)
EVERY_S = 10.0
PRUNED_AT_ONCE = 10_000
PRUNE_EVERY = 360
"""Rounds between two prunings: an hour."""


async def keep_counting(database: Database, metrics: PrometheusMetrics) -> None:
    """Until cancelled. I/O lane."""
    rounds = 0
    while True:
        try:
            await count(database, metrics)
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
    certificates: Counter[tuple[str, str]] = Counter()
    for row in await database.reader.certificate_counts():
        certificates[row["purpose"], row["state"]] += row["count"]
    metrics.gauges("bf_certificates", [({"purpose": p, "state": s}, n) for (p, s), n in certificates.items()])
