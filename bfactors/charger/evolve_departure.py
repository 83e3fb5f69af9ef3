"""How a charger's state changes when its unit leaves."""

from datetime import datetime

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger.state import ChargerState


def decommissioned(state: ChargerState, event: e.ChargerDecommissioned, now: datetime) -> ChargerState:
    """Nobody stands here; no permission outlives that."""
    return replace(
        state,
        decommissioned_at=now,
        decommission_reason=event.reason,
        leaving_job_id=event.job_id,
        session=None,
        lost_session_id=None,
        way_back=None,
        expired_admission=None,
        trace=None,
    )


def replaced(state: ChargerState, event: e.ChargerReplaced, now: datetime) -> ChargerState:
    """The position with another unit in it: what is not named here was the old unit's, and has left with it."""
    former = state.managed_identity_id
    return ChargerState(
        charger_id=state.charger_id,
        managed_identity_id=event.managed_identity_id,
        serial_number=event.serial_number,
        family=state.family,
        site=state.site,
        cohort=state.cohort,
        organization=state.organization,
        installer=state.installer,
        expected_common_name=event.expected_common_name,
        security_profile=event.security_profile,
        target_security_profile=state.target_security_profile,
        ocpp_versions=event.ocpp_versions,
        registered_at=state.registered_at,
        keys=() if event.key is None else (event.key, *event.key_forms),
        key_origin=event.key_origin,
        key_since=None if event.key is None else now,
        key_weakness=event.key_weakness,
        key_generation=state.key_generation,
        unit_since=now,
        leaving_job_id=event.job_id,
        subject_match=state.subject_match,
        session_generation=state.session_generation,
        certificates={
            certificate_id: replace(certificate, former_identity_id=certificate.former_identity_id or former)
            for certificate_id, certificate in state.certificates.items()
        },
        recalls_more=state.recalls_more,
        jobs=state.jobs,
        ended_jobs=tuple(
            replace(ended, former_identity_id=ended.former_identity_id or former)
            for ended in state.ended_jobs
        ),
        instructions=state.instructions,
        approvals=state.approvals,
        security_windows=state.security_windows,
        security_events=state.security_events,
        security_known=state.security_known,
        logs=state.logs,
        last_request_id=state.last_request_id,
        spoken_for_by=state.spoken_for_by,
        parts=state.parts,
        revision=state.revision,
    )
