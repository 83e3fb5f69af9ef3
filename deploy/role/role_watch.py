"""Whether the roles we act under could do more than their duty: asked at start and every hour, told in readiness."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from bfactors.aws_duty import CORE, DUTIES, REVOKER, issuing_duty
from bfactors.ca import CaError
from bfactors.ports import Metrics
from bfactors.settings import Settings
from gateways.ca.aws_session import AwsSettings
from gateways.ca.role_probe import Probed, RoleProbe

_LOG = logging.getLogger(__name__)
EVERY_S = 3600.0
AGAIN_S = 30.0


class RoleWatch:
    """Made and used on the I/O lane; `missing` may be read from any thread. Nothing waits for it: AWS may be away."""

    def __init__(
        self, probes: Sequence[RoleProbe], authorities: Mapping[str, frozenset[str]], metrics: Metrics
    ) -> None:
        """`authorities`: ARNs of issuing CAs by realm."""
        self._probes = tuple(probes)
        self._authorities = dict(authorities)
        self._metrics = metrics
        self._known: dict[str, Probed] = {}
        self._news = asyncio.Event()

    def know(self, realm: str, arn: str) -> None:
        """This CA is one of the realm's too; every role is asked about it now, not within the hour."""
        known = self._authorities.get(realm, frozenset())
        if arn not in known:
            self._authorities[realm] = known | {arn}
            self._news.set()

    def missing(self) -> list[str]:
        """What a role could do that it must not, for readiness."""
        return [finding for probed in self._known.values() for finding in probed.findings]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._news.clear()
            answered = [await self.look(probe) for probe in self._probes]
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S if all(answered) else AGAIN_S):
                    await self._news.wait()

    async def look(self, probe: RoleProbe) -> bool:
        """Ask about one role; whether there was an answer. What is known stays known while there is none."""
        duty = probe.duty.name
        try:
            probed = await probe.look(self._authorities)
        except CaError as problem:
            _LOG.info("what the role of %s may do is not known yet: %s", duty, problem)
            return False
        before = self._known.get(duty)
        self._known[duty] = probed
        self._metrics.gauge("bf_aws_role_findings", len(probed.findings), duty=duty)
        self._metrics.gauge("bf_aws_role_verified", 0 if probed.unverified else 1, duty=duty)
        if probed != before:
            _tell(duty, probed)
        return True

    async def close(self) -> None:
        """I/O lane."""
        for probe in self._probes:
            await probe.close()


def _tell(duty: str, probed: Probed) -> None:
    for finding in probed.findings:
        _LOG.error("a role could do what it must not: %s", finding)
    if probed.unverified:
        _LOG.warning("the role of %s may not ask what it may do: %s", duty, probed.unverified)
    elif not probed.findings:
        _LOG.info("the role of %s can do nothing beyond its duty", duty)


def role_of(settings: Settings, duty: str | None) -> str:
    """The role to act under for a duty; empty: the credentials as found."""
    return settings.aws_role_arns.get(duty or "", settings.aws_role_arn)


def open_role_watch(
    settings: Settings, account: AwsSettings, authorities: Mapping[str, frozenset[str]], metrics: Metrics
) -> RoleWatch:
    """Probes for every role that is named, and for the one that does what no role was named for. No call leaves."""
    probes = [
        RoleProbe(DUTIES[duty], account.under(arn)) for duty, arn in sorted(settings.aws_role_arns.items())
    ]
    needed = {issuing_duty(realm) for realm in authorities} | {REVOKER}
    if authorities and not needed <= set(settings.aws_role_arns):
        probes.append(RoleProbe(CORE, account.under(settings.aws_role_arn)))
    return RoleWatch(probes, authorities, metrics)
