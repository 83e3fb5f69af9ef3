"""Who is told when something needs a person: webhooks and e-mail addresses, taken on, tried and taken off."""

from bfactors.notice import KIND_NAMES
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.fleet_view import SUBSCRIPTIONS
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.secret_text import FROM_FILE, text_of

_THING = "notifications"


async def _subscribe(desk: Desk, given: Given) -> int:
    body: Body = {"address": text_of(given.address), "role": given.role}
    if given.least_severity is not None:
        body["least_severity"] = given.least_severity
    body |= {name: value for name in ("kinds", "cohorts") if (value := getattr(given, name[:-1])) is not None}
    made = await desk.client.post(SUBSCRIPTIONS.path, body, key_of(given))
    desk.paper.document(made)
    desk.paper.line(f"{made['channel']} to {made['target']}: {made['subscription_id']}")
    if made.get("signing_key"):
        desk.paper.line(f"its notices are signed with this key, shown this once: {made['signing_key']}")
    return 0


async def _unsubscribe(desk: Desk, given: Given) -> int:
    gone = await desk.client.post(f"{_path(given)}/remove", {"reason": given.reason}, key_of(given))
    desk.paper.document(gone)
    desk.paper.line(f"nothing is sent to {gone['target']} any more; its address is forgotten")
    return 0


async def _test(desk: Desk, given: Given) -> int:
    told = await desk.client.post(f"{_path(given)}/test", None, key_of(given))
    desk.paper.document(told)
    desk.paper.line(told["outcome"] if told["error"] is None else f"{told['outcome']}: {told['error']}")
    return 0 if told["outcome"] == "delivered" else 1


def _path(given: Given) -> str:
    return f"{SUBSCRIPTIONS.path}/{in_path(given.subscription)}"


_SUBSCRIPTION = word("subscription", help="its id, as `notifications subscriptions` lists it")
COMMANDS = (
    Command(
        thing=_THING,
        action="subscribe",
        help="have notices sent to a webhook or an e-mail address",
        example="notifications subscribe on-call@depot.example --role operator",
        run=_subscribe,
        arguments=(
            word("address", help=f"an https URL or an e-mail address: {FROM_FILE}"),
            option("--role", required=True, metavar="ROLE", help="whom it is for"),
            option("--least-severity", choices=("info", "warning", "critical")),
            option("--kind", action="append", metavar="KIND", help="may be repeated; all without it"),
            option("--cohort", action="append", metavar="NAME", help="may be repeated; all without it"),
            KEY,
        ),
        more="Kinds: " + ", ".join(KIND_NAMES) + ".",
    ),
    Command(
        thing=_THING,
        action="unsubscribe",
        help="send nothing there any more, and forget the address",
        example="notifications unsubscribe SUBSCRIPTION_ID --reason 'left the team'",
        run=_unsubscribe,
        arguments=(_SUBSCRIPTION, REASON, KEY),
    ),
    Command(
        thing=_THING,
        action="test",
        help="send a trial notice there now",
        example="notifications test SUBSCRIPTION_ID",
        run=_test,
        arguments=(_SUBSCRIPTION, KEY),
    ),
)
