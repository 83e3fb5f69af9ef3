"""Who is told of what, over the API: addresses go in and never come out again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bfactors.notice import SealedTarget, Subscription
from tests.integration.admin_world import AdminWorld

PATH = "/api/v1/notification-subscriptions"
HOOK = {"address": "https://hooks.example.com/T/secret-path", "role": "pki-admin"}


class Desk:
    """The desk without a database: what was sealed, kept, forgotten."""

    def __init__(self) -> None:
        self.sealed: dict[str, SealedTarget] = {}
        self.kept: set[str] = set()
        self.error: str | None = None

    def target_of(self, address: str) -> str | None:
        if "://" in address:
            return None if "10.0.0.1" in address else address.split("/")[2]
        return address.rpartition("@")[2]

    async def seal(self, secret_id: str, target: SealedTarget) -> bool:
        return self.sealed.setdefault(secret_id, target) is target

    async def keep(self, secret_id: str) -> None:
        self.kept.add(secret_id)

    async def forget(self, secret_id: str) -> None:
        del self.sealed[secret_id]

    async def test(self, subscription: Subscription) -> str | None:
        return self.error


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld(notifications=Desk()).served() as world:
        yield world


def desk(world: AdminWorld) -> Desk:
    found = world.dependencies.notifications
    assert isinstance(found, Desk)
    return found


async def test_an_address_is_sealed_and_only_its_host_is_shown(world: AdminWorld) -> None:
    made = await world.ask("POST", PATH, HOOK | {"cohorts": ["north"], "kinds": ["csr-refused"]})
    assert made.status == 201
    key = made.body.pop("signing_key")
    ((secret_id, sealed),) = desk(world).sealed.items()
    assert sealed == SealedTarget(address=HOOK["address"], signing_key=key)
    assert desk(world).kept == {secret_id}
    listed = await world.ask("GET", PATH, role="auditor")
    assert listed.body["items"] == [made.body]
    assert made.body == {
        "subscription_id": made.body["subscription_id"],
        "channel": "webhook",
        "target": "hooks.example.com",
        "role": "pki-admin",
        "least_severity": "warning",
        "kinds": ["csr-refused"],
        "cohorts": ["north"],
        "since": made.body["since"],
    }
    recorded = str(world.store.events) + str(world.store.aggregates) + str(world.door.asked)
    assert "secret-path" not in recorded
    assert key not in recorded


async def test_a_repeated_request_is_one_subscription_and_shows_no_key(world: AdminWorld) -> None:
    first = await world.ask("POST", PATH, HOOK, key="once")
    again = await world.ask("POST", PATH, HOOK, key="once")
    assert (again.status, again.body["subscription_id"]) == (201, first.body["subscription_id"])
    assert again.body["key_shown"] is True
    assert "signing_key" not in again.body
    other = await world.ask("POST", PATH, HOOK | {"address": "ada@depot.example"}, key="once")
    assert other.status == 422
    assert len((await world.ask("GET", PATH)).body["items"]) == 1


async def test_an_e_mail_address_has_no_signing_key(world: AdminWorld) -> None:
    made = await world.ask("POST", PATH, {"address": "ada@depot.example", "role": "operator"})
    assert (made.body["channel"], made.body["target"]) == ("email", "depot.example")
    assert "signing_key" not in made.body


async def test_removing_one_forgets_its_address(world: AdminWorld) -> None:
    made = await world.ask("POST", PATH, HOOK)
    path = f"{PATH}/{made.body['subscription_id']}/remove"
    assert (await world.ask("POST", path, {"reason": "moved"})).status == 200
    assert desk(world).sealed == {}
    assert (await world.ask("GET", PATH)).body["items"] == []
    assert (await world.ask("POST", path, {"reason": "moved"})).status == 404


async def test_a_trial_says_what_went_wrong(world: AdminWorld) -> None:
    made = await world.ask("POST", PATH, HOOK)
    path = f"{PATH}/{made.body['subscription_id']}/test"
    assert (await world.ask("POST", path)).body == {"outcome": "delivered", "error": None}
    desk(world).error = "timeout: no answer within 10 s"
    assert (await world.ask("POST", path)).body["outcome"] == "failed"
    assert (await world.ask("POST", f"{PATH}/nobody/test")).status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"address": "ftp://x.example"}, "address"),
        ({"address": "https://10.0.0.1/hook"}, "address"),
        ({"address": "ada@depot.example\n"}, "address"),
        ({"address": "ada"}, "address"),
        ({"role": "king"}, "role"),
        ({"kinds": ["gossip"]}, "kinds[0]"),
        ({"least_severity": "mild"}, "least_severity"),
        ({"cohorts": ["x"] * 65}, "cohorts"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_field(
    world: AdminWorld, change: dict[str, Any], field: str
) -> None:
    refused = await world.ask("POST", PATH, HOOK | change)
    assert (refused.status, refused.fields) == (422, [field])
    assert desk(world).sealed == {}
