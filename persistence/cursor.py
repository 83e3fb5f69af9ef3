"""Opaque positions in a list: the key of the last row shown, bound to the kind of list it came from. Pure."""

import base64
import binascii
from datetime import datetime
from typing import Any

import msgspec

from bfactors.refusal import Refusal

MAX_LIMIT = 500
DEFAULT_LIMIT = 100

Key = tuple[str | int | datetime | None, ...]
NO_KEY: Key = (None, None, None)
"""In place of the longest key: from the first row on."""


def encode_cursor(listing: str, key: Key) -> str:
    """A cursor after the row with this key; URL-safe and without padding."""
    text = msgspec.json.encode([listing, *key])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def decode_cursor(listing: str, cursor: str, *types: type) -> Key | Refusal:
    """The key of a cursor that `encode_cursor` made for the same list; anything else is refused, not guessed at."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values: list[Any] = msgspec.json.decode(raw, type=list[Any])
        if len(values) != len(types) + 1 or values[0] != listing:
            raise ValueError
        key: Key = tuple(
            msgspec.convert(value, kind, strict=True) for value, kind in zip(values[1:], types, strict=True)
        )
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        return Refusal("invalid-cursor", "this cursor does not belong to this list", "cursor")
    if any(isinstance(value, datetime) and value.tzinfo is None for value in key):
        return Refusal("invalid-cursor", "this cursor does not belong to this list", "cursor")
    return key


def limit_problem(limit: int) -> Refusal | None:
    """Why a page size cannot be used, or None."""
    if 1 <= limit <= MAX_LIMIT:
        return None
    return Refusal("limit-out-of-range", f"limit must lie between 1 and {MAX_LIMIT}", "limit")
