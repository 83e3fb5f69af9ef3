"""Recomputes every hash chain, from the database or from an export that an outsider holds."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import asyncpg
import msgspec

from bfactors.audit.series import Series
from bfactors.errors import SettingsError
from bfactors.ledger_row import EventRow
from persistence.chain import ChainCheck, Head, VerificationReport
from persistence.database import unavailable_when_lost
from persistence.query import queries

PAGE_ROWS = 5_000

_SQL = queries("verification")
_encode = msgspec.json.Encoder().encode


class ExportHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of an export; every further line is one EventRow, ordered by partition and sequence."""

    exported_at: datetime
    heads: dict[int, Head]
    format: Literal["betterfleet-ledger"] = "betterfleet-ledger"
    version: Literal[1] = 1


async def verify_database(
    reader_dsn: str, known_heads: Mapping[int, Head] | None = None, series: Series | None = None
) -> VerificationReport:
    """Check all partitions in one snapshot, while the ledger goes on. Raises Unavailable.

    `known_heads` (an older report's `heads`) and `series` (signed checkpoints) also uncover history that was rewritten and
    hashed anew.
    """
    check = ChainCheck(known_heads, series)
    async with _snapshot(reader_dsn) as connection:
        heads = await _heads(connection)
        async for page in _pages(connection):
            for row in page:
                check.add(*row)
    return check.finish(heads)


async def export(reader_dsn: str, target: Path) -> int:
    """Write the whole ledger to a file of JSON lines, under its name once complete, and return the number of events.

    Raises Unavailable; SettingsError when the file cannot be written.
    """
    draft = target.with_name(f"{target.name}.draft")
    rows = 0
    async with _snapshot(reader_dsn) as connection:
        header = ExportHeader(exported_at=datetime.now(UTC), heads=await _heads(connection))
        await asyncio.to_thread(_write, draft, "wb", [header])
        async for page in _pages(connection):
            rows += len(page)
            await asyncio.to_thread(_write, draft, "ab", [EventRow(**row) for row in page])
    draft.replace(target)
    return rows


def _write(path: Path, mode: Literal["wb", "ab"], lines: Sequence[msgspec.Struct]) -> None:
    try:
        with path.open(mode) as stream:
            stream.write(b"".join(_encode(line) + b"\n" for line in lines))
    except OSError as error:
        raise SettingsError(f"cannot write the export {path}: {error.strerror}") from error


def verify_export(
    path: Path, known_heads: Mapping[int, Head] | None = None, series: Series | None = None
) -> VerificationReport:
    """Check an export without the database; a line that cannot be read ends the check. Raises OSError."""
    check = ChainCheck(known_heads, series)
    decode = msgspec.json.Decoder(EventRow).decode
    as_tuple = msgspec.structs.astuple
    read = 0
    with path.open("rb") as stream:
        try:
            header = msgspec.json.decode(stream.readline(), type=ExportHeader)
            for line in stream:
                read += 1
                check.add(*as_tuple(decode(line)))
        except msgspec.MsgspecError as error:
            return check.unreadable(f"line {read + 1}: {error}")
    return check.finish(header.heads)


@asynccontextmanager
async def _snapshot(reader_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    async with unavailable_when_lost():
        connection = await asyncpg.connect(reader_dsn, server_settings={"statement_timeout": "120s"})
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield connection
        finally:
            await connection.close()


async def _heads(connection: asyncpg.Connection) -> dict[int, Head]:
    rows = await connection.fetch(_SQL["heads"])
    return {row["number"]: (row["sequence"], row["head_hash"].hex()) for row in rows}


async def _pages(connection: asyncpg.Connection) -> AsyncIterator[Sequence[asyncpg.Record]]:
    """Every event in chain order; pages by key, so memory stays flat and each statement short."""
    partition, sequence = -1, 0
    while page := await connection.fetch(_SQL["events"], partition, sequence, PAGE_ROWS):
        yield page
        partition, sequence = page[-1]["partition"], page[-1]["sequence"]
