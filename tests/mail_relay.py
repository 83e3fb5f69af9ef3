"""A mail relay that knows nothing of us: as much of RFC 5321 as one mail takes, on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MailRelay:
    """What it was told and given. `refuses` is its answer to DATA in place of taking a mail."""

    def __init__(self, tls: ssl.SSLContext | None = None, refuses: bytes | None = None) -> None:
        self.mails: list[bytes] = []
        self.said: list[str] = []
        self.was_encrypted = False
        self._tls = tls
        self._refuses = refuses
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay ESMTP\r\n")
        while line := await reader.readline():
            said = line.decode().strip()
            self.said.append(said)
            verb = said.split(" ")[0].upper()
            if verb == "EHLO":
                offers = b"250-relay\r\n250-STARTTLS\r\n" if self._tls else b"250-relay\r\n"
                writer.write(offers + b"250 AUTH PLAIN\r\n")
            elif verb == "STARTTLS" and self._tls is not None:
                writer.write(b"220 go on\r\n")
                await writer.drain()
                await writer.start_tls(self._tls)
                self.was_encrypted = True
            elif verb == "DATA":
                if self._refuses is not None:
                    writer.write(self._refuses)
                    continue
                writer.write(b"354 go on\r\n")
                mail = b""
                while (part := await reader.readline()) != b".\r\n":
                    mail += part
                self.mails.append(mail)
                writer.write(b"250 taken\r\n")
            elif verb == "QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"235 welcome\r\n" if verb == "AUTH" else b"250 fine\r\n")
        writer.close()


@asynccontextmanager
async def running(relay: MailRelay) -> AsyncIterator[MailRelay]:
    server = await asyncio.start_server(relay.serve, "localhost", 0, family=socket.AF_INET)
    relay.port = server.sockets[0].getsockname()[1]
    async with server:
        yield relay
