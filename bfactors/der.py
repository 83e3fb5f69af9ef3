"""The few fields of a certificate that are wanted as the bytes they are, cut out of DER that has been parsed already.

Names and key are compared and hashed exactly as they stand in the certificate, and cutting costs a fraction of decoding them
into objects: a gateway does this for every charger that connects. What nothing else has parsed yet is cut by `elements`,
which trusts no length. Source: X.690 section 8, RFC 5280 section 4.1.
"""

from functools import lru_cache
from typing import NamedTuple

import msgspec

_VERSION_TAG = 0xA0
_LONG_FORM = 0x80
_RSA = bytes.fromhex("06092a864886f70d010101")
_EC = bytes.fromhex("06072a8648ce3d0201")
_NAMED = {
    bytes.fromhex("06032b6570"): "ed25519",
    bytes.fromhex("06032b6571"): "ed448",
}
_CURVES = {
    bytes.fromhex("06082a8648ce3d030107"): "ec-secp256r1",
    bytes.fromhex("06052b81040022"): "ec-secp384r1",
    bytes.fromhex("06052b81040023"): "ec-secp521r1",
    bytes.fromhex("06052b81040021"): "ec-secp224r1",
}


class Element(NamedTuple):
    """One element: its tag, what it holds, and all of it with tag and length."""

    tag: int
    content: bytes
    whole: bytes


def elements(der: bytes) -> tuple[Element, ...]:
    """The elements that stand one after another in `der`, of definite length and with one-octet tags. Raises ValueError."""
    found = []
    at, end = 0, len(der)
    while at < end:
        if end - at < 2:
            raise ValueError("an element is cut short")
        length, start = der[at + 1], at + 2
        if length >= _LONG_FORM:
            start += length & 0x7F
            if length == _LONG_FORM or start > end:
                raise ValueError("an element's length is cut short or indefinite")
            length = int.from_bytes(der[at + 2 : start], "big")
        after = start + length
        if after > end:
            raise ValueError("an element is longer than what holds it")
        found.append(Element(der[at], der[start:after], der[at:after]))
        at = after
    return tuple(found)


def element(tag: int, content: bytes) -> bytes:
    """An element with the shortest length there is."""
    size = len(content)
    if size < _LONG_FORM:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM | len(octets))) + octets + content


@lru_cache(maxsize=256)
def oid_text(content: bytes) -> str:
    """An object identifier's content as dotted numbers. Raises ValueError."""
    if not content or content[-1] >= _LONG_FORM:
        raise ValueError("an object identifier is cut short")
    arcs, arc = [], 0
    for octet in content:
        arc = (arc << 7) | (octet & 0x7F)
        if octet < _LONG_FORM:
            arcs.append(arc)
            arc = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))


class Fields(msgspec.Struct, frozen=True):
    """The issuer's and the subject's Name and the SubjectPublicKeyInfo, each with its tag and length.

    `serial_number` is the serial's content read without a sign: one whose high bit was set by mistake is named by its octets.
    """

    serial_number: int
    issuer: bytes
    subject: bytes
    spki: bytes


def certificate_fields(der: bytes) -> Fields:
    """The fields of a certificate. Raises ValueError if the elements are not where RFC 5280 has them."""
    try:
        at = _content(der, _content(der, 0))
        if der[at] == _VERSION_TAG:
            at = _after(der, at)
        serial_end = _after(der, at)
        serial_number = int.from_bytes(der[_content(der, at) : serial_end], "big")
        at = _after(der, serial_end)  # behind the signature algorithm
        issuer_end = _after(der, at)
        subject = _after(der, issuer_end)  # behind the validity
        subject_end = _after(der, subject)
        return Fields(
            serial_number,
            der[at:issuer_end],
            der[subject:subject_end],
            der[subject_end : _after(der, subject_end)],
        )
    except IndexError as problem:
        raise ValueError("a certificate's fields are cut short") from problem


def key_algorithm_of_spki(spki: bytes) -> str | None:
    """How `bfactors.x509.key_algorithm_of` names the key, or None where only decoding it tells. Raises ValueError."""
    try:
        identifier = _content(spki, 0)
        start = _content(spki, identifier)
        oid_end = _after(spki, start)
        oid = spki[start:oid_end]
        if oid == _EC:
            return _CURVES.get(spki[oid_end : _after(spki, identifier)])
        if oid == _RSA:
            # BIT STRING, its unused-bits octet, SEQUENCE, INTEGER modulus.
            modulus = _content(spki, _content(spki, _after(spki, identifier)) + 1)
            number = int.from_bytes(spki[_content(spki, modulus) : _after(spki, modulus)], "big")
            return f"rsa-{number.bit_length()}"
        return _NAMED.get(oid)
    except IndexError as problem:
        raise ValueError("a public key is cut short") from problem


def key_bits(spki: bytes) -> bytes:
    """The public key inside a SubjectPublicKeyInfo: its BIT STRING without the unused-bits octet. Raises ValueError."""
    try:
        return elements(elements(spki)[0].content)[1].content[1:]
    except IndexError as problem:
        raise ValueError("a public key is cut short") from problem


def _content(der: bytes, at: int) -> int:
    """Where the content of the element at `at` begins."""
    first = der[at + 1]
    return at + 2 if first < _LONG_FORM else at + 2 + (first & 0x7F)


def _after(der: bytes, at: int) -> int:
    """Where the element behind the one at `at` begins."""
    first = der[at + 1]
    if first < _LONG_FORM:
        return at + 2 + first
    start = at + 2 + (first & 0x7F)
    return start + int.from_bytes(der[at + 2 : start], "big")
