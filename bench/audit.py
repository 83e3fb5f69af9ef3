"""Verifying a million ledger rows over 15 seconds, from PostgreSQL and from an export, each under signed checkpoints; and
what checkpoints cost over what the ledger's own work on the same events costs.

Rows to verify are written straight into the table. Checkpoints are made by the desk as it is - PostgreSQL, an Ed25519 key, a
directory - at the pace that settings have by default; the ledger's work is measured as in `evidence`, in the same run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import msgspec

from actors.ledger.checkpoint import Checkpointer
from bench import depot
from bench.process import ProcessFailed, Subject
from bench.round import Result, Spread, interleave, ratios
from bfactors.audit.checkpoint import Checkpoint, SignedCheckpoint
from bfactors.audit.merkle import CompactRange
from bfactors.audit.note import SignedNote
from bfactors.ledger_row import GENESIS, Batch, EventRow, Lease, row_hash
from bfactors.settings import Settings
from deploy.embedded import DataDirectory, EmbeddedNats, EmbeddedPostgres
from deploy.role.checkpoint_desk import CheckpointDesk
from deploy.role.clock import SystemClock
from gateways.checkpoint.collection import series_in
from gateways.checkpoint.directory_store import DirectoryCheckpoints
from gateways.checkpoint.key_file import FileSigner, new_key
from gateways.checkpoint.public_key import Keyring
from gateways.metrics import PrometheusMetrics
from persistence.checkpoint import PostgresCheckpoints
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import migrate
from persistence.role import ROLES, ensure_roles
from persistence.verification import export, verify_database, verify_export

LIMIT_S = 15.0
TARGET = 0.02
ROWS = 1_000_000
_PARTITIONS = 15
_ORIGIN = "bench.example/ledger"
_AT = datetime(2026, 1, 1, tzinfo=UTC)
_LONG = timedelta(minutes=30)
_EVERY = Settings().checkpoint_every_events
_CHECKPOINTS_A_ROUND = 3
_COMMIT = 100
"""Events a commit."""
_WAVES = 4
_PAYLOAD = (
    '{"chargerId":"CP-1","sessionId":"0123456789abcdef","node":"connect-1","incarnation":"0123456789abcdef",'
    '"securityProfile":3,"fingerprintSha256":"'
    + "ab" * 32
    + '","remoteAddress":"192.0.2.17","ocppVersion":"2.0.1"}'
)


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """Wall-clock seconds, and CPU."""
    rows, rounds = (20_000, 1) if quick else (ROWS, 3)
    places = [folder / "verify", folder / "costs"]
    for place in places:
        place.mkdir(mode=0o711)
    folder.chmod(0o711)
    with _servers(places[0]) as (_, postgres):
        verified = _verification(places[0], postgres, rows, rounds, said)
    return [*verified, _checkpoint_cost(places[1], rounds, said)]


# ---------------------------------------------------------------- verification


def _verification(
    folder: Path, postgres: EmbeddedPostgres, rows: int, rounds: int, said: Callable[[str], None]
) -> list[Result]:
    place = folder / "checkpoints"
    signer = _signer(folder)
    asyncio.run(_write(postgres, rows, DirectoryCheckpoints(place), signer))
    reader, file = postgres.dsn("bf_reader"), folder / "ledger.jsonl"
    asyncio.run(export(reader, file))
    said(f"{rows} rows written, {file.stat().st_size / 1e6:.0f} MB exported")

    def timed(verify: Callable[[], Any]) -> float:
        began = time.perf_counter()
        report = verify()
        if not report.intact or report.rows != rows or not report.checkpoints:
            raise ProcessFailed(f"not what was written: {report}")
        return time.perf_counter() - began

    found = interleave(
        rounds,
        {
            "database": lambda: timed(
                lambda: asyncio.run(verify_database(reader, series=series_in(place, [])))
            ),
            "export": lambda: timed(lambda: verify_export(file, series=series_in(place, []))),
        },
        said,
    )
    return [_verified(name, spread, rows) for name, spread in found.items()]


def _verified(name: str, seconds: Spread, rows: int) -> Result:
    scale = ROWS / rows / LIMIT_S
    return Result(
        name=f"verify, {name}",
        ratio=seconds.median * scale,
        target=1.0,
        ratios=tuple(value * scale for value in seconds.values),
        ours=f"{seconds} s for {rows:,} rows",
        peer=f"limit {LIMIT_S:g} s for {ROWS:,}",
        details={"rows_a_second": round(rows / seconds.median)},
    )


async def _prepare(postgres: EmbeddedPostgres) -> None:
    await ensure_roles(postgres.dsn(), {role: postgres.password(role) for role in ROLES})
    await migrate(postgres.dsn("bf_owner"))


async def _write(
    postgres: EmbeddedPostgres, rows: int, place: DirectoryCheckpoints, signer: FileSigner
) -> None:
    """Rows evenly over the partitions, and a checkpoint of every so many."""
    for key in signer.keys:
        await place.keep_key(key)
    connection = await asyncpg.connect(postgres.dsn())
    try:
        for partition in range(1, _PARTITIONS + 1):
            count = rows // _PARTITIONS + (partition <= rows % _PARTITIONS)
            tree, made = CompactRange(), _rows(partition, count)
            while page := list(islice(made, _EVERY)):
                await connection.copy_records_to_table("event", records=map(_record, page))
                tree.extend(bytes.fromhex("".join(row.hash for row in page)))
                await place.append(await _signed(signer, partition, tree, page[-1].hash))
                await connection.execute(
                    "UPDATE partition SET sequence = $2, head_hash = $3 WHERE number = $1",
                    *(partition, tree.size, bytes.fromhex(page[-1].hash)),
                )
    finally:
        await connection.close()


def _rows(partition: int, count: int) -> Iterator[EventRow]:
    """Events as a session leaves them, chained."""
    previous = GENESIS
    for sequence in range(1, count + 1):
        fields: dict[str, Any] = {
            "partition": partition,
            "sequence": sequence,
            "event": "ChargerSessionOpened",
            "schema_version": 1,
            "recorded_at": _AT + timedelta(milliseconds=sequence),
            "actor": "charger",
            "cause": f"{sequence:032x}",
            "policy_version": 1,
            "fleet_sequence": 6,
            "charger_id": f"CP-{sequence % 997}",
            "managed_identity_id": f"unit-{sequence % 997}",
            "purpose": "charging_station",
            "variant": None,
            "job_id": None,
            "certificate_id": None,
            "payload": _PAYLOAD,
            "previous_hash": previous,
        }
        previous = row_hash(**fields)
        yield EventRow(**fields, hash=previous)


def _record(row: EventRow) -> tuple[Any, ...]:
    values = list(msgspec.structs.astuple(row))
    values[-2:] = [bytes.fromhex(text) for text in values[-2:]]
    return tuple(values)


def _signer(folder: Path) -> FileSigner:
    path = folder / "checkpoint.key"
    path.write_bytes(new_key())
    path.chmod(0o600)
    return FileSigner.load(path, _ORIGIN)


async def _signed(signer: FileSigner, partition: int, tree: CompactRange, head: str) -> SignedCheckpoint:
    checkpoint = Checkpoint(
        origin=_ORIGIN,
        partition=partition,
        size=tree.size,
        root_hash=tree.root().hex(),
        head_hash=head,
        made_at=_AT,
    )
    signatures = tuple(await signer.sign(checkpoint.text))
    return SignedCheckpoint(
        checkpoint=checkpoint, note=SignedNote(text=checkpoint.text, signatures=signatures)
    )


# ---------------------------------------------------------------- what checkpoints cost


def _checkpoint_cost(folder: Path, rounds: int, said: Callable[[str], None]) -> Result:
    """CPU of the process that commits, an event: PostgreSQL's own is on neither side."""
    events = _EVERY * _CHECKPOINTS_A_ROUND
    with _servers(folder) as (data, postgres):
        with _nats(data, durable=False) as nats, _core(folder, postgres, nats) as core:
            core.ask("prepare", waves=[_WAVES] * rounds)
        with _nats(data, durable=True) as nats, _core(folder, postgres, nats) as core:
            partitions = count(1)

            def worked() -> float:
                found = core.ask(
                    "run",
                    partition=next(partitions),
                    count=_WAVES * depot.EVIDENCE_A_WAVE,
                    batch_limit=0,
                    keeps_hash=True,
                    awaits_outbox=True,
                )
                return float(found["published_cpu_s"] / found["events"] * 1e6)

            found = interleave(
                rounds,
                {
                    "checkpoints": lambda: asyncio.run(_made(folder, postgres, events)) / events * 1e6,
                    "ledger": worked,
                },
                said,
            )
    each_round = ratios(found["checkpoints"], found["ledger"])
    return Result(
        name="checkpoints",
        ratio=median(each_round),
        target=TARGET,
        ratios=each_round,
        ours=f"{found['checkpoints']} us CPU an event",
        peer=f"{found['ledger']} us CPU an event, from evidence to published",
        details={"events_a_checkpoint": _EVERY},
    )


