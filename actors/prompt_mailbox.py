"""A mailbox for handlers that never wait: they run in a callback of the loop, and no message costs a task.

A task costs several times what its message does where tens of thousands of them arrive a second.
"""

from abc import abstractmethod
from typing import TypeVar

from actors.mailbox import HighWaterGauge, Mailbox, MailboxState

M = TypeVar("M")

_MESSAGES_PER_CALL = 32  # after so many, the loop's other actors get their turn


class PromptMailbox(Mailbox[M]):
    """An actor whose `handle` returns at once; slow work goes through `spawn` as ever. All of Mailbox's promises hold."""

    __slots__ = ("_is_called",)

    def __init__(self, name: str, *, capacity: int = 64, gauge: HighWaterGauge | None = None) -> None:
        super().__init__(name, capacity=capacity, gauge=gauge)
        self._is_called = False

    @abstractmethod
    def handle(self, message: M) -> None:
        """What `receive` is elsewhere."""

    def prepare(self) -> None:
        """What `begin` is elsewhere."""

    @property
    def is_idle(self) -> bool:
        return not self._is_called and super().is_idle

    async def drain(self) -> None:
        """Take nothing new, finish what is queued and in flight, then stop."""
        if self._state is MailboxState.OPEN and self._is_called:
            super()._wake()  # a task is something `drain` can wait for; the call will find an empty queue
        await super().drain()

    def end(self) -> None:
        """What `stop` is from within `handle`, which cannot wait for the work in flight: that is cancelled."""
        if self._is_live:
            self._close(MailboxState.STOPPED)

    async def receive(self, message: M) -> None:
        self.handle(message)

    async def begin(self) -> None:
        self.prepare()

    def _wake(self) -> None:
        if self._state is not MailboxState.OPEN:
            super()._wake()
        elif not self._is_called and self._drain_task is None:
            self._is_called = True
            self._loop.call_soon(self._handle_queued)

    def _handle_queued(self) -> None:
        message: M | None = None
        handled = 0
        try:
            if not self._begun:
                self._begun = True
                self.prepare()
            while self._queue and self._is_live:
                if handled == _MESSAGES_PER_CALL:
                    self._loop.call_soon(self._handle_queued)
                    return
                message = self._take()
                self.handle(message)
                message = None
                handled += 1
        except BaseException as error:  # noqa: BLE001 - as in Mailbox: it ends this actor and nothing else
            self._fail(error, message)
        self._is_called = False
