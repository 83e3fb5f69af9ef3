"""What would change, for whom, if a policy were saved: asked of the projections, decided by the rules that save it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from bfactors.fleet.policy import changed, refusal_of
from bfactors.policy import Policy, PolicyOverride, PolicySet, differences, effective
from bfactors.policy_scope import parse_scope
from bfactors.ports import Clock
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import given
from gateways.admin.policy import PolicyScopeText, PolicyValues
from gateways.admin.ports import Body, Reader, RenewalSpan
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

GROUPS_SHOWN = 200


class PreviewBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values a scope would have; an empty object: none of its own."""

    scope: PolicyScopeText
    values: PolicyValues  # type: ignore[valid-type]


class FieldChange(msgspec.Struct, frozen=True):
    """One field, before and after."""

    before: Any
    after: Any


class GroupChange(msgspec.Struct, frozen=True, kw_only=True):
    """What would change for the chargers of one family and cohort.

    `renewals_due_at_once`: active certificates that a longer renewal window would reach, at most (the spread decides which).
    """

    family: str
    cohort: str
    chargers: int
    changes: dict[str, FieldChange]
    renewals_due_at_once: int


class PolicyPreview(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was changed. `groups`: those that the change reaches, the largest first, 200 at most."""

    scope: str
    version: int
    chargers: int
    chargers_unaffected: int
    renewals_due_at_once: int
    groups: tuple[GroupChange, ...]
    groups_left_out: int


class PolicyPreviews:
    """`/api/v1/policies/preview`."""

    def __init__(self, reader: Reader, fleet: Fleet, clock: Clock) -> None:
        self._reader = reader
        self._fleet = fleet
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/policies/preview",
                operation="policies.preview",
                summary="What would change, for whom, if these values were saved; saves nothing",
                handler=self.preview,
                body=PreviewBody,
                answer=PolicyPreview,
                conflicts=True,
                further={404: "There is no such scope"},
            ),
        )

    async def preview(self, call: Call, body: PreviewBody) -> Answer:
        facts = (await self._fleet.state()).facts
        values: Body = given(body.values)
        override = PolicyOverride(scope=body.scope, values=values)
        refusal = refusal_of(facts, override, self._clock.now())
        if refusal is not None:
            raise Problem.of_refusal(refusal)
        candidate = changed(facts.policies, override, facts.policies.version)
        groups, unaffected = await self._groups(facts.policies, candidate, body.scope)
        shown = groups[:GROUPS_SHOWN]
        return Answer(
            PolicyPreview(
                scope=body.scope,
                version=facts.policies.version,
                chargers=sum(group.chargers for group in groups),
                chargers_unaffected=unaffected,
                renewals_due_at_once=sum(group.renewals_due_at_once for group in groups),
                groups=tuple(shown),
                groups_left_out=len(groups) - len(shown),
            )
        )

    async def _groups(self, before: PolicySet, after: PolicySet, scope: str) -> tuple[list[GroupChange], int]:
        parsed = parse_scope(scope)
        assert parsed is not None  # else it would have been refused
        found: list[tuple[Body, Policy, Policy]] = []
        unaffected = 0
        for group in await self._reader.charger_groups():
            whose = {"purpose": parsed.purpose, "family": group["family"], "cohort": group["cohort"]}
            was, will = effective(before, **whose), effective(after, **whose)
            if was == will:
                unaffected += int(group["count"])
            else:
                found.append((dict(group), was, will))
        due = await self._due(parsed.purpose, found)
        changes = [
            GroupChange(
                family=group["family"],
                cohort=group["cohort"],
                chargers=int(group["count"]),
                changes={name: FieldChange(*pair) for name, pair in differences(was, will).items()},
                renewals_due_at_once=due.get((group["family"], group["cohort"]), 0),
            )
            for group, was, will in found
        ]
        return changes, unaffected

    async def _due(
        self, purpose: str, found: Sequence[tuple[Body, Policy, Policy]]
    ) -> dict[tuple[str, str], int]:
        now = self._clock.now()
        spans = [
            RenewalSpan(group["family"], group["cohort"], now + _window(was), now + _window(will))
            for group, was, will in found
            if _window(will) > _window(was)
        ]
        if not spans:
            return {}
        rows = await self._reader.active_ending_in(purpose, spans)
        return {(row["family"], row["cohort"]): int(row["count"]) for row in rows}


def _window(policy: Policy) -> timedelta:
    """How long before its end a renewal may begin."""
    return timedelta(days=policy.renew_before_days + policy.renewal_spread_days)
