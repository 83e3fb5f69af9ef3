"""How long records that are no ledger events are kept: listed, and said anew."""

from deploy.ctl import cell
from deploy.ctl.client import Body
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import REASON
from deploy.ctl.listing import Listing

THING = Thing("retention", "how long records are kept; list, set")


def _row(body: Body) -> tuple[str, ...]:
    swept = body["last_swept"]
    return (
        body["kind"],
        str(body["days"]),
        f"{body['least_days']} to {body['most_days']}",
        "default" if body["set"] is None else body["set"]["by"],
        "-" if swept is None else f"{cell.day(swept['at'])}: {swept['count']}",
    )


RETENTION = Listing("/api/v1/retention", ("kind", "days", "bounds", "said by", "last went"), _row)


async def _list(desk: Desk, given: Given) -> int:
    RETENTION.show(desk, (await desk.client.get(RETENTION.path))["items"])
    return 0


async def _set(desk: Desk, given: Given) -> int:
    body = {"kind": given.kind, "days": given.days, "reason": given.reason}
    if not given.yes:
        found = [
            each for each in (await desk.client.get(RETENTION.path))["items"] if each["kind"] == given.kind
        ]
        desk.paper.document({"dry_run": True, "request": body, "now": found})
        now = f" in place of {found[0]['days']}" if found else ""
        desk.paper.line(f"{given.kind}: {given.days} days{now}. What is older goes within the hour, for good")
        desk.paper.line("nothing was saved. The same command with --yes saves it")
        return 0
    kept = await desk.client.put(RETENTION.path, body)
    desk.paper.document(kept)
    desk.paper.line(f"{kept['kind']}: kept {kept['days']} days")
    return 0


COMMANDS = (
    Command(
        thing=THING.name,
        action="list",
        help="list how long each kind of record is kept, and what last went",
        example="retention",
        run=_list,
    ),
    Command(
        thing=THING.name,
        action="set",
        help="have records of a kind kept for so many days; saves with --yes",
        example="retention set uploaded-logs 90 --reason 'works council' --yes",
        run=_set,
        arguments=(
            word("kind", help="as the list names it"),
            word("days", type=int, help="within the kind's bounds"),
            option("--yes", action="store_true", help="save it"),
            REASON,
        ),
    ),
)
