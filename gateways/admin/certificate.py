"""Certificates: looked at here; revoked and deactivated through jobs."""

import msgspec
from msgspec import UNSET, UnsetType

from gateways.admin import field, shape
from gateways.admin.inbound import given
from gateways.admin.job import Action, Jobs, ReasonBody, RevocationReason
from gateways.admin.paging import page_of
from gateways.admin.ports import Body, Reader
from gateways.admin.problem import Problem
from gateways.admin.reach import cohorts_of
from gateways.admin.route import Answer, Call, Route


class RevokeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reason` as the CA is told it; `comment` for people. `replace` orders another certificate at once, `delete` has this one
    deleted on the charger where its protocol can; neither holds the revocation up.
    """

    reason: RevocationReason
    comment: field.Note = ""
    replace: bool = False
    delete: bool = False


class CertificateQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`q`: how an id, a serial number or a fingerprint begins; upper or lower case."""

    charger_id: field.Search | UnsetType = UNSET
    managed_identity_id: field.Search | UnsetType = UNSET
    purpose: field.Search | UnsetType = UNSET
    state: shape.CertificateState | UnsetType = UNSET
    mode: shape.Mode | UnsetType = UNSET
    realm: field.Search | UnsetType = UNSET
    expires_before: field.Time | UnsetType = UNSET
    fingerprint_sha256: field.Fingerprint | UnsetType = UNSET
    serial_number: field.HexSerial | UnsetType = UNSET
    q: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class Certificates:
    """`/api/v1/certificates`."""

    def __init__(self, reader: Reader, jobs: Jobs) -> None:
        self._reader = reader
        self._jobs = jobs

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/certificates",
                operation="certificates.list",
                summary="List certificates, soonest expiry first",
                handler=self.list,
                query=CertificateQuery,
                answer=shape.Page[shape.Certificate],
            ),
            Route(
                method="GET",
                path="/api/v1/certificates/{certificate_id}",
                operation="certificates.get",
                summary="One certificate with its PEM and evidence",
                handler=self.get,
                answer=shape.CertificateDetail,
            ),
            Route(
                method="POST",
                path="/api/v1/certificates/{certificate_id}/revoke",
                operation="certificates.revoke",
                summary="Revoke a certificate at its CA and refuse it at once; cannot be taken back",
                handler=self.revoke,
                body=RevokeBody,
                answer=shape.Job,
                status=202,
                conflicts=True,
            ),
            Route(
                method="POST",
                path="/api/v1/certificates/{certificate_id}/deactivate",
                operation="certificates.deactivate",
                summary="Take a certificate out of its slot without revoking it; starts no renewal",
                handler=self.deactivate,
                body=ReasonBody,
                answer=shape.Job,
                status=202,
                conflicts=True,
            ),
        )

    async def list(self, call: Call, query: CertificateQuery) -> Answer:
        return page_of(await self._reader.certificates(**given(query), **cohorts_of(call)))

    async def get(self, call: Call) -> Answer:
        return Answer({"evidence": [], **await self._certificate(call)})

    async def revoke(self, call: Call, body: RevokeBody) -> Answer:
        comment = body.comment or body.reason
        return await self._end(call, "revoke", comment, body.reason, replace=body.replace, delete=body.delete)

    async def deactivate(self, call: Call, body: ReasonBody) -> Answer:
        return await self._end(call, "deactivate", body.reason, None)

    async def _end(
        self,
        call: Call,
        action: Action,
        reason: str,
        revocation_reason: RevocationReason | None,
        *,
        replace: bool = False,
        delete: bool = False,
    ) -> Answer:
        certificate = await self._certificate(call)
        if certificate["charger_id"] is None:
            raise Problem(
                409, "not-of-a-charger", "this certificate belongs to no charger and is not ours to end"
            )
        return await self._jobs.request(
            call,
            charger_id=certificate["charger_id"],
            purpose=certificate["purpose"],
            action=action,
            reason=reason,
            certificate_id=certificate["certificate_id"],
            revocation_reason=revocation_reason,
            replace=replace,
            delete=delete,
        )

    async def _certificate(self, call: Call) -> Body:
        certificate = await self._reader.certificate(call.path["certificate_id"])
        if certificate is None:
            raise Problem.unknown("certificate", call.path["certificate_id"])
        return certificate
