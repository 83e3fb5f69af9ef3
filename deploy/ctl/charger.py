"""Chargers: the list, and one charger's whole story."""

import argparse

from deploy.ctl import cell
from deploy.ctl.charger_story import story
from deploy.ctl.client import Body, Refused, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.listing import Listing, listing_command

THING = Thing("chargers", "list chargers, or tell one's whole story", ("charger",))

CHARGERS = Listing(
    "/api/v1/chargers",
    ("charger", "family", "cohort", "profile", "ocpp", "connected", "ends"),
    lambda body: (
        body["charger_id"],
        body["family"],
        body["cohort"],
        _profile(body),
        cell.text((body["session"] or {}).get("ocpp_version")),
        "yes" if body["session"] else "no",
        _ends(body),
    ),
)
FILTERS = (
    option("--family", metavar="NAME", help="as the inventory names it"),
    option("--site", metavar="NAME"),
    option("--cohort", metavar="NAME"),
    option(
        "--connected", action=argparse.BooleanOptionalAction, help="only those; --no-connected: only others"
    ),
    option("--q", metavar="TEXT", help="part of an id or a serial number"),
)


def _profile(body: Body) -> str:
    """What it connects with, and where it is to go."""
    now, target = body["security_profile"], body["target_security_profile"]
    return str(now) if now == target else f"{now} to {target}"


def _ends(body: Body) -> str:
    """The end of the certificate it uses now: the first of its slots that has one."""
    current = [slot["current"] for slot in body["slots"] if slot["current"]]
    return cell.day(min(each["not_after"] for each in current)) if current else "-"


async def _show(desk: Desk, given: Given) -> int:
    charger = await desk.client.get(f"/api/v1/chargers/{in_path(given.charger)}")
    try:
        family = await desk.client.get(f"/api/v1/families/{in_path(charger['family'])}")
    except Refused as refused:
        if refused.is_about_the_token:
            raise
        family = {"note": "", "capabilities": {}, "qualification": None}
    desk.paper.document(charger | {"family_facts": family})
    desk.paper.say(story(charger, family, desk.paper.columns))
    return 0


COMMANDS = (
    listing_command(
        "chargers",
        CHARGERS,
        FILTERS,
        says="list chargers, by id",
        example="chargers list --cohort pilot --no-connected",
    ),
    Command(
        thing="chargers",
        action="show",
        help="tell one charger's whole story",
        example="chargers show depot-7-bay-2",
        run=_show,
        arguments=(word("charger", help="its id"),),
        more="Session, key, certificates by who knows of them, what is outstanding and why, "
        "migration, security events, and what is known of its family.",
    ),
)
