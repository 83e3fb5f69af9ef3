"""The configured CAs: one client for all of one account, and what each says of itself."""

import asyncio
import logging
import random
from dataclasses import dataclass, field

from bfactors.ca import AuthorityDescription
from bfactors.command import RegisterAuthority
from bfactors.settings import Settings
from deploy.role.runtime import Runtime
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.aws_session import AwsSettings
from gateways.ca.call_limits import CallLimits
from gateways.ca.discovery import discover, register_command
from gateways.ca.retry import RetryPolicy

_LOG = logging.getLogger(__name__)
RETRY_S = 2.0
CENTRAL_SYSTEM = "backend_server"


@dataclass(slots=True)
class CaClients:
    """`arns` and `described` by purpose; a purpose without an ARN has no CA."""

    client: AwsPrivateCa
    arns: dict[str, str]
    described: dict[str, AuthorityDescription] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    """Purposes whose CA was known and did not answer when last asked."""

    @property
    def authorities(self) -> dict[str, AwsPrivateCa]:
        """The client of each purpose that has a CA."""
        return dict.fromkeys(self.arns, self.client)

    async def look(self) -> None:
        """Ask the CAs that have not said what they are."""
        found, failed = await discover(
            self.client, {purpose: arn for purpose, arn in self.arns.items() if purpose not in self.described}
        )
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
        _, failed = await discover(self.client, {p: self.arns[p] for p in self.described})
        silent = {lost.purpose for lost in failed}
        for lost in failed:
            if lost.purpose not in self.silent:
                _LOG.warning("the CA of %s does not answer: %s", lost.purpose, lost.error)
        for purpose in self.silent - silent:
            _LOG.info("the CA of %s answers again", purpose)
        self.silent = silent

    def missing(self) -> list[str]:
        """Which CAs are not known yet or do not answer, for readiness."""
        return [f"ca:{p}" for p in self.arns if p not in self.described or p in self.silent]

    def registrations(self) -> list[RegisterAuthority]:
        """The commands that make the CAs known to the ledger."""
        return [register_command(purpose, description) for purpose, description in self.described.items()]

    def central_system_roots(self) -> tuple[str, ...]:
        """Bundle 1: the root of the server certificates, and those of the CAs that issue to chargers."""
        roots = {d.root_pem for d in self.described.values() if d.root_pem is not None}
        return tuple(sorted(roots)) if CENTRAL_SYSTEM in self.described else ()

    async def close(self) -> None:
        """I/O lane."""
        await self.client.close()


async def open_authorities(settings: Settings, runtime: Runtime) -> CaClients:
    """Make the client and ask once; a CA that is away is asked again later. I/O lane."""
    client = AwsPrivateCa(
        AwsSettings(
            region=settings.aws_region,
            endpoint_url=settings.aws_endpoint_url or None,
            role_arn=settings.aws_role_arn or None,
            access_key_id=settings.aws_access_key_id or None,
            secret_access_key=settings.aws_secret_access_key or None,
        ),
        clock=runtime.clock,
        metrics=runtime.metrics,
        limits=CallLimits(settings.ca_calls_per_s, monotonic=runtime.clock.monotonic),
        retry=RetryPolicy(uniform=random.SystemRandom().uniform),
    )
    await client.start()
    wanted = {
        "charging_station": settings.aws_charging_station_ca_arn,
        "backend_server": settings.aws_backend_server_ca_arn,
    }
    clients = CaClients(client, {purpose: arn for purpose, arn in wanted.items() if arn})
    await clients.look()
    return clients
