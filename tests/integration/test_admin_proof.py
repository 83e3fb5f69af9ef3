"""Checkpoints, keys and proofs over the API, from a real database: everything answered is checked as an outsider would."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bfactors.audit.checkpoint import signed_checkpoint
from bfactors.audit.merkle import verify_consistency, verify_inclusion
from deploy.audit.desk import AuditDesk
from gateways.checkpoint.public_key import Keyring, read_keys
from persistence.checkpoint import PostgresCheckpoints
from persistence.ledger_store import PostgresLedgerStore
from persistence.proof import ProofReader
from persistence.role import READER, WRITER
from tests.conftest import FreshDatabase
from tests.contract.test_checkpoint_desk import World
from tests.fakes.checkpoint import ORIGIN
from tests.integration.admin_world import AdminWorld, HandClock

pytest_plugins = ("tests.fakes.ledger_database",)

SIZES = (5, 300, 700)


@pytest.fixture
async def world(
    emptied_ledger_database: FreshDatabase, postgres_ledger_store: PostgresLedgerStore, tmp_path: Path
) -> AsyncIterator[World]:
    """Partition 3 with checkpoints of 5, 300 and 700 rows, and 2 rows more."""
    rows = await PostgresCheckpoints.open(emptied_ledger_database.dsn(WRITER))
    world = World(emptied_ledger_database, postgres_ledger_store, rows, tmp_path)
    await world.claim()
    for size in SIZES:
        await world.commit(size - world.lease.sequence)
        await world.checkpoint()
    await world.commit(2)
    yield world
    await rows.close()


@pytest.fixture
async def api(world: World) -> AsyncIterator[AdminWorld]:
    proofs = await ProofReader.open(world.database.dsn(READER))
    admin = AdminWorld(proofs=AuditDesk(proofs, world.signer, HandClock()))
    async with admin.served():
        yield admin
    await proofs.close()


async def asked(api: AdminWorld, path: str, status: int = 200) -> Any:
    reply = await api.ask("GET", f"/api/v1/audit/{path}", role="auditor")
    assert reply.status == status, reply.body
    return reply.body


def unhexed(path: list[str]) -> list[bytes]:
    return [bytes.fromhex(part) for part in path]


async def test_checkpoints_are_listed_newest_first_page_by_page(api: AdminWorld, world: World) -> None:
    assert {item["size"] for item in (await asked(api, "checkpoints"))["items"]} == set(SIZES)
    found: list[int] = []
    cursor = ""
    while cursor is not None:
        page = await asked(api, f"checkpoints?partition=3&limit=2{cursor and f'&cursor={cursor}'}")
        found += [item["size"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert found == sorted(SIZES, reverse=True)
    assert (await asked(api, "checkpoints?partition=4"))["items"] == []
    item = (await asked(api, "checkpoints?limit=1"))["items"][0]
    signed = signed_checkpoint(item["note"])
    assert signed.checkpoint.root_hash == item["root_hash"]
    assert Keyring(world.signer.keys).signed_by(signed.note)


async def test_keys_are_told_in_every_form(api: AdminWorld, world: World) -> None:
    (key,) = (await asked(api, "keys"))["items"]
    expected = list(world.signer.keys)
    assert read_keys(key["public_key_pem"], ORIGIN) == read_keys(key["verifier"], "") == expected
    assert key["fingerprint_sha256"] == expected[0].fingerprint_sha256


@pytest.mark.parametrize("size", [None, *SIZES])
async def test_every_event_under_a_checkpoint_is_proved(
    api: AdminWorld, world: World, size: int | None
) -> None:
    stored = await world.rows.row_hashes(3, 0, 702)
    for sequence in (1, 2, 4, 5, 256, 257, 299, 512, 513, 700):
        if size is not None and sequence > size:
            continue
        query = f"partition=3&sequence={sequence}" + (f"&size={size}" if size else "")
        body = await asked(api, f"proof/inclusion?{query}")
        assert body["hash"] == stored[(sequence - 1) * 32 : sequence * 32].hex()
        checkpoint = signed_checkpoint(body["note"]).checkpoint
        assert checkpoint.size == body["tree_size"] == (size or 700)
        assert verify_inclusion(
            bytes.fromhex(body["hash"]),
            body["leaf_index"],
            body["tree_size"],
            unhexed(body["path"]),
            bytes.fromhex(checkpoint.root_hash),
        )


@pytest.mark.parametrize(("first", "second"), [(5, 300), (5, 700), (300, 700), (700, 700)])
async def test_any_two_checkpoints_are_proved_to_be_of_one_history(
    api: AdminWorld, first: int, second: int
) -> None:
    body = await asked(api, f"proof/consistency?partition=3&first={first}&second={second}")
    roots = [signed_checkpoint(body[name]).checkpoint.root_hash for name in ("first_note", "second_note")]
    assert roots == [body["first_root_hash"], body["second_root_hash"]]
    assert verify_consistency(first, second, unhexed(body["path"]), *unhexed(roots))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("proof/inclusion?partition=3&sequence=701", 409, "not-covered"),
        ("proof/inclusion?partition=4&sequence=1", 404, "unknown-checkpoint"),
        ("proof/inclusion?partition=3&sequence=1&size=6", 404, "unknown-checkpoint"),
        ("proof/consistency?partition=3&first=5&second=6", 404, "unknown-checkpoint"),
        ("proof/consistency?partition=3&first=300&second=5", 422, "invalid-value"),
        ("proof/inclusion?partition=16&sequence=1", 422, "invalid-value"),
        ("proof/inclusion?partition=3&sequence=0", 422, "invalid-value"),
        ("proof/inclusion?partition=3", 422, "missing-field"),
        ("checkpoints?cursor=bm90aGluZw", 422, "invalid-cursor"),
    ],
)
async def test_what_cannot_be_proved_is_refused_with_the_reason(
    api: AdminWorld, path: str, status: int, code: str
) -> None:
    assert (await asked(api, path, status))["code"] == code


async def test_a_ledger_that_lost_hashes_says_so_and_a_changed_one_proves_nothing(
    api: AdminWorld, world: World
) -> None:
    await world.as_intruder("UPDATE event SET hash = decode(repeat('ab', 32), 'hex') WHERE sequence = 20")
    body = await asked(api, "proof/inclusion?partition=3&sequence=21")
    assert not verify_inclusion(
        bytes.fromhex(body["hash"]), 20, 700, unhexed(body["path"]), bytes.fromhex(body["root_hash"])
    )
    await world.as_intruder("DELETE FROM merkle_node")
    assert (await asked(api, "proof/inclusion?partition=3&sequence=600", 409))["code"] == "ledger-corrupt"


async def test_a_process_without_proofs_says_so() -> None:
    async with AdminWorld().served() as admin:
        for path in ("audit/checkpoints", "audit/keys", "chargers/CP-1/evidence-pack"):
            reply = await admin.ask("GET", f"/api/v1/{path}", role="auditor")
            assert (reply.status, reply.body["code"]) == (409, "no-proofs")


async def test_the_signed_text_holds_the_root_in_base64_as_other_verifiers_expect(api: AdminWorld) -> None:
    item = (await asked(api, "checkpoints?limit=1"))["items"][0]
    lines = item["note"].split("\n")
    assert lines[0] == f"{ORIGIN}/03"
    assert base64.b64decode(lines[2]).hex() == item["root_hash"]
