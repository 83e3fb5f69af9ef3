"""Evidence packs from a real database: checked by our program, by a shell with openssl, and after every kind of forgery."""

import asyncio
import io
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from bfactors.audit.pack import CHECKPOINT, EVENTS, MANIFEST, PROOFS, SIGNED_MANIFEST, manifest_of
from bfactors.audit.pack_check import check_pack
from bfactors.identity import partition_of
from bfactors.ledger_row import EventRow, row_hash
from bfactors.x509 import parse_certificate
from deploy.audit.desk import AuditDesk
from deploy.audit.pack import archive, files_of
from deploy.audit.readme import SNIPPET
from deploy.command.main import main
from gateways.checkpoint.public_key import Keyring, pem_of
from persistence.checkpoint import PostgresCheckpoints
from persistence.ledger_store import PostgresLedgerStore
from persistence.proof import ProofReader
from persistence.role import READER, WRITER
from tests.conftest import FreshDatabase
from tests.contract.test_checkpoint_desk import LONG, PARTITION, World
from tests.core import pki
from tests.fakes.checkpoint import AT, signer_in
from tests.fakes.ledger_row import batch, certificate, chain
from tests.integration.admin_world import AdminWorld, HandClock

pytest_plugins = ("tests.fakes.ledger_database",)

OURS, OTHER = [name for number in range(200) if partition_of(name := f"CP-{number}") == PARTITION][:2]
PEM = pki.ca().root_pem
FINGERPRINT = parse_certificate(PEM).fingerprint_sha256
Files = dict[str, bytes]


@pytest.fixture
async def world(
    emptied_ledger_database: FreshDatabase, postgres_ledger_store: PostgresLedgerStore, tmp_path: Path
) -> AsyncIterator[World]:
    """Two chargers' events by turns, three checkpoints, a certificate, and one event under no checkpoint."""
    rows = await PostgresCheckpoints.open(emptied_ledger_database.dsn(WRITER))
    world = World(emptied_ledger_database, postgres_ledger_store, rows, tmp_path)
    await world.claim()
    for round_ in range(3):
        for charger_id, count in ((OURS, 3), (OTHER, 150)):
            payload = f'{{"fingerprintSha256":"{FINGERPRINT}","größe":"{round_}"}}'
            await world.commit(count, charger_id=charger_id, payload=payload)
        await world.checkpoint()
    await world.commit(1, charger_id=OURS)
    doc = {
        "certificate_id": "cert-1",
        "purpose": "charging_station",
        "fingerprint_sha256": FINGERPRINT,
        "pem": PEM,
        "chain_pem": PEM,
    }
    stored = certificate("cert-1", charger_id=OURS, doc=msgspec.json.encode(doc))
    events = chain(world.lease, 1, charger_id=OTHER)
    world.lease = await world.ledger.commit(
        world.lease, batch(world.lease, 0, events=events, certificates=[stored]), LONG
    )
    yield world
    await rows.close()


@pytest.fixture
async def pack(world: World) -> Path:
    proofs = await ProofReader.open(world.database.dsn(READER))
    async with AdminWorld(proofs=AuditDesk(proofs, world.signer, HandClock())).served() as api:
        reply = await api.ask("GET", f"/api/v1/chargers/{OURS}/evidence-pack", role="auditor")
    await proofs.close()
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/zip"
    path = world.folder / "pack.zip"
    path.write_bytes(reply.body)
    (world.folder / "key.pem").write_text(pem_of(world.signer.keys[0]))
    return path


def problems(world: World, files: Files) -> list[str]:
    return list(check_pack(files, Keyring(world.signer.keys)).problems)


async def test_a_pack_holds_what_the_ledger_holds_of_the_charger_and_nothing_of_others(
    world: World, pack: Path
) -> None:
    files = files_of(pack)
    report = check_pack(files, Keyring(world.signer.keys))
    assert (report.problems, report.notices) == ((), ())
    assert report.description is not None
    assert (report.description.events, report.description.events_behind) == (9, 1)
    assert OTHER.encode() not in b"".join(files.values())
    assert len(files["checkpoints.jsonl"].splitlines()) == 2
    name = report.description.certificates[0].file
    assert files[name].decode() == PEM
    assert not [content for content in files.values() if b"PRIVATE" in content]


