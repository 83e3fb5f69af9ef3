"""`run.py demo`: everything on this machine, walked through live, and checked at the end."""

import argparse
import asyncio

import uvloop
from rich.console import Console
from rich.live import Live
from rich.table import Table

from deploy.command.option import add_settings_flags, log_to_stderr, settings_of
from deploy.command.signals import StopSignal
from deploy.demo.expectation import Expectation, expectations
from deploy.demo.scene import CHARGERS, Scene, scene, with_demo_policy
from deploy.demo.walk import Outcome, Progress, walk
from deploy.role.servers import start_servers
from deploy.role.system import System
from persistence.verification import verify_database

STAGES = (
    "requested",
    "awaiting-trust-anchor",
    "awaiting-connection",
    "awaiting-csr",
    "issuing",
    "installing",
    "awaiting-reconnect",
    "active",
    "overdue",
    "refused",
    "held",
)


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "demo",
        help="up, and a simulated fleet walked from passwords to certificates",
        description="Start everything on this machine with a fleet of simulated chargers in 4 families at 3 sites, walk it "
        "from Basic-auth profile 2 to mutual-TLS profile 3, and check what must have come true. Stays up until Ctrl-C; "
        "with --once it ends: exit status 0 only if every expectation held, else 1.",
    )
    parser.add_argument("--once", action="store_true", help="end after the summary")
    parser.add_argument("--chargers", type=int, default=CHARGERS, metavar="N", help=f"default: {CHARGERS}")
    parser.add_argument(
        "--seed", type=int, default=0, help="which chargers; default: new ones at every start"
    )
    add_settings_flags(parser, "data-dir", "ocpp-port", "admin-port")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0 or 1. Raises SettingsError, EmbeddedError."""
    if options.log_level is None:
        options.log_level = "warning"
    settings = with_demo_policy(settings_of(options))
    log_to_stderr(settings.log_level)
    console = Console()
    stop = StopSignal()
    console.print("starting PostgreSQL, NATS JetStream and the AWS Private CA peer from wheels ...")
    with stop.starting():
        servers = start_servers(settings)
    try:
        with stop.starting():
            system = System.open(servers.settings, servers.database_passwords, frozenset({"core", "connect"}))
        try:
            stop.wait(lambda: not system.missing(), 0.05)
            if stop.asked:
                return 130
            return _show(system, options, console, stop)
        finally:
            system.close()
    finally:
        servers.stop()


def _show(system: System, options: argparse.Namespace, console: Console, stop: StopSignal) -> int:
    assert system.admin is not None
    admin_url = system.admin.url
    token = system.admin_token_file.read_text(encoding="ascii").strip()
    console.print(f"chargers connect to {system.ocpp_url()}, the admin API is {admin_url}")
    seed = options.seed or int(system.runtime.clock.now().timestamp()) % 1000 + 1
    stage = scene(system.ocpp_url(), options.chargers, seed)
    return uvloop.run(_perform(system, stage, admin_url, token, options, console, stop))


async def _perform(
    system: System,
    stage: Scene,
    admin_url: str,
    token: str,
    options: argparse.Namespace,
    console: Console,
    stop: StopSignal,
) -> int:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        outcome, fleet = await walk(
            stage, admin_url, token, lambda progress: live.update(_progress(progress, stage), refresh=True)
        )
    try:
        report = await verify_database(system.settings.postgres_reader_dsn)
        results = list(expectations(stage, outcome, report.rows, report.intact))
        console.print(_families(outcome))
        console.print(_summary(results))
        failed = [result for result in results if not result.held]
        for result in failed:
            console.print(f"[red]did not hold:[/red] {result.claim} ({result.found})")
        if not options.once:
            console.print(f"still up: {admin_url} (token in {system.admin_token_file}); Ctrl-C ends it")
            await _until_stopped(stop)
        return 1 if failed else 0
    finally:
        await fleet.stop()


async def _until_stopped(stop: StopSignal) -> None:
    """The fleet's loop goes on while a thread waits for Ctrl-C."""
    await asyncio.to_thread(stop.wait)


def _progress(progress: Progress, stage: Scene) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(f"[bold]{progress.phase}[/bold]", f"{progress.elapsed_s:.1f} s")
    stages = progress.stages()
    for name in STAGES:
        if stages[name]:
            table.add_row(name, f"{stages[name]:>3} " + "█" * (stages[name] * 40 // stage.plan.chargers))
    return table


def _families(outcome: Outcome) -> Table:
    table = Table(title="Fleet by family", title_justify="left")
    for column in ("family", "chargers", "profile 3", "profile 2", "offline"):
        table.add_column(column, justify="left" if column == "family" else "right")
    families: dict[str, list[int]] = {}
    for charger in outcome.progress.chargers:
        row = families.setdefault(charger["family"], [0, 0, 0, 0])
        session = charger["session"]
        row[0] += 1
        row[3 if session is None else 1 if session["security_profile"] == 3 else 2] += 1
    for family, row in sorted(families.items()):
        table.add_row(family, *(str(number) for number in row))
    return table


def _summary(results: list[Expectation]) -> Table:
    table = Table(title="What had to come true", title_justify="left")
    table.add_column("")
    table.add_column("expectation")
    table.add_column("found")
    for result in results:
        table.add_row("[green]yes[/green]" if result.held else "[red]NO[/red]", result.claim, result.found)
    return table
