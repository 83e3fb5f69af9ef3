"""Sealing keys from AWS KMS: a data key for every secret, kept beside it encrypted under a key that never leaves AWS.

Source: the service model of KMS in botocore (GenerateDataKey, Decrypt). Proved against a stand-in, not against AWS itself.
"""

from collections.abc import Awaitable
from typing import Any, Final

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from bfactors.errors import LedgerCorrupt, Unavailable
from bfactors.secret import SealingKey

CONTEXT: Final = {"system": "betterfleet", "use": "secret"}
"""Bound to every data key: KMS decrypts none for another use, its log names ours, and a key policy can demand it."""

_CAUGHT: Final = (boto.ClientError, boto.BotoCoreError, boto.HTTPClientError, ResponseParserError)
_NOT_OURS: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_KEY_BYTES: Final = 32


class KmsCustody:
    """`bfactors.ports.KeyCustody`. `client` is an open aiobotocore client of `kms`; the loop is the client's.

    Only keys named here are used. Else whoever writes to the database could have us open what he sealed under a key of
    his own. AWS's own rotation keeps a key's ARN; to change to another key, name the old one among `earlier_arns`.
    """

    def __init__(self, client: Any, key_arn: str, earlier_arns: tuple[str, ...] = ()) -> None:
        self._client = client
        self._key_arn = key_arn
        self._arns = frozenset({key_arn, *earlier_arns})

    async def sealing_key(self) -> SealingKey:
        """A new data key. Raises Unavailable for whatever KMS or the way to it says no with."""
        answer = await self._asked(
            self._client.generate_data_key(
                KeyId=self._key_arn, NumberOfBytes=_KEY_BYTES, EncryptionContext=CONTEXT
            )
        )
        return SealingKey(self._key_arn, answer["Plaintext"], answer["CiphertextBlob"])

    async def opening_key(self, key_id: str, wrapped: bytes) -> SealingKey:
        """Raises Unavailable, and LedgerCorrupt for a data key that KMS did not wrap so."""
        if key_id not in self._arns:
            raise Unavailable(f"the sealing key {key_id}", "it is not among the KMS keys of the settings")
        answer = await self._asked(
            self._client.decrypt(CiphertextBlob=wrapped, KeyId=key_id, EncryptionContext=CONTEXT)
        )
        return SealingKey(key_id, answer["Plaintext"], wrapped)

    async def _asked(self, asking: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await asking
        except _CAUGHT as problem:
            code = type(problem).__name__
            if isinstance(problem, boto.ClientError):
                code = str(problem.response.get("Error", {}).get("Code", code))
            if code in _NOT_OURS:
                raise LedgerCorrupt("the data key of a secret is not as KMS wrapped it") from problem
            raise Unavailable("AWS KMS", code) from problem
