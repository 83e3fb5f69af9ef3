"""A running system told VINs, EMAIDs and PCIDs: no file of PostgreSQL, NATS or a log, and no message, has one in clear."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import nats

from deploy.embedded.nats_rights import inbox_prefix
from persistence.role import READER
from persistence.verification import verify_database
from tests.faults.depot import pause
from tests.faults.plant import Plant
from tests.patience import PATIENCE_S

VIN, PCID, EMAID = "WDB2030461A123456", "HUBOpenProvCert001", "DE-8AA-CA1B2C3D4-X"
FORMS = (VIN, VIN.lower(), PCID, PCID.upper(), EMAID, "DE8AACA1B2C3D4", "CA1B2C3D4", "WDB\u2026", "HUB\u2026")
REGISTERED = (
    {"kind": "vehicle", "external_ids": {"vin": VIN.lower(), "pcid": PCID}, "cohort": "buses"},
    {"kind": "contract", "external_ids": {"emaid": EMAID}},
)


async def test_no_file_and_no_message_of_a_running_system_has_them_in_clear(plant: Plant) -> None:
    heard: list[bytes] = []
    listener = await nats.connect(
        plant.nats.url, nkeys_seed=str(plant.nats.seed_file("core")), inbox_prefix=inbox_prefix("core")
    )

    async def hear(message: Any) -> None:
        heard.append(message.subject.encode() + message.data)

    for subject in ("bf.command.*", f"{inbox_prefix('core')}.>"):
        await listener.subscribe(subject, cb=hear)
    await listener.flush()
    superuser = await asyncpg.connect(plant.postgres.dsn())
    try:
        await superuser.execute("ALTER SYSTEM SET log_statement = 'all'")
        await superuser.execute("SELECT pg_reload_conf()")
        before = await hashes(superuser)
        await tell(plant)
        tables = await dumped(superuser)
        after = await hashes(superuser)
    finally:
        await superuser.execute("ALTER SYSTEM RESET log_statement")
        await superuser.execute("SELECT pg_reload_conf()")
        await superuser.close()
        await listener.drain()
    assert before.items() <= after.items()
    assert len(after) > len(before)
    assert any(b"bf.command." in message for message in heard)
    assert any(b"RegisterIdentity" in message for message in heard)
    assert "PersonalDataErased" in tables
    for form in FORMS:
        assert form not in tables
        assert [message for message in heard if form.encode() in message] == []
    places = [
        path for path, content in files(plant.data.path) if any(form.encode() in content for form in FORMS)
    ]
    assert places == []
    assert (await verify_database(plant.postgres.dsn(READER))).intact


async def tell(plant: Plant) -> None:
    """Register, find, be refused, change, erase, give again, retire."""
    headers = {"Authorization": f"Bearer {plant.token}"}
    async with aiohttp.ClientSession(plant.admin_url, headers=headers) as http:
        for number, body in enumerate(REGISTERED):
            for key, status in ((f"first-{number}", 201), (f"second-{number}", 409)):
                reply = await http.post("/api/v1/identities", json=body, headers={"Idempotency-Key": key})
                assert reply.status == status, await reply.text()
                if status == 201:
                    identity = await reply.json()
            path = f"/api/v1/identities/{identity['identity_id']}"
            erase = await http.post(
                f"{path}/erase-personal-data",
                json={"reason": "asked for"},
                headers={"Idempotency-Key": f"erase-{number}"},
            )
            assert (await erase.json())["erased"] is True
            again = await http.patch(path, json={"external_ids": body["external_ids"]})
            shown = await again.json()
            assert (shown["erased"], shown["pseudonyms"]) == (False, identity["pseudonyms"])
            assert (await http.delete(path)).status == 200
        for query in (f"vin={VIN}", f"q={PCID}", f"emaid={EMAID}"):
            found = await (await http.get(f"/api/v1/identities?{query}")).json()
            assert len(found["items"]) == 1
        refused = await http.get(f"/api/v1/jobs/{VIN}", headers={"Authorization": "Bearer wrong"})
        assert refused.status == 401
    async with asyncio.timeout(PATIENCE_S):  # the denial is folded for ten seconds before it is evidence
        connection = await asyncpg.connect(plant.postgres.dsn())
        try:
            while not await connection.fetchval(
                "SELECT 1 FROM event WHERE event = 'SecurityEventRecorded' AND payload LIKE '%[personal identifier]%'"
            ):
                await pause()
        finally:
            await connection.close()


async def hashes(connection: asyncpg.Connection) -> dict[tuple[int, int], bytes]:
    rows = await connection.fetch("SELECT partition, sequence, hash FROM event")
    return {(row["partition"], row["sequence"]): row["hash"] for row in rows}


async def dumped(connection: asyncpg.Connection) -> str:
    """Every row of every table, bytes as text where they are one."""
    found = []
    for table in await connection.fetch(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    ):
        for row in await connection.fetch(f"SELECT * FROM {table['name']}"):
            found += [
                part.decode("latin-1") if isinstance(part, bytes) else str(part) for part in row.values()
            ]
    return "\n".join(found)


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """PostgreSQL's pages and write-ahead log, NATS's streams, every process's log."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                yield path, path.read_bytes()
            except FileNotFoundError:
                continue  # deleted meanwhile
