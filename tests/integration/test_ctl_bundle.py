"""Bundles and families by the tool: what comes and goes is shown first, and a private key is never sent."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bfactors.errors import SettingsError
from tests.integration.ctl_world import Api, Said, Time, run, serving

Ctl = Callable[..., Awaitable[Said]]

PATH = "/api/v1/trust-anchor-bundles"
FAMILY_PATH = "/api/v1/families/volt-one"
HELD = {
    "approval_id": "approval-1",
    "content_hash": "ab" * 32,
    "expires_at": "2026-03-04T12:00:00Z",
    "state": "open",
}
FAMILY: dict[str, Any] = {
    "family": "volt-one",
    "capabilities": {
        "cannot_list": True,
        "no_ping": False,
        "max_chain_chars": None,
        "key_types": ["ec-secp256r1"],
        "network_slots": [],
    },
    "note": "bulletin 7",
    "changed_by": "operator:anna",
    "changed_at": "2026-03-01T12:00:00Z",
    "factory_anchors": [{"fingerprint_sha256": "f" * 64, "subject": "CN=Factory", "not_after": "2030-01-01"}],
    "qualification": {
        "charger_id": "CP-1",
        "firmware": "2.4.1",
        "by": "operator:anna",
        "at": "2026-02-01T12:00:00Z",
        "passed": False,
        "report": [{"step": "log-upload", "outcome": "failed", "detail": "no answer"}],
    },
}


def pem(content: bytes, label: str = "CERTIFICATE") -> str:
    text = base64.b64encode(content).decode()
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"


OLD, KEPT, NEW = (hashlib.sha256(each).hexdigest() for each in (b"old", b"kept", b"new"))


def bundle(version: int, *anchors: str, current: bool) -> dict[str, Any]:
    return {
        "bundle_id": f"b-{version}",
        "purpose": "backend_server",
        "version": version,
        "current": current,
        "cohorts": [{"cohort": "pilot", "state": "intended", "confirmed": 1, "total": 4}],
        "anchors": [
            {"fingerprint_sha256": each, "subject": f"CN={each[:4]} Root", "not_after": "2030-01-01"}
            for each in anchors
        ],
    }


@pytest.fixture
def api() -> Api:
    made = Api()
    rows = [bundle(3, NEW, current=False), bundle(2, OLD, KEPT, current=True)]
    made.says("GET", PATH, {"items": rows, "next_cursor": None})
    made.says("POST", PATH, bundle(3, KEPT, NEW, current=True), 201)
    made.says("GET", FAMILY_PATH, FAMILY)
    made.says("PUT", FAMILY_PATH, FAMILY)
    return made


@pytest.fixture
async def url(api: Api) -> AsyncIterator[str]:
    async with serving(api) as address:
        yield address


@pytest.fixture
def ctl(url: str, tmp_path: Path) -> Ctl:
    token = tmp_path / "token"
    token.write_text("the-token\n")
    return lambda *words: run(url, token, Time(), *words)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """Two files of three certificates, one of them twice."""
    (tmp_path / "a.pem").write_text("a comment\n" + pem(b"kept") + pem(b"new"))
    (tmp_path / "b.pem").write_text(pem(b"new"))
    return str(tmp_path / "a.pem"), str(tmp_path / "b.pem")


async def test_a_bundle_is_held_against_the_present_one_and_not_created(
    api: Api, ctl: Ctl, files: tuple[str, ...]
) -> None:
    said = await ctl("bundles", "create", "backend_server", *files)
    assert (said.status, api.sent("POST", PATH)) == (0, [])
    assert "2 anchors in place of 2" in said.out
    assert re.search(rf"comes +{NEW[:16]}", said.out)
    assert re.search(rf"GOES +{OLD[:16]} +CN={OLD[:4]} Root", said.out)
    body = (await ctl("bundles", "create", "backend_server", *files, "--json")).body
    assert (body["comes"], body["goes"], body["current"]) == ([NEW], [OLD], "b-2")


async def test_with_a_yes_it_is_created_of_each_certificate_once(
    api: Api, ctl: Ctl, files: tuple[str, ...]
) -> None:
    words = ("bundles", "create", "backend_server", *files, "--note", "n", "--yes")
    said = await ctl(*words)
    (sent,) = api.sent("POST", PATH)
    assert (said.status, sent["purpose"], sent["note"]) == (0, "backend_server", "n")
    assert sent["anchors"] == [pem(b"kept"), pem(b"new")]
    assert "version 3, current" in said.out
    assert "pilot: intended, 1 of 4 confirmed" in said.out
    api.answers["POST", PATH] = [(202, HELD)]
    assert (await ctl(*words)).status == 3


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pem(b"new") + pem(b"secret", "EC PRIVATE KEY"), "private key"),
        ("nothing of the kind", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "cannot be read"),
    ],
)
async def test_a_file_with_anything_but_certificates_is_not_sent(
    api: Api, ctl: Ctl, tmp_path: Path, content: str, why: str
) -> None:
    (tmp_path / "bad.pem").write_text(content)
    with pytest.raises(SettingsError, match=why):
        await ctl("bundles", "create", "backend_server", str(tmp_path / "bad.pem"), "--yes")
    assert api.sent("POST", PATH) == []


async def test_a_bundle_is_shown_with_its_anchors(api: Api, ctl: Ctl) -> None:
    api.says("GET", f"{PATH}/b-2", bundle(2, OLD, KEPT, current=True))
    assert f"CN={KEPT[:4]} Root" in (await ctl("bundles", "show", "b-2")).out


async def test_a_family_is_shown_with_how_it_was_qualified(ctl: Ctl) -> None:
    told = " ".join((await ctl("families", "show", "volt-one")).out.split())
    for part in (
        "cannot_list",
        "bulletin 7",
        "FAILED on 2026-02-01",
        "failed log-upload no answer",
        "CN=Factory",
    ):
        assert part in told, part


async def test_what_is_said_of_a_family_is_shown_first_and_keeps_the_rest(api: Api, ctl: Ctl) -> None:
    words = ("families", "set", "volt-one", "no_ping=yes", "max_chain_chars=5600", "network_slots=0,1")
    shown = await ctl(*words)
    assert (shown.status, api.sent("PUT", FAMILY_PATH)) == (0, [])
    assert "(as specified)" in shown.out
    assert "every charger of volt-one" in shown.out
    await ctl(*words, "key_types=", "assume_version=1.6", "--yes")
    assert api.sent("PUT", FAMILY_PATH) == [
        {
            "capabilities": {
                "cannot_list": True,
                "no_ping": True,
                "max_chain_chars": 5600,
                "network_slots": [0, 1],
                "assume_version": "1.6",
            },
            "note": "bulletin 7",
        }
    ]
    with pytest.raises(SettingsError, match="cannot_list"):
        await ctl("families", "set", "volt-one", "can_fly=yes")
