"""From an HTTP upgrade request to a decision: who says they are connecting, asked of the identity rules. Memory only."""

import base64
import binascii
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bfactors.admission import (
    FACTORY_FLAG,
    AdmissionRecord,
    AdmissionRefused,
    PresentedCredential,
    SessionInfo,
)
from bfactors.identity_rule import Admitted, Upgrade, VerifyKey, admit, admits_expired, ended_in
from bfactors.path import PathCheck, TrustSet
from bfactors.ports import AdmissionView, Clock, EdgeReporter, Metrics
from bfactors.x509 import fingerprint_sha256, pem_of
from gateways.ocpp.dialect import version_of
from gateways.ocpp.proxy import Proxies
from gateways.ocpp.tls import TlsStream

_PREFIX = "/ocpp/"
_RETRY_AFTER_S = 5
_ISSUERS_TOLD = 4
_NO_ENDPOINT = AdmissionRefused("path-unknown", HTTPStatus.NOT_FOUND, "no charger endpoint here")


class UpgradeDesk:
    """Answers every upgrade of one gateway; I/O lane only."""

    def __init__(
        self,
        *,
        node: str,
        incarnation: str,
        admission: AdmissionView,
        reporter: EdgeReporter,
        clock: Clock,
        metrics: Metrics,
        trust: Callable[[], TrustSet],
        verify_key: VerifyKey,
        proxies: Proxies,
    ) -> None:
        self._node = node
        self._incarnation = incarnation
        self._admission = admission
        self._reporter = reporter
        self._clock = clock
        self._metrics = metrics
        self._trust = trust
        self._verify_key = verify_key
        self._proxies = proxies
        self._paths = PathCheck()
        self._controllers: set[str] = set()
        self._ended: dict[str, str] = {}

    def learn(self, record: AdmissionRecord) -> dict[str, str]:
        """Remember who speaks for chargers, and whose leaves have ended; those that are news, state by fingerprint.

        Neither is ever forgotten: the first only decides under which reason others are refused, the second is for good.
        """
        self._controllers.update(one.fingerprint_sha256 for one in record.spoken_for_by)
        news = {name: state for name, state in ended_in(record).items() if name not in self._ended}
        self._ended |= news
        return news

    def answer(
        self, protocol: ServerProtocol, request: Request, tls: TlsStream | None, remote_address: str
    ) -> SessionInfo | None:
        """Answer the request through `protocol`: the session's data if it was admitted, else None, counted and reported."""
        shown = tls.credential() if tls is not None else None
        client = self._proxies.client(request, shown, tls is not None, remote_address)
        charger_id = charger_id_of(request.path)
        record = self._admission.get(charger_id) if charger_id else None
        decision: Admitted | AdmissionRefused
        credential = None
        if isinstance(client, AdmissionRefused):
            decision = client
        else:
            credential, remote_address = client.credential, client.remote_address
            decision = self._decide(charger_id, record, request, credential, has_tls=client.has_tls)
        if isinstance(decision, Admitted) and record is not None:
            assumed = _assumed_subprotocol(protocol, request, record)
            if assumed is not None:
                protocol.available_subprotocols = None  # then it may go without; it gets no such header back
            response = protocol.accept(request)
            if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                protocol.send_response(response)
                if assumed is not None:
                    protocol.subprotocol = assumed
                version = version_of(str(protocol.subprotocol))
                return self._info(record, decision, version, remote_address, credential)
            bad = response.status_code == HTTPStatus.BAD_REQUEST
            decision = AdmissionRefused(
                "no-common-subprotocol" if bad else "not-an-upgrade", response.status_code, ""
            )
        else:
            assert isinstance(decision, AdmissionRefused)  # the rules admit nobody without a record
            response = refusal_response(protocol, decision)
        protocol.send_response(response)
        self._metrics.count("ocpp_upgrades_refused", reason=decision.reason)
        leaf = fingerprint_sha256(credential.leaf_der) if credential is not None else None
        self._reporter.connection_refused(
            charger_id or "", remote_address, decision.reason, decision.http_status, leaf
        )
        return None

    def _decide(
        self,
        charger_id: str | None,
        record: AdmissionRecord | None,
        request: Request,
        credential: PresentedCredential | None,
        *,
        has_tls: bool,
    ) -> Admitted | AdmissionRefused:
        if charger_id is None:
            return _NO_ENDPOINT
        user, password = basic_credentials(request)
        now = self._clock.now()
        return admit(
            Upgrade(
                charger_id=charger_id,
                ready=self._admission.ready,
                tls=has_tls,
                record=record,
                now=now,
                trust=self._trust(),
                paths=self._paths,
                verify_key=self._verify_key,
                user=user,
                password=password,
                credential=credential,
                controllers=self._controllers,
                ended=self._ended,
                forgive_expired_leaf=admits_expired(record, now),
            )
        )

    def _info(
        self,
        record: AdmissionRecord,
        admitted: Admitted,
        version: str,
        remote_address: str,
        credential: PresentedCredential | None,
    ) -> SessionInfo:
        is_unknown = FACTORY_FLAG in admitted.flags
        return SessionInfo(
            session_id=self._clock.new_id(),
            charger_id=record.charger_id,
            node=self._node,
            incarnation=self._incarnation,
            ocpp_version=version,
            security_profile=admitted.security_profile,
            remote_address=remote_address,
            opened_at=self._clock.now(),
            record=record,
            fingerprint_sha256=admitted.fingerprint_sha256,
            certificate_id=admitted.certificate_id,
            key_generation=admitted.key_generation,
            flags=admitted.flags,
            chain_pem=_shown(credential) if is_unknown and credential is not None else None,
        )


def _shown(credential: PresentedCredential) -> str:
    """The leaf and a few of what came with it: enough to look up who may have revoked it."""
    return "".join(pem_of(der) for der in (credential.leaf_der, *credential.chain_der[:_ISSUERS_TOLD]))


def _assumed_subprotocol(
    protocol: ServerProtocol, request: Request, record: AdmissionRecord
) -> Subprotocol | None:
    """What a charger that offers none speaks: only for one that is known for it, and if we speak it."""
    version = record.capabilities.assume_version
    if version is None or "Sec-WebSocket-Protocol" in request.headers:
        return None
    name = Subprotocol(f"ocpp{version}")
    return name if name in (protocol.available_subprotocols or ()) else None


def charger_id_of(path: str) -> str | None:
    """The charger id in `/ocpp/{charger_id}`, percent-decoded; None for any other path, "" for bytes that are no text."""
    bare = path.partition("?")[0]
    if not bare.startswith(_PREFIX):
        return None
    try:
        return unquote_to_bytes(bare[len(_PREFIX) :]).decode()
    except UnicodeDecodeError:
        return ""


def basic_credentials(request: Request) -> tuple[str | None, bytes | None]:
    """User and password of a Basic header; the password stays bytes, since it need not be text (A00.FR.205, 1.6 keys)."""
    values = request.headers.get_all("Authorization")
    if len(values) != 1:
        return None, None
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "basic":
        return None, None
    try:
        user, colon, password = base64.b64decode(token.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else (None, None)
    except (binascii.Error, ValueError):
        return None, None


def refusal_response(protocol: ServerProtocol, refused: AdmissionRefused) -> Response:
    """The HTTP answer to a refused upgrade."""
    response = protocol.reject(HTTPStatus(refused.http_status), f"{refused.message}\n")
    if refused.http_status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Basic realm="ocpp", charset="UTF-8"'
    if refused.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(_RETRY_AFTER_S)
    return response
