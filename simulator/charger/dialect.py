"""What an OCPP version must say for a charger to speak it; one file per version fills this in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from websockets.typing import Subprotocol

from simulator.charger.answer import Handler
from simulator.charger.configuration import ChargerFamily, OcppVersion
from simulator.charger.credential import CertificateUse
from simulator.charger.frame import Payload
from simulator.charger.memory import SecurityEvent
from simulator.charger.station import Station


@dataclass(frozen=True, slots=True)
class Said:
    """A call that a charger makes, ready for the wire."""

    action: str
    payload: Payload = field(default_factory=dict)


class TransactionStep(StrEnum):
    """The three parts of a transaction."""

    STARTED = "Started"
    UPDATED = "Updated"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class TransactionFacts:
    """One transaction as it stands; `number` counts what was said about it."""

    transaction_id: str
    evse_id: int
    id_token: str
    number: int
    meter_wh: int


class Dialect(ABC):
    """The words of one version. It has no state; all names given to it are OCPP 2.x's."""

    version: ClassVar[OcppVersion]
    has_extended_frames: ClassVar[bool] = False
    tells_cancelled_uploads: ClassVar[bool] = True

    @property
    def subprotocol(self) -> Subprotocol:
        """What the WebSocket handshake offers."""
        return Subprotocol(f"ocpp{self.version}")

    @abstractmethod
    def answers(self, station: Station) -> Mapping[str, Handler]:
        """The calls a charger of this version knows."""

    @abstractmethod
    def password(self, text: str) -> bytes:
        """What HTTP Basic carries for a password as it was configured."""

    def error_code(self, code: str) -> str:
        """A CALLERROR code as this version spells it."""
        return code

    @abstractmethod
    def boot(self, reason: str, family: ChargerFamily, serial_number: str) -> Said:
        """BootNotification."""

    def heartbeat(self) -> Said:
        """Heartbeat."""
        return Said("Heartbeat")

    @abstractmethod
    def status(self, evse_id: int, at: datetime) -> Said:
        """StatusNotification of an available connector."""

    @abstractmethod
    def meter_values(self, evse_id: int, at: datetime, wh: int) -> Said:
        """MeterValues with one energy reading."""

    @abstractmethod
    def security_event(self, event: SecurityEvent) -> Said:
        """SecurityEventNotification."""

    @abstractmethod
    def log_status(self, status: str, request_id: int | None) -> Said:
        """LogStatusNotification."""

    @abstractmethod
    def firmware_status(self, status: str, request_id: int | None) -> Said:
        """The status of a signed firmware update."""

    @abstractmethod
    def sign(self, csr: str, use: CertificateUse | None, request_id: int, root_hash: Payload | None) -> Said:
        """SignCertificate; `use` None asks for a combined certificate, `root_hash` names the PKI wanted."""

    @abstractmethod
    def certificate_status(self, ocsp_request: Payload) -> Said:
        """GetCertificateStatus."""

    @abstractmethod
    def ev_certificate(self, action: str, exi_request: str, schema: str) -> Said:
        """Get15118EVCertificate for a car; `exi_request` is base64."""

    @abstractmethod
    def authorize(self, id_token: str, contract: str | None) -> Said:
        """Authorize by a card, or by a contract certificate in PEM."""

    @abstractmethod
    def transaction(self, step: TransactionStep, facts: TransactionFacts, at: datetime) -> Said:
        """What is said at one step of a transaction."""

    def transaction_id(self, given: str, answer: Payload) -> str:
        """The id a transaction goes by after its start was answered."""
        return given

    def opened(self, said: Said, answer: Payload) -> Payload:
        """The answer without what this version wraps around it."""
        return answer
