"""One control plane for the whole folder, as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.control_plane import ControlPlane
from tests.conformance.raw_charger import Charger


@pytest.fixture(autouse=True)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the test's 2.x chargers speak: 2.0.1, or what `IN_BOTH_VERSIONS` says."""
    spoken = str(getattr(request, "param", Charger.version))
    monkeypatch.setattr(Charger, "version", spoken)
    return spoken


@pytest.fixture(scope="session")
def system() -> Iterator[ControlPlane]:
    with ControlPlane.running(egress_allowed_hosts="127.0.0.1") as plane:
        yield plane
