"""Chargers' questions about certificates, answered from the issuers' responders and lists through the egress.

A car waits for most of them, so each is answered in 3.5 s whatever happens; a list that came too late for one answer is there
for the next. Source: OCPP 2.0.1 part 2 use case M06, OCPP 2.1 part 2 use case M07.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from cryptography import x509

from bfactors.certificate_hash import Reading
from bfactors.errors import NotFetched
from bfactors.ocsp import (
    CONTENT_TYPE,
    CRL_BYTES,
    RESPONSE_BYTES,
    Judgement,
    NotBelieved,
    judged_by_list,
    judged_by_response,
    questions_of,
    request_der,
)
from bfactors.ports import Clock, Egress, Metrics
from bfactors.revocation_signer import ISSUER_BYTES, certificates_in
from gateways.ocsp.memory import Kept, Memory
from gateways.ocsp.question import (
    CHAIN_QUESTIONS,
    ENCODER,
    STATUS_QUESTIONS,
    ChainAnswer,
    ChainEntry,
    JudgedEntry,
    NamedCertificate,
    Source,
    StatusAnswer,
)

_LOG = logging.getLogger(__name__)

ANSWER_WITHIN_S = 3.5
"""Connect gives up after 4 s (`gateways.ocpp.v201.CAR_WAIT_S`), and the car after 4.5."""
LIST_WITHIN_S = 30.0
"""A long list is worth waiting for beyond the answer: the next question finds it."""
ASK_AGAIN_AFTER = timedelta(hours=1)
_MIB = 1024 * 1024
_FAILED = ENCODER.encode(StatusAnswer("Failed"))

Place = tuple[Reading, str]
"""A certificate and where it was asked about. The charger may have made the address up, so what it said is the answer only
to those who name the same address."""
Certificates = tuple[x509.Certificate, ...]


class Response(NamedTuple):
    """What a responder said, and of which reading of the charger's question."""

    der: bytes
    reading: Reading
    judgement: Judgement


