"""Supervisors: what each does, and pauses set and lifted."""

from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, Work, word
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
        path = f"{SUPERVISORS.path}/{in_path(given.kind)}/{in_path(given.name)}/{action}"
        told = await desk.client.post(path, {"reason": given.reason}, key_of(given))
        desk.paper.document(told)
        desk.paper.line(f"{told['kind']} {told['name']} was told: {told['state']}")
        return 0

    return tell


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
        "supervisors pause family volt-one-2 --reason '2.4.1 crashes'",
    ),
    _action("resume", "take up work again", "supervisors resume family volt-one-2 --reason '2.4.2 is out'"),
    _action(
        "drain",
        "finish what is under way and start nothing new",
        "supervisors drain cohort pilot --reason 'window ends'",
    ),
)
