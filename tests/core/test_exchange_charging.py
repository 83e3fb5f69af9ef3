"""OCPP 1.6 knows no reset that waits: one of ours does, while a car is charging."""

from typing import Any

import pytest

from bfactors.instruction import ListCertificates, Reboot
from bfactors.ocpp import OutboundCall, Relayed
from gateways.ocpp.charge_point import charging
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
