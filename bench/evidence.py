"""From a filled evidence stream to hash-chained rows, against one event a transaction; and what the chaining costs.

Real NATS and PostgreSQL, both flushing to disk before they acknowledge. Our side is the ledger's actor as it is; the
peer is the same code with batches of one; without hashes it is the same code again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from bench import depot
from bench.process import ProcessFailed, Subject
from bench.round import Result, Spread, interleave, ratios
from deploy.embedded import DataDirectory, EmbeddedNats, EmbeddedPostgres
from persistence.role import ROLES

TARGET = 20.0
CHAINING_TARGET = 1.10
_TURNS = 2
_PARTITIONS_A_SIDE = 5

Runs = dict[str, list[dict[str, Any]]]


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """Evidence a second. A side has five of the 15 partitions, and works through each of them in two runs."""
    turns, partitions, waves, singles = (1, 1, 2, 50) if quick else (_TURNS, _PARTITIONS_A_SIDE, 4, 125)
    rounds = turns * partitions
    wanted = [waves * turns, waves * turns, 1] * partitions
    counted = waves * depot.EVIDENCE_A_WAVE
    with _servers(folder) as data:
        # Filling needs no promise about power loss; measuring does.
        with _nats(data, durable=False) as nats, _core(folder, data, nats) as core:
            core.ask("prepare", waves=wanted)
        with _nats(data, durable=True) as nats, _core(folder, data, nats) as core:
            runs: Runs = {"batched": [], "unchained": [], "one by one": []}
            ours = {name: cycle(range(1 + at, 1 + len(wanted), len(runs))) for at, name in enumerate(runs)}

            def run(name: str, count: int, batch_limit: int, keeps_hash: bool) -> float:
                found = core.ask(
                    "run",
                    partition=next(ours[name]),
                    count=count,
                    batch_limit=batch_limit,
                    keeps_hash=keeps_hash,
                    awaits_outbox=batch_limit == 0,
                )
                if found["events"] < found["evidence"]:
                    raise ProcessFailed(f"evidence without an event: {found}")
                runs[name].append(found)
                return float(found["evidence"] / found["seconds"])

            found = interleave(
                rounds,
                {
                    "batched": lambda: run("batched", counted, 0, True),
                    "unchained": lambda: run("unchained", counted, 0, False),
                    "one by one": lambda: run("one by one", singles, 1, True),
                },
                said,
            )
    return [_throughput(found, runs), _chaining(runs)]


def _throughput(found: dict[str, Spread], runs: Runs) -> Result:
    each_round = ratios(found["batched"], found["one by one"])
    ours = runs["batched"]
    return Result(
        name="evidence",
        ratio=median(each_round),
        target=TARGET,
        at_least=True,
        ratios=each_round,
        ours=f"{found['batched']} a second",
        peer=f"{found['one by one']} a second, one event a transaction",
        details={
            "evidence_a_commit": round(median(run["evidence"] / run["commits"] for run in ours), 1),
            "published_a_second": round(median(run["events"] / run["published_seconds"] for run in ours)),
            "published": "events acknowledged by NATS, which flushes each to disk; commits do not wait for it",
            "peer_cpu_us": str(_each(runs["one by one"], "cpu_s")),
        },
    )


def _chaining(runs: Runs) -> Result:
    """CPU of the whole way, published events included: then both sides have done the same work."""
    ours, peer = (_each(runs[name], "published_cpu_s") for name in ("batched", "unchained"))
    each_round = ratios(ours, peer)
    by_time = ratios(_each(runs["batched"], "seconds"), _each(runs["unchained"], "seconds"))
    return Result(
        name="evidence, chained to unchained",
        ratio=median(each_round),
        target=CHAINING_TARGET,
        ratios=each_round,
        ours=f"{ours} us CPU a piece, published",
        peer=f"{peer} us, without hashes",
        details={
            "ratio_of_seconds_to_last_commit": round(median(by_time), 4),
            "cpu_us_to_last_commit": str(_each(runs["batched"], "cpu_s")),
            "cpu_us_to_last_commit_without_hashes": str(_each(runs["unchained"], "cpu_s")),
        },
    )


def _each(runs: list[dict[str, Any]], key: str) -> Spread:
    """Microseconds a piece of evidence."""
    return Spread(tuple(run[key] / run["evidence"] * 1e6 for run in runs))


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[DataDirectory, EmbeddedPostgres]]:
    folder.chmod(0o711)  # PostgreSQL's account must pass through to its own folder
    with DataDirectory.open(folder / "data") as data:
        postgres = EmbeddedPostgres.start(data)
        try:
            yield data, postgres
        finally:
            postgres.stop()


@contextmanager
def _nats(servers: tuple[DataDirectory, EmbeddedPostgres], *, durable: bool) -> Iterator[EmbeddedNats]:
    nats = EmbeddedNats.start(servers[0], durable=durable)
    try:
        yield nats
    finally:
        nats.stop()


def _core(folder: Path, servers: tuple[DataDirectory, EmbeddedPostgres], nats: EmbeddedNats) -> Subject:
    postgres = servers[1]
    return Subject(
        "bench.ledger",
        folder,
        superuser_dsn=postgres.dsn(),
        owner_dsn=postgres.dsn("bf_owner"),
        writer_dsn=postgres.dsn("bf_writer"),
        passwords={role: postgres.password(role) for role in ROLES},
        nats_url=nats.url,
        seed_file=str(nats.seed_file("core")),
    )
