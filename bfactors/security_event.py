"""Security events as data: how serious each is in which OCPP version, and which job it explains.

Chargers may send names of their own; those, and what our own edge noticed, are not critical.

Source: OCPP 2.0.1 appendix 1, OCPP 2.1 appendices, the OCPP 1.6 security whitepaper section 8.
"""

import msgspec

from bfactors.instruction import InstallAnchor, InstallLeaf

CRITICAL = "critical"
"""In a policy's `escalate_security_events`: every event that is critical in the version it was sent in."""
OTHER = "OtherSecurityEvents"
"""Stands for the rest, when more different kinds are sent at once than are counted apart."""

DUPLICATE_IDENTITY = "DuplicateIdentity"
"""Ours: sessions of one charger that keep displacing each other."""

_IN_EVERY_VERSION = frozenset(
    {
        "FirmwareUpdated",
        "SettingSystemTime",
        "StartupOfTheDevice",
        "ResetOrReboot",
        "SecurityLogWasCleared",
        "MemoryExhaustion",
        "TamperDetectionActivated",
    }
)
_IN_2X = _IN_EVERY_VERSION | {
    "InvalidFirmwareSignature",
    "InvalidFirmwareSigningCertificate",
    "InvalidCsmsCertificate",
    "InvalidChargingStationCertificate",
    "InvalidTLSVersion",
    "InvalidTLSCipherSuite",
    "MaintenanceLoginAccepted",
    "MaintenanceLoginFailed",
}
_CRITICAL = {
    "1.6": _IN_EVERY_VERSION,
    "2.0.1": _IN_2X,
    "2.1": _IN_2X | {"DiscardedRenewedClientCertificate"},
}


def is_critical(kind: str, ocpp_version: str) -> bool:
    """Whether the version's specification calls it critical: a charger keeps such an event until it could tell it."""
    return kind in _CRITICAL.get(ocpp_version, frozenset())


def is_escalated(kind: str, critical: bool, escalated: tuple[str, ...]) -> bool:
    """Whether a policy wants somebody told at once."""
    return kind in escalated or (critical and CRITICAL in escalated)


class Explanation(msgspec.Struct, frozen=True):
    """The job that an event explains, and what it says of it.

    `while_wanted` is the kind of instruction that shows it is this job's turn; any of `stages` shows it too.
    """

    code: str
    message: str
    stages: frozenset[str]
    while_wanted: type


_LEAF_REFUSED = Explanation(
    "invalid-charging-station-certificate",
    "the charger reported that the certificate it was given is not valid",
    frozenset({"installing", "awaiting-reconnect", "awaiting-activation"}),
    InstallLeaf,
)
_SERVER_REFUSED = Explanation(
    "invalid-csms-certificate",
    "the charger reported that it cannot verify our server certificate: its trust anchors do not fit, or its clock",
    frozenset({"awaiting-trust-anchor", "awaiting-reconnect"}),
    InstallAnchor,
)
_TLS_REFUSED = Explanation(
    "tls-not-accepted",
    "the charger reported that it could not agree with us on a TLS version or cipher suite",
    frozenset({"awaiting-reconnect"}),
    InstallLeaf,
)
_DISCARDED = Explanation(
    "renewed-certificate-discarded",
    "the charger could not connect with its new certificate and has gone back to the one before",
    frozenset({"installing", "awaiting-reconnect", "awaiting-activation"}),
    InstallLeaf,
)
EXPLANATIONS: dict[str, Explanation] = {
    "InvalidChargingStationCertificate": _LEAF_REFUSED,
    "InvalidChargePointCertificate": _LEAF_REFUSED,
    "InvalidCsmsCertificate": _SERVER_REFUSED,
    "InvalidCentralSystemCertificate": _SERVER_REFUSED,
    "InvalidTLSVersion": _TLS_REFUSED,
    "InvalidTLSCipherSuite": _TLS_REFUSED,
    "DiscardedRenewedClientCertificate": _DISCARDED,
}
EXPLAINING_CODES = frozenset(explanation.code for explanation in EXPLANATIONS.values())
"""Reasons a charger gave by an event: they stay with the job while it waits for the same thing."""
