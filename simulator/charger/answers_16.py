"""The calls of OCPP 1.6 in the charger's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from simulator.charger.answer import Answer, Handler
from simulator.charger.answers_2x import Answers2x, Trigger, log_request
from simulator.charger.certificate_desk import Verdict
from simulator.charger.configuration import HashAlgorithm
from simulator.charger.deed import (
    Boot,
    Deed,
    Reboot,
    Reconnect,
    RequestCertificate,
    TellSecurityEvents,
    UploadLog,
)
from simulator.charger.fault_conduct import IgnoresTriggers, NeverReconnectAfterCertificate, RejectsTrigger
from simulator.charger.fault_identity import CannotListCertificates
from simulator.charger.firmware import check_update
from simulator.charger.frame import CallRefused, Payload, object_of, text_of
from simulator.charger.journal import Happening
from simulator.charger.key_list import Key, KeyList
from simulator.charger.station import Station
from simulator.charger.v201 import TABLES

_ENVELOPE_TRIGGERS = {"SignV2GCertificate"}


class Answers16:
    """Handlers of calls in 1.6's words."""

    def __init__(
        self,
        station: Station,
        triggers: Mapping[str, Trigger],
        extended_triggers: Mapping[str, Trigger],
        root_types: Mapping[str, str],
        keys: tuple[Key, ...],
        vendor: str,
    ) -> None:
        self._station = station
        self._triggers = triggers
        self._extended_triggers = extended_triggers
        self._root_types = root_types
        self._keys = KeyList(station.settings, keys)
        self._vendor = vendor
        inner = Answers2x(station, TABLES)
        self._enveloped: dict[str, Handler] = {
            "TriggerMessage": _only("requestedMessage", _ENVELOPE_TRIGGERS, inner.trigger),
            "CertificateSigned": _only("certificateType", {"V2GCertificate"}, inner.certificate_signed),
            "InstallCertificate": _only(
                "certificateType", {"V2GRootCertificate", "MORootCertificate"}, inner.install
            ),
            "GetInstalledCertificateIds": inner.listed,
            "DeleteCertificate": inner.delete,
        }

    def trigger(self, payload: Payload) -> Answer:
        """TriggerMessage."""
        return self._trigger(payload, self._triggers)

    def extended_trigger(self, payload: Payload) -> Answer:
        """ExtendedTriggerMessage."""
        return self._trigger(payload, self._extended_triggers)

    def _trigger(self, payload: Payload, known: Mapping[str, Trigger]) -> Answer:
        wanted = text_of(payload, "requestedMessage")
        station = self._station
        if station.faults.spend(RejectsTrigger):
            return _status("Rejected")
        trigger = known.get(wanted)
        if trigger is None:
            return _status("NotImplemented")
        deed = trigger(payload.get("connectorId"))
        if isinstance(deed, RequestCertificate) and not station.memory.organization:
            return _status("Rejected")
        if isinstance(deed, Boot) and station.accepted:
            return _status("Rejected")
        return _status("Accepted", () if station.faults.spend(IgnoresTriggers) else (deed,))

    def certificate_signed(self, payload: Payload) -> Answer:
        """CertificateSigned, which 1.6 knows for the charge point's own certificate only."""
        chain = text_of(payload, "certificateChain")
        return _worded(self._station.certificates.deliver("ChargingStationCertificate", chain))

    def install(self, payload: Payload) -> Answer:
        """InstallCertificate; a central system's root that is turned down is told as an event too."""
        kind = self._root_type(payload)
        pem = text_of(payload, "certificate")
        if len(pem) > TABLES.certificate_chars:
            raise CallRefused("PropertyConstraintViolation", "certificate is too long")
        verdict = self._station.certificates.install(kind, pem)
        if verdict.status != "Rejected" or kind != "CSMSRootCertificate":
            return _worded(verdict)
        station = self._station
        station.memory.note_security_event("InvalidCsmsCertificate", station.clock(), verdict.info)
        return _status("Rejected", (TellSecurityEvents(),))

    def listed(self, payload: Payload) -> Answer:
        """GetInstalledCertificateIds: one type at a time, hash data without a frame around it."""
        kind = self._root_type(payload)
        if self._station.faults.has(CannotListCertificates):
            raise CallRefused("NotSupported", "certificates cannot be listed here")
        entries = [each.hash_data for each in self._station.certificates.listed((kind,))]
        if not entries:
            return _status("NotFound")
        return Answer({"status": "Accepted", "certificateHashData": entries})

    def delete(self, payload: Payload) -> Answer:
        """DeleteCertificate."""
        wanted = object_of(payload, "certificateHashData")
        if text_of(wanted, "hashAlgorithm") not in set(HashAlgorithm):
            raise CallRefused("PropertyConstraintViolation", "hashAlgorithm")
        return _worded(self._station.certificates.delete(wanted))

    def change_configuration(self, payload: Payload) -> Answer:
        """ChangeConfiguration; after a new AuthorizationKey the charger comes back with it."""
        journal = self._station.journal
        before = journal.counters[Happening.PASSWORD_ACCEPTED]
        word = self._keys.change(payload)
        is_new = journal.counters[Happening.PASSWORD_ACCEPTED] > before
        comes_back = is_new and self._station.memory.security_profile < 3
        return _status(word, (Reconnect(),) if comes_back else ())

    def get_configuration(self, payload: Payload) -> Answer:
        """GetConfiguration."""
        return Answer(self._keys.get(payload))

    def get_log(self, payload: Payload) -> Answer:
        """GetLog."""
        request = log_request(self._station, payload)
        word = "Accepted" if self._station.logs.request_id is None else "AcceptedCanceled"
        return Answer({"status": word, "filename": request.filename}, (UploadLog(request),))

    def update_firmware(self, payload: Payload) -> Answer:
        """SignedUpdateFirmware."""
        return _worded(check_update(self._station, payload))

    def reset(self, payload: Payload) -> Answer:
        """Reset, soft and hard alike."""
        if text_of(payload, "type") not in ("Soft", "Hard"):
            raise CallRefused("PropertyConstraintViolation", "type")
        if self._station.faults.has(NeverReconnectAfterCertificate):
            return _status("Accepted")
        return _status("Accepted", (Reboot(),))

    def data_transfer(self, payload: Payload) -> Answer:
        """The envelope's status says whether it could be opened; the real one is inside."""
        if text_of(payload, "vendorId") != self._vendor:
            return _status("UnknownVendorId")
        handler = self._enveloped.get(str(payload.get("messageId")))
        if handler is None:
            return _status("UnknownMessageId")
        try:
            inner = orjson.loads(text_of(payload, "data"))
        except orjson.JSONDecodeError:
            return _status("Rejected")
        if not isinstance(inner, dict):
            return _status("Rejected")
        try:
            answer = handler(inner)
        except CallRefused:
            return _status("Rejected")
        return Answer({"status": "Accepted", "data": orjson.dumps(answer.payload).decode()}, answer.deeds)

    def _root_type(self, payload: Payload) -> str:
        kind = self._root_types.get(text_of(payload, "certificateType"))
        if kind is None:
            raise CallRefused("PropertyConstraintViolation", "certificateType")
        return kind


def _only(name: str, allowed: set[str], handler: Callable[[Payload], Answer]) -> Handler:
    """A handler for a few values of one field; the others are not for the envelope."""

    def narrowed(payload: Payload) -> Answer:
        if payload.get(name) not in allowed:
            raise CallRefused("PropertyConstraintViolation", name)
        return handler(payload)

    return narrowed


def _status(word: str, deeds: tuple[Deed, ...] = ()) -> Answer:
    return Answer({"status": word}, deeds)


def _worded(verdict: Verdict) -> Answer:
    return _status(verdict.status, verdict.deeds)
