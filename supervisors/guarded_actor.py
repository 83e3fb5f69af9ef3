"""The Pykka actor all supervisors are, with its two traps closed.

A `BaseException` leaving `on_receive` (a leaked CancelledError too) makes Pykka stop every actor of the process;
so none leaves. A failing `on_start` stops the actor without `on_failure`; so there is nothing in it to fail.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, final

import pykka

_LOG = logging.getLogger(__name__)

Tell = Callable[[object], bool]
"""Puts a message in an actor's inbox, from any thread, at once; False when that actor has stopped."""


def tell_to(ref: pykka.ActorRef[Any]) -> Tell:
    """What others hold of an actor, so that nobody can `ask` it: an ask from inside a loop deadlocks the loop."""

    def tell(message: object) -> bool:
        try:
            ref.tell(message)
        except pykka.ActorDeadError:
            return False
        return True

    return tell


def call_outside(what: str, callback: Callable[..., object], *arguments: object) -> None:
    """Call code that was handed to a supervisor; what that code raises is logged and is its own trouble."""
    try:
        callback(*arguments)
    except BaseException:  # noqa: BLE001 - foreign code in a supervisor's thread
        _LOG.exception("a listener failed when told of %s", what)


class GuardedActor(pykka.ThreadingActor):
    """A thread that handles one told message after the other and survives all of them."""

    use_daemon_thread = True  # a process that was told to exit does not wait for its supervisors

    @final
    def on_start(self) -> None:
        """Empty for good: see the trap above. Beginnings are messages."""

    @final
    def on_receive(self, message: object) -> None:
        """Hand the message to `handle`; whatever leaves it is logged and given to `survive`."""
        try:
            self.handle(message)
        except BaseException as error:  # noqa: BLE001 - one leaving here would stop every actor of the process
            _LOG.error("%s could not handle %s", self, type(message).__name__, exc_info=error)
            try:
                self.survive(error)
            except BaseException:  # noqa: BLE001 - likewise
                _LOG.exception("%s could not report its own failure", self)

    @abstractmethod
    def handle(self, message: object) -> None:
        """Do what one message asks, without waiting for anything."""

    @abstractmethod
    def survive(self, error: BaseException) -> None:
        """Decide what a failed `handle` means."""
