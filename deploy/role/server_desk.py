"""The central system's own certificates in this process: where they come from, when they are swapped, and when not.

Given files are looked at every few seconds and presented when they change; those our CA made are made again before they end.
Neither takes the place of what chargers are shown under another issuer until the gate (`bfactors.server_certificate`) opens.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime

from bfactors.ca import CaError
from bfactors.errors import SettingsError, Unavailable
from bfactors.ports import Clock, Metrics
from bfactors.server_certificate import (
    Forecast,
    NotPresented,
    Presented,
    ServerCertificate,
    described,
    switch_problem,
)
from bfactors.settings import Settings
from bfactors.x509 import Certificate, MalformedX509, parse_certificates
from deploy.role import server_identity
from deploy.role.authority import CENTRAL_SYSTEM, CaClients
from deploy.role.server_trust import ServerTrust
from gateways.ocpp.tls import ServerIdentity

_LOG = logging.getLogger(__name__)
LOOKED_EVERY_S = 5.0
MADE_EVERY_S = 300.0
MADE_WITHIN_S = 60.0
ASKED_EVERY_S = 60.0
"""How often the fleet is asked again about files that are kept back: the answer reads every charger's row."""

Present = Callable[[Sequence[ServerIdentity]], None]
Stamp = tuple[tuple[int, int, int], ...]


