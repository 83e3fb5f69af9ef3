"""`run.py up`: the whole control plane in one process."""

import argparse

from deploy.command.option import add_settings_flags, log_to_stderr, say_ready, settings_of
from deploy.command.signals import StopSignal
from deploy.role.servers import start_servers
from deploy.role.system import System

READY_POLL_S = 0.05


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "up",
        help="the whole control plane in one process",
        description="Run core, connect and the admin API in one process. PostgreSQL, NATS and the AWS peer are started "
        "from wheels unless settings name them. Prints one JSON line on stdout when ready: "
        '{"event":"ready","ocpp_url":...,"admin_url":...,"admin_token_file":...}. SIGTERM drains and exits 0.',
    )
    add_settings_flags(
        parser, "data-dir", "ocpp-host", "ocpp-port", "ocpp-plain-port", "admin-host", "admin-port", "node"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT. Raises SettingsError, EmbeddedError."""
    settings = settings_of(options)
    log_to_stderr(settings.log_level)
    stop = StopSignal()
    with stop.starting():
        servers = start_servers(settings)
    try:
        with stop.starting():
            system = System.open(servers.settings, servers.database_passwords, frozenset({"core", "connect"}))
        try:
            stop.wait(lambda: not system.missing(), READY_POLL_S)
            if not stop.asked:
                say_ready(
                    ocpp_url=system.ocpp_url(),
                    admin_url=system.admin.url if system.admin is not None else "",
                    admin_token_file=str(system.admin_token_file),
                    log_url=system.logs.url() if system.logs is not None else "",
                    pids=servers.pids,
                )
                stop.wait()
        finally:
            system.close()
    finally:
        servers.stop()
    return 0
