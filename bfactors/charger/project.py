"""The rows others read: charger, certificates, jobs, instructions and effects, in the words of the API contract."""

from typing import Any

import msgspec

from bfactors.charger import approval_view, incident, lockout, migration_view
from bfactors.charger.key_view import key_body, key_rows
from bfactors.charger.outgoing import attempt_ids, effects
from bfactors.charger.part import Part
from bfactors.charger.state import (
    CertificateRecord,
    ChargerState,
    InstructionState,
    JobState,
    LogRequest,
    RecentSecurityEvent,
    Slot,
)
from bfactors.effect import Effect
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import is_repeatable, kind_name
from bfactors.ledger_row import (
    ApprovalRow,
    AuthorizationKeyRow,
    CertificateRow,
    ChargerRow,
    EffectRow,
    InstructionRow,
    JobRow,
    LogRow,
    MigrationRow,
)
from bfactors.purpose import purpose
from bfactors.x509 import first_and_rest

_encode = msgspec.json.Encoder().encode


class ChargerRows(msgspec.Struct, frozen=True, kw_only=True):
    """What changed between two states of one charger."""

    charger: ChargerRow
    certificates: list[CertificateRow]
    jobs: list[JobRow]
    instructions: list[InstructionRow]
    effects: list[EffectRow]
    logs: list[LogRow] = []
    migrations: list[MigrationRow] = []
    authorization_keys: list[AuthorizationKeyRow] = []
    approvals: list[ApprovalRow] = []


def project(
    before: ChargerState | None, after: ChargerState, jobs: dict[str, JobState], facts: FleetFacts
) -> ChargerRows:
    """The rows to write: the charger's own, and those of parts that differ from `before`."""
    old_certificates = before.certificates if before is not None else {}
    old_instructions = before.instructions if before is not None else {}
    certificates = [
        certificate_row(after, certificate)
        for certificate_id, certificate in after.certificates.items()
        if old_certificates.get(certificate_id) is not certificate
    ]
    instructions = [
        _instruction_row(after, instruction, outstanding=True)
        for instruction_id, instruction in after.instructions.items()
        if old_instructions.get(instruction_id) is not instruction
    ]
    instructions += [
        _instruction_row(after, instruction, outstanding=False)
        for instruction_id, instruction in old_instructions.items()
        if instruction_id not in after.instructions
    ]
    return ChargerRows(
        charger=charger_row(after),
        certificates=certificates,
        jobs=[job_row(after, job) for job in jobs.values()],
        instructions=instructions,
        effects=_effect_rows(before, after, facts),
        logs=_log_rows(before, after),
        migrations=_migration_rows(before, after),
        authorization_keys=key_rows(before, after),
        approvals=approval_view.rows(before, after),
    )


def _migration_rows(before: ChargerState | None, after: ChargerState) -> list[MigrationRow]:
    """The case's row if it may differ: what is outstanding tells how far one under way is."""
    case = after.migration
    is_same = before is not None and before.migration is case and before.cohort == after.cohort
    if case is None or (is_same and not case.is_under_way):
        return []
    row = migration_view.row(after)
    return [row] if row is not None else []


def _log_rows(before: ChargerState | None, after: ChargerState) -> list[LogRow]:
    known = {log.log_id: log for log in before.logs} if before is not None else {}
    return [_log_row(after, log) for log in after.logs if known.get(log.log_id) is not log]


def _effect_rows(before: ChargerState | None, after: ChargerState, facts: FleetFacts) -> list[EffectRow]:
    if (
        before is not None
        and before.jobs is after.jobs
        and before.certificates is after.certificates
        and before.pending_keys is after.pending_keys
    ):
        return []
    old = {effect.effect_id: effect for effect in effects(before, facts)} if before is not None else {}
    new = {effect.effect_id: effect for effect in effects(after, facts)}
    rows = [_effect_row(effect) for key, effect in new.items() if old.get(key) != effect]
    # `old` is what it would owe under the facts of today; an attempt at a CA of yesterday is settled all the same
    gone = (old.keys() | attempt_ids(before)) - new.keys() if before is not None else set[str]()
    rows += [_settled_row(effect_id) for effect_id in sorted(gone)]
    return rows


