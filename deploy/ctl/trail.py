"""What happened: the audit trail, and the ledger's events as they come."""

from datetime import UTC, datetime, timedelta

import orjson

from bfactors.errors import Unavailable
from deploy.ctl import cell
from deploy.ctl.client import Body
from deploy.ctl.command import Argument, Command, Desk, Given, Thing, option
from deploy.ctl.listing import Listing, limit_option, listing_command, query_of
from deploy.ctl.report import table

THINGS = (
    Thing("audit", "what happened: the ledger's events; checkpoints"),
    Thing("events", "the latest events, or follow them as they come", ("event",)),
)
_PATH = "/api/v1/audit"
_STREAM = "/api/v1/events"
_BACK_S = 2.0
_LOOKS_BACK = timedelta(hours=1)
_EVENT_CHARS = 28


def _row(body: Body) -> tuple[str, ...]:
    return (
        cell.second(body["recorded_at"]),
        body["event"],
        cell.text(body.get("charger_id")),
        body["actor"].partition(":arn:")[0],
    )


EVENTS = Listing(_PATH, ("at", "event", "charger", "by"), _row)
CHECKPOINTS = Listing(
    f"{_PATH}/checkpoints",
    ("made at", "partition", "events", "root"),
    lambda body: (cell.second(body["made_at"]), str(body["partition"]), str(body["size"]), body["root_hash"]),
)
_FILTERS: tuple[Argument, ...] = (
    option("--charger-id", metavar="ID"),
    option("--event", metavar="NAME", help="CertificateActivated"),
)


async def _checkpoints(desk: Desk, given: Given) -> int:
    query = query_of(given, ("partition",))
    CHECKPOINTS.show(desk, await CHECKPOINTS.rows(desk.client, query, given.limit))
    return 0


async def _events(desk: Desk, given: Given) -> int:
    if given.follow:
        return await _follow(desk, given)
    after = (datetime.now(UTC) - _LOOKS_BACK).isoformat(timespec="seconds")
    query = query_of(given, ("charger_id", "event"))
    rows = await desk.client.items(_PATH, query | {"after": after}, given.limit)
    EVENTS.show(desk, rows)
    return 0


async def _follow(desk: Desk, given: Given) -> int:
    """One line an event, from now on until Ctrl-C or `--count`; a stream that ends is taken up where it ended."""
    last_id, shown = "", 0
    failures = 0
    while True:
        heard = False
        try:
            async for name, value in desk.client.stream(_STREAM, last_id):
                heard = True
                if name == "id":
                    last_id = value
                elif name == "data":
                    body = orjson.loads(value)
                    if _wanted(body, given):
                        shown += 1
                        _told(desk, body)
                if given.count is not None and shown >= given.count:
                    return 0
        except Unavailable as problem:
            failures = 0 if heard else failures + 1
            if failures >= given.patience:
                raise
            desk.paper.complain(f"{problem}; trying again")
        await desk.client.wait(_BACK_S)


def _wanted(body: Body, given: Given) -> bool:
    return given.charger_id in (None, body.get("charger_id")) and given.event in (None, body["event"])


def _told(desk: Desk, body: Body) -> None:
    if desk.paper.as_json:
        desk.paper.json_line(body)
        return
    at, event, charger, by = _row(body)
    (line,) = table((at, f"{event:<{_EVENT_CHARS}}", charger, by), (), desk.paper.columns, frozenset({0}))
    desk.paper.say([line])


COMMANDS = (
    listing_command(
        "audit",
        EVENTS,
        (
            *_FILTERS,
            option("--job-id", metavar="ID"),
            option("--managed-identity-id", metavar="ID"),
            option("--after", metavar="TIME", help="2027-01-31T00:00:00Z, or PARTITION:SEQUENCE"),
        ),
        says="list ledger events, oldest first; --json has their hashes",
        example="audit list --charger-id depot-7-bay-2",
    ),
    Command(
        thing="audit",
        action="tail",
        help="follow the ledger's events as they come",
        example="audit tail --charger-id depot-7-bay-2",
        run=_follow,
        arguments=(
            *_FILTERS,
            option("--count", type=int, metavar="N", help="end after N events"),
            option("--patience", absent=6, type=int, metavar="N", help="failed tries in a row (default: 6)"),
        ),
    ),
    Command(
        thing="audit",
        action="checkpoints",
        help="list the signed heads of the trees over the ledger",
        example="audit checkpoints --partition 0",
        run=_checkpoints,
        arguments=(option("--partition", type=int, metavar="N"), limit_option()),
        more="They prove nothing by themselves: docs/audit.md says how to check them.",
    ),
    Command(
        thing="events",
        action="",
        help="the events of the last hour, or those to come",
        example="events --follow --event CertificateActivated",
        run=_events,
        arguments=(
            *_FILTERS,
            option("--follow", action="store_true", help="from now on, until Ctrl-C; --json: one line each"),
            option("--count", type=int, metavar="N", help="end after N events"),
            option("--patience", absent=6, type=int, metavar="N", help="failed tries in a row (default: 6)"),
            limit_option(),
        ),
    ),
)