class StatusDesk:
    """One for a core; made and used on one loop."""

    def __init__(
        self,
        egress: Egress,
        clock: Clock,
        metrics: Metrics,
        *,
        issuers: Certificates = (),
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """`issuers` are CA certificates whose responses and lists can be checked without looking for the certificate."""
        self._egress = egress
        self._clock = clock
        self._metrics = metrics
        self._answer_within_s = answer_within_s
        self._responses: Memory[Place, Response] = Memory(clock.now, entries=20_000, total_bytes=64 * _MIB)
        self._lists: Memory[str, bytes] = Memory(clock.now, entries=64, total_bytes=32 * _MIB)
        self._issuers: Memory[str, Certificates] = Memory(clock.now, entries=256, total_bytes=4 * _MIB)
        self._known = issuers

    async def close(self) -> None:
        """Fetch nothing more."""
        await self._responses.close()
        await self._lists.close()
        await self._issuers.close()

    async def certificate_status(self, question: bytes) -> bytes:
        """GetCertificateStatus's answer to its payload. Raises msgspec.DecodeError."""
        asked = STATUS_QUESTIONS.decode(question).ocsp_request_data
        response = None
        try:
            async with asyncio.timeout(self._answer_within_s):
                response = await self._response(asked, asked.responder_url)
        except TimeoutError:
            self._failed("OCSP", "no answer in time")
        except (NotFetched, NotBelieved) as problem:
            self._failed("OCSP", str(problem))
        if response is None:
            return _FAILED
        return ENCODER.encode(StatusAnswer("Accepted", base64.b64encode(response.der).decode()))

    async def chain_status(self, question: bytes) -> bytes:
        """GetCertificateChainStatus's answer to its payload. Raises msgspec.DecodeError."""
        entries = CHAIN_QUESTIONS.decode(question).certificate_status_requests
        judged = await asyncio.gather(*(self._judged_entry(entry) for entry in entries))
        return ENCODER.encode(ChainAnswer(tuple(judged)))

    async def _judged_entry(self, entry: ChainEntry) -> JudgedEntry:
        """Its addresses in turn, each within its share of the time that is left."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._answer_within_s
        judgement = None
        for position, url in enumerate(entry.urls):
            share_s = (deadline_s - loop.time()) / (len(entry.urls) - position)
            try:
                async with asyncio.timeout(share_s):
                    judgement = await self._judgement(entry.certificate_hash_data, entry.source, url)
            except TimeoutError:
                self._failed(entry.source, "no answer in time")
            except (NotFetched, NotBelieved) as problem:
                self._failed(entry.source, str(problem))
            else:
                break
        again_at = self._clock.now() + ASK_AGAIN_AFTER if judgement is None else judgement.until
        return JudgedEntry(
            certificate_hash_data=entry.certificate_hash_data,
            source=entry.source,
            status="Failed" if judgement is None else judgement.status,
            next_update=_rfc3339(again_at),
        )

    async def _judgement(self, named: NamedCertificate, source: Source, url: str) -> Judgement:
        """What its issuer says, and nobody else: the charger cannot check it. Raises NotBelieved, NotFetched."""
        if source == "OCSP":
            response = await self._response(named, url)
            judge = partial(judged_by_response, response.der, response.reading, self._clock.now())
            return await self._proved(response.judgement, judge)
        readings = _readings(named)
        self._metrics.count("certificate_status_total", source=source, outcome=_origin(url in self._lists))
        encoded = await self._lists.get(url, partial(self._fetched_list, url, readings[0]))
        judgements = [await self._judged_by_list(encoded, each) for each in readings]
        return next((each for each in judgements if each.status == "Revoked"), judgements[0])

    async def _judged_by_list(self, encoded: bytes, reading: Reading) -> Judgement:
        judge = partial(judged_by_list, encoded, reading, self._clock.now())
        # Off the loop: ten MiB take their time.
        return await self._proved(await asyncio.to_thread(judge, self._known), judge)

    async def _proved(
        self, judgement: Judgement, judge: Callable[[Iterable[x509.Certificate]], Judgement]
    ) -> Judgement:
        """The same judgement as its issuer's word, once the issuer's certificate is found. Raises NotBelieved."""
        if judgement.is_proved:
            return judgement
        for address in judgement.look_at:
            try:
                found = await self._issuers.get(address, partial(self._fetched_issuers, address))
            except NotFetched:
                continue
            proved = await asyncio.to_thread(judge, found)
            if proved.is_proved:
                return proved
        raise NotBelieved("its issuer's certificate is not to be had, so nothing proves who signed it")

    async def _fetched_issuers(self, address: str) -> Kept[Certificates]:
        encoded = await self._egress.fetch(address, size_bytes=ISSUER_BYTES, within_s=self._answer_within_s)
        return Kept(certificates_in(encoded), len(encoded), self._clock.now() + ASK_AGAIN_AFTER)

    async def _fetched_list(self, url: str, reading: Reading) -> Kept[bytes]:
        encoded = await self._egress.fetch(url, size_bytes=CRL_BYTES, within_s=LIST_WITHIN_S)
        judgement = await asyncio.to_thread(judged_by_list, encoded, reading, self._clock.now(), self._known)
        return Kept(encoded, len(encoded), judgement.until)

    async def _response(self, named: NamedCertificate, url: str) -> Response:
        """Of what the charger may have meant, the first that the responder knows."""
        first: Response | None = None
        for reading in _readings(named):
            place = (reading, url)
            self._metrics.count(
                "certificate_status_total", source="OCSP", outcome=_origin(place in self._responses)
            )
            response = await self._responses.get(place, partial(self._fetched_response, reading, url))
            if response.judgement.status != "Unknown":
                return response
            first = first or response
        assert first is not None
        return first

    async def _fetched_response(self, reading: Reading, url: str) -> Kept[Response]:
        der = await self._egress.fetch(
            url,
            size_bytes=RESPONSE_BYTES,
            within_s=self._answer_within_s,
            body=request_der(reading),
            content_type=CONTENT_TYPE,
        )
        judgement = judged_by_response(der, reading, self._clock.now(), self._known)
        return Kept(Response(der, reading, judgement), len(der), judgement.until)

    def _failed(self, source: Source, problem: str) -> None:
        self._metrics.count("certificate_status_total", source=source, outcome="failed")
        _LOG.info("the status of a certificate is not known: %s", problem, extra={"source": source})


def _readings(named: NamedCertificate) -> tuple[Reading, ...]:
    readings = questions_of(named.hash_data)
    if not readings:
        raise NotBelieved("the hash data name no certificate")
    return readings


def _origin(is_kept: bool) -> str:
    return "remembered" if is_kept else "asked"


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
