"""One control plane for the whole module, as a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.control_plane import ControlPlane


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xdist_group(name): tests that share a process stay on one worker")


@pytest.fixture(scope="session")
def system() -> Iterator[ControlPlane]:
    with tempfile.TemporaryDirectory(prefix="bf-conf-", ignore_cleanup_errors=True) as folder:
        plane = ControlPlane.start(Path(folder))
        try:
            yield plane
        finally:
            assert plane.stop() == 0
