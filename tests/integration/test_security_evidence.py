"""What never became a session is on record: from the wire through NATS and the ledger to GET /api/v1/security-events.

`run.py up` as a process, and clients that know nothing of it. All attempts are made once, each kind from a loopback address of
its own; the gateway folds them for ten seconds, then each test looks for its kind.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conformance.control_plane import Body, ControlPlane
from tests.conformance.raw_charger import Charger, certificates
from tests.conformance.test_core_201 import LEAF_KEY, forged

pytestmark = pytest.mark.xdist_group("security-evidence")

RECORDED_WITHIN_S = 30.0
PASSWORDS_TRIED = 25
NAMES_TRIED = 30


class Attempts:
    """Everything that was tried, and by whom."""

    def __init__(self, system: ControlPlane, folder: Path) -> None:
        self.system = system
        self.folder = folder
        self.charger: Charger
        self.other: Charger

    async def make(self) -> None:
        self.charger = await Charger.enrolled(self.system, self.folder)
        self.other = await Charger.enrolled(self.system, self.folder)
        await self._wrong_passwords("127.0.0.11")
        await self._wrong_subprotocol("127.0.0.12")
        await self._unknown_names("127.0.0.13")
        self.charger.address = "127.0.0.14"
        assert await self.charger.refusal(self._tls_of(self.other)) == 403
        await self._untrusted_ca("127.0.0.15")
        self.charger.address = "127.0.0.16"
        assert await self.charger.refusal(authorization=self.charger.basic()) == 403

    async def _wrong_passwords(self, address: str) -> None:
        self.beginner = await Charger.registered(self.system, self.folder)
        self.beginner.address = address
        for number in range(PASSWORDS_TRIED):
            guess = self.beginner.basic(password=f"guess-number-{number:04d}")
            assert await self.beginner.refusal(authorization=guess) == 401

    async def _wrong_subprotocol(self, address: str) -> None:
        self.charger.address = address
        assert await self.charger.refusal(self.charger.tls(), subprotocols=("ocpp0.1",)) == 400
        assert await self.charger.refusal(self.charger.tls(), subprotocols=()) == 400

    async def _unknown_names(self, address: str) -> None:
        self.nobody = Charger(self.system, self.folder, "CS-nobody", "SN-nobody", "a-password-of-24-letters")
        self.nobody.address = address
        assert await self.nobody.refusal(authorization=self.nobody.basic()) == 404
        for number in range(NAMES_TRIED):
            guess = Charger(self.system, self.folder, f"guess-{number}", "SN", "a-password-of-24-letters")
            guess.address = address
            assert await guess.refusal(authorization=guess.basic()) == 404

    async def _untrusted_ca(self, address: str) -> None:
        self.charger.address = address
        issuer = certificates(self.charger.chain_pem)[1].subject
        stranger = forged(self.charger.serial, issuer=issuer, key=ec.generate_private_key(ec.SECP256R1()))
        for _ in range(3):
            assert await self.charger.refusal(self.charger.tls(stranger, LEAF_KEY)) == 0

    def _tls_of(self, other: Charger) -> ssl.SSLContext:
        return self.charger.tls(other.chain_pem, other.key)

    # ------------------------------------------------------------ what is on record

    def recorded(self, kind: str, address: str, count: int) -> list[Body]:
        """The events of a kind from an address, once they count so many attempts together."""

        def those(events: list[Body]) -> list[Body]:
            return [event for event in events if event["remote_address"] == address]

        path = f"/api/v1/security-events?kind={kind}&limit=200"
        found = asyncio.run(
            self.system.until_items(
                path, lambda events: sum(e["count"] for e in those(events)) >= count, RECORDED_WITHIN_S
            )
        )
        mine = those(found)
        assert sum(event["count"] for event in mine) == count
        return mine


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempts]:
    with ControlPlane.running() as system:
        attempts = Attempts(system, tmp_path_factory.mktemp("clients"))
        asyncio.run(attempts.make())
        yield attempts


def test_wrong_passwords_are_one_fact_with_their_number(attempts: Attempts) -> None:
    events = attempts.recorded("ConnectionRefused/basic-password-wrong", "127.0.0.11", PASSWORDS_TRIED)
    assert {event["charger_id"] for event in events} == {attempts.beginner.charger_id}
    assert len(events) <= 2, "folded; two if a window ended in between"


def test_a_subprotocol_nobody_speaks_is_on_record(attempts: Attempts) -> None:
    events = attempts.recorded("ConnectionRefused/no-common-subprotocol", "127.0.0.12", 2)
    assert {event["charger_id"] for event in events} == {attempts.charger.charger_id}


def test_names_guessed_from_one_address_are_on_record_without_a_fact_for_each(attempts: Attempts) -> None:
    events = attempts.recorded("ConnectionRefused/charger-unknown", "127.0.0.13", 1 + NAMES_TRIED)
    assert attempts.nobody.charger_id in {event["charger_id"] for event in events}
    assert len(events) <= 2 * 9, "eight pairs of name and reason an address and window, the rest folded"


def test_somebody_elses_certificate_is_on_record_under_the_name_it_was_tried_for(attempts: Attempts) -> None:
    [event] = attempts.recorded("ConnectionRefused/credential-unknown", "127.0.0.14", 1)
    assert event["charger_id"] == attempts.charger.charger_id


def test_a_certificate_of_an_untrusted_ca_is_a_failed_handshake_of_nobody(attempts: Attempts) -> None:
    events = attempts.recorded("HandshakeFailed", "127.0.0.15", 3)
    assert {event["charger_id"] for event in events} == {None}


def test_a_lower_profile_than_the_one_in_use_is_on_record(attempts: Attempts) -> None:
    [event] = attempts.recorded("ConnectionRefused/profile-not-allowed", "127.0.0.16", 1)
    assert event["charger_id"] == attempts.charger.charger_id


def test_each_is_a_link_of_the_ledgers_chain_and_none_holds_a_secret(attempts: Attempts) -> None:
    attempts.recorded("HandshakeFailed", "127.0.0.15", 3)
    audit = asyncio.run(attempts.system.items("/api/v1/audit?event=SecurityEventRecorded&limit=200"))
    kinds = {item["payload"]["kind"] for item in audit}
    assert {"HandshakeFailed", "ConnectionRefused/basic-password-wrong"} <= kinds
    assert all(len(item["hash"]) == 64 and item["cause"] for item in audit)
    text = str(audit) + (attempts.system.folder / "up.log").read_text(errors="replace")
    for secret in ("guess-number", attempts.beginner.password, _encoded(attempts.beginner)):
        assert secret not in text


def _encoded(charger: Charger) -> str:
    return base64.b64encode(f"{charger.charger_id}:{charger.password}".encode()).decode()


def test_the_attempts_cost_sessions_nothing(attempts: Attempts) -> None:
    async def still_welcome() -> None:
        attempts.charger.address = "127.0.0.1"
        async with attempts.charger.connected(attempts.charger.tls()) as session:
            await attempts.charger.boot(session)

    asyncio.run(still_welcome())
    assert attempts.system.is_alive
