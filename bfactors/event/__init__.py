"""What the ledger decided: past tense, append-only, camelCase payloads that keep their names wherever they travel.

Every event is a frozen value; `name_of` and `payload_of` give what is stored. Fields named `managedIdentityId`, `purpose`,
`variant`, `chargerId`, `jobId` and `certificateId` are also written to the row's own columns.
"""

import msgspec

from bfactors.admission import KeyVerifier
from bfactors.event.approval import (
    ApprovalDecided,
    ApprovalRequested,
)
from bfactors.event.authority import (
    AuthorityExpiryEscalated,
    AuthorityStatusChanged,
    CaRolloverAborted,
    CaRolloverAdvanced,
    CaRolloverCompleted,
    CaRolloverStalled,
    CaRolloverStarted,
)
from bfactors.event.certificate import (
    CertificateActivated,
    CertificateAdopted,
    CertificateDeactivated,
    CertificateDeleted,
    CertificateExpired,
    CertificateExpiryEscalated,
    CertificateInstalled,
    CertificateInstallRequested,
    CertificateRecalled,
    CertificateRejected,
    CertificateRenewalDue,
    CertificateRevocationRequested,
    CertificateRevoked,
    CertificateSuperseded,
    RevocationContradicted,
)
from bfactors.event.charger import (
    AdmissionRuleChanged,
    CapabilitiesChanged,
    ChargerBootReported,
    ChargerCapabilitiesSet,
    ChargerChanged,
    ChargerClockObserved,
    ChargerDecommissioned,
    ChargerFactObserved,
    ChargerLockoutForeseen,
    ChargerPartChanged,
    ChargerRegistered,
    ChargerReplaced,
    ChargerResumed,
    ChargerSessionClosed,
    ChargerSessionOpened,
    ExpiredCertificateAdmissionEnded,
    ExpiredCertificateAdmitted,
    OperatorCallAnswered,
    SpokenForSet,
    TraceStarted,
)
from bfactors.event.fleet import (
    FamilyFactoryAnchorsSet,
    FamilyFactsSet,
    FamilyQualified,
    NotificationSubscriptionRemoved,
    NotificationSubscriptionSet,
    PolicySetChanged,
    SupervisorStateSet,
)
from bfactors.event.identity import (
    IdentityChanged,
    IdentityRegistered,
    IdentityRetired,
    PersonalDataErased,
)
from bfactors.event.incident import (
    CertificateDenialLifted,
    CertificateInIncident,
    IncidentChanged,
    IncidentEnded,
    IncidentOpened,
)
from bfactors.event.instruction import (
    InstructionDispatched,
    InstructionOpened,
    InstructionSettled,
)
from bfactors.event.issuance import (
    CertificateFoundAtCa,
    CertificateIssued,
    CertificateIssueRequested,
    CertificateMissingAtCa,
    IssuanceAdopted,
    IssuanceInDoubt,
    IssuanceLapsed,
    IssuanceReconciliationStarted,
    IssuanceReferenceRecorded,
)
from bfactors.event.job import (
    AuthoritySlowerThanCharger,
    CertificateDiscarded,
    CertificateJobCancelled,
    CertificateJobFailed,
    CertificateJobOverdue,
    CertificateJobStageChanged,
    CertificateJobSucceeded,
    CertificateRenewalStarted,
    CertificateRequested,
    CSRHeldBack,
    CSRRefused,
    CSRValidated,
    PolicyDecisionRecorded,
    ReconnectedWithOldCertificate,
    ReconnectStepTaken,
)
from bfactors.event.key import (
    AuthorizationKeyAccepted,
    AuthorizationKeyActivated,
    AuthorizationKeyDoubted,
    AuthorizationKeyPrepared,
    AuthorizationKeyRequested,
    AuthorizationKeysRetired,
    AuthorizationKeyWithdrawn,
)
from bfactors.event.migration import (
    MigrationCertificateWanted,
    MigrationCompleted,
    MigrationHeld,
    MigrationOpened,
    MigrationQuarantined,
    MigrationReleased,
    MigrationSetBack,
    MigrationSlotsChosen,
    MigrationStarted,
    RollbackEnded,
    RollbackRequested,
    RollbackStarted,
    RollbackUsed,
    SecurityProfileMigrated,
)
from bfactors.event.reconciliation import (
    AuthorityReconciled,
    ReconciliationFailed,
    ReconciliationItem,
    ReconciliationRequested,
    UnexplainedCertificateFound,
    UnexplainedCertificateRevoked,
)
from bfactors.event.report import (
    EvidenceQuarantined,
    InstalledCertificatesReported,
    InventoryDifference,
    InventoryReconciled,
    LogRequestAccepted,
    LogRequested,
    LogStatusChanged,
    LogStored,
    SecurityEventEscalated,
    SecurityEventRecorded,
)
from bfactors.event.retention import (
    RetentionSet,
    RetentionSwept,
)
from bfactors.event.revocation import (
    CertificateRefusedAtEdge,
    CertificateRevocationPublished,
    CertificateRevocationUnpublished,
    ForeignRevocationChecked,
    RevocationFollowUpOpened,
    RevocationListOverdue,
)
from bfactors.event.trust import (
    Anchor,
    AuthorityRegistered,
    NodeForgotten,
    NodeTrustRecorded,
    TrustAnchorAccepted,
    TrustAnchorBundleConfirmed,
    TrustAnchorBundleCreated,
    TrustGateWaived,
)
from bfactors.event.waiver import (
    WaiverEnded,
    WaiverEnding,
    WaiverGranted,
    WaiverRejected,
    WaiverRequested,
)

