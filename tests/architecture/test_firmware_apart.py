"""Firmware trust and operations know nothing of each other, except where they are put side by side on purpose."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from bfactors.purpose import Realm, purposes
from gateways.admin.role import MAY
from gateways.ocpp import v16, v21, v201
from gateways.ocpp.certificate_name import CertificateNames

ROOT = Path(__file__).parents[2]
ROOMS = ("bfactors", "actors", "supervisors", "gateways", "persistence", "dashboards", "deploy", "simulator")

MEETS = {
    "bfactors/firmware_fold.py": "inside a commit: who is told what of whom",
    "bfactors/ledger_fold.py": "which of the two a message belongs to",
    "bfactors/command.py": "one door for commands",
    "actors/ledger/firmware.py": "loads its aggregates and orders",
    "actors/ledger/announcement.py": "orders of both go to one session",
    "actors/ledger/scan.py": "passes its states on to the announcer",
    "actors/ledger/message.py": "and so does a scan",
    "actors/ledger/commit.py": "loads what a batch speaks of",
    "gateways/admin/firmware.py": "its own routes",
    "gateways/admin/firmware_note.py": "tells operators how far an update is, and nothing else",
    "gateways/admin/app.py": "one server for all routes",
    "deploy/role/firmware_separation.py": "compares both at start",
    "deploy/role/core.py": "and runs that comparison",
}
"""Every module outside of it that imports anything of firmware trust, and why."""

MAY_USE = {
    "bfactors.certificate_hash",
    "bfactors.instruction",
    "bfactors.ocpp",
    "bfactors.refusal",
    "bfactors.x509",
}
"""What firmware trust imports of the core: formats, and no decision of anybody's."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module or member that is imported, with its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_of_firmware(name: str) -> bool:
    parts = name.split(".")
    return (
        name.startswith(("bfactors.firmware.", "bfactors.firmware_fold"))
        or name in ("bfactors.firmware", "gateways.admin.firmware", "actors.ledger.firmware")
        or parts[:3] == ["deploy", "role", "firmware_separation"]
    )


def test_only_the_named_places_know_of_firmware_trust() -> None:
    found = {
        path
        for path, tree in modules()
        if not path.startswith("bfactors/firmware/") and any(map(is_of_firmware, imported(tree)))
    }
    assert found == set(MEETS)


def test_firmware_trust_imports_formats_and_nothing_that_decides() -> None:
    used = set()
    for path, tree in modules():
        if path.startswith("bfactors/firmware/"):
            used |= {name for name in imported(tree) if name.startswith("bfactors.")}
    strange = {
        name
        for name in used
        if not name.startswith("bfactors.firmware")
        and name not in MAY_USE
        and name.rpartition(".")[0] not in MAY_USE
    }
    assert strange == set()


def test_the_issuing_side_imports_none_of_it_even_indirectly_named() -> None:
    apart = (
        "bfactors/charger/",
        "bfactors/fleet/",
        "bfactors/purposes/",
        "bfactors/inventory/",
        "gateways/ca/",
    )
    for path, tree in modules():
        if path.startswith((*apart, "actors/issuance/", "actors/renewal", "bfactors/exchange/")):
            assert not any(map(is_of_firmware, imported(tree))), path


@pytest.mark.parametrize("names", [v201.NAMES, v21.DIALECT.names])
def test_no_purpose_and_no_realm_leads_to_the_manufacturer_s_store(names: CertificateNames) -> None:
    assert "firmware-signing" not in get_args(Realm)
    tables = (*names.store_of_realm.values(), *names.store_of_purpose.values(), *v16._STORE.values())
    assert "ManufacturerRootCertificate" not in tables
    assert all(spec.realm in get_args(Realm) for spec in purposes().values())


def test_the_two_share_no_role() -> None:
    for operation, roles in MAY.items():
        if operation.startswith("firmware_trust."):
            assert roles == {"firmware-admin"}, operation
        else:
            assert "firmware-admin" not in roles, operation
