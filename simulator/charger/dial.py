"""Opening the connection: URL, credentials, TLS, subprotocol, and what a failure means."""

from __future__ import annotations

import base64
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from urllib.parse import quote

from cryptography import x509
from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import HeadersLike
from websockets.exceptions import InvalidStatus, WebSocketException

from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.dialect import Dialect
from simulator.charger.memory import ChargerMemory
from simulator.charger.route import Way
from simulator.charger.tls import mutual, server_trust

# The library logs request headers, passwords among them, at DEBUG.
_quiet = logging.getLogger("simulator.charger.websocket")
_quiet.setLevel(logging.ERROR)


class DialFailed(Exception):
    """The connection did not come about.

    `unreachable` says that nobody answered or the other side was busy, which is no verdict on the
    charger; `distrusted` that the charger itself turned the server's certificate down.
    """

    def __init__(self, reason: str, *, unreachable: bool = False, distrusted: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable
        self.distrusted = distrusted


@dataclass(frozen=True, slots=True)
class Manner:
    """How this charger connects: its version, and how its faults change the rest.

    `own_clock` is set when its clock is off, `ignores_dates` when it knows that and trusts any server's dates.
    """

    dialect: Dialect
    leaf_only: bool = False
    own_clock: Callable[[], datetime] | None = None
    ignores_dates: bool = False
    hex_text: bool = False


async def dial(
    way: Way, configuration: ChargerConfiguration, memory: ChargerMemory, manner: Manner
) -> ClientConnection:
    """An open WebSocket that agreed on the charger's OCPP version.

    Raises: DialFailed.
    """
    profile = way.profile.security_profile
    url = f"{way.profile.url.rstrip('/')}/{quote(configuration.charger_id, safe='')}"
    subprotocol = manner.dialect.subprotocol
    headers: dict[str, str] = {}
    if way.password is not None:
        password = way.password.encode() if manner.hex_text else manner.dialect.password(way.password)
        pair = f"{configuration.charger_id}:".encode() + password
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    attempt = connect(
        url,
        ssl=_tls(way, configuration, memory, manner) if profile >= 2 else None,
        subprotocols=[subprotocol],
        additional_headers=headers,
        compression=None,
        proxy=None,
        open_timeout=configuration.open_timeout.total_seconds(),
        close_timeout=2,
        ping_interval=None,
        max_size=2**20,
        user_agent_header=None,
        logger=_quiet,
        create_connection=_punctual(manner.own_clock)
        if manner.own_clock and not manner.ignores_dates
        else None,
    )
    try:
        socket = await attempt
    except InvalidStatus as error:
        status = error.response.status_code
        raise DialFailed(f"HTTP {status}", unreachable=status >= 500 or status == 429) from error
    except ssl.SSLCertVerificationError as error:
        raise DialFailed(f"server certificate: {error.verify_message}", distrusted=True) from error
    except (TimeoutError, ConnectionRefusedError) as error:
        raise DialFailed(type(error).__name__, unreachable=True) from error
    except OutOfTime as error:
        raise DialFailed(str(error), distrusted=True) from error
    except (OSError, WebSocketException) as error:
        raise DialFailed(str(error) or type(error).__name__) from error
    if socket.subprotocol != subprotocol:
        await socket.close()
        raise DialFailed(f"the server did not agree on {subprotocol}")
    return socket


def _tls(
    way: Way, configuration: ChargerConfiguration, memory: ChargerMemory, manner: Manner
) -> ssl.SSLContext:
    roots = memory.trust.pems()
    offer = configuration.family.tls_offer
    own_clock = manner.own_clock is not None or manner.ignores_dates
    if way.credential is None:
        return server_trust(roots, offer, own_clock)
    return mutual(roots, offer, own_clock, way.credential, manner.leaf_only)


class OutOfTime(ConnectionError):
    """The server's certificate is out of date on this charger's clock."""


def _punctual(clock: Callable[[], datetime]) -> type[ClientConnection]:
    """A connection that looks at the server certificate's dates on the charger's own clock.

    OpenSSL can only compare with the machine's clock, so its comparison is off for such chargers.
    """

    class PunctualConnection(ClientConnection):
        async def handshake(
            self, additional_headers: HeadersLike | None = None, user_agent_header: str | None = None
        ) -> None:
            tls = cast("ssl.SSLObject | None", self.transport.get_extra_info("ssl_object"))
            der = None if tls is None else tls.getpeercert(binary_form=True)
            if der is not None:
                server = x509.load_der_x509_certificate(der)
                if not server.not_valid_before_utc <= clock() <= server.not_valid_after_utc:
                    raise OutOfTime("server certificate: out of date on this charger's clock")
            await super().handshake(additional_headers, user_agent_header)

    return PunctualConnection
