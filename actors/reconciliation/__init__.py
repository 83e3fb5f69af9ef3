"""Comparing a CA's records with the ledger: for attempts in doubt, and every night for everything. One actor a purpose."""

from actors.reconciliation.actor import ReconciliationActor
from actors.reconciliation.ports import ReconciliationPorts

__all__ = ["ReconciliationActor", "ReconciliationPorts"]
