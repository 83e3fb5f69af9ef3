"""Setting a policy: what a scope's new values would come to for everybody they reach, and why they may not be set."""

from datetime import datetime, timedelta

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.reach import reached
from bfactors.fleet.state import Authority, FleetFacts
from bfactors.fleet.waiver import contradicted
from bfactors.policy import WITHOUT_USAGE, Policy, PolicyOverride, PolicySet, effective, problems
from bfactors.policy_scope import FORMS, Scope, parse_scope
from bfactors.purpose import PurposeSpec, purposes
from bfactors.realm import loosened
from bfactors.refusal import Refusal

MOST_OVERRIDES = 1000
"""The facts travel whole to every partition, so they stay small."""


def policy_set(facts: FleetFacts, command: c.SetPolicy, now: datetime) -> e.PolicySetChanged | Refusal | None:
    """What replacing a scope's values leads to; None if it has these already."""
    override = PolicyOverride(scope=command.scope, values=command.values)
    refusal = refusal_of(facts, override, now)
    if refusal is not None:
        return refusal
    if present(facts.policies, command.scope) == command.values:
        return None
    version = facts.policies.version + 1
    return e.PolicySetChanged(version=version, override=override, reason=command.reason)


def present(policies: PolicySet, scope: str) -> dict[str, object]:
    """What a scope overrides now."""
    return next((o.values for o in policies.overrides if o.scope == scope), {})


def changed(policies: PolicySet, override: PolicyOverride, version: int) -> PolicySet:
    """The set with one scope's values replaced; no values: the scope says nothing any more."""
    others = tuple(o for o in policies.overrides if o.scope != override.scope)
    return PolicySet(version=version, overrides=(*others, override) if override.values else others)


def refusal_of(facts: FleetFacts, override: PolicyOverride, now: datetime) -> Refusal | None:
    """Why a scope cannot have these values: for itself, or for anybody whose policy they are part of."""
    scope = parse_scope(override.scope)
    if scope is None or scope.purpose not in purposes():
        return Refusal("invalid-scope", f"a scope is {FORMS}", "scope", 404)
    candidate = changed(facts.policies, override, facts.policies.version)
    if len(candidate.overrides) > MOST_OVERRIDES:
        message = f"{MOST_OVERRIDES} scopes have values of their own; remove some first"
        return Refusal("too-many-scopes", message, "scope", 409)
    for family, cohort in reached(candidate, scope):
        try:
            policy = effective(candidate, purpose=scope.purpose, family=family, cohort=cohort)
        except msgspec.ValidationError as problem:
            return Refusal("invalid-value", str(problem), "values")
        refusal = _refusal(facts, override, scope, policy, family, now)
        if refusal is not None:
            where = _where(scope, family, cohort)
            return msgspec.structs.replace(refusal, message=f"{where}{refusal.message}")
    unkept = contradicted(msgspec.structs.replace(facts, policies=candidate), scope.purpose, now)
    if unkept is not None:
        code, field, message = unkept
        return Refusal(code, message, field)
    return None


def _where(scope: Scope, family: str, cohort: str) -> str:
    """Names who would be contradicted, when it is not the scope itself."""
    parts = []
    if family and scope.kind != "family":
        parts.append(f"family {family}")
    if cohort and scope.kind != "cohort":
        parts.append(f"cohort {cohort}")
    return f"in {' and '.join(parts)}, " if parts else ""


def _refusal(
    facts: FleetFacts, override: PolicyOverride, scope: Scope, policy: Policy, family: str, now: datetime
) -> Refusal | None:
    """The first objection. What the world cannot do is held against the values that are being set, not against others."""
    impossible = (
        ("authority-cannot", _beyond_authority(facts, scope.purpose, policy, now)),
        ("family-cannot", _beyond_family(facts, policy, family)),
    )
    for code, found in (
        ("contradiction", problems(policy)),
        ("purpose-cannot", _beyond_purpose(purposes()[scope.purpose], policy)),
        ("realm-rule", loosened(purposes()[scope.purpose], policy)),
        *((code, [each for each in found if each[0] in override.values]) for code, found in impossible),
    ):
        if found:
            field, message = found[0]
            return Refusal(code, f"{field} {message}", field)
    return None


def _beyond_purpose(spec: PurposeSpec, policy: Policy) -> list[tuple[str, str]]:
    """What nobody here can do for this purpose."""
    found: list[tuple[str, str]] = []
    if policy.mode not in spec.modes:
        found.append(
            ("mode", f"cannot be `{policy.mode}`: {spec.name} can be {' or '.join(spec.modes)} so far")
        )
    if policy.extended_key_usage == WITHOUT_USAGE and spec.template_without_usage is None:
        found.append(("extended_key_usage", f"cannot be `none`: {spec.name} has no template without one"))
    return found


def _beyond_authority(
    facts: FleetFacts, purpose: str, policy: Policy, now: datetime
) -> list[tuple[str, str]]:
    """A leaf never outlives its CA, so a longer lifetime than the CA has left could not be kept."""
    authority = facts.issuing(purpose, policy.authority)
    known = [each.authority_id for each in facts.authorities_of(purpose) if not _is_left(facts, each)]
    if policy.authority and authority is not None and policy.authority not in known:
        return [("authority", f"is no CA that may issue for {purpose}; these may: {', '.join(known)}")]
    if authority is None or now + timedelta(days=policy.validity_days) <= authority.not_after:
        return []
    return [("validity_days", f"reaches beyond the issuing CA, which ends {authority.not_after:%Y-%m-%d}")]


def _is_left(facts: FleetFacts, authority: Authority) -> bool:
    rollover = facts.rollovers.get(authority.purpose)
    return rollover is not None and rollover.leaving_id == authority.authority_id


def _beyond_family(facts: FleetFacts, policy: Policy, family: str) -> list[tuple[str, str]]:
    """What a family is known to be unable to do, its policy cannot demand."""
    can = facts.capabilities(family)
    found: list[tuple[str, str]] = []
    if can.key_types and not set(can.key_types) & set(policy.key_algorithms):
        found.append(
            ("key_algorithms", f"holds no key that the family can make ({', '.join(can.key_types)})")
        )
    if can.cannot_list and policy.confirm_rung == "listed":
        found.append(("confirm_rung", "cannot be `listed`: the family cannot list its certificates"))
    return found
