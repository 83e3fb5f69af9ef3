"""From one CA of a purpose to another, step by step; an operator begins each, and what stands in its way is said.

    gateways ──every live gateway verifies the new CA──► anchors ──► overlap ──► renewal ──nothing hangs on the old──► retired
        trust alone            the new root is in the bundle    the new CA issues   what would outlive
        was extended           that chargers confirm            the old is trusted  the old is renewed

Nothing on the way takes trust from anything: gateways trust both CAs from when they are registered until one is retired, and
that is refused while a certificate that may open a session, or an order to the CA, is left. A charger that does not come
back holds the last step up, by name. An abort takes back which CA issues, and leaves both trusted.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet import authority, reconciliation
from bfactors.fleet.approvable import trust_anchor_bundle
from bfactors.fleet.state import Authority, Bundle, FleetFacts, FleetState, Rollover
from bfactors.policy import effective
from bfactors.purpose import PurposeSpec, purposes
from bfactors.refusal import Refusal
from bfactors.x509 import parse_certificates, signed_by

STEPS = ("gateways", "anchors", "overlap", "renewal")
STALLED_AFTER = timedelta(days=7)
"""A step that lasts longer is told of, once."""
_replace = msgspec.structs.replace

RolloverEvent = (
    e.CaRolloverStarted
    | e.CaRolloverAdvanced
    | e.CaRolloverCompleted
    | e.CaRolloverAborted
    | e.CaRolloverStalled
)
Said = list[e.FleetEvent | c.CreateTrustAnchorBundle]


# ---------------------------------------------------------------- beginning


def started(
    state: FleetState, command: c.StartRollover, actor: str, now: datetime
) -> e.CaRolloverStarted | Refusal | None:
    """None: that rollover was started before."""
    if state.last_rollovers.get(command.purpose) == command.rollover_id:
        return None
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    pair = sides(state.facts, command, now)
    if isinstance(pair, Refusal):
        return pair
    leaving, to = pair
    return e.CaRolloverStarted(
        purpose=command.purpose,
        rollover_id=command.rollover_id,
        leaving_id=leaving.authority_id,
        to_id=to.authority_id,
        renew_after=command.renew_after,
        reason=command.reason,
        by=actor,
    )


def sides(
    facts: FleetFacts, command: c.StartRollover, now: datetime
) -> tuple[Authority, Authority] | Refusal:
    """The CA that is left and the one that follows, or why they cannot be."""
    spec = purposes().get(command.purpose)
    current = facts.authorities.get(command.purpose)
    if spec is None or current is None:
        return Refusal("no-issuing-authority", f"no CA is known for {command.purpose!r}", "purpose", 404)
    if not spec.is_at_charger:
        message = f"{spec.name} has its certificates from settings; change the CA there (docs/operations.md)"
        return Refusal("not-rolled-over-here", message, "purpose", 409)
    if command.purpose in facts.rollovers:
        message = "a rollover of this purpose is under way; advance or abort it"
        return Refusal("rollover-under-way", message, "purpose", 409)
    by_id = {each.authority_id: each for each in facts.authorities_of(command.purpose)}
    to, leaving = by_id.get(command.to_id), by_id.get(command.leaving_id or current.authority_id)
    if to is None or leaving is None:
        field = "authority_id" if to is None else "leaving_id"
        return Refusal("unknown-authority", f"{command.purpose} has no such CA", field, 404)
    refusal = _unfit(facts, current, leaving, to, now) or _rootless(facts, spec, to)
    return refusal if refusal is not None else (leaving, to)


def _unfit(
    facts: FleetFacts, current: Authority, leaving: Authority, to: Authority, now: datetime
) -> Refusal | None:
    if to is leaving:
        message = "it is the current CA; say with leaving_id which other one is to be left for it"
        return Refusal("same-authority", message, "authority_id", 409)
    if current not in (to, leaving):
        return Refusal("not-current", "one of the two must be the current CA", "leaving_id", 409)
    if to.status != "ACTIVE":
        return Refusal("authority-not-active", f"the CA says it is {to.status}", "authority_id", 409)
    validity = effective(facts.policies, purpose=to.purpose, family="", cohort="").validity_days
    if to.not_after < now + timedelta(days=validity):
        message = f"it ends {to.not_after:%Y-%m-%d}, before a certificate of {validity} days made now would"
        return Refusal("authority-ends-too-soon", message, "authority_id", 409)
    return _named_by_policy(facts, leaving)


def _named_by_policy(facts: FleetFacts, leaving: Authority) -> Refusal | None:
    scopes = [
        each.scope
        for each in facts.policies.overrides
        if each.values.get("authority") == leaving.authority_id
    ]
    if not scopes:
        return None
    message = f"a policy has it issue for {', '.join(sorted(scopes)[:5])}; change that first"
    return Refusal("policy-names-authority", message, "authority_id", 409)


def _rootless(facts: FleetFacts, spec: PurposeSpec, to: Authority) -> Refusal | None:
    if not lacking(facts, spec, to) or to.root_pem:
        return None
    message = "its root is in no bundle and not known here; register the CA with its root_pem"
    return Refusal("root-unknown", message, "authority_id", 409)


def lacking(facts: FleetFacts, spec: PurposeSpec, to: Authority) -> tuple[Bundle, ...]:
    """The bundles that endpoints confirm before they get a leaf, and that hold no root of this CA."""
    top = parse_certificates(to.certificate_pem + to.chain_pem)[-1]
    bundles = (facts.bundles.get(name) for name in {spec.anchor_bundle, spec.name} if name is not None)
    return tuple(
        bundle
        for bundle in bundles
        if bundle is not None
        and not any(signed_by(top, parse_certificates(anchor.pem)[0]) for anchor in bundle.anchors)
    )


# ---------------------------------------------------------------- going on


def advanced(state: FleetState, command: c.AdvanceRollover, actor: str, now: datetime) -> Said | Refusal:
    """The events of the next step; with commands among them, for bundles that must be made. Empty: it has gone on already."""
    rollover = state.facts.rollovers.get(command.purpose)
    if rollover is None:
        return Refusal("no-rollover", "no rollover of this purpose is under way", "purpose", 409)
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if command.step not in STEPS or STEPS.index(command.step) > STEPS.index(rollover.step):
        return Refusal("other-step", f"the rollover stands at {rollover.step}", "step", 409)
    if command.step != rollover.step:
        return []
    for code, message in waiting(state.facts, rollover, command.hanging, command.heard_sequence, now):
        return Refusal(code, message, status=409)
    if rollover.step == STEPS[-1]:
        return [
            e.CaRolloverCompleted(
                purpose=rollover.purpose,
                rollover_id=rollover.rollover_id,
                retired_id=rollover.leaving_id,
                reason=command.reason,
                by=actor,
            )
        ]
    following = STEPS[STEPS.index(rollover.step) + 1]
    event = e.CaRolloverAdvanced(
        purpose=rollover.purpose,
        rollover_id=rollover.rollover_id,
        step=following,
        reason=command.reason,
        by=actor,
    )
    return [event, *_new_bundles(state.facts, rollover, following)]


def _new_bundles(facts: FleetFacts, rollover: Rollover, step: str) -> Iterator[c.CreateTrustAnchorBundle]:
    if step != "anchors":
        return
    to = side(facts, rollover.purpose, rollover.to_id)
    if to is None:
        return
    for bundle in lacking(facts, purposes()[rollover.purpose], to):
        yield c.CreateTrustAnchorBundle(
            bundle_id=f"{rollover.rollover_id}-{bundle.purpose}",
            purpose=bundle.purpose,
            anchors_pem=(*(anchor.pem for anchor in bundle.anchors), to.root_pem),
            note=f"made by the rollover of {rollover.purpose} to {to.arn}",
        )


def side(facts: FleetFacts, purpose: str, authority_id: str) -> Authority | None:
    """One of the two CAs of a rollover."""
    return next((each for each in facts.authorities_of(purpose) if each.authority_id == authority_id), None)


def waiting(
    facts: FleetFacts, rollover: Rollover, hanging: int, heard_sequence: int, now: datetime
) -> Iterator[tuple[str, str]]:
    """What stands in the way of the next step, as (code, message); nothing: it can begin."""
    to = side(facts, rollover.purpose, rollover.to_id)
    assert to is not None  # it is retired by no other rollover while this one lasts
    if purposes()[rollover.purpose].is_session_credential:
        yield from _blind(facts, to)
    if rollover.step == "gateways":
        yield from _needs_approval(facts, rollover, to, now)
    if rollover.step != STEPS[-1]:
        return
    if heard_sequence < facts.sequence:
        yield "not-heard-everywhere", "not every partition has heard of the step yet; ask again in a moment"
    if hanging:
        yield "authority-in-use", f"{hanging} certificates and orders hang on the CA that is left"


def _blind(facts: FleetFacts, to: Authority) -> Iterator[tuple[str, str]]:
    """Gateways that would refuse its leaves; of a purpose whose leaves open no session none verifies them."""
    if not facts.nodes:
        yield "gateway-does-not-verify-issuer", "no gateway is known to be live"
    if blind := facts.blind_nodes(to.fingerprint_sha256):
        yield "gateway-does-not-verify-issuer", f"does not verify the new CA yet: {', '.join(blind[:5])}"


def _needs_approval(
    facts: FleetFacts, rollover: Rollover, to: Authority, now: datetime
) -> Iterator[tuple[str, str]]:
    for command in _new_bundles(facts, rollover, "anchors"):
        if trust_anchor_bundle.KIND.is_needed(facts, command, now):
            yield (
                "trust-anchor-bundle-needs-approval",
                f"policy has a second person agree to bundles: make one of {command.purpose} with this CA's root first",
            )


def aborted(state: FleetState, command: c.AbortRollover, actor: str) -> e.CaRolloverAborted | Refusal:
    rollover = state.facts.rollovers.get(command.purpose)
    if rollover is None:
        return Refusal("no-rollover", "no rollover of this purpose is under way", "purpose", 409)
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    return e.CaRolloverAborted(
        purpose=rollover.purpose, rollover_id=rollover.rollover_id, reason=command.reason, by=actor
    )


# ---------------------------------------------------------------- time


def rang(facts: FleetFacts, now: datetime) -> Iterator[e.FleetEvent]:
    """Steps that have lasted too long."""
    for rollover in facts.rollovers.values():
        if not rollover.stalled_told and rollover.since + STALLED_AFTER <= now:
            yield e.CaRolloverStalled(
                purpose=rollover.purpose,
                rollover_id=rollover.rollover_id,
                step=rollover.step,
                since=rollover.since,
            )


def moments(facts: FleetFacts) -> Iterator[datetime]:
    for rollover in facts.rollovers.values():
        if not rollover.stalled_told:
            yield rollover.since + STALLED_AFTER


# ---------------------------------------------------------------- folding


def evolve(state: FleetState, event: RolloverEvent, now: datetime) -> FleetState:
    """The fleet after one of these."""
    facts = state.facts
    others = {name: each for name, each in facts.rollovers.items() if name != event.purpose}
    if isinstance(event, e.CaRolloverStarted):
        return _replace(
            state,
            facts=_replace(facts, rollovers={**others, event.purpose: _begun(facts, event, now)}),
            last_rollovers={**state.last_rollovers, event.purpose: event.rollover_id},
        )
    rollover = facts.rollovers[event.purpose]
    leaving = side(facts, event.purpose, rollover.leaving_id)
    to = side(facts, event.purpose, rollover.to_id)
    assert leaving is not None
    assert to is not None
    match event:
        case e.CaRolloverAdvanced():
            rollover = _replace(rollover, step=event.step, since=now, stalled_told=False)
            facts = _replace(facts, rollovers={**others, event.purpose: rollover})
            if event.step == "overlap":
                facts = authority.put(facts, _replace(leaving, state="outgoing"))
                facts = authority.put(facts, _replace(to, state="current"))
        case e.CaRolloverStalled():
            rollover = _replace(rollover, stalled_told=True)
            facts = _replace(facts, rollovers={**others, event.purpose: rollover})
        case e.CaRolloverAborted():
            facts = _replace(facts, rollovers=others)
            if STEPS.index(rollover.step) >= STEPS.index("overlap"):
                back = rollover.left_was_current
                if back:
                    facts = authority.put(facts, _replace(to, state="incoming"))
                facts = authority.put(facts, _replace(leaving, state="current" if back else "incoming"))
        case e.CaRolloverCompleted():
            facts = authority.put(_replace(facts, rollovers=others), _replace(leaving, state="retired"))
            state = _replace(
                state,
                retired=authority.kept_retired(state, leaving),
                reconciliations=reconciliation.retired(state.reconciliations, event.purpose, leaving.arn),
            )
    return _replace(state, facts=facts)


def _begun(facts: FleetFacts, event: e.CaRolloverStarted, now: datetime) -> Rollover:
    leaving = side(facts, event.purpose, event.leaving_id)
    assert leaving is not None
    return Rollover(
        rollover_id=event.rollover_id,
        purpose=event.purpose,
        leaving_id=event.leaving_id,
        leaving_arn=leaving.arn,
        to_id=event.to_id,
        step=STEPS[0],
        since=now,
        started_at=now,
        by=event.by,
        reason=event.reason,
        renew_after=event.renew_after,
        left_was_current=leaving.state == "current",
    )


def body(rollover: Rollover) -> dict[str, Any]:
    """A rollover as the API shows it."""
    return {
        "rollover_id": rollover.rollover_id,
        "purpose": rollover.purpose,
        "leaving_id": rollover.leaving_id,
        "to_id": rollover.to_id,
        "step": rollover.step,
        "since": rollover.since,
        "started_at": rollover.started_at,
        "by": rollover.by,
        "reason": rollover.reason,
        "renew_after": rollover.renew_after,
        "stalled": rollover.stalled_told,
    }
