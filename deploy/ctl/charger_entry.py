"""A charger's entry in the inventory: made, changed, and let go on after it was set aside."""

from bfactors.errors import SettingsError
from deploy.ctl.charger import CHARGERS
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.listing import query_of
from deploy.ctl.secret_text import FROM_FILE, text_of

_NAMES = ("site", "cohort", "organization", "installer", "expected_common_name")


async def _register(desk: Desk, given: Given) -> int:
    body: Body = {
        "charger_id": given.charger,
        "serial_number": given.serial_number,
        "family": given.family,
        "security_profile": given.profile,
        **query_of(given, _NAMES),
    }
    if given.target_profile is not None:
        body["target_security_profile"] = given.target_profile
    if given.ocpp_version is not None:
        body["ocpp_versions"] = given.ocpp_version
    if given.authorization_key is not None:
        body["authorization_key"] = text_of(given.authorization_key)
    made = await desk.client.post(CHARGERS.path, body, key_of(given))
    desk.paper.document(made)
    desk.paper.line(_standing(made))
    if isinstance(made["authorization_key"], str):
        desk.paper.line(f"its AuthorizationKey, shown this once: {made['authorization_key']}")
    return 0


async def _set(desk: Desk, given: Given) -> int:
    body = query_of(given, _NAMES)
    if not body:
        raise SettingsError("nothing to change: name a site, a cohort or another of its facts")
    changed = await desk.client.patch(_path(given), body)
    desk.paper.document(changed)
    desk.paper.line(_standing(changed))
    return 0


async def _resume(desk: Desk, given: Given) -> int:
    path = f"{_path(given)}/resume"
    charger = await desk.client.post(path, {"reason": given.reason}, key_of(given))
    desk.paper.document(charger)
    desk.paper.line(f"{charger['charger_id']} goes on")
    return 0


def _path(given: Given) -> str:
    return f"{CHARGERS.path}/{in_path(given.charger)}"


def _standing(charger: Body) -> str:
    return (
        f"{charger['charger_id']}, serial number {charger['serial_number']}: family {charger['family']}, "
        f"site {charger['site']}, cohort {charger['cohort']}, profile {charger['security_profile']} "
        f"to {charger['target_security_profile']}"
    )


_CHARGER = word("charger", help="its id")
_FURTHER = (
    option("--organization", metavar="NAME", help="of its certificates"),
    option("--installer", metavar="NAME", help="who looks after it on site"),
    option("--expected-common-name", metavar="NAME", help="of its certificates, if not the serial number"),
)
COMMANDS = (
    Command(
        thing="chargers",
        action="register",
        help="register one charger; its AuthorizationKey is shown once",
        example="chargers register B2 SN1 --family F --site S --cohort C --profile 2",
        run=_register,
        arguments=(
            word("charger", help="the last part of its OCPP URL"),
            word("serial_number", metavar="SERIAL", help="of the unit"),
            option("--family", required=True, metavar="NAME"),
            option("--site", required=True, metavar="NAME"),
            option("--cohort", required=True, metavar="NAME"),
            option(
                "--profile", required=True, type=int, choices=(0, 1, 2, 3), help="it connects with this now"
            ),
            option("--target-profile", type=int, choices=(0, 1, 2, 3), help="where it is to go"),
            option(
                "--ocpp-version", action="append", choices=("1.6", "2.0.1", "2.1"), help="may be repeated"
            ),
            option("--authorization-key", metavar="KEY", help=f"if it has one: {FROM_FILE}"),
            *_FURTHER,
            KEY,
        ),
        more="Many at once: `import FILE`.",
    ),
    Command(
        thing="chargers",
        action="set",
        help="change where one charger stands and what its certificates are to say",
        example="chargers set depot-7-bay-2 --cohort wave-1",
        run=_set,
        arguments=(
            _CHARGER,
            option("--site", metavar="NAME"),
            option("--cohort", metavar="NAME"),
            *_FURTHER,
        ),
    ),
    Command(
        thing="chargers",
        action="resume",
        help="let one charger go on that was set aside because a fact about it could not be decided on",
        example="chargers resume depot-7-bay-2 --reason 'looked at'",
        run=_resume,
        arguments=(_CHARGER, REASON, KEY),
    ),
)
