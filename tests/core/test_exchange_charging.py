"""OCPP 1.6 knows no reset that waits: one of ours does, while a car is charging."""

from typing import Any

import pytest

from bfactors.exchange.message import Close
from bfactors.exchange.station_call import MOST_TRANSACTIONS
from bfactors.instruction import CloseSession, ListCertificates, RaiseSecurityProfile, Reboot
from bfactors.ocpp import OutboundCall, Relayed
from gateways.ocpp.charge_point import charging
from gateways.ocpp.payload_part import transaction
from tests.core.exchange_bench import Bench


def told(connector: int, is_charging: bool) -> Relayed:
    return Relayed("StatusNotification", b"{}", charging=(connector, is_charging))


def calls(bench: Bench) -> list[str]:
    """What has left so far; what had to be recorded first is."""
    for _ in range(4):
        if bench.recording is not None:
            bench.store()
    return [type(out.outbound.instruction).__name__ for out in bench.all if _is_call(out)]


def _is_call(out: Any) -> bool:
    return isinstance(getattr(out, "outbound", None), OutboundCall)


def test_a_reset_waits_for_every_car_and_leaves_when_the_last_is_done() -> None:
    bench = Bench.introduced()
    bench.call(told(1, True), "a")
    bench.call(told(2, True), "b")
    bench.order(1, body=Reboot(when="immediate"))
    assert calls(bench) == []
    bench.call(told(1, False), "c")
    assert calls(bench) == []
    bench.call(told(2, False), "d")
    assert calls(bench) == ["Reboot"]


def test_other_calls_pass_it_by() -> None:
    bench = Bench.introduced()
    bench.call(told(1, True), "a")
    bench.order(1, body=Reboot(when="on-idle"))
    bench.order(2, body=ListCertificates())
    assert calls(bench) == ["ListCertificates"]


def test_what_is_urgent_waits_for_no_car() -> None:
    bench = Bench.introduced()
    bench.call(told(1, True), "a")
    bench.order(1, body=Reboot(when="immediate"), is_urgent=True)
    assert calls(bench) == ["Reboot"]


@pytest.mark.parametrize(
    ("action", "connector", "status", "wanted"),
    [
        ("StatusNotification", 1, "Charging", (1, True)),
        ("StatusNotification", 2, "SuspendedEVSE", (2, True)),
        ("StatusNotification", 1, "SuspendedEV", (1, True)),
        ("StatusNotification", 1, "Finishing", (1, False)),
        ("StatusNotification", 1, "Available", (1, False)),
        ("StatusNotification", 0, "Available", None),
        ("MeterValues", 1, "Charging", None),
    ],
)
def test_1_6_says_of_each_connector_whether_a_car_is_charging(
    action: str, connector: int, status: str, wanted: tuple[int, bool] | None
) -> None:
    assert charging(action, {"connectorId": connector, "status": status}) == wanted


# ---------------------------------------------------------------- not while charging


def running(transaction: str, runs: bool) -> Relayed:
    return Relayed("TransactionEvent", b"{}", transaction=(transaction, runs))


INTERRUPTING = (CloseSession(reason="new"), RaiseSecurityProfile(3), Reboot(when="immediate"))


@pytest.mark.parametrize("body", INTERRUPTING, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize("tell", [told, running], ids=["1.6", "2.x"])
def test_what_interrupts_waits_for_the_end_of_the_transaction_where_policy_wants_it(
    body: Any, tell: Any
) -> None:
    bench = Bench.introduced()
    bench.call(tell(1, True), "a")
    bench.order(1, body=body, waits_for_cars=True)
    assert not has_left(bench)
    bench.call(tell(1, False), "b")
    assert has_left(bench)


@pytest.mark.parametrize("body", INTERRUPTING[:2], ids=lambda body: type(body).__name__)
def test_without_that_policy_sockets_and_profiles_do_not_wait(body: Any) -> None:
    bench = Bench.introduced()
    bench.call(told(1, True), "a")
    bench.order(1, body=body)
    assert has_left(bench)


@pytest.mark.parametrize("body", INTERRUPTING, ids=lambda body: type(body).__name__)
def test_even_then_what_is_urgent_waits_for_no_car(body: Any) -> None:
    bench = Bench.introduced()
    bench.call(running("t", True), "a")
    bench.order(1, body=body, waits_for_cars=True, is_urgent=True)
    assert has_left(bench)


def test_a_reset_on_idle_waits_by_itself_where_the_version_knows_it() -> None:
    bench = Bench.introduced()
    bench.call(running("t", True), "a")
    bench.order(1, body=Reboot(when="on-idle"), waits_for_cars=True)
    assert calls(bench) == ["Reboot"]


def test_transactions_are_counted_up_to_a_bound() -> None:
    bench = Bench.introduced()
    for number in range(MOST_TRANSACTIONS + 5):
        bench.call(running(f"t{number}", True), f"m{number}")
    assert len(bench.state.transactions) == MOST_TRANSACTIONS


@pytest.mark.parametrize(
    ("event", "wanted"), [("Started", ("t", True)), ("Updated", ("t", True)), ("Ended", ("t", False))]
)
def test_2_x_says_of_each_transaction_whether_it_runs(event: str, wanted: tuple[str, bool]) -> None:
    payload = {"eventType": event, "transactionInfo": {"transactionId": "t"}}
    assert transaction("TransactionEvent", payload) == wanted
    assert transaction("StatusNotification", payload) is None


def has_left(bench: Bench) -> bool:
    """Whether the order has left: as a call, or by closing the socket."""
    return bool(calls(bench)) or any(isinstance(out, Close) for out in bench.all)
