"""What the system asks of a certificate authority, and the errors one may answer with.

    CaError
    ├── Transient          no answer, throttled, a failure inside the CA: the same request may be sent again
    ├── NotReady           accepted and still being worked on: ask again later
    ├── QuotaExhausted     an account's limit is reached: sending again makes it worse; the circuit opens
    ├── NotActive          the CA is disabled, expired or not yet set up: hold until an operator has acted
    ├── AlreadyDone        what was asked for has happened before; a success for whoever wants the outcome
    └── Permanent          no, and no again however often it is asked
        └── MalformedCsr   the CA cannot read the CSR

Every error carries `code`, the CA's own name for it, which operators find in the CA's documentation.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec

from bfactors.errors import BetterFleetError
from bfactors.urgency import Urgency

TOKEN_MAX_CHARS = 36
"""The longest idempotency token a CA of ours accepts. Source: botocore's acm-pca model, IdempotencyToken."""


class CaError(BetterFleetError):
    """A CA said no, or nothing.

    `may_have_happened`: the request may have taken effect although no answer says so. `retry_after_s`: how long the CA
    or its circuit should be left alone; None leaves that to whoever asks.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        may_have_happened: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.may_have_happened = may_have_happened
        self.retry_after_s = retry_after_s


class Transient(CaError):
    """The same request may be sent again; when `bounded`, only a few times (the CA does not say what was wrong)."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        may_have_happened: bool = False,
        retry_after_s: float | None = None,
        bounded: bool = False,
    ) -> None:
        super().__init__(code, message, may_have_happened=may_have_happened, retry_after_s=retry_after_s)
        self.bounded = bounded


class NotReady(CaError):
    """The CA has accepted the request and still works on it."""


class QuotaExhausted(CaError):
    """A limit of the account or the CA is reached; only an operator or time can lift it."""


class NotActive(CaError):
    """The CA exists and does not sign."""


class AlreadyDone(CaError):
    """The CA did this when it was asked before."""


class Permanent(CaError):
    """Asking again is answered the same way."""


class MalformedCsr(Permanent):
    """The CA cannot read the CSR, or does not support its key."""


class SigningOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What one certificate is asked for with. Sent again, every field is the same to the byte.

    `urgency` is not sent: it says where the call queues. `template` and `signing_algorithm` as the CA names them; dates in
    whole seconds. From `call_before` on, no call leaves.
    """

    authority_arn: str
    token: str
    csr_pem: str
    template: str
    signing_algorithm: str
    not_before: datetime
    not_after: datetime
    call_before: datetime
    key_usage: tuple[str, ...] = ("digital_signature",)
    """For a template that sets none itself."""
    urgency: Urgency = Urgency.ROUTINE


class IssuedChain(msgspec.Struct, frozen=True, kw_only=True):
    """What a CA handed out: the leaf, and its issuers upward as the CA orders them, root included if it sends one."""

    leaf_pem: str
    issuers_pem: str

    @property
    def pem(self) -> str:
        """Leaf first, all in one text."""
        return f"{self.leaf_pem.strip()}\n{self.issuers_pem.strip()}\n".strip() + "\n"


class AuthorityDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A CA as it stands. `status` in its own words (`ACTIVE` signs); `signing_algorithm` fits its key.

    `issuers_pem` holds what is above it up to, but without, the root; `root_pem` is its own certificate if it is one.
    `root_pem` is None when the CA does not hand out its root.
    """

    arn: str
    status: str
    not_after: datetime
    key_algorithm: str
    signing_algorithm: str
    certificate_pem: str
    issuers_pem: str
    root_pem: str | None

    @property
    def is_active(self) -> bool:
        """Whether it signs."""
        return self.status == "ACTIVE"


def next_delay_s(
    previous_s: float, *, base_s: float, longest_s: float, uniform: Callable[[float, float], float]
) -> float:
    """How long to wait after another failure: decorrelated jitter, so that many who failed together return apart.

    `uniform(low, high)` is the caller's randomness; `previous_s` is 0 after the first failure.
    """
    return min(longest_s, uniform(base_s, max(base_s, previous_s * 3)))
