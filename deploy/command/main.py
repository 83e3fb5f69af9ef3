"""The command line: settings from flags, environment and file; one clear line and exit 2 for what cannot work."""

import argparse
import sys
from collections.abc import Callable, Sequence

from bfactors.errors import SettingsError, Unavailable
from deploy.command import audit, connect, core, ctl, demo, fleet, token, up, verify
from deploy.embedded.errors import EmbeddedError

TITLE = "BetterFleet's certificate control plane for EV charging fleets"
EPILOG = """\
start here:
  run.py demo --once          everything on this machine, walked through and checked
  run.py up                   the control plane alone; prints one JSON line when ready
  run.py fleet --help         point a simulated fleet at it

Settings: flags, then BF_* environment variables, then --config FILE (TOML), then defaults; docs/settings.md lists them.
"""

_COMMANDS = (up, core, connect, demo, fleet, verify, audit, token, ctl)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="run.py", description=TITLE, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subcommands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(subcommands)
    return top


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand and return the exit status: 2 for settings that cannot work, 1 for work that failed."""
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (SettingsError, EmbeddedError) as problem:
        sys.stderr.write(f"run.py {options.command}: {str(problem).splitlines()[0]}\n")
        return 2
    except Unavailable as problem:
        sys.stderr.write(f"run.py {options.command}: {problem}\n")
        return 1
    except KeyboardInterrupt:
        return 130
