"""What a charger can be made to do without being asked by its central system."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

from simulator.charger.credential import CertificateUse
from simulator.charger.dialect import Dialect, Said, TransactionFacts, TransactionStep
from simulator.charger.frame import CallRefused, Payload
from simulator.charger.journal import Happening
from simulator.charger.link import CallUnanswered, Link, LinkClosed
from simulator.charger.memory import SecurityEvent
from simulator.charger.signing import Signing
from simulator.charger.station import Station

TARIFF_STEP_WH = 250


class Initiative:
    """Calls made on demand, each on the present connection, or the next one that is accepted or pending.

    The methods that answer give the central system's answer, without 1.6's envelope; they raise
    CallRefused (CALLERROR), CallUnanswered and LinkClosed.
    """

    def __init__(
        self,
        station: Station,
        dialect: Dialect,
        signing: Signing,
        usable_link: Callable[[], Awaitable[Link]],
    ) -> None:
        self._station = station
        self._dialect = dialect
        self._signing = signing
        self._usable_link = usable_link

    async def call(self, action: str, payload: Payload) -> Payload:
        """Any call, as it is."""
        return await self._ask(Said(action, payload))

    async def send(self, action: str, payload: Payload) -> None:
        """A message without an answer (OCPP 2.1), NotifyPeriodicEventStream for one."""
        await (await self._usable_link()).tell(action, payload)

    def request_certificate(
        self, use: CertificateUse = CertificateUse.STATION, *, combined: bool = False
    ) -> None:
        """Ask for a certificate with a new key, as a charger does before the old one ends (A03)."""
        self._signing.begin(use, combined=combined)

    async def tell_security_event(self, kind: str, tech_info: str = "") -> None:
        """One security event, by its 2.x name, told again until it was answered."""
        event = SecurityEvent(kind, self._station.clock(), tech_info[:255])
        self._station.memory.security_log.append(event)
        await self.insist(self._dialect.security_event(event))

    async def ask_certificate_status(self, hash_data: Payload, responder_url: str) -> Payload:
        """GetCertificateStatus for the certificate this hash data names."""
        return await self._ask(self._dialect.certificate_status(hash_data | {"responderURL": responder_url}))

    async def ask_ev_certificate(
        self, exi_request: str, *, action: str = "Install", schema: str = "urn:iso:15118:2:2013:MsgDef"
    ) -> Payload:
        """Get15118EVCertificate on behalf of a car."""
        return await self._ask(self._dialect.ev_certificate(action, exi_request, schema))

    async def authorize(self, id_token: str, contract: str | None = None) -> Payload:
        """Authorize by a card, or by a contract certificate in PEM."""
        return await self._ask(self._dialect.authorize(id_token, contract))

    async def transact(self, *, evse_id: int = 1, id_token: str = "CARD1", readings: int = 1) -> str:  # noqa: S107
        """A whole charging transaction; the answer is its id."""
        facts = TransactionFacts(str(uuid4()), evse_id, id_token, 0, 0)
        steps = [TransactionStep.STARTED, *[TransactionStep.UPDATED] * readings, TransactionStep.ENDED]
        for number, step in enumerate(steps):
            facts = TransactionFacts(facts.transaction_id, evse_id, id_token, number, number * TARIFF_STEP_WH)
            answer = await self._ask(self._dialect.transaction(step, facts, self._station.clock()))
            if step is TransactionStep.STARTED:
                transaction_id = self._dialect.transaction_id(facts.transaction_id, answer)
                facts = TransactionFacts(transaction_id, evse_id, id_token, number, 0)
        return facts.transaction_id

    async def insist(self, said: Said) -> None:
        """Say something until it was answered, over as many connections as that takes; a refusal is an answer."""
        while True:
            try:
                await self._ask(said)
            except LinkClosed:
                continue  # the next usable link is another one
            except (CallRefused, CallUnanswered) as error:
                self._station.journal.record(Happening.CALL_FAILED, f"{said.action}: {error}")
            return

    async def _ask(self, said: Said) -> Payload:
        link = await self._usable_link()
        return self._dialect.opened(said, await link.call(said.action, said.payload))
