"""Orders to chargers."""

from datetime import datetime

from bfactors.event.base import LedgerRecord
from bfactors.instruction import OperationalKind


class InstructionOpened(LedgerRecord, frozen=True, kw_only=True):
    """Something is wanted done on the charger; a higher `decision` of the same instruction is a decision to repeat it."""

    charger_id: str
    instruction_id: str
    job_id: str | None
    decision: int
    body: OperationalKind
    not_before: datetime
    """Not to be sent before this time (back-off)."""


class InstructionDispatched(LedgerRecord, frozen=True, kw_only=True):
    """The frame was about to leave, on the session named."""

    charger_id: str
    instruction_id: str
    job_id: str | None
    decision: int
    session_id: str


class InstructionSettled(LedgerRecord, frozen=True, kw_only=True):
    """Evidence settled it. `outcome`: accepted, rejected, call-error, silent, unknown, observed, withdrawn."""

    charger_id: str
    instruction_id: str
    job_id: str | None
    kind: str
    outcome: str
    detail: str | None
    evidence_ref: str
