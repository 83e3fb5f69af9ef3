"""Core's part in notices: the notifier over the published events, and the desk that seals and tries out addresses."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import msgspec

from actors.notifier import Notifier
from bfactors.disclosed import Disclosed
from bfactors.errors import NotFetched, SettingsError
from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from bfactors.notice import Channel, Notice, SealedTarget, Subscription, Telling
from bfactors.ports import Clock, Metrics, NoticeSender, SecretStore
from bfactors.secret import SecretName
from bfactors.settings import Settings
from deploy.role.database import Database
from deploy.role.runtime import cancel
from gateways.egress.address import checked_url
from gateways.egress.egress import HttpEgress
from gateways.nats.ledger_feed import LedgerFeed
from gateways.notify.email import EmailSender, Relay, SmtpTls
from gateways.notify.webhook import WebhookSender

PURPOSE = "notification"
_UNTIL_COMMITTED = timedelta(minutes=10)
_STATE = msgspec.json.Decoder(FleetState)


def relay_of(settings: Settings) -> Relay | None:
    """The mail relay the settings name, or None. Raises SettingsError for a password file that cannot be read."""
    if not settings.smtp_host:
        return None
    password = ""
    if settings.smtp_password_file != Path():
        try:
            password = settings.smtp_password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise SettingsError(
                f"smtp_password_file {settings.smtp_password_file} cannot be read: {type(problem).__name__}"
            ) from problem
    tls: SmtpTls = settings.smtp_tls
    return Relay(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=settings.smtp_sender,
        tls=tls,
        user=settings.smtp_user,
        password=password,
    )


class Notifying:
    """`gateways.admin.ports.NotificationDesk`, and the notifier's life. Made and used on the I/O lane."""

    def __init__(
        self,
        *,
        owner: str,
        settings: Settings,
        database: Database,
        feed: LedgerFeed,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._allowed_hosts = frozenset(host.lower() for host in settings.egress_allowed_hosts)
        self._egress = HttpEgress(metrics, allowed_hosts=self._allowed_hosts)
        self._secrets: SecretStore = database.secrets
        self._reader = database.reader
        self._clock = clock
        self._known: tuple[int, Mapping[str, Subscription]] = (-1, {})
        self._senders: dict[Channel, NoticeSender] = {"webhook": WebhookSender(self._egress, clock)}
        relay = relay_of(settings)
        if relay is not None:
            self._senders["email"] = EmailSender(relay)
        self._notifier = Notifier(
            owner=owner,
            store=database.notifications,
            events=feed,
            subscriptions=self._subscriptions,
            cohort_of=self._cohort_of,
            secrets=database.secrets,
            senders=self._senders,
            clock=clock,
            metrics=metrics,
        )
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; what is away is waited for."""
        self._running = asyncio.get_running_loop().create_task(self._notifier.run(), name="notifier")

    async def stop(self) -> None:
        """Send nothing any more; what is due is found by the next."""
        if self._running is not None:
            await cancel([self._running])
        await self._egress.close()

    # ------------------------------------------------------------ the desk

    def target_of(self, address: str) -> str | None:
        """What of an address may be shown: its host or domain. None: nothing may be sent there."""
        if "://" not in address:
            return address.rpartition("@")[2]
        with contextlib.suppress(NotFetched):
            url = checked_url(address, self._allowed_hosts)
            if url.scheme == "https" or (url.host or "").lower() in self._allowed_hosts:
                return url.host
        return None

    async def seal(self, secret_id: str, target: SealedTarget) -> bool:
        """False: the same request sealed one already, which stays."""
        name = SecretName(secret_id=secret_id, purpose=PURPOSE, charger_id="")
        sealed = Disclosed(msgspec.json.encode(target))
        return await self._secrets.put(name, sealed, self._clock.now() + _UNTIL_COMMITTED)

    async def keep(self, secret_id: str) -> None:
        """Its subscription is recorded."""
        await self._secrets.reseal(secret_id, None)

    async def forget(self, secret_id: str) -> None:
        """Its subscription is gone."""
        await self._secrets.delete(secret_id)

    async def test(self, subscription: Subscription) -> str | None:
        """Send a trial notice; what went wrong, or None."""
        opened = await self._secrets.open(subscription.secret_id)
        sender = self._senders.get(subscription.channel)
        if opened is None:
            return "the sealed address is gone"
        if sender is None:
            return "no mail relay is configured (BF_SMTP_HOST)"
        now = self._clock.now()
        notice = Notice(
            notice_id=f"test:{self._clock.new_id()}",
            kind="test",
            severity="info",
            event="",
            recorded_at=now,
            text="a trial: this is where notices of BetterFleet's certificate control plane arrive",
            charger_id=None,
            managed_identity_id=None,
            purpose=None,
            job_id=None,
            certificate_id=None,
        )
        telling = Telling(notice=notice, subscription_id=subscription.subscription_id, created_at=now)
        try:
            await sender.send(msgspec.json.decode(opened.disclosed.value, type=SealedTarget), telling)
        except NotFetched as problem:
            return str(problem)
        return None

    # ------------------------------------------------------------ what the notifier asks

    async def _subscriptions(self) -> Mapping[str, Subscription]:
        row = await self._reader.aggregate(FLEET, FLEET_KEY)
        if row is None:
            return {}
        if row.version != self._known[0]:
            self._known = (row.version, _STATE.decode(row.state).subscriptions)
        return self._known[1]

    async def _cohort_of(self, charger_id: str) -> str | None:
        charger = await self._reader.charger(charger_id)
        return None if charger is None else str(charger["cohort"])
