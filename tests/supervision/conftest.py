from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from supervisors.tree import Tree
from tests.patience import PATIENCE_S
from tests.supervision.fleet import HandClock, Listener, World


@pytest.fixture(autouse=True)
def _quiet_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)  # crashes are told here on purpose


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**settings: Any) -> World:
        clock, statuses, exits, abandoned = HandClock(), Listener(), Listener(), Listener()
        tree = Tree(
            **{
                "exit_process": exits,
                "publish": statuses,
                "on_lane_abandoned": abandoned,
                "clock": clock,
                "tick_interval_s": None,
                "missed_beats_limit": 2,
                **settings,
            }
        )
        worlds.append(World(tree, clock, statuses, exits, abandoned))
        return worlds[-1]

    yield make
    for world in worlds:
        for gate in world.gates:
            gate.set()
        assert asyncio.run(world.tree.stop(PATIENCE_S))


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
