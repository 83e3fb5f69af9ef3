"""A secret on its way between two processes: a running core opens for connect what another core sealed."""

from __future__ import annotations

import asyncio
import logging
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from bfactors.authorization_key import AuthorizationKey
from bfactors.errors import Unavailable
from bfactors.secret import SecretName
from deploy.role.custody import SealingKeyFile
from deploy.role.runtime import open_nats
from gateways.nats.secret import NatsSecrets
from persistence.role import WRITER
from persistence.secret import PostgresSecretStore
from tests.faults.depot import pause
from tests.faults.plant import Plant
from tests.patience import PATIENCE_S

NOW = datetime.now(UTC)


def name_of(secret_id: str) -> SecretName:
    return SecretName(secret_id=secret_id, purpose="authorization-key", charger_id="BAY.1", generation=2)


async def test_a_core_opens_what_was_sealed_elsewhere_and_sweeps_what_nobody_came_for(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key = AuthorizationKey.from_random(bytes(range(7, 247, 15)), "2.0.1")
    key_file = Path(plant.core_environment["BF_SECRET_KEY_FILE"])
    store = await PostgresSecretStore.reach(plant.postgres.dsn(WRITER), SealingKeyFile.load(key_file))
    nats = await open_nats(plant.nats.url, plant.nats.seed_file("connect"), "connect", "asker", Path())
    await nats.connected(10)
    try:
        await store.put(name_of("on-its-way"), key.disclosed, NOW + timedelta(hours=1))
        await store.put(name_of("orphan"), key.disclosed, NOW - timedelta(hours=1))
        source = NatsSecrets(nats.connection, nats.replies)
        fetched = await source.fetch("on-its-way", "BAY.1", "session", 2)
        assert fetched is not None
        assert AuthorizationKey.from_disclosed(fetched, "2.0.1") == key
        assert await source.fetch("on-its-way", "BAY.2", "session", 2) is None
        assert await source.fetch("orphan", "BAY.1", "session", 2) is None
        plant.core.kill()
        with pytest.raises(Unavailable):
            await source.fetch("on-its-way", "BAY.1", "session", 2)
        plant.core.start()
        await plant.core.ready()
        assert await source.fetch("on-its-way", "BAY.1", "session", 2) == key.disclosed
        await swept(plant, "orphan")
    finally:
        await nats.close()
        await store.close()
    assert modes_of(key_file) == "-rw-------"
    written = logs_of(plant)
    assert "secret on-its-way went to charger BAY.1, session session" in written
    assert "secret on-its-way was refused to charger BAY.2" in written
    for text in (key.wire_text("2.0.1"), key_file_text(key_file)):
        assert text not in written
        assert text not in caplog.text


async def swept(plant: Plant, secret_id: str) -> None:
    """Returns once the row is gone: each start of a core sweeps at once."""
    connection = await asyncpg.connect(plant.postgres.dsn())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await connection.fetchval("SELECT 1 FROM secret WHERE secret_id = $1", secret_id):
                await pause()
    finally:
        await connection.close()


def modes_of(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


def key_file_text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def logs_of(plant: Plant) -> str:
    """What every process of the plant has written."""
    files = sorted(plant.data.folder("log").glob("*.log"))
    return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
