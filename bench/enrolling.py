"""The fleet owner and the fleet, in a process of their own: simulated chargers walk from a password to a certificate."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import uvloop

from bench.process import serve, settings_of_this_process
from simulator.charger import ReconnectBackoff
from simulator.fleet import AdminClient, Fleet, FleetPlan

T = TypeVar("T")

_PATIENCE_S = 90.0
_ACTIVE_WITHIN_S = 60.0
_AT_ONCE = 16
_EAGER = ReconnectBackoff(timedelta(milliseconds=100), timedelta(milliseconds=200), 2)


class Depot:
    """One fleet at a time; on its loop only."""

    def __init__(self, ocpp_url: str, admin_url: str, token: str) -> None:
        self._ocpp_url = ocpp_url
        self._admin_url = admin_url
        self._token = token
        self._fleet: Fleet | None = None

    async def enrol(self, chargers: int, seed: int) -> dict[str, Any]:
        """Register so many P-256 chargers, order their certificates, switch them on; done when all came back with one."""
        plan = FleetPlan(
            chargers=chargers,
            target_url=self._ocpp_url,
            families=1,
            sites=1,
            prefix="bench",
            seed=seed,
            reconnect=_EAGER,
        )
        async with AdminClient(self._admin_url, self._token, requests_at_once=_AT_ONCE) as admin:
            roots = await admin.server_roots()
            enrolment = await admin.enrol(plan, plan.planned())
            fleet = self._fleet = Fleet(
                [
                    plan.configuration(each, password=enrolment.passwords[each.charger_id], csms_roots=roots)
                    for each in plan.planned()
                ],
                connects_at_once=_AT_ONCE,
            )
            await fleet.start()
            refused = await admin.order("issue", enrolment.passwords, str(seed))
        for charger in fleet.chargers:
            await charger.wait_for(
                lambda seen: seen.is_accepted and seen.session_fingerprint is not None, _ACTIVE_WITHIN_S
            )
        count = fleet.count()
        return {"refused": refused, "sessions": count.sessions, "errors": count.errors}

    async def leave(self) -> None:
        """Switch all off."""
        if self._fleet is not None:
            await self._fleet.stop()
            self._fleet = None


def main() -> None:
    settings = settings_of_this_process()
    loop = uvloop.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_PATIENCE_S)

    depot = Depot(settings["ocpp_url"], settings["admin_url"], settings["token"])
    serve(
        {
            "enrol": lambda chargers, seed: run(depot.enrol(chargers, seed)),
            "leave": lambda: run(depot.leave()),
        }
    )
    os._exit(0)


if __name__ == "__main__":
    main()
