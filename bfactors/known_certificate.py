"""A certificate as the ledger's rows have it, for comparing with what its CA says."""

from datetime import datetime

import msgspec


class KnownCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """`serial_number`: lower hex without leading zeros. `issuing_ca_id` is the CA's ARN."""

    certificate_id: str
    charger_id: str | None
    purpose: str
    state: str
    serial_number: str
    issuing_ca_id: str | None
    external_ref: str | None
    not_after: datetime
    issued_at: datetime
    revocation_requested_at: datetime | None = None
    revoked_at: datetime | None = None
