"""Secrets over a real server, with the roles the system uses: connect asks by reference, core opens what is the charger's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
import pytest

from bfactors import subject
from bfactors.disclosed import Disclosed
from bfactors.errors import LedgerCorrupt, Unavailable
from bfactors.ports import SecretSource, SecretStore
from bfactors.secret import OpenedSecret, SecretName
from deploy.embedded import EmbeddedNats
from deploy.role.core_secret import CoreSecrets
from gateways.nats.layout import NatsLayout
from gateways.nats.message import Message
from gateways.nats.secret import NatsSecretDoor, NatsSecrets, SecretAnswer, SecretQuestion
from tests.fakes.nats_sides import AWKWARD_NAMES, JetStreamSide, Seen, jetstream_side, open_gateway
from tests.patience import PATIENCE_S

KEY = Disclosed(b"8f3a1cd95b6e02f7c4a19d37e8506b2c")


class ListedSecrets:
    """A `SecretStore` in memory; `fault` is raised by whatever asks."""

    def __init__(self) -> None:
        self.secrets: dict[str, OpenedSecret] = {}
        self.opened = Seen()
        self.swept = Seen()
        self.fault: Exception | None = None
        self.hold: asyncio.Event | None = None

    async def put(self, name: SecretName, disclosed: Disclosed, expires_at: datetime | None) -> bool:
        self.secrets.setdefault(name.secret_id, OpenedSecret(name, disclosed))
        return True

    async def open(self, secret_id: str) -> OpenedSecret | None:
        self.opened.add(secret_id)
        if self.hold is not None:
            await self.hold.wait()
        if self.fault is not None:
            raise self.fault
        return self.secrets.get(secret_id)

    async def reseal(self, secret_id: str, expires_at: datetime | None) -> bool:
        return secret_id in self.secrets

    async def delete(self, secret_id: str) -> bool:
        return self.secrets.pop(secret_id, None) is not None

    async def expire(self) -> int:
        self.swept.add("swept")
        if self.fault is not None:
            raise self.fault
        return 2


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


@pytest.fixture
async def store() -> ListedSecrets:
    listed = ListedSecrets()
    port: SecretStore = listed
    await port.put(
        SecretName(secret_id="s1", purpose="authorization-key", charger_id="CP.1", generation=2), KEY, None
    )
    return listed


@pytest.fixture
async def door(side: JetStreamSide, store: ListedSecrets) -> AsyncIterator[NatsSecretDoor]:
    opened = NatsSecretDoor(side.core.connection, store)
    await opened.start()
    await side.core.connection.flush()
    yield opened
    await opened.stop()


def source(side: JetStreamSide, within_s: float = 5.0) -> SecretSource:
    return NatsSecrets(side.connect.connection, side.connect.replies, answer_within_s=within_s)


# ---------------------------------------------------------------- what connect is told


@pytest.mark.usefixtures("door")
async def test_connect_fetches_a_secret_as_often_as_it_sends_it(
    side: JetStreamSide, store: ListedSecrets
) -> None:
    for session_id in ("session 1", "session 1", "session 2"):
        assert await source(side).fetch("s1", "CP.1", session_id) == KEY
    assert await source(side).fetch("s1", "CP.1", "session 2", generation=2) == KEY
    assert store.opened == ["s1"] * 4  # kept nowhere in between


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("name", AWKWARD_NAMES)
async def test_no_name_is_read_as_structure(side: JetStreamSide, store: ListedSecrets, name: str) -> None:
    await store.put(SecretName(secret_id=name, purpose="p", charger_id=name), Disclosed(b"\x00\xff"), None)
    assert await source(side).fetch(name, name, "s") == Disclosed(b"\x00\xff")


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("secret_id", "charger_id", "generation"),
    [
        ("s1", "CP.2", None),
        ("s1", "CP.2", 2),
        ("s1", "", None),
        ("s1", "cp.1", None),
        ("s1", "CP.1", 1),
        ("s1", "CP.1", 3),
        ("unknown", "CP.1", None),
        ("nobodys", "", None),
    ],
)
async def test_what_is_not_this_chargers_is_gone_for_it(
    side: JetStreamSide, store: ListedSecrets, secret_id: str, charger_id: str, generation: int | None
) -> None:
    await store.put(SecretName(secret_id="nobodys", purpose="webhook", charger_id=""), KEY, None)
    assert await source(side).fetch(secret_id, charger_id, "s", generation) is None


@pytest.mark.usefixtures("door")
async def test_a_settled_secret_is_gone(side: JetStreamSide, store: ListedSecrets) -> None:
    await store.delete("s1")
    assert await source(side).fetch("s1", "CP.1", "s") is None


# ---------------------------------------------------------------- away


async def test_without_a_core_it_is_known_at_once(side: JetStreamSide) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable, match="nobody listens"):
            await source(side).fetch("s1", "CP.1", "s")


async def test_a_core_that_left_answers_nobody(side: JetStreamSide, store: ListedSecrets) -> None:
    door = NatsSecretDoor(side.core.connection, store)
    await door.start()
    await side.core.connection.flush()
    assert await source(side).fetch("s1", "CP.1", "s") == KEY
    await door.stop()
    await side.core.connection.flush()
    with pytest.raises(Unavailable, match="nobody listens"):
        await source(side).fetch("s1", "CP.1", "s")


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    "fault", [Unavailable("postgres"), LedgerCorrupt("not as it was sealed"), RuntimeError("a bug")]
)
async def test_a_core_that_cannot_open_says_nothing_rather_than_gone(
    side: JetStreamSide, store: ListedSecrets, fault: Exception
) -> None:
    store.fault = fault
    with pytest.raises(Unavailable, match="no answer"):
        await source(side, within_s=0.2).fetch("s1", "CP.1", "s")
    store.fault = None
    assert await source(side).fetch("s1", "CP.1", "s") == KEY


async def test_of_two_cores_the_one_that_can_open_is_heard(
    nats_server: EmbeddedNats, side: JetStreamSide, store: ListedSecrets
) -> None:
    other, blind = await open_gateway(nats_server, "core"), ListedSecrets()
    blind.fault = Unavailable("the sealing key k1")
    doors = [NatsSecretDoor(side.core.connection, store), NatsSecretDoor(other.connection, blind)]
    for door in doors:
        await door.start()
    for gateway in (side.core, other):
        await gateway.connection.flush()
    for _ in range(5):
        assert await source(side).fetch("s1", "CP.1", "s") == KEY
    await blind.opened.until_count(5)
    for door in doors:
        await door.stop()
    await other.close()


async def test_questions_beyond_the_bound_are_left_for_another_time(
    side: JetStreamSide, store: ListedSecrets
) -> None:
    store.hold = asyncio.Event()
    door = NatsSecretDoor(side.core.connection, store, handled_at_once=2)
    await door.start()
    await side.core.connection.flush()
    waiting = [asyncio.create_task(source(side).fetch("s1", "CP.1", f"{n}")) for n in range(2)]
    await store.opened.until_count(2)
    with pytest.raises(Unavailable, match="no answer"):
        await source(side, within_s=0.2).fetch("s1", "CP.1", "third")
    store.hold.set()
    assert await asyncio.gather(*waiting) == [KEY, KEY]
    assert store.opened == ["s1", "s1"]
    await door.stop()


async def test_core_closes_its_door_while_it_opens_a_secret(
    side: JetStreamSide, store: ListedSecrets
) -> None:
    store.hold = asyncio.Event()
    door = NatsSecretDoor(side.core.connection, store)
    await door.start()
    await side.core.connection.flush()
    asking = asyncio.create_task(source(side, within_s=0.5).fetch("s1", "CP.1", "s"))
    await store.opened.until_count(1)
    async with asyncio.timeout(PATIENCE_S):
        await door.stop()
    with pytest.raises(Unavailable):
        await asking


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff\xfe",
        msgspec.json.encode(
            SecretQuestion("s1", "CP.1", "s")
        ),  # a body that names another secret than the subject
    ],
)
async def test_what_is_no_question_is_not_answered(
    side: JetStreamSide, store: ListedSecrets, payload: bytes
) -> None:
    with pytest.raises(Unavailable):
        await side.connect.replies.request(subject.secret("s2"), payload, 0.1)
    assert store.opened == []
    assert await source(side).fetch("s1", "CP.1", "s") == KEY


async def test_an_answer_that_cannot_be_read_is_no_secret(side: JetStreamSide) -> None:
    answering: set[asyncio.Task[None]] = set()

    def serve(message: Message) -> None:
        answering.add(
            asyncio.create_task(side.core.connection.publish(message.reply, b'{"value":"%%not base64 "}'))
        )

    await side.core.connection.subscribe(subject.SECRET_FILTER, serve)
    await side.core.connection.flush()
    with pytest.raises(Unavailable, match="could not be read") as raised:
        await source(side).fetch("s1", "CP.1", "s")
    assert raised.value.__cause__ is None


# ---------------------------------------------------------------- who may


async def test_connect_can_neither_listen_for_questions_nor_answer_them(
    side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    overheard = Seen()
    listening = await side.connect.connection.subscribe(subject.SECRET_FILTER, overheard.add)
    await side.connect.connection.flush()
    assert 'subscription to "bf.secret.*"' in caplog.text.lower()
    with pytest.raises(Unavailable, match="nobody listens"):
        await source(side).fetch("s1", "CP.1", "s")
    asked = Seen()
    await side.core.connection.subscribe(subject.SECRET_FILTER, asked.add)
    await side.core.connection.flush()
    asking = asyncio.create_task(source(side, within_s=0.3).fetch("s1", "CP.1", "s"))
    await asked.until_count(1)
    question = asked[0]
    assert isinstance(question, Message)
    forged = msgspec.json.encode(SecretAnswer(b"forged"))
    await side.connect.connection.publish(question.reply, forged)
    await side.connect.connection.publish(f"_INBOX_connect.{question.reply}", forged)
    await side.connect.connection.flush()
    with pytest.raises(Unavailable, match="no answer"):
        await asking
    assert overheard == []
    await side.connect.connection.unsubscribe(listening)


async def test_the_observer_can_neither_ask_nor_listen(
    nats_server: EmbeddedNats,
    side: JetStreamSide,
    door: NatsSecretDoor,
    store: ListedSecrets,
    caplog: pytest.LogCaptureFixture,
) -> None:
    observer = await open_gateway(nats_server, "observer")
    overheard = Seen()
    await observer.connection.subscribe(subject.SECRET_FILTER, overheard.add)
    with pytest.raises(Unavailable):
        await NatsSecrets(observer.connection, observer.replies, answer_within_s=0.2).fetch("s1", "CP.1", "s")
    assert "permissions violation" in caplog.text.lower()
    assert store.opened == []
    assert await source(side).fetch("s1", "CP.1", "s") == KEY
    assert overheard == []
    await observer.close()


def test_no_stream_keeps_questions_or_answers() -> None:
    subjects = [each for stream in NatsLayout().streams() for each in stream["subjects"]]
    assert subjects
    assert not [each for each in subjects if each.startswith(("bf.secret", "_INBOX", "bf.>", ">", "*"))]


@pytest.mark.usefixtures("door")
async def test_no_log_and_no_stream_holds_what_was_fetched(
    side: JetStreamSide, store: ListedSecrets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert await source(side).fetch("s1", "CP.1", "session-7") == KEY
    assert await source(side).fetch("s1", "CP.2", "session-8") is None
    assert "secret s1 went to charger CP.1, session session-7" in caplog.text
    assert "secret s1 was refused to charger CP.2, session session-8" in caplog.text
    encoded = msgspec.json.encode(SecretAnswer(KEY.value)).decode()
    for text in (KEY.value.decode(), encoded, msgspec.json.decode(encoded)["value"]):
        assert text not in caplog.text
    assert KEY.value.decode() not in repr(SecretAnswer(KEY.value))
    answer = await side.core.replies.request("$JS.API.STREAM.NAMES", b"", 5)
    for name in msgspec.json.decode(answer.payload)["streams"]:
        info = await side.core.replies.request(f"$JS.API.STREAM.INFO.{name}", b"", 5)
        assert msgspec.json.decode(info.payload)["state"]["messages"] == 0


# ---------------------------------------------------------------- core's part


async def test_core_answers_and_sweeps_and_outlives_a_database_that_is_away(
    side: JetStreamSide, store: ListedSecrets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.fault = Unavailable("postgres")
    core = CoreSecrets(side.core.connection, store, swept_every_s=0)
    await core.start()
    await side.core.connection.flush()
    await store.swept.until_count(2)
    assert "not swept yet" in caplog.text
    store.fault = None
    swept = len(store.swept)
    await store.swept.until_count(swept + 2)
    assert "2 secrets past their time were deleted" in caplog.text
    assert await source(side).fetch("s1", "CP.1", "s") == KEY
    await core.stop()
    with pytest.raises(Unavailable):
        await source(side, within_s=0.2).fetch("s1", "CP.1", "s")


@pytest.mark.usefixtures("door")
async def test_secrets_are_fetched_from_another_lane(side: JetStreamSide) -> None:
    def elsewhere() -> Disclosed | None:
        return asyncio.run(source(side).fetch("s1", "CP.1", "s"))

    assert await asyncio.to_thread(elsewhere) == KEY