async def _made(folder: Path, postgres: EmbeddedPostgres, events: int) -> float:
    """CPU seconds of making the checkpoints of so many new rows of partition 15, as their owner does."""
    writer = postgres.dsn("bf_writer")
    rows, ledger = await PostgresCheckpoints.open(writer), await PostgresLedgerStore.open(writer)
    desk = CheckpointDesk(
        origin=_ORIGIN,
        rows=rows,
        store=DirectoryCheckpoints(folder / "checkpoints"),
        signer=_signer(folder),
        believe=Keyring,
        clock=SystemClock(),
        metrics=PrometheusMetrics(),
        show=_nowhere,
    )
    lease = await ledger.claim(_PARTITIONS, "bench", _LONG)
    assert lease is not None
    spent = 0.0
    paced = _Paced(desk)
    checkpointer = Checkpointer(paced, SystemClock(), lease)
    making = asyncio.get_running_loop().create_task(checkpointer.run())
    for _ in range(events // _EVERY):
        for _ in range(_EVERY // _COMMIT):
            batch = _batch(lease, _COMMIT)
            lease = await ledger.commit(lease, batch, _LONG)
            began = time.process_time()
            checkpointer.committed(batch.events, lease)
            spent += time.process_time() - began
        began = time.process_time()
        paced.made.clear()
        await paced.made.wait()
        spent += time.process_time() - began
    making.cancel()
    await ledger.release(lease)
    await rows.close()
    await ledger.close()
    return spent


class _Paced:
    """The desk, at the pace that settings have by default."""

    every_events = _EVERY
    every_s = 300.0

    def __init__(self, desk: CheckpointDesk) -> None:
        self._desk = desk
        self.made = asyncio.Event()

    async def checkpoint(self, lease: Lease, after: int, hashes: bytes) -> int:
        size = await self._desk.checkpoint(lease, after, hashes)
        self.made.set()
        return size


async def _nowhere(values: Mapping[str, bytes]) -> None:
    pass


def _batch(lease: Lease, count: int) -> Batch:
    rows: list[EventRow] = []
    previous = lease.head_hash
    for row in _rows(lease.partition, count):
        fields = msgspec.structs.asdict(row) | {
            "sequence": lease.sequence + row.sequence,
            "previous_hash": previous,
        }
        fields.pop("hash")
        previous = row_hash(**fields)
        rows.append(EventRow(**fields, hash=previous))
    return Batch(evidence_position=lease.evidence_position, fleet_position=lease.fleet_position, events=rows)


# ---------------------------------------------------------------- servers


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[DataDirectory, EmbeddedPostgres]]:
    folder.chmod(0o711)  # PostgreSQL's account must pass through to its own folder
    with DataDirectory.open(folder / "data") as data:
        postgres = EmbeddedPostgres.start(data)
        try:
            asyncio.run(_prepare(postgres))
            yield data, postgres
        finally:
            postgres.stop()


@contextmanager
def _nats(data: DataDirectory, *, durable: bool) -> Iterator[EmbeddedNats]:
    nats = EmbeddedNats.start(data, durable=durable)
    try:
        yield nats
    finally:
        nats.stop()


def _core(folder: Path, postgres: EmbeddedPostgres, nats: EmbeddedNats) -> Subject:
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
