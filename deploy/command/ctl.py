"""`run.py ctl`: an operator's commands against a running system, through its admin API only."""

import argparse
import asyncio
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from bfactors.errors import SettingsError
from deploy.ctl.client import AdminClient, Body, Refused, checked_address, in_path, token_of, trust_of
from deploy.ctl.listing import LISTINGS
from deploy.ctl.qualification import has_passed, record_facts, record_outcome, walked
from deploy.ctl.report import Step, step_lines, table, wrapped
from deploy.ctl.walk import Walk

Work = Callable[[AdminClient, argparse.Namespace], Awaitable[int]]
STEP_WITHIN_S = 120.0
_CANNOT_BE_TRIED = frozenset({401, 403, 404, 422})
_FIRMWARE_MAX_CHARS = 64


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "ctl",
        help="an operator's commands: list chargers, jobs, families; qualify a family",
        description="Commands against a running system, through its admin API. Exit status: 0 done, 1 something failed or the "
        "system is away, 2 it cannot be tried like this.",
    )
    things = parser.add_subparsers(dest="thing", metavar="WHAT", required=True)
    _add_listing(things, "chargers", ("family", "site", "cohort", "connected", "q"))
    _add_listing(things, "jobs", ("state", "stage", "purpose", "charger-id", "overdue"))
    _add_listing(things, "families", ())
    family = things.add_parser("family", help="qualify a charger family")
    actions = family.add_subparsers(dest="action", metavar="ACTION", required=True)
    qualify = actions.add_parser(
        "qualify",
        help="walk one real charger through everything a campaign will ask of its family",
        description="Walk one connected charger through key rotation, anchors, a new certificate, the reconnect with it and "
        "a log upload; record what was learned of its family, and the report as the family's qualification. The charger "
        "gets a real certificate and goes to security profile 3 if that is its target.",
    )
    qualify.add_argument("--charger", required=True, metavar="ID", help="a connected charger of the family")
    qualify.add_argument("--family", required=True, metavar="NAME", help="as the inventory names it")
    qualify.add_argument(
        "--step-within", type=float, default=STEP_WITHIN_S, metavar="S", help="default: 120 seconds each"
    )
    _add_connection(qualify)
    qualify.set_defaults(run=lambda options: _run(_qualify, options))


def _add_listing(
    things: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, filters: tuple[str, ...]
) -> None:
    parser = things.add_parser(name, help=f"list {name}")
    for one in filters:
        if one in ("connected", "overdue"):
            parser.add_argument(
                f"--{one}", action=argparse.BooleanOptionalAction, help="only those; --no-: only others"
            )
        else:
            parser.add_argument(f"--{one}", metavar="TEXT")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="at most N (default: 100)")
    _add_connection(parser)
    parser.set_defaults(
        run=lambda options: _run(_list, options), filters=tuple(one.replace("-", "_") for one in filters)
    )


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--admin", required=True, metavar="URL", help="the admin API: http://127.0.0.1:9080")
    parser.add_argument(
        "--token-file", required=True, type=Path, metavar="FILE", help="holds the API's token"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="PEM: who vouches for an https address")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _run(work: Work, options: argparse.Namespace) -> int:
    return asyncio.run(_connected(work, options))


async def _connected(work: Work, options: argparse.Namespace) -> int:
    client = AdminClient(
        checked_address(options.admin), token_of(options.token_file), trust=trust_of(options.ca_file)
    )
    try:
        async with client:
            return await work(client, options)
    except Refused as refused:
        _complain(str(refused))
        return 2 if refused.status in _CANNOT_BE_TRIED else 1


async def _list(client: AdminClient, options: argparse.Namespace) -> int:
    listing = LISTINGS[options.thing]
    given = {name: getattr(options, name) for name in options.filters}
    query = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in given.items()
        if value is not None
    }
    if options.limit < 1:
        raise SettingsError("--limit must be 1 or more")
    rows = await listing.rows(client, query, options.limit)
    if options.json:
        _say_json({"items": rows})
    else:
        _say(table(listing.heads, [listing.cells(row) for row in rows]))
    return 0


async def _qualify(client: AdminClient, options: argparse.Namespace) -> int:
    charger = await client.get(f"/api/v1/chargers/{in_path(options.charger)}")
    problem = _unfit(charger, options.family)
    if problem is not None:
        _complain(problem)
        return 2
    firmware = str((charger["boot"] or {}).get("firmware_version") or "unknown")[:_FIRMWARE_MAX_CHARS]
    walk = Walk(client, charger, uuid.uuid4().hex, options.step_within, time.monotonic)
    tell = _to_stderr if options.json else _say
    tell(wrapped("", f"{options.charger}: family {options.family}, firmware {firmware}, OCPP {walk.version}"))
    steps: list[Step] = []
    async for step in walked(walk):
        steps.append(step)
        tell(step_lines(step))
    facts = await record_facts(walk, options.family)
    recorded = await record_outcome(walk, options.family, firmware, steps)
    passed = has_passed(steps)
    learned = ", ".join(_told(name, value) for name, value in facts.items()) or "nothing new"
    tell(wrapped("", f"{options.family}: {'passed' if passed else 'NOT PASSED'}; learned: {learned}"))
    if options.json:
        _say_json(
            {
                "charger_id": options.charger,
                "family": options.family,
                "firmware": firmware,
                "passed": passed,
                "learned": facts,
                "steps": [{"step": s.step, "outcome": s.outcome, "detail": s.detail} for s in steps],
                "recorded_at": recorded["qualification"]["at"],
            }
        )
    return 0 if passed else 1


def _unfit(charger: Body, family: str) -> str | None:
    """Why this charger cannot stand for that family now."""
    if charger["family"] != family:
        return f"{charger['charger_id']} belongs to the family {charger['family']}, not {family}"
    if charger["session"] is None:
        return f"{charger['charger_id']} is not connected"
    return None


def _told(name: str, value: object) -> str:
    if value is True:
        return name
    return f"{name} {', '.join(value) if isinstance(value, list) else value}"


def _say(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _to_stderr(lines: list[str]) -> None:
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()


def _say_json(body: Body) -> None:
    sys.stdout.write(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n")


def _complain(text: str) -> None:
    _to_stderr(wrapped("run.py ctl: ", text))
