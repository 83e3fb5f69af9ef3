"""A million certificates: every search of the inventory over 50 ms (p95), and the query for due work over 100 ms.

Rows are made in the database, as wide as real ones: a quarter of a million chargers, four certificates each, ten thousand
of them due. Read as the admin API reads them, one after another, with terms picked at random from the rows.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any

import asyncpg

from bench.process import ProcessFailed
from bench.round import Result
from bfactors.refusal import Refusal
from bfactors.trust_end import TrustEnd
from deploy.embedded import DataDirectory, EmbeddedPostgres
from persistence.migration import migrate
from persistence.reader import LedgerReader
from persistence.role import ROLES, ensure_roles

CERTIFICATES = 1_000_000
SEARCH_LIMIT_S = 0.050
DUE_LIMIT_S = 0.100
_DUE = 10_000
_EACH = 4
"""Certificates a charger."""

Question = Callable[[], Awaitable[Any]]

_FILL = (
    """
    INSERT INTO charger (charger_id, partition, managed_identity_id, serial_number, family, site, cohort, connected,
                         security_profile, decommissioned, doc, locked_out_at, lockout_cause, lockout_certificate_id,
                         trust_bundle)
    SELECT 'depot-' || n % 997 || '-bay-' || n, 1 + n % 15, 'charger-' || left(md5('u' || n), 20), 'SN' || md5('n' || n),
           'make-' || n % 40, 'site-' || n % 2000, 'cohort-' || n % 50, n % 20 <> 0, 3, false,
           convert_to(json_build_object('last_seen_at', now(), 'paused_reason', NULL,
                                        'filling', repeat('x', 2000))::text, 'UTF8'),
           now() + (n * 7919 % 15552000 + 86400) * interval '1 second', 'certificate-expiry', md5('c' || n * 4 + 3), 'b1'
      FROM generate_series(0, $1::bigint / 4 - 1) AS n
    """,
    """
    INSERT INTO certificate (certificate_id, partition, charger_id, managed_identity_id, purpose, realm, variant, mode, state,
                             authority, fingerprint_sha256, serial_number, not_before, not_after, doc, due_since,
                             escalated_days)
    SELECT left(name, 32), 1 + n % 15, 'depot-' || n % 997 || '-bay-' || n, 'charger-' || left(md5('u' || n), 20),
           CASE k % 100 WHEN 0 THEN 'secc_iso15118_20' WHEN 1 THEN 'contract' ELSE 'charging_station' END,
           CASE WHEN k % 100 < 2 THEN 'iso15118' ELSE 'charger-identity' END, 'default',
           CASE WHEN k % 1000 = 0 THEN 'brokered' WHEN k % 100 = 1 THEN 'tracked-only' ELSE 'managed' END,
           CASE WHEN k % 4 = 3 THEN 'active' WHEN k % 500 = 0 THEN 'revoked' WHEN k % 50 = 2 THEN 'expired'
                ELSE 'superseded' END,
           'aws-private-ca', name, md5('s' || k), now() - interval '180 days' + end_in, now() + end_in,
           convert_to(json_build_object('certificate_id', left(name, 32), 'pem', repeat('p', 1200), 'chain_pem',
                                        repeat('q', 900), 'filling', repeat('x', 700))::text, 'UTF8'),
           CASE WHEN k % 4 = 3 AND n < $2 THEN now() - interval '1 day' END, CASE WHEN k % 4 = 3 AND n < $2 / 20 THEN 14 END
      FROM (SELECT k, k / 4 AS n, encode(sha256(convert_to('f' || k, 'UTF8')), 'hex') AS name,
                   (CASE WHEN k % 4 = 3 AND k / 4 < $2 THEN k % 30 * 86400
                         ELSE (k / 4) * 7919 % 15552000 + 86400 - (3 - k % 4) * 12960000 END)
                   * interval '1 second' AS end_in
              FROM generate_series(0, $1::bigint - 1) AS k) AS each
    """,
    """
    INSERT INTO job (job_id, partition, charger_id, managed_identity_id, purpose, action, state, stage, overdue, created_at,
                     doc)
    SELECT md5('j' || n), 1 + n % 15, 'depot-' || n % 997 || '-bay-' || n, 'charger-' || left(md5('u' || n), 20),
           'charging_station', 'renew', CASE WHEN n < $2 / 2 THEN 'open' ELSE 'succeeded' END, 'awaiting-csr', n % 10 = 0,
           now() - n * interval '1 second', convert_to('{"job_id":"j","held_by":null,"reason":null}', 'UTF8')
      FROM generate_series(0, $1::bigint / 4 - 1) AS n
    """,
)
"""Each is given how many certificates there are to be, and how many of them due."""
_INDEXES = """
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
     WHERE NOT indisprimary AND indrelid IN ('charger'::regclass, 'certificate'::regclass, 'job'::regclass)
