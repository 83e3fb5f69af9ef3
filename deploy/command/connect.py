"""`run.py connect`: the half that talks to chargers, against given NATS."""

import argparse

from bfactors.errors import SettingsError
from deploy.command.option import add_settings_flags, log_to_stderr, say_ready, settings_of
from deploy.command.signals import StopSignal
from deploy.role.system import System

READY_POLL_S = 0.05


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "connect",
        help="talks to chargers: sockets, actors, evidence",
        description="Run a connect node against given NATS (BF_NATS_URL, BF_NATS_CONNECT_SEED_FILE), with the server "
        "certificates (BF_SERVER_CHAIN_FILES, BF_SERVER_KEY_FILES) and the pepper (BF_PEPPER_FILE). It holds no database "
        "credentials and admits chargers from its snapshot while everything else is away.",
    )
    add_settings_flags(
        parser, "data-dir", "ocpp-host", "ocpp-port", "ocpp-plain-port", "health-port", "node", "nats-url"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT. Raises SettingsError."""
    settings = settings_of(options)
    log_to_stderr(settings.log_level)
    for name in ("nats_url", "nats_connect_seed_file", "pepper_file"):
        if str(getattr(settings, name)) in ("", "."):
            raise SettingsError(f"connect needs the setting {name} (BF_{name.upper()})")
    stop = StopSignal()
    system = System.open(settings, {}, frozenset({"connect"}))
    try:
        stop.wait(lambda: not system.missing(), READY_POLL_S)
        if not stop.asked:
            say_ready(
                ocpp_url=system.ocpp_url(), health_url=system.health.url if system.health is not None else ""
            )
            stop.wait()
    finally:
        system.close()
    return 0
