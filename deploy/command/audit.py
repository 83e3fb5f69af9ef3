"""`run.py audit`: what an auditor is handed - the whole ledger with its checkpoints and keys, or one charger's evidence."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from msgspec.structs import replace

from bfactors.errors import SettingsError
from bfactors.refusal import Refusal
from bfactors.settings import Settings
from deploy.audit.pack import make_pack
from deploy.command.option import add_settings_flags, settings_of
from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.role.checkpointing import open_signer
from deploy.role.clock import SystemClock
from gateways.checkpoint.public_key import pem_of
from persistence.proof import ProofReader
from persistence.verification import export


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "audit",
        help="write what an auditor is handed: the ledger with its checkpoints and keys, or one charger's evidence pack",
        description="Write what an auditor is handed, from a given database (BF_POSTGRES_READER_DSN) or the embedded one under "
        "--data-dir while the system is stopped. What is written is checked with `verify`.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    whole = actions.add_parser("export", help="the whole ledger, its checkpoints and the public keys")
    whole.add_argument("directory", type=Path, help="made if it is not there")
    whole.set_defaults(act=_export)
    pack = actions.add_parser("pack", help="one charger's signed evidence pack")
    pack.add_argument("charger_id")
    pack.add_argument("--out", type=Path, metavar="FILE", help="default: evidence-<charger_id>.zip")
    pack.set_defaults(act=_pack)
    keys = actions.add_parser("keys", help="print the public keys that signed, with their fingerprints")
    keys.set_defaults(act=_keys)
    for each in (whole, pack, keys):
        each.add_argument("--postgres-reader-dsn", metavar="DSN", help="a running database")
        add_settings_flags(each, "data-dir")
        each.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0 done, 1 refused. Raises SettingsError, Unavailable."""
    options.postgres_owner_dsn = options.postgres_writer_dsn = options.postgres_reader_dsn
    settings = settings_of(options)
    if not settings.embeds_postgres:
        return asyncio.run(_with_reader(settings.postgres_reader_dsn, options, settings))
    with DataDirectory.open(settings.data_dir) as data:
        database = EmbeddedPostgres.start(data)
        try:
            return asyncio.run(_with_reader(database.dsn("bf_reader"), options, settings))
        finally:
            database.stop()


async def _with_reader(reader_dsn: str, options: argparse.Namespace, settings: Settings) -> int:
    proofs = await ProofReader.open(reader_dsn, size=1)
    act: Callable[[ProofReader, str, argparse.Namespace, Settings], Awaitable[int]] = options.act
    try:
        return await act(proofs, reader_dsn, options, settings)
    finally:
        await proofs.close()


async def _export(
    proofs: ProofReader, reader_dsn: str, options: argparse.Namespace, settings: Settings
) -> int:
    directory: Path = options.directory
    await asyncio.to_thread(_make, directory)
    # Checkpoints first: rows may grow meanwhile, a checkpoint must not be of more rows than the export.
    notes = [note async for note in proofs.all_notes()]
    rows = await export(reader_dsn, directory / "ledger.jsonl")
    await asyncio.to_thread(_write, directory / "checkpoints.txt", "".join(f"{note}\n\n" for note in notes))
    for key, _ in await proofs.key_rows():
        await asyncio.to_thread(_write, directory / f"key-{key.fingerprint_sha256}.pem", pem_of(key))
    sys.stdout.write(f"{rows} events and {len(notes)} checkpoints written to {directory}\n")
    return 0


async def _pack(proofs: ProofReader, reader_dsn: str, options: argparse.Namespace, settings: Settings) -> int:
    if settings.checkpoint_key_file == Path() and not settings.checkpoint_kms_key_arns:
        settings = _with_embedded_key(settings)
    signer, clients = await open_signer(settings)
    try:
        made = await make_pack(options.charger_id, proofs, signer, SystemClock().now())
    finally:
        if clients is not None:
            await clients.close()
    if isinstance(made, Refusal):
        sys.stderr.write(f"run.py audit: {made.message}\n")
        return 1
    target: Path = options.out or Path(f"evidence-{quote(options.charger_id, safe='')}.zip")
    await asyncio.to_thread(_write, target, made)
    sys.stdout.write(
        f"written to {target}; check it with: run.py verify --pack {target} --public-key KEY.pem\n"
    )
    return 0


async def _keys(proofs: ProofReader, reader_dsn: str, options: argparse.Namespace, settings: Settings) -> int:
    for key, first_used_at in await proofs.key_rows():
        sys.stdout.write(
            f"{key.fingerprint_sha256}  {key.algorithm}, since {first_used_at:%Y-%m-%d}\n{key.verifier}\n{pem_of(key)}"
        )
    return 0


def _with_embedded_key(settings: Settings) -> Settings:
    return replace(settings, checkpoint_key_file=settings.data_dir / "secrets" / "checkpoint.key")


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SettingsError(f"cannot make {directory}: {problem.strerror}") from problem


def _write(path: Path, content: str | bytes) -> None:
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as problem:
        raise SettingsError(f"cannot write {path}: {problem.strerror}") from problem
