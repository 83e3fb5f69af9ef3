"""Berth: where one session's actor lies, seen from both lanes, and the credit that keeps a fast charger from flooding it.

Each counter has one writer: `handed` the I/O lane, `handled` the actor's. A restarted actor remembers nothing of the
session, so its only work is to let the charger go and to record that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from actors.charger import ChargerActor, ChargerPorts
from actors.charger_gauge import FamilyGauge
from actors.mailbox import Mailbox
from bfactors.exchange.message import FrameArrived, Input, Leave, SessionEnded
from bfactors.ocpp import Inbound
from bfactors.ports import Session

FRAMES_AHEAD_MAX = 16
"""Frames of one charger handed over and not yet handled; past it the gateway stops reading."""
_FRAMES_AHEAD_LOW = 4
_FLOOD = 4 * FRAMES_AHEAD_MAX

Post = Callable[[Callable[[], object]], bool]
"""Have a lane call something, in the order posted; False only once that lane is gone. Callable from any lane."""

ToIo = Callable[[Callable[[], None]], object]
"""Have the I/O lane call something, in the order posted. Callable from any lane."""


class Lanes(Protocol):
    """Where actors live, as the supervisors provide it. Called on the I/O lane; returns at once."""

    def place(
        self,
        family: str,
        name: str,
        make: Callable[[Post], Mailbox[Any]],
        lost: Callable[[str], object],
    ) -> None:
        """Have the family's lane call `make` with the way to reach that lane, start the actor and supervise it.

        After a failure `make` is called again, perhaps on a new lane. `lost(reason)`, from any thread: never again.
        """
        ...

    def release(self, family: str, name: str) -> None:
        """The actor has ended in order and is not to be made again."""
        ...


class Harbour(Protocol):
    """Who owns the berths; told on the I/O lane."""

    def cleared(self, berth: Berth) -> None: ...


class Berth:
    """Made on the I/O lane with the session; `make`, `frame_handled`, `owes` and `retired` run on the actor's lane."""

    __slots__ = (
        "_actor", "_early", "_gauge", "_harbour", "_is_held", "_owed", "_ports", "_post", "_to_io",
        "ended", "handed", "handled", "session",
    )  # fmt: skip

    def __init__(
        self, session: Session, ports: ChargerPorts, gauge: FamilyGauge, to_io: ToIo, harbour: Harbour
    ) -> None:
        self.session = session
        self._ports = ports
        self._gauge = gauge
        self._to_io = to_io
        self._harbour = harbour
        self._post: Post | None = None
        self._actor: ChargerActor | None = None
        self._early: list[Input] = []
        self._is_held = False
        self._owed = 0
        self.handed = 0
        self.handled = 0
        self.ended: str | None = None
        """Why the socket is gone; None while it is there."""

    # -- on the I/O lane --------------------------------------------------------------------------

    def tell(self, message: Input) -> None:
        if self._post is None or self._actor is None:
            self._early.append(message)
        else:
            self._post(partial(self._actor.accept, message))

    def hand_over(self, inbound: Inbound) -> bool:
        """Pass a frame on; False: no more, until `session.resume_reading`."""
        if self.handed - self.handled > _FLOOD:
            self.session.close(1008, "flood")
            return False
        self.handed += 1
        self.tell(FrameArrived(inbound))
        if self.handed - self.handled <= FRAMES_AHEAD_MAX:
            return True
        self._is_held = True
        if self.handed - self.handled > _FRAMES_AHEAD_LOW:
            return False
        self._is_held = False  # the actor caught up in between, and may not have seen that it is waited for
        return True

    def end(self, reason: str) -> None:
        self.ended = reason
        self.tell(SessionEnded(reason))

    def _settle(self, post: Post, actor: ChargerActor) -> None:
        is_restart = self._actor is not None
        self._post, self._actor = post, actor
        if is_restart:
            self.handed = self.handled  # what the former actor had in its mailbox is gone
            self._is_held = False
            self._resume_reading()  # the charger's part of the closing handshake must get through
            self.tell(Leave(1011, "actor-restarted"))
            if self.ended is not None:
                self.tell(SessionEnded(self.ended))
        early, self._early = self._early, []
        for message in early:
            self.tell(message)

    def _resume_reading(self) -> None:
        if self.ended is None:
            self.session.resume_reading()

    # -- on the actor's lane ----------------------------------------------------------------------

    def make(self, post: Post) -> ChargerActor:
        actor = ChargerActor(self.session, self._ports, self, self._gauge)
        self._to_io(partial(self._settle, post, actor))
        return actor

    def frame_handled(self) -> None:
        self.handled += 1
        if self._is_held and self.handed - self.handled <= _FRAMES_AHEAD_LOW:
            self._is_held = False
            self._to_io(self._resume_reading)

    def owes(self, evidence: int) -> None:
        self._gauge.owed_by(evidence - self._owed)
        self._owed = evidence

    def retired(self) -> None:
        self._to_io(partial(self._harbour.cleared, self))
