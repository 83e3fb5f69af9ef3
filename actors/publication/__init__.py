"""Seeing revocations through to where everybody can read of them, and reading there of others' certificates."""

from actors.publication.actor import PublicationActor
from actors.publication.foreign import ForeignActor
from actors.publication.ports import ForeignPorts, PublicationPorts

__all__ = ["ForeignActor", "ForeignPorts", "PublicationActor", "PublicationPorts"]
