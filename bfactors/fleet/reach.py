"""Whom a scope's values reach, as far as policies tell groups apart."""

from collections.abc import Iterator

from bfactors.policy import PolicySet
from bfactors.policy_scope import Scope, parse_scope


def reached(policies: PolicySet, scope: Scope) -> Iterator[tuple[str, str]]:
    """Every (family, cohort) whose policy the scope is part of and that somebody says something about; itself first."""
    said: dict[str, list[str]] = {"family": [], "cohort": []}
    for override in policies.overrides:
        other = parse_scope(override.scope)
        if other is not None and other.purpose == scope.purpose and other.kind in said:
            said[other.kind].append(other.name)
    families = [scope.name] if scope.kind == "family" else ["", *said["family"]]
    cohorts = [scope.name] if scope.kind == "cohort" else ["", *said["cohort"]]
    for family in families:
        for cohort in cohorts:
            yield family, cohort
