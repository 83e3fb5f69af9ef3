"""The few secrets of our own that are files: the pepper of AuthorizationKeys, and server keys. Mode 0600, never logged."""

import hashlib
import os
import secrets
from pathlib import Path

from bfactors.admission import KeyVerifier
from bfactors.errors import SettingsError
from bfactors.identity_rule import VerifyKey, key_verifier, verify_with

PEPPER_BYTES = 32
AUTHORIZATION_KEY_BYTES = 16


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
