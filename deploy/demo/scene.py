"""Who takes part in the demo, and what goes wrong on purpose."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from bfactors.settings import Settings
from simulator.charger import CsrWithSubjectOf, NeverReconnectAfterCertificate, ReconnectBackoff
from simulator.fleet import FleetPlan
from simulator.fleet.version_text import parse_versions

CHARGERS = 40
FAMILIES = 4
SITES = 3
STAYS_AWAY = 7
WRONG_SUBJECT = 12
REVOKED = 20

RECONNECT_WAIT_S = 12
"""The demo's policy gives a charger this long to come back; the built-in default is 15 minutes."""


def with_demo_policy(settings: Settings) -> Settings:
    """Settings whose policy is impatient enough to be watched."""
    impatient: dict[str, dict[str, Any]] = {
        "purpose:charging_station": {
            "reconnect_wait_s": RECONNECT_WAIT_S,
            "csr_wait_s": 20,
            "answer_wait_s": 10,
        }
    }
    return replace(settings, policy={**impatient, **settings.policy})


@dataclass(frozen=True, slots=True)
class Scene:
    """The fleet's plan, and the three chargers that play a part."""

    plan: FleetPlan
    stays_away: str
    wrong_subject: str
    revoked: str

    @property
    def charger_ids(self) -> frozenset[str]:
        """Everyone who takes part."""
        return frozenset(planned.charger_id for planned in self.plan.planned())

    @property
    def expected_active(self) -> int:
        """Everyone but the two that are meant to fail."""
        return self.plan.chargers - 2


def scene(ocpp_url: str, chargers: int, seed: int) -> Scene:
    """Forty chargers (or fewer), one of which never reconnects, and one that asks in another's name."""
    bare = FleetPlan(
        chargers=chargers, target_url=ocpp_url, families=FAMILIES, sites=SITES, prefix="demo", seed=seed
    )
    planned = bare.planned()
    stays_away, wrong, revoked = (index % chargers for index in (STAYS_AWAY, WRONG_SUBJECT, REVOKED))
    plan = FleetPlan(
        versions=parse_versions("2.0.1=50,1.6=30,2.1=20"),
        chargers=chargers,
        target_url=ocpp_url,
        families=FAMILIES,
        sites=SITES,
        prefix="demo",
        seed=seed,
        faults={
            stays_away: (NeverReconnectAfterCertificate(),),
            wrong: (CsrWithSubjectOf(planned[revoked].serial_number),),
        },
        reconnect=ReconnectBackoff(timedelta(milliseconds=200), timedelta(milliseconds=500), 3),
    )
    return Scene(plan, planned[stays_away].charger_id, planned[wrong].charger_id, planned[revoked].charger_id)
