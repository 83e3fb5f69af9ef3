"""Certificate jobs: asked for here, decided by the ledger, followed through their timeline."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.certificate_hash import HashData
from bfactors.charger.departure import DECOMMISSION
from bfactors.charger.pending_key import ROTATE_KEY
from bfactors.charger.prerequisite import CLIENT_CERTIFICATE_PROFILE
from bfactors.command import CancelJob, RequestJob, RotateKey
from bfactors.ports import Clock
from bfactors.purpose import purposes, session_purpose
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.departure import Departures
from gateways.admin.inbound import given
from gateways.admin.migration import Migrations, TargetProfile
from gateways.admin.paging import page_of
from gateways.admin.ports import Body, Reader
from gateways.admin.problem import Problem
from gateways.admin.reach import cohorts_of
from gateways.admin.role import MAY_OPEN_JOB
from gateways.admin.route import Answer, Call, Route
from gateways.admin.worn_key import refuse_worn_key

Action = Literal[
    "issue",
    "renew",
    "revoke",
    "deactivate",
    "delete",
    "install-anchor",
    "migrate",
    "rotate-key",
    "decommission",
]
RevocationReason = Literal[
    "key_compromise",
    "superseded",
    "cessation_of_operation",
    "privilege_withdrawn",
    "affiliation_changed",
    "unspecified",
]


class ReportedRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate by the hash data a charger lists it with, as its `reported_certificates` show them."""

    algorithm: Literal["SHA256", "SHA384", "SHA512"]
    issuer_name_hash: field.Search
    issuer_key_hash: field.Search
    serial_number: field.Search


class OpenJobBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The charger by its id or by the identity it carries, exactly one of them."""

    charger_id: field.ChargerId | None = None
    managed_identity_id: field.Id | None = None
    purpose: field.Name
    action: Action
    certificate_id: field.Id | None = None
    reason: field.Reason
    revocation_reason: RevocationReason | None = None
    target_profile: TargetProfile | None = None
    """For migrate; 3 if absent."""
    reported_ref: ReportedRef | None = None
    fingerprint_sha256: field.Fingerprint | None = None
    replace: bool = False
    """With revoke: order another certificate at once."""
    delete: bool = False
    """With revoke: have it deleted on the charger where its protocol can."""


class ReasonBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for the audit trail."""

    reason: field.Reason


class JobQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters on the jobs as they stand."""

    state: Literal["open", "succeeded", "failed", "cancelled"] | UnsetType = UNSET
    stage: shape.JobStage | UnsetType = UNSET
    purpose: field.Search | UnsetType = UNSET
    charger_id: field.Search | UnsetType = UNSET
    overdue: bool | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class Jobs:
    """`/api/v1/jobs`, and the way every other resource opens one."""

    def __init__(
        self, reader: Reader, commands: Commands, clock: Clock, migrations: Migrations, departures: Departures
    ) -> None:
        self._migrations = migrations
        self._departures = departures
        self._reader = reader
        self._commands = commands
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/jobs",
                operation="jobs.open",
                summary="Ask for a certificate job; an open one of the same kind for the same slot is answered instead",
                handler=self.open,
                body=OpenJobBody,
                answer=shape.Job,
                status=202,
                conflicts=True,
                further={404: "The charger, identity or certificate is unknown"},
            ),
            Route(
                method="GET",
                path="/api/v1/jobs",
                operation="jobs.list",
                summary="List jobs, newest first",
                handler=self.list,
                query=JobQuery,
                answer=shape.Page[shape.Job],
            ),
            Route(
                method="GET",
                path="/api/v1/jobs/{job_id}",
                operation="jobs.get",
                summary="One job with its timeline",
                handler=self.get,
                answer=shape.JobDetail,
            ),
            Route(
                method="POST",
                path="/api/v1/jobs/{job_id}/cancel",
                operation="jobs.cancel",
                summary="Give a job up; what is with the CA already is completed there and superseded",
                handler=self.cancel,
                body=ReasonBody,
                answer=shape.Job,
                conflicts=True,
            ),
        )

    async def open(self, call: Call, body: OpenJobBody) -> Answer:
        if (body.charger_id is None) == (body.managed_identity_id is None):
            name = "charger_id" if body.charger_id is None else "managed_identity_id"
            raise Problem.of_field(name, "give either charger_id or managed_identity_id")
        if body.revocation_reason is not None and body.action != "revoke":
            raise Problem.of_field("revocation_reason", "belongs to the action revoke only")
        for name, is_given in (("replace", body.replace), ("delete", body.delete)):
            if is_given and body.action != "revoke":
                raise Problem.of_field(name, "belongs to the action revoke only")
        if body.reported_ref is not None and body.action != "delete":
            raise Problem.of_field("reported_ref", "belongs to the action delete only")
        if body.fingerprint_sha256 is not None and body.action not in ("delete", "install-anchor"):
            raise Problem.of_field(
                "fingerprint_sha256", "belongs to the actions delete and install-anchor only"
            )
        if body.target_profile is not None and body.action != "migrate":
            raise Problem.of_field("target_profile", "belongs to the action migrate only")
        if body.action == "delete" and _names_given(body) != 1:
            raise Problem.of_field(
                "reported_ref", "give one of reported_ref, certificate_id and fingerprint_sha256"
            )
        role = call.token.role if call.token is not None else ""
        if role not in MAY_OPEN_JOB[body.action]:
            raise Problem(403, "forbidden", f"the role {role!r} may not {body.action} certificates")
        charger_id = body.charger_id or await self._charger_of(body.managed_identity_id or "")
        if body.action == "migrate":
            _refuse_other_purpose(body, "a migration is about the certificate that opens sessions")
            target = body.target_profile or CLIENT_CERTIFICATE_PROFILE
            return await self._migrations.request(call, charger_id, target, body.reason)
        if body.action == DECOMMISSION:
            _refuse_other_purpose(
                body, "decommissioning is about the charger, whose certificate opens sessions"
            )
            return await self._departures.request(call, charger_id, body.reason)
        return await self.request(
            call,
            charger_id=charger_id,
            purpose=body.purpose,
            managed_identity_id=body.managed_identity_id,
            action=body.action,
            reason=body.reason,
            certificate_id=body.certificate_id,
            revocation_reason=body.revocation_reason,
            replace=body.replace,
            delete=body.delete,
            reported_ref=_hash_data(body.reported_ref),
            fingerprint_sha256=body.fingerprint_sha256.lower() if body.fingerprint_sha256 else None,
        )

    async def request(
        self,
        call: Call,
        *,
        charger_id: str,
        purpose: str,
        action: Action,
        reason: str,
        certificate_id: str | None = None,
        revocation_reason: RevocationReason | None = None,
        reported_ref: HashData | None = None,
        fingerprint_sha256: str | None = None,
        replace: bool = False,
        delete: bool = False,
        managed_identity_id: str | None = None,
    ) -> Answer:
        """Open a job under an id made from the request's Idempotency-Key; 202 with the job."""
        job_id = call.repetition.new_id("job")
        await refuse_worn_key(self._reader, self._clock, job_id)
        command: RequestJob | RotateKey
        if action == ROTATE_KEY:
            if purpose != session_purpose().name:
                raise Problem.of_field("purpose", f"keys are the affair of {session_purpose().name}")
            command = RotateKey(job_id=job_id, charger_id=charger_id, reason=reason)
        else:
            command = RequestJob(
                job_id=job_id,
                charger_id=charger_id,
                purpose=purpose,
                action=action,
                reason=reason,
                certificate_id=certificate_id,
                revocation_reason=revocation_reason,
                reported_ref=reported_ref,
                fingerprint_sha256=fingerprint_sha256,
                replace=replace,
                delete=delete,
                managed_identity_id=managed_identity_id,
            )
        job = result_of(await self._commands.to_charger(call, charger_id, command))
        return Answer(job, 202, {"Location": f"/api/v1/jobs/{job['job_id']}"})

    async def list(self, call: Call, query: JobQuery) -> Answer:
        return page_of(await self._reader.jobs(**given(query), **cohorts_of(call)))

    async def get(self, call: Call) -> Answer:
        return Answer(await self._job(call))

    async def cancel(self, call: Call, body: ReasonBody) -> Answer:
        job = await self._job(call)
        command = CancelJob(charger_id=job["charger_id"], job_id=job["job_id"], reason=body.reason)
        return Answer(result_of(await self._commands.to_charger(call, job["charger_id"], command)))

    async def _job(self, call: Call) -> Body:
        job = await self._reader.job(call.path["job_id"])
        if job is None:
            raise Problem.unknown("job", call.path["job_id"])
        return job

    async def _charger_of(self, managed_identity_id: str) -> str:
        found = await self._reader.identity(managed_identity_id)
        if found is not None and found["charger_id"] is not None:
            return str(found["charger_id"])
        raise Problem.unknown("managed-identity", managed_identity_id)


def _refuse_other_purpose(body: OpenJobBody, message: str) -> None:
    spec = purposes().get(body.purpose)
    if spec is None or not spec.is_session_credential:
        raise Problem.of_field("purpose", message)


def _names_given(body: OpenJobBody) -> int:
    return sum(name is not None for name in (body.reported_ref, body.certificate_id, body.fingerprint_sha256))


def _hash_data(ref: ReportedRef | None) -> HashData | None:
    if ref is None:
        return None
    return HashData(ref.algorithm, ref.issuer_name_hash, ref.issuer_key_hash, ref.serial_number)
