"""Private keys of checkpoints in a file (0600): each of its PEM blocks signs, so that a new key and an old one overlap."""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from bfactors.audit.note import NoteKey, NoteSignature
from bfactors.errors import SettingsError
from gateways.checkpoint.public_key import note_key

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
_PEM = re.compile(rb"-----BEGIN (?:EC )?PRIVATE KEY-----.*?-----END (?:EC )?PRIVATE KEY-----", re.DOTALL)


class FileSigner:
    """`bfactors.ports.NoteSigner` over the keys of a file."""

    def __init__(self, keys: Sequence[tuple[NoteKey, PrivateKey]]) -> None:
        self._keys = keys
        self.keys: Sequence[NoteKey] = [key for key, _ in keys]

    @classmethod
    def load(cls, path: Path, name: str) -> "FileSigner":
        """Raises SettingsError when it is missing, malformed, or open to others than its owner."""
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                blocks = _PEM.findall(file.read())
        except OSError as problem:
            raise SettingsError(
                f"the checkpoint key file {path} cannot be read: {problem.strerror}"
            ) from problem
        if mode & 0o077:
            raise SettingsError(
                f"the checkpoint key file {path} has mode {mode:04o}: others than its owner may read it"
            )
        if not blocks:
            raise SettingsError(f"the checkpoint key file {path} holds no private key as PEM")
        return cls([_read(block, name, path) for block in blocks])

    async def sign(self, text: str) -> Sequence[NoteSignature]:
        """With each key, in the order of the file."""
        return [
            NoteSignature(name=key.name, key_id=key.key_id, signature=_signature(private, text.encode()))
            for key, private in self._keys
        ]


def new_key() -> bytes:
    """A random Ed25519 key as PEM, for a file of its own."""
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(block: bytes, name: str, path: Path) -> tuple[NoteKey, PrivateKey]:
    try:
        private = serialization.load_pem_private_key(block, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not the problem's text, which may hold part of a key.
        raise SettingsError(f"a key in the checkpoint key file {path} cannot be read") from None
    key = note_key(name, private.public_key())
    assert isinstance(private, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey)
    return key, private


def _signature(private: PrivateKey, content: bytes) -> bytes:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(content)
    return private.sign(content, ec.ECDSA(hashes.SHA256()))
