"""Makes AuthorizationKeys: random, sealed under their job's id, and told to the ledger by what admission compares with.

A key is put once and then only read, so that a repeat - after a crash, on another core, in another life - finds the key it made
before. In clear it lives for one step, here and nowhere else in core.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_bytes

from actors.issuance.message import Settled, Wanted
from actors.issuance.patience import Interrupted, Patience
from actors.mailbox import HighWaterGauge, Mailbox
from bfactors.authorization_key import FEWEST_OCTETS, SECRET_PURPOSE, AuthorizationKey, Version, versions_for
from bfactors.ca import next_delay_s
from bfactors.effect import MintKey
from bfactors.errors import LedgerCorrupt, Unavailable
from bfactors.evidence import Evidence, KeyMinted, KeyNotMinted, evidence_id, kind_name
from bfactors.ports import Clock, EvidenceLog, KeyVerifiers, SecretStore
from bfactors.secret import SecretName

_LOG = logging.getLogger(__name__)

MAILBOX_CAPACITY = 200_000
AT_ONCE = 8
RETRY_BASE_S, RETRY_LONGEST_S = 0.5, 30.0
SOURCE = "key-desk"
_MADE_FOR: Version = "2.0.1"
"""As 32 hex digits a key suits every version."""


@dataclass(frozen=True, kw_only=True)
class KeyDeskPorts:
    """What making keys needs of the rest of the system, time and chance included."""

    secrets: SecretStore
    verifiers: KeyVerifiers
    evidence: EvidenceLog
    clock: Clock
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    random_octets: Callable[[int], bytes] = token_bytes


@dataclass(frozen=True, slots=True)
class _Done:
    effect_id: str


@dataclass(frozen=True, slots=True)
class _Broke:
    error: BaseException


Message = Wanted | Settled | _Done | _Broke


class KeyDesk(Mailbox[Message]):
    """One on each core node; lives on the lane of the purpose whose sessions take passwords too."""

    __slots__ = ("_patience", "_ports", "_running", "_wanted", "is_paused")

    def __init__(self, ports: KeyDeskPorts, *, gauge: HighWaterGauge | None = None) -> None:
        super().__init__("key-desk", capacity=MAILBOX_CAPACITY, gauge=gauge)
        self._ports = ports
        self._patience = Patience(ports.sleep)
        self._wanted: dict[str, MintKey] = {}
        self._running: set[str] = set()
        self.is_paused = False

    def set_paused(self, paused: bool) -> None:
        """Noted only: a key that is made is not yet told to anybody, and telling is what a pause holds."""
        self.is_paused = paused

    async def drain(self) -> None:
        """Finish what is at hand; what waits for the database is left to whoever is given the effect next."""
        self._patience.end()
        await super().drain()

    async def receive(self, message: Message) -> None:
        match message:
            case Wanted(MintKey() as effect):
                if effect.effect_id not in self._running:
                    self._wanted[effect.effect_id] = effect
            case Wanted():
                pass  # no key
            case Settled(effect_id):
                self._wanted.pop(effect_id, None)
            case _Done(effect_id):
                self._running.discard(effect_id)
            case _Broke(error):
                raise error
        while self._wanted and len(self._running) < AT_ONCE and not self._patience.is_over:
            effect_id = next(iter(self._wanted))
            self._running.add(effect_id)
            self.spawn(self._carry_out(self._wanted.pop(effect_id)), lambda done: done, _Broke)

    async def _carry_out(self, effect: MintKey) -> _Done:
        delay_s = 0.0
        with suppress(Interrupted):
            while True:
                try:
                    await self._ports.evidence.append(await self._evidence(effect))
                    break
                except Unavailable as away:
                    if not delay_s:
                        _LOG.warning("the key of job %s waits: %s", effect.job_id, away)
                    delay_s = next_delay_s(
                        delay_s, base_s=RETRY_BASE_S, longest_s=RETRY_LONGEST_S, uniform=self._ports.uniform
                    )
                    await self._patience.wait(delay_s)
        return _Done(effect.effect_id)

    async def _evidence(self, effect: MintKey) -> Evidence:
        try:
            body = await self._body(effect)
        except LedgerCorrupt as damage:
            _LOG.error("the key of job %s cannot be opened: %s", effect.job_id, damage)
            body = _not_minted(effect, "key-gone", "the sealed key is not as it was sealed")
        return Evidence(
            evidence_id=evidence_id(SOURCE, effect.effect_id, kind_name(body)),
            charger_id=effect.charger_id,
            source=SOURCE,
            observed_at=self._ports.clock.now(),
            body=body,
        )

    async def _body(self, effect: MintKey) -> KeyMinted | KeyNotMinted:
        key = await (self._given(effect) if effect.is_given else self._made(effect))
        if key is None:
            return _not_minted(
                effect, "key-gone", "the key that was given is not held any more; give it again"
            )
        fitting = versions_for(key)
        if not fitting:
            return _not_minted(effect, "key-malformed", "the key that was given suits no OCPP version")
        return KeyMinted(
            job_id=effect.job_id,
            generation=effect.generation,
            keys=self._ports.verifiers.verifiers_of(
                key, fitting, generation=effect.generation, state="pending"
            ),
            weakness=key.weakness(identities=effect.identities),
        )

    async def _given(self, effect: MintKey) -> AuthorizationKey | None:
        """Kept from now on, until its job has ended; before, it would have gone with its expiry."""
        name = _name_of(effect)
        if not await self._ports.secrets.reseal(effect.job_id, None):
            return None
        opened = await self._ports.secrets.open(effect.job_id)
        if opened is None or (opened.name.purpose, opened.name.charger_id) != (name.purpose, name.charger_id):
            return None
        return AuthorizationKey(opened.disclosed.value.decode(), "given")

    async def _made(self, effect: MintKey) -> AuthorizationKey:
        made = AuthorizationKey.from_random(self._ports.random_octets(FEWEST_OCTETS), _MADE_FOR)
        if await self._ports.secrets.put(_name_of(effect), made.disclosed, None):
            return made
        opened = await self._ports.secrets.open(effect.job_id)
        if opened is None:
            raise Unavailable("the secret store", "the key was there, and is not")
        if opened.name != _name_of(effect):
            raise LedgerCorrupt(f"the secret {effect.job_id} is not the key of its job")
        return AuthorizationKey.from_disclosed(opened.disclosed, _MADE_FOR)


def _name_of(effect: MintKey) -> SecretName:
    return SecretName(
        secret_id=effect.job_id,
        purpose=SECRET_PURPOSE,
        charger_id=effect.charger_id,
        generation=effect.generation,
    )


def _not_minted(effect: MintKey, code: str, message: str) -> KeyNotMinted:
    return KeyNotMinted(job_id=effect.job_id, generation=effect.generation, code=code, message=message)