class ServerDesk:
    """One per process; I/O lane only. `trust` None: this process cannot ask what chargers hold."""

    def __init__(self, settings: Settings, ca: CaClients | None, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._ca = ca
        self._clock = clock
        self._metrics = metrics
        self._folder = settings.data_dir / "server"
        self._names = server_identity.ServerNames(fqdn=settings.server_name, addresses=("127.0.0.1",))
        self._source = "settings" if settings.server_chain_files else "made"
        self._stamp: Stamp = ()
        self._asked_at = 0.0
        self._presenters: list[Present] = []
        self._tell: list[Callable[[Presented], None]] = []
        self.trust: ServerTrust | None = None
        self.shown: list[ServerIdentity] = []
        self.leaves: list[Certificate] = []
        """The leaves as they were when they came to be shown, in the order of `shown`."""
        self.presented = Presented()

    async def first(self) -> list[ServerIdentity]:
        """What to show from the start: what was shown last, if that still serves. Raises SettingsError, CaError."""
        if self._settings.server_chain_files:
            identities = server_identity.given(
                self._settings.server_chain_files, self._settings.server_key_files
            )
            self._stamp = _stamp(identities)
        else:
            kept = server_identity.usable(self._folder, self._names, self._clock.now())
            identities = kept if kept is not None else await self._made()
        self._now_shown(identities)
        return identities

    def add(self, present: Present, tell: Callable[[Presented], None] | None = None) -> None:
        """Somebody who presents certificates, and somebody who wants to know which."""
        self._presenters.append(present)
        if tell is not None:
            self._tell.append(tell)
            tell(self.presented)

    async def run(self) -> None:
        """Until cancelled."""
        every_s = LOOKED_EVERY_S if self._settings.server_chain_files else MADE_EVERY_S
        while True:
            await self.look()
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        """See whether there is something else to present, and present it if that strands nobody."""
        try:
            if self._settings.server_chain_files:
                await self._look_at_files()
            else:
                await self._look_at_age()
        except (CaError, SettingsError, MalformedX509, Unavailable, TimeoutError, OSError) as problem:
            _LOG.error("the server certificates stay as they are: %s", problem or type(problem).__name__)

    async def _look_at_files(self) -> None:
        identities = server_identity.given(self._settings.server_chain_files, self._settings.server_key_files)
        stamp = _stamp(identities)
        now = self._clock.monotonic()
        if stamp == self._stamp and (not self.presented.kept_back or now < self._asked_at + ASKED_EVERY_S):
            return
        self._asked_at = now
        candidates = [(each, _chain(each)) for each in identities]
        kept_back = await self._kept_back([chain for _, chain in candidates])
        if not kept_back:
            self._swap(identities)
        self._stamp = stamp  # only now: what could not be read is read again
        self._keep_back(kept_back)

    async def _look_at_age(self) -> None:
        """Make new ones when ours near their end or our CA is another. Nothing is asked of a CA the gate is closed to."""
        ca = self._ca
        issuer = ca.described.get(CENTRAL_SYSTEM) if ca is not None else None
        if ca is None or issuer is None:
            return
        if all(server_identity.is_good(each, self._names, issuer, self._clock.now()) for each in self.shown):
            self._keep_back(())
            return
        issuing = list(parse_certificates(issuer.certificate_pem + issuer.issuers_pem))
        closed = await self._kept_back([issuing])
        if not closed:
            async with asyncio.timeout(MADE_WITHIN_S):
                self._swap(await self._made())
        self._keep_back(closed)

    async def _made(self) -> list[ServerIdentity]:
        authority = self._ca.authorities.get(CENTRAL_SYSTEM) if self._ca is not None else None
        issuer = self._ca.described.get(CENTRAL_SYSTEM) if self._ca is not None else None
        if authority is None or issuer is None:
            raise SettingsError(
                "server_chain_files are needed, or aws_backend_server_ca_arn and a CA that answers to have them made"
            )
        return await server_identity.obtain(self._folder, authority, issuer, self._names, self._clock)

    async def _kept_back(self, chains: Sequence[Sequence[Certificate]]) -> tuple[NotPresented, ...]:
        """Which of these must not be shown, and why."""
        now = self._clock.now()
        found = []
        for chain in chains:
            candidate = described(chain, self._source)
            shown = self.presented.certificates
            fleet: Forecast | None = None
            if self.trust is not None and candidate.anchor not in {each.anchor for each in shown}:
                fleet = await self.trust.forecast(chain)
            problem = switch_problem(shown, candidate, fleet, now)
            if problem is not None:
                found.append(
                    NotPresented(
                        certificate=candidate,
                        code=problem.code,
                        message=problem.message,
                        since=self._since(candidate, now),
                    )
                )
        return tuple(found)

    def _since(self, candidate: ServerCertificate, now: datetime) -> datetime:
        known = {each.certificate.fingerprint_sha256: each.since for each in self.presented.kept_back}
        return known.get(candidate.fingerprint_sha256, now)

    def _swap(self, identities: list[ServerIdentity]) -> None:
        """Present them everywhere. Raises SettingsError; who presented them by then goes on doing so."""
        for present in self._presenters:
            present(identities)
        self._now_shown(identities)
        for each in self.presented.certificates:
            _LOG.info("chargers are now shown %s, until %s", each.subject, each.not_after.date())

    def _now_shown(self, identities: list[ServerIdentity]) -> None:
        chains = [_chain(each) for each in identities]
        self.shown, self.leaves = identities, [chain[0] for chain in chains]
        self._become(Presented(certificates=tuple(described(chain, self._source) for chain in chains)))

    def _keep_back(self, kept_back: tuple[NotPresented, ...]) -> None:
        known = {each.certificate.fingerprint_sha256 for each in self.presented.kept_back}
        for each in kept_back:
            if each.certificate.fingerprint_sha256 not in known:
                _LOG.warning("a server certificate is kept back: %s: %s", each.code, each.message)
        if kept_back != self.presented.kept_back:
            self._become(Presented(certificates=self.presented.certificates, kept_back=kept_back))

    def _become(self, presented: Presented) -> None:
        self.presented = presented
        for each in presented.certificates:
            kind = each.key_algorithm.partition("-")[0]
            self._metrics.gauge("bf_server_certificate_end_seconds", each.not_after.timestamp(), key=kind)
        self._metrics.gauge("bf_server_certificates_kept_back", len(presented.kept_back))
        for tell in self._tell:
            tell(presented)


def _chain(identity: ServerIdentity) -> tuple[Certificate, ...]:
    """Raises SettingsError."""
    try:
        chain = parse_certificates(identity.chain_path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, MalformedX509) as problem:
        raise SettingsError(f"server certificate {identity.chain_path}: {problem}") from problem
    if not chain:
        raise SettingsError(f"server certificate {identity.chain_path} holds no certificate")
    return chain


def _stamp(identities: Sequence[ServerIdentity]) -> Stamp:
    """What changes when a file is written or put in another's place. Raises OSError."""
    found = [os.stat(path) for each in identities for path in (each.chain_path, each.key_path)]
    return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)
