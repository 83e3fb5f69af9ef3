"""`run.py ctl`: an operator's commands against a running system, through its admin API only."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bfactors.errors import SettingsError, Unavailable
from deploy.ctl.client import AdminClient, Refused, Wait
from deploy.ctl.command import Command, Desk, Given, declare, filled
from deploy.ctl.connection import Connection, connection_of
from deploy.ctl.paper import Paper, asked
from deploy.ctl.tool import COMMANDS, THINGS

_CANNOT_BE_TRIED = frozenset({401, 403, 404, 422})
_DESCRIPTION = """\
Commands against a running system, through its admin API. Set BF_CTL_ADMIN and
BF_CTL_TOKEN_FILE, or give --admin and --token-file each time. What reaches more
than one charger does nothing without --yes.

Exit status: 0 done, 1 something failed or the system is away, 2 it cannot be
tried like this, 3 still open when the time to wait was over.
"""


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "ctl",
        help="an operator's commands: look, order, revoke, approve, set policy",
        description=_DESCRIPTION,
        epilog="for example:\n  run.py ctl chargers show depot-7-bay-2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    declare(parser, THINGS, COMMANDS, _run)


def _run(options: Given) -> int:
    given = filled(options)
    paper = Paper.of_terminal(as_json=given.json)
    try:
        connection = connection_of(given.admin, given.token_file, given.ca_file, os.environ)
        return asyncio.run(connected(given.chosen, given, connection, paper))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SettingsError as problem:
        paper.complain(str(problem))
        return 2
    except Unavailable as problem:
        paper.complain(str(problem))
        return 1


async def connected(
    command: Command,
    given: Given,
    connection: Connection,
    paper: Paper,
    wait: Wait = asyncio.sleep,
    now: Callable[[], float] = time.monotonic,
    today: Callable[[], str] = lambda: datetime.now(UTC).date().isoformat(),
    ask: Callable[[str], str | None] = asked,
) -> int:
    """Carry a command out and return its exit status. Raises SettingsError, Unavailable."""
    client = AdminClient(
        connection.base,
        connection.token,
        trust=connection.trust,
        wait=wait,
        on_retry=lambda why: paper.complain(f"{connection.base}: {why}; trying again"),
    )
    try:
        async with client:
            return await command.run(Desk(client, paper, now, today, ask), given)
    except Refused as refused:
        paper.complain(explained(refused, connection))
        return 2 if refused.status in _CANNOT_BE_TRIED else 1


def explained(refused: Refused, connection: Connection) -> str:
    """What the API said, and what can be done about it."""
    said = str(refused)
    said += "".join(f"; {field}: {message}" for field, message in refused.fields if message not in said)
    if refused.status == 401:
        return f"{said} (the token in {connection.token_file})"
    if refused.is_not_offered:
        return f"{said}: {connection.base} does not offer this; is it older than this tool?"
    return said
