"""The admin API does what its own description says: random requests, valid and invalid, against the served application."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, CheckFunction, Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateways.admin.app import described_routes
from gateways.admin.idempotency import key_problem
from gateways.admin.openapi import document
from tests.core import pki
from tests.core.world import World as CoreWorld
from tests.integration.admin_world import JOB, AdminWorld, token_of

STREAM = "/api/v1/events"
FILE = "/api/v1/imports"
"""Takes a file; tests/integration/test_admin_import.py sends it what is none."""
DOCUMENT = document(described_routes(AdminWorld().dependencies), "0.1.0")
KEYS, TURNS = itertools.count(), itertools.count()
KNOWN = {
    "charger_id": "CP-1",
    "purpose": "backend_server",
    "kind": "cohort",
    "name": "canary",
    "scope": "purpose:charging_station",
}
"""Names in paths that exist; the others are added when they have been made."""
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


REFUSED_FOR_THEIR_MEANING = {
    "invalid-cursor": {"cursor"},
    "unknown-purpose": {"purpose", "selector.purpose"},
    "wrong-identity": {"purpose", "external_ids", "charger_id", "cohort"},
    "invalid-identifier": {"external_ids", "vin", "emaid", "pcid", "evse_id", "secc_id", "host_name"},
    "charger-missing": {"charger_id"},
    "retention-out-of-range": {"days"},
    "malformed-certificate": {"anchors", "chain_pem"},
    "unfit-key": {"key"},
    "end-missing": {"ends_at"},
    "end-out-of-range": {"ends_at"},
    "contradiction": {
        "validity_days",
        "renew_before_days",
        "escalate_before_days",
        "blackout_hours",
        "approvals_needed",
        "shortest_validity_days",
        "revocation_reason",
        *("rule", "value"),
    },
    "purpose-cannot": {"mode", "extended_key_usage"},
    "selector-too-wide": {"selector"},
    "realm-rule": {"validity_days", "key_algorithms", "rule", "value"},
    "authority-cannot": {"validity_days", "authority"},
    "family-cannot": {"key_algorithms", "confirm_rung"},
    # characters no schema can name; two fields that must fit each other
    "invalid-value": {
        *("charger_id", "serial_number"),
        *(
            "target_profile",
            "purpose",
            "target_security_profile",
            "managed_identity_id",
            "revocation_reason",
            *("replace", "delete"),
            "latest",
        ),
        *("fingerprint_sha256", "reported_ref", "until", "value"),
        *("authorization_key", "security_profile", "selector", "percent"),
    },
}
"""What only the fleet's state or two fields together can tell, by problem code: the fields that may be named."""


def is_refused_for_its_meaning(response: Response) -> bool:
    if response.status_code != 422:
        return False
    problem = response.json()
    if any("NUL" in error["message"] for error in problem["errors"]):
        return True  # in an object that may hold anything, no schema can say so
    if any(error["message"].endswith("got `float`") for error in problem["errors"]):
        return True  # 90.0, which JSON Schema calls an integer
    fields = {error["field"].partition("[")[0] for error in problem["errors"]}
    return bool(fields) and fields <= REFUSED_FOR_THEIR_MEANING.get(problem["code"], set())


@pytest.fixture(scope="module")
def served() -> Iterator[AdminWorld]:
    """An API with a charger on profile 3, its certificate, a job and bundles, on a thread of its own."""
    world = AdminWorld()
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with world.served():
            await world.bundle([pki.ca("Server").root_pem])
            await world.bundle([pki.ca().root_pem, pki.ca("Server").root_pem])
            core = CoreWorld()
            KNOWN["certificate_id"] = core.to_active().certificate_id
            await world.adopt(core)
            job = await world.ask("POST", "/api/v1/jobs", JOB | {"action": "renew"})
            KNOWN["job_id"] = job.body["job_id"]
            bundles = await world.ask("GET", "/api/v1/trust-anchor-bundles")
            KNOWN["bundle_id"] = bundles.body["items"][0]["bundle_id"]
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    try:
        assert ready.wait(10)
        yield world
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive()
        loop.close()


@SCHEMA.exclude(path=[STREAM, FILE]).parametrize()
@settings(
    max_examples=16,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_is_answered_otherwise_than_described(case: Case[Any], served: AdminWorld) -> None:
    if "Idempotency-Key" in case.headers and key_problem(case.headers["Idempotency-Key"]) is None:
        case.headers["Idempotency-Key"] = (
            f"key-{next(KEYS)}"  # else a second body under one key is rightly refused
        )
    if case.meta is not None and case.meta.generation.mode.is_positive and next(TURNS) % 4:
        case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters if name in KNOWN})
    response = case.call(
        base_url=served.server.url, headers={"Authorization": f"Bearer {token_of('pki-admin')}"}, timeout=10
    )
    excluded: list[CheckFunction] = [positive_data_acceptance] if is_refused_for_its_meaning(response) else []
    case.validate_response(response, excluded_checks=excluded)
