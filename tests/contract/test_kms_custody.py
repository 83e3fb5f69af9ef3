"""Sealing keys from KMS, through a real AWS client against a stand-in that wraps and checks as the service's model says."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from bfactors.disclosed import Disclosed
from bfactors.errors import LedgerCorrupt, Unavailable
from bfactors.ports import KeyCustody
from bfactors.secret import SecretName
from gateways.ca.aws_session import AwsClients, AwsSettings
from gateways.kms import KmsCustody
from persistence.role import WRITER
from persistence.secret import PostgresSecretStore
from tests.conftest import FreshDatabase

pytest_plugins = ("tests.fakes.ledger_database",)

OURS = "arn:aws:kms:eu-central-1:111122223333:key/ours"
EARLIER = "arn:aws:kms:eu-central-1:111122223333:key/earlier"
STRANGERS = "arn:aws:kms:eu-central-1:999999999999:key/strangers"


class KmsStandIn:
    """GenerateDataKey and Decrypt over AWS's JSON protocol. A wrapped key opens only under its key and context."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal: str | None = None
        self._wrapped: dict[str, tuple[str, str, object]] = {}

    async def answer(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].removeprefix("TrentService.")
        body: dict[str, Any] = json.loads(await request.text())
        self.asked.append(operation)
        if self.refusal is not None:
            return self._refused(self.refusal)
        if operation == "GenerateDataKey":
            key = base64.b64encode(os.urandom(body["NumberOfBytes"])).decode()
            blob = base64.b64encode(b"wrapped" + os.urandom(16)).decode()
            self._wrapped[blob] = (key, body["KeyId"], body["EncryptionContext"])
            return self._said(KeyId=body["KeyId"], Plaintext=key, CiphertextBlob=blob)
        found = self._wrapped.get(body["CiphertextBlob"])
        if found is None or found[2] != body.get("EncryptionContext"):
            return self._refused("InvalidCiphertextException")
        if found[1] != body["KeyId"]:
            return self._refused("IncorrectKeyException")
        return self._said(KeyId=found[1], Plaintext=found[0])

    def _said(self, **answer: object) -> web.Response:
        return web.json_response(answer, content_type="application/x-amz-json-1.1")

    def _refused(self, code: str) -> web.Response:
        answer = {"__type": code, "message": "no"}
        return web.json_response(answer, status=400, content_type="application/x-amz-json-1.1")


@pytest.fixture
def kms() -> KmsStandIn:
    return KmsStandIn()


@pytest.fixture
async def client(kms: KmsStandIn) -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_post("/", kms.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    clients = AwsClients(
        AwsSettings(
            region="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            access_key_id="test",
            secret_access_key="test",
        )
    )
    yield await clients.open("kms")
    await clients.close()
    await runner.cleanup()


async def test_a_data_key_of_32_bytes_opens_again_as_it_was_made(client: Any) -> None:
    custody: KeyCustody = KmsCustody(client, OURS)
    made = await custody.sealing_key()
    assert (made.key_id, len(made.key)) == (OURS, 32)
    assert made.key not in made.wrapped
    assert await custody.opening_key(made.key_id, made.wrapped) == made
    assert (await custody.sealing_key()).key != made.key


async def test_an_earlier_key_opens_and_no_longer_seals(client: Any) -> None:
    made = await KmsCustody(client, EARLIER).sealing_key()
    custody = KmsCustody(client, OURS, (EARLIER,))
    assert await custody.opening_key(EARLIER, made.wrapped) == made
    assert (await custody.sealing_key()).key_id == OURS


async def test_a_strangers_key_is_not_even_asked_for(client: Any, kms: KmsStandIn) -> None:
    made = await KmsCustody(client, STRANGERS).sealing_key()
    kms.asked.clear()
    with pytest.raises(Unavailable, match="not among"):
        await KmsCustody(client, OURS).opening_key(STRANGERS, made.wrapped)
    assert kms.asked == []


async def test_a_data_key_wrapped_otherwise_is_corrupt(client: Any) -> None:
    made = await KmsCustody(client, EARLIER).sealing_key()
    custody = KmsCustody(client, OURS, (EARLIER,))
    for key_id, wrapped in ((OURS, made.wrapped), (EARLIER, b"other" + made.wrapped)):
        with pytest.raises(LedgerCorrupt):
            await custody.opening_key(key_id, wrapped)
    foreign_use = await client.generate_data_key(
        KeyId=OURS, NumberOfBytes=32, EncryptionContext={"system": "betterfleet", "use": "other"}
    )
    with pytest.raises(LedgerCorrupt):
        await custody.opening_key(OURS, foreign_use["CiphertextBlob"])


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", "DisabledException"])
async def test_what_kms_refuses_is_unavailable_and_asked_once(
    client: Any, kms: KmsStandIn, code: str
) -> None:
    kms.refusal = code
    custody = KmsCustody(client, OURS)
    with pytest.raises(Unavailable, match=code):
        await custody.sealing_key()
    with pytest.raises(Unavailable, match=code):
        await custody.opening_key(OURS, b"wrapped")
    assert kms.asked == ["GenerateDataKey", "Decrypt"]


async def test_kms_that_cannot_be_reached_is_unavailable() -> None:
    clients = AwsClients(
        AwsSettings(
            region="eu-central-1",
            endpoint_url="http://127.0.0.1:1",
            access_key_id="test",
            secret_access_key="test",
        )
    )
    with pytest.raises(Unavailable, match="AWS KMS"):
        await KmsCustody(await clients.open("kms"), OURS).sealing_key()
    await clients.close()


async def test_a_secret_is_sealed_and_opened_through_kms(
    client: Any, kms: KmsStandIn, emptied_ledger_database: FreshDatabase
) -> None:
    store = await PostgresSecretStore.reach(
        emptied_ledger_database.dsn(WRITER), KmsCustody(client, OURS), size=1
    )
    name = SecretName(secret_id="s1", purpose="authorization-key", charger_id="CP1")
    await store.put(name, Disclosed(b"a secret"), None)
    assert await store.reseal("s1", None)
    opened = await store.open("s1")
    assert opened is not None
    assert opened.disclosed == Disclosed(b"a secret")
    kms.refusal = "ThrottlingException"
    with pytest.raises(Unavailable):
        await store.reseal("s1", None)
    with pytest.raises(Unavailable):
        await store.open("s1")
    kms.refusal = None
    assert await store.open("s1") is not None
    await store.close()
