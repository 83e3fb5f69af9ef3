"""How late, and whether at all, what was revoked is published: set at the start, changed while the peer runs."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass
class Publishing:
    """`crl_lag` and `ocsp_lag`: from RevokeCertificate until a list, or the responder, says so. `is_held`: lists stay as they
    are, and grow old.
    """

    crl_lag: timedelta
    ocsp_lag: timedelta
    is_held: bool = False
