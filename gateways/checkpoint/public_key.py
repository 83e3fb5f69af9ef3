"""Public keys of checkpoints: read from PEM or verifier lines, and what they signed verified."""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from bfactors.audit.note import NoteKey, SignedNote, is_key_name
from bfactors.errors import SettingsError

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_VERIFIER = re.compile(r"^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$", re.MULTILINE)


class Keyring:
    """`bfactors.ports.NoteVerifier` over the keys it is given."""

    def __init__(self, keys: Iterable[NoteKey]) -> None:
        self._keys = {(key.name, key.key_id): (key, public_key(key)) for key in keys}

    @property
    def keys(self) -> Sequence[NoteKey]:
        """Whom this one believes."""
        return [key for key, _ in self._keys.values()]

    def signed_by(self, note: SignedNote) -> Sequence[NoteKey]:
        """Source: the `signed-note` specification of C2SP, for keys that are unknown and signatures that fail."""
        found: list[NoteKey] = []
        for signature in note.signatures:
            known = self._keys.get((signature.name, signature.key_id))
            if known is None:
                continue
            key, public = known
            try:
                if isinstance(public, ed25519.Ed25519PublicKey):
                    public.verify(signature.signature, note.text.encode())
                else:
                    public.verify(signature.signature, note.text.encode(), ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                return ()
            found.append(key)
        return found


def note_key(name: str, public: object) -> NoteKey:
    """A public key under a name. Raises SettingsError for a kind that signs no notes here."""
    if not is_key_name(name):
        raise SettingsError(
            f"{name!r} cannot name a checkpoint key: it must be printable without spaces and plus signs"
        )
    if isinstance(public, ed25519.Ed25519PublicKey):
        return NoteKey(name=name, algorithm="ed25519", der=_der(public))
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return NoteKey(name=name, algorithm="ecdsa-p256", der=_der(public))
    raise SettingsError("a checkpoint key must be Ed25519 or ECDSA on P-256")


def public_key(key: NoteKey) -> PublicKey:
    """Raises SettingsError when it is none."""
    try:
        found = serialization.load_der_public_key(key.der)
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise SettingsError("a checkpoint's public key cannot be read") from problem
    note_key(key.name, found)
    assert isinstance(found, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey)
    return found


def pem_of(key: NoteKey) -> str:
    """As openssl reads it."""
    return (
        public_key(key)
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def read_keys(content: str, name: str) -> list[NoteKey]:
    """Every key in a text, as PEM (signing under `name`) or as verifier lines. Raises SettingsError when there is none."""
    found: list[NoteKey] = []
    for pem in _PEM.findall(content):
        try:
            found.append(note_key(name, serialization.load_pem_public_key(pem.encode())))
        except (ValueError, UnsupportedAlgorithm) as problem:
            raise SettingsError("a checkpoint's public key cannot be read") from problem
    for verifier_name, key_id, coded in _VERIFIER.findall(_PEM.sub("", content)):
        key = _of_verifier(verifier_name, coded)
        if key.key_id.hex() != key_id:
            raise SettingsError(f"the verifier line of {verifier_name} does not name its own key")
        found.append(key)
    if not found:
        raise SettingsError("no public key is in it, neither as PEM nor as a verifier line")
    return found


def _of_verifier(name: str, coded: str) -> NoteKey:
    try:
        raw = base64.b64decode(coded, validate=True)
        if raw[:1] == b"\x01":
            return note_key(name, ed25519.Ed25519PublicKey.from_public_bytes(raw[1:]))
        return note_key(name, serialization.load_der_public_key(raw[1:]))
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as problem:
        raise SettingsError(f"the verifier line of {name} cannot be read") from problem


def _der(public: PublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
