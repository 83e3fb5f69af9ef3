"""The configured CAs: a client for each role they are used under, and what each says of itself."""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bfactors.aws_duty import AUDITOR, REVOKER, issuing_duty
from bfactors.ca import AuthorityDescription
from bfactors.command import RegisterAuthority
from bfactors.purpose import purpose as spec_of
from bfactors.settings import Settings
from deploy.role.role_watch import RoleWatch, open_role_watch, role_of
from deploy.role.runtime import Runtime
from gateways.ca.aws_audit_report import AwsAuditReports
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.aws_session import AwsSettings
from gateways.ca.call_limits import CallLimits
from gateways.ca.discovery import Discovered, Undiscovered, discover, register_command
from gateways.ca.retry import RetryPolicy
from persistence.ca_desk import PostgresCaDesk

_LOG = logging.getLogger(__name__)
RETRY_S = 2.0
CENTRAL_SYSTEM = "backend_server"


@dataclass(slots=True)
class CaClients:
    """All by purpose; a purpose without an ARN has no CA. `roles` watches what we may do at them."""

    authorities: dict[str, AwsPrivateCa]
    arns: dict[str, str]
    limits: CallLimits
    roles: RoleWatch | None = None
    described: dict[str, AuthorityDescription] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    """Purposes whose CA was known and did not answer when last asked."""
    reports: AwsAuditReports | None = None
    """None until the database is there, and where no bucket for audit reports is named."""
    audit_buckets: dict[str, str] = field(default_factory=dict)
    """By the CA's ARN; the realm's bucket for every CA in it."""
    realm_buckets: Mapping[str, str] = field(default_factory=dict)

    async def join(self, settings: Settings, runtime: Runtime, desk: PostgresCaDesk) -> None:
        """Take calls from the bucket of all nodes, and let the CAs be asked for audit reports, shared too. I/O lane."""
        self.limits.share(desk, runtime.metrics)
        self.realm_buckets = settings.aws_audit_buckets
        for name, arn in self.arns.items():
            self.know(name, arn)
        if self.audit_buckets:
            account = account_of(settings).under(role_of(settings, AUDITOR))
            client = _client(account, runtime, self.limits)
            self.reports = AwsAuditReports(
                client, account, buckets=self.audit_buckets, shelf=desk, clock=runtime.clock
            )
            await self.reports.start()

    def know(self, purpose: str, arn: str) -> None:
        """This CA is one of the purpose's too: its audit reports go where those of its realm go, and no role may do more
        with it than with the others.
        """
        realm = spec_of(purpose).realm
        if self.roles is not None:
            self.roles.know(realm, arn)
        bucket = self.realm_buckets.get(realm)
        if bucket is not None:
            self.audit_buckets[arn] = bucket

    async def look(self) -> None:
        """Ask the CAs that have not said what they are."""
        found, failed = await self._discover([name for name in self.arns if name not in self.described])
        for each in found:
            self.described[each.command.purpose] = each.authority
        for lost in failed:
            _LOG.warning("the CA of %s cannot be described: %s", lost.purpose, lost.error)

    async def look_until_known(self) -> None:
        """Ask until every CA has answered."""
        while len(self.described) < len(self.arns):
            await self.look()
            if len(self.described) < len(self.arns):
                await asyncio.sleep(RETRY_S)

    async def look_again(self) -> None:
        """Ask every CA that is known whether it still answers."""
        _, failed = await self._discover(list(self.described))
        silent = {lost.purpose for lost in failed}
        for lost in failed:
            if lost.purpose not in self.silent:
                _LOG.warning("the CA of %s does not answer: %s", lost.purpose, lost.error)
        for purpose in self.silent - silent:
            _LOG.info("the CA of %s answers again", purpose)
        self.silent = silent

    async def _discover(self, purposes: list[str]) -> tuple[list[Discovered], list[Undiscovered]]:
        found: list[Discovered] = []
        failed: list[Undiscovered] = []
        for name in purposes:
            known, lost = await discover(self.authorities[name], {name: self.arns[name]})
            found += known
            failed += lost
        return found, failed

    async def watch_roles(self) -> None:
        """Until cancelled."""
        if self.roles is not None:
            await self.roles.run()

    def missing(self) -> list[str]:
        """Which CAs are not known yet or do not answer, and what our roles could do that they must not."""
        unknown = [f"ca:{p}" for p in self.arns if p not in self.described or p in self.silent]
        return unknown + (self.roles.missing() if self.roles is not None else [])

    def registrations(self) -> list[RegisterAuthority]:
        """The commands that make the CAs known to the ledger."""
        return [register_command(purpose, description) for purpose, description in self.described.items()]

    def central_system_roots(self) -> tuple[str, ...]:
        """Bundle 1: the root of the server certificates, and those of the CAs whose leaves open sessions."""
        if CENTRAL_SYSTEM not in self.described:
            return ()
        return self._roots(
            name for name in self.described if name == CENTRAL_SYSTEM or spec_of(name).is_session_credential
        )

    def bundles(self) -> dict[str, tuple[str, ...]]:
        """The roots that chargers must hold, by the purpose whose bundle they are; of purposes with a CA alone."""
        found = {CENTRAL_SYSTEM: self.central_system_roots()}
        for name in self.described:
            if spec_of(name).anchor_bundle == name:
                found[name] = self._roots([name])
        return {name: roots for name, roots in found.items() if roots}

    def _roots(self, names: Iterable[str]) -> tuple[str, ...]:
        roots = {self.described[name].root_pem for name in names}
        return tuple(sorted(root for root in roots if root is not None))

    async def close(self) -> None:
        """I/O lane."""
        if self.reports is not None:
            await self.reports.close()
        for client in set(self.authorities.values()):
            await client.close()
        if self.roles is not None:
            await self.roles.close()


