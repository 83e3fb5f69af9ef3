"""One control plane for the whole folder, as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.control_plane import ControlPlane


@pytest.fixture(scope="session")
def system() -> Iterator[ControlPlane]:
    with ControlPlane.running() as plane:
        yield plane
