"""The few secrets of our own that are files: the pepper of AuthorizationKeys, sealing keys, server keys. Mode 0600, never
logged.
"""

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from bfactors.admission import KeyVerifier
from bfactors.authorization_key import AuthorizationKey, Version
from bfactors.errors import SettingsError, Unavailable
from bfactors.identity_rule import VerifyKey, key_verifier, verify_with
from bfactors.pseudonym import PseudonymKey
from bfactors.secret import SealingKey

PEPPER_BYTES = 32
AUTHORIZATION_KEY_BYTES = 16
SEALING_KEY_BYTES = 32
_VERSIONS: tuple[Version, ...] = ("1.6", "2.0.1", "2.1")


def write_private(path: Path, content: bytes) -> None:
    """Write a secret so that nobody else can ever have read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class Pepper:
    """The key AuthorizationKeys are kept under, and what is minted and verified with it."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self.pepper_id = hashlib.sha256(b"pepper-id" + value).hexdigest()[:12]

    @classmethod
    def load(cls, path: Path, *, create: bool) -> "Pepper":
        """Raises SettingsError when it cannot be read."""
        if create and not path.exists():
            write_private(path, secrets.token_bytes(PEPPER_BYTES).hex().encode())
        try:
            value = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except (OSError, ValueError) as problem:
            raise SettingsError(
                f"the pepper file {path} cannot be read: {type(problem).__name__}"
            ) from problem
        if len(value) < PEPPER_BYTES:
            raise SettingsError(f"the pepper file {path} holds fewer than {PEPPER_BYTES} bytes")
        return cls(value)

    def verify_key(self) -> VerifyKey:
        """What the gateway checks Basic passwords with."""
        return verify_with({self.pepper_id: self._value})

    def mint(self) -> tuple[str, KeyVerifier]:
        """A new random key, as the charger is told it, with its verifier. 128 bits as 32 hex characters."""
        text = secrets.token_hex(AUTHORIZATION_KEY_BYTES)
        return text, self.verifier(text)

    def verifier(self, text: str, generation: int = 1) -> KeyVerifier:
        """The verifier of a key somebody else chose."""
        return KeyVerifier(
            generation=generation,
            pepper_id=self.pepper_id,
            verifier=key_verifier(self._value, text.encode()),
            state="active",
        )

    def forms(self, text: str, versions: Sequence[str]) -> tuple[KeyVerifier, ...]:
        """The same key in the other forms that chargers of these versions may present it in (1.6: a hex text's bytes)."""
        plain = self.verifier(text)
        found: list[KeyVerifier] = []
        for version in _VERSIONS:
            if version in versions:
                with contextlib.suppress(
                    ValueError
                ):  # no key of that version: it stands for nothing but its text
                    key = AuthorizationKey.from_text(text, version)
                    found += self.verifiers_of(key, (version,), generation=plain.generation)
        return tuple(dict.fromkeys(form for form in found if form.verifier != plain.verifier))

    def verifiers_of(
        self,
        key: AuthorizationKey,
        versions: Iterable[Version],
        *,
        generation: int,
        state: Literal["active", "pending"] = "active",
    ) -> tuple[KeyVerifier, ...]:
        """What admission compares a key with: one for each form that chargers of these versions may present."""
        return key.verifiers(
            versions, pepper_id=self.pepper_id, pepper=self._value, generation=generation, state=state
        )


class SealingKeyFile:
    """`bfactors.ports.KeyCustody` from a file with a key of 32 bytes in hex on each line: the last seals, all open.

    A line appended while the system runs is found when a secret names it, but what is sealed with changes only at a start:
    every core can then open what the first of them seals anew. A line may go once nothing sealed under it is left.
    """

    def __init__(self, path: Path, keys: dict[str, SealingKey]) -> None:
        self._path = path
        self._keys = keys
        self._newest = next(reversed(keys.values()))

    @classmethod
    def load(cls, path: Path) -> "SealingKeyFile":
        """Raises SettingsError when it is missing, malformed, or open to others than its owner."""
        return cls(path, _sealing_keys(path))

    @staticmethod
    def make(path: Path) -> None:
        """A file with one random key, unless there is a file already."""
        if not path.exists():
            write_private(path, f"{secrets.token_bytes(SEALING_KEY_BYTES).hex()}\n".encode())

    async def sealing_key(self) -> SealingKey:
        """The key that was in the last line at the start."""
        return self._newest

    async def opening_key(self, key_id: str, wrapped: bytes) -> SealingKey:
        """Raises Unavailable when no line has it."""
        if key_id not in self._keys:
            try:
                self._keys |= _sealing_keys(self._path)
            except SettingsError as problem:
                raise Unavailable(f"the sealing key {key_id}", str(problem)) from problem
        if key_id not in self._keys:
            raise Unavailable(f"the sealing key {key_id}", f"no line of {self._path} has it")
        return self._keys[key_id]


def make_pseudonym_keys(path: Path) -> None:
    """A file with one random key, unless there is a file already."""
    SealingKeyFile.make(path)


def pseudonym_keys(path: Path) -> tuple[PseudonymKey, ...]:
    """A key of 32 bytes in hex on each line: the last names what is new, what an earlier one named is found.

    A line must stay for as long as anything is named under it: another key gives the same VIN another name.
    Raises SettingsError.
    """
    return tuple(PseudonymKey.of(value) for value in _keys_in(path, "pseudonym"))


def _sealing_keys(path: Path) -> dict[str, SealingKey]:
    """In the order of the lines."""
    values = _keys_in(path, "sealing")
    return {key.key_id: key for key in (SealingKey(_sealing_key_id(value), value) for value in values)}


def _keys_in(path: Path, what: str) -> list[bytes]:
    """Raises SettingsError, which shows nothing of the file."""
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise SettingsError(
                    f"the {what} key file {path} has mode {mode:04o}: others than its owner may read it"
                )
            lines = file.read().split()
        values = [bytes.fromhex(line) for line in lines]
    except (OSError, ValueError) as problem:
        # Not the problem's text, which may hold part of a key.
        raise SettingsError(f"the {what} key file {path} cannot be read: {type(problem).__name__}") from None
    if not values or any(len(value) != SEALING_KEY_BYTES for value in values):
        raise SettingsError(
            f"the {what} key file {path} must hold keys of {SEALING_KEY_BYTES} bytes in hex, one on each line"
        )
    return values


def _sealing_key_id(value: bytes) -> str:
    return hashlib.sha256(b"sealing-key-id" + value).hexdigest()[:12]
