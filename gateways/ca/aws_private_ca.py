"""AWS Private CA through its own client, one call at a time: limits, circuits, errors and metrics, no hidden repeats.

Signing is asked for with an explicit template, absolute dates and the order's token, so that an order sent again is the
same request to the byte and names the same certificate within the service's window of five minutes.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any

from bfactors.ca import (
    TOKEN_MAX_CHARS,
    AuthorityDescription,
    CaError,
    IssuedChain,
    Permanent,
    SigningOrder,
    Transient,
)
from bfactors.ports import Clock, Metrics
from bfactors.purpose import purposes
from bfactors.urgency import URGENT_REASONS, Urgency
from gateways.ca.authority_chain import described
from gateways.ca.aws_error import CAUGHT, ca_error
from gateways.ca.aws_session import AwsClients, AwsSettings
from gateways.ca.call_limits import CallLimits
from gateways.ca.circuit import Circuit
from gateways.ca.lane import run_on
from gateways.ca.retry import RetryPolicy

_REASONS = URGENT_REASONS | {
    "unspecified",
    "affiliation_changed",
    "superseded",
    "cessation_of_operation",
    "privilege_withdrawn",
}


class AwsPrivateCa:
    """`CertificateAuthority` and `Revoker` for every CA that one account, region and role reach.

    Made and closed on the loop that is to own its sockets; its methods may be called from any lane.
    """

    def __init__(
        self,
        settings: AwsSettings,
        *,
        clock: Clock,
        metrics: Metrics,
        limits: CallLimits,
        retry: RetryPolicy,
        circuit: Callable[[], Circuit] = Circuit,
        revoker: AwsSettings | None = None,
    ) -> None:
        """`revoker`: who revokes, where that is somebody else than who issues."""
        self._clock = clock
        self._metrics = metrics
        self._limits = limits
        self._retry = retry
        self._circuits: defaultdict[tuple[str, str], Circuit] = defaultdict(circuit)
        self._clients = AwsClients(settings)
        self._revoking = AwsClients(revoker) if revoker is not None else self._clients
        self._loop = asyncio.get_running_loop()
        self._pca: dict[str, Any] = {}

    async def start(self) -> None:
        """Make the clients; no call leaves."""
        issuing = await self._clients.open("acm-pca")
        revoking = issuing if self._revoking is self._clients else await self._revoking.open("acm-pca")
        self._pca = dict.fromkeys(_METHODS, issuing) | {"RevokeCertificate": revoking}

    async def close(self) -> None:
        """Close the connections; calls under way end with Transient."""
        self._pca = {}
        await self._clients.close()
        await self._revoking.close()

    # ------------------------------------------------------------ CertificateAuthority

    async def issue(self, order: SigningOrder) -> str:
        """Returns the certificate's ARN."""
        parameters = signing_parameters(order)

        def in_time() -> None:
            if self._clock.now() >= order.call_before:
                raise Transient("CallWindowPassed", "the order may not be sent any more")

        answer = await self._from_any_lane(
            "IssueCertificate", order.authority_arn, parameters, urgency=order.urgency, last_check=in_time
        )
        return str(answer["CertificateArn"])

    async def fetch(
        self, authority_arn: str, external_ref: str, *, urgency: Urgency = Urgency.ROUTINE
    ) -> IssuedChain:
        """GetCertificate. The service's chain ends with the root."""
        parameters = {"CertificateAuthorityArn": authority_arn, "CertificateArn": external_ref}
        answer = await self._from_any_lane("GetCertificate", authority_arn, parameters, urgency=urgency)
        return IssuedChain(
            leaf_pem=str(answer["Certificate"]), issuers_pem=str(answer.get("CertificateChain") or "")
        )

    async def describe(self, authority_arn: str) -> AuthorityDescription:
        """Two reads, each repeated a few times when the service is away."""
        parameters = {"CertificateAuthorityArn": authority_arn}

        def read(operation: str) -> Callable[[], Any]:
            return lambda: self._from_any_lane(operation, authority_arn, parameters)

        found = await self._retry.run(read("DescribeCertificateAuthority"))
        chain = await self._retry.run(read("GetCertificateAuthorityCertificate"))
        return described(found["CertificateAuthority"], chain)

    # ------------------------------------------------------------ Revoker

    async def revoke(
        self, authority_arn: str, serial_number: str, reason: str, *, is_incident: bool = False
    ) -> None:
        """A compromised key, and what an incident wants, go before everything routine."""
        if reason not in _REASONS:
            raise Permanent("UnknownReason", f"{reason!r} is no reason to revoke that the CA knows")
        parameters = {
            "CertificateAuthorityArn": authority_arn,
            "CertificateSerial": colon_hex(serial_number),
            "RevocationReason": reason.upper(),
        }
        urgency = Urgency.INCIDENT if is_incident or reason in URGENT_REASONS else Urgency.ROUTINE
        await self._from_any_lane("RevokeCertificate", authority_arn, parameters, urgency=urgency)

    # ------------------------------------------------------------ what else belongs to the CA

    async def room_s(self, authority_arn: str, urgency: Urgency) -> float:
        """In how many seconds a certificate could be asked for in that hurry, as all nodes' calls stand; 0: now."""
        return await run_on(self._loop, self._limits.wait_s(authority_arn, "IssueCertificate", urgency))

    async def ask(self, operation: str, authority_arn: str, **parameters: Any) -> dict[str, Any]:
        """One further call about a CA, under the same limits, circuits and errors; for this room's own files."""
        return await self._from_any_lane(
            operation, authority_arn, {"CertificateAuthorityArn": authority_arn, **parameters}
        )

    # ------------------------------------------------------------ inside

    async def _from_any_lane(
        self,
        operation: str,
        authority_arn: str,
        parameters: dict[str, Any],
        *,
        urgency: Urgency = Urgency.ROUTINE,
        last_check: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        return await run_on(self._loop, self._call(operation, authority_arn, parameters, urgency, last_check))

    async def _call(
        self,
        operation: str,
        authority_arn: str,
        parameters: dict[str, Any],
        urgency: Urgency,
        last_check: Callable[[], None],
    ) -> dict[str, Any]:
        circuit = self._circuits[authority_arn, operation]
        outcome = "cancelled"
        try:
            circuit.check(self._clock.monotonic())
            await self._limits.enter(authority_arn, operation, urgency)
            last_check()
            answer = await self._sent(operation, parameters)
        except CaError as error:
            outcome = error.code
            raise
        else:
            outcome = "ok"
        finally:
            self._metrics.count("bf_ca_calls_total", operation=operation, outcome=outcome)
        return answer

    async def _sent(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        circuit = self._circuits[parameters["CertificateAuthorityArn"], operation]
        client = self._pca.get(operation)
        if client is None:
            raise Transient("NotStarted", "the client of AWS Private CA is closed")
        began = self._clock.monotonic()
        method, member = _METHODS[operation]
        try:
            answer: dict[str, Any] = await getattr(client, method)(**parameters)
        except CAUGHT as problem:
            error = ca_error(problem)
            circuit.failed(error, self._clock.monotonic())
            raise error from problem
        finally:
            self._metrics.observe("bf_ca_call_seconds", self._clock.monotonic() - began, operation=operation)
        if member not in answer:  # botocore takes any body with status 200 for an answer, a proxy's page too
            raise Transient("MalformedAnswer", f"an answer without {member}", may_have_happened=True)
        circuit.succeeded()
        return answer


# What each operation is called in the client, and what its answer cannot be without.
_METHODS = {
    "IssueCertificate": ("issue_certificate", "CertificateArn"),
    "GetCertificate": ("get_certificate", "Certificate"),
    "RevokeCertificate": ("revoke_certificate", "ResponseMetadata"),
    "DescribeCertificateAuthority": ("describe_certificate_authority", "CertificateAuthority"),
    "GetCertificateAuthorityCertificate": ("get_certificate_authority_certificate", "Certificate"),
    "CreateCertificateAuthorityAuditReport": ("create_certificate_authority_audit_report", "AuditReportId"),
    "DescribeCertificateAuthorityAuditReport": (
        "describe_certificate_authority_audit_report",
        "AuditReportStatus",
    ),
}


_TAKES_EXTENSIONS = frozenset(
    spec.template_without_usage for spec in purposes().values() if spec.template_without_usage is not None
)
_KEY_USAGES = {"digital_signature": "DigitalSignature", "key_agreement": "KeyAgreement"}


def signing_parameters(order: SigningOrder) -> dict[str, Any]:
    """IssueCertificate's parameters: nothing in them depends on when or how often they are sent. Raises Permanent."""
    if not 1 <= len(order.token) <= TOKEN_MAX_CHARS:
        raise Permanent("TokenLength", f"an idempotency token has 1 to {TOKEN_MAX_CHARS} characters")
    partition = order.authority_arn.split(":")[1:2] or ["aws"]
    extensions = {"ApiPassthrough": _usage(order)} if order.template in _TAKES_EXTENSIONS else {}
    return {
        "CertificateAuthorityArn": order.authority_arn,
        "Csr": order.csr_pem.encode(),
        "SigningAlgorithm": order.signing_algorithm,
        "TemplateArn": f"arn:{partition[0]}:acm-pca:::template/{order.template}",
        "Validity": _absolute(order.not_after),
        "ValidityNotBefore": _absolute(order.not_before),
        "IdempotencyToken": order.token,
        **extensions,
    }


def _usage(order: SigningOrder) -> dict[str, Any]:
    """What a template without extensions of its own is given: what the key may do, and nothing else."""
    return {"Extensions": {"KeyUsage": {_KEY_USAGES[usage]: True for usage in order.key_usage}}}


def _absolute(at: datetime) -> dict[str, Any]:
    return {"Type": "ABSOLUTE", "Value": int(at.timestamp())}


def colon_hex(serial_number: str) -> str:
    """`1a2b3` as `01:a2:b3`, the spelling in the service's own examples. Raises Permanent."""
    try:
        digits = f"{int(serial_number, 16):x}"
    except ValueError:
        raise Permanent("MalformedSerial", "the serial number is not hexadecimal") from None
    digits = digits.zfill(len(digits) + len(digits) % 2)
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
