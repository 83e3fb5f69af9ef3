"""What is said of one charger beside its entry: what it can and cannot do, and who may speak for it."""

from typing import Any

from bfactors.errors import SettingsError
from deploy.ctl.charger import CHARGERS
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.family_change import CAPABILITIES, said_of, values_of_capabilities
from deploy.ctl.follow import REASON


async def _capabilities(desk: Desk, given: Given) -> int:
    path = _path(given)
    before = said_of((await desk.client.get(path))["capabilities"])
    values = values_of_capabilities(given.values, before)
    body = {"capabilities": values, "reason": given.reason}
    return _told(desk, await desk.client.put(f"{path}/capabilities", body))


async def _spoken_for(desk: Desk, given: Given) -> int:
    if bool(given.controllers) == given.nobody:
        raise SettingsError("name the controllers that may speak for it, or --nobody")
    controllers = [_controller(each) for each in given.controllers]
    body = {"controllers": controllers, "reason": given.reason}
    return _told(desk, await desk.client.put(f"{_path(given)}/spoken-for-by", body))


def _controller(text: str) -> Body:
    name, _, fingerprint = text.rpartition("=")
    if not name or not fingerprint:
        raise SettingsError(f"{text} is no CONTROLLER=FINGERPRINT")
    return {"controller_id": name, "fingerprint_sha256": fingerprint}


def _path(given: Given) -> str:
    return f"{CHARGERS.path}/{in_path(given.charger)}"


def _told(desk: Desk, charger: dict[str, Any]) -> int:
    desk.paper.document(charger)
    desk.paper.line(f"saved; `chargers show {charger['charger_id']}` tells it all")
    return 0


_CHARGER = word("charger", help="its id")
COMMANDS = (
    Command(
        thing="chargers",
        action="capabilities",
        help="say what one charger can and cannot do, on top of its family",
        example="chargers capabilities bay-2 cannot_list=yes --reason 'bulletin 7'",
        run=_capabilities,
        arguments=(
            _CHARGER,
            word(
                "values",
                nargs="+",
                metavar="NAME=VALUE",
                help="lists with commas; NAME= takes it back, none all",
            ),
            REASON,
        ),
        more="Names that are not given stay as they are: " + ", ".join(CAPABILITIES) + ".",
    ),
    Command(
        thing="chargers",
        action="spoken-for",
        help="say which local controllers may open one charger's session; replaces what was said before",
        example="chargers spoken-for bay-2 lc-1=FINGERPRINT --reason 'new hall'",
        run=_spoken_for,
        arguments=(
            _CHARGER,
            word(
                "controllers",
                nargs="*",
                metavar="CONTROLLER=FINGERPRINT",
                help="SHA-256 of its client certificate",
            ),
            option("--nobody", action="store_true", help="in place of controllers"),
            REASON,
        ),
        more="Name both certificates of a controller while it is being renewed.",
    ),
)
