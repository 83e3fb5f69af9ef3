"""Core's own look at what the AWS peer publishes, over HTTP: whole lists, partitions, the responder, and their lateness."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from bfactors.errors import NotFetched
from bfactors.ocsp import NotBelieved
from bfactors.revocation_source import sources_in
from gateways.egress.egress import HttpEgress
from gateways.metrics import PrometheusMetrics
from gateways.ocsp.reader import RevocationSourceReader
from tests.contract.test_aws_peer_client import CHARGER, Desk, make_csr, open_desk


class Look:
    """A peer, and core's way of reading what it publishes."""

    def __init__(self, desk: Desk, reader: RevocationSourceReader, issuer_pem: str) -> None:
        self.desk = desk
        self.reader = reader
        self.issuer_pem = issuer_pem

    async def leaf(self, name: str = "SN-1") -> tuple[x509.Certificate, str]:
        """A certificate with a key of its own, and its PEM."""
        leaf = await self.desk.issued(Csr=make_csr(f"CN={name}", ec.generate_private_key(ec.SECP256R1())))
        return leaf, leaf.public_bytes(Encoding.PEM).decode()

    async def revoke(self, leaf: x509.Certificate) -> None:
        await self.desk.pca.revoke_certificate(
            CertificateAuthorityArn=self.desk.issuing,
            CertificateSerial=f"{leaf.serial_number:x}",
            RevocationReason="SUPERSEDED",
        )

    async def is_listed(self, leaf: x509.Certificate, address: str) -> bool:
        found = await self.reader.list_at(address, self.issuer_pem)
        return found.revoked_at(f"{leaf.serial_number:x}") is not None


@asynccontextmanager
async def looking(folder: Path, **settings: Any) -> AsyncIterator[Look]:
    async with open_desk(folder, realms=(CHARGER,), **settings) as desk:
        egress = HttpEgress(PrometheusMetrics(strict=True), allowed_hosts=["127.0.0.1"])
        answer = await desk.pca.get_certificate_authority_certificate(CertificateAuthorityArn=desk.issuing)
        try:
            yield Look(desk, RevocationSourceReader(egress, desk.peer.clock), answer["Certificate"])
        finally:
            await egress.close()


async def test_a_revocation_is_on_the_list_that_its_certificate_names_after_the_lag(tmp_path: Path) -> None:
    async with looking(tmp_path) as look:
        leaf, pem = await look.leaf()
        (address,) = sources_in(pem).crl
        assert sources_in(pem).ocsp == ()
        await look.revoke(leaf)
        assert not await look.is_listed(leaf, address)
        await look.desk.peer_post("lists", {"crl_lag_s": 0})
        assert await look.is_listed(leaf, address)


async def test_partitions_speak_of_those_that_name_them_and_of_no_others(tmp_path: Path) -> None:
    async with looking(tmp_path, crl_partitions=3, crl_lag=timedelta()) as look:
        leaves = [await look.leaf(f"SN-{number}") for number in range(12)]
        for leaf, _ in leaves:
            await look.revoke(leaf)
        addresses = {sources_in(pem).crl[0] for _, pem in leaves}
        assert len(addresses) > 1
        for leaf, pem in leaves:
            (own,) = sources_in(pem).crl
            for address in addresses:
                assert await look.is_listed(leaf, address) == (address == own)
        whole = f"{look.desk.peer.url}/crl/{look.desk.issuing.rpartition('/')[2]}.crl"
        with pytest.raises(NotFetched):
            await look.reader.list_at(whole, look.issuer_pem)


async def test_a_partition_that_lies_at_another_address_is_not_believed(tmp_path: Path) -> None:
    async with looking(tmp_path, crl_partitions=2) as look:
        _, pem = await look.leaf()
        elsewhere = sources_in(pem).crl[0].replace("127.0.0.1", "localhost")
        egress = HttpEgress(PrometheusMetrics(strict=True), allowed_hosts=["localhost", "127.0.0.1"])
        try:
            with pytest.raises(NotBelieved, match="another address"):
                await RevocationSourceReader(egress, look.desk.peer.clock).list_at(elsewhere, look.issuer_pem)
        finally:
            await egress.close()


async def test_the_responder_says_so_after_a_lag_of_its_own(tmp_path: Path) -> None:
    async with looking(tmp_path, ocsp_responder=True) as look:
        leaf, pem = await look.leaf()
        (address,) = sources_in(pem).ocsp
        serial_number = f"{leaf.serial_number:x}"

        async def status() -> str:
            return (await look.reader.answer_at(address, look.issuer_pem, serial_number)).status

        assert await status() == "Good"
        await look.revoke(leaf)
        assert await status() == "Good"
        await look.desk.peer_post("lists", {"ocsp_lag_s": 0})
        answer = await look.reader.answer_at(address, look.issuer_pem, serial_number)
        assert answer.status == "Revoked"
        assert answer.revoked_at is not None
        assert (await look.reader.answer_at(address, look.issuer_pem, "abc")).status == "Unknown"


async def test_held_lists_grow_old(tmp_path: Path) -> None:
    async with looking(tmp_path, crl_lag=timedelta(), crl_validity=timedelta(days=1)) as look:
        leaf, pem = await look.leaf()
        (address,) = sources_in(pem).crl
        before = await look.reader.list_at(address, look.issuer_pem)
        await look.desk.peer_post("lists", {"held": True})
        await look.revoke(leaf)
        look.desk.peer.clock.advance(timedelta(days=2))
        held = await look.reader.list_at(address, look.issuer_pem)
        assert held.number == before.number
        assert held.is_stale(look.desk.peer.clock.now())
        await look.desk.peer_post("lists", {"held": False})
        assert await look.is_listed(leaf, address)


async def test_faults_can_be_put_in_the_way_of_lists_and_answers(tmp_path: Path) -> None:
    async with looking(tmp_path, ocsp_responder=True) as look:
        _, pem = await look.leaf()
        named = sources_in(pem)
        await look.desk.peer_post(
            "faults",
            [
                {"operation": "GetCrl", "error": "InternalError", "status": 503},
                {"operation": "Ocsp", "error": "ConnectionClosed"},
            ],
        )
        with pytest.raises(NotFetched):
            await look.reader.list_at(named.crl[0], look.issuer_pem)
        with pytest.raises(NotFetched):
            await look.reader.answer_at(named.ocsp[0], look.issuer_pem, "ab")
        await look.reader.list_at(named.crl[0], look.issuer_pem)


async def test_the_issuer_of_a_leaf_is_found_beside_it_or_in_settings_and_proves_itself(
    tmp_path: Path,
) -> None:
    async with looking(tmp_path) as look:
        _, pem = await look.leaf()
        assert await look.reader.issuer_of(pem + look.issuer_pem) == look.issuer_pem + "\n"
        assert await look.reader.issuer_of(pem) is None
        assert await look.reader.issuer_of(pem + pem) is None
        assert await look.reader.issuer_of("nonsense") is None
        issuers = tuple(x509.load_pem_x509_certificates(look.issuer_pem.encode()))
        egress = HttpEgress(PrometheusMetrics(strict=True))
        try:
            from_settings = RevocationSourceReader(egress, look.desk.peer.clock, issuers)
            assert await from_settings.issuer_of(pem) == look.issuer_pem + "\n"
        finally:
            await egress.close()
