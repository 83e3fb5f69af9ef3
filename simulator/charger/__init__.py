"""A simulated OCPP 2.0.1 charger that shares no code with the system it talks to."""

from simulator.charger.charger import Charger
from simulator.charger.configuration import (
    ChargerConfiguration,
    ChargerFamily,
    HashAlgorithm,
    KeyType,
    NetworkProfile,
    PreinstalledCredential,
    ReconnectBackoff,
    TlsOffer,
)
from simulator.charger.fault import (
    CannotListCertificates,
    ClockSkew,
    CsrWithSubjectOf,
    DropsSocketBeforeAnswering,
    DuplicatesAnswers,
    Fault,
    LateAnswers,
    LeafOnlyClient,
    NeverReconnectAfterCertificate,
    NewKeyOnRetry,
    RejectsCertificate,
    RejectsTrigger,
    SameCsrTwice,
    SendsGarbage,
    SilentOn,
    StoreFull,
    WrongBootSerial,
)
from simulator.charger.journal import ChargerEvent, Happening
from simulator.charger.memory import ChargerMemory
from simulator.charger.snapshot import ChargerSnapshot, ChargerState

__all__ = [
    "CannotListCertificates",
    "Charger",
    "ChargerConfiguration",
    "ChargerEvent",
    "ChargerFamily",
    "ChargerMemory",
    "ChargerSnapshot",
    "ChargerState",
    "ClockSkew",
    "CsrWithSubjectOf",
    "DropsSocketBeforeAnswering",
    "DuplicatesAnswers",
    "Fault",
    "Happening",
    "HashAlgorithm",
    "KeyType",
    "LateAnswers",
    "LeafOnlyClient",
    "NetworkProfile",
    "NeverReconnectAfterCertificate",
    "NewKeyOnRetry",
    "PreinstalledCredential",
    "ReconnectBackoff",
    "RejectsCertificate",
    "RejectsTrigger",
    "SameCsrTwice",
    "SendsGarbage",
    "SilentOn",
    "StoreFull",
    "TlsOffer",
    "WrongBootSerial",
]
