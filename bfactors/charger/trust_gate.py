"""The trust gate of one charger: no leaf is delivered until both sides hold what they need.

The charger has confirmed every anchor of the bundle its purpose depends on, and every live connect node verifies the
issuing CA. A missing bundle is a refusal to go on, never an open gate. What is missing, a job installs and lists itself.
"""

from datetime import timedelta
from typing import Literal

import msgspec

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.state import ChargerState, JobState
from bfactors.fleet.charger_policy import TRUST_GATE
from bfactors.fleet.state import Authority, Bundle
from bfactors.instruction import InstallAnchor, ListCertificates
from bfactors.inventory.listed import listed_anchors
from bfactors.policy import Policy
from bfactors.purpose import purpose, purposes
from bfactors.security_event import EXPLAINING_CODES
from bfactors.waiver import exemption

_RUNGS = {"accepted": 0, "used": 1, "listed": 2}
CANNOT_LIST = "cannot-list"
CA_MARGIN = timedelta(hours=1)
"""No leaf is asked for that would outlive its CA; it ends this much earlier."""
_SMALLEST_TLS_PROFILE = 2


class GateClosed(msgspec.Struct, frozen=True):
    """Why the gate is closed. `side`: what to do about it - `charger` installs, `operator` must act, `gateway` waits."""

    code: str
    message: str
    side: Literal["charger", "operator", "gateway"]


def gate(draft: Draft, job: JobState) -> GateClosed | None:
    """Why a leaf of this job's purpose may not be delivered yet, or None if it may."""
    spec = purpose(job.purpose)
    if spec.anchor_bundle is not None:
        bundle = draft.context.facts.bundles.get(spec.anchor_bundle)
        if bundle is None:
            return GateClosed(
                "no-trust-anchor-bundle",
                f"no trust anchor bundle exists for {spec.anchor_bundle}",
                "operator",
            )
        if not is_confirmed(draft.state, bundle, draft.policy(job.purpose).confirm_rung):
            return GateClosed(
                "trust-anchor-not-confirmed",
                f"bundle {bundle.purpose} version {bundle.version} is not confirmed on the charger",
                "charger",
            )
    facts = draft.context.facts
    made = draft.state.certificates.get(job.certificate_id or "")
    wanted = draft.policy(job.purpose).authority
    issuer = facts.authority_of(job.purpose, made.issuing_ca_id) if made is not None else None
    authority = issuer or facts.issuing(job.purpose, wanted)
    if authority is None:
        return GateClosed(
            "no-issuing-authority", f"no issuing CA is configured for {job.purpose}", "operator"
        )
    if authority.not_after - CA_MARGIN <= draft.now:
        return GateClosed(
            "issuing-authority-expired",
            f"the issuing CA of {job.purpose} ends {authority.not_after:%Y-%m-%d %H:%M} UTC",
            "operator",
        )
    policy = draft.policy(job.purpose)
    if issuer is None and authority.not_after - CA_MARGIN - draft.now < timedelta(
        days=policy.shortest_validity_days
    ):
        return GateClosed(
            "issuing-authority-ends-too-soon",
            f"the issuing CA of {job.purpose} ends {authority.not_after:%Y-%m-%d}, sooner than the shortest leaf that"
            f" policy allows ({policy.shortest_validity_days} days): roll over to another CA",
            "operator",
        )
    return _gateways(draft, authority) if spec.is_session_credential else None


def _gateways(draft: Draft, authority: Authority) -> GateClosed | None:
    facts = draft.context.facts
    if not facts.nodes:
        return GateClosed("gateway-does-not-verify-issuer", "no gateway is known to be live", "gateway")
    blind = facts.blind_nodes(authority.fingerprint_sha256)
    if not blind:
        return None
    names = ", ".join(blind[:5]) + (f" and {len(blind) - 5} more" if len(blind) > 5 else "")
    return GateClosed(
        "gateway-does-not-verify-issuer", f"does not verify the issuing CA yet: {names}", "gateway"
    )


def is_confirmed(state: ChargerState, bundle: Bundle, rung: str) -> bool:
    """Whether every anchor of exactly this bundle is confirmed on the charger, by that rung or a higher one."""
    confirmation = state.bundles.get(bundle.purpose)
    return (
        confirmation is not None
        and confirmation.bundle_id == bundle.bundle_id
        and _RUNGS[confirmation.rung] >= _RUNGS[rung]
    )


def pursue(draft: Draft, job: JobState) -> None:
    """Do what the charger's side of the gate lacks: install each missing anchor, then have the charger list them."""
    bundle_purpose = purpose(job.purpose).anchor_bundle
    if bundle_purpose is None:
        return
    bundle = draft.context.facts.bundles[bundle_purpose]
    policy = draft.policy(job.purpose)
    if not bring(draft, job, bundle, policy):
        return
    confirm(draft, bundle, policy.confirm_rung)


