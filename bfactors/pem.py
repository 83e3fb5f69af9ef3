"""The dressing around DER: PEM in every form chargers, CAs and people send it, and the one form we send.

Text around blocks, `\\n` spelled out, CRLF, odd labels, one long line and bare base64 are understood; the DER inside is
never altered. Source: RFC 7468, facts from the field (literal line breaks, `NEW CERTIFICATE REQUEST`).
"""

import base64
import binascii
import re
from collections.abc import Iterable

from bfactors.errors import BetterFleetError

PEM_MAX_CHARS = 64 * 1024
"""More text than any chain or CSR needs; longer input is refused before it is searched."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
_PLAIN_CSR = re.compile(
    r"-----BEGIN CERTIFICATE REQUEST-----\n(?:[A-Za-z0-9+/]{64}\n)*"
    r"(?:[A-Za-z0-9+/]{4}){1,15}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\n-----END CERTIFICATE REQUEST-----\n"
)
"""A CSR as `pem_of` writes it (one that ends on a full line, or on a short last group, takes the long way)."""
_CSR_LABELS = frozenset({"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"})


class MalformedX509(BetterFleetError, ValueError):
    """The text or DER is no certificate (or no CSR); the message says what was found, never the content."""


def _undressed(text: str, labels: frozenset[str], what: str) -> list[bytes]:
    """The DER of every block with one of `labels`, in order; bare base64 counts as one block."""
    if len(text) > PEM_MAX_CHARS:
        raise MalformedX509(f"{what}: longer than {PEM_MAX_CHARS} characters")
    plain = text.replace("\\r", "").replace("\\n", "\n").replace("\r", "\n")
    blocks = _BLOCK.findall(plain)
    if blocks:
        bodies = [body for label, body in blocks if label.strip() in labels]
        if not bodies:
            raise MalformedX509(f"{what}: found a PEM block labelled {blocks[0][0].strip()} instead")
    elif "-----" in plain:
        raise MalformedX509(f"{what}: a PEM block that does not end")
    elif plain.strip():
        bodies = [plain]
    else:
        raise MalformedX509(f"{what}: empty")
    return [_decoded(body, what) for body in bodies]


def _decoded(body: str, what: str) -> bytes:
    # Header lines such as `Proc-Type:` or OpenSSL's dump may stand inside a block, ahead of a blank line.
    if ":" in body:
        body = body.rpartition("\n\n")[2]
    packed = "".join(body.split())
    packed += "=" * (-len(packed) % 4)
    try:
        der = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise MalformedX509(f"{what}: not base64") from problem
    if not der:
        raise MalformedX509(f"{what}: empty")
    return der


def pem_of(der: bytes, label: str = "CERTIFICATE") -> str:
    """One PEM block: 64 characters a line, LF, one newline at its end."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def split_chain(text: str) -> tuple[bytes, ...]:
    """The DER of every certificate in a PEM text, in order. Raises MalformedX509."""
    return tuple(_undressed(text, _CERTIFICATE_LABELS, "certificate"))


def join_chain(chain: Iterable[bytes]) -> str:
    """PEM text of certificates given as DER, in that order."""
    return "".join(pem_of(der) for der in chain)


def csr_der(text: str) -> bytes:
    """The DER of the first CSR in a text. Raises MalformedX509."""
    return _undressed(text, _CSR_LABELS, "CSR")[0]


def normalised_csr(text: str) -> str:
    """The CSR in plain PEM; the DER inside is untouched. Raises MalformedX509."""
    if _PLAIN_CSR.fullmatch(text):
        return text  # in our own form already; what is inside is for whoever reads it to judge
    return pem_of(csr_der(text), "CERTIFICATE REQUEST")
