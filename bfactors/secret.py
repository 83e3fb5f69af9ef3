"""What a sealed secret is known by outside its seal, and the key it is sealed under."""

import msgspec

from bfactors.disclosed import Disclosed


class SecretName(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a secret but the secret. Its seal covers all four, so no row can pass for another's.

    `purpose` says what it is for, e.g. `authorization-key`; `charger_id` is whose it is, "" for nobody's.
    """

    secret_id: str
    purpose: str
    charger_id: str
    generation: int = 1


class OpenedSecret(msgspec.Struct, frozen=True):
    """A secret out of its seal; prints only its name."""

    name: SecretName
    disclosed: Disclosed


class SealingKey(msgspec.Struct, frozen=True):
    """A key of 32 bytes for AES-256-GCM. `wrapped` is what its custody needs to find it again, kept beside the sealed."""

    key_id: str
    key: bytes
    wrapped: bytes = b""

    def __repr__(self) -> str:
        return f"SealingKey({self.key_id})"
