"""Core's answers to chargers' questions about certificates: door, desk and the way out, put together."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from bfactors.errors import SettingsError
from bfactors.ports import Clock, EvCertificateBroker, Metrics
from bfactors.revocation_signer import certificates_in
from gateways.egress.egress import HttpEgress
from gateways.nats.connection import NatsConnection
from gateways.nats.decision_door import Answer, NatsDecisionDoor
from gateways.ocsp.desk import StatusDesk


class CertificateDesk:
    """Made and used on the I/O lane, inside its loop. Without a broker Get15118EVCertificate is not listened for."""

    def __init__(
        self,
        connection: NatsConnection,
        clock: Clock,
        metrics: Metrics,
        *,
        allowed_hosts: Sequence[str],
        issuers: tuple[x509.Certificate, ...] = (),
        broker: EvCertificateBroker | None = None,
    ) -> None:
        self.egress = HttpEgress(metrics, allowed_hosts=allowed_hosts)
        self._desk = StatusDesk(self.egress, clock, metrics, issuers=issuers)
        answers: dict[str, Answer] = {
            "GetCertificateStatus": self._desk.certificate_status,
            "GetCertificateChainStatus": self._desk.chain_status,
        }
        if broker is not None:
            answers["Get15118EVCertificate"] = broker.answer
        self._door = NatsDecisionDoor(connection, answers)

    async def start(self) -> None:
        """Answer from now on, or from when NATS is there."""
        await self._door.start()

    async def stop(self) -> None:
        """Answer nobody any more."""
        await self._door.stop()
        await self._desk.close()
        await self.egress.close()


def issuers_in(path: Path) -> tuple[x509.Certificate, ...]:
    """The CA certificates of a PEM file; none where no file is named. Raises SettingsError."""
    if path == Path():
        return ()
    try:
        found = certificates_in(path.read_bytes())
    except OSError as problem:
        raise SettingsError(f"revocation_issuers_file {path} cannot be read: {problem}") from problem
    if not found:
        raise SettingsError(f"revocation_issuers_file {path} holds no certificate")
    return found
