"""What is wrong with a role's policies: what they let it do beyond its duty, and how loosely they are written. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bfactors.aws_duty import CA_TEMPLATES, MUTATIONS, Duty, context_of, questions
from deploy.aws.policy import Request, decide, many, statements

_CA_RESOURCE = ":certificate-authority/"
_SELF_DENYING = (
    "could-change-authorities",
    "could-use-ca-template",
    "could-use-foreign-authority",
)
"""What a Deny must forbid in so many words: the want of an Allow ends with the next policy somebody attaches."""


@dataclass(frozen=True, slots=True)
class Objection:
    """One thing wrong: a code, and what it was seen in."""

    code: str
    detail: str


def objections(
    duty: Duty, policies: Sequence[Mapping[str, Any]], authorities: Mapping[str, str], principal_arn: str
) -> list[Objection]:
    """Everything wrong with the policies of the role of one duty. `authorities`: issuing CA by realm."""
    return [*_loose(policies), *_beyond(duty, policies, authorities, principal_arn)]


def _beyond(
    duty: Duty, policies: Sequence[Mapping[str, Any]], authorities: Mapping[str, str], principal_arn: str
) -> Iterable[Objection]:
    every = {realm: frozenset({arn}) for realm, arn in authorities.items()}
    for question in questions(duty, every, principal_arn, CA_TEMPLATES):
        context = {key: values[0] for key, (_, values) in context_of(question).items()}
        for action in question.actions:
            request = Request(action=action, resource=question.resource, context=context)
            decision = decide(policies, request)
            detail = question.found(duty.name, action)
            if decision == "allowed":
                yield Objection(question.code, detail)
            elif decision == "implicitDeny" and question.code in _SELF_DENYING:
                yield Objection("not-denied-outright", detail)


def _loose(policies: Sequence[Mapping[str, Any]]) -> Iterable[Objection]:
    for statement in (s for policy in policies for s in statements(policy) if s["Effect"] == "Allow"):
        name = str(statement.get("Sid", "a statement without Sid"))
        for element in ("NotAction", "NotResource"):
            if element in statement:
                yield Objection("inverted-element", f"{name}: {element} allows what nobody thought of")
        for action in many(statement.get("Action", [])):
            if "*" in action or "?" in action:
                yield Objection("wildcard-action", f"{name}: {action}")
            if action in MUTATIONS:
                yield Objection("could-change-authorities", f"{name}: {action}")
        for resource in many(statement.get("Resource", [])):
            if resource == "*" or (_CA_RESOURCE in resource and "*" in resource):
                yield Objection("wildcard-resource", f"{name}: {resource}")
        if "acm-pca:IssueCertificate" in many(statement.get("Action", [])) and not _pins_template(statement):
            yield Objection("template-not-pinned", f"{name}: any template, CA templates too")


def _pins_template(statement: Mapping[str, Any]) -> bool:
    """By name, without wildcards: `StringLike` with an asterisk admits the passthrough varieties."""
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            if key.lower() == "acm-pca:templatearn" and operator == "StringEquals":
                return all("*" not in value for value in many(values))
    return False
