"""Notices by e-mail, over SMTP with TLS. The relay is named in the settings; the standard library's client speaks to it."""

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, formataddr
from typing import Literal

from bfactors.errors import NotFetched
from bfactors.notice import Notice, SealedTarget, Telling

WITHIN_S = 20.0
SmtpTls = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Where mail is handed over. `tls` none is for a relay on this machine."""

    host: str
    port: int
    sender: str
    tls: SmtpTls = "starttls"
    user: str = ""
    password: str = ""
    context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Relay({self.host}:{self.port})"


class EmailSender:
    """`bfactors.ports.NoticeSender` over a relay; each mail in a thread of its own, since smtplib blocks."""

    def __init__(self, relay: Relay, *, within_s: float = WITHIN_S) -> None:
        self._relay = relay
        self._within_s = within_s

    async def send(self, target: SealedTarget, telling: Telling) -> None:
        """Taken over by the relay. Raises NotFetched."""
        message = message_of(telling.notice, sender=self._relay.sender, recipient=target.address)
        try:
            async with asyncio.timeout(2 * self._within_s):
                await asyncio.to_thread(self._hand_over, message)
        except TimeoutError:
            raise NotFetched("timeout", "the mail relay did not answer") from None
        except smtplib.SMTPResponseException as problem:
            raise NotFetched("not-ok", f"the mail relay said {problem.smtp_code}") from problem
        except (smtplib.SMTPException, OSError) as problem:
            raise NotFetched("unreachable", f"the mail relay: {type(problem).__name__}") from problem

    def _hand_over(self, message: EmailMessage) -> None:
        relay = self._relay
        context = relay.context or ssl.create_default_context()
        client: smtplib.SMTP
        if relay.tls == "tls":
            client = smtplib.SMTP_SSL(relay.host, relay.port, timeout=self._within_s, context=context)
        else:
            client = smtplib.SMTP(relay.host, relay.port, timeout=self._within_s)
        with client:
            if relay.tls == "starttls":
                client.starttls(context=context)
            if relay.user:
                client.login(relay.user, relay.password)
            client.send_message(message)


def message_of(notice: Notice, *, sender: str, recipient: str) -> EmailMessage:
    """The mail: everything on one screen, the charger in the subject, one thread a notice."""
    about = notice.charger_id or "the fleet"
    message = EmailMessage()
    message["From"] = formataddr(("BetterFleet", sender))
    message["To"] = recipient
    message["Date"] = format_datetime(notice.recorded_at)
    message["Message-ID"] = f"<notice-{notice.notice_id.replace(':', '-')}@{sender.rpartition('@')[2]}>"
    message["Subject"] = f"[{notice.severity}] {about}: {notice.kind}".replace("\n", " ").replace("\r", " ")
    message["Auto-Submitted"] = "auto-generated"
    lines = [
        notice.text,
        "",
        *(
            f"{name}: {value}"
            for name, value in (
                ("charger", notice.charger_id),
                ("identity", notice.managed_identity_id),
                ("purpose", notice.purpose),
                ("job", notice.job_id),
                ("certificate", notice.certificate_id),
                ("recorded", notice.recorded_at.isoformat(timespec="seconds")),
                ("ledger", f"{notice.event} {notice.notice_id}"),
            )
            if value
        ),
    ]
    message.set_content("\n".join(lines))
    return message
