"""Certificate status over the real egress: what is remembered, asked once, and given up in time."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from bfactors.errors import SettingsError
from deploy.role.certificate_desk import issuers_in
from gateways.egress.egress import HttpEgress
from gateways.ocsp.desk import ASK_AGAIN_AFTER, StatusDesk
from tests.fakes.ca import CountedMetrics
from tests.fakes.revocation import Responder, base64_hash, responding
from tests.patience import PATIENCE_S


class Hands:
    """A clock whose day is moved by hand."""

    def __init__(self, today: datetime) -> None:
        self.today = today

    def now(self) -> datetime:
        return self.today

    def monotonic(self) -> float:
        return 0.0

    def new_id(self) -> str:
        raise NotImplementedError


class Desk:
    """A desk at work, its responder and its clock."""

    def __init__(self, responder: Responder, answer_within_s: float) -> None:
        self.responder = responder
        self.issuer = responder.issuer
        self.clock = Hands(self.issuer.now)
        self.metrics = CountedMetrics()
        self.egress = HttpEgress(self.metrics, allowed_hosts=["127.0.0.1"])
        self.desk = StatusDesk(self.egress, self.clock, self.metrics, answer_within_s=answer_within_s)

    async def status(self, data: dict[str, str], path: str = "/ocsp") -> dict[str, Any]:
        question = {"ocspRequestData": {**data, "responderURL": self.responder.url + path}}
        answer: dict[str, Any] = json.loads(await self.desk.certificate_status(json.dumps(question).encode()))
        return answer

    async def chain(self, *entries: tuple[dict[str, str], str, list[str]]) -> list[dict[str, Any]]:
        asked = [
            {
                "certificateHashData": data,
                "source": source,
                "urls": [self.responder.url + path for path in paths],
            }
            for data, source, paths in entries
        ]
        answered = await self.desk.chain_status(json.dumps({"certificateStatusRequests": asked}).encode())
        judged: list[dict[str, Any]] = json.loads(answered)["certificateStatus"]
        return judged


@asynccontextmanager
async def desk(answer_within_s: float = 5.0) -> AsyncIterator[Desk]:
    async with responding() as responder:
        found = Desk(responder, answer_within_s)
        try:
            yield found
        finally:
            await found.desk.close()
            await found.egress.close()


def told(answer: dict[str, Any]) -> ocsp.OCSPResponse:
    assert answer["status"] == "Accepted"
    return ocsp.load_der_ocsp_response(base64.b64decode(answer["ocspResult"], validate=True))


async def test_a_response_is_remembered_until_its_next_update_and_not_longer() -> None:
    async with desk() as at:
        data = at.issuer.hash_data(10)
        first = await at.status(data)
        at.clock.today += at.issuer.valid_for - timedelta(seconds=1)
        assert await at.status(data) == first
        assert len(at.responder.asked) == 1
        at.clock.today += timedelta(seconds=1)
        assert await at.status(data) == {"status": "Failed"}  # the responder has nothing newer
        at.issuer.now = at.clock.today
        assert told(await at.status(data)).this_update_utc == at.clock.today
        assert len(at.responder.asked) == 3
        assert at.metrics.counts["certificate_status_total", "OCSP", "remembered"] == 1


async def test_a_thousand_chargers_asking_at_once_are_one_question() -> None:
    async with desk() as at:
        data = at.issuer.hash_data(10)
        answers = await asyncio.gather(*(at.status(data) for _ in range(1000)))
        assert len(at.responder.asked) == 1
        assert {answer["status"] for answer in answers} == {"Accepted"}


async def test_what_one_address_said_is_not_told_to_those_who_name_another() -> None:
    async with desk() as at:
        data = at.issuer.hash_data(10)
        await at.status(data)
        assert await at.status(data, "/broken") == {"status": "Failed"}
        await at.status(data, "/ocsp?other")
        assert at.responder.asked == ["/ocsp", "/broken", "/ocsp"]


async def test_a_failure_is_not_remembered() -> None:
    async with desk() as at:
        data = at.issuer.hash_data(10)
        at.issuer.valid_for = timedelta(0)
        assert await at.status(data) == {"status": "Failed"}
        at.issuer.valid_for = timedelta(days=1)
        assert told(await at.status(data)).serial_number == 10


async def test_a_serial_number_that_could_be_decimal_is_asked_both_ways_until_it_is_known() -> None:
    serial = 123456789012345678
    async with desk() as at:
        data = at.issuer.hash_data(serial)
        odd = {**data, "serialNumber": str(serial)}
        at.issuer.unknown.add(int(str(serial), 16))
        assert told(await at.status(odd)).serial_number == serial
        assert len(at.responder.asked) == 2
        in_base64 = {
            **odd,
            "issuerNameHash": base64_hash(data["issuerNameHash"]),
            "issuerKeyHash": base64_hash(data["issuerKeyHash"]),
        }
        assert told(await at.status(in_base64)).serial_number == serial
        assert len(at.responder.asked) == 2


async def test_hash_data_that_name_nothing_are_failed_without_asking() -> None:
    async with desk() as at:
        assert await at.status({**at.issuer.hash_data(10), "issuerKeyHash": "?"}) == {"status": "Failed"}
        assert at.responder.asked == []
        assert at.metrics.counts["certificate_status_total", "OCSP", "failed"] == 1


async def test_silence_is_failed_in_time_and_a_list_that_came_later_is_there_for_the_next() -> None:
    async with desk(answer_within_s=0.2) as at:
        at.responder.hold = asyncio.Event()
        at.issuer.revoked.add(2)
        entry = (at.issuer.hash_data(2), "CRL", ["/crl"])
        async with asyncio.timeout(PATIENCE_S):
            assert [each["status"] for each in await at.chain(entry)] == ["Failed"]
            assert await at.status(at.issuer.hash_data(2)) == {"status": "Failed"}
            at.responder.hold.set()
            at.desk._answer_within_s = PATIENCE_S
            assert [each["status"] for each in await at.chain(entry)] == ["Revoked"]
        assert at.responder.asked.count("/crl") == 1


async def test_a_silent_address_leaves_time_for_the_next_one() -> None:
    async with desk(answer_within_s=1.0) as at:
        judged = await at.chain((at.issuer.hash_data(1), "OCSP", ["/silent", "/silent?2", "/ocsp"]))
        assert [each["status"] for each in judged] == ["Good"]


async def test_one_list_serves_all_its_certificates_and_failed_says_when_to_ask_again() -> None:
    async with desk() as at:
        at.issuer.revoked.add(2)
        entries = [(at.issuer.hash_data(serial), "CRL", ["/crl"]) for serial in (1, 2, 3)]
        judged = await at.chain(*entries, (at.issuer.hash_data(4), "CRL", ["/none", "/moved"]))
        assert [each["status"] for each in judged] == ["Good", "Revoked", "Good", "Failed"]
        assert at.responder.asked.count("/crl") == 1
        until = at.issuer.now + at.issuer.valid_for
        again = at.clock.today + ASK_AGAIN_AFTER
        assert [each["nextUpdate"] for each in judged] == [
            *[f"{until:%Y-%m-%dT%H:%M:%SZ}"] * 3,
            f"{again:%Y-%m-%dT%H:%M:%SZ}",
        ]


async def test_a_forged_answer_is_no_answer_and_an_unproved_one_is_for_the_charger_to_check() -> None:
    async with desk() as at:
        entries = [(at.issuer.hash_data(1), "OCSP", ["/ocsp"]), (at.issuer.hash_data(1), "CRL", ["/crl"])]
        at.issuer.signs_with = ec.generate_private_key(ec.SECP256R1())
        assert [each["status"] for each in await at.chain(*entries)] == ["Failed", "Failed"]
        assert await at.status(at.issuer.hash_data(1)) == {"status": "Failed"}
        at.issuer.embedded, at.issuer.issuer_address = [], None
        assert [each["status"] for each in await at.chain(*entries)] == ["Failed", "Failed"]
        assert told(await at.status(at.issuer.hash_data(1))).serial_number == 1


async def test_an_issuers_certificate_is_looked_for_once_where_the_answers_say() -> None:
    async with desk() as at:
        key = ec.generate_private_key(ec.SECP256R1())
        at.issuer.signs_with, at.issuer.embedded = key, [at.issuer.responder(key)]
        for serial in (1, 2):
            (judged,) = await at.chain((at.issuer.hash_data(serial), "OCSP", ["/ocsp"]))
            assert judged["status"] == "Good"
        assert at.responder.asked == ["/ocsp", "/issuer", "/ocsp"]


async def test_issuers_named_in_settings_need_not_be_looked_for(tmp_path: Path) -> None:
    async with desk() as at:
        path = tmp_path / "issuers.pem"
        path.write_bytes(at.issuer.certificate.public_bytes(serialization.Encoding.PEM))
        at.desk._known = issuers_in(path)
        at.issuer.embedded, at.issuer.issuer_address = [], None
        data = at.issuer.hash_data(1)
        judged = await at.chain((data, "OCSP", ["/ocsp"]), (data, "CRL", ["/crl"]))
        assert [each["status"] for each in judged] == ["Good", "Good"]


def test_a_file_of_issuers_that_is_none_is_refused_at_start(tmp_path: Path) -> None:
    assert issuers_in(Path()) == ()
    with pytest.raises(SettingsError, match="cannot be read"):
        issuers_in(tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(SettingsError, match="holds no certificate"):
        issuers_in(tmp_path / "empty.pem")
