"""What identities are called outside: which names each kind may bear, and how each is spelled in the ledger.

A personal one (`bfactors.pseudonym`) is its pseudonym, any other `<scheme>:<value>`. A kind or a scheme more is a line here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from bfactors import pseudonym
from bfactors.purpose import PARTS_OF_CHARGER

Kind = Literal["charger", "evse", "vehicle", "contract", "server"]
KINDS: tuple[str, ...] = get_args(Kind)
SCHEMES: Mapping[str, tuple[str, ...]] = {
    "evse": ("evse_id", "secc_id"),
    "vehicle": ("vin", "pcid"),
    "contract": ("emaid",),
    "server": ("host_name",),
}
"""By kind; a charger's serial number is its charger's affair."""
AT_A_CHARGER = PARTS_OF_CHARGER
"""Kinds that are a part of a charger: what it stands for, they stand for."""
EVERY_SCHEME = tuple(scheme for schemes in SCHEMES.values() for scheme in schemes)
VALUE_MAX_CHARS = 253


class _Plain(NamedTuple):
    form: re.Pattern[str]
    problem: str
    is_upper: bool


_PLAIN: Mapping[str, _Plain] = {
    "evse_id": _Plain(
        re.compile(r"[A-Z]{2}\*?[A-Z0-9]{3}\*?E[A-Z0-9*]{1,30}", re.ASCII),
        "an EVSE ID has a country, an operator and E with up to 30 more letters, digits and stars",
        True,
    ),
    "secc_id": _Plain(
        re.compile(r"[A-Z0-9*-]{8,64}", re.ASCII),
        "an SECC ID has 8 to 64 letters, digits, stars and hyphens",
        True,
    ),
    "host_name": _Plain(
        re.compile(
            r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
            re.ASCII,
        ),
        "a host name has labels of letters, digits and hyphens, with dots between them",
        False,
    ),
}


def plain_name(scheme: str, text: str) -> str:
    """`<scheme>:<value>` of a name that is nobody's secret. Raises NoIdentifier."""
    spec = _PLAIN[scheme]
    value = text.strip()
    if value.isascii():
        value = value.upper() if spec.is_upper else value.lower()
    if not spec.form.fullmatch(value):
        raise pseudonym.NoIdentifier(spec.problem)
    return f"{scheme}:{value}"


def names_of(scheme: str, text: str, keys: Sequence[pseudonym.PseudonymKey]) -> tuple[str, ...]:
    """Every name the ledger may know it by, the one for something new first. Empty without a key. Raises NoIdentifier."""
    if scheme in pseudonym.KINDS:
        return pseudonym.pseudonyms(keys, scheme, text)
    return (plain_name(scheme, text),)


def scheme_of(name: str) -> str:
    """The scheme a name is of."""
    return name.partition(":")[0]


def is_personal(name: str) -> bool:
    """Whether it is a pseudonym."""
    return scheme_of(name) in pseudonym.KINDS
