"""Incidents, and what they do to certificates."""

from datetime import datetime

from bfactors.event.base import LedgerRecord
from bfactors.incident import Mode, RevocationReason, Selector


class IncidentOpened(LedgerRecord, frozen=True, kw_only=True):
    """Certificates must go. `expected`: how many of them there were when it was asked for; `agreed`: when somebody else agreed
    to it.
    """

    incident_id: str
    name: str
    purpose: str
    reason: str
    mode: Mode
    revocation_reason: RevocationReason
    selector: Selector
    percent: int
    expected: int
    author: str
    approver: str | None
    agreed: int | None = None


class IncidentChanged(LedgerRecord, frozen=True, kw_only=True):
    """Its next stage has begun, or it was paused or resumed. A pause lets in nobody again."""

    incident_id: str
    percent: int
    is_paused: bool
    reason: str


class IncidentEnded(LedgerRecord, frozen=True, kw_only=True):
    """Nothing further is done for it. `is_lifted`: what is refused and not revoked yet is let in again."""

    incident_id: str
    is_lifted: bool
    reason: str


class CertificateInIncident(LedgerRecord, frozen=True, kw_only=True):
    """A certificate is part of an incident. `is_denied`: every node refuses it from now on. `is_key_compromised`: because
    somebody else may hold its key. `came_later`: the rule had not chosen it when the incident was opened.
    """

    charger_id: str
    certificate_id: str
    incident_id: str
    is_denied: bool
    began_at: datetime
    is_key_compromised: bool = False
    came_later: bool = False


class CertificateDenialLifted(LedgerRecord, frozen=True, kw_only=True):
    """An incident was ended, and this certificate of it, which the CA has not been asked to revoke, is let in again."""

    charger_id: str
    certificate_id: str
    incident_id: str
