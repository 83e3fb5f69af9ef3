"""From an HTTP upgrade request to a decision: who says they are connecting, asked of the identity rules. Memory only."""

import base64
import binascii
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from bfactors.admission import AdmissionRecord, AdmissionRefused, PresentedCredential
from bfactors.identity_rule import Admitted, Upgrade, VerifyKey, admit
from bfactors.path import PathCheck, TrustSet
from bfactors.ports import AdmissionView, Clock

_PREFIX = "/ocpp/"
_RETRY_AFTER_S = 5


class UpgradeDesk:
    """Decides every upgrade of one gateway; I/O lane only."""

    def __init__(
        self,
        admission: AdmissionView,
        clock: Clock,
        trust: Callable[[], TrustSet],
        verify_key: VerifyKey,
        forgives_expired_leaf: Callable[[AdmissionRecord], bool] = lambda record: False,
    ) -> None:
        self._admission = admission
        self._clock = clock
        self._trust = trust
        self._verify_key = verify_key
        self._forgives_expired_leaf = forgives_expired_leaf
        self._paths = PathCheck()

    def decide(
        self, request: Request, credential: PresentedCredential | None, *, tls: bool
    ) -> tuple[str, AdmissionRecord, Admitted] | tuple[str, None, AdmissionRefused]:
        """(charger id as claimed, record, decision); the id is "" if the URL names none."""
        charger_id = charger_id_of(request.path)
        if charger_id is None:
            return (
                "",
                None,
                AdmissionRefused("path-unknown", HTTPStatus.NOT_FOUND, "no charger endpoint here"),
            )
        user, password = basic_credentials(request)
        record = self._admission.get(charger_id)
        decision = admit(
            Upgrade(
                charger_id=charger_id,
                ready=self._admission.ready,
                tls=tls,
                record=record,
                now=self._clock.now(),
                trust=self._trust(),
                paths=self._paths,
                verify_key=self._verify_key,
                user=user,
                password=password,
                credential=credential,
                forgive_expired_leaf=record is not None and self._forgives_expired_leaf(record),
            )
        )
        if isinstance(decision, AdmissionRefused) or record is None:
            assert isinstance(decision, AdmissionRefused)  # the rules refuse an unknown charger
            return charger_id, None, decision
        return charger_id, record, decision


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
