"""`python -m simulator.fleet`: the fleet in a process of its own, on uvloop."""

from __future__ import annotations

import argparse
import sys

import uvloop

from simulator.fleet.command import add_arguments, main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m simulator.fleet", description="A fleet of simulated OCPP chargers."
    )
    add_arguments(parser)
    sys.exit(uvloop.run(main(parser.parse_args())))
