"""The command line of the simulated fleet; `run.py fleet` and `python -m simulator.fleet` are this."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import orjson
from rich.console import Console
from rich.live import Live
from rich.text import Text

from simulator.charger import ChargerConfiguration
from simulator.fleet.admin import AdminClient, AdminRefused
from simulator.fleet.fault_text import parse_faults
from simulator.fleet.fleet import Fleet
from simulator.fleet.plan import FleetPlan
from simulator.fleet.state_file import Memories, read_memories, write_memories
from simulator.fleet.version_text import parse_versions

Show = Callable[[str], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the fleet command's options to `parser`."""
    parser.add_argument("--chargers", type=int, default=20, metavar="N", help="how many (default 20)")
    parser.add_argument(
        "--target", required=True, metavar="URL", help="where chargers connect: wss://host:port/ocpp"
    )
    parser.add_argument("--admin", metavar="URL", help="the admin API: http://host:port")
    parser.add_argument("--token-file", type=Path, metavar="F", help="a file with the admin API's token")
    parser.add_argument(
        "--enrol",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="register the chargers first; --no-enrol continues the ones in --state-file",
    )
    parser.add_argument(
        "--job", choices=("issue", "migrate"), help="order this for every charger once enrolled"
    )
    parser.add_argument("--families", type=int, default=4, metavar="N", help="makes and models (default 4)")
    parser.add_argument("--sites", type=int, default=3, metavar="N", help="sites and cohorts (default 3)")
    parser.add_argument(
        "--versions",
        default="2.0.1=1",
        metavar="VERSION=PARTS,...",
        help="what the fleet speaks: 2.0.1=50,1.6=40,2.1=10 (default all 2.0.1)",
    )
    parser.add_argument("--organization", default="Depot Ltd", help="the operator's name in certificates")
    parser.add_argument("--prefix", default="sim", help="what charger ids begin with (default sim)")
    parser.add_argument("--seed", type=int, default=1, help="other seeds give other chargers (default 1)")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="INDEX:NAME[,ARGUMENT...]", help="may be repeated"
    )
    parser.add_argument("--duration", type=float, metavar="S", help="stop after S seconds; else on Ctrl-C")
    parser.add_argument("--connects-at-once", type=int, default=16, metavar="N", help="default 16")
    parser.add_argument(
        "--state-file",
        type=Path,
        metavar="F",
        help="keep what chargers hold (their keys too) here, mode 0600",
    )


async def main(args: argparse.Namespace) -> int:
    """Run a fleet until its time is up or it is interrupted.

    The progress line goes to standard error, one JSON summary to standard output. The answer is an
    exit status: 0, 1 when no charger was ever accepted, 2 for options that make no sense.
    """
    console = Console(stderr=True)
    problem, plan = _plan(args)
    if plan is None:
        console.print(f"fleet: {problem}", style="red", markup=False)
        return 2
    memories = read_memories(args.state_file)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    with suppress(NotImplementedError, RuntimeError, ValueError):  # off the main thread there are no signals
        for number in signals:
            loop.add_signal_handler(number, stop.set)
    try:
        return await _run(args, plan, memories, stop, console)
    except AdminRefused as error:
        console.print(f"fleet: {error}", style="red", markup=False)
        return 1
    finally:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            for number in signals:
                loop.remove_signal_handler(number)


_REFUSALS_TOLD = 5
"""At once, for whoever watches; all of them are in the summary."""


