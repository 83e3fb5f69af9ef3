"""Notices to somebody's HTTPS address, signed so that the receiver knows who sent them and when.

`BetterFleet-Signature: t=<seconds since 1970>,v1=<hex HMAC-SHA256 of "<t>.<body>" under the subscription's key>`. A receiver
compares the digest, refuses a `t` that is minutes old, and uses `notice_id` to notice what it has had already.
"""

import hashlib
import hmac

import msgspec

from bfactors.notice import SealedTarget, Telling
from bfactors.ports import Clock, Egress

SIGNATURE = "BetterFleet-Signature"
WITHIN_S = 10.0
_ANSWER_MAX_BYTES = 64 * 1024


class WebhookSender:
    """`bfactors.ports.NoticeSender` through the one way out, so never to an address inside."""

    def __init__(self, egress: Egress, clock: Clock) -> None:
        self._egress = egress
        self._clock = clock

    async def send(self, target: SealedTarget, telling: Telling) -> None:
        """Any 2xx is taken. Raises NotFetched."""
        body = body_of(telling)
        at = int(self._clock.now().timestamp())
        await self._egress.fetch(
            target.address,
            size_bytes=_ANSWER_MAX_BYTES,
            within_s=WITHIN_S,
            body=body,
            content_type="application/json",
            headers={SIGNATURE: signature(target.signing_key, at, body)},
        )


def body_of(telling: Telling) -> bytes:
    """The notice as JSON, in the API's words."""
    return msgspec.json.encode(
        {
            "subscription_id": telling.subscription_id,
            "attempt": telling.attempts + 1,
            "notice": telling.notice,
        }
    )


def signature(key: str, at: int, body: bytes) -> str:
    """The header's value."""
    digest = hmac.new(key.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
