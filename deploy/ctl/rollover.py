"""A purpose on its way from one CA to the next: what it would come to, each step, and what the next one waits for."""

import uuid
from collections.abc import Iterator

from bfactors.errors import SettingsError
from deploy.ctl import cell
from deploy.ctl.approval import told_if_held
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Argument, Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.report import wrapped

THING = Thing("rollovers", "leave one CA for another, step by step", ("rollover",))
STEPS = ("gateways", "anchors", "overlap", "renewal")
_LOOK = "a look with run.py ctl"


def _path(given: Given, action: str = "") -> str:
    return f"/api/v1/authorities/{in_path(given.purpose)}/rollover{action}"


def _start_body(given: Given, reason: str, *, dry_run: bool) -> Body:
    body: Body = {"authority_id": given.authority, "reason": reason, "dry_run": dry_run}
    if given.leaving is not None:
        body["leaving_id"] = given.leaving
    if given.renew_after is not None:
        body["renew_after"] = given.renew_after
    return body


async def _forecast(desk: Desk, given: Given) -> int:
    found = await _forecasted(desk, given, _LOOK)
    desk.paper.document(found)
    return 0


async def _forecasted(desk: Desk, given: Given, reason: str) -> Body:
    body = _start_body(given, reason, dry_run=True)
    found = await desk.client.post(_path(given), body, f"ctl-{uuid.uuid4().hex}")
    blind = found["blind_gateways"]
    gateways = f"do not trust the new CA yet: {cell.text(blind)}" if blind else "all trust the new CA"
    _say(
        desk,
        (
            ("rollover", f"of {found['purpose']}, from {found['leaving_id']} to {found['to_id']}"),
            ("gateways", gateways),
            *_anchors(found),
            ("renewals", f"{found['renewals']} at most, in {found['minutes']} minutes at the usual pace"),
        ),
    )
    return found


async def _start(desk: Desk, given: Given) -> int:
    if given.yes:
        body = _start_body(given, given.reason, dry_run=False)
        answer = await desk.client.post(_path(given), body, key_of(given))
        held = told_if_held(desk, answer)
        return _told(desk, answer) if held is None else held
    found = await _forecasted(desk, given, given.reason)
    desk.paper.document({"dry_run": True, "forecast": found})
    desk.paper.line("nothing was begun. The same command with --yes begins it")
    return 0


async def _show(desk: Desk, given: Given) -> int:
    return _told(desk, await desk.client.get(_path(given)))


async def _advance(desk: Desk, given: Given) -> int:
    if not given.yes:
        return await _looked(desk, given, "advance")
    if given.step is None:
        raise SettingsError("--step STEP: which step it stands at; so the same command again moves nothing")
    body = {"step": given.step, "reason": given.reason}
    answer = await desk.client.post(_path(given, "/advance"), body, key_of(given))
    held = told_if_held(desk, answer)
    if held is not None:
        return held
    desk.paper.document(answer)
    if answer["rollover"] is None:
        desk.paper.line(f"the rollover of {answer['purpose']} has ended: the CA that was left is retired")
    else:
        _say(desk, _facts(answer["rollover"]))
    return 0


async def _abort(desk: Desk, given: Given) -> int:
    if not given.yes:
        return await _looked(desk, given, "abort")
    answer = await desk.client.post(_path(given, "/abort"), {"reason": given.reason}, key_of(given))
    desk.paper.document(answer)
    desk.paper.line(f"{answer['purpose']}: what was current before issues again; both CAs stay trusted")
    return 0


async def _looked(desk: Desk, given: Given, action: str) -> int:
    """The dry run of a step: where it stands."""
    found = await desk.client.get(_path(given))
    desk.paper.document({"dry_run": True, "action": action, "rollover": found})
    _say(desk, _facts(found))
    step = f" --step {found['step']}" if action == "advance" else ""
    desk.paper.line(f"nothing was done. The same command with{step} --yes does it: {action}")
    return 0


def _told(desk: Desk, found: Body) -> int:
    desk.paper.document(found)
    _say(desk, _facts(found))
    return 0


def _say(desk: Desk, facts: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> None:
    for label, text in facts:
        desk.paper.say(wrapped(f"{label:<14}", text, desk.paper.columns))


def _facts(found: Body) -> Iterator[tuple[str, str]]:
    yield "rollover", f"of {found['purpose']}, from {found['leaving_id']} to {found['to_id']}"
    yield (
        "step",
        f"{found['step']} since {cell.second(found['since'])}" + (", STALLED" if found["stalled"] else ""),
    )
    yield "begun", f"{cell.second(found['started_at'])} by {found['by']}: {found['reason']}"
    yield (
        "renews",
        f"what ends after {cell.second(found['renew_after'])}" if found["renew_after"] else "everything",
    )
    yield (
        "left to do",
        f"{found['certificates']} certificates and {found['orders']} orders on the CA that is left",
    )
    yield from _anchors(found)
    for each in found["waiting_for"]:
        yield "waits for", cell.reason(each)
    if not found["waiting_for"]:
        yield "waits for", "nothing: the next step can begin"


def _anchors(found: Body) -> Iterator[tuple[str, str]]:
    for each in found["anchors"]:
        lacks = "" if each["has_root"] else ", WITHOUT the new CA's root"
        yield (
            "anchors",
            f"{each['purpose']} version {each['version']}: confirmed by {each['confirmed']} of "
            f"{each['total']}{lacks}",
        )


_PURPOSE = word("purpose", help="whose certificates they are")
_YES = option("--yes", action="store_true", help="do it; without it nothing is done")
_TWO = "Exit status 3 if somebody else must agree first: by policy to its beginning, and to its end."
_WAY: tuple[Argument, ...] = (
    _PURPOSE,
    word("authority", help="the id of the CA that comes"),
    option("--leaving", metavar="ID", help="the CA that goes (default: the current one)"),
    option("--renew-after", metavar="TIME", help="leave to end what ends by then; renew the rest"),
)


COMMANDS = (
    Command(
        thing=THING.name,
        action="forecast",
        help="what a rollover would come to; changes nothing",
        example="rollover forecast charging_station 0a1b2c3d4e5f6071",
        run=_forecast,
        arguments=_WAY,
    ),
    Command(
        thing=THING.name,
        action="start",
        help="begin to leave one CA for another; shows what it would come to, begins with --yes",
        example="rollover start charging_station 0a1b2c3d4e5f6071 --reason old --yes",
        run=_start,
        arguments=(*_WAY, _YES, REASON, KEY),
        more=_TWO,
    ),
    Command(
        thing=THING.name,
        action="show",
        help="where the rollover of a purpose stands, and what its next step waits for",
        example="rollover show charging_station",
        run=_show,
        arguments=(_PURPOSE,),
    ),
    Command(
        thing=THING.name,
        action="advance",
        help="begin the next step; after the last one the old CA is retired",
        example="rollover advance charging_station --step anchors --reason ok --yes",
        run=_advance,
        arguments=(
            _PURPOSE,
            option("--step", choices=STEPS, help="the one it stands at now; needed with --yes"),
            _YES,
            REASON,
            KEY,
        ),
        more=_TWO,
    ),
    Command(
        thing=THING.name,
        action="abort",
        help="end it: what was current before issues again, and both CAs stay trusted",
        example="rollover abort charging_station --reason 'wrong CA' --yes",
        run=_abort,
        arguments=(_PURPOSE, _YES, REASON, KEY),
    ),
)
