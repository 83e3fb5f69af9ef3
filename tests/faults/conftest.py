"""One plant for all fault tests of a pytest process; what a test left dead is started again before the next.

BF_KEEP_FAULT_DATA=1 leaves its data directory, and with it every log, for whoever looks for the cause of a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.plant import Plant, build, remove, temporary_data


@pytest.fixture(scope="session")
def running_plant() -> Iterator[Plant]:
    with _built() as plant:
        yield plant


@pytest.fixture
def own_plant() -> Iterator[Plant]:
    """For a test that leaves a CA as nobody else could use it: retired, or with its report of half an hour used up."""
    with _built() as plant:
        yield plant


@contextmanager
def _built() -> Iterator[Plant]:
    folder, data = temporary_data()
    try:
        plant = build(data)
        try:
            yield plant
        finally:
            plant.close()
    finally:
        data.close()
        if not os.environ.get("BF_KEEP_FAULT_DATA"):
            remove(folder)


@pytest.fixture
async def plant(running_plant: Plant) -> Plant:
    running_plant.mend()
    await running_plant.ready()
    return running_plant
