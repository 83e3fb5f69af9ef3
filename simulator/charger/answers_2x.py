"""The calls of OCPP 2.x in the charger's answers; 2.0.1, 2.1 and 1.6's ISO 15118 envelope share them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulator.charger.answer import Answer
from simulator.charger.certificate_desk import Verdict
from simulator.charger.configuration import NetworkProfile
from simulator.charger.deed import Boot, Deed, Reboot, Reconnect, Report, RequestCertificate, UploadLog
from simulator.charger.device_model import DeviceModel, security_variables
from simulator.charger.fault_conduct import IgnoresTriggers, NeverReconnectAfterCertificate, RejectsTrigger
from simulator.charger.fault_identity import CannotListCertificates
from simulator.charger.firmware import check_update
from simulator.charger.frame import CallRefused, Payload, number_of, object_of, objects_of, text_of
from simulator.charger.journal import Happening
from simulator.charger.log_request import LogRequest
from simulator.charger.route import lacks
from simulator.charger.station import Station

Trigger = Callable[[int | None], Deed]


@dataclass(frozen=True, slots=True)
class Tables2x:
    """Where the 2.x versions differ in what they take; lengths are in characters."""

    triggers: Mapping[str, Trigger]
    root_types: tuple[str, ...]
    uses: tuple[str, ...]
    log_types: tuple[str, ...]
    certificate_chars: int
    url_chars: int
    password_chars: int
    has_request_ids: bool


class Answers2x:
    """Handlers of calls in 2.x's words."""

    def __init__(self, station: Station, tables: Tables2x) -> None:
        self._station = station
        self._tables = tables
        variables = security_variables(station.configuration.slots)
        self._device = DeviceModel(station.settings, variables, tables.password_chars)

    def trigger(self, payload: Payload) -> Answer:
        """TriggerMessage."""
        wanted = text_of(payload, "requestedMessage")
        evse = payload.get("evse")
        station = self._station
        if station.faults.spend(RejectsTrigger):
            return Answer(status("Rejected"))
        trigger = self._tables.triggers.get(wanted)
        if trigger is None:
            return Answer(status("NotImplemented"))
        deed = trigger(evse.get("id") if isinstance(evse, dict) else None)
        if isinstance(deed, RequestCertificate) and not station.memory.organization:
            return Answer(status("Rejected", "MissingParam", "OrganizationName is not set"))
        if isinstance(deed, Boot) and station.accepted:  # pointless once accepted
            return Answer(status("Rejected"))
        return Answer(status("Accepted"), () if station.faults.spend(IgnoresTriggers) else (deed,))

    def certificate_signed(self, payload: Payload) -> Answer:
        """CertificateSigned."""
        use = payload.get("certificateType", "ChargingStationCertificate")
        chain = text_of(payload, "certificateChain")
        if use not in self._tables.uses:
            raise CallRefused("PropertyConstraintViolation", "certificateType")
        # A request id that is missing is as good as a wrong one.
        request_id = int(payload.get("requestId", -1)) if self._tables.has_request_ids else None
        return _worded(self._station.certificates.deliver(use, chain, request_id))

    def install(self, payload: Payload) -> Answer:
        """InstallCertificate."""
        kind = text_of(payload, "certificateType")
        pem = text_of(payload, "certificate")
        if len(pem) > self._tables.certificate_chars:
            limit = self._tables.certificate_chars
            raise CallRefused("PropertyConstraintViolation", f"certificate is longer than {limit}")
        if kind not in self._tables.root_types:
            raise CallRefused("PropertyConstraintViolation", "certificateType")
        return _worded(self._station.certificates.install(kind, pem))

    def listed(self, payload: Payload) -> Answer:
        """GetInstalledCertificateIds."""
        if self._station.faults.has(CannotListCertificates):
            raise CallRefused("NotSupported", "certificates cannot be listed here")
        kinds = payload.get("certificateType")
        if kinds == []:
            raise CallRefused("OccurrenceConstraintViolation", "certificateType is empty")
        entries: list[Payload] = []
        for each in self._station.certificates.listed(kinds):
            entry: Payload = {"certificateType": each.kind, "certificateHashData": each.hash_data}
            if each.children:
                entry["childCertificateHashData"] = list(each.children)
            entries.append(entry)
        if not entries:
            return Answer(status("NotFound"))
        return Answer(status("Accepted") | {"certificateHashDataChain": entries})

    def delete(self, payload: Payload) -> Answer:
        """DeleteCertificate."""
        return _worded(self._station.certificates.delete(object_of(payload, "certificateHashData")))

    def set_network_profile(self, payload: Payload) -> Answer:
        """SetNetworkProfile."""
        memory = self._station.memory
        slot = number_of(payload, "configurationSlot")
        data = object_of(payload, "connectionData")
        profile = NetworkProfile(text_of(data, "ocppCsmsUrl"), number_of(data, "securityProfile"))
        scheme = "ws://" if profile.security_profile < 2 else "wss://"
        if slot not in self._station.configuration.slots:
            return Answer(status("Rejected", "InvalidConfSlot"))
        if profile.security_profile < memory.security_profile:
            return Answer(status("Rejected", "NoSecurityDowngrade"))
        if profile.security_profile > 3 or not profile.url.startswith(scheme):
            return Answer(status("Rejected", "InvalidNetworkConf", f"no {scheme} address"))
        if len(profile.url) > self._tables.url_chars or text_of(data, "ocppTransport") != "JSON":
            return Answer(
                status("Rejected", "InvalidNetworkConf", "only JSON at a short address is spoken here")
            )
        missing = lacks(memory, profile.security_profile)
        if missing:
            return Answer(status("Rejected", "InvalidNetworkConf", missing))
        memory.network_profiles[slot] = profile
        password = data.get("basicAuthPassword")  # since 2.1
        if isinstance(password, str):
            memory.pending_password = password
        self._station.journal.record(
            Happening.NETWORK_PROFILE_SET, f"{slot}: profile {profile.security_profile}"
        )
        return Answer(status("Accepted"))

    def set_variables(self, payload: Payload) -> Answer:
        """SetVariables; after a new password the charger comes back with it (A01)."""
        memory, journal = self._station.memory, self._station.journal
        before = journal.counters[Happening.PASSWORD_ACCEPTED]
        results = [self._device.set(entry) for entry in objects_of(payload, "setVariableData")]
        is_new = journal.counters[Happening.PASSWORD_ACCEPTED] > before
        comes_back = is_new and memory.security_profile < 3
        return Answer({"setVariableResult": results}, (Reconnect(),) if comes_back else ())

    def get_variables(self, payload: Payload) -> Answer:
        """GetVariables."""
        entries = objects_of(payload, "getVariableData")
        return Answer({"getVariableResult": [self._device.get(entry) for entry in entries]})

    def base_report(self, payload: Payload) -> Answer:
        """GetBaseReport."""
        request_id = number_of(payload, "requestId")
        text_of(payload, "reportBase")
        return Answer(status("Accepted"), (Report(request_id, tuple(self._device.report())),))

    def get_log(self, payload: Payload) -> Answer:
        """GetLog."""
        if text_of(payload, "logType") not in self._tables.log_types:
            raise CallRefused("PropertyConstraintViolation", "logType")
        request = log_request(self._station, payload)
        word = "Accepted" if self._station.logs.request_id is None else "AcceptedCanceled"
        return Answer(status(word) | {"filename": request.filename}, (UploadLog(request),))

    def update_firmware(self, payload: Payload) -> Answer:
        """UpdateFirmware."""
        return _worded(check_update(self._station, payload))

    def reset(self, payload: Payload) -> Answer:
        """Reset."""
        text_of(payload, "type")
        if "evseId" in payload:
            return Answer(status("Rejected", "UnsupportedRequest", "only the whole charger is reset"))
        if self._station.faults.has(NeverReconnectAfterCertificate):
            return Answer(status("Accepted"))
        return Answer(status("Accepted"), (Reboot(),))


def log_request(station: Station, payload: Payload) -> LogRequest:
    """GetLog's fields, which all versions name alike."""
    kind = text_of(payload, "logType")
    return LogRequest(
        request_id=number_of(payload, "requestId"),
        kind=kind,
        location=text_of(object_of(payload, "log"), "remoteLocation"),
        filename=station.logs.file_name(kind),
        retries=int(payload.get("retries", 0)),
        retry_interval_s=int(payload.get("retryInterval", 0)),
    )


def status(word: str, reason_code: str = "", info: str = "") -> Payload:
    """A status with its statusInfo."""
    payload: Payload = {"status": word}
    if reason_code:
        payload["statusInfo"] = {"reasonCode": reason_code}
        if info:
            payload["statusInfo"]["additionalInfo"] = info[:512]
    return payload


def _worded(verdict: Verdict) -> Answer:
    return Answer(status(verdict.status, verdict.reason_code, verdict.info), verdict.deeds)