def _plan(args: argparse.Namespace) -> tuple[str, FleetPlan | None]:
    if args.chargers < 1 or args.families < 1 or args.sites < 1 or args.connects_at_once < 1:
        return "--chargers, --families, --sites and --connects-at-once are at least 1", None
    if not args.target.startswith(("ws://", "wss://")):
        return "--target begins with wss:// (or ws://)", None
    if (args.enrol or args.job) and not (args.admin and args.token_file):
        return "--enrol and --job need --admin and --token-file", None
    if not args.enrol and not (args.state_file and args.state_file.exists()):
        return "--no-enrol needs the --state-file of an earlier run", None
    if args.token_file and not args.token_file.exists():
        return f"there is no {args.token_file}", None
    try:
        faults = parse_faults(args.fault)
        versions = parse_versions(args.versions)
    except ValueError as error:
        return str(error), None
    return "", FleetPlan(
        chargers=args.chargers,
        target_url=args.target,
        families=args.families,
        sites=args.sites,
        organization=args.organization,
        prefix=args.prefix,
        seed=args.seed,
        faults=faults,
        versions=versions,
    )


async def _run(
    args: argparse.Namespace,
    plan: FleetPlan,
    memories: Memories,
    stop: asyncio.Event,
    console: Console,
) -> int:
    refused: dict[str, str] = {}
    with Live(Text("starting"), console=console, auto_refresh=False, transient=True) as live:

        def show(words: str) -> None:
            live.update(Text(words), refresh=True)

        configurations = await _commission(args, plan, memories, refused, show)
        for charger_id, why in list(refused.items())[:_REFUSALS_TOLD]:
            console.print(f"{charger_id} is not part of it: {why}", markup=False, highlight=False)
        fleet = Fleet(
            configurations, connects_at_once=args.connects_at_once, seed=plan.seed, memories=memories
        )
        if args.state_file:
            write_memories(args.state_file, memories | fleet.dump_memories())
        await fleet.start()
        try:
            if args.job:
                token = args.token_file.read_text().strip()
                async with AdminClient(args.admin, token) as admin:
                    ids = [configuration.charger_id for configuration in configurations]
                    refused |= await admin.order(args.job, ids, f"{plan.prefix}-{plan.seed}")
            if configurations:  # else there is nothing to wait for
                await _watch(fleet, stop, args.duration, show)
        finally:
            count = fleet.count()
            show("stopping")
            await fleet.stop()
            if args.state_file:
                write_memories(args.state_file, memories | fleet.dump_memories())
    errors = {
        charger.configuration.charger_id: charger.snapshot().last_errors[-1]
        for charger in fleet.chargers
        if charger.snapshot().last_errors
    }
    summary = count.as_json() | {"refused": refused, "last_errors": dict(list(errors.items())[:20])}
    sys.stdout.write(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0 if count.sessions else 1


async def _commission(
    args: argparse.Namespace,
    plan: FleetPlan,
    memories: Memories,
    refused: dict[str, str],
    show: Show,
) -> list[ChargerConfiguration]:
    """Configurations of all chargers that have a password, from enrolment or from an earlier life."""
    planned = plan.planned()
    passwords = {charger_id: memory["basic_password"] for charger_id, memory in memories.items()}
    roots: tuple[str, ...] = ()
    if args.enrol:
        new = [each for each in planned if each.charger_id not in passwords]
        finished = 0

        def done() -> None:
            nonlocal finished
            finished += 1
            show(f"enrolled {finished}/{len(new)}")

        async with AdminClient(args.admin, args.token_file.read_text().strip()) as admin:
            roots = await admin.server_roots()
            enrolment = await admin.enrol(plan, new, done)
        passwords |= enrolment.passwords
        refused |= enrolment.refused
    return [
        plan.configuration(each, password=passwords[each.charger_id], csms_roots=roots)
        for each in planned
        if each.charger_id in passwords
    ]


async def _watch(fleet: Fleet, stop: asyncio.Event, duration_s: float | None, show: Show) -> None:
    """Keep the progress line true twice a second until it is time to stop."""
    loop = asyncio.get_running_loop()
    deadline = None if duration_s is None else loop.time() + duration_s
    while not stop.is_set():
        show(fleet.count().words())
        remaining = 0.5 if deadline is None else min(0.5, deadline - loop.time())
        if remaining <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(remaining):
                await stop.wait()
