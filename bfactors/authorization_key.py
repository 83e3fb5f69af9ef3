"""The key of security profiles 1 and 2: what each OCPP version calls a password, writes on the wire and puts in the header.

Source: A00.FR.205/304 (2.x: UTF-8 text of 16 to 40 characters, with the 2025 errata and 2.1 up to 64), A01 of the 1.6
security whitepaper (16 to 20 bytes, written as hex over OCPP, sent as the bytes themselves in the header).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Self

from bfactors.admission import KeyVerifier
from bfactors.disclosed import Disclosed
from bfactors.identity_rule import key_verifier
from bfactors.key_weakness import Weakness, weakness_of

Version = Literal["1.6", "2.0.1", "2.1"]
Origin = Literal["generated", "given"]
VERSIONS: tuple[Version, ...] = ("1.6", "2.0.1", "2.1")
SECRET_PURPOSE = "authorization-key"  # noqa: S105 - what the sealed store calls such a secret

FEWEST_OCTETS = 16
"""128 bits, for every version."""
MOST_OCTETS: dict[Version, int] = {"1.6": 20, "2.0.1": 20, "2.1": 32}
"""As hex they fill what the version allows: 40 digits, in 2.1 64."""
FEWEST_CHARS = 16
MOST_CHARS: dict[Version, int] = {"1.6": 40, "2.0.1": 40, "2.1": 64}

HEX_TEXT_PASSWORD = "hex-text-password"  # noqa: S105 - a flag, not a password
"""A 1.6 charger that puts the hex digits in the header instead of the bytes they stand for."""

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){16,20}")
_VISIBLE_ASCII = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True)
class HeaderCandidate:
    """A byte string that may stand behind the colon of an HTTP Basic header. `flag` names what is odd about it."""

    password: bytes = field(repr=False)
    flag: str | None = None


class AuthorizationKey:
    """A key in clear: it prints as nothing, and neither msgspec, JSON, `asdict` nor pickle will write it down.

    Made from random bytes it suits every version that has room for it; text somebody else chose suits the version it was
    checked for. Two keys are equal when their texts are.
    """

    __slots__ = ("_octets", "_text", "origin")
    __hash__ = None  # type: ignore[assignment]  # a key is no key of a dictionary

    def __init__(self, text: str, origin: Origin) -> None:
        self._text = text
        self._octets = _octets_of(text)
        self.origin = origin

    @classmethod
    def from_random(cls, octets: bytes, version: Version) -> Self:
        """The key made of these random bytes, 16 to 20 of them (2.1: to 32). Raises ValueError for another number."""
        if not FEWEST_OCTETS <= len(octets) <= MOST_OCTETS[version]:
            raise ValueError(
                f"a key for OCPP {version} is made of {FEWEST_OCTETS} to {MOST_OCTETS[version]} bytes"
            )
        return cls(octets.hex(), "generated")

    @classmethod
    def from_text(cls, text: str, version: Version, origin: Origin = "given") -> Self:
        """A key as somebody wrote it down. Raises ValueError with `key_problem`, never with the text."""
        problem = key_problem(text, version)
        if problem is not None:
            raise ValueError(problem)
        return cls(text, origin)

    @classmethod
    def from_disclosed(cls, disclosed: Disclosed, version: Version, origin: Origin = "generated") -> Self:
        """The key that `disclosed` gave to the sealed store. Raises ValueError."""
        return cls.from_text(disclosed.value.decode(), version, origin)

    @property
    def disclosed(self) -> Disclosed:
        """For the sealed store, and from there for the one frame that carries it."""
        return Disclosed(self._text.encode())

    def wire_text(self, version: Version) -> str:
        """What the frame to the charger says. Raises ValueError where the version has no way to write this key."""
        if version == "1.6":
            octets = self._need_octets()
            return self._text if _HEX.fullmatch(self._text) else octets.hex()
        problem = key_problem(self._text, version)
        if problem is not None:
            raise ValueError(problem)
        return self._text

    def header_candidates(self, version: Version) -> tuple[HeaderCandidate, ...]:
        """What a charger of that version may present, the proper form first. Raises ValueError as `wire_text`."""
        text = self.wire_text(version).encode()
        proper = self._need_octets() if version == "1.6" else text
        return tuple(
            HeaderCandidate(password, presentation_flag(version, password))
            for password in dict.fromkeys((proper, text))
        )

    def verifiers(
        self,
        versions: Iterable[Version],
        *,
        pepper_id: str,
        pepper: bytes,
        generation: int,
        state: Literal["active", "pending"] = "active",
    ) -> tuple[KeyVerifier, ...]:
        """What admission compares with, one for each byte string a charger of these versions may present."""
        passwords = dict.fromkeys(
            candidate.password for version in versions for candidate in self.header_candidates(version)
        )
        return tuple(
            KeyVerifier(generation, pepper_id, key_verifier(pepper, password), state)
            for password in passwords
        )

    def fits(self, version: Version) -> bool:
        """Whether that version has a way to write it."""
        return key_problem(self._text, version) is None

    def weakness(
        self, *, identities: Iterable[str] = (), factory_keys: Iterable[bytes] = ()
    ) -> Weakness | None:
        """Why this key should be replaced, or None; see `bfactors.key_weakness`."""
        return weakness_of(
            self._text.encode(),
            identities=identities,
            factory_keys=factory_keys,
            is_random=self.origin == "generated",
        )

    def _need_octets(self) -> bytes:
        if self._octets is None:
            raise ValueError("this key has no form in OCPP 1.6")
        return self._octets

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuthorizationKey) and self._text == other._text

    def __repr__(self) -> str:
        return f"AuthorizationKey(***, {self.origin})"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("an AuthorizationKey is not to be copied or stored")


def key_problem(text: str, version: Version) -> str | None:
    """Why a text cannot be an AuthorizationKey of that version, or None if it can. Never repeats the text."""
    if version == "1.6":
        if _octets_of(text) is None or not text.isprintable():
            return "must be 32 to 40 hex digits (16 to 20 bytes), or 16 to 20 bytes of text"
        return None
    if not FEWEST_CHARS <= len(text) <= MOST_CHARS[version]:
        return f"must have {FEWEST_CHARS} to {MOST_CHARS[version]} characters"
    if version == "2.0.1" and not _VISIBLE_ASCII.fullmatch(text):
        return "must consist of visible ASCII characters, without spaces"
    if not text.isprintable() or text != text.strip():
        return "must be printable, without spaces at its ends"
    return None


def versions_for(key: AuthorizationKey) -> tuple[Version, ...]:
    """The versions in which a charger can be told this key."""
    return tuple(version for version in VERSIONS if key.fits(version))


def presentation_flag(version: Version, password: bytes) -> str | None:
    """What is odd about a password as it came in the header, told without knowing the key."""
    is_hex_text = version == "1.6" and password.isascii() and _HEX.fullmatch(password.decode("ascii"))
    return HEX_TEXT_PASSWORD if is_hex_text else None


def _octets_of(text: str) -> bytes | None:
    """The bytes a 1.6 charger would hold: what hex digits stand for, else the text itself if it has the right size."""
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    octets = text.encode("utf-8", "surrogatepass")
    return octets if FEWEST_OCTETS <= len(octets) <= MOST_OCTETS["1.6"] else None