def _effect_row(effect: Effect) -> EffectRow:
    return EffectRow(
        effect_id=effect.effect_id, purpose=effect.purpose, outstanding=True, doc=_encode(effect)
    )


def _settled_row(effect_id: str) -> EffectRow:
    return EffectRow(effect_id=effect_id, purpose="", outstanding=False, doc=b"null")


# ---------------------------------------------------------------- bodies


def charger_body(state: ChargerState) -> dict[str, Any]:
    """A charger as `GET /api/v1/chargers/{charger_id}` shows it."""
    session = state.session
    return {
        "charger_id": state.charger_id,
        "managed_identity_id": state.managed_identity_id,
        "serial_number": state.serial_number,
        "family": state.family,
        "site": state.site,
        "cohort": state.cohort,
        "organization": state.organization,
        "installer": state.installer,
        "expected_common_name": state.expected_common_name,
        "security_profile": state.security_profile,
        "target_security_profile": state.target_security_profile,
        "ocpp_versions": list(state.ocpp_versions),
        "registered_at": state.registered_at,
        "session": None
        if session is None
        else {
            "connected_at": session.connected_at,
            "ocpp_version": session.ocpp_version,
            "security_profile": session.security_profile,
            "fingerprint_sha256": session.fingerprint_sha256,
            "remote_address": session.remote_address,
            "node": session.node,
            "flags": list(session.flags),
        },
        "boot": state.boot,
        "slots": [_slot_body(state, key, slot) for key, slot in state.slots.items()],
        "parts": [_part_body(part) for part in state.parts.values() if not part.is_retired],
        "reported_certificates": [
            {
                "use": reported.use,
                "hash_data": reported.hash_data,
                "child_hash_data": list(reported.child_hash_data),
            }
            for reported in state.reported
        ],
        "outstanding": [_outstanding_body(state, instruction) for instruction in state.instructions.values()],
        "trust_anchors": [
            {
                "purpose": key,
                "bundle_id": value.bundle_id,
                "rung": value.rung,
                "confirmed_at": value.confirmed_at,
            }
            for key, value in state.bundles.items()
        ],
        "authorization_key": key_body(state),
        "migration": migration_view.body(state),
        "security_events": [_security_event_body(event) for event in reversed(state.security_events)],
        "expired_certificate_admission": state.expired_admission,
        "spoken_for_by": list(state.spoken_for_by),
        "capabilities": msgspec.structs.asdict(state.capabilities),
        "paused_reason": state.paused_reason,
        "decommissioned_at": state.decommissioned_at,
        "decommission_reason": state.decommission_reason,
        "last_seen_at": state.last_seen_at,
    }


def _slot_body(state: ChargerState, key: str, slot: Slot) -> dict[str, Any]:
    purpose_name, variant, *part = key.split("/", 2)
    return {
        "managed_identity_id": part[0] if part else state.managed_identity_id,
        "purpose": purpose_name,
        "variant": variant,
        "current": _certificate_of(state, slot.current),
        "next": _certificate_of(state, slot.next),
    }


def _part_body(part: Part) -> dict[str, Any]:
    return {
        "managed_identity_id": part.identity_id,
        "kind": part.kind,
        "external_ids": {scheme: value for scheme, _, value in (name.partition(":") for name in part.names)},
        "evses": list(part.evses),
    }


def _certificate_of(state: ChargerState, certificate_id: str | None) -> dict[str, Any] | None:
    certificate = state.certificates.get(certificate_id) if certificate_id is not None else None
    return certificate_body(state, certificate) if certificate is not None else None


def _outstanding_body(state: ChargerState, instruction: InstructionState) -> dict[str, Any]:
    if state.session is None:
        waiting_for = "connection"
    elif instruction.sent_session is None and not is_repeatable(instruction.body):
        waiting_for = "sending"
    else:
        waiting_for = "answer"
    return {
        "job_id": instruction.job_id,
        "instruction": kind_name(instruction.body),
        "since": instruction.opened_at,
        "waiting_for": waiting_for,
    }


