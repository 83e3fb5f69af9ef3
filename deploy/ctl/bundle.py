"""Trust anchor bundles: the list, one with its anchors, and a new version that is first held against the present one."""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from bfactors.errors import SettingsError
from deploy.ctl import cell
from deploy.ctl.approval import told_if_held
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, key_of
from deploy.ctl.listing import Listing, listing_command

THING = Thing("bundles", "list trust anchor bundles; create one", ("bundle",))
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE = "CERTIFICATE"


def _row(body: Body) -> tuple[str, ...]:
    ends = [anchor["not_after"] for anchor in body["anchors"]]
    return (
        body["bundle_id"],
        body["purpose"],
        f"{body['version']}, now" if body.get("current") else str(body["version"]),
        cell.day(min(ends)) if ends else "-",
    )


BUNDLES = Listing(
    "/api/v1/trust-anchor-bundles",
    ("bundle", "purpose", "version", "ends"),
    _row,
    frozenset({0, 2, 3}),
)
_ANCHOR_HEADS = ("anchor", "ends", "subject")


def anchors_of(files: Sequence[Path]) -> dict[str, str]:
    """The certificates in these files, by fingerprint. Raises SettingsError, for a file with anything else in it too."""
    found: dict[str, str] = {}
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise SettingsError(f"the file {path} cannot be read: {problem}") from problem
        blocks = list(_BLOCK.finditer(text))
        foreign = sorted({block[1] for block in blocks} - {_CERTIFICATE})
        if not blocks or foreign:
            holds = f"holds {cell.text(foreign).lower()}" if foreign else "holds no certificate in PEM"
            raise SettingsError(f"the file {path} {holds}: an anchor is a certificate. Nothing was sent")
        for block in blocks:
            found[_fingerprint(path, block[2])] = block[0] + "\n"
    return found


def _fingerprint(path: Path, body: str) -> str:
    try:
        content = base64.b64decode("".join(body.split()), validate=True)
    except ValueError as problem:
        raise SettingsError(
            f"the file {path} holds a certificate that cannot be read: {problem}"
        ) from problem
    return hashlib.sha256(content).hexdigest()


async def _show(desk: Desk, given: Given) -> int:
    return _told(desk, await desk.client.get(f"{BUNDLES.path}/{in_path(given.bundle)}"))


def _told(desk: Desk, bundle: Body) -> int:
    desk.paper.document(bundle)
    current = ", current" if bundle.get("current") else ""
    desk.paper.line(f"{bundle['bundle_id']}: {bundle['purpose']} version {bundle['version']}{current}")
    desk.paper.table(_ANCHOR_HEADS, [_anchor(each) for each in bundle["anchors"]], frozenset({1}))
    for each in bundle["cohorts"]:
        desk.paper.line(
            f"{each['cohort']}: {each['state']}, {each['confirmed']} of {each['total']} confirmed"
        )
    return 0


def _anchor(anchor: Body) -> tuple[str, ...]:
    return cell.fingerprint(anchor["fingerprint_sha256"]), cell.day(anchor["not_after"]), anchor["subject"]


async def _create(desk: Desk, given: Given) -> int:
    anchors = anchors_of(given.files)
    if given.yes:
        body = {"purpose": given.purpose, "anchors": list(anchors.values()), "note": given.note}
        answer = await desk.client.post(BUNDLES.path, body, key_of(given))
        held = told_if_held(desk, answer)
        return _told(desk, answer) if held is None else held
    rows = await desk.client.every(BUNDLES.path, {"purpose": given.purpose})
    current = next((row for row in rows if row.get("current")), None)
    before = {each["fingerprint_sha256"]: each for each in (current or {"anchors": []})["anchors"]}
    comes = [each for each in anchors if each not in before]
    goes = [each for each in before if each not in anchors]
    desk.paper.document(
        {
            "dry_run": True,
            "purpose": given.purpose,
            "current": current and current["bundle_id"],
            "anchors": sorted(anchors),
            "comes": sorted(comes),
            "goes": sorted(goes),
        }
    )
    now = f"version {current['version']} is current" if current else "there is none yet"
    desk.paper.line(f"{given.purpose}: {now}; {len(anchors)} anchors in place of {len(before)}")
    shown = [("comes", cell.fingerprint(each), "-") for each in comes]
    shown += [("GOES", cell.fingerprint(each), before[each]["subject"]) for each in goes]
    if shown:
        desk.paper.table(("what", "anchor", "subject"), shown, frozenset({0, 1}))
    else:
        desk.paper.line("these are the present anchors: it would change nothing")
    desk.paper.line("nothing was created. The same command with --yes creates it")
    return 0


COMMANDS = (
    listing_command(
        THING.name,
        BUNDLES,
        (option("--purpose", metavar="NAME"), option("--cohort", metavar="NAME")),
        says="list trust anchor bundles, newest version first",
        example="bundles --purpose backend_server",
    ),
    Command(
        thing=THING.name,
        action="show",
        help="show one bundle with its anchors",
        example="bundles show BUNDLE_ID",
        run=_show,
        arguments=(word("bundle", help="its id"),),
    ),
    Command(
        thing=THING.name,
        action="create",
        help="a new version of a purpose's anchors; shows what comes and goes, creates with --yes",
        example="bundles create backend_server old-root.pem new-root.pem --yes",
        run=_create,
        arguments=(
            word("purpose", help="whose certificates the anchors verify"),
            word("files", nargs="+", type=Path, metavar="FILE", help="PEM: certificates and nothing else"),
            option("--note", absent="", metavar="TEXT", help="for people"),
            option("--yes", action="store_true", help="create it"),
            KEY,
        ),
        more="Give all anchors: a bundle replaces the one before. A file with a private key in it is refused "
        "here. Exit status 3 if somebody else must agree.",
    ),
)