"""


async def fill(postgres: EmbeddedPostgres, certificates: int, due: int, said: Callable[[str], None]) -> None:
    """Make the tables and the rows."""
    await ensure_roles(postgres.dsn(), {role: postgres.password(role) for role in ROLES})
    await migrate(postgres.dsn("bf_owner"))
    connection = await asyncpg.connect(postgres.dsn())
    try:
        # An index costs less made at once than row by row.
        indexes = await connection.fetch(_INDEXES)
        await connection.execute("; ".join(f"DROP INDEX {row['name']}" for row in indexes))
        for statement in _FILL:
            began = time.monotonic()
            numbers = [certificates, due][: 2 if "$2" in statement else 1]
            done = await connection.execute(statement, *numbers)
            said(f"{done} in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        await connection.execute("SET maintenance_work_mem = '256MB'")
        for row in indexes:
            await connection.execute(row["definition"])
        await connection.execute("VACUUM (ANALYZE) charger, certificate, job")
        said(f"analysed in {time.monotonic() - began:.0f} s")
    finally:
        await connection.close()


# ---------------------------------------------------------------- what is asked


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """Wall-clock seconds of one reader that asks one question after another."""
    certificates, rounds = (20_000, 5) if quick else (CERTIFICATES, 100)
    folder.chmod(0o711)  # PostgreSQL's account must pass through to its own folder
    with DataDirectory.open(folder / "data") as data:
        postgres = EmbeddedPostgres.start(data)
        try:
            asyncio.run(fill(postgres, certificates, certificates * _DUE // CERTIFICATES, said))
            return asyncio.run(_asked(postgres, rounds, said))
        finally:
            postgres.stop()


async def _asked(postgres: EmbeddedPostgres, rounds: int, said: Callable[[str], None]) -> list[Result]:
    connection = await asyncpg.connect(postgres.dsn())
    rows = await connection.fetch(_SOME)
    await connection.close()
    reader = await LedgerReader.open(postgres.dsn("bf_reader"), size=1)
    chance = random.Random(20261)
    try:
        found = []
        for questions in (_searches(reader, chance, rows), _due_questions(reader, chance)):
            found.append({name: await _p95_s(ask, rounds) for name, ask in questions.items()})
            said(", ".join(f"{name} {took_s * 1e3:.1f} ms" for name, took_s in found[-1].items()))
    finally:
        await reader.close()
    return [
        _result("inventory, slowest search", found[0], SEARCH_LIMIT_S),
        _result("due work, slowest question", found[1], DUE_LIMIT_S),
    ]


def _result(name: str, found: Mapping[str, float], limit_s: float) -> Result:
    slowest = max(found, key=lambda each: found[each])
    return Result(
        name=name,
        ratio=found[slowest] / limit_s,
        target=1.0,
        ours=f"{found[slowest] * 1e3:.1f} ms p95: {slowest}",
        peer=f"limit {limit_s * 1e3:.0f} ms",
        details={"p95_ms": {each: round(took_s * 1e3, 2) for each, took_s in found.items()}},
    )


async def _p95_s(ask: Question, rounds: int) -> float:
    """Raises ProcessFailed when the question is refused."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = await ask()
        taken.append(time.perf_counter() - began)
        if isinstance(answer, Refusal):
            raise ProcessFailed(answer.message)
    return quantiles(taken, n=20, method="inclusive")[-1]


_SOME = """
    SELECT certificate_id, charger_id, managed_identity_id, fingerprint_sha256, serial_number
      FROM certificate TABLESAMPLE BERNOULLI (0.2) LIMIT 2000
"""


def _searches(
    reader: LedgerReader, chance: random.Random, rows: Sequence[Mapping[str, str]]
) -> Mapping[str, Question]:
    """By the field's name, with filters made anew for each question; also values that few rows have, and none."""
    now = datetime.now(UTC)
    among = {
        "purpose": ("charging_station", "contract", "secc_iso15118_20", "vehicle_vas"),
        "state": ("active", "superseded", "expired", "revoked", "issued"),
        "mode": ("managed", "brokered", "tracked-only"),
        "realm": ("charger-identity", "iso15118", "vehicle-vas"),
    }

    def of_row(name: str) -> Callable[[], dict[str, Any]]:
        return lambda: {name: chance.choice(rows)[name]}

    def of_choice(*names: str) -> Callable[[], dict[str, Any]]:
        return lambda: {name: chance.choice(among[name]) for name in names}

    def begins(name: str, fewest: int) -> Callable[[], dict[str, Any]]:
        def made() -> dict[str, Any]:
            text = chance.choice(rows)[name]
            return {"q": text[: chance.randint(fewest, len(text))].upper()}

        return made

    filters: dict[str, Callable[[], dict[str, Any]]] = {
        "nothing": dict,
        **{
            name: of_row(name)
            for name in ("charger_id", "managed_identity_id", "fingerprint_sha256", "serial_number")
        },
        **{name: of_choice(name) for name in among},
        "expires_before": lambda: {"expires_before": now + timedelta(days=chance.randint(-500, 200))},
        "state, purpose": of_choice("state", "purpose"),
        "q: a charger": begins("charger_id", 1),
        "q: an identity": begins("managed_identity_id", 1),
        "q: a serial number": begins("serial_number", 1),
        "q: a fingerprint": begins("fingerprint_sha256", 1),
        "q: nobody": lambda: {"q": f"nobody-{chance.random()}"},
        "q, state": lambda: begins("charger_id", 3)() | of_choice("state")(),
    }

    def asked(made: Callable[[], dict[str, Any]]) -> Question:
        return lambda: reader.certificates(**made())

    return {name: asked(made) for name, made in filters.items()}


def _due_questions(reader: LedgerReader, chance: random.Random) -> Mapping[str, Question]:
    """What the API asks of due renewals, and of who will be locked out."""
    trust = [TrustEnd(bundle_id="b2", at=datetime.now(UTC) + timedelta(days=9), cause="anchor-expiry")]
    return {
        "due": lambda: reader.renewals(),
        "overdue": lambda: reader.renewals(state="overdue"),
        "stragglers": lambda: reader.renewals(state="escalated", offline=True),
        "of a cohort": lambda: reader.renewals(cohort=f"cohort-{chance.randint(0, 49)}"),
        "counts": lambda: reader.renewal_counts(),
        "lock-outs": lambda: reader.lockouts(trust),
        "lock-outs of a cohort": lambda: reader.lockouts(trust, cohort=f"cohort-{chance.randint(0, 49)}"),
    }
