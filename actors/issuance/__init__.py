"""Carrying out what the ledger wants of a CA: one actor a purpose."""

from actors.issuance.actor import IssuanceActor
from actors.issuance.message import Settled, Wanted
from actors.issuance.ports import IssuancePorts

__all__ = ["IssuanceActor", "IssuancePorts", "Settled", "Wanted"]
