"""Authorize by request-reply over a real server, with the roles the system uses: connect asks, core's account answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bfactors import subject
from bfactors.errors import Unavailable
from deploy.embedded import EmbeddedNats
from gateways.nats.decisions import NatsDecisions
from gateways.nats.message import Message
from tests.fakes.nats_sides import AWKWARD_NAMES, JetStreamSide, Seen, jetstream_side
from tests.patience import PATIENCE_S

QUESTION = b'{"idToken":{"idToken":"A1","type":"ISO14443"}}'


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


def decisions(side: JetStreamSide, within_s: float = 5.0) -> NatsDecisions:
    return NatsDecisions(side.connect.connection, side.connect.replies, answer_within_s=within_s)


async def test_whoever_serves_decisions_answers_and_learns_what_was_asked(side: JetStreamSide) -> None:
    asked = Seen()
    core = side.core.connection
    answering: set[asyncio.Task[None]] = set()

    def serve(message: Message) -> None:
        headers = message.headers or {}
        asked.add(message.subject, headers["Bf-Action"], headers["Bf-Message-Id"], message.payload)
        answering.add(
            asyncio.create_task(core.publish(message.reply, b"word on " + message.subject.encode()))
        )

    await core.subscribe("bf.ocpp-decision.*", serve)
    await core.flush()
    for name in AWKWARD_NAMES:
        word = await decisions(side).ask(name, "Authorize", "m 1", QUESTION)
        assert word == b"word on " + subject.ocpp_decision(name).encode()
    assert asked == [(subject.ocpp_decision(name), "Authorize", "m 1", QUESTION) for name in AWKWARD_NAMES]


async def test_where_nobody_serves_decisions_it_is_known_at_once(side: JetStreamSide) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable, match="nobody listens"):
            await decisions(side).ask("CP-1", "Authorize", "1", QUESTION)


async def test_silence_ends_within_the_time_allowed(side: JetStreamSide) -> None:
    heard = Seen()
    await side.core.connection.subscribe("bf.ocpp-decision.*", heard.add)
    await side.core.connection.flush()
    with pytest.raises(Unavailable, match="no answer"):
        await decisions(side, within_s=0.1).ask("CP-1", "Authorize", "1", QUESTION)
    assert len(heard) == 1
