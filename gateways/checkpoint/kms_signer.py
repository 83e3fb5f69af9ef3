"""Checkpoints signed by AWS KMS: asymmetric keys (ECC_NIST_P256, SIGN_VERIFY) that never leave it.

Source: the service model of KMS in botocore (Sign, GetPublicKey). Proved against a stand-in, not against AWS itself.
"""

from collections.abc import Awaitable, Sequence
from typing import Any, Final

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from cryptography.hazmat.primitives import serialization

from bfactors.audit.note import NoteKey, NoteSignature
from bfactors.errors import SettingsError, Unavailable
from gateways.checkpoint.public_key import note_key

_CAUGHT: Final = (boto.ClientError, boto.BotoCoreError, boto.HTTPClientError, ResponseParserError)
_ALGORITHM: Final = "ECDSA_SHA_256"


class KmsSigner:
    """`bfactors.ports.NoteSigner`. `client` is an open aiobotocore client of `kms`; the loop is the client's."""

    def __init__(self, client: Any, keys: Sequence[tuple[NoteKey, str]]) -> None:
        self._client = client
        self._keys = keys
        self.keys: Sequence[NoteKey] = [key for key, _ in keys]

    @classmethod
    async def open(cls, client: Any, arns: Sequence[str], name: str) -> "KmsSigner":
        """Ask for the public keys. Raises Unavailable; SettingsError for a key that signs no notes."""
        keys: list[tuple[NoteKey, str]] = []
        for arn in arns:
            answer = await _asked(client.get_public_key(KeyId=arn))
            if _ALGORITHM not in answer.get("SigningAlgorithms", ()):
                raise SettingsError(f"the KMS key {arn} does not sign with {_ALGORITHM}")
            keys.append((note_key(name, serialization.load_der_public_key(answer["PublicKey"])), arn))
        return cls(client, keys)

    async def sign(self, text: str) -> Sequence[NoteSignature]:
        """With each key, in the order of the settings."""
        found: list[NoteSignature] = []
        for key, arn in self._keys:
            answer = await _asked(
                self._client.sign(
                    KeyId=arn, Message=text.encode(), MessageType="RAW", SigningAlgorithm=_ALGORITHM
                )
            )
            found.append(NoteSignature(name=key.name, key_id=key.key_id, signature=answer["Signature"]))
        return found


async def _asked(asking: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    try:
        return await asking
    except _CAUGHT as problem:
        code = type(problem).__name__
        if isinstance(problem, boto.ClientError):
            code = str(problem.response.get("Error", {}).get("Code", code))
        raise Unavailable("AWS KMS", code) from problem
