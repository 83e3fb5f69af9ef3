"""One charger's frames, written down for a while and shown."""

import orjson

from deploy.ctl import cell
from deploy.ctl.charger import CHARGERS
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.follow import KEY, REASON, key_of


async def _start(desk: Desk, given: Given) -> int:
    body: Body = {"reason": given.reason}
    body |= {name: value for name in ("seconds", "frames") if (value := getattr(given, name)) is not None}
    return _told(desk, await desk.client.post(_path(given), body, key_of(given)))


async def _show(desk: Desk, given: Given) -> int:
    return _told(desk, await desk.client.get(_path(given)))


def _path(given: Given) -> str:
    return f"{CHARGERS.path}/{in_path(given.charger)}/trace"


def _told(desk: Desk, trace: Body) -> int:
    desk.paper.document(trace)
    how = "runs until" if trace["running"] else "ended"
    desk.paper.line(
        f"{trace['charger_id']}: {how} {cell.second(trace['until'])}, {len(trace['frames'])} frames"
    )
    for frame in trace["frames"]:
        desk.paper.line(orjson.dumps(frame).decode())
    return 0


_CHARGER = word("charger", help="its id")
COMMANDS = (
    Command(
        thing="chargers",
        action="trace",
        help="have one charger's frames written down for a while; secrets and certificates are masked",
        example="chargers trace depot-7-bay-2 --reason 'drops after the boot'",
        run=_start,
        arguments=(
            _CHARGER,
            option("--seconds", type=int, metavar="S", help="default: 60"),
            option("--frames", type=int, metavar="N", help="at most so many; default: 200"),
            REASON,
            KEY,
        ),
    ),
    Command(
        thing="chargers",
        action="traced",
        help="show the frames of one charger's latest trace, oldest first",
        example="chargers traced depot-7-bay-2",
        run=_show,
        arguments=(_CHARGER,),
    ),
)
