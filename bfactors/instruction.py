"""What the ledger wants done on a charger: the kinds, and how each may be sent again.

An instruction is outstanding in the ledger until evidence settles it. On the wire it is an `InstructionOrder`, addressed
to one session; any other actor drops it.
"""

from typing import Literal

import msgspec

from bfactors.certificate_hash import HashData

ResendRule = Literal["repeat", "repeat-not-found-is-success", "look-first", "once-per-decision"]


class _Kind(msgspec.Struct, frozen=True, tag_field="kind"):
    pass


class ObtainCsr(_Kind, frozen=True, tag="obtain-csr"):
    """Trigger the charger to make a key and send a CSR for `purpose`; `evse` names one of several SECCs by its EVSE."""

    purpose: str
    evse: int | None = None


class InstallLeaf(_Kind, frozen=True, tag="install-leaf"):
    """Deliver a leaf: `chain_pem` holds leaf first, issuers upward, no root.

    `root_pem` is added for a charger that wants the root too; `request_id` echoes the SignCertificate it answers (2.1).
    """

    purpose: str
    certificate_id: str
    fingerprint_sha256: str
    chain_pem: str
    root_pem: str = ""
    request_id: int | None = None


class InstallAnchor(_Kind, frozen=True, tag="install-anchor"):
    """Install one root in the store that verifies `purpose` on the charger."""

    purpose: str
    fingerprint_sha256: str
    pem: str


class ListCertificates(_Kind, frozen=True, tag="list-certificates"):
    """Ask what the charger holds in the store of `purpose`, and of its leaves if `with_leaves`; empty means everything."""

    purpose: str = ""
    with_leaves: bool = False


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


class DeleteCertificate(_Kind, frozen=True, tag="delete-certificate"):
    """Delete one certificate from the charger, named by the charger's own hash data. `use` is the dialect's store name."""

    use: str
    hash_data: HashData


SettingName = Literal[
    "organization",
    "additional-root-check",
    "max-chain-chars",
    "trust-store-slots",
    "csr-wait-s",
    "csr-repeats",
    "security-profile",
    "network-priority",
]
"""A charger's security settings by our name; each dialect has a table from these to variables or keys."""


class WriteSetting(_Kind, frozen=True, tag="write-setting"):
    """Set one of the charger's security settings. Never a secret."""

    name: SettingName
    value: str


class ReadSettings(_Kind, frozen=True, tag="read-settings"):
    """Ask for security settings; what the charger does not know is missing from its answer."""

    names: tuple[SettingName, ...]


class WriteAuthorizationKey(_Kind, frozen=True, tag="write-authorization-key"):
    """Give the charger a new AuthorizationKey; the key itself is fetched by its id when the frame is made."""

    secret_id: str
    generation: int


class RaiseSecurityProfile(_Kind, frozen=True, tag="raise-security-profile"):
    """Have an OCPP 1.6 charger use a higher security profile (whitepaper A05); it cannot be lowered again over OCPP."""

    security_profile: int


class CollectLog(_Kind, frozen=True, tag="collect-log"):
    """Have a log uploaded. The address with its one-time ticket is a secret, fetched when the frame is made."""

    log: Literal["security", "diagnostics"]
    request_id: int
    secret_id: str
    oldest: str | None = None
    latest: str | None = None


class AskFor(_Kind, frozen=True, tag="ask-for"):
    """Trigger a message other than a CSR."""

    message: Literal["boot", "heartbeat", "status", "log-status", "firmware-status"]


class CallAction(_Kind, frozen=True, tag="call-action"):
    """A call an operator wrote out: `payload` is JSON text, validated against the session's version before it leaves."""

    action: str
    payload: str


class InstallFirmwareRoot(_Kind, frozen=True, tag="install-firmware-root"):
    """Install one manufacturer's root, with which a charger verifies firmware. Of firmware trust alone."""

    fingerprint_sha256: str
    pem: str


