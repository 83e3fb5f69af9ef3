"""One look at everything a purpose's CA says of revoked certificates: each list once, then the responders."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actors.issuance.record import record_fact
from actors.publication.ports import PublicationPorts
from bfactors.effect import WatchPublication
from bfactors.errors import NotFetched, Unavailable
from bfactors.evidence import RevocationListed, RevocationListStale, RevocationUnlisted
from bfactors.ocsp import NotBelieved
from bfactors.revocation_list import RevocationList, seen

_LOG = logging.getLogger(__name__)

ANSWERS_A_LOOK = 200
"""Questions to responders; whoever is left over comes first next time."""
FORGOTTEN_AFTER = timedelta(days=1)
"""A list need not name a certificate that has expired; so long after it nobody looks any more."""

Place = tuple[str, str]
"""An address, and the PEM of the issuer whose word is wanted there."""


@dataclass
class Look:
    """`answered` is told of every effect that is done."""

    ports: PublicationPorts
    purpose: str
    answered: Callable[[WatchPublication], None]
    asked_last: dict[str, datetime] = field(default_factory=dict)
    """When a responder was last asked for an effect."""
    _lists: dict[Place, RevocationList | None] = field(default_factory=dict)

    async def at(self, wanted: Sequence[WatchPublication], places: Iterable[tuple[str, Place]]) -> None:
        """Look for these; and, whether or not anything is wanted there, at these lists of (authority, place)."""
        self._lists.clear()
        arns: dict[Place, str] = {}
        unanswered: list[WatchPublication] = []
        for effect in wanted:
            for address in effect.crl_addresses:
                arns.setdefault((address, effect.issuer_pem), effect.authority_arn)
            if not await self._is_listed(effect):
                unanswered.append(effect)
        for authority_arn, place in places:
            arns.setdefault(place, authority_arn)
            await self._list(place)
        await self._ask_responders([each for each in unanswered if each.ocsp_addresses])
        await self._judge_lists(arns)
        await self._forget(unanswered)

    # ------------------------------------------------------------ lists

    async def _is_listed(self, effect: WatchPublication) -> bool:
        for address in effect.crl_addresses:
            found = await self._list((address, effect.issuer_pem))
            revoked_at = found.revoked_at(effect.serial_number) if found is not None else None
            if found is not None and revoked_at is not None:
                await self._found(effect, "crl", address, found.number, found.this_update, revoked_at)
                return True
        return False

    async def _list(self, place: Place) -> RevocationList | None:
        if place not in self._lists:
            self._lists[place] = None
            try:
                self._lists[place] = await self.ports.reader.list_at(*place)
            except (NotFetched, NotBelieved, Unavailable) as problem:
                self._failed(place[0], problem)
            else:
                self._count("read")
        return self._lists[place]

    async def _judge_lists(self, arns: dict[Place, str]) -> None:
        """How old they are; whichever is overdue is told of, once for each date it has missed."""
        read = {place: found for place, found in self._lists.items() if found is not None}
        if not read:
            return
        now, metrics = self.ports.clock.now(), self.ports.metrics
        age_s = max((now - found.this_update).total_seconds() for found in read.values())
        metrics.gauge("bf_revocation_list_age_seconds", age_s, purpose=self.purpose)
        fresh_s = [
            (found.next_update - now).total_seconds()
            for found in read.values()
            if found.next_update is not None
        ]
        if fresh_s:
            metrics.gauge("bf_revocation_list_fresh_seconds", min(fresh_s), purpose=self.purpose)
        for authority_arn in set(arns.values()):
            of_ca = seen((found for place, found in read.items() if arns.get(place) == authority_arn), now)
            if of_ca is not None:
                self.ports.board.note(authority_arn, of_ca)
        for place, found in read.items():
            if found.next_update is None or not found.is_stale(now):
                continue
            _LOG.warning("the list at %s should have been replaced by %s", place[0], found.next_update)
            stale = RevocationListStale(
                purpose=self.purpose,
                authority_arn=arns.get(place, ""),
                address=place[0],
                list_number=found.number,
                this_update=found.this_update,
                next_update=found.next_update,
            )
            fact = ("list-stale", place[0], found.next_update.isoformat())
            await record_fact(self.ports, stale.authority_arn, "", stale, *fact)

    # ------------------------------------------------------------ responders

    async def _ask_responders(self, effects: list[WatchPublication]) -> None:
        """About those that no list names, whoever was asked about longest ago first."""
        never = datetime.min.replace(tzinfo=self.ports.clock.now().tzinfo)
        effects.sort(key=lambda each: self.asked_last.get(each.effect_id, never))
        for effect in effects[:ANSWERS_A_LOOK]:
            self.asked_last[effect.effect_id] = self.ports.clock.now()
            for address in effect.ocsp_addresses:
                if await self._is_answered(effect, address):
                    break

    async def _is_answered(self, effect: WatchPublication, address: str) -> bool:
        try:
            answer = await self.ports.reader.answer_at(address, effect.issuer_pem, effect.serial_number)
        except (NotFetched, NotBelieved, Unavailable) as problem:
            self._failed(address, problem)
            return False
        self._count("read")
        if answer.status == "Revoked":
            revoked_at = answer.revoked_at or answer.this_update
            await self._found(effect, "ocsp", address, None, answer.this_update, revoked_at)
        return True

    # ------------------------------------------------------------ evidence

    async def _found(
        self,
        effect: WatchPublication,
        source: str,
        address: str,
        number: str | None,
        this_update: datetime,
        revoked_at: datetime,
    ) -> None:
        listed = RevocationListed(
            certificate_id=effect.certificate_id,
            source=source,
            address=address,
            list_number=number,
            this_update=this_update,
            revoked_at=revoked_at,
        )
        # Whichever node saw it, on whichever list: it is said once, unless the ledger says that it still looks.
        fact = (effect.effect_id, "listed", this_update.isoformat())
        await record_fact(self.ports, effect.authority_arn, effect.charger_id, listed, *fact)
        self._done(effect)

    async def _forget(self, unanswered: Iterable[WatchPublication]) -> None:
        now = self.ports.clock.now()
        for effect in unanswered:
            if effect.not_after + FORGOTTEN_AFTER > now:
                continue
            message = f"it expired on {effect.not_after:%Y-%m-%d} before any list named it"
            unlisted = RevocationUnlisted(
                certificate_id=effect.certificate_id, code="expired-unlisted", message=message
            )
            await record_fact(
                self.ports, effect.authority_arn, effect.charger_id, unlisted, effect.effect_id, "unlisted"
            )
            self._done(effect)

    def _done(self, effect: WatchPublication) -> None:
        self.asked_last.pop(effect.effect_id, None)
        self.answered(effect)

    def _failed(self, address: str, problem: NotFetched | NotBelieved | Unavailable) -> None:
        self._count("not-believed" if isinstance(problem, NotBelieved) else "not-fetched")
        _LOG.warning("what %s says of revocations is not known: %s", address, problem)

    def _count(self, outcome: str) -> None:
        self.ports.metrics.count("bf_revocation_reads_total", purpose=self.purpose, outcome=outcome)
