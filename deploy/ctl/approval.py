"""Approvals: what waits for a second person, and that person's word for exactly the content that was shown."""

from collections.abc import Iterator

import orjson

from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, Work, option, word
from deploy.ctl.follow import KEY, REASON, STILL_OPEN, key_of
from deploy.ctl.listing import Listing, listing_command
from deploy.ctl.report import wrapped

THING = Thing("approvals", "what waits for a second person; approve, reject", ("approval",))
HASH_CHARS_AT_LEAST = 12
"""So much of a content hash a person must type."""

APPROVALS = Listing(
    "/api/v1/approvals",
    ("approval", "kind", "state", "about"),
    lambda body: (body["approval_id"], body["kind"], body["state"], _about(body)),
)


async def _show(desk: Desk, given: Given) -> int:
    approval = await _found(desk, given)
    desk.paper.document(approval)
    desk.paper.say(approval_lines(approval, desk.paper.columns))
    return 0


async def _found(desk: Desk, given: Given) -> Body:
    return await desk.client.get(f"{APPROVALS.path}/{in_path(given.approval)}")


def approval_lines(approval: Body, columns: int) -> list[str]:
    """Who asks for what and why, the content it is bound to, and what became of it."""
    return [line for label, text in _facts(approval) for line in wrapped(f"{label:<14}", text, columns)]


def _facts(approval: Body) -> Iterator[tuple[str, str]]:
    yield "approval", approval["approval_id"]
    yield "what", f"{approval['kind']} of {_about(approval)}"
    yield "state", f"{approval['state']}, until {cell.minute(approval['expires_at'])}"
    yield "asked by", f"{approval['author']} at {cell.second(approval['requested_at'])}: {approval['reason']}"
    label = "content"
    for name, value in approval["content"].items():
        yield label, f"{name}: {value if isinstance(value, str) else orjson.dumps(value).decode()}"
        label = ""
    yield from _reached(approval.get("selection"))
    yield from _rolled(approval.get("rollover"))
    yield "content hash", approval["content_hash"]
    if approval["decided_by"]:
        when = cell.second(approval["decided_at"])
        yield "decided by", f"{approval['decided_by']} at {when}: {cell.text(approval['decision_reason'])}"


def _reached(selection: Body | None) -> Iterator[tuple[str, str]]:
    """What the rule of an incident chooses now; the hash is of the rule."""
    if selection is None:
        return
    count = selection["certificates"]
    when = cell.second(selection["at"])
    yield (
        "reaches now",
        f"{count} certificates at {when}; the chargers of {selection['connected']} are connected",
    )
    for each in selection["families"]:
        yield "", f"family {each['family']}: {each['certificates']}"
    for each in selection["issuing_cas"]:
        yield "", f"CA {cell.text(each['issuing_ca_id'])}: {each['certificates']}"


def _rolled(step: Body | None) -> Iterator[tuple[str, str]]:
    """The CAs of a rollover's step, by their certificates, and what stands in its way."""
    if step is None:
        return
    for label, side in (("leaves", step["leaving"]), ("for", step["to"])):
        if side is not None:
            root = f", root {side['root_sha256']}" if side["root_sha256"] else ""
            yield label, f"{side['authority_arn']} until {cell.day(side['not_after'])}"
            yield "", f"certificate {side['fingerprint_sha256']}{root}"
    for each in step["waiting_for"]:
        yield "waits for", cell.reason(each)


def told_if_held(desk: Desk, answer: Body) -> int | None:
    """The exit status of what waits for a second person, if the answer says that it does."""
    if "approval_id" not in answer or "content_hash" not in answer:
        return None
    desk.paper.document(answer)
    desk.paper.line(
        f"not done yet: somebody else must agree until {cell.minute(answer['expires_at'])}. "
        f"run.py ctl approvals approve {answer['approval_id']}"
    )
    desk.paper.line(f"content hash {answer['content_hash']}")
    return STILL_OPEN


def _about(approval: Body) -> str:
    """The charger, or what else it is about."""
    return str(approval["charger_id"] or approval.get("subject") or "the fleet")


def _deciding(verdict: str) -> Work:
    async def decide(desk: Desk, given: Given) -> int:
        content_hash = given.content_hash
        if content_hash is None:
            approval = await _found(desk, given)
            desk.paper.tell(approval_lines(approval, desk.paper.columns))
            content_hash = _read_hash(desk, approval["content_hash"])
            if content_hash is None:
                desk.paper.complain(
                    f"nothing was decided: to {verdict} it, read the content and give its hash "
                    f"(--content-hash {approval['content_hash']})"
                )
                return 2
        path = f"{APPROVALS.path}/{in_path(given.approval)}/{verdict}"
        body = {"content_hash": content_hash, "reason": given.reason}
        decided = await desk.client.post(path, body, key_of(given))
        desk.paper.document(decided)
        desk.paper.line(f"{decided['approval_id']}: {decided['state']} by {cell.text(decided['decided_by'])}")
        return 0

    return decide


def _read_hash(desk: Desk, content_hash: str) -> str | None:
    """The hash, if a person typed enough of it."""
    typed = desk.ask(f"content hash, {HASH_CHARS_AT_LEAST} characters of it at least: ")
    if typed is None or len(typed) < HASH_CHARS_AT_LEAST or not content_hash.startswith(typed.lower()):
        return None
    return content_hash


def _decision(verdict: str, text: str) -> Command:
    return Command(
        thing=THING.name,
        action=verdict,
        help=text,
        example=f"approvals {verdict} APPROVAL_ID --reason 'checked with the depot'",
        run=_deciding(verdict),
        arguments=(
            word("approval", help="its id"),
            option(
                "--content-hash", metavar="HEX", help="of the content that was read; else it is asked for"
            ),
            REASON,
            KEY,
        ),
        more="The content is shown, and its hash has to be typed: what is agreed to is exactly that.",
    )


COMMANDS = (
    listing_command(
        THING.name,
        APPROVALS,
        (
            option("--state", choices=("open", "approved", "rejected", "expired", "withdrawn")),
            option("--kind", metavar="NAME"),
            option("--charger-id", metavar="ID"),
        ),
        says="list approvals, newest first",
        example="approvals list --state open",
    ),
    Command(
        thing=THING.name,
        action="show",
        help="show one approval with the content it is bound to",
        example="approvals show APPROVAL_ID",
        run=_show,
        arguments=(word("approval", help="its id"),),
    ),
    _decision("approve", "agree to it; never its author"),
    _decision("reject", "do not agree to it; never its author"),
    _decision("withdraw", "ask for it no more; its author alone"),
)