def bring(draft: Draft, job: JobState, bundle: Bundle, policy: Policy) -> bool:
    """Whether the charger holds every anchor of the bundle by the rung of the policy; if not, that is under way."""
    session = draft.state.session
    if session is None:
        draft.stage(job, "awaiting-trust-anchor", waiting_for="connection")
        return False
    _withdraw_outdated(draft, job, bundle)
    if session.security_profile < _SMALLEST_TLS_PROFILE and policy.anchor_over_plain != "allowed":
        draft.stage(
            job,
            "awaiting-trust-anchor",
            waiting_for="operator",
            reason=(
                "insecure-transport",
                "a trust anchor is not sent over an unencrypted connection unless policy says so (anchor_over_plain)",
            ),
        )
        return False
    if job.failures >= policy.max_attempts:
        draft.fail(
            job, job.reason_code or "trust-anchor-refused", job.reason_message or "the charger refused it"
        )
        return False
    if policy.confirm_rung != "accepted" and draft.state.capabilities.cannot_list:
        draft.stage(
            job,
            "awaiting-trust-anchor",
            waiting_for="operator",
            reason=(
                "cannot-confirm-trust-anchor",
                "the charger cannot list its certificates; let policy or a waiver accept its answer to the install instead",
            ),
        )
        return False
    listed = listed_anchors(draft.state.reported, bundle)
    wanted = {anchor.fingerprint_sha256: anchor for anchor in bundle.anchors}
    missing = [wanted[key] for key in wanted if key not in draft.state.accepted_anchors | listed]
    for anchor in missing:
        draft.open_instruction(
            job,
            InstallAnchor(
                purpose=bundle.purpose, fingerprint_sha256=anchor.fingerprint_sha256, pem=anchor.pem
            ),
        )
    if not missing:
        if policy.confirm_rung == "accepted" or listed >= wanted.keys():
            return True
        draft.open_instruction(job, ListCertificates(purpose=bundle.purpose))
    draft.stage(job, "awaiting-trust-anchor", waiting_for="charger", reason=kept_reason(job))
    return False


def _withdraw_outdated(draft: Draft, job: JobState, bundle: Bundle) -> None:
    """An anchor that the bundle holds no more is not to be installed."""
    wanted = {anchor.fingerprint_sha256 for anchor in bundle.anchors}
    for instruction in list(draft.state.instructions.values()):
        body = instruction.body
        if (
            instruction.job_id == job.job_id
            and isinstance(body, InstallAnchor)
            and body.fingerprint_sha256 not in wanted
        ):
            draft.settle(instruction, "withdrawn", "not in the current bundle")


def kept_reason(job: JobState) -> tuple[str, str] | None:
    """Why the job is trying again, if it is."""
    if job.reason_code is not None and (job.failures or job.reason_code in EXPLAINING_CODES):
        return job.reason_code, job.reason_message or ""
    return None


def confirm(draft: Draft, bundle: Bundle, counts: str) -> None:
    """Every anchor is there, by the rung that policy lets count; recorded if that is news."""
    rung = "accepted" if counts == "accepted" else "listed"
    if not is_confirmed(draft.state, bundle, rung):
        _confirm(draft, bundle, rung)


def _confirm(draft: Draft, bundle: Bundle, rung: str) -> None:
    if rung == "accepted":
        _record_waiver(draft, bundle)
    draft.record(
        e.TrustAnchorBundleConfirmed(
            charger_id=draft.state.charger_id,
            bundle_id=bundle.bundle_id,
            bundle_purpose=bundle.purpose,
            rung=rung,
            evidence_ref=draft.context.cause,
        )
    )


def _record_waiver(draft: Draft, bundle: Bundle) -> None:
    """Say so when it is a waiver alone by which the charger's answer counts."""
    state, facts = draft.state, draft.context.facts
    if not facts.waivers or not state.capabilities.cannot_list:
        return
    for spec in purposes().values():
        if spec.anchor_bundle != bundle.purpose:
            continue
        waiver = exemption(
            facts.waivers,
            TRUST_GATE,
            charger_id=state.charger_id,
            cohort=state.cohort,
            purpose=spec.name,
            now=draft.now,
        )
        if waiver is None:
            continue
        draft.record(
            e.TrustGateWaived(
                charger_id=state.charger_id,
                bundle_id=bundle.bundle_id,
                bundle_purpose=bundle.purpose,
                waiver_id=waiver.waiver_id,
                evidence_ref=draft.context.cause,
            )
        )
        return


def confirm_from_list(draft: Draft) -> None:
    """After a list of certificates: confirm every current bundle whose anchors are all in it."""
    for bundle in draft.context.facts.bundles.values():
        if is_confirmed(draft.state, bundle, "listed"):
            continue
        if len(listed_anchors(draft.state.reported, bundle)) == len(bundle.anchors):
            _confirm(draft, bundle, "listed")
