"""What load balancers show in our place: imports in ACM kept equal to what the charger port shows, under the same ARNs."""

import asyncio
import logging
from collections.abc import Sequence

from bfactors.ca import CaError
from bfactors.server_certificate import ServerCertificate, described
from bfactors.x509 import Certificate, MalformedX509, parse_certificates
from deploy.role.server_desk import ServerDesk
from gateways.acm.certificate_manager import AcmCertificate, CertificateManager
from gateways.ocpp.tls import ServerIdentity

_LOG = logging.getLogger(__name__)
LOOKED_EVERY_S = 60.0
_KINDS = {"EC": "ec", "RSA": "rsa"}


class LoadBalancerCertificates:
    """Level-triggered: what an ARN names is compared with what is shown, so that nothing depends on one import arriving.

    What is shown has passed the gate (`ServerDesk`), hence what is imported has. I/O lane.
    """

    def __init__(self, manager: CertificateManager, arns: Sequence[str], desk: ServerDesk) -> None:
        self._manager = manager
        self._arns = tuple(arns)
        self._desk = desk
        self.known: dict[str, ServerCertificate] = {}
        """What each ARN named when it was last looked at."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOKED_EVERY_S)

    async def look(self) -> None:
        """Compare every ARN, and import where another certificate is shown here; one that fails holds up no other."""
        for arn in self._arns:
            try:
                await self._compare(arn)
            except (CaError, MalformedX509, OSError) as problem:
                _LOG.error("the load balancers' certificate %s stays as it is: %s", arn, problem)

    async def _compare(self, arn: str) -> None:
        there = await self._manager.describe(arn)
        await self._note(arn)
        if there.kind != "IMPORTED":
            return  # ACM's own: it renews that itself, and nobody may put another in its place
        found = self._shown_like(there)
        if found is None or found[1].serial_number == there.serial_number:
            return
        identity, leaf = found
        chain, key = await asyncio.to_thread(_read, identity)
        if parse_certificates(chain)[0].fingerprint_sha256 != leaf.fingerprint_sha256:
            return  # the files are others by now than those shown; the desk decides about them first
        await self._manager.import_under(arn, chain, key)
        await self._note(arn)
        _LOG.info("load balancers with %s show %s now", arn, leaf.subject)

    async def _note(self, arn: str) -> None:
        chain = parse_certificates(await self._manager.fetch(arn))
        if chain:
            self.known[arn] = described(chain, "acm")

    def _shown_like(self, there: AcmCertificate) -> tuple[ServerIdentity, Certificate] | None:
        """What is shown here with a key of the same kind: a load balancer chooses among its certificates by that."""
        kind = _KINDS.get(there.key_algorithm.partition("_")[0], "")
        for identity, leaf in zip(self._desk.shown, self._desk.leaves, strict=True):
            if leaf.key_algorithm.startswith(kind):
                return identity, leaf
        return None


def _read(identity: ServerIdentity) -> tuple[str, bytes]:
    return identity.chain_path.read_text(encoding="ascii"), identity.key_path.read_bytes()