class ListFirmwareRoots(_Kind, frozen=True, tag="list-firmware-roots"):
    """Ask which manufacturer roots the charger holds. Of firmware trust alone."""


class CompareRootStores(_Kind, frozen=True, tag="compare-root-stores"):
    """Ask in one request for manufacturer roots and central system roots: none may be in both. Of firmware trust alone."""


class DeleteFirmwareRoot(_Kind, frozen=True, tag="delete-firmware-root"):
    """Delete one manufacturer's root, named by the charger's own hash data. Of firmware trust alone."""

    hash_data: HashData


class UpdateFirmware(_Kind, frozen=True, tag="update-firmware"):
    """Have signed firmware fetched and installed. Times as OCPP writes them. Of firmware trust alone."""

    request_id: int
    location: str
    retrieve_at: str
    signing_certificate: str
    signature: str
    install_at: str | None = None


FirmwareKind = (
    InstallFirmwareRoot | ListFirmwareRoots | CompareRootStores | DeleteFirmwareRoot | UpdateFirmware
)
"""What no operational state, event or job can hold: their types end at `OperationalKind`."""

OperationalKind = (
    ObtainCsr
    | InstallLeaf
    | InstallAnchor
    | ListCertificates
    | SetNetworkProfile
    | SetProfilePriority
    | Reboot
    | CloseSession
    | DeleteCertificate
    | WriteSetting
    | ReadSettings
    | WriteAuthorizationKey
    | RaiseSecurityProfile
    | CollectLog
    | AskFor
    | CallAction
)

InstructionKind = OperationalKind | FirmwareKind
"""What may travel to a session."""

RESEND: dict[type[_Kind], ResendRule] = {
    ObtainCsr: "once-per-decision",
    InstallLeaf: "look-first",
    InstallAnchor: "repeat",
    ListCertificates: "repeat",
    SetNetworkProfile: "repeat",
    SetProfilePriority: "repeat",
    Reboot: "once-per-decision",
    CloseSession: "once-per-decision",
    DeleteCertificate: "repeat-not-found-is-success",
    WriteSetting: "repeat",
    ReadSettings: "repeat",
    WriteAuthorizationKey: "repeat",
    RaiseSecurityProfile: "repeat",
    CollectLog: "once-per-decision",
    AskFor: "once-per-decision",
    CallAction: "once-per-decision",
    InstallFirmwareRoot: "repeat",
    ListFirmwareRoots: "repeat",
    CompareRootStores: "repeat",
    DeleteFirmwareRoot: "repeat-not-found-is-success",
    UpdateFirmware: "once-per-decision",
}
"""Re-send rules are data, one per kind (MECHANISMS, "Sessions and instructions")."""

_HARMLESS: tuple[ResendRule, ...] = ("repeat", "repeat-not-found-is-success")


def is_repeatable(kind: InstructionKind) -> bool:
    """Whether sending it twice does no harm: then nobody needs to know that it was sent before it is answered."""
    return RESEND[type(kind)] in _HARMLESS


def is_reset(kind: InstructionKind) -> bool:
    """Whether it resets the charger, by a job's wish or an operator's."""
    return isinstance(kind, Reboot) or (isinstance(kind, CallAction) and kind.action == "Reset")


def interrupts(kind: InstructionKind) -> bool:
    """Whether carrying it out takes the charger, or its session, away for a while."""
    return isinstance(kind, Reboot | RaiseSecurityProfile | CloseSession)


def secret_of(kind: InstructionKind) -> str | None:
    """The id of the secret that the frame of this instruction carries; None: it carries none."""
    return kind.secret_id if isinstance(kind, WriteAuthorizationKey | CollectLog) else None


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
    waits_for_cars: bool = False
    """Not sent while a transaction runs: policy wants nothing begun then that interrupts the charger."""
    admission_revision: int = 0
    """Not sent before the session has seen an admission record of this revision: what it brings must be admitted first."""