__all__ = [
    "SCHEMA_VERSION",
    "AdmissionRuleChanged",
    "Anchor",
    "ApprovalDecided",
    "ApprovalRequested",
    "AuthorityExpiryEscalated",
    "AuthorityReconciled",
    "AuthorityRegistered",
    "AuthoritySlowerThanCharger",
    "AuthorityStatusChanged",
    "AuthorizationKeyAccepted",
    "AuthorizationKeyActivated",
    "AuthorizationKeyDoubted",
    "AuthorizationKeyPrepared",
    "AuthorizationKeyRequested",
    "AuthorizationKeyWithdrawn",
    "AuthorizationKeysRetired",
    "CSRHeldBack",
    "CSRRefused",
    "CSRValidated",
    "CaRolloverAborted",
    "CaRolloverAdvanced",
    "CaRolloverCompleted",
    "CaRolloverStalled",
    "CaRolloverStarted",
    "CapabilitiesChanged",
    "CertificateActivated",
    "CertificateAdopted",
    "CertificateDeactivated",
    "CertificateDeleted",
    "CertificateDenialLifted",
    "CertificateDiscarded",
    "CertificateExpired",
    "CertificateExpiryEscalated",
    "CertificateFoundAtCa",
    "CertificateInIncident",
    "CertificateInstallRequested",
    "CertificateInstalled",
    "CertificateIssueRequested",
    "CertificateIssued",
    "CertificateJobCancelled",
    "CertificateJobFailed",
    "CertificateJobOverdue",
    "CertificateJobStageChanged",
    "CertificateJobSucceeded",
    "CertificateMissingAtCa",
    "CertificateRecalled",
    "CertificateRefusedAtEdge",
    "CertificateRejected",
    "CertificateRenewalDue",
    "CertificateRenewalStarted",
    "CertificateRequested",
    "CertificateRevocationPublished",
    "CertificateRevocationRequested",
    "CertificateRevocationUnpublished",
    "CertificateRevoked",
    "CertificateSuperseded",
    "ChargerBootReported",
    "ChargerCapabilitiesSet",
    "ChargerChanged",
    "ChargerClockObserved",
    "ChargerDecommissioned",
    "ChargerEvent",
    "ChargerFactObserved",
    "ChargerLockoutForeseen",
    "ChargerPartChanged",
    "ChargerRegistered",
    "ChargerReplaced",
    "ChargerResumed",
    "ChargerSessionClosed",
    "ChargerSessionOpened",
    "Event",
    "EvidenceQuarantined",
    "ExpiredCertificateAdmissionEnded",
    "ExpiredCertificateAdmitted",
    "FamilyFactoryAnchorsSet",
    "FamilyFactsSet",
    "FamilyQualified",
    "FleetEvent",
    "ForeignRevocationChecked",
    "IdentityChanged",
    "IdentityEvent",
    "IdentityRegistered",
    "IdentityRetired",
    "IncidentChanged",
    "IncidentEnded",
    "IncidentOpened",
    "InstalledCertificatesReported",
    "InstructionDispatched",
    "InstructionOpened",
    "InstructionSettled",
    "InventoryDifference",
    "InventoryReconciled",
    "IssuanceAdopted",
    "IssuanceInDoubt",
    "IssuanceLapsed",
    "IssuanceReconciliationStarted",
    "IssuanceReferenceRecorded",
    "LogRequestAccepted",
    "LogRequested",
    "LogStatusChanged",
    "LogStored",
    "MigrationCertificateWanted",
    "MigrationCompleted",
    "MigrationHeld",
    "MigrationOpened",
    "MigrationQuarantined",
    "MigrationReleased",
    "MigrationSetBack",
    "MigrationSlotsChosen",
    "MigrationStarted",
    "NodeForgotten",
    "NodeTrustRecorded",
    "NotificationSubscriptionRemoved",
    "NotificationSubscriptionSet",
    "OperatorCallAnswered",
    "PersonalDataErased",
    "PolicyDecisionRecorded",
    "PolicySetChanged",
    "ReconciliationFailed",
    "ReconciliationItem",
    "ReconciliationRequested",
    "ReconnectStepTaken",
    "ReconnectedWithOldCertificate",
    "RetentionSet",
    "RetentionSwept",
    "RevocationContradicted",
    "RevocationFollowUpOpened",
    "RevocationListOverdue",
    "RollbackEnded",
    "RollbackRequested",
    "RollbackStarted",
    "RollbackUsed",
    "SecurityEventEscalated",
    "SecurityEventRecorded",
    "SecurityProfileMigrated",
    "SpokenForSet",
    "SupervisorStateSet",
    "TraceStarted",
    "TrustAnchorAccepted",
    "TrustAnchorBundleConfirmed",
    "TrustAnchorBundleCreated",
    "TrustGateWaived",
    "UnexplainedCertificateFound",
    "UnexplainedCertificateRevoked",
    "WaiverEnded",
    "WaiverEnding",
    "WaiverGranted",
    "WaiverRejected",
    "WaiverRequested",
    "name_of",
    "payload_of",
]

