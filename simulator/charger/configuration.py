"""What a charger is told when it is commissioned, before it ever speaks to a central system."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from simulator.charger.fault import Fault


class OcppVersion(StrEnum):
    """The protocol a charger speaks; it offers one and no other."""

    V16 = "1.6"
    V201 = "2.0.1"
    V21 = "2.1"


class KeyType(StrEnum):
    """The kind of private key a charger makes for its client certificate."""

    P256 = "p256"
    RSA2048 = "rsa2048"


class TlsOffer(StrEnum):
    """The cipher suites a charger offers; the pairs are the two halves of what OCPP lets a charger choose from.

    Source: OCPP 2.0.1 A00.FR.319.
    """

    MODERN = "modern"
    ECDSA_PAIR = "ecdsa-pair"
    RSA_PAIR = "rsa-pair"


class HashAlgorithm(StrEnum):
    """How a charger names the certificates it lists."""

    SHA256 = "SHA256"
    SHA384 = "SHA384"
    SHA512 = "SHA512"


@dataclass(frozen=True, slots=True)
class ChargerFamily:
    """Make, model and firmware line, with the capabilities that come with them.

    `boots_on_every_connection` is False for families that send BootNotification only after a start
    or a reset and greet with a Heartbeat on a mere reconnect; OCPP 2.0.1 asks for no more.
    `verifies_issuer_chain` is False for families that install a leaf whose root they do not hold.
    `keeps_old_password` is False for families that forget the old password once they accepted a new one; the
    others return to it when nothing opens with the new one. `upload_method` is how logs are sent over HTTP.
    """

    name: str
    vendor: str
    model: str
    firmware: str
    key_type: KeyType = KeyType.P256
    tls_offer: TlsOffer = TlsOffer.MODERN
    hash_algorithm: HashAlgorithm = HashAlgorithm.SHA256
    boots_on_every_connection: bool = True
    verifies_issuer_chain: bool = True
    keeps_old_password: bool = True
    upload_method: Literal["PUT", "POST"] = "PUT"


@dataclass(frozen=True, slots=True)
class NetworkProfile:
    """One network configuration slot: where to connect (without the charger's id) and how securely (0-3)."""

    url: str
    security_profile: int


@dataclass(frozen=True, slots=True)
class ReconnectBackoff:
    """How long a charger stays away between attempts: doubling, capped, with a random part on top."""

    wait_minimum: timedelta = timedelta(seconds=1)
    random_range: timedelta = timedelta(seconds=2)
    repeat_times: int = 5

    def delay_s(self, failures: int, chance: float) -> float:
        """Seconds to wait after `failures` attempts in a row failed; `chance` lies in [0, 1)."""
        doublings = 1 << min(failures, self.repeat_times)
        return (self.wait_minimum * doublings + self.random_range * chance).total_seconds()


@dataclass(frozen=True, slots=True)
class PreinstalledCredential:
    """A client certificate and key a charger carries from the factory; PEM, the chain leaf first."""

    private_key_pem: str = field(repr=False)
    chain_pem: str


@dataclass(frozen=True, slots=True)
class ChargerConfiguration:
    """Everything set at commissioning; what changes afterwards lives in `ChargerMemory`.

    `heartbeat_interval` None means: as BootNotification's answer says. `connection_attempts` is how
    often one way of connecting is refused before the next one is tried (NetworkProfileConnectionAttempts).
    `secure_url` is where an OCPP 1.6 charger goes once it is told to leave plain WebSocket; empty means the
    same address with wss. In 1.6 a `basic_password` of 32 and more hex digits stands for the bytes they spell.
    `additional_root_check` is OCPP's AdditionalRootCertificateCheck. `secc_id` names it in ISO 15118 certificates.
    """

    charger_id: str
    serial_number: str
    organization: str
    family: ChargerFamily
    network_profiles: dict[int, NetworkProfile]
    priority: tuple[int, ...] = (1,)
    slots: tuple[int, ...] = (1, 2, 3)
    basic_password: str = field(default="", repr=False)
    csms_roots: tuple[str, ...] = ()
    preinstalled: PreinstalledCredential | None = None
    evses: int = 1
    heartbeat_interval: timedelta | None = None
    boot_retry: timedelta = timedelta(seconds=10)
    answer_timeout: timedelta = timedelta(seconds=30)
    open_timeout: timedelta = timedelta(seconds=20)
    connection_attempts: int = 3
    reconnect: ReconnectBackoff = ReconnectBackoff()
    certificate_signing_wait_minimum: timedelta = timedelta(seconds=60)
    certificate_signing_repeat_times: int = 3
    maximum_chain_chars: int = 10_000
    certificate_entries: int = 10
    faults: tuple[Fault, ...] = ()
    ocpp_version: OcppVersion = OcppVersion.V201
    secure_url: str = ""
    additional_root_check: bool = False
    secc_id: str = "DEDEPSSIMULATOR0001"
    country: str = "DE"
