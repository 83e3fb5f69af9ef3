"""The dresses in which signing requests are met in the field."""

from __future__ import annotations

from simulator.charger.fault_identity import CsrDress


def dress(csr_pem: str, style: CsrDress) -> str:
    """Tidy PEM rewritten in another style; what it says stays the same."""
    match style:
        case CsrDress.CRLF:
            return csr_pem.replace("\n", "\r\n")
        case CsrDress.LITERAL_NEWLINE:
            return csr_pem.replace("\n", "\\n")
        case CsrDress.NEW_HEADER:
            return csr_pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
        case CsrDress.BARE_BASE64:
            return "".join(line for line in csr_pem.splitlines() if not line.startswith("-----"))
        case CsrDress.SINGLE_LINE:
            return csr_pem.replace("\n", "")
        case CsrDress.NO_FINAL_NEWLINE:
            return csr_pem.rstrip("\n")
        case CsrDress.TEXT_AROUND:
            return f"Certificate request of this charger\n{csr_pem}end of request\n"
