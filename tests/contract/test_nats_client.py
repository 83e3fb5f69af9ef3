"""The shorter way through the client library says and hears the same as the library's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bfactors.errors import Unavailable
from bfactors.subject import instruction
from deploy.embedded import EmbeddedNats
from gateways.nats.client import LeanClient
from gateways.nats.connection import NatsConnection
from gateways.nats.message import Message
from tests.fakes.nats_sides import jetstream_side
from tests.patience import PATIENCE_S

MANY = 300


@pytest.fixture
async def connection(nats_server: EmbeddedNats) -> AsyncIterator[NatsConnection]:
    async with jetstream_side(nats_server) as side:
        yield side.core.connection


class Inbox:
    """Collects what arrives until there is enough of it."""

    def __init__(self, wanted: int) -> None:
        self.messages: list[Message] = []
        self._wanted = wanted
        self._full = asyncio.Event()

    def take(self, message: Message) -> None:
        self.messages.append(message)
        if len(self.messages) >= self._wanted:
            self._full.set()

    async def full(self) -> list[Message]:
        async with asyncio.timeout(PATIENCE_S):
            await self._full.wait()
        return self.messages


def subject_of(connection: NatsConnection, name: str) -> str:
    return f"{connection.settings.inbox_prefix}.{name}"


async def test_messages_of_every_form_arrive_whole_and_in_order(connection: NatsConnection) -> None:
    inbox = Inbox(MANY)
    subject = subject_of(connection, "form.*")
    await connection.subscribe(subject, inbox.take)
    sent = []
    for number in range(MANY):
        headers = {0: None, 1: {"Nats-Msg-Id": f"3:{number}"}, 2: {"Name": "Zoë\r\nEvil: 1"}}[number % 3]
        payload = b"\x00\r\nPUB x 0\r\n" * (number % 7)
        sent.append((f"{connection.settings.inbox_prefix}.form.{number}", payload, headers))
        await connection.publish(*sent[-1][:2], headers=headers)
    for message, (name, payload, headers) in zip(await inbox.full(), sent, strict=True):
        assert (message.subject, message.payload, message.reply) == (name, payload, "")
        if headers is None:
            assert message.headers is None
        elif "Name" in headers:  # the library takes line breaks out of values
            assert message.headers is not None
            assert set(message.headers) == {"Name"}
            assert message.headers["Name"].startswith("Zoë")
        else:
            assert message.headers == headers


async def test_a_header_cannot_smuggle_a_command(connection: NatsConnection) -> None:
    inbox = Inbox(1)
    smuggled = subject_of(connection, "smuggled")
    await connection.subscribe(smuggled, inbox.take)
    for headers in ({"A": f"1\r\n\r\n\r\nPUB {smuggled} 1\r\nx"}, {f"A\r\nPUB {smuggled} 0": "1"}):
        with contextlib.suppress(Unavailable):  # the library refuses the name
            await connection.publish(subject_of(connection, "other"), b"", headers=headers)
    await connection.publish(smuggled, b"the only one")
    assert [message.payload for message in await inbox.full()] == [b"the only one"]


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0", "a\tb"])
async def test_a_subject_that_is_none_is_refused(connection: NatsConnection, subject: str) -> None:
    with pytest.raises(Unavailable):
        await connection.publish(subject, b"x")
    with pytest.raises(Unavailable):
        await connection.publish("bf.fine", b"x", "re ply")


async def test_more_than_the_server_takes_is_refused_before_it_leaves(connection: NatsConnection) -> None:
    with pytest.raises(Unavailable):
        await connection.publish("bf.fine", b"x" * (connection.max_payload_bytes + 1))
    assert connection.healthy


async def test_an_inline_status_is_heard(connection: NatsConnection) -> None:
    inbox = Inbox(1)
    reply = subject_of(connection, "status")
    await connection.subscribe(reply, inbox.take)
    await connection.publish(instruction("nobody", "s"), b"{}", reply)
    (message,) = await inbox.full()
    assert message.nobody_listens


async def test_a_listener_that_fails_keeps_hearing(connection: NatsConnection) -> None:
    inbox = Inbox(2)

    def deliver(message: Message) -> None:
        inbox.take(message)
        raise ValueError("a bad message")

    subject = subject_of(connection, "bad")
    await connection.subscribe(subject, deliver)
    await connection.publish(subject, b"1")
    await connection.publish(subject, b"2")
    assert [message.payload for message in await inbox.full()] == [b"1", b"2"]
    assert connection.healthy


async def test_the_answer_to_a_flush_that_was_given_up_breaks_nothing() -> None:
    client = LeanClient()
    given_up, awaited = (asyncio.get_running_loop().create_future() for _ in range(2))
    given_up.cancel()
    client._pongs += [given_up, awaited]
    await client._process_pong()
    await client._process_pong()
    assert awaited.result() is True
    assert client._pongs == []
