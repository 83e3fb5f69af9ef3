"""Managed identities: every kind listed; EVSEs, vehicles, contracts and servers registered, retired, forgotten.

A VIN, an EMAID or a PCID may be read from a file, so that it stands in no shell's history and in no list of processes.
"""

from collections.abc import Iterator

from bfactors.errors import SettingsError
from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.listing import Listing, limit_of, limit_option, query_of
from deploy.ctl.report import wrapped
from deploy.ctl.secret_text import FROM_FILE, text_of

THING = Thing("identities", "what certificates are bound to; register, change, retire, forget", ("identity",))
KINDS = ("evse", "vehicle", "contract", "server")
_PERSONAL = ("vin", "emaid", "pcid")
_FILTERS = ("kind", "state", "family", "site", "cohort", "charger_id", "evse_id", "secc_id", "host_name", "q")


def _called(body: Body) -> str:
    """Its names outside; a personal one as far as this token may see it."""
    return ", ".join(
        f"{scheme} {value or ('erased' if body['erased'] else 'not shown')}"
        for scheme, value in body["external_ids"].items()
    )


IDENTITIES = Listing(
    "/api/v1/identities",
    ("identity", "kind", "state", "charger", "called"),
    lambda body: (
        body["identity_id"],
        body["kind"],
        body["state"],
        cell.text(body["charger_id"]),
        cell.text(_called(body)),
    ),
)


async def _list(desk: Desk, given: Given) -> int:
    query = query_of(given, _FILTERS)
    query |= {name: text_of(text) for name, text in query_of(given, _PERSONAL).items()}
    IDENTITIES.show(desk, await IDENTITIES.rows(desk.client, query, limit_of(given)))
    return 0


async def _show(desk: Desk, given: Given) -> int:
    return _told(desk, await desk.client.get(_path(given)))


async def _register(desk: Desk, given: Given) -> int:
    body: Body = {"kind": given.kind, "external_ids": dict(_named(each) for each in given.names)}
    body |= query_of(given, ("family", "site", "cohort", "charger_id"))
    if given.evse:
        body["evses"] = given.evse
    return _told(desk, await desk.client.post(IDENTITIES.path, body, key_of(given)))


def _named(text: str) -> tuple[str, str]:
    scheme, _, value = text.partition("=")
    if not scheme or not value:
        raise SettingsError("an external id is given as SCHEME=VALUE, as in evse_id=DE*ABC*E17")
    return scheme, text_of(value)


async def _change(desk: Desk, given: Given) -> int:
    body: Body = dict(query_of(given, ("family", "site", "cohort")))
    if given.names:
        body["external_ids"] = dict(_named(each) for each in given.names)
    if given.evse:
        body["evses"] = given.evse
    if not body:
        raise SettingsError("nothing to change: name external ids, EVSEs, or a place")
    return _told(desk, await desk.client.patch(_path(given), body))


async def _retire(desk: Desk, given: Given) -> int:
    return _told(desk, await desk.client.delete(_path(given)))


async def _erase(desk: Desk, given: Given) -> int:
    path = f"{_path(given)}/erase-personal-data"
    return _told(desk, await desk.client.post(path, {"reason": given.reason}, key_of(given)))


def _path(given: Given) -> str:
    return f"{IDENTITIES.path}/{in_path(given.identity)}"


def _told(desk: Desk, found: Body) -> int:
    desk.paper.document(found)
    for label, text in _facts(found):
        desk.paper.say(wrapped(f"{label:<14}", text, desk.paper.columns))
    return 0


def _facts(found: Body) -> Iterator[tuple[str, str]]:
    yield "identity", found["identity_id"]
    yield "what", f"{found['kind']}, {found['state']}"
    yield "called", cell.text(_called(found))
    for name in found["pseudonyms"].values():
        yield "pseudonym", name
    if found["charger_id"]:
        yield "charger", found["charger_id"]
    if found.get("evses"):
        yield "evses", ", ".join(map(str, found["evses"]))
    places = [f"{name} {found[name]}" for name in ("family", "site", "cohort") if found[name]]
    yield "place", cell.text(places)
    yield "registered", cell.second(found["registered_at"])
    if found["retired_at"]:
        yield "retired", cell.second(found["retired_at"])
    if found["erased"]:
        yield "erased", "what its pseudonyms stand for is deleted"


