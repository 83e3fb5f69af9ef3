"""What issuers say to everybody about certificates of ours: their lists and their responders, through the egress.

Nothing is kept: whoever asks wants to know what is there now.
"""

import asyncio
from contextlib import suppress

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from bfactors.ocsp import CONTENT_TYPE, CRL_BYTES, RESPONSE_BYTES, NotBelieved, request_der
from bfactors.ports import Clock, Egress
from bfactors.revocation_answer import RevocationAnswer, question_about, read_answer
from bfactors.revocation_list import RevocationList, read_list

LIST_WITHIN_S = 30.0
ANSWER_WITHIN_S = 5.0


class RevocationSourceReader:
    """`bfactors.ports.RevocationReader` on the egress's loop."""

    def __init__(self, egress: Egress, clock: Clock, issuers: tuple[x509.Certificate, ...] = ()) -> None:
        """`issuers` are CAs whose certificates others' leaves come without."""
        self._issuers = issuers
        self._egress = egress
        self._clock = clock

    async def list_at(self, address: str, issuer_pem: str) -> RevocationList:
        issuer = _issuer(issuer_pem)
        encoded = await self._egress.fetch(address, size_bytes=CRL_BYTES, within_s=LIST_WITHIN_S)
        # Off the loop: ten MiB take their time.
        return await asyncio.to_thread(read_list, encoded, address, issuer, self._clock.now())

    async def issuer_of(self, chain_pem: str) -> str | None:
        """The certificate that signed the first of a chain; None: it is not at hand."""
        try:
            leaf, *above = x509.load_pem_x509_certificates(chain_pem.encode())
        except ValueError:
            return None
        for candidate in (*above, *self._issuers):
            with suppress(ValueError, TypeError, InvalidSignature):
                leaf.verify_directly_issued_by(candidate)
                return candidate.public_bytes(Encoding.PEM).decode()
        return None

    async def answer_at(self, address: str, issuer_pem: str, serial_number: str) -> RevocationAnswer:
        issuer = _issuer(issuer_pem)
        der = await self._egress.fetch(
            address,
            size_bytes=RESPONSE_BYTES,
            within_s=ANSWER_WITHIN_S,
            body=request_der(question_about(issuer, serial_number)),
            content_type=CONTENT_TYPE,
        )
        return read_answer(der, serial_number, issuer, self._clock.now())


def _issuer(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise NotBelieved("the issuer's certificate cannot be read") from None
