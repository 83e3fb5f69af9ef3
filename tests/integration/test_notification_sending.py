"""Notices on the wire: a webhook receiver that checks the signature, and a mail relay that knows nothing of us."""

import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from aiohttp import web

from bfactors.errors import NotFetched
from bfactors.notice import Notice, SealedTarget, Telling
from deploy.role.clock import SystemClock
from gateways.egress.egress import HttpEgress
from gateways.metrics import PrometheusMetrics
from gateways.notify.email import EmailSender, Relay, SmtpTls
from gateways.notify.webhook import WebhookSender
from tests.core.x509_maker import Authority
from tests.mail_relay import MailRelay, running

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def telling(text: str = "not-reconnected: größer", charger_id: str | None = "CP-1") -> Telling:
    notice = Notice(
        notice_id="3:9",
        kind="job-overdue",
        severity="warning",
        event="CertificateJobOverdue",
        recorded_at=NOW,
        text=text,
        charger_id=charger_id,
        managed_identity_id="mi-1",
        purpose="charging_station",
        job_id="job-1",
        certificate_id=None,
    )
    return Telling(notice=notice, subscription_id="sub-1", created_at=NOW, attempts=2)


# ---------------------------------------------------------------- webhooks


class Receiver:
    def __init__(self) -> None:
        self.status = 204
        self.had: list[tuple[str, bytes]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.had.append((request.headers["BetterFleet-Signature"], await request.read()))
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    app = web.Application()
    app.router.add_post("/hook", one.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield one
    await runner.cleanup()


async def test_a_webhook_is_signed_so_that_its_receiver_can_tell(receiver: Receiver) -> None:
    egress = HttpEgress(PrometheusMetrics(), allowed_hosts=["127.0.0.1"])
    try:
        sender = WebhookSender(egress, SystemClock())
        await sender.send(SealedTarget(address=receiver.url, signing_key="the key"), telling())
    finally:
        await egress.close()
    ((header, body),) = receiver.had
    stamp, _, digest = header.partition(",v1=")
    at = stamp.removeprefix("t=")
    assert abs(int(at) - datetime.now(UTC).timestamp()) < 60
    assert digest == hmac.new(b"the key", at.encode() + b"." + body, hashlib.sha256).hexdigest()
    said = json.loads(body)
    assert (said["subscription_id"], said["attempt"]) == ("sub-1", 3)
    assert said["notice"]["notice_id"] == "3:9"
    assert said["notice"]["text"] == "not-reconnected: größer"


@pytest.mark.parametrize(("status", "reason"), [(302, "not-ok"), (404, "not-ok"), (500, "server-error")])
async def test_any_other_answer_than_2xx_means_it_was_not_taken(
    receiver: Receiver, status: int, reason: str
) -> None:
    receiver.status = status
    egress = HttpEgress(PrometheusMetrics(), allowed_hosts=["127.0.0.1"])
    try:
        with pytest.raises(NotFetched) as problem:
            await WebhookSender(egress, SystemClock()).send(
                SealedTarget(address=receiver.url, signing_key="k"), telling()
            )
    finally:
        await egress.close()
    assert problem.value.reason == reason
    assert len(receiver.had) == 1


async def test_nothing_is_sent_inside(receiver: Receiver) -> None:
    egress = HttpEgress(PrometheusMetrics())
    try:
        with pytest.raises(NotFetched) as problem:
            await WebhookSender(egress, SystemClock()).send(
                SealedTarget(address=receiver.url, signing_key="k"), telling()
            )
    finally:
        await egress.close()
    assert problem.value.reason == "private-address"
    assert receiver.had == []


# ---------------------------------------------------------------- mail


def mail_sender(relay: MailRelay, tls: SmtpTls = "none", **fields: object) -> EmailSender:
    values = {"host": "127.0.0.1", "port": relay.port, "sender": "bf@depot.example", "tls": tls, **fields}
    return EmailSender(Relay(**values), within_s=5)  # type: ignore[arg-type]


async def test_a_mail_says_everything_on_one_screen() -> None:
    async with running(MailRelay()) as relay:
        await mail_sender(relay, user="bf", password="secret").send(
            SealedTarget(address="ada@depot.example"), telling()
        )
    (mail,) = relay.mails
    read = message_from_bytes(mail, policy=default)
    assert read["To"] == "ada@depot.example"
    assert read["From"] == "BetterFleet <bf@depot.example>"
    assert read["Subject"] == "[warning] CP-1: job-overdue"
    assert read["Message-ID"] == "<notice-3-9@depot.example>"
    assert read["Auto-Submitted"] == "auto-generated"
    text = read.get_content()
    for part in ("not-reconnected: größer", "charger: CP-1", "job: job-1", "CertificateJobOverdue 3:9"):
        assert part in text
    assert any(said.startswith("AUTH PLAIN") for said in relay.said)


async def test_no_text_of_a_charger_s_becomes_a_header() -> None:
    async with running(MailRelay()) as relay:
        await mail_sender(relay).send(
            SealedTarget(address="ada@depot.example"),
            telling("x\r\nBcc: everybody@example", charger_id="CP\r\nBcc: all@example"),
        )
    read = message_from_bytes(relay.mails[0], policy=default)
    assert read["Bcc"] is None
    assert "Bcc: all@example" in read["Subject"]


async def test_with_starttls_nothing_is_said_in_the_clear(tmp_path: Path) -> None:
    root = Authority.root("Mail root", now=datetime.now(UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*root.leaf("localhost", dns_name="localhost").write(tmp_path, "relay"))
    trust = ssl.create_default_context(cadata=root.pair.pem)
    async with running(MailRelay(server)) as relay:
        await mail_sender(relay, "starttls", host="localhost", context=trust).send(
            SealedTarget(address="ada@depot.example"), telling()
        )
    assert relay.was_encrypted
    assert relay.said.index("STARTTLS") < next(
        i for i, said in enumerate(relay.said) if said.lower().startswith("mail from")
    )


async def test_a_relay_that_offers_no_tls_gets_no_mail() -> None:
    async with running(MailRelay()) as relay:
        with pytest.raises(NotFetched):
            await mail_sender(relay, "starttls").send(SealedTarget(address="ada@depot.example"), telling())
    assert relay.mails == []


async def test_a_relay_that_refuses_or_is_away_is_told_by_its_code() -> None:
    async with running(MailRelay(refuses=b"451 later\r\n")) as relay:
        with pytest.raises(NotFetched, match="451"):
            await mail_sender(relay).send(SealedTarget(address="ada@depot.example"), telling())
    with pytest.raises(NotFetched) as problem:
        await mail_sender(relay).send(SealedTarget(address="ada@depot.example"), telling())
    assert problem.value.reason == "unreachable"