def _security_event_body(event: RecentSecurityEvent) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "detail": event.detail,
        "charger_time": event.charger_time,
        "observed_at": event.observed_at,
        "critical": event.critical,
        "count": event.count,
        "job_id": event.job_id,
    }


def log_body(state: ChargerState, log: LogRequest) -> dict[str, Any]:
    """A log as `GET /api/v1/logs/{log_id}` shows it."""
    return {
        "log_id": log.log_id,
        "charger_id": state.charger_id,
        "job_id": log.job_id,
        "request_id": log.request_id,
        "log": log.log,
        "state": log.state,
        "charger_status": log.status,
        "oldest": log.oldest,
        "latest": log.latest,
        "requested_at": log.requested_at,
        "expires_at": log.expires_at,
        "stored_at": log.stored_at,
        "stored_name": log.stored_name,
        "file_name": log.file_name,
        "sha256": log.sha256,
        "size_bytes": log.size_bytes,
        "remote_address": log.remote_address,
    }


def certificate_body(state: ChargerState, certificate: CertificateRecord) -> dict[str, Any]:
    """A certificate as the API lists it (without its PEM)."""
    return {
        "certificate_id": certificate.certificate_id,
        "managed_identity_id": certificate.part
        or certificate.former_identity_id
        or state.managed_identity_id,
        "charger_id": state.charger_id,
        "purpose": certificate.purpose,
        "realm": purpose(certificate.purpose).realm,
        "variant": certificate.variant,
        "mode": certificate.mode,
        "state": certificate.state,
        "authority": certificate.authority,
        "external_ref": certificate.external_ref or None,
        "external_status": None,
        "last_confirmed_at": None,
        "stale": False,
        "fingerprint_sha256": certificate.fingerprint_sha256,
        "serial_number": certificate.serial_number,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "issuing_ca_id": certificate.issuing_ca_id or None,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "issued_at": certificate.issued_at,
        "installed_at": certificate.installed_at,
        "activated_at": certificate.activated_at,
        "revoked_at": certificate.revoked_at,
        "revocation_requested_at": certificate.revocation_requested_at,
        "admit_until": certificate.admit_until,
        "incident": None
        if not certificate.incident_id
        else {"incident_id": certificate.incident_id, "state": incident.target_state(certificate)},
        "revocation": _revocation_body(certificate),
    }


def _revocation_body(certificate: CertificateRecord) -> dict[str, Any] | None:
    """How far a revocation has come: each moment is null until it is known."""
    if certificate.revocation_requested_at is None:
        return None
    publication, unpublished = certificate.publication, certificate.unpublished
    return {
        "reason": certificate.revocation_reason,
        "job_id": certificate.revocation_job_id or None,
        "replacement_job_id": certificate.replacement_job_id,
        "deletion_job_id": certificate.deletion_job_id,
        "requested_at": certificate.revocation_requested_at,
        "refused_at_edge_at": certificate.refused_at_edge_at,
        "ca_revoked_at": certificate.revoked_at,
        "published_at": publication.seen_at if publication is not None else None,
        "publication": None
        if publication is None
        else {
            "source": publication.source,
            "address": publication.address,
            "list_number": publication.list_number,
            "this_update": publication.this_update,
            "listed_revoked_at": publication.listed_revoked_at,
        },
        "unpublished": None
        if unpublished is None
        else {"code": unpublished[0], "message": unpublished[1], "is_over": certificate.is_publication_over},
    }


def job_body(state: ChargerState, job: JobState) -> dict[str, Any]:
    """A job as the API lists it; its timeline is read from the ledger."""
    reason = None if job.reason_code is None else {"code": job.reason_code, "message": job.reason_message}
    return {
        "job_id": job.job_id,
        "managed_identity_id": job.part or state.managed_identity_id,
        "charger_id": state.charger_id,
        "purpose": job.purpose,
        "action": job.action,
        "state": job.state,
        "stage": job.stage,
        "overdue": job.overdue,
        "waiting_for": job.waiting_for,
        "held_by": job.held_by,
        "reason": reason,
        "certificate_id": job.certificate_id,
        "policy_version": job.policy_version,
        "created_at": job.created_at,
        "deadline_at": job.deadline_at,
        "due_at": job.due_at,
        "reconnect": _reconnect_body(job),
    }


