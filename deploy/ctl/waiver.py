"""Waivers: rules set aside for a charger or a cohort until a date."""

from typing import Any

import orjson

from deploy.ctl import cell
from deploy.ctl.approval import told_if_held
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.listing import Listing, listing_command
from deploy.ctl.policy import shown
from deploy.ctl.qualification import PURPOSE
from deploy.ctl.report import wrapped

THING = Thing("waivers", "rules set aside until a date; ask for one, end one", ("waiver",))
_ONE_CHARGER = "charger:"

WAIVERS = Listing(
    "/api/v1/waivers",
    ("waiver", "subject", "rule", "state", "until"),
    lambda body: (
        body["waiver_id"],
        body["subject"],
        body["rule"] if body["value"] is None else f"{body['rule']}={shown(body['value'])}",
        body["state"],
        cell.day(body["ends_at"]),
    ),
)


async def _request(desk: Desk, given: Given) -> int:
    rule, _, text = given.rule.partition("=")
    body: Body = {
        "subject": given.subject,
        "purpose": given.purpose,
        "rule": rule,
        "reason": given.reason,
        "ends_at": given.ends_at,
    }
    if text:
        body["value"] = _value(text)
    if not given.yes and not given.subject.startswith(_ONE_CHARGER):
        desk.paper.document({"dry_run": True, "request": body})
        for name, value in body.items():
            desk.paper.say(wrapped(f"{name:<10}", str(value), desk.paper.columns))
        desk.paper.line("nothing was asked for: this is about more than one charger. --yes asks for it")
        return 0
    answer = await desk.client.post(WAIVERS.path, body, key_of(given))
    held = told_if_held(desk, answer)
    if held is not None:
        return held
    return _told(desk, answer)


def _value(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


async def _end(desk: Desk, given: Given) -> int:
    path = f"{WAIVERS.path}/{in_path(given.waiver)}/end"
    return _told(desk, await desk.client.post(path, {"reason": given.reason}, key_of(given)))


def _told(desk: Desk, waiver: Body) -> int:
    desk.paper.document(waiver)
    desk.paper.line(
        f"{waiver['rule']} of {waiver['subject']}: {waiver['state']}, until {cell.minute(waiver['ends_at'])}"
    )
    desk.paper.line(waiver["waiver_id"])
    return 0


COMMANDS = (
    listing_command(
        THING.name,
        WAIVERS,
        (
            option("--state", choices=("requested", "in-force", "rejected", "ended")),
            option("--purpose", metavar="NAME"),
            option("--subject", metavar="SUBJECT", help="charger:ID or cohort:NAME"),
            option("--charger-id", metavar="ID", help="its own and its cohort's"),
        ),
        says="list waivers, newest first",
        example="waivers list --state in-force",
    ),
    Command(
        thing=THING.name,
        action="request",
        help="ask that a rule be set aside; somebody else must agree where policy says so",
        example="waivers request charger:bay-2 max_attempts=9 --ends-at T --reason x",
        run=_request,
        arguments=(
            word("subject", help="charger:ID, or cohort:NAME (with --yes)"),
            word("rule", metavar="RULE[=VALUE]", help="a policy's field and its value, or an exemption"),
            option("--ends-at", required=True, metavar="TIME", help="2027-01-31T00:00:00Z"),
            option("--purpose", absent=PURPOSE, metavar="NAME", help=f"default: {PURPOSE}"),
            option("--yes", action="store_true", help="also for more than one charger"),
            REASON,
            KEY,
        ),
    ),
    Command(
        thing=THING.name,
        action="end",
        help="have a waiver end now",
        example="waivers end WAIVER_ID --reason 'modem replaced'",
        run=_end,
        arguments=(word("waiver", help="its id"), REASON, KEY),
    ),
)
