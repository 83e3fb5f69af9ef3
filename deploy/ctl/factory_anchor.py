"""The CAs that give a family's chargers their factory certificates: shown, and said anew."""

from pathlib import Path

from bfactors.errors import SettingsError
from deploy.ctl import cell
from deploy.ctl.bundle import anchors_of
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.family import FAMILIES, THING


async def _show(desk: Desk, given: Given) -> int:
    family = await desk.client.get(_path(given))
    desk.paper.document({"family": family["family"], "factory_anchors": family["factory_anchors"]})
    if not family["factory_anchors"]:
        desk.paper.line(f"{family['family']}: none; none of its chargers is let in by a factory certificate")
        return 0
    rows = [_row(each) for each in family["factory_anchors"]]
    desk.paper.table(("anchor", "ends", "subject"), rows, frozenset({0, 1}))
    return 0


async def _set(desk: Desk, given: Given) -> int:
    if bool(given.files) == given.none:
        raise SettingsError("name the files of all of the family's factory CAs, or --none")
    anchors = anchors_of(given.files)
    family = await desk.client.get(_path(given))
    before = {each["fingerprint_sha256"]: each for each in family["factory_anchors"]}
    note = given.note if given.note is not None else ""
    if given.yes:
        body = {"anchors": list(anchors.values()), "note": note}
        await desk.client.put(f"{_path(given)}/factory-anchors", body)
        return await _show(desk, given)
    comes = [each for each in anchors if each not in before]
    goes = [each for each in before if each not in anchors]
    desk.paper.document({"dry_run": True, "comes": sorted(comes), "goes": sorted(goes)})
    desk.paper.line(f"{given.family}: {len(anchors)} factory anchors in place of {len(before)}")
    shown = [("comes", cell.fingerprint(each), "-") for each in comes]
    shown += [("GOES", cell.fingerprint(each), before[each]["subject"]) for each in goes]
    if shown:
        desk.paper.table(("what", "anchor", "subject"), shown, frozenset({0, 1}))
    desk.paper.line("nothing was saved. The same command with --yes saves it")
    return 0


def _row(anchor: Body) -> tuple[str, ...]:
    return cell.fingerprint(anchor["fingerprint_sha256"]), cell.day(anchor["not_after"]), anchor["subject"]


def _path(given: Given) -> str:
    return f"{FAMILIES.path}/{in_path(given.family)}"


_FAMILY = word("family", help="as the inventory names it")
COMMANDS = (
    Command(
        thing=THING.name,
        action="factory-anchors",
        help="show the CAs whose factory certificates let chargers of one family in",
        example="families factory-anchors volt-one-2",
        run=_show,
        arguments=(_FAMILY,),
    ),
    Command(
        thing=THING.name,
        action="set-factory-anchors",
        help="say which CAs give one family's chargers their factory certificates; saves with --yes",
        example="families set-factory-anchors volt-one-2 maker-ca.pem --yes",
        run=_set,
        arguments=(
            _FAMILY,
            word("files", nargs="*", type=Path, metavar="FILE", help="PEM: certificates and nothing else"),
            option("--none", action="store_true", help="in place of files: end first contacts of the family"),
            option("--note", metavar="TEXT", help="for people"),
            option("--yes", action="store_true", help="save it"),
        ),
        more="Give all of them: they replace those named before. Policy must allow it too (`factory_certificate`).",
    ),
)