def _reconnect_body(job: JobState) -> dict[str, Any] | None:
    """What was done so that the charger uses the leaf it took, and how often it came back without."""
    if job.stage != "awaiting-reconnect":
        return None
    return {"steps": list(job.ladder), "with_old_certificate": job.old_reconnects}


# ---------------------------------------------------------------- rows


def charger_row(state: ChargerState) -> ChargerRow:
    """The charger's row."""
    end = lockout.lockout(state)
    return ChargerRow(
        charger_id=state.charger_id,
        managed_identity_id=state.managed_identity_id,
        serial_number=state.serial_number,
        family=state.family,
        site=state.site,
        cohort=state.cohort,
        connected=state.session is not None,
        incarnation=state.session.incarnation if state.session is not None else None,
        security_profile=state.security_profile,
        decommissioned=state.decommissioned_at is not None,
        locked_out_at=None if end is None else end.at,
        lockout_cause=None if end is None else end.cause,
        lockout_certificate_id=None if end is None else end.certificate_id,
        trust_bundle=lockout.trust_bundle(state),
        doc=_encode(charger_body(state)),
    )


def certificate_row(state: ChargerState, certificate: CertificateRecord) -> CertificateRow:
    """A certificate's row, with its PEM."""
    body = certificate_body(state, certificate)
    is_wanted = certificate.state == "active" and certificate.is_usable
    body["pem"], body["chain_pem"] = first_and_rest(certificate.chain_pem)
    return CertificateRow(
        certificate_id=certificate.certificate_id,
        charger_id=state.charger_id,
        managed_identity_id=body["managed_identity_id"],
        purpose=certificate.purpose,
        realm=body["realm"],
        variant=certificate.variant,
        mode=certificate.mode,
        state=certificate.state,
        authority=body["authority"],
        fingerprint_sha256=certificate.fingerprint_sha256,
        serial_number=certificate.serial_number,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        due_since=certificate.due_since if is_wanted else None,
        escalated_days=certificate.escalated_days if is_wanted else None,
        renew_again_at=certificate.renew_again_at if is_wanted else None,
        issuing_ca_id=certificate.issuing_ca_id,
        spki_sha256=certificate.spki_sha256,
        issued_at=certificate.issued_at,
        incident_id=certificate.incident_id or None,
        incident_state=incident.target_state(certificate),
        came_later=bool(certificate.incident_id) and certificate.came_later,
        doc=_encode(body),
    )


def job_row(state: ChargerState, job: JobState) -> JobRow:
    """A job's row."""
    return JobRow(
        job_id=job.job_id,
        charger_id=state.charger_id,
        managed_identity_id=job.part or state.managed_identity_id,
        purpose=job.purpose,
        action=job.action,
        state=job.state,
        stage=job.stage,
        overdue=job.overdue,
        created_at=job.created_at,
        doc=_encode(job_body(state, job)),
    )


def _log_row(state: ChargerState, log: LogRequest) -> LogRow:
    return LogRow(
        log_id=log.log_id,
        charger_id=state.charger_id,
        request_id=log.request_id,
        log=log.log,
        state=log.state,
        secret_id=log.secret_id,
        ticket_hash=log.ticket_hash,
        credential_hash=log.credential_hash,
        max_bytes=log.max_bytes,
        requested_at=log.requested_at,
        expires_at=log.expires_at,
        doc=_encode(log_body(state, log)),
    )


def _instruction_row(
    state: ChargerState, instruction: InstructionState, *, outstanding: bool
) -> InstructionRow:
    return InstructionRow(
        instruction_id=instruction.instruction_id,
        charger_id=state.charger_id,
        job_id=instruction.job_id,
        kind=kind_name(instruction.body),
        outstanding=outstanding,
        doc=_encode(instruction),
    )
