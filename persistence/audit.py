"""The audit trail's shapes: ledger events as the API lists them, and where a list of them starts."""

import re
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson

from bfactors.refusal import Refusal
from persistence.cursor import Key
from persistence.query import queries

_POSITION = re.compile(r"(\d{1,4}):(\d{1,18})")
_LAST = (32767, 2**63 - 1)
"""Behind every partition and sequence: "after this instant" means after all that was recorded at it."""


def rfc3339(moment: datetime) -> str:
    """UTC with a `Z`, microseconds when there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def audit_item(row: asyncpg.Record) -> dict[str, Any]:
    """One event with everything its hash covers; `payload` is parsed (`run.py verify --export` holds the exact text)."""
    item = dict(row)
    item["recorded_at"] = rfc3339(item["recorded_at"])
    item["payload"] = orjson.loads(item["payload"])
    item["previous_hash"] = item["previous_hash"].hex()
    item["hash"] = item["hash"].hex()
    return item


def timeline_item(row: asyncpg.Record) -> dict[str, Any]:
    """One step of a job. `evidence_ref` is what the event names, else the command or evidence that caused it."""
    detail = orjson.loads(row["payload"])
    return {
        "at": rfc3339(row["recorded_at"]),
        "event": row["event"],
        "by": row["actor"],
        "evidence_ref": detail.get("evidenceRef") or row["cause"],
        "detail": detail,
    }


async def audit_start(pool: asyncpg.Pool, after: str) -> Key | Refusal:
    """The key behind which a list starts, from a time or from `<partition>:<sequence>`."""
    if match := _POSITION.fullmatch(after):
        partition, sequence = int(match[1]), int(match[2])
        moment = await pool.fetchval(queries("reader")["recorded_at"], partition, sequence)
        if moment is None:
            return Refusal("unknown-event", f"the ledger holds no event {after}", "after")
        return (moment, partition, sequence)
    try:
        moment = datetime.fromisoformat(after)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        return Refusal("invalid-time", "after must be an RFC 3339 time or <partition>:<sequence>", "after")
    return (moment, *_LAST)
