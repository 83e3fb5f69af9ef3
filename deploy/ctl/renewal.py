"""Renewals that are due: since when, and why they wait."""

import argparse

from deploy.ctl import cell
from deploy.ctl.client import Body
from deploy.ctl.command import Command, Desk, Given, Thing, option
from deploy.ctl.listing import Listing, listing_command

THING = Thing("renewals", "what is due for renewal, and why it waits", ("renewal",))


def _row(body: Body) -> tuple[str, ...]:
    worst = cell.text(body["states"][-1:])
    return (
        body["charger_id"],
        cell.day(body["not_after"]),
        cell.day(body["due_since"]),
        worst,
        cell.text(body["connected"]),
        body["waits_for"]["message"] or body["waits_for"]["code"],
    )


RENEWALS = Listing(
    "/api/v1/renewals", ("charger", "ends", "due since", "state", "connected", "why it waits"), _row
)


async def _counts(desk: Desk, given: Given) -> int:
    counts = await desk.client.get(f"{RENEWALS.path}/counts")
    desk.paper.document(counts)
    numbers = ("due", "overdue", "escalated", "offline", "stragglers")
    rows = [
        (each["purpose"], each["cohort"], *(str(each[name]) for name in numbers)) for each in counts["groups"]
    ]
    desk.paper.table(("purpose", "cohort", *numbers), rows, frozenset({0, 1}))
    return 0


COMMANDS = (
    listing_command(
        THING.name,
        RENEWALS,
        (
            option("--state", choices=("due", "overdue", "escalated")),
            option("--offline", action=argparse.BooleanOptionalAction, help="only those; --no-: only others"),
            option("--purpose", metavar="NAME"),
            option("--family", metavar="NAME"),
            option("--site", metavar="NAME"),
            option("--cohort", metavar="NAME"),
            option("--ends-before", metavar="TIME", help="2027-01-31T00:00:00Z"),
        ),
        says="list what is due, soonest end first, and why it waits",
        example="renewals list --state escalated --offline",
    ),
    Command(
        thing=THING.name,
        action="counts",
        help="count what is due by purpose and cohort; stragglers are escalated and away",
        example="renewals counts",
        run=_counts,
    ),
)
