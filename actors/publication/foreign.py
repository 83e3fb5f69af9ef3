"""The actor that asks, ahead of every handshake, whether leaves of other issuers are revoked.

All of them every hour, every five minutes while something cannot be had. Only what changes is evidence: a list that is renewed
and says the same of a certificate is no news of it.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from actors.issuance.message import Settled, Wanted
from actors.issuance.patience import Interrupted, Patience
from actors.issuance.record import record_fact
from actors.mailbox import Mailbox
from actors.publication.ports import ForeignPorts
from bfactors.effect import CheckForeign
from bfactors.errors import NotFetched, Unavailable
from bfactors.evidence import ForeignRevocationSeen
from bfactors.ocsp import KEPT_AT_MOST, KEPT_WITHOUT_DATE, NotBelieved
from bfactors.revocation_list import RevocationList

_LOG = logging.getLogger(__name__)

MAILBOX_CAPACITY = 200_000
EVERY_S = 3600.0
AGAIN_S = 300.0
NEWS_S = 1.0
_MISSING = (NotFetched, NotBelieved, Unavailable)


@dataclass(frozen=True, slots=True)
class _Ended:
    pass


@dataclass(frozen=True, slots=True)
class _Broke:
    error: BaseException


Message = Wanted | Settled | _Ended | _Broke
Lists = dict[tuple[str, str], RevocationList | Exception]


class ForeignActor(Mailbox[Message]):
    """Of one purpose on one node; lives on the purpose's lane. A pause holds nothing here: it only reads."""

    __slots__ = (
        "_good_until",
        "_news",
        "_patience",
        "_ports",
        "_purpose",
        "_unlooked",
        "_wanted",
        "is_paused",
    )

    def __init__(self, purpose: str, ports: ForeignPorts) -> None:
        super().__init__(f"foreign-{purpose}", capacity=MAILBOX_CAPACITY)
        self._purpose = purpose
        self._ports = ports
        self._patience = Patience(self._sleep_or_news)
        self._wanted: dict[str, CheckForeign] = {}
        self._unlooked: set[str] = set()
        self._good_until: dict[str, datetime] = {}
        self._news = asyncio.Event()
        self.is_paused = False

    def set_paused(self, paused: bool) -> None:
        """Noted only."""
        self.is_paused = paused

    async def begin(self) -> None:
        """Look from now on."""
        self.spawn(self._keep_looking(), lambda _: _Ended(), _Broke)

    async def drain(self) -> None:
        """Stop waiting."""
        self._patience.end()
        await super().drain()

    async def receive(self, message: Message) -> None:
        match message:
            case Wanted(CheckForeign() as effect):
                if effect.effect_id not in self._wanted:
                    self._unlooked.add(effect.effect_id)
                    self._news.set()
                self._wanted[effect.effect_id] = effect
            case Settled(effect_id):
                self._wanted.pop(effect_id, None)
                self._unlooked.discard(effect_id)
                self._good_until.pop(effect_id, None)
            case _Broke(error):
                raise error
            case _:
                pass

    async def _keep_looking(self) -> None:
        with suppress(Interrupted):
            while True:
                self._news.clear()
                lists: Lists = {}
                is_complete = True
                for effect in list(self._wanted.values()):
                    self._unlooked.discard(effect.effect_id)
                    is_complete = await self._look(effect, lists) and is_complete
                await self._patience.wait(EVERY_S if is_complete else AGAIN_S)
                if self._news.is_set():
                    await self._ports.sleep(NEWS_S)

    async def _sleep_or_news(self, duration_s: float) -> None:
        sleeping = asyncio.ensure_future(self._ports.sleep(duration_s))
        hearing = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({sleeping, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            hearing.cancel()

    # ------------------------------------------------------------ one certificate

    async def _look(self, effect: CheckForeign, lists: Lists) -> bool:
        """Whether its issuer's word was to be had."""
        issuer_pem = await self._ports.reader.issuer_of(effect.chain_pem)
        if issuer_pem is None:
            message = "its issuer's certificate is neither beside it nor in revocation_issuers_file"
            await self._unknown(effect, "issuer-unknown", message)
            return False
        found = await self._on_a_list(effect, issuer_pem, lists) or await self._answered(effect, issuer_pem)
        if found is None:
            message = "neither its issuer's list nor its responder could be read, or believed"
            await self._unknown(effect, "revocation-unknown", message)
            return False
        if found.good_until is not None:
            self._good_until[effect.effect_id] = found.good_until
        await self._tell(effect, found)
        return True

    async def _on_a_list(
        self, effect: CheckForeign, issuer_pem: str, lists: Lists
    ) -> ForeignRevocationSeen | None:
        for address in effect.crl_addresses:
            place = (address, issuer_pem)
            if place not in lists:
                try:
                    lists[place] = await self._ports.reader.list_at(address, issuer_pem)
                except _MISSING as problem:
                    _LOG.warning("what %s says of revocations is not known: %s", address, problem)
                    lists[place] = problem
            found = lists[place]
            if isinstance(found, Exception):
                continue
            revoked_at, now = found.revoked_at(effect.serial_number), self._ports.clock.now()
            if revoked_at is None and found.is_stale(now):
                continue  # what it lists is revoked for good; what it lacks may be by now
            return ForeignRevocationSeen(
                certificate_id=effect.certificate_id,
                status="good" if revoked_at is None else "revoked",
                source="crl",
                address=address,
                this_update=found.this_update,
                good_until=_until(found.next_update, now) if revoked_at is None else None,
                revoked_at=revoked_at,
            )
        return None

    async def _answered(self, effect: CheckForeign, issuer_pem: str) -> ForeignRevocationSeen | None:
        for address in effect.ocsp_addresses:
            try:
                answer = await self._ports.reader.answer_at(address, issuer_pem, effect.serial_number)
            except _MISSING as problem:
                _LOG.warning("what %s says of a certificate is not known: %s", address, problem)
                continue
            if answer.status == "Unknown":
                continue
            is_good = answer.status == "Good"
            return ForeignRevocationSeen(
                certificate_id=effect.certificate_id,
                status="good" if is_good else "revoked",
                source="ocsp",
                address=address,
                this_update=answer.this_update,
                good_until=_until(answer.next_update, self._ports.clock.now()) if is_good else None,
                revoked_at=answer.revoked_at,
            )
        return None

    async def _unknown(self, effect: CheckForeign, code: str, message: str) -> None:
        """Once what was known is out of date, and not before."""
        good_until = self._good_until.get(effect.effect_id, effect.good_until)
        if effect.known_status == "good" and good_until is not None and self._ports.clock.now() < good_until:
            return
        body = ForeignRevocationSeen(
            certificate_id=effect.certificate_id, status="unknown", code=code, message=message
        )
        await self._tell(effect, body)

    async def _tell(self, effect: CheckForeign, body: ForeignRevocationSeen) -> None:
        if body.status == effect.known_status:
            return
        at = body.this_update or self._ports.clock.now()
        fact = (effect.effect_id, effect.known_status, body.status, at.isoformat())
        await record_fact(self._ports, effect.authority_arn, effect.charger_id, body, *fact)


def _until(next_update: datetime | None, now: datetime) -> datetime:
    return now + KEPT_WITHOUT_DATE if next_update is None else min(next_update, now + KEPT_AT_MOST)
