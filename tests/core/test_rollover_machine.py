"""Chargers that renew, vanish and come back in any order while the fleet goes from one CA to the next: none is ever refused.

Each charger's partition hears of the fleet's decisions when it likes, the gateway of its trust likewise, and the operator
advances, aborts and begins again at any time. At every moment the issuer of every certificate that may open a session is
among those that the fleet has its gateways trust, and that the gateway does trust.
"""

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bfactors.x509 import split_chain
from tests.core import pki
from tests.core.rollover_world import ARN, NEXT_ARN, P, RollingFleet, described
from tests.core.world import CA_NAMES, World

CHARGERS = 3
WHICH = st.integers(0, CHARGERS - 1)


class RolloverMachine(RuleBasedStateMachine):
    @initialize()
    def a_fleet_on_its_first_ca(self) -> None:
        self.system = RollingFleet()
        for _ in range(CHARGERS):
            self.system.add()
        self.system.do(described(NEXT_ARN))
        self.gateway: tuple[str, ...] = ()
        self.the_gateway_hears()
        self.retired = 0

    # ------------------------------------------------------------ who hears when

    @rule()
    def the_gateway_hears(self) -> None:
        self.gateway = self.system.trusted
        self.system.verifies(*self.gateway)

    @rule(which=WHICH)
    def a_partition_hears(self, which: int) -> None:
        self.system.hears(self.system.chargers[which])

    # ------------------------------------------------------------ chargers

    @rule(which=WHICH, steps=st.integers(1, 12))
    def a_charger_goes_on(self, which: int, steps: int) -> None:
        for _ in range(steps):
            if not self.system.work(self.system.chargers[which]):
                return

    @rule(which=WHICH)
    def a_charger_vanishes(self, which: int) -> None:
        world = self.system.chargers[which]
        if world.charger.session is not None:
            world.lose_session()

    @rule(which=WHICH)
    def a_charger_comes_back(self, which: int) -> None:
        world = self.system.chargers[which]
        held = [each for each in self.system.live(world) if each.state != "issued"]
        if world.charger.session is None and held:
            world.connect(3, held[-1].fingerprint_sha256)

    @rule(which=WHICH)
    def a_charger_is_replaced_in_a_partition_that_has_not_heard(self, which: int) -> None:
        """It has no certificate yet, and asks for one of the CA that its partition knows."""
        world = World(self.system.chargers[which].facts)
        world.now = self.system.now
        self.system.chargers[which] = world
        world.request()
        world.connect()

    @rule(which=WHICH)
    def an_operator_renews_one(self, which: int) -> None:
        self.system.chargers[which].request("renew")

    @rule(days=st.integers(1, 20))
    def time_passes(self, days: int) -> None:
        if self.system.now < pki.BEGIN + timedelta(days=150):
            self.system.now += timedelta(days=days)

    # ------------------------------------------------------------ the operator

    @rule()
    def a_rollover_is_begun(self) -> None:
        to = next(
            (each for each in self.system.state.facts.authorities_of(P) if each.state == "incoming"), None
        )
        if to is not None:
            self.system.start(to=to.arn)

    @precondition(lambda self: self.system.state.facts.rollovers)
    @rule()
    def it_is_advanced(self) -> None:
        if self.system.advance() is None and not self.system.state.facts.rollovers:
            self.retired += 1

    @precondition(lambda self: self.system.state.facts.rollovers)
    @rule(is_meant=st.integers(0, 5))
    def it_is_aborted(self, is_meant: int) -> None:
        if not is_meant:
            self.system.abort()

    @precondition(lambda self: self.system.state.facts.rollovers)
    @rule()
    def everybody_does_its_part(self) -> None:
        """So that retirements are reached at all."""
        self.the_gateway_hears()
        for which, world in enumerate(self.system.chargers):
            self.system.hears(world)
            self.a_charger_comes_back(which)
            self.a_charger_goes_on(which, 40)

    # ------------------------------------------------------------ what always holds

    @invariant()
    def no_certificate_that_may_open_a_session_is_refused_for_its_issuer(self) -> None:
        trusted = {split_chain(pem)[0] for pem in self.system.trusted}
        verified = {split_chain(pem)[0] for pem in self.gateway}
        for world in self.system.chargers:
            for each in self.system.live(world):
                issuer = split_chain(pki.ca(CA_NAMES[each.issuing_ca_id]).pem)[0]
                assert issuer in trusted, f"{each.state} leaf of {each.issuing_ca_id} has lost its trust"
                if each.state != "issued":
                    assert issuer in verified, (
                        f"{each.state} leaf was delivered before the gateway verifies it"
                    )

    @invariant()
    def a_purpose_has_exactly_one_current_ca(self) -> None:
        states = [each.state for each in self.system.state.facts.authorities_of(P)]
        assert states.count("current") == 1
        assert states.count("outgoing") <= 1
        assert ("outgoing" in states) <= bool(self.system.state.facts.rollovers)


TestRolloverMachine = RolloverMachine.TestCase
TestRolloverMachine.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_in_order_the_whole_fleet_arrives_and_the_old_ca_is_gone() -> None:
    machine = RolloverMachine()
    machine.a_fleet_on_its_first_ca()
    machine.a_rollover_is_begun()
    for _ in range(8):
        machine.everybody_does_its_part()
        machine.it_is_advanced()
        machine.time_passes(15)
        machine.no_certificate_that_may_open_a_session_is_refused_for_its_issuer()
    assert machine.retired == 1
    assert [each.arn for each in machine.system.state.facts.authorities_of(P)] == [NEXT_ARN]
    assert ARN not in {
        each.issuing_ca_id for world in machine.system.chargers for each in machine.system.live(world)
    }
