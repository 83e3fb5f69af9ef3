"""What makes a charger's password guessable: the reasons, strongest first, each a check of its own.

Keys of 128 random bits show none of this (each false alarm is rarer than one in a million keys).
"""

import math
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

Weakness = Literal[
    "factory-key",
    "short-key",
    "repeated-key",
    "sequential-key",
    "default-key",
    "key-from-identity",
    "low-entropy-key",
]

STRONG_BITS = 128
LEAST_SYMBOLS = 16
_LEFT_BITS = 64
"""What must be left to guess once the parts everybody can know are taken out."""
_FEWEST_DISTINCT = 6
_SHORTEST_PART = 4
_STEADY = 0.75
_HEX_DIGITS = re.compile(rb"(?:[0-9A-Fa-f]{2}){16,}")
_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_HEX_ALPHABETS = (string.digits + "abcdef", string.digits + "ABCDEF")
_PUNCTUATION_SYMBOLS = 33
_COMMON_PARTS = (
    *("authorizationkey", "authorization", "administrator", "basicauth", "password", "passwort", "passw0rd"),
    *(
        "changeme",
        "default",
        "letmein",
        "welcome",
        "deadbeef",
        "cafebabe",
        "qwertyuiop",
        "asdfghjkl",
        "zxcvbnm",
    ),
    *("qwerty", "qwertz", "chargepoint", "charging", "charger", "station", "secret", "admin", "ocpp", "evse"),
    *("test", "demo", "user", "root"),
)


def weakness_of(
    password: bytes,
    *,
    identities: Iterable[str] = (),
    factory_keys: Iterable[bytes] = (),
    is_random: bool = False,
) -> Weakness | None:
    """The first reason why a password as presented is weak, or None.

    `identities`: names anybody can read off the charger (id, serial number). `factory_keys`: what its make leaves the
    factory with. `is_random`: we made it from 128 random bits or more, so its symbols need not be counted.
    """
    known = set(factory_keys)
    views = [password]
    if _HEX_DIGITS.fullmatch(password):
        views.append(bytes.fromhex(password.decode("ascii")))
    names = [name for name in map(_plain, identities) if len(name) >= _SHORTEST_PART]
    found: Weakness | None = None
    for view in views:
        found = (
            ("factory-key" if view in known else None)
            or _shape(view)
            or _content(view, names)
            or ("low-entropy-key" if not is_random and _bits(view) < STRONG_BITS else None)
        )
        if found is not None:
            break
    return found


def _shape(view: bytes) -> Weakness | None:
    if len(view) < LEAST_SYMBOLS:
        return "short-key"
    if _period(view) <= len(view) // 2 or len(set(view)) < _FEWEST_DISTINCT:
        return "repeated-key"
    steps = Counter((after - before) % 256 for before, after in pairwise(view))
    if steps.most_common(1)[0][1] >= _STEADY * (len(view) - 1):
        return "sequential-key"
    return None


def _content(view: bytes, names: Sequence[str]) -> Weakness | None:
    try:
        text = view.decode()
    except UnicodeDecodeError:
        return None
    if not text.isprintable():
        return None
    plain = _plain(text)
    both_ways = [each for name in names for each in (name, name[::-1])]
    is_part_of_name = len(plain) >= _SHORTEST_PART and any(plain in name for name in both_ways)
    if is_part_of_name or _is_told_by(plain, both_ways):
        return "key-from-identity"
    return "default-key" if _is_told_by(plain, _COMMON_PARTS) else None


def _is_told_by(text: str, parts: Iterable[str]) -> bool:
    """Whether too little is left of the text once these parts are gone."""
    rest = text
    for part in parts:
        rest = rest.replace(part, "")
    return rest != text and _bits(rest.encode()) < _LEFT_BITS


def _plain(text: str) -> str:
    """ASCII letters and digits in lower case, so that CP-001 and cp001 are one."""
    return "".join(each for each in text.lower() if each.isascii() and each.isalnum())


def _period(view: bytes) -> int:
    """The length of the shortest piece whose repetition the view is; its own length if there is none."""
    shifts = range(1, len(view))
    return next((shift for shift in shifts if view[shift:] == view[:-shift]), len(view))


def _bits(view: bytes) -> float:
    """At most so many bits, if every symbol had been drawn from the kinds of symbols that occur."""
    if not view:
        return 0.0
    text = view.decode("latin-1")
    if any(not " " <= each <= "~" for each in text):
        return len(view) * 8.0
    if any(not set(text) - set(digits) for digits in _HEX_ALPHABETS) and not text.isdigit():
        return len(view) * 4.0
    size = sum(len(kind) for kind in _CLASSES if set(text) & set(kind))
    size += _PUNCTUATION_SYMBOLS if set(text) - set("".join(_CLASSES)) else 0
    return len(view) * math.log2(size)
