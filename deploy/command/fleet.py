"""`run.py fleet`: the simulated fleet, mounted here for convenience."""

import argparse

import uvloop

from simulator.fleet.command import add_arguments, main


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "fleet",
        help="a simulated fleet against a running system",
        description="Drive a running system with simulated chargers (OCPP 1.6, 2.0.1, 2.1): real keys, real TLS, reconnects.",
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The fleet's own exit status."""
    return uvloop.run(main(options))