async def open_authorities(settings: Settings, runtime: Runtime) -> CaClients:
    """Make the clients and ask once; a CA that is away is asked again later. I/O lane."""
    account = account_of(settings)
    wanted = {
        "charging_station": settings.aws_charging_station_ca_arn,
        "backend_server": settings.aws_backend_server_ca_arn,
        "secc_iso15118_2": settings.aws_secc_iso15118_2_ca_arn,
        "secc_iso15118_20": settings.aws_secc_iso15118_20_ca_arn,
    }
    arns = {purpose: arn for purpose, arn in wanted.items() if arn}
    limits = CallLimits(settings.ca_calls_per_s, monotonic=runtime.clock.monotonic)
    revoking = role_of(settings, REVOKER)
    by_role: dict[str, AwsPrivateCa] = {}
    authorities: dict[str, AwsPrivateCa] = {}
    for name in arns:
        role = role_of(settings, issuing_duty(spec_of(name).realm))
        if role not in by_role:
            revoker = account.under(revoking) if revoking != role else None
            by_role[role] = _client(account.under(role), runtime, limits, revoker)
            await by_role[role].start()
        authorities[name] = by_role[role]
    realms: dict[str, frozenset[str]] = {}
    for name, arn in arns.items():
        realm = spec_of(name).realm
        realms[realm] = realms.get(realm, frozenset()) | {arn}
    roles = open_role_watch(settings, account, realms, runtime.metrics)
    clients = CaClients(authorities, arns, limits, roles)
    await clients.look()
    return clients


def account_of(settings: Settings) -> AwsSettings:
    """Where AWS is, without a role."""
    return AwsSettings(
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url or None,
        access_key_id=settings.aws_access_key_id or None,
        secret_access_key=settings.aws_secret_access_key or None,
    )


def _client(
    account: AwsSettings, runtime: Runtime, limits: CallLimits, revoker: AwsSettings | None = None
) -> AwsPrivateCa:
    return AwsPrivateCa(
        account,
        clock=runtime.clock,
        metrics=runtime.metrics,
        limits=limits,
        retry=RetryPolicy(uniform=random.SystemRandom().uniform),
        revoker=revoker,
    )
