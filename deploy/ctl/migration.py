"""Migrations of security profiles: listed, ordered for one charger, released from quarantine."""

from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, REASON, WAITING, key_of, order
from deploy.ctl.listing import Listing, listing_command

THINGS = (
    Thing("migrations", "list changes of security profile; release one", ("migration",)),
    Thing("migrate", "have one charger change its security profile"),
)


def _row(body: Body) -> tuple[str, ...]:
    missing = body.get("missing") or []
    return (
        body["charger_id"],
        f"{body['from_profile']} to {body['to_profile']}",
        body["state"],
        body["step"],
        cell.text(body.get("reason_code") or (missing[0] if missing else None)),
        cell.day(body["opened_at"]),
    )


MIGRATIONS = Listing("/api/v1/migrations", ("charger", "profile", "state", "step", "why", "since"), _row)


def _path(given: Given) -> str:
    return f"/api/v1/chargers/{in_path(given.charger)}/migration"


async def _migrate(desk: Desk, given: Given) -> int:
    body: Body = {"target_profile": given.to, "reason": given.reason}
    if given.ends_at is not None:
        body["ends_at"] = given.ends_at
    return await order(desk, given, _path(given), body)


async def _release(desk: Desk, given: Given) -> int:
    body = {"reason": given.reason, "action": "end" if given.end else "retry"}
    charger = await desk.client.post(f"{_path(given)}/release", body, key_of(given))
    desk.paper.document(charger)
    case = charger["migration"]
    desk.paper.line(f"{given.charger}: {case['state']} at {case['step']}" if case else "no migration")
    return 0


COMMANDS = (
    listing_command(
        "migrations",
        MIGRATIONS,
        (
            option(
                "--state", choices=("pending", "active", "rollback", "quarantine", "completed", "cancelled")
            ),
            option("--cohort", metavar="NAME"),
            option("--family", metavar="NAME"),
        ),
        says="list the chargers' migrations, the last one of each, newest first",
        example="migrations list --state quarantine",
    ),
    Command(
        thing="migrations",
        action="release",
        help="start a migration again that is in quarantine, or give it up",
        example="migration release depot-7-bay-2 --reason 'modem replaced'",
        run=_release,
        arguments=(
            word("charger", help="its id"),
            option("--end", action="store_true", help="give it up instead of trying again"),
            REASON,
            KEY,
        ),
    ),
    Command(
        thing="migrate",
        action="",
        help="have one charger change its security profile; the certificate profile 3 needs comes with it",
        example="migrate depot-7-bay-2 --to 3 --reason 'wave 2' --wait",
        run=_migrate,
        arguments=(
            word("charger", help="its id"),
            option("--to", absent=3, type=int, choices=(1, 2, 3), help="the profile in the end (default: 3)"),
            option("--ends-at", metavar="TIME", help="of a way back to 2, which needs an approval too"),
            REASON,
            *WAITING,
        ),
    ),
)
