"""A charger that will not be able to connect any more: from when, why, and what prevents it.

Either what it shows is refused here, which its own state tells (`bfactors.charger.lockout`), or it cannot verify what it is
shown, which is the same for all that confirmed one bundle (`bfactors.trust_end`). Source: ADR 0031.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec

Cause = Literal[
    "certificate-expiry",
    "certificate-ended",
    "grace-end",
    "expired-admission-end",
    "key-withdrawn",
    "way-back-end",
    "no-credential",
    "anchor-expiry",
    "server-issuer-change",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

PREVENTED_BY: Mapping[str, str] = MappingProxyType(
    {
        "certificate-expiry": "renew its certificate while it can still connect: the new one counts once it is installed",
        "certificate-ended": "none of its certificates is admitted; open a way back to profile 2, or issue on site",
        "grace-end": "it holds only a replaced certificate; renew it before the grace is over, or raise superseded_grace_days",
        "expired-admission-end": "have it renew before the permission for its expired certificate ends, or extend that",
        "key-withdrawn": "rotate its AuthorizationKey while it can still connect, and set that key on site if it cannot",
        "way-back-end": "bring it back to profile 3 by a migration before the way back ends",
        "no-credential": "give it a credential: a key for profile 2, or a certificate",
        "anchor-expiry": "have it confirm a trust anchor bundle with a later anchor of the server certificate",
        "server-issuer-change": "have it confirm the bundle that holds the anchor above the new server certificate",
    }
)
"""By the cause: what somebody can do about it."""


class Lockout(msgspec.Struct, frozen=True, kw_only=True):
    """From `at` on the charger is not let in, or has not been since. `certificate_id`: the last one that lets it in."""

    at: datetime
    cause: Cause
    certificate_id: str | None = None


def body_of(lockout: Lockout | None) -> dict[str, Any] | None:
    """As a charger's page shows it; None: nothing that is known locks it out."""
    if lockout is None:
        return None
    return {
        "locked_out_at": lockout.at,
        "cause": lockout.cause,
        "certificate_id": lockout.certificate_id,
        "prevented_by": PREVENTED_BY[lockout.cause],
    }
