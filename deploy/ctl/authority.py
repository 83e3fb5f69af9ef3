"""A purpose's issuing CAs: which there are, what hangs on each, and another one made known."""

from dataclasses import replace
from pathlib import Path

from bfactors.errors import SettingsError
from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, key_of
from deploy.ctl.listing import Listing, limit_of, limit_option, listing_command
from deploy.ctl.report import wrapped

THING = Thing("authorities", "issuing CAs and what hangs on each; register one", ("authority",))

AUTHORITIES = Listing(
    "/api/v1/authorities",
    ("authority", "purpose", "state", "says", "ends", "certificates", "orders"),
    lambda body: (
        body["authority_id"],
        body["purpose"],
        body["state"],
        body["status"],
        cell.day(body["not_after"]),
        str(body["certificates"]),
        str(body["orders"]),
    ),
    frozenset({0, 2, 4}),
)
HOLDERS = Listing(
    AUTHORITIES.path,
    ("charger", "certificate", "state", "ends"),
    lambda body: (
        body["charger_id"],
        body["certificate_id"],
        body["state"] + ("" if body["connected"] else ", away"),
        cell.day(body["not_after"]),
    ),
    frozenset({0, 1, 3}),
)


def anchor_text(path: Path) -> str:
    """PEM from a file. Raises SettingsError."""
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"the file {path} cannot be read: {problem}") from problem


async def _show(desk: Desk, given: Given) -> int:
    rows = await desk.client.every(AUTHORITIES.path, {})
    found = next((row for row in rows if row["authority_id"] == given.authority), None)
    if found is None:
        desk.paper.complain(f"there is no authority {given.authority}; run.py ctl authorities lists them")
        return 2
    return _told(desk, found)


def _told(desk: Desk, found: Body) -> int:
    desk.paper.document(found)
    for label, text in (
        ("authority", found["authority_id"]),
        ("issues", f"{found['purpose']}, realm {found['realm']}"),
        ("state", f"{found['state']}; it says {found['status']}"),
        ("arn", found["authority_arn"]),
        ("fingerprint", found["fingerprint_sha256"]),
        ("ends", cell.second(found["not_after"])),
        ("hangs on it", f"{found['certificates']} certificates, {found['orders']} orders"),
    ):
        desk.paper.say(wrapped(f"{label:<14}", text, desk.paper.columns))
    return 0


async def _holders(desk: Desk, given: Given) -> int:
    listing = replace(HOLDERS, path=f"{AUTHORITIES.path}/{in_path(given.authority)}/holders")
    listing.show(desk, await listing.rows(desk.client, {}, limit_of(given)))
    return 0


async def _register(desk: Desk, given: Given) -> int:
    body: Body = {"purpose": given.purpose, "authority_arn": given.arn}
    if given.root is not None:
        body["root_pem"] = anchor_text(given.root)
    if given.yes:
        return _told(desk, await desk.client.post(AUTHORITIES.path, body, key_of(given)))
    desk.paper.document({"dry_run": True, "request": body})
    desk.paper.line(
        f"every gateway would trust what {given.arn} signs for {given.purpose}; it issues nothing yet"
    )
    desk.paper.line("nothing was done. The same command with --yes does it: register")
    return 0


_AUTHORITY = word("authority", help="its id, as the list shows it")
COMMANDS = (
    listing_command(
        THING.name,
        AUTHORITIES,
        says="list issuing CAs, how each stands and how much hangs on it",
        example="authorities list",
    ),
    Command(
        thing=THING.name,
        action="show",
        help="show one issuing CA",
        example="authorities show 0a1b2c3d4e5f6071",
        run=_show,
        arguments=(_AUTHORITY,),
    ),
    Command(
        thing=THING.name,
        action="holders",
        help="list the certificates that hang on a CA, absent chargers first",
        example="authorities holders 0a1b2c3d4e5f6071 --limit 20",
        run=_holders,
        arguments=(_AUTHORITY, limit_option()),
    ),
    Command(
        thing=THING.name,
        action="register",
        help="make another CA known: gateways trust it, and it issues nothing yet",
        example="authorities register charging_station arn:aws:acm-pca:x --yes",
        run=_register,
        arguments=(
            word("purpose", help="what it will issue for"),
            word("arn", help="of the CA; it is asked itself what it is"),
            option("--root", type=Path, metavar="FILE", help="PEM: its root, if it does not hand it out"),
            option("--yes", action="store_true", help="do it; without it nothing is done"),
            KEY,
        ),
    ),
)
