"""OCPP 2.0.1 as a charger speaks it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from simulator.charger.answer import Handler
from simulator.charger.answers_2x import Answers2x, Tables2x, Trigger
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
from simulator.charger.memory import SecurityEvent
from simulator.charger.station import Station

TRIGGERS: dict[str, Trigger] = {
    "BootNotification": lambda evse: Boot(),
    "Heartbeat": lambda evse: Beat(),
    "StatusNotification": ShowStatus,
    "MeterValues": ShowMeter,
    "LogStatusNotification": lambda evse: ShowLogStatus(),
    "FirmwareStatusNotification": lambda evse: ShowFirmwareStatus(),
    "SignChargingStationCertificate": lambda evse: RequestCertificate(),
    "SignV2GCertificate": lambda evse: RequestCertificate(CertificateUse.V2G),
    "SignCombinedCertificate": lambda evse: RequestCertificate(combined=True),
}

TABLES = Tables2x(
    triggers=TRIGGERS,
    root_types=(
        "CSMSRootCertificate",
        "V2GRootCertificate",
        "MORootCertificate",
        "ManufacturerRootCertificate",
    ),
    uses=("ChargingStationCertificate", "V2GCertificate"),
    log_types=("DiagnosticsLog", "SecurityLog"),
    certificate_chars=5500,
    url_chars=512,
    password_chars=40,
    has_request_ids=False,
)


class V201(Dialect):
    """The calls and words of 2.0.1."""

    version = OcppVersion.V201
    tables: ClassVar[Tables2x] = TABLES

    def answers(self, station: Station) -> Mapping[str, Handler]:
        """Action by action."""
        given = Answers2x(station, self.tables)
        return {
            "TriggerMessage": given.trigger,
            "CertificateSigned": given.certificate_signed,
            "InstallCertificate": given.install,
            "GetInstalledCertificateIds": given.listed,
            "DeleteCertificate": given.delete,
            "SetNetworkProfile": given.set_network_profile,
            "SetVariables": given.set_variables,
            "GetVariables": given.get_variables,
            "GetBaseReport": given.base_report,
            "GetLog": given.get_log,
            "UpdateFirmware": given.update_firmware,
            "Reset": given.reset,
        }

    def password(self, text: str) -> bytes:
        """The text in UTF-8 (A00.FR.205)."""
        return text.encode()

    def boot(self, reason: str, family: ChargerFamily, serial_number: str) -> Said:
        """With the serial number that must be the certificate's CN (B01.FR.11)."""
        station = {
            "model": family.model,
            "vendorName": family.vendor,
            "firmwareVersion": family.firmware,
            "serialNumber": serial_number,
        }
        return Said("BootNotification", {"reason": reason, "chargingStation": station})

    def status(self, evse_id: int, at: datetime) -> Said:
        """Connector 1 of an EVSE."""
        payload: Payload = {
            "timestamp": at.isoformat(),
            "connectorStatus": "Available",
            "evseId": evse_id,
            "connectorId": 1,
        }
        return Said("StatusNotification", payload)

    def meter_values(self, evse_id: int, at: datetime, wh: int) -> Said:
        """One reading, taken because of a trigger."""
        return Said("MeterValues", {"evseId": evse_id, "meterValue": [_reading(at, wh)]})

    def security_event(self, event: SecurityEvent) -> Said:
        """As it was queued."""
        payload: Payload = {"type": event.type, "timestamp": event.at.isoformat()}
        return Said(
            "SecurityEventNotification", payload | ({"techInfo": event.tech_info} if event.tech_info else {})
        )

    def log_status(self, status: str, request_id: int | None) -> Said:
        """The id is left out when idle (N01.FR.13)."""
        payload: Payload = {"status": status}
        return Said(
            "LogStatusNotification", payload | ({} if request_id is None else {"requestId": request_id})
        )

    def firmware_status(self, status: str, request_id: int | None) -> Said:
        """The id is left out when idle."""
        payload: Payload = {"status": status}
        return Said(
            "FirmwareStatusNotification", payload | ({} if request_id is None else {"requestId": request_id})
        )

    def sign(self, csr: str, use: CertificateUse | None, request_id: int, root_hash: Payload | None) -> Said:
        """Without what only 2.1 knows."""
        payload: Payload = {"csr": csr}
        return Said("SignCertificate", payload | ({} if use is None else {"certificateType": use.value}))

    def certificate_status(self, ocsp_request: Payload) -> Said:
        """For one certificate (M06)."""
        return Said("GetCertificateStatus", {"ocspRequestData": ocsp_request})

    def ev_certificate(self, action: str, exi_request: str, schema: str) -> Said:
        """The car's request as it came (M01, M02)."""
        payload = {"iso15118SchemaVersion": schema, "action": action, "exiRequest": exi_request}
        return Said("Get15118EVCertificate", payload)

    def authorize(self, id_token: str, contract: str | None) -> Said:
        """A contract certificate is named by its eMAID and sent along."""
        token = {"idToken": id_token, "type": "ISO14443" if contract is None else "eMAID"}
        payload: Payload = {"idToken": token}
        return Said("Authorize", payload | ({} if contract is None else {"certificate": contract}))

    def transaction(self, step: TransactionStep, facts: TransactionFacts, at: datetime) -> Said:
        """TransactionEvent."""
        reasons = {
            TransactionStep.STARTED: "Authorized",
            TransactionStep.UPDATED: "MeterValuePeriodic",
            TransactionStep.ENDED: "StopAuthorized",
        }
        payload: Payload = {
            "eventType": step.value,
            "timestamp": at.isoformat(),
            "triggerReason": reasons[step],
            "seqNo": facts.number,
            "transactionInfo": {"transactionId": facts.transaction_id},
            "evse": {"id": facts.evse_id, "connectorId": 1},
            "idToken": {"idToken": facts.id_token, "type": "ISO14443"},
            "meterValue": [_reading(at, facts.meter_wh)],
        }
        return Said("TransactionEvent", payload)


def _reading(at: datetime, wh: int) -> Payload:
    sample = {"value": wh, "measurand": "Energy.Active.Import.Register", "unitOfMeasure": {"unit": "Wh"}}
    return {"timestamp": at.isoformat(), "sampledValue": [sample]}
