"""An incident on its way: advanced, held, taken up again, ended; shown first, and done only with `--yes`."""

from deploy.ctl import cell
from deploy.ctl.client import in_path
from deploy.ctl.command import Argument, Command, Desk, Given, Work, option
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.incident import INCIDENT_WORD, INCIDENTS, THING, found, say, told

_YES = option("--yes", action="store_true", help="do it; without it nothing is done")


def _changing(action: str, *fields: str) -> Work:
    async def change(desk: Desk, given: Given) -> int:
        body = {"reason": given.reason} | {name: getattr(given, name) for name in fields}
        if given.yes:
            path = f"{INCIDENTS.path}/{in_path(given.incident)}/{action}"
            return told(desk, await desk.client.post(path, body, key_of(given)))
        incident = await found(desk, given)
        desk.paper.document({"dry_run": True, "action": action, "request": body, "incident": incident})
        say(desk, incident)
        more = "".join(f", {name} {cell.text(body[name])}" for name in fields)
        desk.paper.line(f"nothing was done. The same command with --yes does it: {action}{more}")
        return 0

    return change


def _change(action: str, text: str, *arguments: Argument, example: str = "", more: str = "") -> Command:
    fields = tuple(each.names[0].removeprefix("--") for each in arguments)
    return Command(
        thing=THING.name,
        action=action,
        help=text,
        example=example or f"incidents {action} INCIDENT_ID --reason 'depot closed' --yes",
        run=_changing(action, *fields),
        arguments=(INCIDENT_WORD, *arguments, _YES, REASON, KEY),
        more=more,
    )


COMMANDS = (
    _change(
        "advance",
        "begin its next stage",
        option("--percent", required=True, type=int, metavar="N", help="of the chargers, from now on"),
        example="incidents advance INCIDENT_ID --percent 50 --reason x --yes",
    ),
    _change("pause", "begin nothing new for it; what is refused stays refused"),
    _change("resume", "go on with it"),
    _change(
        "end",
        "do nothing further for it",
        option("--lift", action="store_true", help="let in again what is refused and not revoked"),
    ),
)
