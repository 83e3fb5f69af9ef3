"""How a charger answers the central system's calls: memory changes now, deeds follow once the answer is out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from simulator.charger.configuration import ChargerConfiguration, NetworkProfile
from simulator.charger.credential import CertificateRefused, accept_chain
from simulator.charger.deed import (
    Beat,
    Boot,
    CertificateSettled,
    Deed,
    Reboot,
    Reconnect,
    Report,
    RequestCertificate,
    ShowStatus,
    TellSecurityEvents,
)
from simulator.charger.device_model import DeviceModel
from simulator.charger.fault import (
    CannotListCertificates,
    FaultScript,
    NeverReconnectAfterCertificate,
    RejectsCertificate,
    RejectsTrigger,
    StoreFull,
)
from simulator.charger.frame import Call, CallRefused, Payload, number_of, object_of, objects_of, text_of
from simulator.charger.journal import Happening, Journal
from simulator.charger.memory import ChargerMemory
from simulator.charger.route import lacks
from simulator.charger.trust_store import CSMS_ROOT, ROOT_TYPES, RootRefused, StoreExhausted


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back at once, and what the charger does after it."""

    payload: Payload
    deeds: tuple[Deed, ...] = ()


class Answers:
    """The charger's side of every call it knows."""

    def __init__(
        self,
        configuration: ChargerConfiguration,
        memory: ChargerMemory,
        faults: FaultScript,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._configuration = configuration
        self._memory = memory
        self._faults = faults
        self._journal = journal
        self._clock = clock
        self._device = DeviceModel(configuration, memory)
        self._known: dict[str, Callable[[Payload], Answer]] = {
            "TriggerMessage": self._trigger,
            "CertificateSigned": self._certificate_signed,
            "InstallCertificate": self._install,
            "GetInstalledCertificateIds": self._list,
            "DeleteCertificate": self._delete,
            "SetNetworkProfile": self._set_network_profile,
            "SetVariables": self._set_variables,
            "GetVariables": self._get_variables,
            "GetBaseReport": self._base_report,
            "Reset": self._reset,
        }
        self.accepted = False  # whether the last BootNotification was accepted; kept by the session

    def to(self, call: Call) -> Answer:
        """The answer to one call.

        Raises: CallRefused, to be sent as CALLERROR.
        """
        known = self._known.get(call.action)
        if known is None:
            raise CallRefused("NotImplemented", f"{call.action} is not known here")
        return known(call.payload)

    def _trigger(self, payload: Payload) -> Answer:
        wanted = text_of(payload, "requestedMessage")
        evse = payload.get("evse")
        if self._faults.spend(RejectsTrigger):
            return Answer(_status("Rejected"))
        if wanted == "SignChargingStationCertificate":
            if not self._memory.organization:
                return Answer(_status("Rejected", "MissingParam", "OrganizationName is not set"))
            return Answer(_status("Accepted"), (RequestCertificate(),))
        if wanted == "BootNotification":  # pointless once accepted
            return Answer(_status("Rejected")) if self.accepted else Answer(_status("Accepted"), (Boot(),))
        if wanted == "Heartbeat":
            return Answer(_status("Accepted"), (Beat(),))
        if wanted == "StatusNotification":
            evse_id = evse.get("id") if isinstance(evse, dict) else None
            return Answer(_status("Accepted"), (ShowStatus(evse_id),))
        return Answer(_status("NotImplemented"))

    def _certificate_signed(self, payload: Payload) -> Answer:
        chain_pem = text_of(payload, "certificateChain")
        memory = self._memory
        roots = memory.trust.roots() if self._configuration.family.verifies_issuer_chain else None
        try:
            if payload.get("certificateType", "ChargingStationCertificate") != "ChargingStationCertificate":
                raise CertificateRefused("only charging station certificates are kept here")
            if len(chain_pem) > self._configuration.maximum_chain_chars:
                raise CertificateRefused("longer than MaxCertificateChainSize")
            if self._faults.spend(RejectsCertificate):
                raise CertificateRefused("this charger was told to reject it")
            credential = accept_chain(chain_pem, memory.pending, roots=roots, now=self._clock())
        except CertificateRefused as error:
            self._journal.record(Happening.CERTIFICATE_REFUSED, str(error))
            memory.note_security_event("InvalidChargingStationCertificate", self._clock(), str(error))
            return Answer(
                _status("Rejected", "InvalidCertificate", str(error)),
                (CertificateSettled(), TellSecurityEvents()),
            )
        memory.pending = None
        memory.renewed = credential
        self._journal.record(Happening.CERTIFICATE_ACCEPTED, credential.fingerprint_sha256)
        switches = memory.security_profile == 3 and not self._faults.has(NeverReconnectAfterCertificate)
        return Answer(_status("Accepted"), (CertificateSettled(), *((Reconnect(),) if switches else ())))

    def _install(self, payload: Payload) -> Answer:
        kind = text_of(payload, "certificateType")
        pem = text_of(payload, "certificate")
        if len(pem) > 5500:  # the 2.0.1 schema's limit
            raise CallRefused("PropertyConstraintViolation", "certificate is longer than 5500")
        try:
            if self._faults.has(StoreFull):
                raise StoreExhausted
            name = self._memory.trust.install(kind, pem)
        except StoreExhausted:
            self._journal.record(Happening.ROOT_REFUSED, "the certificate store is full")
            return Answer(_status("Failed", "OutOfStorage", "the certificate store is full"))
        except RootRefused as error:
            self._journal.record(Happening.ROOT_REFUSED, str(error))
            return Answer(_status("Rejected", "InvalidCertificate", str(error)))
        self._journal.record(Happening.ROOT_INSTALLED, name)
        return Answer(_status("Accepted"))

    def _list(self, payload: Payload) -> Answer:
        if self._faults.has(CannotListCertificates):
            raise CallRefused("NotSupported", "certificates cannot be listed here")
        kinds = payload.get("certificateType") or ROOT_TYPES
        entries = self._memory.trust.listing(kinds, self._configuration.family.hash_algorithm)
        if not entries:
            return Answer(_status("NotFound"))
        return Answer(_status("Accepted") | {"certificateHashDataChain": entries})

    def _delete(self, payload: Payload) -> Answer:
        found = self._memory.trust.find(object_of(payload, "certificateHashData"))
        if found is None:
            return Answer(_status("NotFound"))
        kind, name = found
        if kind == CSMS_ROOT and len(self._memory.trust.roots()) == 1 and self._memory.security_profile >= 2:
            return Answer(_status("Failed", "InvalidCertificate", "the last CSMSRootCertificate is in use"))
        self._memory.trust.remove(kind, name)
        self._journal.record(Happening.ROOT_REMOVED, name)
        return Answer(_status("Accepted"))

    def _set_network_profile(self, payload: Payload) -> Answer:
        slot = number_of(payload, "configurationSlot")
        data = object_of(payload, "connectionData")
        profile = NetworkProfile(text_of(data, "ocppCsmsUrl"), number_of(data, "securityProfile"))
        scheme = "ws://" if profile.security_profile < 2 else "wss://"
        if slot not in self._configuration.slots:
            return Answer(_status("Rejected", "InvalidConfSlot"))
        if profile.security_profile < self._memory.security_profile:
            return Answer(_status("Rejected", "NoSecurityDowngrade"))
        if profile.security_profile > 3 or not profile.url.startswith(scheme):
            return Answer(_status("Rejected", "InvalidNetworkConf", f"no {scheme} address"))
        if text_of(data, "ocppTransport") != "JSON":
            return Answer(_status("Rejected", "InvalidNetworkConf", "only JSON is spoken here"))
        missing = lacks(self._memory, profile.security_profile)
        if missing:
            return Answer(_status("Rejected", "InvalidNetworkConf", missing))
        self._memory.network_profiles[slot] = profile
        self._journal.record(Happening.NETWORK_PROFILE_SET, f"{slot}: profile {profile.security_profile}")
        return Answer(_status("Accepted"))

    def _set_variables(self, payload: Payload) -> Answer:
        password = self._memory.basic_password
        results = [self._device.set(entry) for entry in objects_of(payload, "setVariableData")]
        if self._memory.basic_password == password:
            return Answer({"setVariableResult": results})
        self._journal.record(Happening.PASSWORD_CHANGED)
        deeds = (Reconnect(),) if self._memory.security_profile < 3 else ()  # A01: comes back with it
        return Answer({"setVariableResult": results}, deeds)

    def _get_variables(self, payload: Payload) -> Answer:
        entries = objects_of(payload, "getVariableData")
        return Answer({"getVariableResult": [self._device.get(entry) for entry in entries]})

    def _base_report(self, payload: Payload) -> Answer:
        request_id = number_of(payload, "requestId")
        text_of(payload, "reportBase")
        return Answer(_status("Accepted"), (Report(request_id),))

    def report(self) -> list[Payload]:
        """The device model as ReportData entries."""
        return self._device.report()

    def _reset(self, payload: Payload) -> Answer:
        text_of(payload, "type")
        if "evseId" in payload:
            return Answer(_status("Rejected", "UnsupportedRequest", "only the whole charger is reset"))
        if self._faults.has(NeverReconnectAfterCertificate):
            return Answer(_status("Accepted"))
        return Answer(_status("Accepted"), (Reboot(),))


def _status(status: str, reason_code: str = "", info: str = "") -> Payload:
    payload: Payload = {"status": status}
    if reason_code:
        payload["statusInfo"] = {"reasonCode": reason_code}
        if info:
            payload["statusInfo"]["additionalInfo"] = info[:512]
    return payload