async def test_the_same_pack_has_the_same_bytes(pack: Path) -> None:
    assert archive(files_of(pack), AT.replace(hour=0)) == archive(files_of(pack), AT.replace(hour=0))


async def test_the_command_checks_it_with_a_key_one_trusts(
    world: World, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--pack", str(pack), "--public-key", str(world.folder / "key.pem")]) == 0
    said = capsys.readouterr().out
    assert f"charger {OURS}: 9 events and 1 certificates, under the checkpoint of 459 rows" in said
    assert "1 later events left out" in said
    assert "the pack holds" in said
    assert main(["verify", "--pack", str(pack)]) == 0
    assert "the keys inside the pack are believed" in capsys.readouterr().out
    stranger = world.folder / "stranger.pem"
    stranger.write_text(pem_of(signer_in(world.folder / "s").keys[0]))
    assert main(["verify", "--pack", str(pack), "--public-key", str(stranger)]) == 1
    assert "no signature of a key you trust" in capsys.readouterr().out


async def test_an_outsider_checks_it_with_the_readme_alone(world: World, pack: Path) -> None:
    """The commands are those of the README, run by a shell; the snippet is the one printed there."""
    folder = world.folder / "unpacked"
    await asyncio.to_thread(zipfile.ZipFile(pack).extractall, folder)
    readme = (folder / "README.md").read_text()
    commands = [line.strip() for line in readme.splitlines() if line.startswith("       ")]
    shell = [
        line.partition("    #")[0] for line in commands if line.startswith(("awk", "tail", "openssl pkeyutl"))
    ]
    assert len(shell) == 3
    for note in (SIGNED_MANIFEST, CHECKPOINT):
        script = [f"F={note}", *[line.replace("KEY.pem", str(world.folder / "key.pem")) for line in shell]]
        done = await run(["sh", "-ec", "\n".join(script)], folder)
        assert "Verified Successfully" in done, done
    assert "sha256sum --check MANIFEST.sha256" in readme
    assert "FAILED" not in await run(["sha256sum", "--check", MANIFEST], folder)
    assert (folder / SIGNED_MANIFEST).read_text().splitlines()[1] in await run(
        ["sha256sum", MANIFEST], folder
    )
    snippet = "\n".join(line[7:] for line in readme.splitlines() if line.startswith("       ") or not line)
    assert all(line in snippet for line in SNIPPET.splitlines())
    assert await run([sys.executable, "-c", SNIPPET], folder) == "9 events are under the checkpoint\n"
    events = (folder / EVENTS).read_text()
    (folder / EVENTS).write_text(events.replace("operator:ada", "operator:eve", 1))
    with pytest.raises(AssertionError):
        await run([sys.executable, "-c", SNIPPET], folder)


async def run(command: list[str], folder: Path) -> str:
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


# ---------------------------------------------------------------- forgeries


def edited(name: str, change: Callable[[bytes], bytes]) -> Callable[[Files], None]:
    """A file changed, and the manifest made right again."""

    def edit(files: Files) -> None:
        assert change(files[name]) != files[name]
        files[name] = change(files[name])

    return edit


def rehash(content: bytes) -> bytes:
    """The first event changed and hashed anew."""
    first, *others = content.splitlines()
    fields = msgspec.structs.asdict(msgspec.json.decode(first, type=EventRow))
    fields.pop("hash")
    fields["actor"] = "operator:eve"
    forged = EventRow(**fields, hash=row_hash(**fields))
    return b"\n".join([msgspec.json.encode(forged), *others]) + b"\n"


def swapped(content: bytes) -> bytes:
    first, second, *others = content.splitlines(keepends=True)
    return b"".join([second, first, *others])


def without_first(content: bytes) -> bytes:
    return b"".join(content.splitlines(keepends=True)[1:])


FORGERIES = {
    "an event edited": (edited(EVENTS, lambda c: c.replace(b"ada", b"eve", 1)), "do not give its hash"),
    "an event rehashed": (edited(EVENTS, rehash), "does not lead to the checkpoint"),
    "events swapped": (edited(EVENTS, swapped), "not of the same events"),
    "an event left out": (edited(EVENTS, without_first), "not of the same events"),
    "a proof edited": (
        edited(PROOFS, lambda c: c.replace(b'["', b'["00', 1)),
        "does not lead to the checkpoint",
    ),
    "a proof that is none": (edited(PROOFS, lambda c: c.replace(b'["', b'["x', 1)), "cannot be read"),
    "a root of one's own": (edited(CHECKPOINT, lambda c: c.replace(b"\n459\n", b"\n458\n")), "no signature"),
    "another charger": (
        edited("pack.json", lambda c: c.replace(OURS.encode(), OTHER.encode())),
        "another charger",
    ),
    "an earlier checkpoint edited": (
        edited("checkpoints.jsonl", lambda c: c.replace(b"\\n153\\n", b"\\n154\\n")),
        "no signature",
    ),
    "a consistency proof exchanged": (
        edited("checkpoints.jsonl", lambda c: swap_proofs(c)),
        "not of the same rows",
    ),
    "another certificate": (
        edited(f"certificates/001-{FINGERPRINT[:16]}.pem", lambda _: pki.ca("Server").root_pem.encode()),
        "is not the certificate cert-1",
    ),
}


def swap_proofs(content: bytes) -> bytes:
    first, second = [msgspec.json.decode(line) for line in content.splitlines()]
    first["consistency"], second["consistency"] = second["consistency"], first["consistency"]
    return msgspec.json.encode(first) + b"\n" + msgspec.json.encode(second) + b"\n"


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forgery_is_named_whether_or_not_the_manifest_is_made_right(
    world: World, pack: Path, name: str
) -> None:
    forge, words = FORGERIES[name]
    files = files_of(pack)
    forge(files)
    found = problems(world, files)
    assert (
        any("is not the file that the manifest lists" in each for each in found) or words == "cannot be read"
    )
    assert any(words in each for each in found), found
    # By somebody who makes the manifest right, and cannot sign it.
    listed = {each: content for each, content in files.items() if each not in (MANIFEST, SIGNED_MANIFEST)}
    files[MANIFEST] = manifest_of(listed)
    found = problems(world, files)
    assert any(words in each for each in found), found
    assert any("is of another manifest" in each for each in found) or words == "cannot be read"


@pytest.mark.parametrize("name", [MANIFEST, SIGNED_MANIFEST, CHECKPOINT, EVENTS, PROOFS, "pack.json"])
async def test_a_pack_without_one_of_its_files_cannot_be_read_and_says_which(
    world: World, pack: Path, name: str
) -> None:
    files = files_of(pack)
    del files[name]
    assert problems(world, files) == [f"the pack cannot be read: {name} is missing"]


async def test_a_file_slipped_in_is_named(world: World, pack: Path) -> None:
    files = files_of(pack)
    files["certificates/999.pem"] = PEM.encode()
    assert problems(world, files) == ["certificates/999.pem is not the file that the manifest lists"]


def test_what_is_no_archive_or_too_large_a_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pack.zip"
    assert main(["verify", "--pack", str(path)]) == 2
    path.write_bytes(b"PK")
    assert main(["verify", "--pack", str(path)]) == 2
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for number in range(10_001):
            opened.writestr(f"{number}", b"")
    path.write_bytes(content.getvalue())
    assert main(["verify", "--pack", str(path)]) == 2
    assert "larger than any" in capsys.readouterr().err


# ---------------------------------------------------------------- refusals


async def test_a_charger_nobody_knows_or_without_a_checkpoint_has_no_pack(world: World) -> None:
    proofs = await ProofReader.open(world.database.dsn(READER))
    elsewhere = next(name for n in range(200) if partition_of(name := f"CP-{n}") == 4)
    desk = AuditDesk(proofs, world.signer, HandClock())
    async with AdminWorld(proofs=desk).served() as api:
        reply = await api.ask("GET", f"/api/v1/chargers/{elsewhere}/evidence-pack", role="auditor")
        assert (reply.status, reply.body["code"]) == (404, "unknown-charger")
        await world.as_intruder("DELETE FROM checkpoint")
        reply = await api.ask("GET", f"/api/v1/chargers/{OURS}/evidence-pack", role="auditor")
        assert (reply.status, reply.body["code"]) == (409, "not-covered")
    async with AdminWorld(proofs=AuditDesk(proofs, None, HandClock())).served() as api:
        reply = await api.ask("GET", f"/api/v1/chargers/{OURS}/evidence-pack", role="auditor")
        assert (reply.status, reply.body["code"]) == (409, "no-checkpoint-key")
    await proofs.close()
