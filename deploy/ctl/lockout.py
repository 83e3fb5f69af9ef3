"""The lock-out forecast: from when on which chargers could not connect any more, unless somebody reaches them."""

import argparse

from deploy.ctl import cell
from deploy.ctl.command import Command, Desk, Given, Thing, option
from deploy.ctl.listing import Listing, listing_command, query_of

THING = Thing("lockouts", "who could not connect any more, from when on, and why", ("lockout",))
_PLACES = (
    option("--family", metavar="NAME"),
    option("--site", metavar="NAME"),
    option("--cohort", metavar="NAME"),
)

LOCKOUTS = Listing(
    "/api/v1/lockout-forecast",
    ("charger", "locked out", "cause", "connected", "prevented by"),
    lambda body: (
        body["charger_id"],
        cell.day(body["locked_out_at"]),
        body["cause"],
        cell.text(body["connected"]),
        body["prevented_by"],
    ),
    frozenset({0, 1, 2}),
)


async def _counts(desk: Desk, given: Given) -> int:
    counts = await desk.client.get(f"{LOCKOUTS.path}/counts", query_of(given, ("family", "site", "cohort")))
    desk.paper.document(counts)
    desk.paper.line(f"{counts['total']} chargers; nothing known will lock {counts['never']} of them out")
    rows = [
        (cell.day(each["week"]) if each["week"] else "it has come", each["cause"], str(each["count"]))
        for each in counts["weeks"]
    ]
    if rows:
        desk.paper.table(("week of", "cause", "chargers"), rows)
    if not counts["trust_known"]:
        desk.paper.line(
            "no node says what it shows chargers: anchors and server certificates do not count here"
        )
    return 0


COMMANDS = (
    listing_command(
        THING.name,
        LOCKOUTS,
        (
            option("--before", metavar="TIME", help="2027-01-31T00:00:00Z"),
            option("--cause", metavar="NAME"),
            *_PLACES,
            option("--charger-id", metavar="ID"),
            option(
                "--connected", action=argparse.BooleanOptionalAction, help="only those; --no-: only others"
            ),
        ),
        says="list chargers by the moment from which they could not connect, soonest first",
        example="lockouts list --before 2027-01-31T00:00:00Z --no-connected",
    ),
    Command(
        thing=THING.name,
        action="counts",
        help="count the chargers by the week of that moment, and by cause",
        example="lockouts counts --cohort pilot",
        run=_counts,
        arguments=_PLACES,
    ),
)