SCHEMA_VERSION = 1
_encode = msgspec.json.Encoder().encode

ChargerEvent = (
    ChargerRegistered
    | ChargerChanged
    | ChargerDecommissioned
    | ChargerReplaced
    | ChargerResumed
    | AdmissionRuleChanged
    | ChargerCapabilitiesSet
    | CapabilitiesChanged
    | ChargerSessionOpened
    | ChargerSessionClosed
    | ChargerBootReported
    | ChargerClockObserved
    | SecurityEventRecorded
    | SecurityEventEscalated
    | LogRequested
    | LogRequestAccepted
    | LogStatusChanged
    | LogStored
    | SecurityProfileMigrated
    | MigrationOpened
    | MigrationHeld
    | MigrationCertificateWanted
    | MigrationStarted
    | MigrationSlotsChosen
    | MigrationSetBack
    | MigrationQuarantined
    | MigrationReleased
    | MigrationCompleted
    | ApprovalRequested
    | ApprovalDecided
    | RollbackRequested
    | RollbackStarted
    | RollbackUsed
    | RollbackEnded
    | InstalledCertificatesReported
    | InventoryReconciled
    | ChargerFactObserved
    | ChargerLockoutForeseen
    | ChargerPartChanged
    | TrustAnchorAccepted
    | TrustAnchorBundleConfirmed
    | TrustGateWaived
    | AuthorizationKeyRequested
    | AuthorizationKeyPrepared
    | AuthorizationKeyAccepted
    | AuthorizationKeyActivated
    | AuthorizationKeyDoubted
    | AuthorizationKeyWithdrawn
    | AuthorizationKeysRetired
    | InstructionOpened
    | InstructionDispatched
    | InstructionSettled
    | OperatorCallAnswered
    | TraceStarted
    | SpokenForSet
    | ExpiredCertificateAdmitted
    | ExpiredCertificateAdmissionEnded
    | CertificateRequested
    | CertificateRenewalStarted
    | CertificateJobStageChanged
    | CertificateJobOverdue
    | ReconnectStepTaken
    | ReconnectedWithOldCertificate
    | CertificateDiscarded
    | CertificateJobFailed
    | CertificateJobSucceeded
    | CertificateJobCancelled
    | PolicyDecisionRecorded
    | CSRValidated
    | CSRHeldBack
    | AuthoritySlowerThanCharger
    | CSRRefused
    | CertificateIssueRequested
    | IssuanceReferenceRecorded
    | IssuanceReconciliationStarted
    | IssuanceAdopted
    | IssuanceInDoubt
    | IssuanceLapsed
    | CertificateIssued
    | CertificateFoundAtCa
    | CertificateRecalled
    | CertificateMissingAtCa
    | RevocationContradicted
    | CertificateInstallRequested
    | CertificateInstalled
    | CertificateActivated
    | CertificateSuperseded
    | CertificateRejected
    | CertificateDeactivated
    | CertificateRevocationRequested
    | CertificateRefusedAtEdge
    | CertificateRevoked
    | CertificateInIncident
    | CertificateDenialLifted
    | CertificateRevocationPublished
    | CertificateRevocationUnpublished
    | RevocationFollowUpOpened
    | ForeignRevocationChecked
    | CertificateExpired
    | CertificateExpiryEscalated
    | CertificateRenewalDue
    | CertificateDeleted
    | CertificateAdopted
    | EvidenceQuarantined
)

