"""Names for what says who somebody is: a vehicle's VIN, a contract's EMAID, a provisioning certificate's PCID.

The ledger knows such an identifier as a pseudonym, `vin:<key id>:<hex>`: an HMAC-SHA256 under a key that is in no database.
Who holds the key can tell which pseudonym a given VIN has; nobody can read a VIN off a pseudonym. The same value gives the
same pseudonym, so what was recorded about a vehicle stays together after its VIN was erased.

Source: the forms of EMAID and PCID as the OPCP API describes them; a VIN as ISO 3779 has it (17 characters, no I, O, Q).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

import msgspec

PSEUDONYM_CHARS = 90
"""None is longer."""
_KEY_ID_CHARS = 12
_SEPARATORS = re.compile(r"[\s.\-_*]+", re.ASCII)
_DOMAIN = b"bf-pseudonym-1"


class IdentifierKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of personal identifier. `form` is of the normalised text; `kept` cuts off what need not be there.

    `shown` is how many characters at either end people may see: enough to tell one from the next, not enough to look it up.
    """

    name: str
    form: re.Pattern[str]
    problem: str
    kept: int | None = None
    shown: tuple[int, int] = (3, 4)


_KINDS = (
    IdentifierKind(
        name="vin",
        form=re.compile(r"[A-HJ-NPR-Z0-9]{17}", re.ASCII),
        problem="a VIN has 17 letters and digits, without I, O and Q",
    ),
    IdentifierKind(
        name="emaid",
        form=re.compile(r"[A-Z]{2}[A-Z0-9]{3}[A-Z0-9]{9}[A-Z0-9]?", re.ASCII),
        problem="an EMAID has a country of 2 letters, a provider of 3 and 9 more letters or digits, perhaps a check digit",
        kept=14,
        shown=(5, 2),
    ),
    IdentifierKind(
        name="pcid",
        form=re.compile(r"[A-Z0-9]{17,18}", re.ASCII),
        problem="a PCID has 17 or 18 letters and digits",
    ),
)
KINDS: Mapping[str, IdentifierKind] = {kind.name: kind for kind in _KINDS}
"""By name. What is not here is no personal identifier, and stands in the ledger as it is."""


class NoIdentifier(ValueError):
    """A text is none of its kind; the message says why and never repeats the text."""


class PseudonymKey(msgspec.Struct, frozen=True):
    """A key of 32 bytes; prints only its id."""

    key_id: str
    value: bytes

    @classmethod
    def of(cls, value: bytes) -> "PseudonymKey":
        """With the id that belongs to the value."""
        return cls(hashlib.sha256(b"pseudonym-key-id" + value).hexdigest()[:_KEY_ID_CHARS], value)

    def __repr__(self) -> str:
        return f"PseudonymKey({self.key_id})"


def normalised(kind: str, text: str) -> str:
    """The one spelling of an identifier: upper case, no separators, an EMAID without its check digit. Raises NoIdentifier."""
    spec = KINDS[kind]
    if not text.isascii():
        raise NoIdentifier(spec.problem)  # upper() would make a letter of some that are none
    plain = _SEPARATORS.sub("", text).upper()
    if not spec.form.fullmatch(plain):
        raise NoIdentifier(spec.problem)
    return plain[: spec.kept]


def pseudonym(key: PseudonymKey, kind: str, text: str) -> str:
    """`<kind>:<key id>:<64 hex digits>`. Raises NoIdentifier."""
    message = b"\x00".join((_DOMAIN, kind.encode(), normalised(kind, text).encode()))
    return f"{kind}:{key.key_id}:{hmac.new(key.value, message, hashlib.sha256).hexdigest()}"


def pseudonyms(keys: Sequence[PseudonymKey], kind: str, text: str) -> tuple[str, ...]:
    """What the identifier is called under each key, the newest key first. Raises NoIdentifier."""
    return tuple(pseudonym(key, kind, text) for key in reversed(keys))


def kind_of(name: str) -> str | None:
    """The kind a pseudonym is of; None for what is no pseudonym."""
    kind, _, rest = name.partition(":")
    return (
        kind if kind in KINDS and re.fullmatch(rf"[0-9a-f]{{{_KEY_ID_CHARS}}}:[0-9a-f]{{64}}", rest) else None
    )


def masked(kind: str, text: str) -> str:
    """What people may see of a normalised identifier, e.g. `WDB…1234`."""
    head, tail = KINDS[kind].shown
    return f"{text[:head]}…{text[-tail:]}"
