"""Server certificates swapped while chargers are connected: given files, those our CA made, and what the gate keeps back."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from bfactors.ca import AuthorityDescription, Transient
from bfactors.errors import Unavailable
from bfactors.server_certificate import Forecast, Presented, Stranded
from bfactors.settings import Settings
from bfactors.x509 import Certificate, fingerprint_sha256
from deploy.role.authority import CaClients
from deploy.role.server_desk import ServerDesk
from gateways.ca.call_limits import CallLimits
from gateways.ocpp.tls import FrontTls, TlsStream
from tests.core.pki import ca as pki_ca
from tests.core.x509_maker import Authority, Pair
from tests.fakes.ca import START, CountedMetrics, FakeCa, ManualTime

OLD, NEW = Authority.root("Old root", now=START).sub(), Authority.root("New root", now=START).sub()


class Fleet:
    """What chargers hold, in the test's hand."""

    def __init__(self, stranded: int = 3) -> None:
        self.stranded = stranded
        self.away = False
        self.asked = 0

    async def forecast(self, chain: Sequence[Certificate]) -> Forecast:
        self.asked += 1
        if self.away:
            raise Unavailable("postgres is away")
        group = Stranded(family="f", cohort="c", total=4, stranded=self.stranded, examples=())
        return Forecast(
            total=4, stranded=self.stranded, groups=(group,) if self.stranded else (), bundles=("b",)
        )


class Charger:
    """A TLS client in memory; what it is shown, and whether its connection still carries data."""

    def __init__(self, front: FrontTls) -> None:
        self.server: TlsStream = front.new_stream()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.server.feed(self._outgoing.read())
            self._incoming.write(self.server.unsent())

    @property
    def shown(self) -> str:
        return fingerprint_sha256(self.client.getpeercert(binary_form=True) or b"")

    def says(self, data: bytes) -> bytes:
        self.client.write(data)
        return self.server.feed(self._outgoing.read())


def leaf(issuer: Authority = OLD, **fields: object) -> Pair:
    return issuer.leaf("localhost", usage="server", dns_name="localhost", **fields)  # type: ignore[arg-type]


class Given:
    """A process whose server certificate comes from files."""

    def __init__(self, folder: Path, first: Pair, fleet: Fleet | None) -> None:
        self.folder = folder
        self.chain, self.key = first.write(folder, "server")
        self.metrics = CountedMetrics()
        self.told: list[Presented] = []
        settings = Settings(server_chain_files=(self.chain,), server_key_files=(self.key,), data_dir=folder)
        self.time = ManualTime()
        self.desk = ServerDesk(settings, None, self.time, self.metrics)
        self.desk.trust = fleet  # type: ignore[assignment]
        self.front: FrontTls

    async def start(self) -> Given:
        self.front = FrontTls(await self.desk.first(), ())
        self.desk.add(self.front.replace_identities, self.told.append)
        return self

    def put(self, pair: Pair) -> None:
        """As a careful operator does: new files in the old ones' place."""
        chain, key = pair.write(self.folder, "incoming")
        os.replace(chain, self.chain)
        os.replace(key, self.key)

    @property
    def shown(self) -> str:
        return Charger(self.front).shown

    @property
    def kept_back(self) -> list[str]:
        return [each.code for each in self.desk.presented.kept_back]


async def test_changed_files_are_presented_and_open_connections_go_on(tmp_path: Path) -> None:
    first, second = leaf(), leaf()
    given = await Given(tmp_path, first, Fleet()).start()
    connected = Charger(given.front)
    given.put(second)
    await given.desk.look()
    assert given.shown == second.fingerprint
    assert connected.shown == first.fingerprint
    assert connected.says(b"still here") == b"still here"
    assert given.told[-1].certificates[0].fingerprint_sha256 == second.fingerprint
    assert given.metrics.gauges["bf_server_certificates_kept_back",] == 0


async def test_files_that_did_not_change_are_not_read_again(tmp_path: Path) -> None:
    given = await Given(tmp_path, leaf(), Fleet()).start()
    told = len(given.told)
    for _ in range(3):
        await given.desk.look()
    assert len(given.told) == told


async def test_another_issuer_is_kept_back_until_the_fleet_has_confirmed_it(tmp_path: Path) -> None:
    fleet = Fleet(stranded=3)
    first, second = leaf(OLD), leaf(NEW)
    given = await Given(tmp_path, first, fleet).start()
    given.put(second)
    await given.desk.look()
    assert (given.shown, given.kept_back) == (first.fingerprint, ["server-issuer-not-confirmed"])
    assert given.metrics.gauges["bf_server_certificates_kept_back",] == 1
    fleet.stranded = 1
    await given.time.advance(61)
    await given.desk.look()
    assert given.shown == first.fingerprint
    fleet.stranded = 0
    await given.desk.look()
    assert (given.shown, fleet.asked) == (first.fingerprint, 2)  # not every time it looks
    await given.time.advance(61)
    await given.desk.look()
    assert (given.shown, given.kept_back) == (second.fingerprint, [])
    assert given.told[-1].kept_back == ()


async def test_a_swap_of_client_trust_does_not_let_kept_back_files_in(tmp_path: Path) -> None:
    first = leaf(OLD)
    given = await Given(tmp_path, first, Fleet()).start()
    given.put(leaf(NEW))
    await given.desk.look()
    given.front.replace_trust([NEW.pair.pem])
    assert given.shown == first.fingerprint


