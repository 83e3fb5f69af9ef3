"""Names of X.509 as text, whatever string type they are written in, and when two of them mean the same.

Chargers write PrintableString with an underscore, T61String in Latin-1, UTF8String that is not UTF-8, sets out of order:
whatever can be read is. Source: RFC 5280 sections 4.1.2.4 and 7.1, RFC 4514 section 2, RFC 4518 section 2.
"""

import re
import unicodedata
from functools import lru_cache

from bfactors.der import Element, elements, oid_text

COMMON_NAME = "2.5.4.3"
ORGANIZATION = "2.5.4.10"
DOMAIN_COMPONENT = "0.9.2342.19200300.100.1.25"

_SHORT = {
    COMMON_NAME: "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    ORGANIZATION: "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    DOMAIN_COMPONENT: "DC",
}
_SEQUENCE, _SET, _OID = 0x30, 0x31, 0x06
_BIT_STRING, _UNIVERSAL_STRING, _BMP_STRING = 0x03, 0x1C, 0x1E

_HARMLESS = re.compile(r"[A-Za-z0-9._:/-]+(?: [A-Za-z0-9._:/-]+)*")
"""What nearly every serial number and organization is made of: nothing in it is escaped, composed or repeated."""

RelativeName = tuple[tuple[str, str], ...]
"""Attributes that stand side by side, as (dotted OID, value); nearly always one."""


@lru_cache(maxsize=4096)
def relative_names(der: bytes) -> tuple[RelativeName, ...]:
    """A Name given as DER, in the order it is written. Raises ValueError."""
    (name,) = _only(elements(der), _SEQUENCE, 1)
    return tuple(
        [
            tuple([_attribute(attribute) for attribute in elements(one.content)])
            for one in _only(elements(name.content), _SET)
        ]
    )


def _only(found: tuple[Element, ...], tag: int, count: int | None = None) -> tuple[Element, ...]:
    if count is not None and len(found) != count:
        raise ValueError("a name is not built as a name")
    for one in found:
        if one.tag != tag:
            raise ValueError("a name is not built as a name")
    return found


def _attribute(attribute: Element) -> tuple[str, str]:
    parts = elements(attribute.content)
    if attribute.tag != _SEQUENCE or len(parts) != 2 or parts[0].tag != _OID:
        raise ValueError("a name's attribute is not built as one")
    return oid_text(parts[0].content), _text(parts[1])


def _text(value: Element) -> str:
    if value.tag == _BMP_STRING:
        return value.content.decode("utf-16-be")
    if value.tag == _UNIVERSAL_STRING:
        return value.content.decode("utf-32-be")
    if value.tag == _BIT_STRING:
        return "#" + value.whole.hex()
    try:
        return value.content.decode()
    except UnicodeDecodeError:
        return value.content.decode("latin-1")  # T61String by custom, and devices that never heard of UTF-8


def attributes(der: bytes) -> tuple[tuple[str, str], ...]:
    """Every attribute of a Name as (dotted OID, value), in order. Raises ValueError."""
    return tuple([attribute for one in relative_names(der) for attribute in one])


def values(der: bytes, oid: str) -> tuple[str, ...]:
    """The values of one attribute, in order. Raises ValueError."""
    return tuple([value for found, value in attributes(der) if found == oid])


def as_text(der: bytes) -> str:
    """A Name for people, as RFC 4514 has it: the last relative name first. Raises ValueError."""
    return ",".join(
        [
            "+".join([f"{_SHORT.get(oid, oid)}={_escaped(value)}" for oid, value in one])
            for one in reversed(relative_names(der))
        ]
    )


def _escaped(value: str) -> str:
    if _HARMLESS.fullmatch(value):
        return value
    if not value:
        return ""
    text = "".join("\\" + char if char in '\\"+,;<>' else char for char in value).replace("\0", "\\00")
    if text[0] == "#" or (text[0] == " " and len(text) > 1):
        text = "\\" + text
    return text[:-1] + "\\ " if text[-1] == " " else text


def comparable(value: str) -> str:
    """A value in the form names are compared in: case, spaces around it and how often a space is repeated do not count."""
    if _HARMLESS.fullmatch(value):
        return value.lower()
    folded = unicodedata.normalize("NFKC", value).casefold()
    return " ".join(part for part in folded.split(" ") if part)
