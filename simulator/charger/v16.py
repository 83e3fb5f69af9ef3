"""OCPP 1.6J as a charger speaks it, with the security whitepaper's messages and ISO 15118 in DataTransfer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import orjson

from simulator.charger.answer import Handler
from simulator.charger.answers_2x import Trigger
from simulator.charger.answers_16 import Answers16
from simulator.charger.configuration import ChargerFamily, OcppVersion
from simulator.charger.credential import CertificateUse
from simulator.charger.deed import (
    Beat,
    Boot,
    RequestCertificate,
    ShowFirmwareStatus,
    ShowLogStatus,
    ShowMeter,
    ShowStatus,
)
from simulator.charger.dialect import Dialect, Said, TransactionFacts, TransactionStep
from simulator.charger.frame import Payload
from simulator.charger.key_list import Key
from simulator.charger.memory import SecurityEvent
from simulator.charger.settings import PASSWORD, PROFILE
from simulator.charger.station import Station
from simulator.charger.v201 import V201

TRIGGERS: dict[str, Trigger] = {
    "BootNotification": lambda connector: Boot(),
    "Heartbeat": lambda connector: Beat(),
    "StatusNotification": ShowStatus,
    "MeterValues": ShowMeter,
    "FirmwareStatusNotification": lambda connector: ShowFirmwareStatus(),
}
EXTENDED_TRIGGERS: dict[str, Trigger] = TRIGGERS | {
    "LogStatusNotification": lambda connector: ShowLogStatus(),
    "SignChargePointCertificate": lambda connector: RequestCertificate(),
}
ROOT_TYPES = {
    "CentralSystemRootCertificate": "CSMSRootCertificate",
    "ManufacturerRootCertificate": "ManufacturerRootCertificate",
}
KEYS = (
    Key("AuthorizationKey", PASSWORD),
    Key("SecurityProfile", PROFILE),
    Key("CpoName", "OrganizationName"),
    Key("AdditionalRootCertificateCheck", "AdditionalRootCertificateCheck", is_readonly=True),
    Key("CertificateSignedMaxChainSize", "MaxCertificateChainSize", is_readonly=True),
    Key("CertificateStoreMaxLength", "CertificateStoreMaxLength", is_readonly=True),
    Key("SupportedFileTransferProtocols", "FileTransferProtocols", is_readonly=True),
    Key("NumberOfConnectors", "NumberOfConnectors", is_readonly=True),
    Key("HeartbeatInterval", "HeartbeatInterval"),
    Key("ISO15118PnCEnabled", "ISO15118PnCEnabled"),
    Key("ContractValidationOffline", "ContractValidationOffline"),
    Key("CertSigningWaitMinimum", "CertSigningWaitMinimum"),
    Key("CertSigningRepeatTimes", "CertSigningRepeatTimes"),
)
EVENTS = {
    "FailedToAuthenticateAtCsms": "FailedToAuthenticateAtCentralSystem",
    "CsmsFailedToAuthenticate": "CentralSystemFailedToAuthenticate",
    "InvalidCsmsCertificate": "InvalidCentralSystemCertificate",
    "InvalidChargingStationCertificate": "InvalidChargePointCertificate",
}
ERRORS = {
    "FormatViolation": "FormationViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",  # 1.6-J's own spelling
    "MessageTypeNotSupported": "GenericError",
    "RpcFrameworkError": "GenericError",
}
VENDOR = "org.openchargealliance.iso15118pnc"

_INNER = V201()


class V16(Dialect):
    """1.6's calls and words; what is about ISO 15118 travels in 2.0.1's words inside DataTransfer."""

    version = OcppVersion.V16
    tells_cancelled_uploads = False

    def answers(self, station: Station) -> Mapping[str, Handler]:
        """Action by action."""
        given = Answers16(station, TRIGGERS, EXTENDED_TRIGGERS, ROOT_TYPES, KEYS, VENDOR)
        return {
            "TriggerMessage": given.trigger,
            "ExtendedTriggerMessage": given.extended_trigger,
            "CertificateSigned": given.certificate_signed,
            "InstallCertificate": given.install,
            "GetInstalledCertificateIds": given.listed,
            "DeleteCertificate": given.delete,
            "ChangeConfiguration": given.change_configuration,
            "GetConfiguration": given.get_configuration,
            "GetLog": given.get_log,
            "SignedUpdateFirmware": given.update_firmware,
            "DataTransfer": given.data_transfer,
            "Reset": given.reset,
        }

    def password(self, text: str) -> bytes:
        """32 and more hex digits are the bytes they spell, as AuthorizationKey has it; all else is text."""
        try:
            return bytes.fromhex(text) if len(text) >= 32 else text.encode()
        except ValueError:
            return text.encode()

    def error_code(self, code: str) -> str:
        """1.6-J lacks a few codes and spells others in its own way."""
        return ERRORS.get(code, code)

    def boot(self, reason: str, family: ChargerFamily, serial_number: str) -> Said:
        """1.6 has no reason; both serial number fields carry the charger's."""
        payload: Payload = {
            "chargePointVendor": family.vendor[:20],
            "chargePointModel": family.model[:20],
            "firmwareVersion": family.firmware[:50],
            "chargePointSerialNumber": serial_number[:25],
            "chargeBoxSerialNumber": serial_number[:25],
        }
        return Said("BootNotification", payload)

    def status(self, evse_id: int, at: datetime) -> Said:
        """EVSEs are connectors here."""
        payload: Payload = {
            "connectorId": evse_id,
            "errorCode": "NoError",
            "status": "Available",
            "timestamp": at.isoformat(),
        }
        return Said("StatusNotification", payload)

    def meter_values(self, evse_id: int, at: datetime, wh: int) -> Said:
        """One reading outside a transaction."""
        return Said("MeterValues", {"connectorId": evse_id, "meterValue": [_reading(at, wh)]})

    def security_event(self, event: SecurityEvent) -> Said:
        """By 1.6's name for it."""
        named = SecurityEvent(EVENTS.get(event.type, event.type), event.at, event.tech_info)
        return _INNER.security_event(named)

    def log_status(self, status: str, request_id: int | None) -> Said:
        """As in 2.0.1, which took it over."""
        return _INNER.log_status(status, request_id)

    def firmware_status(self, status: str, request_id: int | None) -> Said:
        """Of a signed update; unsigned ones are not known here."""
        return Said("SignedFirmwareStatusNotification", _INNER.firmware_status(status, request_id).payload)

    def sign(self, csr: str, use: CertificateUse | None, request_id: int, root_hash: Payload | None) -> Said:
        """The CSR alone; one for ISO 15118 goes into the envelope."""
        if use is CertificateUse.V2G:
            return _enveloped(_INNER.sign(csr, use, request_id, root_hash))
        return Said("SignCertificate", {"csr": csr})

    def certificate_status(self, ocsp_request: Payload) -> Said:
        """In the envelope."""
        return _enveloped(_INNER.certificate_status(ocsp_request))

    def ev_certificate(self, action: str, exi_request: str, schema: str) -> Said:
        """In the envelope."""
        return _enveloped(_INNER.ev_certificate(action, exi_request, schema))

    def authorize(self, id_token: str, contract: str | None) -> Said:
        """A card in 1.6's own words, a contract certificate in the envelope."""
        if contract is not None:
            return _enveloped(_INNER.authorize(id_token, contract))
        return Said("Authorize", {"idTag": id_token[:20]})

    def transaction(self, step: TransactionStep, facts: TransactionFacts, at: datetime) -> Said:
        """StartTransaction, MeterValues, StopTransaction."""
        if step is TransactionStep.STARTED:
            start: Payload = {
                "connectorId": facts.evse_id,
                "idTag": facts.id_token[:20],
                "meterStart": facts.meter_wh,
                "timestamp": at.isoformat(),
            }
            return Said("StartTransaction", start)
        number = {"transactionId": int(facts.transaction_id)}
        if step is TransactionStep.UPDATED:
            values = self.meter_values(facts.evse_id, at, facts.meter_wh).payload
            return Said("MeterValues", values | number)
        stop = {"idTag": facts.id_token[:20], "meterStop": facts.meter_wh, "timestamp": at.isoformat()}
        return Said("StopTransaction", stop | number)

    def transaction_id(self, given: str, answer: Payload) -> str:
        """The central system numbers transactions; without a number it is 0."""
        number = answer.get("transactionId")
        return str(number if isinstance(number, int) else 0)

    def opened(self, said: Said, answer: Payload) -> Payload:
        """The real answer is inside; an envelope that was turned down or cannot be read counts as Rejected."""
        if said.action != "DataTransfer":
            return answer
        try:
            inner = orjson.loads(str(answer.get("data", "")))
        except orjson.JSONDecodeError:
            inner = None
        is_good = answer.get("status") == "Accepted" and isinstance(inner, dict)
        return inner if is_good else {"status": "Rejected"}


def _enveloped(said: Said) -> Said:
    data = orjson.dumps(said.payload).decode()
    return Said("DataTransfer", {"vendorId": VENDOR, "messageId": said.action, "data": data})


def _reading(at: datetime, wh: int) -> Payload:
    sample = {"value": str(wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    return {"timestamp": at.isoformat(), "sampledValue": [sample]}
