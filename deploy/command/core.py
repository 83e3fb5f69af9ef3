"""`run.py core`: the deciding half, against given Postgres and NATS."""

import argparse

from bfactors.errors import SettingsError
from deploy.command.option import add_settings_flags, log_to_stderr, say_ready, settings_of
from deploy.command.signals import StopSignal
from deploy.role.system import System

READY_POLL_S = 0.05
NEEDED = (
    *("postgres_writer_dsn", "nats_url", "pepper_file", "secret_key_file", "nats_core_seed_file"),
    "ocpp_public_url",
)


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "core",
        help="decides and records: the ledger, issuance, the admin API",
        description="Run the core against given Postgres (BF_POSTGRES_OWNER_DSN, _WRITER_DSN, _READER_DSN) and NATS "
        "(BF_NATS_URL, BF_NATS_CORE_SEED_FILE), with BF_PEPPER_FILE shared with connect, BF_SECRET_KEY_FILE shared "
        "by all cores, and BF_OCPP_PUBLIC_URL naming where chargers connect. Several may run; each partition has one owner at "
        "a time.",
    )
    add_settings_flags(parser, "data-dir", "admin-host", "admin-port", "node", "nats-url", "aws-endpoint-url")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT. Raises SettingsError."""
    settings = settings_of(options)
    log_to_stderr(settings.log_level)
    for name in NEEDED:
        if name == "secret_key_file" and settings.secret_kms_key_arns:
            continue
        if str(getattr(settings, name)) in ("", "."):
            raise SettingsError(f"core needs the setting {name} (BF_{name.upper()})")
    stop = StopSignal()
    system = System.open(settings, {}, frozenset({"core"}))
    try:
        stop.wait(lambda: not system.missing(), READY_POLL_S)
        if not stop.asked and system.admin is not None:
            say_ready(admin_url=system.admin.url, admin_token_file=str(system.admin_token_file))
            stop.wait()
    finally:
        system.close()
    return 0
