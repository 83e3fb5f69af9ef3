"""TLS as a charger does it: its own roots, its own client certificate, nothing of the machine's."""

from __future__ import annotations

import os
import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

from simulator.charger.configuration import TlsOffer
from simulator.charger.credential import ClientCredential

NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name

_TLS_1_2_SUITES = {
    TlsOffer.ECDSA_PAIR: "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
    TlsOffer.RSA_PAIR: "AES128-GCM-SHA256:AES256-GCM-SHA384",
}


@lru_cache(maxsize=64)
def server_trust(roots: tuple[str, ...], offer: TlsOffer, own_clock: bool) -> ssl.SSLContext:
    """A context without a client certificate, shared by all chargers with the same roots.

    `own_clock` leaves the dates of the server's certificates to the caller.
    """
    return _context(roots, offer, own_clock)


def mutual(
    roots: tuple[str, ...], offer: TlsOffer, own_clock: bool, credential: ClientCredential, leaf_only: bool
) -> ssl.SSLContext:
    """A context that presents this client certificate; made anew for every connection."""
    context = _context(roots, offer, own_clock)
    chain = credential.leaf_pem if leaf_only else credential.chain_pem
    # The ssl module reads keys from files only: mkstemp makes one for the owner alone, gone at once.
    descriptor, name = tempfile.mkstemp(prefix="charger-", suffix=".pem")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(credential.private_key_pem + chain)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
    return context


def _context(roots: tuple[str, ...], offer: TlsOffer, own_clock: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if offer in _TLS_1_2_SUITES:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_TLS_1_2_SUITES[offer])
    # Whatever the charger was told to trust is an anchor, a cross-signed root too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if own_clock:
        context.verify_flags |= NO_CHECK_TIME
    context.load_verify_locations(cadata="".join(roots))
    return context
