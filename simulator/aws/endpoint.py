"""The HTTP face of the peer: JSON 1.1, Query and plain GET, each call passing throttle, fault and journal."""

import uuid
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import md5, sha256
from http import HTTPStatus
from typing import Any
from xml.sax.saxutils import escape

import orjson
from aiohttp import web

from simulator.aws import acm
from simulator.aws import request as shapes
from simulator.aws import template as templates
from simulator.aws.audit_report import AuditReports
from simulator.aws.fault import CONNECTION_CLOSED, ConnectionLost, FaultPlan, strike
from simulator.aws.issuing import Issuing, parameter_hash
from simulator.aws.journal import Journal, JournalEntry
from simulator.aws.registry import CRL_BUCKET, AuthorityRegistry
from simulator.aws.responder import CONTENT_TYPE as OCSP_RESPONSE
from simulator.aws.responder import Responder
from simulator.aws.revocation import Revocation
from simulator.aws.service_error import ServiceError
from simulator.aws.session import SessionBook, query_answer, query_error
from simulator.aws.simulation import PolicySimulation
from simulator.aws.throttle import Throttle

_TARGET_PREFIX = "ACMPrivateCA."
_JSON_TYPE = "application/x-amz-json-1.1"


@dataclass
class _Call:
    """What becomes known of a call while it is handled; ends as a journal entry."""

    operation: str
    request_id: str
    authority_arn: str | None = None
    token: str | None = None
    parameter_hash: str | None = None
    template: str | None = None
    certificate_arn: str | None = None
    caller: str | None = None
    took_effect: bool = False


