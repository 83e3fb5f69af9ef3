"""Pages of lists: those a reader cut, and those short enough to be cut here."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from bfactors.refusal import Refusal
from gateways.admin import field
from gateways.admin.ports import Body
from gateways.admin.problem import Problem
from gateways.admin.route import Answer

T = TypeVar("T")


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list without filters."""

    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | msgspec.UnsetType = msgspec.UNSET


def page_of(found: Body | Refusal) -> Answer:
    """What a reader answered. Raises Problem for its refusal."""
    if isinstance(found, Refusal):
        raise Problem.of_refusal(found)
    return Answer(found)


def cut(
    listing: str,
    rows: Sequence[T],
    name_of: Callable[[T], str],
    body_of: Callable[[T], Body],
    *,
    limit: int,
    cursor: str | None,
) -> Body:
    """One page of a list held in memory, in its order; the cursor names the last row shown. Raises Problem."""
    start = 0
    if cursor is not None:
        last = _decoded(listing, cursor)
        start = next((index + 1 for index, row in enumerate(rows) if name_of(row) == last), len(rows))
    shown = rows[start : start + limit]
    more = start + limit < len(rows)
    return {
        "items": [body_of(row) for row in shown],
        "next_cursor": _encoded(listing, name_of(shown[-1])) if more else None,
    }


def _encoded(listing: str, name: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([listing, name])).decode().rstrip("=")


def _decoded(listing: str, cursor: str) -> str:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        kind, name = msgspec.json.decode(raw, type=tuple[str, str])
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        kind, name = "", ""
    if kind != listing:
        raise Problem.of_field("cursor", "this cursor does not belong to this list", "invalid-cursor")
    return name
