"""A call an operator writes out by hand: what is allowed, that it is made once, and how it ends."""

import json
from typing import Any

import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.charger import clock, operator_call, outgoing
from bfactors.instruction import CallAction
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from tests.core import pki
from tests.core.world import World, fleet_facts

LEAF = pki.ca().sign(pki.csr("SN-1"), pki.BEGIN, pki.END)


def call(action: str = "Reset", payload: Any = None, call_id: str = "call-1") -> c.CallCharger:
    text = json.dumps({"type": "OnIdle"} if payload is None else payload)
    return c.CallCharger(call_id=call_id, charger_id="CP-1", action=action, payload=text)


def connected(profile: int = 2) -> World:
    world = World()
    world.connect(profile)
    return world


def ends(world: World) -> list[e.OperatorCallAnswered]:
    return [event for event in world.events if isinstance(event, e.OperatorCallAnswered)]


def answer(world: World, outcome: Outcome) -> None:
    (order,) = outgoing.orders(world.charger, world.facts, world.now)
    key = {"instruction_id": "call-1", "decision": order.decision, "session_id": order.session_id}
    world.tell(v.InstructionSent(**key))  # type: ignore[arg-type]
    world.tell(v.InstructionAnswered(outcome=outcome, **key))  # type: ignore[arg-type]


def install(kind: str, pem: str) -> c.CallCharger:
    return call("InstallCertificate", {"certificateType": kind, "certificate": pem})


def variable(name: str, value: str) -> c.CallCharger:
    entry = {
        "component": {"name": "SecurityCtrlr"},
        "variable": {"name": name},
        "attributeValue": value,
    }
    return call("SetVariables", {"setVariableData": [entry]})


# ---------------------------------------------------------------- guards


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (call("ClearCache"), "action-not-allowed"),
        (call("Reset", {"type": "x" * 40_000}), "too-large"),
        (install("ManufacturerRootCertificate", pki.ca().root_pem), "other-realm"),
        (
            call("GetInstalledCertificateIds", {"certificateType": ["ManufacturerRootCertificate"]}),
            "other-realm",
        ),
        (install("CSMSRootCertificate", "nonsense"), "malformed-certificate"),
        (install("CSMSRootCertificate", LEAF), "not-a-root"),
        (install("CSMSRootCertificate", pki.ca().pem), "not-a-root"),
        (install("V2GRootCertificate", pki.ca("Server").root_pem), "other-realm"),
        (variable("BasicAuthPassword", "0123456789abcdef"), "use-key-rotation"),
        (call("ChangeConfiguration", {"key": "AuthorizationKey", "value": "00" * 16}), "use-key-rotation"),
        (variable("SecurityProfile", "1"), "profile-lowered"),
        (call("ChangeConfiguration", {"key": "SecurityProfile", "value": "3"}), "use-migration"),
        (
            call("SetNetworkProfile", {"configurationSlot": 1, "connectionData": {"securityProfile": 1}}),
            "profile-lowered",
        ),
        (
            call(
                "SetNetworkProfile",
                {"connectionData": {"securityProfile": 3, "basicAuthPassword": "0123456789abcdef"}},
            ),
            "use-key-rotation",
        ),
        (call("GetLog", {"log": {"remoteLocation": "ftp://me:secret@logs.example/"}}), "use-log-request"),
        (
            call("SetNetworkProfile", {"connectionData": {"vpn": {"server": "v", "key": "k"}}}),
            "secret-in-call",
        ),
        (call("SetNetworkProfile", {"connectionData": {"apn": {"apnPassword": "p"}}}), "secret-in-call"),
        (variable("VpnPassword", "p"), "secret-in-call"),
        (call("ChangeConfiguration", {"key": "Vendor.WlanPassphrase", "value": "p"}), "secret-in-call"),
    ],
)
def test_what_a_job_may_not_do_no_hand_may_either(command: c.CallCharger, code: str) -> None:
    world = connected()
    refusal = world.command(command).refusal
    assert refusal is not None
    assert refusal.code == code
    assert not world.orders()


@pytest.mark.parametrize(
    "command",
    [
        call(),
        install("CSMSRootCertificate", pki.ca("Another").root_pem),
        install("CSMSRootCertificate", pki.ca("Server").root_pem),
        install("V2GRootCertificate", pki.ca("Another").root_pem),
        variable("OrganizationName", "Depot"),
        call("GetVariables", {"getVariableData": [{"variable": {"name": "VpnPassword"}, "component": {}}]}),
        call("GetConfiguration", {"key": ["AuthorizationKey"]}),
        call("GetLog", {"log": {"remoteLocation": "https://logs.example/a@b"}}),
    ],
)
def test_what_breaks_no_rule_is_ordered(command: c.CallCharger) -> None:
    world = connected()
    assert world.command(command).refusal is None
    assert world.orders() == [CallAction(command.action, command.payload)]


def test_a_charger_that_is_not_connected_is_not_called() -> None:
    refusal = World().command(call()).refusal
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("not-connected", 409)


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Answered("Accepted", payload='{"status":"Accepted"}'), ("answered", '{"status":"Accepted"}', None)),
        (CallFailed("NotSupported", "no"), ("error", None, "NotSupported no")),
        (Silent(), ("timeout", None, None)),
        (Disconnected(), ("disconnected", None, None)),
    ],
)
def test_every_end_of_a_call_is_a_fact_of_its_own(
    outcome: Outcome, expected: tuple[str, str | None, str | None]
) -> None:
    world = connected()
    world.command(call())
    answer(world, outcome)
    (end,) = ends(world)
    assert (end.outcome, end.payload, end.error) == expected
    assert not world.charger.instructions


