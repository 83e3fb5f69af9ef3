"""The dressing around DER: PEM in every form chargers, CAs and people send it, and the one form we send.

Text around blocks, `\\n` spelled out (once or twice over), CRLF, odd labels, lost spaces, one long line, bare base64 and
base64 of PEM are understood; the DER inside is never altered. Source: RFC 7468, facts from the field (literal line breaks,
`NEW CERTIFICATE REQUEST`).
"""

import base64
import binascii
import re
from collections.abc import Iterable

from bfactors.errors import BetterFleetError

PEM_MAX_CHARS = 64 * 1024
"""More text than any chain or CSR needs; longer input is refused before it is searched."""

_MARK = re.compile(r"-----\s*(BEGIN|END)\s*([A-Z0-9 ]{1,40})-----", re.IGNORECASE)
_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509CERTIFICATE", "TRUSTEDCERTIFICATE"})
"""Labels are compared without their spaces, which some lose on the way."""
_CSR_LABELS = frozenset({"CERTIFICATEREQUEST", "NEWCERTIFICATEREQUEST"})
_SPELLED_OUT = re.compile(r"\\{1,4}(r\\{1,4}n|[nr/])")
_AROUND = "\ufeff\0 \t\n\"'"


_BEGIN, _END = "-----BEGIN {}-----\n", "-----END {}-----\n"
_LAST_LINE = (
    r"(?:(?:[A-Za-z0-9+/]{4}){1,16}|(?:[A-Za-z0-9+/]{4}){0,15}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=))\n"
)


class _Plain:
    """Blocks as `pem_of` writes them: what we keep and send is in this form, and is taken apart in a fraction of the time."""

    def __init__(self, label: str) -> None:
        self._begin, self._end = _BEGIN.format(label), _END.format(label)
        self._form = re.compile(rf"(?:{self._begin}(?:[A-Za-z0-9+/]{{64}}\n)*{_LAST_LINE}{self._end})+")

    def is_form_of(self, text: str) -> bool:
        """Whether it is such blocks and nothing else."""
        return self._form.fullmatch(text) is not None

    def blocks(self, text: str) -> list[bytes]:
        """The DER of every block of a text in this form."""
        bodies = text[len(self._begin) : -len(self._end)].split(self._end + self._begin)
        return [binascii.a2b_base64(body) for body in bodies]


_CERTIFICATE, _CSR = _Plain("CERTIFICATE"), _Plain("CERTIFICATE REQUEST")


class MalformedX509(BetterFleetError, ValueError):
    """The text or DER is no certificate (or no CSR); the message says what was found, never the content."""


def _read(text: str, plain: _Plain, labels: frozenset[str], what: str) -> list[bytes]:
    if len(text) <= PEM_MAX_CHARS and plain.is_form_of(text):
        return plain.blocks(text)
    return _undressed(text, labels, what)


def _undressed(text: str, labels: frozenset[str], what: str) -> list[bytes]:
    """The DER of every block with one of `labels`, in order; bare base64 counts as one block."""
    if len(text) > PEM_MAX_CHARS:
        raise MalformedX509(f"{what}: longer than {PEM_MAX_CHARS} characters")
    plain = _plain(text)
    blocks = _blocks(plain)
    if blocks:
        bodies = [body for label, body in blocks if label in labels]
        if not bodies:
            raise MalformedX509(f"{what}: found a PEM block labelled {blocks[0][0]} instead")
    elif "-----" in plain:
        raise MalformedX509(f"{what}: a PEM block that does not end")
    elif plain:
        bodies = [plain]
    else:
        raise MalformedX509(f"{what}: empty")
    found = [_decoded(body, what) for body in bodies]
    if not blocks and found[0].lstrip().startswith(b"-----BEGIN"):
        return _undressed(found[0].decode("latin-1"), labels, what)  # shorter by a quarter each time
    return found


def _plain(text: str) -> str:
    """The text with line breaks for everything that stands for one, and without what is wrapped around it."""
    if "\\" in text:
        text = _SPELLED_OUT.sub(lambda found: "/" if found[1] == "/" else "\n", text)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip(_AROUND)


def _blocks(plain: str) -> list[tuple[str, str]]:
    """Label without spaces and body of every block that begins and ends, in one pass however often only one of it is there."""
    found: list[tuple[str, str]] = []
    begun: re.Match[str] | None = None
    for mark in _MARK.finditer(plain):
        if mark[1].upper() == "BEGIN":
            begun = mark
        elif begun is not None:
            found.append(("".join(begun[2].split()).upper(), plain[begun.end() : mark.start()]))
            begun = None
    return found


def _decoded(body: str, what: str) -> bytes:
    # Header lines such as `Proc-Type:` or OpenSSL's dump may stand inside a block, ahead of a blank line or of none.
    if ":" in body:
        body = body.rpartition(":")[2].partition("\n")[2]
    packed = "".join(body.split()).replace("-", "+").replace("_", "/")
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
    lines = "\n".join([text[start : start + 64] for start in range(0, len(text), 64)])
    return f"{_BEGIN.format(label)}{lines}\n{_END.format(label)}"


def split_chain(text: str) -> tuple[bytes, ...]:
    """The DER of every certificate in a PEM text, in order. Raises MalformedX509."""
    return tuple(_read(text, _CERTIFICATE, _CERTIFICATE_LABELS, "certificate"))


def join_chain(chain: Iterable[bytes]) -> str:
    """PEM text of certificates given as DER, in that order."""
    return "".join([pem_of(der) for der in chain])


def first_and_rest(text: str) -> tuple[str, str]:
    """A chain's leaf and its issuers, each in our own form, in which nearly every text is already. Raises MalformedX509."""
    if len(text) <= PEM_MAX_CHARS and _CERTIFICATE.is_form_of(text):
        cut = text.index("-----END") + len(_END.format("CERTIFICATE"))
        return text[:cut], text[cut:]
    chain = split_chain(text)
    return pem_of(chain[0]), join_chain(chain[1:])


def csr_der(text: str) -> bytes:
    """The DER of the first CSR in a text. Raises MalformedX509."""
    return _read(text, _CSR, _CSR_LABELS, "CSR")[0]


def normalised_csr(text: str) -> str:
    """The CSR in plain PEM; the DER inside is untouched. Raises MalformedX509."""
    if text.count("-----BEGIN") == 1 and _CSR.is_form_of(text):
        return text  # in our own form already; what is inside is for whoever reads it to judge
    return pem_of(csr_der(text), "CERTIFICATE REQUEST")
