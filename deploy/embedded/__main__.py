"""`python -m deploy.embedded --data-dir D`: both servers for hand use, until SIGTERM or Ctrl-C.

Prints one line of JSON when both are ready: addresses and the paths of passwords and seeds, never a secret itself.
Exit status: 0 stopped as asked, 1 a server ended by itself, 2 it could not start.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from deploy.embedded import nats_rights, postgres
from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.errors import EmbeddedError
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.embedded", description="PostgreSQL and NATS for hand use."
    )
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="an empty, new or formerly used directory"
    )
    parser.add_argument("--postgres-port", type=int, help="listen on 127.0.0.1 too; 0 picks a free port")
    parser.add_argument("--nats-port", type=int, default=0, help="default: a free port")
    options = parser.parse_args(arguments)
    for number in STOP_SIGNALS:
        signal.signal(number, _leave)
    signal.signal(signal.SIGCHLD, _notice)
    try:
        with ExitStack() as stack:
            data = stack.enter_context(DataDirectory.open(options.data_dir))
            database = EmbeddedPostgres.start(data, tcp_port=options.postgres_port)
            stack.callback(database.stop)
            broker = EmbeddedNats.start(data, port=options.nats_port)
            stack.callback(broker.stop)
            sys.stdout.write(json.dumps(describe(database, broker)) + "\n")
            sys.stdout.flush()
            return _wait(database, broker)
    except EmbeddedError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def describe(database: EmbeddedPostgres, broker: EmbeddedNats) -> dict[str, object]:
    return {
        "postgres": {
            "pid": database.pid,
            "dsn": {role: database.dsn_without_password(role) for role in postgres.ROLES},
            "password_file": {role: str(database.password_file(role)) for role in postgres.ROLES},
        },
        "nats": {
            "pid": broker.pid,
            "url": broker.url,
            "seed_file": {role: str(broker.seed_file(role)) for role in nats_rights.ROLES},
            "inbox_prefix": {role: nats_rights.inbox_prefix(role) for role in nats_rights.ROLES},
        },
    }


def _wait(database: EmbeddedPostgres, broker: EmbeddedNats) -> int:
    """Until a stop signal, or a server's end. The signals are blocked first, so that none falls between look and wait."""
    awaited = STOP_SIGNALS | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    while database.is_alive and broker.is_alive:
        if signal.sigwait(awaited) in STOP_SIGNALS:
            return 0
    sys.stderr.write("a server ended by itself; its log is in the data directory\n")
    return 1


def _leave(number: int, frame: FrameType | None) -> None:
    """While still starting: unwind, which stops what runs already. A second signal must not cut the stopping short."""
    for repeated in STOP_SIGNALS:
        signal.signal(repeated, signal.SIG_IGN)
    raise SystemExit(0)


def _notice(number: int, frame: FrameType | None) -> None:
    """A handler has to exist for SIGCHLD to be waited for everywhere."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
