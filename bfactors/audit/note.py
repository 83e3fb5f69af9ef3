"""Signed notes: a text with signatures below it that any key may have made. No cryptography here, only the form.

    <text, ends in a line break>
    <empty line>
    — <key name> <base64 of 4 bytes of key id, then the signature>

Source: the `signed-note` specification of C2SP. Ed25519 keys and ECDSA keys on P-256 are known here.
"""

import base64
import binascii
from hashlib import sha256
from typing import Literal

import msgspec

from bfactors.errors import MalformedNote

Algorithm = Literal["ed25519", "ecdsa-p256"]

NOTE_MAX_BYTES = 16_384
_DASH = "\u2014 "
_TYPE: dict[Algorithm, bytes] = {"ed25519": b"\x01", "ecdsa-p256": b"\x02"}


class NoteKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key under the name it signs by. `der` is its SubjectPublicKeyInfo."""

    name: str
    algorithm: Algorithm
    der: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that name it in a note; no proof of anything."""
        if self.algorithm == "ed25519":
            return sha256(self.name.encode() + b"\n\x01" + self._bare).digest()[:4]
        return sha256(self.der).digest()[:4]

    @property
    def verifier(self) -> str:
        """One line that note verifiers are configured with."""
        coded = base64.b64encode(_TYPE[self.algorithm] + self._bare).decode()
        return f"{self.name}+{self.key_id.hex()}+{coded}"

    @property
    def fingerprint_sha256(self) -> str:
        """Of the SubjectPublicKeyInfo, lower hex: what two people compare over the telephone."""
        return sha256(self.der).hexdigest()

    @property
    def _bare(self) -> bytes:
        return self.der[-32:] if self.algorithm == "ed25519" else self.der


class NoteSignature(msgspec.Struct, frozen=True, kw_only=True):
    """One line below a note's text."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


class SignedNote(msgspec.Struct, frozen=True, kw_only=True):
    """A note taken apart. Its text means nothing until a trusted key's signature was verified."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"


def is_key_name(name: str) -> bool:
    """Whether a key may sign by it: printable ASCII without spaces and plus signs."""
    return bool(name) and name.isascii() and name.isprintable() and not set(name) & {" ", "+"}


def parse_note(content: str) -> SignedNote:
    """Take a note apart. Raises MalformedNote."""
    if len(content) > NOTE_MAX_BYTES:
        raise MalformedNote(f"longer than {NOTE_MAX_BYTES} characters")
    text, separator, below = content.rpartition("\n\n")
    if not separator or not below.endswith("\n"):
        raise MalformedNote("it has no signatures below an empty line")
    if any(ord(character) < 32 and character != "\n" for character in content):
        raise MalformedNote("it holds control characters")
    return SignedNote(text=f"{text}\n", signatures=tuple(_signature(line) for line in below[:-1].split("\n")))


def _signature(line: str) -> NoteSignature:
    name, _, coded = line.removeprefix(_DASH).partition(" ")
    try:
        raw = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not line.startswith(_DASH) or not name or len(raw) < 5:
        raise MalformedNote("a line below its text is no signature")
    return NoteSignature(name=name, key_id=raw[:4], signature=raw[4:])
