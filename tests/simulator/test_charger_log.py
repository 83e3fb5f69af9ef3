"""Logs: asked for, really uploaded, and told of step by step."""

from __future__ import annotations

import base64
import ssl
from dataclasses import replace
from typing import Any, Literal

import pytest

from simulator.charger import AnswersWith, ClaimsUpload, OcppVersion
from tests.simulator.central_system import CentralSystem, Payload, Seen
from tests.simulator.conftest import FAMILY, MakeCharger, Pki
from tests.simulator.log_server import LogServer


def wanted(location: str, request_id: int = 1, kind: str = "SecurityLog", **more: Any) -> Payload:
    return {"logType": kind, "requestId": request_id, "log": {"remoteLocation": location}} | more


async def statuses(csms: CentralSystem, seen: Seen, count: int) -> list[tuple[int, str]]:
    """The first so many upload statuses."""
    await csms.wait_for(lambda: len(seen.said("LogStatusNotification")) >= count)
    return [(each.get("requestId", 0), each["status"]) for each in seen.said("LogStatusNotification")]


@pytest.mark.parametrize("version", list(OcppVersion))
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_log_is_uploaded_and_every_step_is_told(
    method: Literal["PUT", "POST"], version: OcppVersion, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    family = replace(FAMILY, upload_method=method)
    charger = await make_charger(ocpp_version=version, family=family)
    seen = await csms.session("depot-1")
    await charger.initiative.tell_security_event("TamperDetectionActivated", "door")
    async with LogServer().listen() as server:
        location = f"http://user:secret@127.0.0.1:{server.port}/logs/"
        answer = await seen.call("GetLog", wanted(location, 7))
        assert answer == {"status": "Accepted", "filename": "depot-1-securitylog.log"}
        assert await statuses(csms, seen, 2) == [(7, "Uploading"), (7, "Uploaded")]
        used, path, login, text = server.uploads[0]
        assert (used, path) == (method, "/logs/depot-1-securitylog.log")
        assert base64.b64decode(login.removeprefix("Basic ")) == b"user:secret"
        assert "TamperDetectionActivated door" in text

        place = f"http://127.0.0.1:{server.port}/put?here=1"
        await seen.call("GetLog", wanted(place, 8, "DiagnosticsLog"))
        assert (await statuses(csms, seen, 4))[2:] == [(8, "Uploading"), (8, "Uploaded")]
        assert server.uploads[1][1] == "/put"
        assert "call-heard GetLog" in server.uploads[1][3]
    assert "secret" not in repr(charger.journal.recent)


async def test_an_upload_over_https_trusts_the_chargers_own_roots_only(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger()
    seen = await csms.session("depot-1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pki.leaves[0])
    async with LogServer().listen(tls) as server:
        await seen.call("GetLog", wanted(f"https://localhost:{server.port}/a"))
        assert await statuses(csms, seen, 2) == [(1, "Uploading"), (1, "Uploaded")]
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(pki.strange_leaf)
    async with LogServer().listen(stranger) as server:
        await seen.call("GetLog", wanted(f"https://localhost:{server.port}/a", 2))
        assert (await statuses(csms, seen, 4))[2:] == [(2, "Uploading"), (2, "UploadFailure")]
        assert server.uploads == []


async def test_what_goes_wrong_has_its_own_status(csms: CentralSystem, make_charger: MakeCharger) -> None:
    await make_charger()
    seen = await csms.session("depot-1")
    async with LogServer().listen() as server:
        base = f"http://127.0.0.1:{server.port}"
        for number, (location, answered, status) in enumerate(
            (
                ("ftp://host/x", 0, "NotSupportedOperation"),
                ("http://", 0, "BadMessage"),
                (base, 403, "PermissionDenied"),
                (base, 302, "UploadFailure"),
                (base, 500, "UploadFailure"),
            ),
            1,
        ):
            server.statuses = [answered] if answered else []
            await seen.call("GetLog", wanted(location, number))
            assert (await statuses(csms, seen, 2 * number))[-1] == (number, status)
        assert len(server.uploads) == 3
        server.statuses = [500, 500]
        await seen.call("GetLog", wanted(base, 9, retries=2, retryInterval=0))
        assert (await statuses(csms, seen, 12))[-1] == (9, "Uploaded")
        assert len(server.uploads) == 6


@pytest.mark.parametrize("version", list(OcppVersion))
async def test_a_second_request_ends_the_first(
    version: OcppVersion, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(ocpp_version=version)
    seen = await csms.session("depot-1")
    async with LogServer().listen() as server:
        server.open.clear()
        place = f"http://127.0.0.1:{server.port}/a"
        assert (await seen.call("GetLog", wanted(place, 1)))["status"] == "Accepted"
        await csms.wait_for(lambda: seen.said("LogStatusNotification"))
        await server.arrived.wait()
        trigger = "ExtendedTriggerMessage" if version is OcppVersion.V16 else "TriggerMessage"
        await seen.call(trigger, {"requestedMessage": "LogStatusNotification"})
        assert (await statuses(csms, seen, 2))[1] == (1, "Uploading")
        assert (await seen.call("GetLog", wanted(place, 2)))["status"] == "AcceptedCanceled"
        server.open.set()
        cancelled = [] if version is OcppVersion.V16 else [(1, "AcceptedCanceled")]
        count = 4 + len(cancelled)
        assert (await statuses(csms, seen, count))[2:] == [*cancelled, (2, "Uploading"), (2, "Uploaded")]


async def test_an_upload_outlives_its_connection(csms: CentralSystem, make_charger: MakeCharger) -> None:
    charger = await make_charger()
    seen = await csms.session("depot-1")
    async with LogServer().listen() as server:
        server.open.clear()
        await seen.call("GetLog", wanted(f"http://127.0.0.1:{server.port}/a"))
        await server.arrived.wait()
        charger.cut()
        await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
        server.open.set()
        again = await csms.session("depot-1")
        assert await statuses(csms, again, 1) == [(1, "Uploaded")]


async def test_uploaded_may_be_a_lie_and_a_log_refused(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    await make_charger(faults=(AnswersWith("GetLog", "Rejected", times=1), ClaimsUpload()))
    seen = await csms.session("depot-1")
    async with LogServer().listen() as server:
        location = f"http://127.0.0.1:{server.port}/a"
        assert await seen.call("GetLog", wanted(location)) == {"status": "Rejected"}
        assert (await seen.call("GetLog", wanted(location, 2)))["status"] == "Accepted"
        assert await statuses(csms, seen, 2) == [(2, "Uploading"), (2, "Uploaded")]
        assert server.uploads == []
