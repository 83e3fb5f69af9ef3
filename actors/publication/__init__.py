"""Seeing revocations through to where everybody can read of them."""

from actors.publication.actor import PublicationActor
from actors.publication.ports import PublicationPorts

__all__ = ["PublicationActor", "PublicationPorts"]
