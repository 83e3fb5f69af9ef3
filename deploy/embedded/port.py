"""Ports for servers that are started again under an address their clients keep."""

from __future__ import annotations

import random
import socket

from deploy.embedded.errors import EmbeddedError

PORTS = range(20_000, 32_000)
"""Below those that kernels give outgoing connections by themselves: from 32,768 on Linux, from 49,152 elsewhere."""
TRIED = 50


def lasting_port() -> int:
    """One of 127.0.0.1 that is free now, and that no outgoing connection takes while its server is away.

    Raises EmbeddedError if none is found.
    """
    for port in random.SystemRandom().sample(PORTS, TRIED):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise EmbeddedError(f"none of {TRIED} ports tried on 127.0.0.1 is free")
