"""What the ledger's owner asks gateways to confirm: records that refuse a certificate, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from actors.ledger import actor
from bfactors import evidence as v
from bfactors.admission import AdmissionPlace
from bfactors.x509 import parse_certificates
from tests.actors.ledger_world import LedgerWorld
from tests.core import pki
from tests.core.ledger import issue, registration


class Edge:
    """EdgeWatch that only listens."""

    def __init__(self) -> None:
        self.expected: list[tuple[str, int, AdmissionPlace]] = []

    def expect(self, charger_id: str, revision: int, place: AdmissionPlace) -> None:
        self.expected.append((charger_id, revision, place))


class World(LedgerWorld):
    """With somebody who waits for gateways."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Edge()
        self.edge = self.asked

    async def with_certificate(self) -> str:
        """A charger with a certificate that its CA reports; returns the certificate's id."""
        await self.accepted(registration())
        await self.teach()
        now = self.time.now()
        chain_pem = pki.ca().sign(pki.csr("SN-1"), now - timedelta(days=1), now + timedelta(days=90))
        seen = v.CertificateSeenAtCa(
            purpose="charging_station",
            authority_arn="arn",
            external_ref="arn/certificate/1",
            chain_pem=chain_pem,
            issued_at=now,
            revoked_at=None,
            revocation_reason=None,
            report_ref="r",
            report_at=now,
            ledger_state=None,
        )
        await self.tell(seen)
        await self.until(lambda: self.stored().certificates, "the certificate is attached")
        return parse_certificates(chain_pem)[0].fingerprint_sha256[:32]

    async def revoke(self, certificate_id: str) -> None:
        command = issue("revoke-it", certificate_id=certificate_id)
        await self.accepted(msgspec.structs.replace(command, action="revoke"))


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(actor, "TICK_S", 0.005)
    monkeypatch.setattr(actor, "CLAIM_AGAIN_S", 0.005)
    made = World()
    yield made
    await made.stop()
    assert made.failures == []


async def test_gateways_are_asked_about_records_that_refuse_a_certificate_alone(world: World) -> None:
    world.start()
    certificate_id = await world.with_certificate()
    await world.connect()
    await world.quiet()
    assert world.asked.expected == []
    await world.revoke(certificate_id)
    await world.until(lambda: world.asked.expected)
    charger_id, revision, place = world.asked.expected[0]
    record = world.record()
    assert record is not None
    assert (charger_id, revision) == ("CP-1", record.revision)
    assert record.credentials[0].state == "revoked"
    assert place.has(AdmissionPlace("in-memory", 1))


async def test_a_new_owner_asks_again_until_it_is_confirmed_and_then_never(world: World) -> None:
    first = world.start()
    certificate_id = await world.with_certificate()
    await world.revoke(certificate_id)
    await world.until(lambda: world.asked.expected)
    await first.stop()
    world.asked.expected.clear()
    second = world.start(owner="core-2")
    await world.until(lambda: world.asked.expected, "the new owner asks")
    _, revision, _ = world.asked.expected[0]
    await world.tell(v.RefusalConfirmed(revision=revision, nodes=("n1",), at=world.time.now()))
    await world.until(lambda: world.stored().certificates[certificate_id].refused_at_edge_at)
    await second.stop()
    world.asked.expected.clear()
    world.start(owner="core-3")
    await world.until(lambda: world.record() is not None)
    await world.accepted(issue("another"))
    await world.quiet()
    assert world.asked.expected == []
