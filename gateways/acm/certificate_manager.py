"""AWS Certificate Manager through its own client: one call at a time, repeated only where repeating changes nothing.

| call | repeated | because |
| --- | --- | --- |
| describe, fetch, export | yes | they read |
| request | yes, the same to the byte | its token holds for an hour, and is made of every parameter |
| import under an ARN | yes | the same certificate again is the same certificate |
| import without an ARN, renew | only if the call never arrived | a second one would be a second certificate |

Source: facts on AWS Private CA 3.2 and 3.9, botocore's acm model. Never used against AWS itself.
"""

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore import exceptions as boto

from bfactors.ca import CaError, NotReady, Permanent, QuotaExhausted, Transient, next_delay_s
from bfactors.ports import Metrics

_CAUGHT = (boto.ClientError, boto.BotoCoreError, boto.HTTPClientError)
_NEVER_LEFT = (boto.ConnectTimeoutError, boto.ProxyConnectionError, boto.SSLError, boto.NoCredentialsError)
_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
)
_TOKEN_CHARS = 32
_MESSAGE_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmOrder:
    """A private certificate to be requested. `key_algorithm` as ACM names it: `EC_prime256v1`, `RSA_2048`."""

    authority_arn: str
    names: tuple[str, ...]
    key_algorithm: str

    @property
    def token(self) -> str:
        """Of every parameter: ACM answers a known token with the first certificate, whatever else is asked."""
        spelled = json.dumps([self.authority_arn, list(self.names), self.key_algorithm])
        return hashlib.sha256(spelled.encode()).hexdigest()[:_TOKEN_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmCertificate:
    """What ACM says of one ARN. An ARN outlives its certificates: what it names now is told by `serial_number` alone."""

    arn: str
    status: str
    kind: str
    """`PRIVATE`, `IMPORTED` or `AMAZON_ISSUED`."""
    key_algorithm: str
    names: tuple[str, ...]
    serial_number: str
    """Lower-case hex without leading zeros; empty until it is issued."""
    not_after: datetime | None
    in_use_by: tuple[str, ...]
    renewable: bool


class CertificateManager:
    """Of one account and region. `client` is an open `acm` client that never repeats by itself. One loop only."""

    def __init__(
        self,
        client: Any,
        metrics: Metrics,
        *,
        attempts: int = 4,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._attempts = attempts
        self._sleep = sleep
        self._uniform = uniform

    async def request(self, order: AcmOrder) -> str:
        """Ask for a certificate from our own CA; its ARN. It is not there yet. Raises CaError."""
        parameters: dict[str, Any] = {
            "DomainName": order.names[0],
            "CertificateAuthorityArn": order.authority_arn,
            "KeyAlgorithm": order.key_algorithm,
            "IdempotencyToken": order.token,
        }
        if len(order.names) > 1:
            parameters["SubjectAlternativeNames"] = list(order.names)
        return str((await self._call("request_certificate", parameters))["CertificateArn"])

    async def import_under(self, arn: str, chain_pem: str, key_pem: bytes) -> None:
        """Put a certificate in the place of the one this ARN names; load balancers that use it follow. Raises CaError."""
        await self._call("import_certificate", {"CertificateArn": arn, **_import(chain_pem, key_pem)})

    async def import_new(self, chain_pem: str, key_pem: bytes) -> str:
        """Import under a new ARN. Raises CaError; after one that may have arrived, look before asking again."""
        answer = await self._call("import_certificate", _import(chain_pem, key_pem), is_repeatable=False)
        return str(answer["CertificateArn"])

    async def describe(self, arn: str) -> AcmCertificate:
        """Raises CaError."""
        return _described((await self._call("describe_certificate", {"CertificateArn": arn}))["Certificate"])

    async def fetch(self, arn: str) -> str:
        """The chain, leaf first. Raises CaError; NotReady until it is issued."""
        answer = await self._call("get_certificate", {"CertificateArn": arn})
        return str(answer["Certificate"]) + str(answer.get("CertificateChain") or "")

    async def renew(self, arn: str) -> None:
        """Have ACM make a new one under the same ARN, now. Raises CaError; look at the serial number before asking again."""
        await self._call("renew_certificate", {"CertificateArn": arn}, is_repeatable=False)

    async def export(self, arn: str, passphrase: bytes) -> tuple[str, str]:
        """Chain and sealed private key, for a private certificate where the role allows it. Raises CaError."""
        parameters = {"CertificateArn": arn, "Passphrase": passphrase}
        answer = await self._call("export_certificate", parameters)
        return str(answer["Certificate"]) + str(answer.get("CertificateChain") or ""), str(
            answer["PrivateKey"]
        )

    async def _call(
        self, method: str, parameters: dict[str, Any], *, is_repeatable: bool = True
    ) -> dict[str, Any]:
        delay_s = 0.0
        for left in reversed(range(self._attempts)):
            try:
                return await self._once(method, parameters)
            except Transient as error:
                if not left or (error.may_have_happened and not is_repeatable):
                    raise
                delay_s = next_delay_s(delay_s, base_s=0.2, longest_s=5.0, uniform=self._uniform)
                await self._sleep(delay_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        outcome = "ok"
        try:
            answer: dict[str, Any] = await getattr(self._client, method)(**parameters)
        except _CAUGHT as problem:
            error = acm_error(problem)
            outcome = error.code
            raise error from problem
        finally:
            self._metrics.count("bf_ca_calls_total", operation=f"acm:{method}", outcome=outcome)
        return answer


def acm_error(problem: Exception) -> CaError:
    """The error of ours for one of botocore's; never with what was sent: an import carries a key."""
    if not isinstance(problem, boto.ClientError):
        never_left = isinstance(problem, _NEVER_LEFT)
        return Transient(type(problem).__name__, "ACM cannot be reached", may_have_happened=not never_left)
    error = problem.response.get("Error", {})
    code, message = str(error.get("Code", "Unknown")), str(error.get("Message", ""))[:_MESSAGE_CHARS]
    status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _THROTTLED or status == 429:
        return Transient(code, message)
    if code == "RequestInProgressException":
        return NotReady(code, message)
    if code == "LimitExceededException":
        return QuotaExhausted(code, message)
    if status >= 500:
        return Transient(code, message, may_have_happened=True)
    return Permanent(code, message)


def _import(chain_pem: str, key_pem: bytes) -> dict[str, Any]:
    """ACM wants the leaf apart from what stands above it."""
    leaf, mark, above = chain_pem.partition("-----END CERTIFICATE-----\n")
    parameters: dict[str, Any] = {"Certificate": (leaf + mark).encode(), "PrivateKey": key_pem}
    if above.strip():
        parameters["CertificateChain"] = above.encode()
    return parameters


def _described(detail: dict[str, Any]) -> AcmCertificate:
    ends = detail.get("NotAfter")
    serial = str(detail.get("Serial", "")).replace(":", "").lower().lstrip("0")
    return AcmCertificate(
        arn=str(detail["CertificateArn"]),
        status=str(detail.get("Status", "")),
        kind=str(detail.get("Type", "")),
        key_algorithm=str(detail.get("KeyAlgorithm", "")),
        names=tuple(detail.get("SubjectAlternativeNames", ())),
        serial_number=serial,
        not_after=ends.astimezone(UTC) if ends is not None else None,
        in_use_by=tuple(detail.get("InUseBy", ())),
        renewable=detail.get("RenewalEligibility") == "ELIGIBLE",
    )
