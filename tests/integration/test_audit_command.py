"""`run.py audit`: what it writes is what `run.py verify` checks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.command.main import main
from persistence.checkpoint import PostgresCheckpoints
from persistence.ledger_store import PostgresLedgerStore
from persistence.role import READER, WRITER
from tests.conftest import FreshDatabase
from tests.contract.test_checkpoint_desk import World
from tests.fakes.checkpoint import ORIGIN
from tests.integration.test_evidence_pack import OURS

pytest_plugins = ("tests.fakes.ledger_database",)


@pytest.fixture
async def world(
    emptied_ledger_database: FreshDatabase,
    postgres_ledger_store: PostgresLedgerStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    rows = await PostgresCheckpoints.open(emptied_ledger_database.dsn(WRITER))
    world = World(emptied_ledger_database, postgres_ledger_store, rows, tmp_path)
    await world.claim()
    for _ in range(2):
        await world.commit(4, charger_id=OURS)
        await world.checkpoint()
    await world.commit(1, charger_id=OURS)
    monkeypatch.setenv("BF_CHECKPOINT_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("BF_CHECKPOINT_ORIGIN", ORIGIN)
    yield world
    await rows.close()


async def run(world: World, *arguments: str) -> int:
    """In a thread: a command has a loop of its own."""
    command, *others = arguments
    dsn = ("--postgres-reader-dsn", world.database.dsn(READER))
    return await asyncio.to_thread(main, ["audit", command, *others, *dsn])


async def test_an_export_is_verified_with_its_checkpoints_and_keys(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    target = world.folder / "for-the-auditor"
    assert await run(world, "export", str(target)) == 0
    assert "9 events and 2 checkpoints" in capsys.readouterr().out
    key = world.signer.keys[0].fingerprint_sha256
    assert sorted(path.name for path in target.iterdir()) == sorted(
        ["checkpoints.txt", f"key-{key}.pem", "ledger.jsonl"]
    )
    verify = ["verify", "--export", str(target / "ledger.jsonl"), "--checkpoints", str(target)]
    assert await asyncio.to_thread(main, verify) == 0
    said = capsys.readouterr().out
    assert f"2 signed checkpoints of {ORIGIN} held against them, 1 events are under none yet" in said


async def test_a_pack_is_verified_with_the_key_that_was_printed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(world, "keys") == 0
    printed = capsys.readouterr().out
    assert world.signer.keys[0].fingerprint_sha256 in printed
    (world.folder / "printed").write_text(printed)
    pack = world.folder / "pack.zip"
    assert await run(world, "pack", OURS, "--out", str(pack)) == 0
    verify = ["verify", "--pack", str(pack), "--public-key", str(world.folder / "printed")]
    assert await asyncio.to_thread(main, verify) == 0
    assert f"charger {OURS}: 8 events" in capsys.readouterr().out


async def test_a_pack_of_nobody_and_a_key_that_is_missing_are_said_plainly(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(world, "pack", "CP-nobody") == 1
    assert "no event of a charger 'CP-nobody'" in capsys.readouterr().err
    (world.folder / "key").unlink()
    assert await run(world, "pack", OURS) == 2
    assert "checkpoint key file" in capsys.readouterr().err
