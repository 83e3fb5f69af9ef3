"""A fleet on paper: which chargers, of which families, at which sites, with which faults."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType

from simulator.charger import (
    ChargerConfiguration,
    ChargerFamily,
    Fault,
    HashAlgorithm,
    KeyType,
    NetworkProfile,
    OcppVersion,
    ReconnectBackoff,
    TlsOffer,
)

FAMILIES = (
    ChargerFamily("volt-one-2", "Volt", "One", "2.4.1"),
    ChargerFamily(
        "ampere-hub-5", "Ampere", "Hub", "5.0.3", key_type=KeyType.RSA2048, tls_offer=TlsOffer.RSA_PAIR
    ),
    ChargerFamily(
        "ohm-post-1",
        "Ohm",
        "Post",
        "1.18",
        tls_offer=TlsOffer.ECDSA_PAIR,
        hash_algorithm=HashAlgorithm.SHA384,
    ),
    ChargerFamily("joule-bay-7", "Joule", "Bay", "7.2", boots_on_every_connection=False),
)


@dataclass(frozen=True, slots=True)
class PlannedCharger:
    """One charger before it has a password: its place in the fleet and its faults."""

    index: int
    charger_id: str
    serial_number: str
    family: ChargerFamily
    site: str
    cohort: str
    evses: int
    faults: tuple[Fault, ...]
    ocpp_version: OcppVersion = OcppVersion.V201


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A fleet of `chargers`; the same plan always gives the same chargers.

    Families and sites take turns, so every family is at every site of a large enough fleet. `families`
    beyond the four built in repeat them under further names. `faults` is by index, from 0. `versions` says how
    many parts of the fleet speak which OCPP version; they are spread over the whole of it.
    """

    chargers: int
    target_url: str
    families: int = 4
    sites: int = 3
    organization: str = "Depot Ltd"
    prefix: str = "sim"
    seed: int = 1
    faults: Mapping[int, tuple[Fault, ...]] = field(default_factory=lambda: MappingProxyType({}))
    heartbeat_interval: timedelta | None = None
    reconnect: ReconnectBackoff = field(default_factory=ReconnectBackoff)
    versions: Mapping[OcppVersion, int] = field(
        default_factory=lambda: MappingProxyType({OcppVersion.V201: 1})
    )

    def planned(self) -> tuple[PlannedCharger, ...]:
        """The chargers in order."""
        chance = random.Random(self.seed)
        families = [_family(number) for number in range(self.families)]
        versions = self._versions()
        return tuple(
            PlannedCharger(
                index=index,
                charger_id=f"{self.prefix}-{self.seed}-{index:05}",
                serial_number=f"SN{self.seed:03}{chance.getrandbits(32):08X}{index:05}",
                family=families[index % len(families)],
                site=f"site-{index // len(families) % self.sites + 1}",
                cohort=f"cohort-{index // len(families) % self.sites + 1}",
                evses=chance.choice((1, 1, 2)),
                faults=self.faults.get(index, ()),
                ocpp_version=versions[index],
            )
            for index in range(self.chargers)
        )

    def configuration(
        self, planned: PlannedCharger, *, password: str, csms_roots: tuple[str, ...]
    ) -> ChargerConfiguration:
        """What the installer sets, once password and roots are known; security profile 2, or 1 on ws://."""
        security_profile = 2 if self.target_url.startswith("wss://") else 1
        return ChargerConfiguration(
            charger_id=planned.charger_id,
            serial_number=planned.serial_number,
            organization=self.organization,
            family=planned.family,
            network_profiles={1: NetworkProfile(self.target_url, security_profile)},
            basic_password=password,
            csms_roots=csms_roots,
            evses=planned.evses,
            heartbeat_interval=self.heartbeat_interval,
            reconnect=self.reconnect,
            faults=planned.faults,
            ocpp_version=planned.ocpp_version,
            secc_id=f"DEDEPS{planned.serial_number}".upper(),
        )

    def _versions(self) -> list[OcppVersion]:
        """A version for each charger: whoever is furthest behind its share comes next."""
        whole = sum(self.versions.values())
        credit = dict.fromkeys(self.versions, 0)
        found: list[OcppVersion] = []
        for _ in range(self.chargers):
            for version, parts in self.versions.items():
                credit[version] += parts
            chosen = max(credit, key=lambda version: credit[version])
            credit[chosen] -= whole
            found.append(chosen)
        return found


def _family(number: int) -> ChargerFamily:
    built_in = FAMILIES[number % len(FAMILIES)]
    generation = number // len(FAMILIES)
    if generation == 0:
        return built_in
    return replace(
        built_in,
        name=f"{built_in.name}-g{generation + 1}",
        model=f"{built_in.model} G{generation + 1}",
    )
