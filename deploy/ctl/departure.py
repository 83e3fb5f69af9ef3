"""A unit leaves its position: taken out of service, or another one put in its place."""

from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.follow import REASON, WAITING, key_of, order, told


async def _decommission(desk: Desk, given: Given) -> int:
    path = f"/api/v1/chargers/{in_path(given.charger)}/decommission"
    return await order(desk, given, path, {"reason": given.reason})


async def _replace(desk: Desk, given: Given) -> int:
    body: Body = {"serial_number": given.serial_number, "reason": given.reason}
    if given.expected_common_name is not None:
        body["expected_common_name"] = given.expected_common_name
    path = f"/api/v1/chargers/{in_path(given.charger)}/replace"
    job = await desk.client.post(path, body, key_of(given))
    key = job.get("authorization_key")
    if key is not None:
        desk.paper.line(f"the new unit's AuthorizationKey, shown this once: {key}")
    return await told(desk, given, job)


_CHARGER = word("charger", help="its id")
COMMANDS = (
    Command(
        thing="chargers",
        action="decommission",
        help="take one charger out of service: refused at once, its certificates revoked",
        example="chargers decommission depot-7-bay-2 --reason 'bay closed' --wait",
        run=_decommission,
        arguments=(_CHARGER, REASON, *WAITING),
    ),
    Command(
        thing="chargers",
        action="replace",
        help="put another unit in one charger's position: the old one is refused at once",
        example="chargers replace bay-2 --serial-number SN00977 --reason broken",
        run=_replace,
        arguments=(
            _CHARGER,
            option("--serial-number", required=True, metavar="SERIAL", help="the new unit's"),
            option(
                "--expected-common-name", metavar="NAME", help="of its certificates, if not the serial number"
            ),
            REASON,
            *WAITING,
        ),
        more="The new unit's AuthorizationKey is made here and shown once, in this answer.",
    ),
)
