"""AuthorizationKeys: the fleet's by what is wrong with them, and one charger given another."""

from deploy.ctl import cell
from deploy.ctl.client import in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import REASON, WAITING, order
from deploy.ctl.listing import Listing, listing_command

THING = Thing(
    "authorization-keys", "the fleet's AuthorizationKeys; rotate one", ("authorization-key", "keys", "key")
)
_STATES = ("factory", "shared", "old", "weak", "unknown", "pending", "in-doubt")
_MEANING = {
    "total": "chargers on profiles 1 and 2",
    "factory": "still the one the charger left its factory with",
    "shared": "another charger has the same",
    "old": "older than --older-than-days",
    "weak": "guessable, or not made here",
    "unknown": "the charger should have one, and none is known",
    "pending": "being replaced now",
    "in_doubt": "the charger may have taken one that no session has shown",
}
_OLDER = option("--older-than-days", type=int, metavar="N", help="what counts as old (default: 365)")

KEYS = Listing(
    "/api/v1/authorization-keys",
    ("charger", "cohort", "profile", "made by", "since", "what is wrong"),
    lambda body: (
        body["charger_id"],
        body["cohort"],
        str(body["security_profile"]),
        cell.text(body["origin"]),
        cell.day(body["active_since"]),
        cell.text(body["states"]),
    ),
)


async def _baseline(desk: Desk, given: Given) -> int:
    query = {} if given.older_than_days is None else {"older_than_days": str(given.older_than_days)}
    counts = await desk.client.get(f"{KEYS.path}/counts", query)
    desk.paper.document(counts)
    desk.paper.table(
        ("keys", "state", "meaning"),
        [(str(count), name, _MEANING.get(name, "")) for name, count in counts.items()],
    )
    return 0


async def _rotate(desk: Desk, given: Given) -> int:
    path = f"/api/v1/chargers/{in_path(given.charger)}/authorization-key"
    return await order(desk, given, path, {"reason": given.reason})


COMMANDS = (
    listing_command(
        THING.name,
        KEYS,
        (
            option("--state", choices=_STATES, help="what is wrong with them"),
            option("--family", metavar="NAME"),
            option("--site", metavar="NAME"),
            option("--cohort", metavar="NAME"),
            _OLDER,
        ),
        says="list the keys of chargers on profiles 1 and 2; the keys themselves are nowhere",
        example="authorization-keys list --state weak",
    ),
    Command(
        thing=THING.name,
        action="baseline",
        help="count the keys by what is wrong with them; one may count twice",
        example="authorization-keys baseline --older-than-days 180",
        run=_baseline,
        arguments=(_OLDER,),
    ),
    Command(
        thing=THING.name,
        action="rotate",
        help="give one charger another key, made here and shown to nobody",
        example="key rotate depot-7-bay-2 --reason 'service contract ended' --wait",
        run=_rotate,
        arguments=(word("charger", help="its id"), REASON, *WAITING),
    ),
)
