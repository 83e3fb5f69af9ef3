"""A command of the operator's tool as data, and the command line made of them all.

Every option may be left out, and stands for None or False then; a required one says so. Options that belong to the
connection are taken at every level.
"""

import argparse
import textwrap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.ctl.client import AdminClient
from deploy.ctl.paper import Paper

Given = argparse.Namespace
Subcommands = "argparse._SubParsersAction[argparse.ArgumentParser]"


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with.

    `now`: seconds of a clock that only goes forward. `today`: the date in UTC. `ask`: what the person at the terminal types,
    None if nobody is there.
    """

    client: AdminClient
    paper: Paper
    now: Callable[[], float]
    today: Callable[[], str]
    ask: Callable[[str], str | None]


Work = Callable[[Desk, Given], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Argument:
    """One option or word of a command, as argparse takes it; `absent` is its value when it is not given."""

    names: tuple[str, ...]
    settings: Mapping[str, Any]
    absent: Any = None


def option(*names: str, absent: Any = None, **settings: Any) -> Argument:
    """An option. A flag is False when it is not given; choices are spelled out in its help."""
    if "choices" in settings:
        settings.setdefault("metavar", names[0].lstrip("-").rpartition("-")[2].upper())
        told = settings.get("help")
        settings["help"] = ", ".join(str(each) for each in settings["choices"]) + (
            f"; {told}" if told else ""
        )
    if settings.get("action") == "store_true":
        absent = False
    return Argument(names, {"default": argparse.SUPPRESS, **settings}, absent)


def word(name: str, **settings: Any) -> Argument:
    """A word that must be given, in its place."""
    return Argument((name,), {"metavar": name.upper(), **settings})


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """`run.py ctl <thing> <action>`; an action of "" is the thing itself. The example follows `run.py ctl `."""

    thing: str
    action: str
    help: str
    example: str
    run: Work
    arguments: tuple[Argument, ...] = ()
    more: str = ""
    """What `--help` says besides."""


@dataclass(frozen=True, slots=True)
class Thing:
    """What commands are about, and the names it goes by."""

    name: str
    help: str
    aliases: tuple[str, ...] = ()


CONNECTION = (
    option("--admin", metavar="URL", help="the admin API: http://127.0.0.1:9080 (or BF_CTL_ADMIN)"),
    option("--token-file", type=Path, metavar="FILE", help="holds the API's token (or BF_CTL_TOKEN_FILE)"),
    option("--ca-file", type=Path, metavar="FILE", help="PEM: who vouches for an https address"),
    option("--json", action="store_true", help="one JSON document on standard output"),
)
_LISTED = "list"
_HELP_COLUMNS = 78


def declare(
    parser: argparse.ArgumentParser,
    things: Sequence[Thing],
    commands: Sequence[Command],
    run: Callable[[Given], int],
) -> None:
    """Make a parser take every command; `run` is called with what was given and `chosen`, the command."""
    connection = _declare(parser, CONNECTION)
    parser.set_defaults(run=run)
    places = parser.add_subparsers(dest="thing", metavar="WHAT", required=True)
    for thing in things:
        own = [command for command in commands if command.thing == thing.name]
        alone = next((command for command in own if command.action in ("", _LISTED)), None)
        place = places.add_parser(
            thing.name,
            aliases=thing.aliases,
            help=thing.help,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description=_description(alone) if alone and not alone.action else thing.help,
            epilog=_examples(own),
        )
        absent = _declare(place, CONNECTION)
        if alone is not None:
            absent |= _declare(place, alone.arguments)
            place.set_defaults(chosen=alone, absent=connection | absent)
        if any(command.action for command in own):
            actions = place.add_subparsers(dest="action", metavar="ACTION", required=alone is None)
            for command in own:
                leaf = actions.add_parser(
                    command.action,
                    help=command.help,
                    formatter_class=argparse.RawDescriptionHelpFormatter,
                    description=_description(command),
                    epilog=_examples([command]),
                )
                absent = _declare(leaf, CONNECTION) | _declare(leaf, command.arguments)
                leaf.set_defaults(chosen=command, absent=absent)


def filled(options: Given) -> Given:
    """What was given, with what was not."""
    for name, value in options.absent.items():
        if not hasattr(options, name):
            setattr(options, name, value)
    return options


def _declare(parser: argparse.ArgumentParser, arguments: Sequence[Argument]) -> dict[str, Any]:
    return {parser.add_argument(*each.names, **each.settings).dest: each.absent for each in arguments}


def _description(command: Command) -> str:
    paragraphs = (f"{command.help[:1].upper()}{command.help[1:]}.", command.more)
    return "\n\n".join(textwrap.fill(each, _HELP_COLUMNS) for each in paragraphs if each)


def _examples(commands: Sequence[Command]) -> str:
    return "for example:\n" + "\n".join(f"  run.py ctl {command.example}" for command in commands)