_IDENTITY = word("identity", help="its id")
_EVSES = option(
    "--evse",
    metavar="NUMBER",
    type=int,
    action="append",
    help="of one of several SECCs: OCPP's number of an EVSE it serves; repeatable",
)
COMMANDS = (
    Command(
        thing=THING.name,
        action="list",
        help="list identities of every kind, by id",
        example="identities list --kind vehicle --vin @vin.txt",
        run=_list,
        arguments=(
            option("--kind", choices=("charger", *KINDS)),
            option("--state", choices=("registered", "retired")),
            option("--family", metavar="NAME"),
            option("--site", metavar="NAME"),
            option("--cohort", metavar="NAME"),
            option("--charger-id", metavar="ID"),
            option("--vin", metavar="VIN", help=FROM_FILE),
            option("--emaid", metavar="EMAID", help=FROM_FILE),
            option("--pcid", metavar="PCID", help=FROM_FILE),
            option("--evse-id", metavar="ID"),
            option("--secc-id", metavar="ID"),
            option("--host-name", metavar="NAME"),
            option("--q", metavar="TEXT", help="part of an id, or a whole external id"),
            limit_option(),
        ),
    ),
    Command(
        thing=THING.name,
        action="show",
        help="show one identity",
        example="identities show IDENTITY_ID",
        run=_show,
        arguments=(_IDENTITY,),
    ),
    Command(
        thing=THING.name,
        action="register",
        help="register an EVSE, a vehicle, a contract or a server",
        example="identities register vehicle vin=@vin.txt --cohort buses",
        run=_register,
        arguments=(
            word("kind", choices=KINDS, help=", ".join(KINDS)),
            word(
                "names",
                nargs="+",
                metavar="SCHEME=VALUE",
                help=f"vin, pcid; emaid; evse_id, secc_id; host_name; VALUE {FROM_FILE}",
            ),
            option("--family", metavar="NAME"),
            option("--site", metavar="NAME"),
            option("--cohort", metavar="NAME"),
            option("--charger-id", metavar="ID", help="of an EVSE: it stands where its charger stands"),
            _EVSES,
            KEY,
        ),
        more="A VIN, an EMAID or a PCID is kept sealed, and the ledger knows it by a pseudonym only. Give it "
        "from a file, so that it does not stay in your shell's history.",
    ),
    Command(
        thing=THING.name,
        action="change",
        help="change where one identity belongs, or what it is called outside",
        example="identities change IDENTITY_ID --cohort buses",
        run=_change,
        arguments=(
            _IDENTITY,
            word(
                "names",
                nargs="*",
                metavar="SCHEME=VALUE",
                help=f"all of its external ids, in place of those it has; VALUE {FROM_FILE}",
            ),
            option("--family", metavar="NAME"),
            option("--site", metavar="NAME"),
            option("--cohort", metavar="NAME"),
            _EVSES,
        ),
        more="What is not given stays. Given again, external ids that were erased are known again.",
    ),
    Command(
        thing=THING.name,
        action="retire",
        help="retire one identity: its external ids are free for another, the record stays",
        example="identities retire IDENTITY_ID",
        run=_retire,
        arguments=(_IDENTITY,),
    ),
    Command(
        thing=THING.name,
        action="erase",
        help="delete what an identity's pseudonyms stand for; cannot be taken back",
        example="identities erase IDENTITY_ID --reason 'asked for by its owner'",
        run=_erase,
        arguments=(_IDENTITY, REASON, KEY),
        more="The ledger stays as it is: it never held more than the pseudonyms.",
    ),
)
