"""The limit: a full mutual TLS 1.3 handshake between two SSL objects in memory, of which the server's half is counted.

Settings are those of the charger port itself - trusted issuing CA, no session tickets - and, for comparison, the stock
ones: trusted root, two tickets.
"""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from pathlib import Path

from bench import pki
from bench.process import serve, settings_of_this_process


class Handshake:
    """Shakes hands again and again, every time with another charger's leaf."""

    def __init__(self, files: pki.Files, chargers: int) -> None:
        self._files = files
        self._chargers = chargers
        self._at = 0
        self._client = ssl.create_default_context(cafile=str(files.root))
        self._client.minimum_version = ssl.TLSVersion.TLSv1_3
        self._servers = {"port": _port_context(files), "stock": _stock_context(files)}

    def server_cpu_s(self, count: int, server: str) -> dict[str, float]:
        """CPU seconds of `do_handshake` on the server's side, over so many handshakes."""
        context = self._servers[server]
        total = 0.0
        for _ in range(count):
            self._client.load_cert_chain(*self._files.charger(self._at % self._chargers))
            self._at += 1
            total += self._one(context)
        return {"cpu_s": total}

    def _one(self, context: ssl.SSLContext) -> float:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self._client.wrap_bio(to_client, to_server, server_hostname="localhost")
        spent = 0.0
        began = time.thread_time()
        server = context.wrap_bio(to_server, to_client, server_side=True)
        spent += time.thread_time() - began
        is_done = False
        while not is_done:
            with suppress(ssl.SSLWantReadError):
                client.do_handshake()
            began = time.thread_time()
            try:
                server.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                pass
            spent += time.thread_time() - began
        assert server.version() == "TLSv1.3"
        assert server.getpeercert(binary_form=True)
        return spent


def _port_context(files: pki.Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files.server)
    context.load_verify_locations(files.issuing)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def _stock_context(files: pki.Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.root))
    context.load_cert_chain(*files.server)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def main() -> None:
    settings = settings_of_this_process()
    handshake = Handshake(pki.Files(Path(settings["folder"])), settings["chargers"])
    serve({"shake": lambda count, server: handshake.server_cpu_s(count, server)})


if __name__ == "__main__":
    main()
