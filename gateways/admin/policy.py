"""Policies: the overrides in force, what they come to for one charger, and their change."""

from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bfactors.approval import KIND_NAMES as APPROVAL_KINDS
from bfactors.command import SetPolicy
from bfactors.fleet.charger_policy import policy_with_origin
from bfactors.policy import (
    ALTERNATIVE_NAMES,
    BUILT_IN,
    DOMAIN_COMPONENTS,
    EXTENDED_KEY_USAGES,
    FOREIGN_REVOCATION,
    KEY_REBOOTS,
    KEY_ROTATION_TRIGGERS,
    MODES,
    REVOCATION_DONE,
    UNEXPLAINED_CERTIFICATES,
    Policy,
)
from bfactors.policy_scope import FORMS
from bfactors.ports import Clock
from bfactors.purpose import purposes
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import given
from gateways.admin.paging import PageQuery, cut
from gateways.admin.ports import Body, Reader
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

DAYS_AT_MOST = 36_500
SECONDS_AT_MOST = 10 * 365 * 86_400
_AT_MOST = {"validity_days": 3650, "shortest_validity_days": 3650, "max_attempts": 1000}
_AT_LEAST_ONE = {
    *("charger_patience_s", "publication_wait_s", "shortest_validity_days"),
    *("validity_days", "csr_wait_s", "answer_wait_s", "reconnect_wait_s", "job_deadline_s", "max_attempts"),
    *("log_silence_s", "log_claim_grace_s", "migration_retry_s", "migration_lockout_s"),
    *("approval_valid_hours", "rollback_longest_days", "waiver_longest_days"),
}
_CHOICES = {
    "mode": MODES,
    "extended_key_usage": EXTENDED_KEY_USAGES,
    "alternative_names": ALTERNATIVE_NAMES,
    "domain_component": DOMAIN_COMPONENTS,
    "confirm_rung": ("listed", "used", "accepted"),
    "subject_match": ("exact", "contains"),
    "factory_certificate": ("refused", "allowed"),
    "anchor_over_plain": ("refused", "allowed"),
    "key_algorithms": Policy().key_algorithms,
    "approvals_needed": APPROVAL_KINDS,
    "key_reboot": KEY_REBOOTS,
    "key_rotation_triggers": KEY_ROTATION_TRIGGERS,
    "unexplained_certificates": UNEXPLAINED_CERTIFICATES,
    "revocation_done": REVOCATION_DONE,
    "foreign_revocation": FOREIGN_REVOCATION,
}
"""Texts of a policy that are one of a few."""
_MAY_BE_EMPTY = {"key_rotation_triggers"}
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
_PATTERNS = {
    "authority": r"^([0-9a-f]{16})?$(?!\n)",
    "escalate_security_events": r"^[A-Za-z0-9_./-]{1,64}$(?!\n)",
    "blackout_hours": f"^{_TIME}-{_TIME}$(?!\\n)",
}
"""Other texts; a new text field needs its choices or its pattern here."""


def _bounded(name: str, kind: Any) -> Any:
    """A policy field's type with the bounds within which dates and timers can be computed."""
    if get_origin(kind) is tuple:
        fewest = 1 if name in _CHOICES and name not in _MAY_BE_EMPTY else 0
        return Annotated[list[_bounded(name, get_args(kind)[0])], Meta(min_length=fewest, max_length=16)]  # type: ignore[misc]
    if kind is bool:
        return bool
    if kind is int:
        most = _AT_MOST.get(name, DAYS_AT_MOST if name.endswith("_days") else SECONDS_AT_MOST)
        return Annotated[int, Meta(ge=1 if name in _AT_LEAST_ONE else 0, le=most)]
    if name in _PATTERNS:
        return Annotated[str, Meta(pattern=_PATTERNS[name])]
    return Annotated[str, Meta(pattern=f"^({'|'.join(_CHOICES[name])})$(?!\\n)")]


PolicyValues = msgspec.defstruct(
    "PolicyValues",
    [(name, _bounded(name, kind) | UnsetType, UNSET) for name, kind in get_type_hints(Policy).items()],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    namespace={"__doc__": "The fields a scope overrides; absent ones are inherited."},
)


