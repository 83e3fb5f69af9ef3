"""Incidents: certificates that must go; what it would mean is shown first, and done only with `--yes`."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

from deploy.ctl import cell
from deploy.ctl.approval import told_if_held
from deploy.ctl.certificate import REVOCATION_REASONS
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Argument, Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.listing import Listing, limit_of, limit_option, listing_command, query_of
from deploy.ctl.qualification import PURPOSE
from deploy.ctl.report import wrapped

THING = Thing("incidents", "have many certificates go; forecast, open, follow", ("incident",))
MODES = ("revoke", "replace")
STATES = ("selected", "waiting", "denied", "replacing", "revoking", "revoked", "ended")
_CRITERIA = {
    "issuing_ca": "issuing_ca_ids",
    "spki_sha256": "spki_sha256",
    "certificate": "certificate_ids",
    "family": "families",
    "site": "sites",
    "cohort": "cohorts",
    "issued_from": "issued_from",
    "issued_before": "issued_before",
}
"""What the command line calls each criterion, and what the API does."""


def _counts(body: Body) -> str:
    return ", ".join(f"{state} {count}" for state, count in sorted(body["counts"].items()))


INCIDENTS = Listing(
    "/api/v1/incidents",
    ("incident", "name", "mode", "state", "share", "certificates"),
    lambda body: (
        body["incident_id"],
        body["name"],
        body["mode"],
        body["state"],
        f"{body['percent']}%",
        cell.text(_counts(body)),
    ),
)
TARGETS = Listing(
    INCIDENTS.path,
    ("certificate", "charger", "state", "ends"),
    lambda body: (
        body["certificate_id"],
        cell.text(body["charger_id"]),
        body["state"] + ("" if body["connected"] else ", away") + (", later" if body["came_later"] else ""),
        cell.day(body["not_after"]),
    ),
    frozenset({0, 1, 3}),
)


# ---------------------------------------------------------------- before


def selector_of(given: Given) -> Body:
    """The criteria that were given."""
    named = {name: getattr(given, word) for word, name in _CRITERIA.items()}
    return {"purpose": given.purpose} | {name: value for name, value in named.items() if value is not None}


async def _forecasted(desk: Desk, given: Given) -> Body:
    body = {"selector": selector_of(given), "mode": given.mode}
    return await desk.client.post("/api/v1/incident-forecast", body, f"ctl-{uuid.uuid4().hex}")


async def _forecast(desk: Desk, given: Given) -> int:
    found = await _forecasted(desk, given)
    desk.paper.document(found)
    _show_forecast(desk, given.mode, found)
    return 0


def _show_forecast(desk: Desk, mode: str, found: Body) -> None:
    desk.paper.line(
        f"{mode} of {found['certificates']} certificates; the chargers of {found['connected']} are connected"
    )
    if mode == "revoke":
        locked_out = found["locked_out"]
        desk.paper.line(
            f"LOCKED OUT: {locked_out} chargers, which have no other certificate in use"
            if locked_out
            else "no charger would be locked out: each has another certificate, or is not on profile 3"
        )
    cost = f", {found['cost_usd']:.2f} USD" if found["cost_usd"] else ""
    desk.paper.line(f"the CA: {found['ca_calls']} calls, {found['ca_seconds']} seconds{cost}")
    numbers = ("certificates", "connected", *(("locked_out",) if mode == "revoke" else ()))
    rows = [
        (each["family"], each["cohort"], each["state"], *(str(each[name]) for name in numbers))
        for each in found["shares"]
    ]
    if rows:
        heads = ("family", "cohort", "state", *(name.replace("_", " ") for name in numbers))
        desk.paper.table(heads, rows, frozenset({3, 4, 5}))


async def _open(desk: Desk, given: Given) -> int:
    body = {
        "name": given.name,
        "reason": given.reason,
        "mode": given.mode,
        "revocation_reason": given.revocation_reason,
        "percent": given.percent,
        "selector": selector_of(given),
    }
    forecast = await _forecasted(desk, given)
    _show_forecast(desk, given.mode, forecast)
    if not given.yes:
        desk.paper.document({"dry_run": True, "request": body, "forecast": forecast})
        desk.paper.line("nothing was opened. The same command with --yes opens it")
        return 0
    answer = await desk.client.post(INCIDENTS.path, body, key_of(given))
    held = told_if_held(desk, answer)
    return told(desk, answer) if held is None else held


# ---------------------------------------------------------------- on its way


async def found(desk: Desk, given: Given) -> Body:
    return await desk.client.get(f"{INCIDENTS.path}/{in_path(given.incident)}")


async def _show(desk: Desk, given: Given) -> int:
    return told(desk, await found(desk, given))


def told(desk: Desk, incident: Body) -> int:
    desk.paper.document(incident)
    say(desk, incident)
    return 0


def say(desk: Desk, incident: Body) -> None:
    for label, text in _facts(incident):
        desk.paper.say(wrapped(f"{label:<14}", text, desk.paper.columns))


def _facts(incident: Body) -> Iterator[tuple[str, str]]:
    yield "incident", incident["incident_id"]
    yield "name", incident["name"]
    yield "state", f"{incident['state']}; the turn of {incident['percent']}% of the chargers has come"
    yield "does", f"{incident['mode']}; the CA is told {incident['revocation_reason']}"
    yield (
        "chosen by",
        "; ".join(f"{name.replace('_', ' ')} {cell.text(v)}" for name, v in incident["selector"].items()),
    )
    approver = f", agreed to by {incident['approver']}" if incident["approver"] else ""
    yield "opened", f"{cell.second(incident['opened_at'])} by {incident['author']}{approver}"
    yield "why", incident["reason"]
    agreed = "" if incident["agreed"] is None else f", {incident['agreed']} when it was agreed to"
    yield "certificates", f"{incident['expected']} expected{agreed}; {_counts(incident) or 'none'}"
    if incident["came_later"]:
        yield "came later", f"{incident['came_later']} of them: chosen by the rule only since then"
    if incident["ended_at"]:
        lifted = "; what was not revoked is let in again" if incident["is_lifted"] else ""
        yield "ended", f"{cell.second(incident['ended_at'])}: {cell.text(incident['end_reason'])}{lifted}"


async def _targets(desk: Desk, given: Given) -> int:
    listing = replace(TARGETS, path=f"{INCIDENTS.path}/{in_path(given.incident)}/targets")
    rows = await listing.rows(desk.client, query_of(given, ("state",)), limit_of(given))
    listing.show(desk, rows)
    return 0


# ---------------------------------------------------------------- the table


def _several(name: str, metavar: str, text: str) -> Argument:
    return option(name, action="append", metavar=metavar, help=text)


_SELECTION = (
    option("--mode", required=True, choices=MODES, help="all refused at once, or each replaced first"),
    option("--purpose", absent=PURPOSE, metavar="NAME", help=f"default: {PURPOSE}"),
    _several("--family", "NAME", "of these families; like the others, may be given again"),
    _several("--site", "NAME", "at these sites"),
    _several("--cohort", "NAME", "of these cohorts"),
    _several("--issuing-ca", "ARN", "issued by these CAs"),
    _several("--spki-sha256", "HEX", "of these public keys"),
    _several("--certificate", "ID", "these themselves"),
    option("--issued-from", metavar="TIME", help="2027-01-31T00:00:00Z"),
    option("--issued-before", metavar="TIME"),
)
INCIDENT_WORD = word("incident", help="its id")


COMMANDS = (
    listing_command(
        THING.name,
        INCIDENTS,
        (option("--state", choices=("running", "paused", "ended")),),
        says="list incidents, newest first",
        example="incidents list --state running",
    ),
    Command(
        thing=THING.name,
        action="forecast",
        help="what an incident would choose, the CA's time and the cost; changes nothing",
        example="incidents forecast --mode replace --family ampere-hub",
        run=_forecast,
        arguments=_SELECTION,
        more="Every criterion that is given must hold; of several values of one, any.",
    ),
    Command(
        thing=THING.name,
        action="open",
        help="have these certificates go; shows what it would mean, opens with --yes",
        example="incidents open --name weak --mode replace --family f --reason x",
        run=_open,
        arguments=(
            option("--name", required=True, metavar="NAME", help="what people call it"),
            *_SELECTION,
            option(
                "--revocation-reason",
                absent="unspecified",
                choices=REVOCATION_REASONS,
                help="as the CA is told it (default: unspecified)",
            ),
            option("--percent", absent=100, type=int, metavar="N", help="chargers whose turn is first (100)"),
            option("--yes", action="store_true", help="open it"),
            REASON,
            KEY,
        ),
        more="Mode revoke refuses all of them on every node at once, and locks a charger out that has no "
        "other. Mode replace gets each charger another one first. Exit status 3 if somebody else must agree.",
    ),
    Command(
        thing=THING.name,
        action="show",
        help="show one incident and how far its certificates have come",
        example="incidents show INCIDENT_ID",
        run=_show,
        arguments=(INCIDENT_WORD,),
    ),
    Command(
        thing=THING.name,
        action="targets",
        help="list its certificates; of one that waits for a second person, what it would reach",
        example="incidents targets INCIDENT_ID --state waiting",
        run=_targets,
        arguments=(
            INCIDENT_WORD,
            option("--state", choices=STATES),
            limit_option(),
        ),
        more="Before it is agreed to all are `selected`: chosen by its rule at the moment, and nothing is done with them. "
        "`later`: the rule had not chosen it when it was agreed to.",
    ),
)
