"""Installing the anchors of a bundle on one charger, outside any certificate's way; one of them, if the job names one."""

import msgspec

from bfactors import event as e
from bfactors.charger import trust_gate
from bfactors.charger.draft import Draft
from bfactors.charger.pause import holder
from bfactors.charger.state import JobState
from bfactors.fleet.state import Bundle, FleetFacts
from bfactors.inventory.listed import listed_anchors
from bfactors.policy import Policy
from bfactors.purpose import purposes, session_purpose
from bfactors.refusal import Refusal


def problem(facts: FleetFacts, bundle_purpose: str, fingerprint_sha256: str | None) -> Refusal | None:
    """Why there is nothing to install."""
    bundle = facts.bundles.get(bundle_purpose)
    if bundle is None:
        message = f"no trust anchor bundle exists for {bundle_purpose}"
        return Refusal("no-trust-anchor-bundle", message, "purpose", 409)
    if fingerprint_sha256 is not None and not _narrowed(bundle, fingerprint_sha256).anchors:
        message = f"version {bundle.version} of the bundle holds no such anchor"
        return Refusal("unknown-anchor", message, "fingerprint_sha256", 404)
    return None


def pursue(draft: Draft, job: JobState) -> None:
    """Install what is missing, have it listed, and end when that shows it."""
    held = holder(draft, job)
    if held is not None:
        draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        return
    refusal = problem(draft.context.facts, job.purpose, job.fingerprint_sha256)
    if refusal is not None:
        draft.fail(job, refusal.code, refusal.message)
        return
    bundle = draft.context.facts.bundles[job.purpose]
    policy = _policy(draft, bundle)
    if not trust_gate.bring(draft, job, _wanted(job, bundle), policy):
        return
    if job.fingerprint_sha256 is None:
        trust_gate.confirm(draft, bundle, policy.confirm_rung)
    draft.withdraw_instructions(job.job_id)
    draft.record(e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=None))


def listed(draft: Draft, job: JobState) -> None:
    """The charger listed what it holds; what it accepted and does not list did not work."""
    bundle = draft.context.facts.bundles.get(job.purpose)
    if bundle is None:
        return
    wanted = _wanted(job, bundle)
    if len(listed_anchors(draft.state.reported, wanted)) < len(wanted.anchors):
        message = "the charger accepted the trust anchor but does not list it"
        draft.retry(job, "trust-anchor-not-listed", message)


def _wanted(job: JobState, bundle: Bundle) -> Bundle:
    return bundle if job.fingerprint_sha256 is None else _narrowed(bundle, job.fingerprint_sha256)


def _narrowed(bundle: Bundle, fingerprint_sha256: str) -> Bundle:
    anchors = tuple(one for one in bundle.anchors if one.fingerprint_sha256 == fingerprint_sha256)
    return msgspec.structs.replace(bundle, anchors=anchors)


def _policy(draft: Draft, bundle: Bundle) -> Policy:
    """The policy of the certificates that depend on the bundle: what counts as confirmed is theirs to say."""
    for spec in (session_purpose(), *purposes().values()):
        if spec.anchor_bundle == bundle.purpose:
            return draft.policy(spec.name)
    return draft.policy(bundle.purpose)
