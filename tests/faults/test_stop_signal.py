"""What a Ctrl-C in the middle of starting makes of a child that it took along."""

import os
import signal
from collections.abc import Iterator

import pytest

from deploy.command.signals import StopSignal
from deploy.embedded.errors import ServerDidNotStart


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield StopSignal()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_child_lost_to_ctrl_c_is_an_interruption_and_no_failure(stop: StopSignal) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop.starting():
        raise ServerDidNotStart("postgres ended with status -2")


def test_a_child_that_fails_by_itself_stays_a_failure(stop: StopSignal) -> None:
    with pytest.raises(ServerDidNotStart), stop.starting():
        raise ServerDidNotStart("postgres ended with status 1")
