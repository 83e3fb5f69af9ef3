"""Charger families: the list, and the walk that qualifies one."""

import uuid

from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option
from deploy.ctl.listing import Listing, listing_command
from deploy.ctl.qualification import has_passed, record_facts, record_outcome, walked
from deploy.ctl.report import Step, step_lines, wrapped
from deploy.ctl.walk import Walk

THING = Thing("families", "charger families: list, show, set, qualify, factory CAs", ("family",))
STEP_WITHIN_S = 120.0
_FIRMWARE_MAX_CHARS = 64


def _row(body: Body) -> tuple[str, ...]:
    qualified = body["qualification"]
    facts = cell.facts(body["capabilities"]) or "-"
    if qualified is None:
        return (body["family"], "no", "-", "-", facts)
    outcome = "passed" if qualified["passed"] else "failed"
    return (body["family"], outcome, qualified["firmware"], cell.day(qualified["at"]), facts)


FAMILIES = Listing("/api/v1/families", ("family", "qualified", "firmware", "on", "capabilities"), _row)


async def qualify(desk: Desk, given: Given) -> int:
    """Walk one charger, record what was learned and how it went. Raises Refused, Unavailable."""
    client, paper = desk.client, desk.paper
    charger = await client.get(f"/api/v1/chargers/{in_path(given.charger)}")
    problem = _unfit(charger, given.family)
    if problem is not None:
        paper.complain(problem)
        return 2
    firmware = str((charger["boot"] or {}).get("firmware_version") or "unknown")[:_FIRMWARE_MAX_CHARS]
    walk = Walk(client, charger, uuid.uuid4().hex, given.step_within, desk.now)
    told = f"{given.charger}: family {given.family}, firmware {firmware}, OCPP {walk.version}"
    paper.tell(wrapped("", told, paper.columns))
    steps: list[Step] = []
    async for step in walked(walk):
        steps.append(step)
        paper.tell(step_lines(step, paper.columns))
    facts = await record_facts(walk, given.family)
    recorded = await record_outcome(walk, given.family, firmware, steps)
    passed = has_passed(steps)
    verdict = f"{given.family}: {'passed' if passed else 'NOT PASSED'}; learned: {cell.facts(facts) or 'nothing new'}"
    paper.tell(wrapped("", verdict, paper.columns))
    paper.document(
        {
            "charger_id": given.charger,
            "family": given.family,
            "firmware": firmware,
            "passed": passed,
            "learned": facts,
            "steps": [{"step": s.step, "outcome": s.outcome, "detail": s.detail} for s in steps],
            "recorded_at": recorded["qualification"]["at"],
        }
    )
    return 0 if passed else 1


def _unfit(charger: Body, family: str) -> str | None:
    """Why this charger cannot stand for that family now."""
    if charger["family"] != family:
        return f"{charger['charger_id']} belongs to the family {charger['family']}, not {family}"
    if charger["session"] is None:
        return f"{charger['charger_id']} is not connected"
    return None


COMMANDS = (
    listing_command(
        "families", FAMILIES, says="list families, and what is known of each", example="families list"
    ),
    Command(
        thing="families",
        action="qualify",
        help="walk one real charger through everything a campaign will ask of its family",
        example="family qualify --charger depot-7-bay-2 --family volt-one-2",
        run=qualify,
        arguments=(
            option("--charger", required=True, metavar="ID", help="a connected charger of the family"),
            option("--family", required=True, metavar="NAME", help="as the inventory names it"),
            option(
                "--step-within",
                absent=STEP_WITHIN_S,
                type=float,
                metavar="S",
                help="default: 120 seconds each",
            ),
        ),
        more="Key rotation, anchors, a new certificate, the reconnect with it and a log upload, one "
        "after another; what was learned of its family is recorded, and the report becomes the "
        "family's qualification. The charger gets a real certificate and goes to security "
        "profile 3 if that is its target.",
    ),
)
