"""Supervisors: what each does, and pauses set and lifted."""

from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, Work, option, word
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.listing import Listing, listing_command

THING = Thing("supervisors", "list supervisors; pause, resume, drain one", ("supervisor",))


def _row(body: Body) -> tuple[str, ...]:
    wanted = "" if body["wanted"] == body["state"] else f" (told: {body['wanted']})"
    pause = body["pause"]
    return (
        body["kind"],
        body["name"],
        body["state"] + wanted,
        str(body["children"]),
        str(body["restarts"]),
        f"{pause['by']}: {pause['reason']}" if pause else cell.text(body["reason"]),
    )


SUPERVISORS = Listing(
    "/api/v1/supervisors",
    ("kind", "name", "state", "children", "restarts", "why"),
    _row,
    frozenset({0, 1, 2}),
)


def _telling(action: str) -> Work:
    async def tell(desk: Desk, given: Given) -> int:
        if not given.yes:
            return await _shown(desk, given, action)
        path = f"{SUPERVISORS.path}/{in_path(given.kind)}/{in_path(given.name)}/{action}"
        told = await desk.client.post(path, {"reason": given.reason}, key_of(given))
        desk.paper.document(told)
        desk.paper.line(f"{told['kind']} {told['name']} was told: {told['state']}")
        return 0

    return tell


async def _shown(desk: Desk, given: Given, action: str) -> int:
    """The dry run: what the supervisor does now."""
    rows = await desk.client.every(SUPERVISORS.path, {})
    found = [row for row in rows if (row["kind"], row["name"]) == (given.kind, given.name)]
    desk.paper.document({"dry_run": True, "action": action, "supervisors": found})
    if found:
        desk.paper.table(SUPERVISORS.heads, [_row(row) for row in found], SUPERVISORS.whole)
    else:
        desk.paper.line(f"no {given.kind} {given.name} is running here; the word is kept for when one is")
    desk.paper.line(f"nothing was done. The same command with --yes does it: {action}")
    return 0


def _action(action: str, text: str, example: str) -> Command:
    return Command(
        thing=THING.name,
        action=action,
        help=text,
        example=example,
        run=_telling(action),
        arguments=(
            word(
                "kind",
                choices=("family", "cohort", "purpose", "scheme", "ledger"),
                help="family, cohort, purpose",
            ),
            word("name", help="as the list shows it"),
            option("--yes", action="store_true", help="do it; without it nothing is done"),
            REASON,
            KEY,
        ),
    )


COMMANDS = (
    listing_command(
        THING.name,
        SUPERVISORS,
        says="list what each supervisor does and was told",
        example="supervisors list",
    ),
    _action(
        "pause",
        "start nothing new there; sessions and revocations go on",
        "supervisors pause family volt-one-2 --reason crashes --yes",
    ),
    _action("resume", "take up work again", "supervisors resume family volt-one-2 --reason fixed --yes"),
    _action(
        "drain",
        "finish what is under way and start nothing new",
        "supervisors drain cohort pilot --reason late --yes",
    ),
)
