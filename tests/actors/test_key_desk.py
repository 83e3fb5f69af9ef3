"""The key desk over secrets in memory: one key for one job, however often it is asked for, and nothing of it in evidence."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

import pytest

from actors.issuance.message import Settled, Wanted
from actors.key_desk import KeyDesk, KeyDeskPorts
from bfactors import evidence as v
from bfactors.admission import KeyVerifier
from bfactors.authorization_key import AuthorizationKey, Version
from bfactors.disclosed import Disclosed
from bfactors.effect import MintKey
from bfactors.errors import LedgerCorrupt, Unavailable
from bfactors.identity_rule import key_verifier
from bfactors.secret import OpenedSecret, SecretName
from tests.fakes.ca import ManualTime, settle
from tests.fakes.secret_store import FakeSecretStore

PEPPER = b"p" * 32
GIVEN = "Kx7_pQ2-Zr9.Lm4,Wn8+"


class Verifiers:
    def verifiers_of(
        self,
        key: AuthorizationKey,
        versions: Iterable[Version],
        *,
        generation: int,
        state: Literal["active", "pending"] = "active",
    ) -> tuple[KeyVerifier, ...]:
        return key.verifiers(versions, pepper_id="p", pepper=PEPPER, generation=generation, state=state)


class Desk:
    """Actors come and go over one store and one evidence log."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.secrets = FakeSecretStore()
        self.told: list[v.Evidence] = []
        self.log_is_away = False
        self.failures: list[BaseException] = []
        self._octets = itertools.count(1)
        self.actor = self.new_actor()

    def new_actor(self) -> KeyDesk:
        ports = KeyDeskPorts(
            secrets=self.secrets,
            verifiers=Verifiers(),
            evidence=self,
            clock=self.time,
            sleep=self.time.sleep,
            uniform=lambda low, high: high,
            random_octets=lambda count: bytes([next(self._octets)] * count),
        )
        self.actor = KeyDesk(ports)
        self.actor.start(lambda _, error, __: self.failures.append(error))
        return self.actor

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        if self.log_is_away:
            raise Unavailable("NATS")
        self.told.append(evidence)

    async def ask(self, effect: MintKey) -> None:
        self.actor.tell(Wanted(effect))
        await settle()

    @property
    def bodies(self) -> list[v.EvidenceBody]:
        return [evidence.body for evidence in self.told]


def mint(number: int = 1, *, is_given: bool = False) -> MintKey:
    return MintKey(
        effect_id=f"job-{number}:key",
        charger_id="CP-1",
        purpose="charging_station",
        job_id=f"job-{number}",
        generation=2,
        is_given=is_given,
        identities=("CP-1", "SN-1"),
    )


async def test_a_key_is_sealed_under_its_job_and_told_by_its_verifiers() -> None:
    desk = Desk()
    await desk.ask(mint())
    opened, expires_at = desk.secrets.held["job-1"]
    text = opened.disclosed.value
    assert (len(text), opened.name.charger_id, expires_at) == (32, "CP-1", None)
    [body] = desk.bodies
    assert isinstance(body, v.KeyMinted)
    assert {(key.generation, key.state) for key in body.keys} == {(2, "pending")}
    presented = {text, bytes.fromhex(text.decode())}
    assert {key.verifier for key in body.keys} == {key_verifier(PEPPER, one) for one in presented}
    assert text.decode() not in repr(desk.told)


async def test_a_key_is_made_once_whoever_asks() -> None:
    desk = Desk()
    await desk.ask(mint())
    desk.new_actor()
    await desk.ask(mint())
    first, second = desk.told
    assert (first.evidence_id, first.body) == (second.evidence_id, second.body)


async def test_what_was_sealed_before_a_crash_is_the_key() -> None:
    desk = Desk()
    desk.log_is_away = True
    await desk.ask(mint())
    sealed = desk.secrets.held["job-1"][0].disclosed
    desk.actor.abandon()
    desk.log_is_away = False
    desk.new_actor()
    await desk.ask(mint())
    [body] = desk.bodies
    assert isinstance(body, v.KeyMinted)
    assert key_verifier(PEPPER, sealed.value) in {key.verifier for key in body.keys}


async def test_a_given_key_is_kept_and_its_weakness_told() -> None:
    desk = Desk()
    name = SecretName(secret_id="job-1", purpose="authorization-key", charger_id="CP-1")
    await desk.secrets.put(name, Disclosed(b"password12345678"), desk.time.now() + timedelta(minutes=15))
    await desk.ask(mint(is_given=True))
    assert desk.secrets.held["job-1"][1] is None
    [body] = desk.bodies
    assert isinstance(body, v.KeyMinted)
    assert body.weakness == "default-key"


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        (None, GIVEN, "key-gone"),
        (SecretName(secret_id="job-1", purpose="authorization-key", charger_id="CP-2"), GIVEN, "key-gone"),
        (SecretName(secret_id="job-1", purpose="log-upload", charger_id="CP-1"), GIVEN, "key-gone"),
        (SecretName(secret_id="job-1", purpose="authorization-key", charger_id="CP-1"), "x", "key-malformed"),
    ],
)
async def test_a_given_key_that_cannot_be_used_is_said_so(
    name: SecretName | None, text: str, code: str
) -> None:
    desk = Desk()
    if name is not None:
        await desk.secrets.put(name, Disclosed(text.encode()), None)
    await desk.ask(mint(is_given=True))
    [body] = desk.bodies
    assert isinstance(body, v.KeyNotMinted)
    assert body.code == code


@pytest.mark.parametrize("away", ["secrets", "log"])
async def test_what_is_away_is_waited_for(away: str) -> None:
    desk = Desk()
    desk.secrets.away, desk.log_is_away = away == "secrets", away == "log"
    await desk.ask(mint())
    assert desk.told == []
    desk.secrets.away = desk.log_is_away = False
    await desk.time.advance(60)
    assert len(desk.told) == 1
    assert desk.failures == []


async def test_a_seal_that_is_broken_ends_the_job_not_the_desk() -> None:
    desk = Desk()

    async def broken(secret_id: str) -> OpenedSecret | None:
        raise LedgerCorrupt("torn")

    await desk.ask(mint())
    desk.secrets.open = broken  # type: ignore[method-assign]
    desk.new_actor()
    await desk.ask(mint())
    assert isinstance(desk.bodies[-1], v.KeyNotMinted)
    assert desk.failures == []


async def test_a_settled_effect_that_still_waits_is_not_carried_out() -> None:
    desk = Desk()
    desk.secrets.away = True
    for number in range(1, 10):
        await desk.ask(mint(number))
    desk.actor.tell(Settled("job-9:key"))
    desk.secrets.away = False
    await desk.time.advance(60)
    assert set(desk.secrets.held) == {f"job-{number}" for number in range(1, 9)}


async def test_a_drain_leaves_what_waits_to_the_next() -> None:
    desk = Desk()
    desk.secrets.away = True
    await desk.ask(mint())
    await desk.actor.drain()
    assert desk.told == []
    desk.secrets.away = False
    desk.new_actor()
    await desk.ask(mint())
    assert len(desk.told) == 1
