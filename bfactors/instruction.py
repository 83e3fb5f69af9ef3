"""What the ledger wants done on a charger: the kinds, and how each may be sent again.

An instruction is outstanding in the ledger until evidence settles it. On the wire it is an `InstructionOrder`, addressed
to one session; any other actor drops it.
"""

from typing import Literal

import msgspec

ResendRule = Literal["repeat", "repeat-not-found-is-success", "look-first", "once-per-decision"]


class _Kind(msgspec.Struct, frozen=True, tag_field="kind"):
    pass


class ObtainCsr(_Kind, frozen=True, tag="obtain-csr"):
    """Trigger the charger to make a key and send a CSR for `purpose`."""

    purpose: str


class InstallLeaf(_Kind, frozen=True, tag="install-leaf"):
    """Deliver a leaf: `chain_pem` holds leaf first, issuers upward, no root."""

    purpose: str
    certificate_id: str
    fingerprint_sha256: str
    chain_pem: str


class InstallAnchor(_Kind, frozen=True, tag="install-anchor"):
    """Install one root in the store that verifies `purpose` on the charger."""

    purpose: str
    fingerprint_sha256: str
    pem: str


class ListCertificates(_Kind, frozen=True, tag="list-certificates"):
    """Ask what the charger holds in the store of `purpose`; empty means everything."""

    purpose: str = ""


class SetNetworkProfile(_Kind, frozen=True, tag="set-network-profile"):
    """Write one network slot: where and with which security profile to connect."""

    slot: int
    url: str
    security_profile: int


class SetProfilePriority(_Kind, frozen=True, tag="set-profile-priority"):
    """Order the network slots, most wanted first."""

    slots: tuple[int, ...]


class Reboot(_Kind, frozen=True, tag="reboot"):
    """Reset the charger: `when` is `on-idle` or `immediate`."""

    when: Literal["on-idle", "immediate"] = "on-idle"


class CloseSession(_Kind, frozen=True, tag="close-session"):
    """Close the charger's socket, so that it reconnects (or because it may no longer be connected)."""

    reason: str


InstructionKind = (
    ObtainCsr
    | InstallLeaf
    | InstallAnchor
    | ListCertificates
    | SetNetworkProfile
    | SetProfilePriority
    | Reboot
    | CloseSession
)

RESEND: dict[type[_Kind], ResendRule] = {
    ObtainCsr: "once-per-decision",
    InstallLeaf: "look-first",
    InstallAnchor: "repeat",
    ListCertificates: "repeat",
    SetNetworkProfile: "repeat",
    SetProfilePriority: "repeat",
    Reboot: "once-per-decision",
    CloseSession: "once-per-decision",
}
"""Re-send rules are data, one per kind (MECHANISMS, "Sessions and instructions")."""


def kind_name(kind: InstructionKind) -> str:
    """The kind as it appears on the wire, in metrics and in the API, e.g. `install-leaf`."""
    return str(kind.__struct_config__.tag)


class InstructionOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction on its way to one session.

    `decision` counts how often the ledger decided to have it done: the pair (instruction_id, decision) is carried out
    at most once per session. `answer_wait_s` is how long the charger may take to answer the call. No pause holds what
    `is_urgent`: the certificate in use is in its last safe days.
    """

    instruction_id: str
    charger_id: str
    session_id: str
    decision: int
    answer_wait_s: int
    body: InstructionKind
    is_urgent: bool = False
