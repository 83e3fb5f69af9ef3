"""What a charger's settings tell of it: read, learned, forgotten with its firmware, and applied."""

import pytest

from bfactors import evidence as v
from bfactors.charger import setting_fact, slow_authority
from bfactors.charger.state import JobState
from bfactors.instruction import InstallAnchor, ListCertificates, ReadSettings
from bfactors.ocpp import Answered, CallFailed, ReadSetting, Silent
from bfactors.policy import Policy
from tests.core.key_world import with_policy
from tests.core.world import World

TOLD = (
    ReadSetting("max-chain-chars", "5600"),
    ReadSetting("trust-store-slots", "4"),
    ReadSetting("csr-wait-s", "90"),
)


def read_once(world: World, *settings: ReadSetting) -> None:
    """The charger is asked with its inventory, and answers."""
    world.wait(days=40)
    while not isinstance(world.orders()[0], ReadSettings):
        world.carry_out()
    world.carry_out(Answered("Accepted", settings=settings))


def connected() -> World:
    world = World(security_profile=2, target_security_profile=2)
    world.tells_settings = True
    world.connect()
    return world


def test_a_charger_is_asked_for_its_settings_with_its_inventory() -> None:
    world = connected()
    world.wait(days=40)
    assert {type(order) for order in world.orders()} == {ListCertificates, ReadSettings}
    assert next(one.names for one in world.orders() if isinstance(one, ReadSettings)) == setting_fact.READ


def test_what_it_says_is_learned_and_newer_values_replace_older_ones() -> None:
    world = connected()
    read_once(world, *TOLD)
    found = world.charger.capabilities
    assert (found.max_chain_chars, found.trust_store_slots, found.csr_wait_s) == (5600, 4, 90)
    read_once(world, ReadSetting("max-chain-chars", "10000"))
    assert world.charger.capabilities.max_chain_chars == 10_000
    count = world.names().count("ChargerFactObserved")
    read_once(world, ReadSetting("max-chain-chars", "10000"))
    assert world.names().count("ChargerFactObserved") == count


@pytest.mark.parametrize("value", [None, "", "-1", "0", "many", "5600.5", "9" * 9, "9" * 4000, "\u0663"])
def test_a_value_that_is_none_says_nothing(value: str | None) -> None:
    world = connected()
    read_once(world, ReadSetting("max-chain-chars", value))
    assert world.charger.capabilities.max_chain_chars is None


@pytest.mark.parametrize("outcome", [CallFailed("NotSupported"), Answered("Rejected")])
def test_a_charger_that_tells_nothing_is_left_alone(outcome: CallFailed | Answered) -> None:
    world = connected()
    world.wait(days=40)
    while not isinstance(world.orders()[0], ReadSettings):
        world.carry_out()
    world.carry_out(outcome)
    assert not any(isinstance(one.body, ReadSettings) for one in world.charger.instructions.values())


def test_a_silent_one_is_asked_a_few_times_and_no_more() -> None:
    world = connected()
    world.wait(days=40)
    while world.charger.instructions:
        world.wait_for_order()
        world.carry_out(Silent() if isinstance(world.orders()[0], ReadSettings) else None)
    assert world.charger.capabilities.max_chain_chars is None


def test_another_firmware_may_have_other_limits() -> None:
    world = connected()
    said = {"vendor": "a", "model": "b", "serial_number": "SN-1", "reason": "PowerUp"}
    world.tell(v.BootReported(session_id="s1", firmware_version="1", **said))
    read_once(world, *TOLD)
    world.tell(v.BootReported(session_id="s1", firmware_version="2", **said))
    assert world.charger.capabilities.csr_wait_s is None


def test_its_own_patience_goes_before_the_policys() -> None:
    world = connected()
    job = JobState(
        job_id="j",
        purpose="charging_station",
        variant="default",
        action="issue",
        reason="",
        created_at=world.now,
        deadline_at=world.now,
        policy_version=1,
    )
    assert slow_authority.slow_at(world.charger, Policy(), job) is None
    world.connect()
    world.request()
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    under_way = next(iter(world.charger.jobs.values()))
    policy = Policy(charger_patience_s=1000)
    at = slow_authority.slow_at(world.charger, policy, under_way)
    assert at is not None
    assert (at - world.now).total_seconds() == 1000
    read_once(world, *TOLD)
    sooner = slow_authority.slow_at(world.charger, policy, next(iter(world.charger.jobs.values())))
    assert sooner is None or (at - sooner).total_seconds() == 910


@pytest.mark.parametrize(("allowed", "sent"), [("refused", False), ("allowed", True)])
def test_a_trust_anchor_goes_over_a_plain_connection_only_if_policy_says_so(allowed: str, sent: bool) -> None:
    world = World(with_policy(anchor_over_plain=allowed), security_profile=1)
    world.connect(1)
    world.request()
    assert any(isinstance(order, InstallAnchor) for order in world.orders()) is sent
    job = next(iter(world.charger.jobs.values()))
    assert (job.reason_code == "insecure-transport") is not sent
