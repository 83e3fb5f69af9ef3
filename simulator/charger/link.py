"""One open WebSocket seen as OCPP-J: calls go out one at a time, calls come in, answers find their call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from simulator.charger.frame import (
    Call,
    CallError,
    CallRefused,
    CallResult,
    CallResultError,
    Frame,
    MalformedFrame,
    Payload,
    Send,
    decode,
    encode,
)
from simulator.charger.journal import Happening, Journal


class LinkClosed(Exception):
    """The connection went away; what was being asked or said on it is void."""


class CallUnanswered(Exception):
    """No answer within the time a charger waits for one."""


class Link:
    """A connection's frames. All methods belong to the loop that opened the socket.

    `is_extended` knows OCPP 2.1's message types; `disputes` says whether the answer to an action of one's
    own is to be answered with CALLRESULTERROR.
    """

    def __init__(
        self,
        socket: ClientConnection,
        journal: Journal,
        answer_timeout: timedelta,
        *,
        is_extended: bool = False,
        disputes: Callable[[str], bool] = lambda action: False,
    ) -> None:
        self._socket = socket
        self._is_extended = is_extended
        self._disputes = disputes
        self._journal = journal
        self._answer_timeout_s = answer_timeout.total_seconds()
        self._turn = asyncio.Lock()
        self._awaited: tuple[str, str, asyncio.Future[Payload]] | None = None
        self._closed = asyncio.Event()

    async def call(self, action: str, payload: Payload) -> Payload:
        """Ask the central system something, after whatever is being asked already.

        Raises: CallRefused (CALLERROR), CallUnanswered, LinkClosed.
        """
        async with self._turn:
            if self._closed.is_set():
                raise LinkClosed
            message_id = uuid4().hex
            answer: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
            self._awaited = (message_id, action, answer)
            try:
                await self.send(Call(message_id, action, payload))
                self._journal.record(Happening.CALL_MADE, action)
                async with asyncio.timeout(self._answer_timeout_s):
                    return await answer
            except TimeoutError as error:
                raise CallUnanswered(action) from error
            finally:
                self._awaited = None
                answer.cancel()

    async def calls(self) -> AsyncIterator[Call]:
        """The central system's calls, until the connection ends; answers are matched on the way."""
        try:
            while True:
                try:
                    message = await self._socket.recv()
                except ConnectionClosed:
                    return
                try:
                    frame = decode(message, extended=self._is_extended)
                except MalformedFrame as error:
                    self._journal.record(Happening.MALFORMED_FRAME, str(error))
                    continue
                if isinstance(frame, Call):
                    yield frame
                elif isinstance(frame, Send):
                    self._journal.record(Happening.MESSAGE_HEARD, frame.action)
                elif isinstance(frame, CallResultError):
                    self._journal.record(Happening.ANSWER_DISPUTED, frame.code)
                else:
                    await self._settle(frame)
        finally:
            self._closed.set()
            if self._awaited is not None and not self._awaited[2].done():
                self._awaited[2].set_exception(LinkClosed())

    async def _settle(self, frame: CallResult | CallError) -> None:
        if self._awaited is None or self._awaited[0] != frame.message_id or self._awaited[2].done():
            self._journal.record(Happening.STRAY_ANSWER)
            return
        _, action, answer = self._awaited
        if isinstance(frame, CallError):
            answer.set_exception(CallRefused(frame.code, frame.description))
        elif self._is_extended and self._disputes(action):
            answer.set_exception(
                CallRefused("FormatViolation", "this charger was told to dispute the answer")
            )
            with suppress(LinkClosed):
                await self.send(CallResultError(frame.message_id, "FormatViolation", "told to dispute it"))
        else:
            answer.set_result(frame.payload)

    async def tell(self, action: str, payload: Payload) -> None:
        """Say something that is not answered (OCPP 2.1's SEND).

        Raises: LinkClosed.
        """
        await self.send(Send(uuid4().hex, action, payload))

    async def send(self, frame: Frame) -> None:
        """Put one frame on the wire.

        Raises: LinkClosed.
        """
        await self.send_raw(encode(frame), text=True)

    async def send_raw(self, message: str | bytes, *, text: bool | None = None) -> None:
        """Put any message on the wire.

        Raises: LinkClosed.
        """
        try:
            await self._socket.send(message, text=text)
        except ConnectionClosed as error:
            raise LinkClosed from error

    @property
    def is_closed(self) -> bool:
        """Whether the connection is known to have ended."""
        return self._closed.is_set()

    async def closed_within(self, seconds: float) -> bool:
        """Wait for the connection to end, but no longer than this."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End the connection in good order."""
        await self._socket.close()

    def abort(self) -> None:
        """Let the connection vanish, as a lost mobile network does."""
        self._socket.transport.abort()