def test_a_key_the_charger_should_not_have_told_is_not_recorded() -> None:
    world = connected()
    world.command(call("GetConfiguration", {"key": ["AuthorizationKey"]}))
    told = {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": "cafe" * 8}]}
    answer(world, Answered("Accepted", payload=json.dumps(told)))
    (end,) = ends(world)
    assert end.payload is not None
    assert "cafe" not in end.payload
    assert '"value":"***"' in end.payload


def test_an_answer_too_long_to_be_kept_still_ends_the_call() -> None:
    world = connected()
    world.command(call())
    answer(world, Answered("Accepted", payload=json.dumps({"a": "x" * 70_000})))
    assert [(end.outcome, end.payload) for end in ends(world)] == [("answered", None)]


def test_the_same_call_asked_twice_is_made_once() -> None:
    world = connected()
    world.command(call())
    world.command(call())
    assert len(world.orders()) == 1


def test_a_call_that_has_not_left_in_time_does_not_leave_any_more() -> None:
    world = connected()
    world.command(call())
    world.now += operator_call.FRESH
    assert not world.orders()


def test_a_call_nobody_hears_of_again_ends_by_the_clock() -> None:
    world = connected()
    world.command(call())
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due == world.now + operator_call.ENDS
    world.wait(seconds=operator_call.ENDS.total_seconds())
    assert [end.outcome for end in ends(world)] == ["timeout"]


@pytest.mark.parametrize("how", ["closed", "reconnected"])
def test_a_call_ends_with_its_session_and_is_not_made_on_the_next(how: str) -> None:
    world = connected()
    session = world.charger.session
    assert session is not None
    world.command(call())
    if how == "closed":
        world.tell(v.SessionClosed(session_id=session.session_id, reason="gone"))
    world.connect()
    assert [end.outcome for end in ends(world)] == ["disconnected"]
    assert not world.orders()


def test_an_anchor_of_the_fleet_keeps_its_realm() -> None:
    world = World(fleet_facts())
    world.connect()
    refusal = world.command(install("V2GRootCertificate", pki.ca().root_pem)).refusal
    assert refusal is not None
    assert refusal.code == "other-realm"


# ---------------------------------------------------------------- deletions


SPARE = HashData("SHA256", "ab" * 32, "cd" * 32, "0f")


def delete(data: HashData) -> c.CallCharger:
    named = {
        "hashAlgorithm": data.algorithm,
        "issuerNameHash": data.issuer_name_hash,
        "issuerKeyHash": data.issuer_key_hash,
        "serialNumber": data.serial_number,
    }
    return call("DeleteCertificate", {"certificateHashData": named}, call_id="delete")


def listing(*data: HashData) -> Answered:
    listed = tuple(ReportedCertificate("CSMSRootCertificate", one) for one in data)
    return Answered("Accepted", listed=listed, payload="{}")


def ours(world: World) -> tuple[HashData, ...]:
    return tuple(anchor.hash_data[0] for anchor in world.facts.bundles["backend_server"].anchors)


def listed_by_hand(*spare: HashData, asked: object = "CSMSRootCertificate") -> World:
    world = connected()
    world.command(call("GetInstalledCertificateIds", {"certificateType": [asked]}))
    answer(world, listing(*ours(world), *spare))
    return world


def test_a_list_asked_for_by_hand_is_known_and_a_spare_root_of_it_may_go() -> None:
    world = listed_by_hand(SPARE)
    assert SPARE in [reported.hash_data for reported in world.charger.reported]
    assert world.command(delete(SPARE)).refusal is None
    assert [type(order) for order in world.orders()] == [CallAction]


def test_a_list_of_one_store_says_nothing_about_another() -> None:
    world = listed_by_hand(SPARE)
    world.command(call("GetInstalledCertificateIds", {"certificateType": ["V2GRootCertificate"]}))
    answer(world, Answered("NotFound", payload="{}"))
    assert SPARE in [reported.hash_data for reported in world.charger.reported]


@pytest.mark.parametrize("which", [0, 1])
def test_no_anchor_of_the_live_session_is_deleted_by_hand(which: int) -> None:
    world = listed_by_hand(SPARE)
    refusal = world.command(delete(ours(world)[which])).refusal
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("anchor-of-live-session", 409)


def test_the_last_root_is_not_deleted_by_hand() -> None:
    world = connected()
    world.command(call("GetInstalledCertificateIds", {"certificateType": ["CSMSRootCertificate"]}))
    answer(world, listing(SPARE))
    refusal = world.command(delete(SPARE)).refusal
    assert refusal is not None
    assert refusal.code == "last-central-system-root"


def test_what_the_charger_has_not_listed_is_not_deleted() -> None:
    refusal = connected().command(delete(SPARE)).refusal
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("unknown-hash-data", 404)


def test_hash_data_that_is_none_is_refused() -> None:
    refusal = connected().command(call("DeleteCertificate", {"certificateHashData": {}})).refusal
    assert refusal is not None
    assert refusal.field == "certificateHashData"
