"""One charger by hand: an OCPP call, the anchors it lacks, and a door left open for its expired certificate."""

import sys
from pathlib import Path
from typing import Any

import orjson

from bfactors.errors import SettingsError
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, REASON, WAITING, key_of, order
from deploy.ctl.qualification import ANCHORS
from deploy.ctl.report import wrapped

THINGS = (
    Thing("call", "make one OCPP call to one charger"),
    Thing("anchors", "install trust anchors on one charger", ("anchor",)),
    Thing("expired", "let one charger in with its expired certificate"),
)


def payload_of(text: str) -> Body:
    """A JSON object: itself, `@FILE`, or `-` for standard input. Raises SettingsError."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        found: Any = orjson.loads(text)
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"the payload cannot be read: {problem}") from problem
    except orjson.JSONDecodeError as problem:
        raise SettingsError(f"the payload is not JSON: {problem}") from problem
    if not isinstance(found, dict):
        raise SettingsError("the payload must be a JSON object")
    return found


async def _call(desk: Desk, given: Given) -> int:
    path = f"/api/v1/chargers/{in_path(given.charger)}/ocpp/{in_path(given.ocpp_action)}"
    desk.paper.progress(f"calling {given.charger}: {given.ocpp_action}")
    answer = await desk.client.post(path, payload_of(given.payload), key_of(given))
    desk.paper.done()
    desk.paper.document(answer)
    desk.paper.line(f"{given.ocpp_action}: {answer['outcome']} {answer.get('error') or ''}".strip())
    for line in orjson.dumps(answer.get("payload") or {}, option=orjson.OPT_INDENT_2).decode().splitlines():
        body = line.lstrip(" ")
        desk.paper.say(wrapped(line[: len(line) - len(body)], body, desk.paper.columns))
    return 0 if answer["outcome"] == "answered" else 1


async def _install(desk: Desk, given: Given) -> int:
    body = {
        "charger_id": given.charger,
        "purpose": given.purpose,
        "action": "install-anchor",
        "reason": given.reason,
    }
    if given.fingerprint is not None:
        body["fingerprint_sha256"] = given.fingerprint
    return await order(desk, given, "/api/v1/jobs", body)


async def _admit(desk: Desk, given: Given) -> int:
    if (given.until is None) != given.end:
        raise SettingsError("give either --until TIME or --end")
    path = f"/api/v1/chargers/{in_path(given.charger)}/expired-certificate-admission"
    body = {"until": given.until, "reason": given.reason}
    charger = await desk.client.post(path, body, key_of(given))
    desk.paper.document(charger)
    admission = charger["expired_certificate_admission"]
    until = f"is let in until {admission['until']}" if admission else "is not let in any more"
    desk.paper.line(f"{given.charger} {until} with its expired certificate")
    return 0


COMMANDS = (
    Command(
        thing="call",
        action="",
        help="make one OCPP call to one connected charger and show its answer",
        example='call bay-2 Reset --payload \'{"type": "OnIdle"}\'',
        run=_call,
        arguments=(
            word("charger", help="its id"),
            word("ocpp_action", metavar="ACTION", help="security and configuration actions only"),
            option(
                "--payload", absent="{}", metavar="JSON", help="an object, @FILE, or - for standard input"
            ),
            KEY,
        ),
        more="The call and its answer are recorded. Exit status 1 if the charger gave no answer.",
    ),
    Command(
        thing="anchors",
        action="install",
        help="bring one charger every anchor of a purpose's current bundle, or one of them",
        example="anchor install depot-7-bay-2 --reason 'new root' --wait",
        run=_install,
        arguments=(
            word("charger", help="its id"),
            option("--purpose", absent=ANCHORS, metavar="NAME", help=f"default: {ANCHORS}"),
            option("--fingerprint", metavar="HEX", help="this one only"),
            REASON,
            *WAITING,
        ),
    ),
    Command(
        thing="expired",
        action="admit",
        help="let one charger in with its own expired certificate, to be renewed at once",
        example="expired admit bay-2 --until 2027-02-01T00:00:00Z --reason away",
        run=_admit,
        arguments=(
            word("charger", help="its id"),
            option("--until", metavar="TIME", help="at most 30 days ahead"),
            option("--end", action="store_true", help="no more"),
            REASON,
            KEY,
        ),
    ),
)
