"""`run.py token`: API tokens, shown once and stored as hashes."""

import argparse
import asyncio
import sys

from bfactors.errors import SettingsError
from bfactors.refusal import Refusal
from bfactors.settings import Settings
from deploy.command.option import add_settings_flags, settings_of
from persistence.database import open_pool
from persistence.token import TokenStore

ROLES = ("viewer", "operator", "pki-admin", "rollout-manager", "auditor", "firmware-admin")


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subcommands.add_parser(
        "token",
        help="create, list and revoke admin API tokens",
        description="Admin API tokens, against a given database (BF_POSTGRES_WRITER_DSN).",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a token and print it, once")
    create.add_argument("name")
    create.add_argument("--role", choices=ROLES, default="viewer")
    create.add_argument(
        "--cohort",
        action="append",
        metavar="NAME",
        help="limit it to the chargers of a cohort; several times for several",
    )
    revoke = actions.add_parser("revoke", help="end a token")
    revoke.add_argument("name")
    show = actions.add_parser("list", help="every token there ever was")
    for each in (create, revoke, show):
        each.add_argument("--postgres-writer-dsn", metavar="DSN", help="default: BF_POSTGRES_WRITER_DSN")
        add_settings_flags(each)
        each.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0 done, 1 refused. Raises SettingsError without a database."""
    options.postgres_owner_dsn = options.postgres_reader_dsn = options.postgres_writer_dsn
    settings = settings_of(options)
    if settings.embeds_postgres:
        raise SettingsError("token needs the setting postgres_writer_dsn (BF_POSTGRES_WRITER_DSN)")
    return asyncio.run(_act(options, settings))


async def _act(options: argparse.Namespace, settings: Settings) -> int:
    pool = await open_pool(settings.postgres_writer_dsn, size=1, application="bf-token")
    store = TokenStore(pool)
    try:
        if options.action == "create":
            token = await store.create(options.name, options.role, options.cohort)
            if isinstance(token, Refusal):
                sys.stderr.write(f"{token.message}\n")
                return 1
            sys.stdout.write(f"{token}\n")
        elif options.action == "revoke":
            if not await store.revoke(options.name):
                sys.stderr.write(f"no live token is called {options.name!r}\n")
                return 1
        else:
            for each in await store.list():
                ended = f"revoked {each.revoked_at:%Y-%m-%d}" if each.revoked_at else "live"
                reach = "" if each.cohorts is None else f" cohorts: {', '.join(each.cohorts)}"
                made = f"{each.created_at:%Y-%m-%d}"
                sys.stdout.write(f"{each.name:<24} {each.role:<16} {made} {ended}{reach}\n")
    finally:
        pool.terminate()
    return 0
