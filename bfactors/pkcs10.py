"""A CSR taken apart without trusting whoever encoded it, and put together again the way strict readers want it.

Chargers get the wrapping wrong: a version other than 0, attributes left out, an extension request without a value. None of it
changes what is asked for or whose key it is, so it is no reason to refuse. The *tidy copy* is only ever read; what proves
possession is the signature over the original octets, and what a CA is handed is the original. Source: RFC 2986 section 4.
"""

import msgspec

from bfactors.der import Element, element, elements, oid_text

_SEQUENCE, _SET, _INTEGER, _BIT_STRING, _OID, _NULL, _BOOLEAN = (
    0x30, 0x31, 0x02, 0x03, 0x06, 0x05, 0x01,
)  # fmt: skip
_ATTRIBUTES = 0xA0
_HIGH_BIT = 0x80
_VERSION_1 = element(_INTEGER, b"\0")
_CRITICAL = element(_BOOLEAN, b"\xff")
_EXTENSION_REQUEST = bytes.fromhex("06092a864886f70d01090e")
_EXTENSION_REQUESTS = frozenset({"1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"})
"""PKCS#9's, and Microsoft's for the same thing."""
_ECDSA = "1.2.840.10045.4."


class Pkcs10(msgspec.Struct, frozen=True):
    """One CSR: `signed` are the octets its signature is over, `tidy` is the copy that strict readers accept."""

    signed: bytes
    signature: bytes
    subject: bytes
    spki: bytes
    tidy: bytes


def take_apart(der: bytes) -> Pkcs10:
    """Cut a CSR into its parts. Raises ValueError if there is no telling what is asked for."""
    (csr,) = _shaped(elements(der), (_SEQUENCE,), "a CSR")
    info, algorithm, signature = _shaped(
        elements(csr.content), (_SEQUENCE, _SEQUENCE, _BIT_STRING), "a signed CSR"
    )
    parts = elements(info.content)
    version, subject, key = _shaped(parts[:3], (_INTEGER, _SEQUENCE, _SEQUENCE), "a certification request")
    del version  # says what nobody needs to be told, and is wrong often
    if len(parts) > 4 or any(part.tag != _ATTRIBUTES for part in parts[3:]):
        raise ValueError("a certification request with unknown parts")
    if not signature.content:
        raise ValueError("a CSR with an empty signature")
    wanted = _extensions(parts[3].content) if len(parts) == 4 else b""
    tidy_info = element(
        _SEQUENCE, _VERSION_1 + element(_SEQUENCE, b"") + key.whole + element(_ATTRIBUTES, wanted)
    )
    return Pkcs10(
        signed=info.whole,
        signature=signature.content[1:],
        subject=subject.whole,
        spki=key.whole,
        tidy=element(_SEQUENCE, tidy_info + _tidy_algorithm(algorithm) + signature.whole),
    )


def _shaped(found: tuple[Element, ...], tags: tuple[int, ...], what: str) -> tuple[Element, ...]:
    if tuple([one.tag for one in found]) != tags:
        raise ValueError(f"not built as {what}")
    return found


def _extensions(attributes: bytes) -> bytes:
    """Every extension asked for, gathered into one attribute; nothing if none is."""
    found = b""
    for attribute in elements(attributes):
        if attribute.tag != _SEQUENCE:
            raise ValueError("not built as an attribute")
        kind, values = _shaped(elements(attribute.content), (_OID, _SET), "an attribute")
        if oid_text(kind.content) not in _EXTENSION_REQUESTS:
            continue  # a challenge password and the like: nothing here or at the CA acts on it
        for value in elements(values.content):
            if value.tag != _SEQUENCE:
                raise ValueError("not built as an extension request")
            found += b"".join(_tidy_extension(one) for one in elements(value.content))
    if not found:
        return b""
    return element(_SEQUENCE, _EXTENSION_REQUEST + element(_SET, element(_SEQUENCE, found)))


def _tidy_extension(extension: Element) -> bytes:
    """The same extension, its `critical` written as DER wants it: FF, or not at all."""
    parts = elements(extension.content)
    if len(parts) == 3 and parts[1].tag == _BOOLEAN:
        oid, critical, value = parts
        is_critical = any(critical.content)
        return element(_SEQUENCE, oid.whole + (_CRITICAL if is_critical else b"") + value.whole)
    return extension.whole


def _tidy_algorithm(algorithm: Element) -> bytes:
    """The same algorithm; ECDSA has no parameters, but many write NULL as for RSA."""
    parts = elements(algorithm.content)
    is_padded = len(parts) == 2 and parts[0].tag == _OID and parts[1].tag == _NULL
    if is_padded and oid_text(parts[0].content).startswith(_ECDSA):
        return element(_SEQUENCE, parts[0].whole)
    return algorithm.whole


def tidy_ecdsa_signature(signature: bytes) -> bytes:
    """The same two numbers; some write them without the zero that keeps a high first bit from meaning a minus sign.

    Raises ValueError if it is not two numbers.
    """
    (pair,) = _shaped(elements(signature), (_SEQUENCE,), "an ECDSA signature")
    numbers = _shaped(elements(pair.content), (_INTEGER, _INTEGER), "an ECDSA signature")
    return element(_SEQUENCE, b"".join(_positive(number.content) for number in numbers))


def _positive(content: bytes) -> bytes:
    octets = content.lstrip(b"\0") or b"\0"
    return element(_INTEGER, b"\0" + octets if octets[0] >= _HIGH_BIT else octets)
