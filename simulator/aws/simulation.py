"""IAM's SimulatePrincipalPolicy and STS's GetCallerIdentity, answered from the roles the peer was given."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from simulator.aws.registry import AuthorityRegistry
from simulator.aws.role import Role
from simulator.aws.service_error import ServiceError
from simulator.aws.session import Caller

_OWN_SERVICE = "acm-pca:"
_TEMPLATE_KEY = "acm-pca:TemplateArn"
_SIMULATE = "iam:SimulatePrincipalPolicy"
_ELSEWHERE = "a realm this peer does not have"


@dataclass(frozen=True)
class PolicySimulation:
    """What a role might do, without its being done. Every action is judged on every resource named."""

    registry: AuthorityRegistry

    def caller_identity(self, caller: Caller) -> str:
        """The `GetCallerIdentityResult` element."""
        account = self.registry.config.account_id
        arn = f"arn:aws:iam::{account}:user/{caller.access_key_id}"
        if caller.role is not None:
            arn = f"arn:aws:sts::{account}:assumed-role/{caller.role}/{caller.session_name}"
        return (
            f"<GetCallerIdentityResult><Arn>{escape(arn)}</Arn><UserId>{escape(caller.access_key_id)}</UserId>"
            f"<Account>{account}</Account></GetCallerIdentityResult>"
        )

    def simulate(self, caller: Caller, form: Mapping[str, str]) -> str:
        """The `SimulatePrincipalPolicyResult` element.

        Raises: ServiceError AccessDenied (the caller may not ask), NoSuchEntity, InvalidInput.
        """
        source = form.get("PolicySourceArn", "")
        self._admit(caller, source)
        role = self._role(source)
        actions = list(_members(form, "ActionNames"))
        resources = list(_members(form, "ResourceArns")) or ["*"]
        if not actions:
            raise ServiceError("InvalidInput", "ActionNames must not be empty")
        template = _template(form)
        results = "".join(
            "<member>"
            f"<EvalActionName>{escape(action)}</EvalActionName>"
            f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
            f"<EvalDecision>{self._decision(role, action, resource, template)}</EvalDecision>"
            "<MatchedStatements/><MissingContextValues/></member>"
            for action in actions
            for resource in resources
        )
        return (
            "<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated>"
            f"<EvaluationResults>{results}</EvaluationResults></SimulatePrincipalPolicyResult>"
        )

    def _admit(self, caller: Caller, source: str) -> None:
        """A role may ask about itself when it was granted that; a user only where nobody was restricted."""
        roles = self.registry.config.roles
        if not roles:
            return
        granted = next((role for role in roles if role.name == caller.role), None)
        if granted is None or _SIMULATE not in granted.operations or not source.endswith(f"/{granted.name}"):
            raise ServiceError("AccessDenied", f"not authorized to perform: {_SIMULATE} on {source}", 403)

    def _role(self, source: str) -> Role | None:
        """The grant behind an ARN; None where nobody is restricted."""
        roles = self.registry.config.roles
        if not roles:
            return None
        name = source.rpartition("/")[2]
        role = next((role for role in roles if role.name == name), None)
        if role is None:
            raise ServiceError("NoSuchEntity", f"{source} does not exist", 404)
        return role

    def _decision(self, role: Role | None, action: str, resource: str, template: str | None) -> str:
        if role is None:
            return "allowed"
        operation = action.removeprefix(_OWN_SERVICE)
        realm = None
        if resource != "*" and action.startswith(_OWN_SERVICE):
            realm = self._realm(resource)
        asked = template if operation == "IssueCertificate" else None
        return "implicitDeny" if role.denial(operation, realm, asked) else "allowed"

    def _realm(self, arn: str) -> str:
        try:
            return self.registry.named(arn).realm
        except ServiceError:
            return _ELSEWHERE


def _members(form: Mapping[str, str], name: str) -> Iterator[str]:
    """A list of the Query protocol: `Name.member.1`, `Name.member.2`, ..."""
    at = 1
    while (value := form.get(f"{name}.member.{at}")) is not None:
        yield value
        at += 1


def _template(form: Mapping[str, str]) -> str | None:
    at = 1
    while (key := form.get(f"ContextEntries.member.{at}.ContextKeyName")) is not None:
        if key == _TEMPLATE_KEY:
            arn = form.get(f"ContextEntries.member.{at}.ContextKeyValues.member.1", "")
            return arn.rpartition("template/")[2].removesuffix("/V1")
        at += 1
    return None
