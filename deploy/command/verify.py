"""`run.py verify`: recompute the hash chains and trees, hold signed checkpoints against them, name the first bad row."""

import argparse
import asyncio
import sys
from pathlib import Path

from bfactors.audit.pack import CHECKPOINT, is_key
from bfactors.audit.pack_check import check_pack
from bfactors.audit.series import Series
from bfactors.errors import SettingsError
from bfactors.settings import Settings
from deploy.audit.pack import files_of
from deploy.command.option import add_settings_flags, settings_of
from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.postgres import EmbeddedPostgres
from gateways.checkpoint.collection import keys_in, names_in, series_in
from gateways.checkpoint.public_key import Keyring, read_keys
from persistence.chain import VerificationReport
from persistence.verification import export, verify_database, verify_export


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "verify",
        help="recompute the ledger's hash chains and hold signed checkpoints against them, offline",
        description="Recompute the ledger's hash chains from an export, a given database (BF_POSTGRES_READER_DSN) or the "
        "embedded one under --data-dir, and hold signed checkpoints against them. Exit status: 0 everything holds, 1 a row or "
        "checkpoint is bad (the first row of each partition is named), 2 nothing could be read.",
    )
    parser.add_argument("--export", type=Path, metavar="FILE", help="verify an export instead of a database")
    parser.add_argument("--write-export", type=Path, metavar="FILE", help="write an export and stop")
    parser.add_argument(
        "--pack", type=Path, metavar="FILE", help="verify the evidence pack of a charger instead"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="PLACE",
        help="signed checkpoints: a directory, or a file of notes (default: checkpoints under --data-dir, if there are any)",
    )
    parser.add_argument(
        "--public-key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a key you trust, as PEM or verifier line; may be repeated (default: those beside the checkpoints)",
    )
    parser.add_argument(
        "--origin", default="", metavar="NAME", help="which ledger's checkpoints (default: the newest one's)"
    )
    parser.add_argument("--postgres-reader-dsn", metavar="DSN", help="a running database")
    add_settings_flags(parser, "data-dir")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0, 1 or 2. Raises SettingsError, Unavailable."""
    if options.pack is not None:
        return _check_pack(options.pack, options.public_key)
    if options.export is not None:
        series = _series(options.checkpoints, options)
        try:
            return _tell(verify_export(options.export, series=series), series)
        except OSError as problem:
            sys.stderr.write(f"run.py verify: {options.export} cannot be read: {problem.strerror}\n")
            return 2
    options.postgres_owner_dsn = options.postgres_writer_dsn = options.postgres_reader_dsn
    settings = settings_of(options)
    place = options.checkpoints
    if place is None and settings.checkpoint_folder.is_dir():
        place = settings.checkpoint_folder
    series = _series(place, options)
    if not settings.embeds_postgres:
        return _check(settings.postgres_reader_dsn, options.write_export, series)
    return _check_embedded(settings, options.write_export, series)


def _check_pack(pack: Path, key_files: list[Path]) -> int:
    files = files_of(pack)
    names = names_in(files[name].decode("utf-8", "replace") for name in (CHECKPOINT,) if name in files)
    if key_files:
        keys = keys_in(key_files, names)
    else:
        inside = [content.decode("utf-8", "replace") for name, content in files.items() if is_key(name)]
        keys = [key for content in inside for name in names for key in read_keys(content, name)]
        sys.stdout.write("the keys inside the pack are believed; --public-key names one you trust\n")
    report = check_pack(files, Keyring(keys))
    for line in report.problems:
        sys.stdout.write(f"{line}\n")
    for line in report.notices:
        sys.stdout.write(f"note: {line}\n")
    found = report.description
    if found is not None:
        sys.stdout.write(
            f"charger {found.charger_id}: {found.events} events and {len(found.certificates)} certificates, under the "
            f"checkpoint of {found.tree_size} rows of partition {found.partition} of {found.origin}"
            f"{f'; {found.events_behind} later events left out' if found.events_behind else ''}\n"
        )
    sys.stdout.write("the pack holds\n" if report.intact else "NOT INTACT\n")
    return 0 if report.intact else 1


def _series(place: Path | None, options: argparse.Namespace) -> Series | None:
    if place is None:
        if options.public_key:
            raise SettingsError("--public-key says who signed, --checkpoints has to say what")
        return None
    series = series_in(place, options.public_key, options.origin)
    if series.count == 0 and (options.checkpoints is not None or series.unknown):
        raise SettingsError(f"{place} holds no checkpoint that a key given here signed")
    if not options.public_key:
        sys.stdout.write(
            "the keys that lie beside the checkpoints are believed; --public-key names one you trust\n"
        )
    return series


def _check_embedded(settings: Settings, target: Path | None, series: Series | None) -> int:
    with DataDirectory.open(settings.data_dir) as data:
        database = EmbeddedPostgres.start(data)
        try:
            return _check(database.dsn("bf_reader"), target, series)
        finally:
            database.stop()


def _check(reader_dsn: str, target: Path | None, series: Series | None) -> int:
    if target is not None:
        rows = asyncio.run(export(reader_dsn, target))
        sys.stdout.write(f"{rows} events written to {target}\n")
        return 0
    return _tell(asyncio.run(verify_database(reader_dsn, series=series)), series)


def _tell(report: VerificationReport, series: Series | None) -> int:
    for problem in report.problems:
        sys.stdout.write(f"{problem}\n")
    state = "every chain holds" if report.intact else "NOT INTACT"
    sys.stdout.write(f"{report.rows} events in {len(report.heads)} partitions: {state}\n")
    if series is not None:
        _tell_checkpoints(report, series)
    else:
        sys.stdout.write("no checkpoints were given: history written anew and hashed anew would not show\n")
    return 0 if report.intact else 1


def _tell_checkpoints(report: VerificationReport, series: Series) -> None:
    sys.stdout.write(
        f"{report.checkpoints} signed checkpoints of {series.origin or 'no ledger'} held against them, "
        f"{report.uncovered} events are under none yet\n"
    )
    if series.unknown:
        sys.stdout.write(f"{series.unknown} checkpoints were signed by no key given here and not looked at\n")
    for origin, count in sorted(series.others.items()):
        sys.stdout.write(f"{count} checkpoints are of {origin} and not looked at (--origin {origin})\n")
