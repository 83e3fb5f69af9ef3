"""What a set of IAM policies lets a role do: Allow and Deny over actions, resources and conditions. Pure.

Errs on the side of suspicion: a condition it cannot judge holds in an Allow and does not hold in a Deny.
Source: IAM user guide, policy evaluation logic and condition operators; facts on AWS Private CA 3.6 (absent keys).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_KNOWN = frozenset(
    {
        *(f"String{sense}{test}" for sense in ("", "Not") for test in ("Equals", "Like")),
        *(f"Arn{sense}{test}" for sense in ("", "Not") for test in ("Equals", "Like")),
        *("Null", "Bool", "NumericLessThan"),
    }
)
Decision = Literal["allowed", "explicitDeny", "implicitDeny"]
Statement = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call as policies see it. A key that is absent from `context` is absent from the request."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def decide(policies: Iterable[Mapping[str, Any]], request: Request) -> Decision:
    """A matching Deny wins, then a matching Allow; else it is denied for want of one."""
    allowed = False
    for policy in policies:
        for statement in statements(policy):
            if not _matches(statement, request):
                continue
            if statement["Effect"] == "Deny":
                return "explicitDeny"
            allowed = True
    return "allowed" if allowed else "implicitDeny"


def statements(policy: Mapping[str, Any]) -> list[Statement]:
    """A document's statements; one alone need not stand in a list."""
    found = policy["Statement"]
    return [found] if isinstance(found, Mapping) else list(found)


def many(value: Any) -> list[str]:
    """A list, or the one item of it that stands alone."""
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def like(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """IAM's wildcards: `*` for any run of characters, `?` for one."""
    regex = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(regex, text, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL) is not None


def _matches(statement: Statement, request: Request) -> bool:
    return (
        _named(statement, "Action", request.action, ignore_case=True)
        and _named(statement, "Resource", request.resource, ignore_case=False)
        and all(
            _holds(operator, key, many(values), request, benefit=statement["Effect"] == "Allow")
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _named(statement: Statement, element: str, text: str, *, ignore_case: bool) -> bool:
    if element in statement:
        return any(like(pattern, text, ignore_case=ignore_case) for pattern in many(statement[element]))
    inverted = many(statement.get(f"Not{element}", []))
    return not any(like(pattern, text, ignore_case=ignore_case) for pattern in inverted)


def _holds(operator: str, key: str, values: list[str], request: Request, *, benefit: bool) -> bool:
    name, if_exists = operator.removesuffix("IfExists"), operator.endswith("IfExists")
    if name not in _KNOWN:
        return benefit
    present = {found.lower(): value for found, value in request.context.items()}.get(key.lower())
    if name == "Null":
        return (present is None) == (values[0].lower() == "true")
    negated = "Not" in name
    if present is None:
        return if_exists or negated
    match name:
        case "StringEquals" | "ArnEquals" | "Bool":
            return present in values
        case "StringNotEquals" | "ArnNotEquals":
            return present not in values
        case "StringLike" | "ArnLike":
            return any(like(pattern, present) for pattern in values)
        case "StringNotLike" | "ArnNotLike":
            return not any(like(pattern, present) for pattern in values)
    return any(float(present) < float(value) for value in values)
