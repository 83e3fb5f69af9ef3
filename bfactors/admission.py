"""Who may connect: the record `connect` decides from, without asking anybody.

The ledger projects one `AdmissionRecord` per charger into the KV bucket `bf_admission`; connect nodes hold them in memory.
"""

from datetime import datetime
from typing import Literal

import msgspec

from bfactors.capability import NO_CAPABILITIES, Capabilities
from bfactors.frame_trace import TraceOrder

CredentialState = Literal[
    "issued", "installed", "active", "superseded", "inactive", "revoked", "expired", "rejected"
]


Unproven = Literal["no", "admitted", "refused"]
"""What becomes of a leaf of which nobody knows whether its issuer, who is not us, has revoked it; `no`: that is known."""


class KeyVerifier(msgspec.Struct, frozen=True):
    """One AuthorizationKey (Basic password) the charger may present.

    `verifier` is hex HMAC-SHA256 of the password bytes under the pepper named `pepper_id`; the key itself is nowhere.
    """

    generation: int
    pepper_id: str
    verifier: str
    state: Literal["active", "pending"]


class KnownCredential(msgspec.Struct, frozen=True):
    """One leaf of this charger in the inventory. `admit_until` bounds a superseded leaf's grace (None: not admitted)."""

    fingerprint_sha256: str
    certificate_id: str
    state: CredentialState
    not_after: datetime
    admit_until: datetime | None = None
    unproven: Unproven = "no"


class Speaker(msgspec.Struct, frozen=True):
    """A local controller or proxy that may open the charger's session under its own client certificate."""

    controller_id: str
    fingerprint_sha256: str


_SPOKEN_FOR = "via-local-controller:"


def spoken_for_flag(controller_id: str) -> str:
    """What marks a session that a local controller opened for its charger."""
    return f"{_SPOKEN_FOR}{controller_id}"


def is_spoken_for(flags: tuple[str, ...]) -> bool:
    """Whether somebody else speaks in this session: what it was opened with proves nothing about the charger itself."""
    return any(flag.startswith(_SPOKEN_FOR) for flag in flags)


class AdmissionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the upgrade of one charger is decided from.

    `allowed_profiles`: the security profiles this charger may connect with now. `mode`: what its BootNotification is
    answered, `refused` closes it at the upgrade. `revision` grows with every change; an older one never replaces a newer.
    """

    charger_id: str
    managed_identity_id: str
    serial_number: str
    expected_common_name: str
    subject_match: Literal["exact", "contains"] = "exact"
    organization: str | None
    family: str
    site: str
    cohort: str
    allowed_profiles: tuple[int, ...]
    keys: tuple[KeyVerifier, ...] = ()
    credentials: tuple[KnownCredential, ...] = ()
    spoken_for_by: tuple[Speaker, ...] = ()
    """Local controllers whose word counts as this charger's."""
    factory_anchors: tuple[str, ...] = ()
    """Fingerprints of CAs whose leaves let the charger in although nobody knows them, if they name its serial number."""
    expired_admitted_until: datetime | None = None
    """Until then its own expired leaf lets it in, Pending (A00.FR.429); None: not at all."""
    way_back_until: datetime | None = None
    """From then on no profile below 3 is allowed, whether or not the ledger has said so yet; None: that hangs on no time."""
    mode: Literal["accepted", "pending", "refused"] = "accepted"
    refusal_reason: str | None = None
    capabilities: Capabilities = NO_CAPABILITIES
    """Its family's capabilities, overlaid by its own."""
    part_purposes: tuple[str, ...] = ()
    """Of its parts, such as SECCs: the purposes for which a CSR of the charger is taken."""
    trace: TraceOrder | None = None
    """What of its traffic is to be written down, for people; over when its time is, whether or not it still stands here."""
    revision: int = 0


class AdmissionPlace(msgspec.Struct, frozen=True):
    """How far the admission bucket has been written, or read: `bucket` tells one making of it from the next."""

    bucket: str
    position: int

    def has(self, other: "AdmissionPlace") -> bool:
        """Whether whoever has read this far has read what was written there."""
        return self.bucket == other.bucket and self.position >= other.position


EXPIRED_FLAG = "expired-credential"
"""Of a session that was opened with an expired leaf: it is Pending until another leaf opens the next one."""


FACTORY_FLAG = "factory-credential"
"""Of a session that was opened with a leaf of the charger's factory: it is Pending until the next."""


class PresentedCredential(msgspec.Struct, frozen=True):
    """A client certificate as presented, from the handshake or another source (a load balancer's header).

    `chain_der` excludes the leaf and may be empty (resumed session, leaf-only client).
    """

    leaf_der: bytes
    chain_der: tuple[bytes, ...] = ()
    source: Literal["tls", "header"] = "tls"
    resumed: bool = False


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One admitted session."""

    session_id: str
    charger_id: str
    node: str
    incarnation: str
    ocpp_version: str
    """`2.0.1`, `2.1` or `1.6`."""
    security_profile: int
    remote_address: str
    opened_at: datetime
    record: AdmissionRecord
    fingerprint_sha256: str | None = None
    certificate_id: str | None = None
    key_generation: int | None = None
    flags: tuple[str, ...] = ()
    """E.g. `superseded-credential`."""
    chain_pem: str | None = None
    """The leaf and what was shown above it, where the admission record does not list the leaf."""


class AdmissionRefused(msgspec.Struct, frozen=True):
    """Why an upgrade was refused: `http_status` for the charger, `reason` (kebab-case) for evidence and metrics."""

    reason: str
    http_status: int
    message: str
