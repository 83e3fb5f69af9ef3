"""Secrets by request-reply: connect names one, core opens it if it belongs to that charger. No stream sees either message.

The rights on NATS (`deploy/embedded/nats_rights.py`) let only connect ask and only core listen; off loopback both speak TLS.
"""

import asyncio
import logging

import msgspec

from bfactors import subject
from bfactors.disclosed import Disclosed
from bfactors.errors import BetterFleetError, Unavailable
from bfactors.ports import SecretStore
from gateways.nats.connection import NatsConnection
from gateways.nats.lanes import run_on
from gateways.nats.message import Message
from gateways.nats.registration import Registration
from gateways.nats.replies import Replies

_LOG = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0
HANDLED_AT_ONCE = 128
"""What comes beyond is not answered, and asked again."""


class SecretQuestion(msgspec.Struct, frozen=True):
    """What connect asks: the secret an instruction names, for the session it is about to be sent on."""

    secret_id: str
    charger_id: str
    session_id: str
    generation: int | None = None


class SecretAnswer(msgspec.Struct, frozen=True):
    """`value` is None when the secret is not to be had. Prints as nothing."""

    value: bytes | None

    def __repr__(self) -> str:
        return "SecretAnswer(***)"


_QUESTIONS = msgspec.json.Decoder(SecretQuestion)
_ANSWERS = msgspec.json.Decoder(SecretAnswer)
_ENCODER = msgspec.json.Encoder()


class NatsSecretDoor:
    """Core's side. Used on the I/O lane.

    A core that cannot open a secret just now says nothing: the first answer counts, and another core may know better.
    """

    def __init__(
        self, connection: NatsConnection, store: SecretStore, *, handled_at_once: int = HANDLED_AT_ONCE
    ) -> None:
        self._connection = connection
        self._store = store
        self._handled_at_once = handled_at_once
        self._registration: Registration | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to answer, now or once NATS is there."""
        self._registration = await self._connection.subscribe(subject.SECRET_FILTER, self._asked)

    async def stop(self) -> None:
        """Nothing is answered after this."""
        if self._registration is not None:
            await self._connection.unsubscribe(self._registration)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _asked(self, message: Message) -> None:
        if not message.reply or len(self._tasks) >= self._handled_at_once:
            return
        task = asyncio.get_running_loop().create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Message) -> None:
        try:
            question = _QUESTIONS.decode(message.payload)
            if subject.secret(question.secret_id) != message.subject:
                raise msgspec.DecodeError("subject and body name two secrets")
            answer = await self._open(question)
            await self._connection.publish(message.reply, _ENCODER.encode(answer))
        except msgspec.DecodeError as problem:
            _LOG.warning("a question on %s was not understood: %s", message.subject, problem)
        except BetterFleetError as problem:
            _LOG.warning("the question on %s was not answered: %s", message.subject, problem)
        except Exception:  # noqa: BLE001 - the outermost handler of questions: a task's end would go unseen
            _LOG.exception("the question on %s failed", message.subject)

    async def _open(self, question: SecretQuestion) -> SecretAnswer:
        opened = await self._store.open(question.secret_id)
        asked = (question.secret_id, question.charger_id, question.session_id)
        if opened is None:
            _LOG.info("secret %s is gone: charger %s, session %s", *asked)
            return SecretAnswer(None)
        name = opened.name
        is_meant = question.generation is None or question.generation == name.generation
        if not name.charger_id or name.charger_id != question.charger_id or not is_meant:
            _LOG.warning("secret %s was refused to charger %s, session %s: not its own", *asked)
            return SecretAnswer(None)
        _LOG.info("secret %s went to charger %s, session %s", *asked)
        return SecretAnswer(opened.disclosed.value)


class NatsSecrets:
    """Connect's side: `bfactors.ports.SecretSource`; callable from any lane."""

    def __init__(
        self, connection: NatsConnection, replies: Replies, *, answer_within_s: float = ANSWER_WITHIN_S
    ) -> None:
        self._connection = connection
        self._replies = replies
        self._answer_within_s = answer_within_s

    async def fetch(
        self, secret_id: str, charger_id: str, session_id: str, generation: int | None = None
    ) -> Disclosed | None:
        """Raises Unavailable at once when NATS is away or no core listens, else in time."""
        question = SecretQuestion(secret_id, charger_id, session_id, generation)
        answered = await run_on(
            self._connection.loop,
            self._replies.request(
                subject.secret(secret_id), _ENCODER.encode(question), self._answer_within_s
            ),
        )
        if answered.nobody_listens:
            raise Unavailable("the secrets of core", "nobody listens")
        try:
            value = _ANSWERS.decode(answered.payload).value
        except msgspec.DecodeError:
            # Its text could repeat part of the payload.
            raise Unavailable("the secrets of core", "an answer could not be read") from None
        return None if value is None else Disclosed(value)