FleetEvent = (
    AuthorityRegistered
    | AuthorityExpiryEscalated
    | AuthorityStatusChanged
    | CaRolloverAborted
    | CaRolloverAdvanced
    | CaRolloverCompleted
    | CaRolloverStalled
    | CaRolloverStarted
    | TrustAnchorBundleCreated
    | SupervisorStateSet
    | PolicySetChanged
    | IncidentOpened
    | IncidentChanged
    | IncidentEnded
    | NodeTrustRecorded
    | NodeForgotten
    | FamilyFactsSet
    | FamilyFactoryAnchorsSet
    | FamilyQualified
    | NotificationSubscriptionSet
    | NotificationSubscriptionRemoved
    | RetentionSet
    | RetentionSwept
    | ApprovalRequested
    | ApprovalDecided
    | WaiverRequested
    | WaiverGranted
    | WaiverRejected
    | WaiverEnding
    | WaiverEnded
    | ReconciliationRequested
    | AuthorityReconciled
    | ReconciliationFailed
    | UnexplainedCertificateFound
    | UnexplainedCertificateRevoked
    | RevocationListOverdue
    | SecurityEventRecorded
    | EvidenceQuarantined
)

IdentityEvent = IdentityRegistered | IdentityChanged | IdentityRetired | PersonalDataErased

Event = ChargerEvent | FleetEvent | IdentityEvent


def name_of(event: msgspec.Struct) -> str:
    """The event's name as stored and published."""
    return type(event).__name__


def payload_of(event: msgspec.Struct) -> str:
    """The JSON text that is stored and hashed. A key's verifier is never in it."""
    return _encode(_without_secrets(event) if type(event) in _WITH_KEYS else event).decode()


_WITH_KEYS = frozenset({ChargerRegistered, ChargerReplaced, AuthorizationKeyPrepared})


def _without_secrets(event: msgspec.Struct) -> msgspec.Struct:
    replace = msgspec.structs.replace
    if isinstance(event, ChargerRegistered | ChargerReplaced) and event.key is not None:
        return replace(event, key=_without_verifier(event.key), key_forms=_without_verifiers(event.key_forms))
    if isinstance(event, AuthorizationKeyPrepared):
        return replace(event, keys=_without_verifiers(event.keys))
    return event


def _without_verifiers(keys: tuple[KeyVerifier, ...]) -> tuple[KeyVerifier, ...]:
    return tuple(_without_verifier(key) for key in keys)


def _without_verifier(key: KeyVerifier) -> KeyVerifier:
    return msgspec.structs.replace(key, verifier="***")