async def test_a_node_that_cannot_ask_keeps_another_issuer_back(tmp_path: Path) -> None:
    first = leaf(OLD)
    given = await Given(tmp_path, first, None).start()
    given.put(leaf(NEW))
    await given.desk.look()
    assert (given.shown, given.kept_back) == (first.fingerprint, ["server-issuer-unknown-here"])
    renewed = leaf(OLD)
    given.put(renewed)
    await given.desk.look()
    assert (given.shown, given.kept_back) == (renewed.fingerprint, [])


async def test_files_put_back_are_kept_back_no_more(tmp_path: Path) -> None:
    first = leaf(OLD)
    given = await Given(tmp_path, first, Fleet()).start()
    given.put(leaf(NEW))
    await given.desk.look()
    given.put(first)
    await given.desk.look()
    assert (given.shown, given.kept_back) == (first.fingerprint, [])


async def test_a_database_that_is_away_changes_nothing_and_is_asked_again(tmp_path: Path) -> None:
    fleet = Fleet(stranded=0)
    fleet.away = True
    first, second = leaf(OLD), leaf(NEW)
    given = await Given(tmp_path, first, fleet).start()
    given.put(second)
    await given.desk.look()
    assert given.shown == first.fingerprint
    fleet.away = False
    await given.desk.look()
    assert given.shown == second.fingerprint


@pytest.mark.parametrize("written", ["chain", "key", "garbage", "nothing"])
async def test_half_of_a_pair_is_never_presented_and_the_whole_is(tmp_path: Path, written: str) -> None:
    first, second = leaf(OLD), leaf(OLD)
    given = await Given(tmp_path, first, Fleet()).start()
    chain, key = second.write(tmp_path, "incoming")
    match written:
        case "chain":
            shutil.copy(chain, given.chain)
        case "key":
            shutil.copy(key, given.key)
        case "garbage":
            given.chain.write_text("-----BEGIN CERT")
        case "nothing":
            given.chain.unlink()
    await given.desk.look()
    assert given.shown == first.fingerprint
    given.put(second)
    await given.desk.look()
    assert given.shown == second.fingerprint


async def test_a_pair_whose_halves_come_one_look_apart_is_presented_in_the_end(tmp_path: Path) -> None:
    first, second = leaf(OLD), leaf(OLD)
    given = await Given(tmp_path, first, Fleet()).start()
    chain, key = second.write(tmp_path, "incoming")
    shutil.copy(chain, given.chain)
    await given.desk.look()
    shutil.copy(key, given.key)
    await given.desk.look()
    assert given.shown == second.fingerprint


# ---------------------------------------------------------------- made by our own CA


class Made:
    """A process that has its certificates made."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self.time = ManualTime()
        self.authority = FakeCa(self.time)
        self.described: AuthorityDescription
        self.folder = folder
        self.fleet = fleet
        self.metrics = CountedMetrics()

    async def start(self) -> Made:
        self.clients = CaClients(
            {"backend_server": self.authority},  # type: ignore[dict-item]
            {"backend_server": self.authority.arn},
            CallLimits(monotonic=self.time.monotonic),
        )
        self.clients.described["backend_server"] = await self.authority.describe(self.authority.arn)
        self.desk = ServerDesk(Settings(data_dir=self.folder), self.clients, self.time, self.metrics)
        self.front = FrontTls(await self.desk.first(), ())
        self.desk.trust = self.fleet  # type: ignore[assignment]
        self.desk.add(self.front.replace_identities)
        return self

    async def another_ca(self, name: str) -> None:
        """The setting names another CA now, and core was started again."""
        self.authority.pki = pki_ca(name)
        self.clients.described["backend_server"] = await self.authority.describe(self.authority.arn)

    @property
    def shown(self) -> str:
        return Charger(self.front).shown


async def test_a_pair_of_both_kinds_is_made_and_renewed_in_time_without_asking_the_fleet(
    tmp_path: Path,
) -> None:
    made = await Made(tmp_path, Fleet()).start()
    kinds = {each.key_algorithm for each in made.desk.presented.certificates}
    assert kinds == {"ec-secp256r1", "rsa-2048"}
    before = made.shown
    await made.time.advance(timedelta(days=50).total_seconds())
    await made.desk.look()
    assert made.shown == before
    await made.time.advance(timedelta(days=15).total_seconds())
    await made.desk.look()
    assert made.shown != before
    assert made.fleet.asked == 0


async def test_another_ca_makes_nothing_before_the_fleet_has_confirmed_it(tmp_path: Path) -> None:
    made = await Made(tmp_path, Fleet()).start()
    before, orders = made.shown, len(made.authority.orders)
    await made.another_ca("Another")
    await made.desk.look()
    assert made.shown == before
    assert len(made.authority.orders) == orders
    assert [each.code for each in made.desk.presented.kept_back] == ["server-issuer-not-confirmed"]
    made.fleet.stranded = 0
    await made.desk.look()
    assert made.shown != before
    assert made.desk.presented.kept_back == ()


async def test_a_restart_under_another_ca_goes_on_with_what_chargers_know(tmp_path: Path) -> None:
    made = await Made(tmp_path, Fleet()).start()
    before = made.shown
    again = Made(tmp_path, Fleet())
    again.authority.pki = pki_ca("Another")
    await again.start()
    assert again.shown == before
    await again.desk.look()
    assert again.shown == before


async def test_a_ca_that_is_away_leaves_what_is_there(tmp_path: Path) -> None:
    made = await Made(tmp_path, Fleet()).start()
    before = made.shown
    await made.time.advance(timedelta(days=65).total_seconds())
    made.authority.fail("issue", Transient("Away", ""))
    made.authority.status = "DISABLED"
    await made.desk.look()
    assert made.shown == before
