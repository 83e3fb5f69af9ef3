"""Core's part in what chargers ask about certificates: it answers connect on the subjects of those actions, and hears no other.

Nobody listens for an action that nobody here can answer, so NATS tells connect at once and the charger gets its Failed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec

from bfactors import subject
from bfactors.errors import BetterFleetError
from gateways.nats.connection import NatsConnection
from gateways.nats.message import Message
from gateways.nats.registration import Registration

_LOG = logging.getLogger(__name__)

HANDLED_AT_ONCE = 512
"""What comes beyond is not answered; connect answers it with the default when its time is up."""
_QUEUE = "core"

Answer = Callable[[bytes], Awaitable[bytes | None]]
"""The question's payload -> its answer's, or None to say nothing. Raises msgspec.DecodeError for what is no question."""


class NatsDecisionDoor:
    """`answers` by action; of several cores each question reaches one. Used on the I/O lane."""

    def __init__(
        self,
        connection: NatsConnection,
        answers: Mapping[str, Answer],
        *,
        handled_at_once: int = HANDLED_AT_ONCE,
    ) -> None:
        self._connection = connection
        self._answers = answers
        self._handled_at_once = handled_at_once
        self._registrations: list[Registration] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to answer, now or once NATS is there."""
        for action, answer in self._answers.items():
            self._registrations.append(
                await self._connection.subscribe(
                    subject.ocpp_decision_filter(action), partial(self._asked, answer), queue=_QUEUE
                )
            )

    async def stop(self) -> None:
        """Nothing is answered after this."""
        for registration in self._registrations:
            await self._connection.unsubscribe(registration)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _asked(self, answer: Answer, message: Message) -> None:
        if not message.reply:
            return
        if len(self._tasks) >= self._handled_at_once:
            _LOG.warning(
                "a question on %s was not taken: %d are being answered", message.subject, len(self._tasks)
            )
            return
        task = asyncio.get_running_loop().create_task(self._answer(answer, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, answer: Answer, message: Message) -> None:
        try:
            answered = await answer(message.payload)
            if answered is not None:
                await self._connection.publish(message.reply, answered)
        except msgspec.DecodeError as problem:
            _LOG.warning("a question on %s was not understood: %s", message.subject, problem)
        except BetterFleetError as problem:
            _LOG.warning("the question on %s was not answered: %s", message.subject, problem)
        except Exception:  # noqa: BLE001 - the outermost handler of questions: a task's end would go unseen
            _LOG.exception("the question on %s failed", message.subject)