PolicyScopeText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[^\u0000-\u001f\u007f]+$(?!\n)",
        description=f"One of {FORMS}",
    ),
]


class SetPolicyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replaces every override of the scope; an empty object removes them."""

    values: PolicyValues  # type: ignore[valid-type]
    reason: field.Note = ""


class EffectiveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose policy, for what."""

    charger_id: field.ChargerId
    purpose: field.Search


class PolicyScope(msgspec.Struct, frozen=True, kw_only=True):
    """What one scope says; `built-in` says everything."""

    scope: str
    values: dict[str, Any]
    version: int


class PolicyField(msgspec.Struct, frozen=True):
    """A value and the scope or waiver it comes from."""

    value: Any
    origin: str


class EffectivePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a charger and purpose, field by field."""

    charger_id: str
    purpose: str
    family: str
    cohort: str
    version: int
    policy: dict[str, PolicyField]


class PolicyChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The version from now on."""

    scope: str
    version: int


class Policies:
    """`/api/v1/policies`."""

    def __init__(self, reader: Reader, fleet: Fleet, commands: Commands, clock: Clock) -> None:
        self._clock = clock
        self._reader = reader
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/policies",
                operation="policies.list",
                summary="The built-in policy and every override in force",
                handler=self.list,
                query=PageQuery,
                answer=shape.Page[PolicyScope],
            ),
            Route(
                method="GET",
                path="/api/v1/policies/effective",
                operation="policies.effective",
                summary="What holds for one charger and purpose, with the origin of every field",
                handler=self.effective,
                query=EffectiveQuery,
                answer=EffectivePolicy,
                further={404: "The charger or the purpose is unknown"},
            ),
            Route(
                method="PUT",
                path="/api/v1/policies/{scope:(?!(?:effective|preview)$).+}",
                operation="policies.set",
                summary=f"Replace the overrides of one scope: {FORMS}",
                handler=self.set,
                body=SetPolicyBody,
                answer=PolicyChanged,
                conflicts=True,
                may_be_held=True,
            ),
        )

    async def list(self, call: Call, query: PageQuery) -> Answer:
        policies = (await self._fleet.state()).facts.policies
        built_in: Body = {
            "scope": BUILT_IN,
            "values": msgspec.structs.asdict(Policy()),
            "version": policies.version,
        }
        rows = [
            built_in,
            *(
                {"scope": override.scope, "values": override.values, "version": policies.version}
                for override in sorted(policies.overrides, key=lambda override: override.scope)
            ),
        ]
        page = cut(
            "policies",
            rows,
            lambda row: str(row["scope"]),
            lambda row: row,
            limit=query.limit,
            cursor=query.cursor or None,
        )
        return Answer(page)

    async def effective(self, call: Call, query: EffectiveQuery) -> Answer:
        if query.purpose not in purposes():
            raise Problem.unknown("purpose", query.purpose)
        charger = await self._reader.charger(query.charger_id)
        if charger is None:
            raise Problem.unknown("charger", query.charger_id)
        facts = (await self._fleet.state()).facts
        cohort = str(charger["cohort"])
        family = str(charger["family"])
        policy, origin = policy_with_origin(
            facts,
            query.purpose,
            charger_id=query.charger_id,
            family=family,
            cohort=cohort,
            now=self._clock.now(),
        )
        body = {
            "charger_id": query.charger_id,
            "purpose": query.purpose,
            "family": family,
            "cohort": cohort,
            "version": facts.policies.version,
            "policy": {
                name: {"value": value, "origin": origin[name]}
                for name, value in msgspec.structs.asdict(policy).items()
            },
        }
        return Answer(body)

    async def set(self, call: Call, body: SetPolicyBody) -> Answer:
        scope = call.path["scope"]
        values: Body = given(body.values)
        command = SetPolicy(scope=scope, values=values, reason=body.reason)
        version = result_of(await self._commands.to_fleet(call, command))["version"]
        return Answer({"scope": scope, "version": version})
