"""The actor that looks for a purpose's revocations where everybody could read of them, and at how fresh its CA's list is.

nothing wanted: once an hour ──revocation asked for──► after 5 s, then less and less often, every 5 minutes at last
      ▲                                                                     │
      └──────────────────── all of them found, or given up ─────────────────┘
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from actors.issuance.message import Settled, Wanted
from actors.issuance.patience import Interrupted, Patience
from actors.mailbox import HighWaterGauge, Mailbox
from actors.publication.look import Look, Place
from actors.publication.ports import PublicationPorts
from bfactors.effect import WatchPublication
from bfactors.errors import Unavailable
from bfactors.revocation_source import sources_in
from bfactors.x509 import join_chain, split_chain

_LOG = logging.getLogger(__name__)

MAILBOX_CAPACITY = 200_000
FIRST_S = 5.0
LONGEST_S = 300.0
NEWS_WITHIN_S = 60.0
"""However long the present wait, one that is asked for now is looked for within this: an incident brings many."""
IDLE_S = 3600.0
AFTER_START_S = 30.0


@dataclass(frozen=True, slots=True)
class _Ended:
    """The looking, by a drain."""


@dataclass(frozen=True, slots=True)
class _Broke:
    error: BaseException


Message = Wanted | Settled | _Ended | _Broke


class PublicationActor(Mailbox[Message]):
    """Of one purpose on one node; lives on the purpose's lane. A pause holds nothing here: it only reads."""

    __slots__ = (
        "_answered",
        "_attentive",
        "_delay_s",
        "_look",
        "_news",
        "_patience",
        "_ports",
        "_purpose",
        "_unlooked",
        "_wanted",
        "is_paused",
    )

    def __init__(self, purpose: str, ports: PublicationPorts, *, gauge: HighWaterGauge | None = None) -> None:
        super().__init__(f"publication-{purpose}", capacity=MAILBOX_CAPACITY, gauge=gauge)
        self._purpose = purpose
        self._ports = ports
        self._patience = Patience(ports.sleep)
        self._attentive = Patience(self._sleep_or_news)
        self._look = Look(ports, purpose, lambda effect: self._answered.add(effect.effect_id))
        self._wanted: dict[str, WatchPublication] = {}
        self._answered: set[str] = set()  # recorded; the ledger has not settled them yet
        self._unlooked: set[str] = set()
        """Wanted, and never looked for."""
        self._news = asyncio.Event()
        self._delay_s = 0.0
        self.is_paused = False

    def set_paused(self, paused: bool) -> None:
        """Noted only."""
        self.is_paused = paused

    async def begin(self) -> None:
        """Look from now on."""
        self.spawn(self._keep_looking(), lambda _: _Ended(), _Broke)

    async def drain(self) -> None:
        """Stop waiting; whoever is given the effects next looks anew."""
        self._patience.end()
        self._attentive.end()
        await super().drain()

    async def receive(self, message: Message) -> None:
        match message:
            case Wanted(WatchPublication() as effect):
                if effect.effect_id not in self._wanted:
                    self._unlooked.add(effect.effect_id)
                    self._news.set()
                self._wanted[effect.effect_id] = effect
            case Wanted():
                pass  # another actor's
            case Settled(effect_id):
                self._wanted.pop(effect_id, None)
                self._unlooked.discard(effect_id)
                self._answered.discard(effect_id)
            case _Ended():
                pass
            case _Broke(error):
                raise error
        self._ports.metrics.gauge("bf_revocations_unpublished", len(self._wanted), purpose=self._purpose)

    def _unanswered(self) -> list[WatchPublication]:
        return [effect for effect_id, effect in self._wanted.items() if effect_id not in self._answered]

    # ------------------------------------------------------------ looking

    async def _keep_looking(self) -> None:
        with suppress(Interrupted):
            await self._patience.wait(AFTER_START_S)
            while True:
                wanted = self._unanswered()
                self._unlooked -= {effect.effect_id for effect in wanted}
                self._news.clear()
                await self._look.at(wanted, await self._lists_of_the_cas())
                await self._rest(self._next_delay_s())

    def _next_delay_s(self) -> float:
        if not self._unanswered():
            self._delay_s = 0.0
            return IDLE_S
        self._delay_s = min(LONGEST_S, max(FIRST_S, self._delay_s * 2))
        return self._delay_s * self._ports.uniform(0.9, 1.1)

    async def _rest(self, longest_s: float) -> None:
        """What is asked for meanwhile shortens it: to 5 s when nothing was looked for before. Raises Interrupted."""
        clock = self._ports.clock
        ends_s, within_s = clock.monotonic() + longest_s, NEWS_WITHIN_S if self._delay_s else FIRST_S
        if not self._unlooked:
            await self._attentive.wait(longest_s)
        left_s = ends_s - clock.monotonic()
        if self._unlooked and left_s > 0:
            await self._patience.wait(min(within_s, left_s))

    async def _sleep_or_news(self, duration_s: float) -> None:
        sleeping = asyncio.ensure_future(self._ports.sleep(duration_s))
        hearing = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({sleeping, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            hearing.cancel()

    async def _lists_of_the_cas(self) -> list[tuple[str, Place]]:
        """As the latest certificate of each names them."""
        try:
            newest = await self._ports.sample.newest_issued(self._purpose)
        except Unavailable as away:
            _LOG.info("which lists the CAs of %s make is not known: %s", self._purpose, away)
            return []
        found: list[tuple[str, Place]] = []
        for authority_arn, chain_pem in newest:
            issuer_pem = join_chain(split_chain(chain_pem)[1:2])
            if issuer_pem:
                found += [(authority_arn, (address, issuer_pem)) for address in sources_in(chain_pem).crl]
        return found
