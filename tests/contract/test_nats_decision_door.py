"""Core's answers about certificates over a real server, with the roles the system uses: connect asks, one core answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bfactors.errors import Unavailable
from deploy.embedded import EmbeddedNats
from gateways.nats.decision_door import Answer, NatsDecisionDoor
from gateways.nats.decisions import NatsDecisions
from tests.fakes.nats_sides import AWKWARD_NAMES, JetStreamSide, Seen, jetstream_side
from tests.patience import PATIENCE_S

STATUS = "GetCertificateStatus"


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


async def opened(side: JetStreamSide, answers: dict[str, Answer], **bounds: int) -> NatsDecisionDoor:
    door = NatsDecisionDoor(side.core.connection, answers, **bounds)
    await door.start()
    await side.core.connection.flush()
    return door


def decisions(side: JetStreamSide, within_s: float = 5.0) -> NatsDecisions:
    return NatsDecisions(side.connect.connection, side.connect.replies, answer_within_s=within_s)


async def test_a_question_about_a_certificate_is_answered_by_one_core(side: JetStreamSide) -> None:
    heard = Seen()

    async def answer(question: bytes) -> bytes:
        heard.add(question)
        return b"answer to " + question

    doors = [await opened(side, {STATUS: answer}) for _ in range(2)]
    for number, name in enumerate(AWKWARD_NAMES):
        question = b"%d" % number
        assert await decisions(side).ask(name, STATUS, "1", question) == b"answer to " + question
    assert len(heard) == len(AWKWARD_NAMES)
    for door in doors:
        await door.stop()


async def test_for_what_core_does_not_answer_nobody_listens(side: JetStreamSide) -> None:
    async def answer(question: bytes) -> bytes:
        return question

    door = await opened(side, {STATUS: answer})
    for action in ("Authorize", "Get15118EVCertificate", "StartTransaction"):
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Unavailable, match="nobody listens"):
                await decisions(side).ask("CP-1", action, "1", b"{}")
    await door.stop()
    await side.core.connection.flush()
    with pytest.raises(Unavailable, match="nobody listens"):
        await decisions(side).ask("CP-1", STATUS, "1", b"{}")


async def test_what_fails_or_is_too_much_gets_no_answer_and_the_rest_does(side: JetStreamSide) -> None:
    held, arrived = asyncio.Event(), asyncio.Event()

    async def answer(question: bytes) -> bytes | None:
        match question:
            case b"silent":
                return None
            case b"broken":
                raise RuntimeError("broken")
            case b"held":
                arrived.set()
                await held.wait()
        return question

    door = await opened(side, {STATUS: answer}, handled_at_once=1)
    for question in (b"silent", b"broken"):
        with pytest.raises(Unavailable, match="no answer"):
            await decisions(side, within_s=0.2).ask("CP-1", STATUS, "1", question)
    waiting = asyncio.create_task(decisions(side, within_s=PATIENCE_S).ask("CP-1", STATUS, "1", b"held"))
    async with asyncio.timeout(PATIENCE_S):
        await arrived.wait()
    with pytest.raises(Unavailable, match="no answer"):
        await decisions(side, within_s=0.2).ask("CP-1", STATUS, "2", b"one too many")
    held.set()
    assert await waiting == b"held"
    assert await decisions(side).ask("CP-1", STATUS, "3", b"again") == b"again"
    await door.stop()
