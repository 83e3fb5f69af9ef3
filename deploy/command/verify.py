"""`run.py verify`: recompute the hash chains and name the first bad row."""

import argparse
import asyncio
import sys
from pathlib import Path

from bfactors.settings import Settings
from deploy.command.option import add_settings_flags, settings_of
from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.postgres import EmbeddedPostgres
from persistence.chain import VerificationReport
from persistence.verification import export, verify_database, verify_export


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "verify",
        help="recompute the ledger's hash chains, offline",
        description="Recompute the ledger's hash chains from an export, a given database (BF_POSTGRES_READER_DSN) or the "
        "embedded one under --data-dir. Exit status: 0 every chain holds, 1 a row is bad (the first of each partition is "
        "named), 2 nothing could be read.",
    )
    parser.add_argument("--export", type=Path, metavar="FILE", help="verify an export instead of a database")
    parser.add_argument("--write-export", type=Path, metavar="FILE", help="write an export and stop")
    parser.add_argument("--postgres-reader-dsn", metavar="DSN", help="a running database")
    add_settings_flags(parser, "data-dir")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0, 1 or 2. Raises SettingsError, Unavailable."""
    if options.export is not None:
        try:
            return _tell(verify_export(options.export))
        except OSError as problem:
            sys.stderr.write(f"run.py verify: {options.export} cannot be read: {problem.strerror}\n")
            return 2
    options.postgres_owner_dsn = options.postgres_writer_dsn = options.postgres_reader_dsn
    settings = settings_of(options)
    if not settings.embeds_postgres:
        return _check(settings.postgres_reader_dsn, options.write_export)
    return _check_embedded(settings, options.write_export)


def _check_embedded(settings: Settings, target: Path | None) -> int:
    with DataDirectory.open(settings.data_dir) as data:
        database = EmbeddedPostgres.start(data)
        try:
            return _check(database.dsn("bf_reader"), target)
        finally:
            database.stop()


def _check(reader_dsn: str, target: Path | None) -> int:
    if target is not None:
        rows = asyncio.run(export(reader_dsn, target))
        sys.stdout.write(f"{rows} events written to {target}\n")
        return 0
    return _tell(asyncio.run(verify_database(reader_dsn)))


def _tell(report: VerificationReport) -> int:
    for problem in report.problems:
        sys.stdout.write(f"{problem}\n")
    state = "every chain holds" if report.intact else "NOT INTACT"
    sys.stdout.write(f"{report.rows} events in {len(report.heads)} partitions: {state}\n")
    return 0 if report.intact else 1
