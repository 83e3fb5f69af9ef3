"""The TLS end of the charger port: one set of fixed settings, server certificates and client trust swapped at run time.

The handshake decides only who reaches the upgrade; who is admitted is decided there (`bfactors.identity_rule`). Each
connection takes the context of the moment, so a swap is one assignment: open connections keep theirs, and a new context
starts with an empty session cache, so nothing resumes across a swap.
Source: A00.FR.306-322, A00.FR.409-425; MECHANISMS "TLS and identity".
"""

import contextlib
import os
import ssl
import tempfile
from _ssl import ENCODING_DER
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bfactors.admission import PresentedCredential
from bfactors.errors import SettingsError
from bfactors.path import TrustSet
from bfactors.x509 import MalformedX509, join_chain

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: lets an expired leaf through to our own check, which names the reason. Not in `ssl`."""

CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
    )
)
"""TLS 1.2 suites: the four OCPP demands (A00.FR.318; two without forward secrecy) and the forward-secret RSA pair."""

_RECORD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """One server certificate: PEM files of its chain (leaf first) and of its private key."""

    chain_path: Path
    key_path: Path


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A server identity as it was read: a file that changes later changes nothing until it is presented."""

    path: Path
    chain: bytes
    key: bytes


class FrontTls:
    """What the next connection is met with. Called on the I/O lane."""

    def __init__(self, identities: Sequence[ServerIdentity], client_trust: Iterable[str]) -> None:
        """`identities`: one RSA and one ECDSA certificate serve every charger. Raises SettingsError."""
        self._identities = _loaded(identities)
        self._trust = _trust_of(client_trust)
        self._context = _context(self._identities, self._trust)

    @property
    def trust(self) -> TrustSet:
        """The CA certificates a client's path may end at, now."""
        return self._trust

    def replace_trust(self, client_trust: Iterable[str]) -> None:
        """Trust these CA certificates (PEM) from the next connection on. Raises SettingsError, changing nothing."""
        trust = _trust_of(client_trust)
        self._context, self._trust = _context(self._identities, trust), trust

    def replace_identities(self, identities: Sequence[ServerIdentity]) -> None:
        """Present these server certificates from the next connection on. Raises SettingsError, changing nothing."""
        loaded = _loaded(identities)
        self._context, self._identities = _context(loaded, self._trust), loaded

    def new_stream(self) -> "TlsStream":
        """The server's end of one new connection."""
        return TlsStream(self._context)


def _trust_of(client_trust: Iterable[str]) -> TrustSet:
    try:
        return TrustSet.of_pem(client_trust)
    except MalformedX509 as problem:
        raise SettingsError(f"client trust: {problem}") from problem


def _loaded(identities: Sequence[ServerIdentity]) -> tuple[_Loaded, ...]:
    found = []
    for identity in identities:
        try:
            found.append(
                _Loaded(identity.chain_path, identity.chain_path.read_bytes(), identity.key_path.read_bytes())
            )
        except OSError as problem:
            raise SettingsError(f"server certificate {identity.chain_path}: {problem}") from problem
    return tuple(found)


def _context(identities: tuple[_Loaded, ...], trust: TrustSet) -> ssl.SSLContext:
    if not identities:
        raise SettingsError("the charger port needs a server certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(NO_CHECK_TIME)
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.num_tickets = 0
    context.set_ciphers(CIPHERS)
    for identity in identities:
        try:
            with _as_file(identity.chain) as chain, _as_file(identity.key) as key:
                context.load_cert_chain(chain, key)
        except (OSError, ssl.SSLError) as problem:
            raise SettingsError(f"server certificate {identity.path}: {problem}") from problem
    if trust.certificates:
        context.load_verify_locations(
            cadata=join_chain(certificate.der for certificate in trust.certificates)
        )
    return context


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path that reads as these bytes, for OpenSSL, which takes nothing else; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("bf-server-identity", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile(prefix="bf-server-identity") as file:  # made with mode 0600
        file.write(content)
        file.flush()
        yield file.name


class TlsStream:
    """The server's end of one TLS connection, without I/O: bytes in, plain text out, bytes to send."""

    __slots__ = ("_incoming", "_outgoing", "_ssl", "ended", "established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.ended = False
        """The peer has closed its direction."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the peer and return the plain text they complete. Raises ssl.SSLError: the connection is dead."""
        self._incoming.write(data)
        plain = b""
        try:
            if not self.established:
                self._ssl.do_handshake()
                self.established = True
            while part := self._ssl.read(_RECORD_BYTES):
                plain = plain + part if plain else part
                if not self._incoming.pending and not self._ssl.pending():
                    return plain  # asking for more would only raise, and give up the interpreter's lock once more
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return plain

    def seal(self, plain: bytes) -> bytes:
        """The bytes that carry `plain` to the peer. Raises ssl.SSLError."""
        self._ssl.write(plain)
        return self._outgoing.read()

    def unsent(self) -> bytes:
        """What the handshake, an alert or a key update wants sent."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def close_notify(self) -> bytes:
        """The bytes that tell the peer we are done."""
        # The peer has not answered yet, or never will: what matters is the alert we may send.
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._ssl.unwrap()
        return self.unsent()

    def credential(self) -> PresentedCredential | None:
        """The client certificate of an established connection; its chain is empty when the session was resumed."""
        leaf = self._ssl.getpeercert(binary_form=True)
        if leaf is None:
            return None
        # Public from Python 3.13 on; until then the C object has it under the same name.
        chain = self._ssl._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
        presented = tuple(bytes(item.public_bytes(ENCODING_DER)) for item in chain)
        return PresentedCredential(
            leaf_der=leaf,
            chain_der=tuple(der for der in presented if der != leaf),
            resumed=bool(self._ssl.session_reused),
        )

    @property
    def version(self) -> str | None:
        """E.g. `TLSv1.3`."""
        return self._ssl.version()
