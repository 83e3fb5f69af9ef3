"""Asking AWS what a role could do, through IAM's simulation: nothing is called for real, and nothing can come of asking.

A role that may not ask is looked at with one call that reads: DescribeCertificateAuthority on other realms' CAs, which must be
denied. Nothing that writes is ever tried, malformed on purpose or not: nobody promises in which order AWS checks.
Source: IAM API, SimulatePrincipalPolicy (in botocore's model); facts on AWS Private CA 3.6.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bfactors.aws_duty import Duty, Question, context_of, foreign_authorities, questions
from bfactors.ca import CaError, Permanent
from gateways.ca.aws_error import CAUGHT, ca_error
from gateways.ca.aws_session import AwsClients, AwsSettings

_SESSION = re.compile(r"arn:(?P<partition>[\w-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What is known of a role: what it could do that it must not, and why that may not be all."""

    findings: tuple[str, ...] = ()
    unverified: str | None = None


class RoleProbe:
    """Of one role and its duty. Made and used on one loop."""

    def __init__(self, duty: Duty, settings: AwsSettings) -> None:
        self.duty = duty
        self._settings = settings
        self._clients = AwsClients(settings)
        self._open: dict[str, Any] = {}

    async def close(self) -> None:
        """Close the connections."""
        self._open = {}
        await self._clients.close()

    async def look(self, authorities: Mapping[str, frozenset[str]]) -> Probed:
        """Ask everything. `authorities`: ARNs of issuing CAs by realm. Raises CaError (Transient): nothing is known yet."""
        principal = await self.principal_arn()
        if principal.endswith(":root"):
            return Probed(findings=(f"aws-role:{self.duty.name}:is-the-root-user ({principal})",))
        found: list[str] = []
        try:
            for question in questions(self.duty, authorities, principal):
                allowed = await self._allowed(principal, question)
                found += [question.found(self.duty.name, action) for action in allowed]
        except Permanent as problem:
            reached = await self._reached(authorities)
            return Probed(findings=(*found, *reached), unverified=f"{problem.code}: {problem.message}")
        return Probed(findings=tuple(found))

    async def principal_arn(self) -> str:
        """Whose policies count: the role of the settings, or who the credentials say we are. Raises CaError."""
        if self._settings.role_arn:
            return self._settings.role_arn
        arn = str((await self._call("sts", "get_caller_identity"))["Arn"])
        session = _SESSION.fullmatch(arn)
        if session is None:
            return arn
        # A role's path is not in its session's ARN; a role with one ends as unverified, not as approved.
        return f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}"

    async def _allowed(self, principal: str, question: Question) -> list[str]:
        parameters: dict[str, Any] = {
            "PolicySourceArn": principal,
            "ActionNames": list(question.actions),
            "ResourceArns": [question.resource],
            "ContextEntries": [
                {"ContextKeyName": key, "ContextKeyType": kind, "ContextKeyValues": list(values)}
                for key, (kind, values) in context_of(question).items()
            ],
        }
        allowed: list[str] = []
        while True:
            answer = await self._call("iam", "simulate_principal_policy", **parameters)
            for result in answer["EvaluationResults"]:
                if result["EvalDecision"] == "allowed":
                    allowed.append(str(result["EvalActionName"]))
            if not answer.get("IsTruncated"):
                return allowed
            parameters["Marker"] = answer["Marker"]

    async def _reached(self, authorities: Mapping[str, frozenset[str]]) -> list[str]:
        """Other realms' CAs this role can read, which it must not."""
        reached = []
        for arn in foreign_authorities(self.duty, authorities):
            try:
                await self._call("acm-pca", "describe_certificate_authority", CertificateAuthorityArn=arn)
            except CaError:
                continue
            question = Question(code="could-use-foreign-authority", actions=(), resource=arn)
            reached.append(question.found(self.duty.name, "acm-pca:DescribeCertificateAuthority"))
        return reached

    async def _call(self, service: str, method: str, **parameters: Any) -> dict[str, Any]:
        try:
            if service not in self._open:
                self._open[service] = await self._clients.open(service)
            answer: dict[str, Any] = await getattr(self._open[service], method)(**parameters)
        except CAUGHT as problem:
            raise ca_error(problem) from problem
        return answer
