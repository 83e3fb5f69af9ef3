"""The record with which every certificate job begins."""

from datetime import timedelta

from bfactors import command as c
from bfactors import event as e
from bfactors.certificate_hash import ReportedCertificate
from bfactors.charger.draft import Draft


def ask(
    draft: Draft,
    command: c.RequestJob,
    certificate_id: str | None,
    target: ReportedCertificate | None = None,
    *,
    part: str = "",
) -> None:
    """Open the job of a command, under the policy of now. `part`: the identity it is for, if not the charger itself."""
    policy = draft.policy(command.purpose)
    version = draft.context.facts.policies.version
    draft.record(
        e.CertificateRequested(
            job_id=command.job_id,
            managed_identity_id=part or draft.state.managed_identity_id,
            charger_id=draft.state.charger_id,
            purpose=command.purpose,
            variant="default",
            action=command.action,
            reason=command.reason,
            certificate_id=certificate_id,
            deadline_at=draft.now + timedelta(seconds=policy.job_deadline_s),
            policy_version=version,
            target=target,
            fingerprint_sha256=command.fingerprint_sha256 if command.action == "install-anchor" else None,
        )
    )
    draft.record(
        e.PolicyDecisionRecorded(
            job_id=command.job_id,
            rule="job-allowed",
            outcome="allow",
            policy_version=version,
            reason=f"{command.action} of {command.purpose}",
        )
    )
