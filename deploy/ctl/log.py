"""Logs of chargers: the list, one fetched, one saved."""

from pathlib import Path

from bfactors.errors import SettingsError
from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import REASON, WAITING, key_of, told
from deploy.ctl.listing import Listing, listing_command

THING = Thing("logs", "list, fetch and save logs of chargers", ("log",))


def _row(body: Body) -> tuple[str, ...]:
    return (
        body["log_id"],
        body["charger_id"],
        body["log"],
        body["state"],
        cell.text(body["size_bytes"]),
        cell.minute(body["requested_at"]),
    )


LOGS = Listing(
    "/api/v1/logs", ("log", "charger", "kind", "state", "bytes", "asked for"), _row, frozenset({0, 1})
)


async def _fetch(desk: Desk, given: Given) -> int:
    if given.save is not None:
        _check_new(given.save)
        given.wait = True
    body: Body = {"log": given.log, "reason": given.reason}
    body |= {name: value for name in ("oldest", "latest") if (value := getattr(given, name)) is not None}
    path = f"/api/v1/chargers/{in_path(given.charger)}/logs"
    job = await desk.client.post(path, body, key_of(given))
    status = await told(desk, given, job)
    if status or given.save is None:
        return status
    for each in await desk.client.items(LOGS.path, {"charger_id": given.charger}, 100):
        if each["job_id"] == job["job_id"] and each["state"] == "stored":
            return await _written(desk, each["log_id"], given.save)
    desk.paper.complain("the job succeeded, and no stored log is listed for it")
    return 1


async def _save(desk: Desk, given: Given) -> int:
    _check_new(given.file)
    return await _written(desk, given.log_id, given.file)


def _check_new(path: Path) -> None:
    if path.exists():
        raise SettingsError(f"{path} exists already")


async def _written(desk: Desk, log_id: str, path: Path) -> int:
    size = 0
    pieces = desk.client.content(f"{LOGS.path}/{in_path(log_id)}/content")
    first = await anext(pieces, b"")  # a refusal comes before there is a file
    with path.open("xb") as file:
        size += file.write(first)
        async for piece in pieces:
            size += file.write(piece)
            desk.paper.progress(f"{size} bytes")
    desk.paper.done()
    desk.paper.line(f"{log_id}: {size} bytes in {path}")
    return 0


COMMANDS = (
    listing_command(
        "logs",
        LOGS,
        (
            option("--charger-id", metavar="ID"),
            option("--state", choices=("requested", "stored", "failed")),
        ),
        says="list logs that were asked for, newest first",
        example="logs list --charger-id depot-7-bay-2",
    ),
    Command(
        thing="logs",
        action="fetch",
        help="have one charger upload a log; ends an open request of the same charger",
        example="log fetch depot-7-bay-2 --reason 'tampering' --save bay-2.log",
        run=_fetch,
        arguments=(
            word("charger", help="its id"),
            option("--log", absent="security", choices=("security", "diagnostics"), help="default: security"),
            option("--oldest", metavar="TIME"),
            option("--latest", metavar="TIME"),
            option("--save", type=Path, metavar="FILE", help="wait for it and write it to this new file"),
            REASON,
            *WAITING,
        ),
    ),
    Command(
        thing="logs",
        action="save",
        help="write a log that is here to a new file",
        example="log save LOG_ID bay-2.log",
        run=_save,
        arguments=(word("log_id", metavar="LOG", help="its id"), word("file", type=Path, help="a new file")),
    ),
)