@dataclass(frozen=True)
class Endpoint:
    """Handlers of every AWS route. Each request is finished on the event loop it arrived on."""

    registry: AuthorityRegistry
    issuing: Issuing
    revocation: Revocation
    responder: Responder
    reports: AuditReports
    sessions: SessionBook
    throttle: Throttle
    faults: FaultPlan
    journal: Journal

    def routes(self) -> list[web.RouteDef]:
        """Everything but the peer's own `/_peer` routes; the last one is S3's path style."""
        return [
            web.post("/", self.post),
            web.get("/crl/{authority_id}.crl", self.get_crl),
            web.get("/crl/{authority_id}/{partition:[0-9]{1,6}}.crl", self.get_crl),
            web.post("/ocsp/{authority_id}", self.ask_ocsp),
            web.get("/s3/{bucket}/{key:.+}", self.get_object),
            web.get("/{bucket}/{key:.+}", self.get_object),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """JSON 1.1 when a target is named, the Query protocol of STS and IAM otherwise."""
        target = request.headers.get("X-Amz-Target")
        request_id = str(uuid.uuid4())
        if target is None:
            return await self._query(request, request_id)
        call = _Call(_operation(target), request_id)
        body = await request.read()

        async def answer() -> web.Response:
            result = self._perform(call, target, request, body)
            return web.Response(body=orjson.dumps(result), content_type=_JSON_TYPE)

        return await self._guarded(request, call, answer, _json_error)

    async def _query(self, request: web.Request, request_id: str) -> web.Response:
        form = {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
        call = _Call(form.get("Action", ""), request_id)

        async def answer() -> web.Response:
            caller = self.sessions.identify(request.headers)
            call.caller = caller.role or caller.access_key_id
            match call.operation:
                case "AssumeRole":
                    result = self.sessions.assume_role(form)
                case "GetCallerIdentity":
                    result = self.simulation.caller_identity(caller)
                case "SimulatePrincipalPolicy":
                    result = self.simulation.simulate(caller, form)
                case _:
                    raise ServiceError("InvalidAction", f"no such action: {call.operation}")
            return web.Response(
                text=query_answer(call.operation, result, request_id), content_type="text/xml"
            )

        return await self._guarded(request, call, answer, _query_error)

    async def get_crl(self, request: web.Request) -> web.Response:
        """The CRL of one authority, DER, without any credential, as AWS publishes it."""
        call = _Call("GetCrl", str(uuid.uuid4()))

        async def answer() -> web.Response:
            return await self._crl(request.match_info["authority_id"], request.match_info.get("partition"))

        return await self._guarded(request, call, answer, _object_error)

    async def get_object(self, request: web.Request) -> web.Response:
        """S3 GetObject and HeadObject, path style, also below `/s3/`; no credential needed."""
        bucket, key = request.match_info["bucket"], request.match_info["key"]
        call = _Call("GetObject", str(uuid.uuid4()))

        async def answer() -> web.Response:
            if bucket == CRL_BUCKET and key.startswith("crl/") and key.endswith(".crl"):
                return await self._crl(key.removeprefix("crl/").removesuffix(".crl"))
            row = self.registry.store.execute(
                "SELECT content_type, body FROM object WHERE bucket = ? AND key = ?", (bucket, key)
            ).fetchone()
            if row is None:
                raise ServiceError("NoSuchKey", "The specified key does not exist.")
            tag = md5(row["body"], usedforsecurity=False).hexdigest()
            return web.Response(
                body=row["body"], content_type=row["content_type"], headers={"ETag": f'"{tag}"'}
            )

        return await self._guarded(request, call, answer, _object_error)

    async def ask_ocsp(self, request: web.Request) -> web.Response:
        """The OCSP responder of one authority, by POST, without any credential."""
        call = _Call("Ocsp", str(uuid.uuid4()))
        question = await request.read()

        async def answer() -> web.Response:
            authority = self.registry.hierarchy.by_id.get(request.match_info["authority_id"])
            if authority is None or authority.ocsp_url is None:
                raise ServiceError("NoSuchKey", "The specified key does not exist.")
            body = self.responder.answer(authority, question)
            return web.Response(body=body, content_type=OCSP_RESPONSE)

        return await self._guarded(request, call, answer, _object_error)

    async def _crl(self, authority_id: str, partition: str | None = None) -> web.Response:
        authority = self.registry.hierarchy.by_id.get(authority_id)
        number = None if partition is None else int(partition)
        is_there = authority is not None and (
            authority.crl_partitions == 0 if number is None else number < authority.crl_partitions
        )
        if authority is None or not is_there:
            raise ServiceError("NoSuchKey", "The specified key does not exist.")
        body = await self.revocation.crl(authority, number)
        return web.Response(body=body, content_type="application/pkix-crl")

    async def _guarded(
        self,
        request: web.Request,
        call: _Call,
        answer: Callable[[], Awaitable[web.Response]],
        render: Callable[[ServiceError, str], web.Response],
    ) -> web.Response:
        """One call from throttle to journal; an error becomes an answer, a lost connection none at all."""
        outcome = "ok"
        try:
            self.throttle.spend(call.operation)
            fault = self.faults.take(call.operation)
            if fault is not None and fault.after == "before-effect":
                await strike(fault, self.registry.config.pause)
            response = await answer()
            call.took_effect = True
            if fault is not None and fault.after == "after-effect":
                await strike(fault, self.registry.config.pause)
        except ServiceError as error:
            outcome, response = error.code, render(error, call.request_id)
        except ConnectionLost:
            outcome, response = CONNECTION_CLOSED, web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
            if request.transport is not None:
                request.transport.abort()
        response.headers["x-amzn-RequestId"] = call.request_id
        self._note(call, outcome)
        return response

    @cached_property
    def manager(self) -> acm.CertificateManager:
        """ACM, over the same store and the same CAs."""
        return acm.CertificateManager(self.registry.config, self.registry.store, self.registry, self.issuing)

    @cached_property
    def simulation(self) -> PolicySimulation:
        """What roles might do."""
        return PolicySimulation(self.registry)

    @cached_property
    def _operations(self) -> dict[str, tuple[type[shapes.Shape], Callable[[Any], dict[str, Any]]]]:
        return {
            "IssueCertificate": (shapes.IssueCertificate, self.issuing.issue),
            "GetCertificate": (shapes.GetCertificate, self.issuing.get),
            "RevokeCertificate": (shapes.RevokeCertificate, self.revocation.revoke),
            "DescribeCertificateAuthority": (shapes.AuthorityRequest, self.registry.describe),
            "GetCertificateAuthorityCertificate": (shapes.AuthorityRequest, self.registry.certificate),
            "ListCertificateAuthorities": (shapes.ListCertificateAuthorities, self.registry.list),
            "CreateCertificateAuthorityAuditReport": (shapes.CreateAuditReport, self.reports.create),
            "DescribeCertificateAuthorityAuditReport": (shapes.DescribeAuditReport, self.reports.describe),
            "acm:RequestCertificate": (acm.RequestCertificate, self.manager.request),
            "acm:ImportCertificate": (acm.ImportCertificate, self.manager.import_certificate),
            "acm:DescribeCertificate": (acm.OfCertificate, self.manager.describe),
            "acm:GetCertificate": (acm.OfCertificate, self.manager.get),
            "acm:RenewCertificate": (acm.OfCertificate, self.manager.renew),
            "acm:ExportCertificate": (acm.ExportCertificate, self.manager.export),
        }

    def _perform(self, call: _Call, target: str, request: web.Request, body: bytes) -> dict[str, Any]:
        caller = self.sessions.identify(request.headers)
        call.caller = caller.role or caller.access_key_id
        if call.operation not in self._operations:
            raise ServiceError("UnknownOperationException", f"no such operation: {target}")
        kind, handle = self._operations[call.operation]
        parameters = shapes.parse(body, kind)
        call.authority_arn = getattr(parameters, "certificate_authority_arn", None)
        call.certificate_arn = getattr(parameters, "certificate_arn", None)
        template: str | None = None
        if isinstance(parameters, shapes.IssueCertificate):
            call.token, call.parameter_hash = parameters.idempotency_token, parameter_hash(parameters)
            template = templates.from_arn(parameters.template_arn).name
            call.template = template
        else:
            call.parameter_hash = sha256(body).hexdigest()
        realm = None if call.authority_arn is None else self.registry.named(call.authority_arn).realm
        self.sessions.authorize(caller, call.operation, realm, template)
        result = handle(parameters)
        call.certificate_arn = result.get("CertificateArn", call.certificate_arn)
        return result

    def _note(self, call: _Call, outcome: str) -> None:
        entry = JournalEntry(
            at=self.registry.config.clock.now().isoformat(),
            operation=call.operation,
            authority_arn=call.authority_arn,
            token=call.token,
            parameter_hash=call.parameter_hash,
            template=call.template,
            certificate_arn=call.certificate_arn,
            caller=call.caller,
            request_id=call.request_id,
            outcome=outcome,
            took_effect=call.took_effect,
        )
        self.journal.append(entry)


def _operation(target: str) -> str:
    """How roles, faults and the journal call it: `IssueCertificate` of Private CA, `acm:RequestCertificate` of ACM."""
    if target.startswith(acm.PREFIX):
        return f"acm:{target.removeprefix(acm.PREFIX)}"
    return target.removeprefix(_TARGET_PREFIX) if target.startswith(_TARGET_PREFIX) else f"unknown:{target}"


def _json_error(error: ServiceError, request_id: str) -> web.Response:
    return web.Response(
        body=orjson.dumps({"__type": error.code, "message": error.message}),
        status=error.status,
        content_type=_JSON_TYPE,
        headers={"x-amzn-ErrorType": error.code},
    )


def _query_error(error: ServiceError, request_id: str) -> web.Response:
    return web.Response(text=query_error(error, request_id), status=error.status, content_type="text/xml")


def _object_error(error: ServiceError, request_id: str) -> web.Response:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message><RequestId>{request_id}</RequestId>"
        f"<HostId>{b64encode(request_id.encode()).decode()}</HostId></Error>"
    )
    return web.Response(text=text, status=error.status, content_type="application/xml")
