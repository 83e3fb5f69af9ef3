"""What a charger remembers across reconnects, resets and a restart of the simulator."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from simulator.charger.configuration import ChargerConfiguration, NetworkProfile
from simulator.charger.credential import CertificateUse, ClientCredential, PendingKey
from simulator.charger.trust_store import CSMS_ROOT, ROOT_TYPES, TrustStore

QUEUED_EVENTS = 200


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """A security event that waits until the central system has taken it; `type` is OCPP's name."""

    type: str
    at: datetime
    tech_info: str = ""


@dataclass(slots=True)
class ChargerMemory:
    """The charger's flash: passwords, slots, roots, keys and settings.

    `credential` opened a session before (or came from the factory); `renewed` was accepted and has
    yet to open one; likewise `basic_password` and `pending_password`. `security_profile` is that of the last
    connection that worked. `staged` holds settings that take effect with the next reset, by 2.x variable
    name. `pending` and `v2g` are by what the certificate is for.
    """

    basic_password: str = field(repr=False)
    organization: str
    network_profiles: dict[int, NetworkProfile]
    priority: tuple[int, ...]
    security_profile: int
    trust: TrustStore
    heartbeat_s: int | None
    signing_wait_s: float
    signing_repeat_times: int
    credential: ClientCredential | None = None
    renewed: ClientCredential | None = None
    pending_password: str | None = field(default=None, repr=False)
    staged: dict[str, str] = field(default_factory=dict, repr=False)
    pending: dict[CertificateUse, PendingKey] = field(default_factory=dict)
    v2g: dict[CertificateUse, ClientCredential] = field(default_factory=dict)
    requests: int = 0
    security_events: deque[SecurityEvent] = field(default_factory=lambda: deque(maxlen=QUEUED_EVENTS))
    security_log: deque[SecurityEvent] = field(default_factory=lambda: deque(maxlen=QUEUED_EVENTS))

    @classmethod
    def commissioned(cls, configuration: ChargerConfiguration) -> ChargerMemory:
        """The memory of a charger fresh from its installer."""
        trust = _trust_store(configuration)
        for pem in configuration.csms_roots:
            trust.restore(CSMS_ROOT, pem)
        factory = configuration.preinstalled
        heartbeat = configuration.heartbeat_interval
        return cls(
            basic_password=configuration.basic_password,
            organization=configuration.organization,
            network_profiles=dict(configuration.network_profiles),
            priority=configuration.priority,
            security_profile=configuration.network_profiles[configuration.priority[0]].security_profile,
            trust=trust,
            heartbeat_s=None if heartbeat is None else max(1, round(heartbeat.total_seconds())),
            signing_wait_s=configuration.certificate_signing_wait_minimum.total_seconds(),
            signing_repeat_times=configuration.certificate_signing_repeat_times,
            credential=ClientCredential.of(factory.private_key_pem, factory.chain_pem) if factory else None,
        )

    @property
    def newest_credential(self) -> ClientCredential | None:
        """The certificate a connection should be tried with first."""
        return self.renewed or self.credential

    def note_security_event(self, kind: str, at: datetime, tech_info: str = "") -> None:
        """Queue an event, unless the same one is waiting already."""
        if not any(event.type == kind and event.tech_info == tech_info for event in self.security_events):
            self.queue_security_event(SecurityEvent(kind, at, tech_info[:255]))

    def queue_security_event(self, event: SecurityEvent) -> None:
        """Queue an event whether or not it is news; a full queue forgets its oldest."""
        self.security_events.append(event)
        self.security_log.append(event)

    def dump(self) -> dict[str, Any]:
        """Everything as JSON values, private keys included: whoever writes it down keeps it to the owner."""
        return {
            "basic_password": self.basic_password,
            "organization": self.organization,
            "network_profiles": {
                str(slot): {"url": profile.url, "security_profile": profile.security_profile}
                for slot, profile in self.network_profiles.items()
            },
            "priority": list(self.priority),
            "security_profile": self.security_profile,
            "roots": {kind: list(self.trust.pems(kind)) for kind in ROOT_TYPES},
            "heartbeat_s": self.heartbeat_s,
            "signing_wait_s": self.signing_wait_s,
            "signing_repeat_times": self.signing_repeat_times,
            "credential": _dump_credential(self.credential),
            "renewed": _dump_credential(self.renewed),
            "pending_password": self.pending_password,
            "staged": dict(self.staged),
            "pending": {
                use.value: {
                    "private_key_pem": key.private_key_pem,
                    "csr_pem": key.csr_pem,
                    "request_id": key.request_id,
                }
                for use, key in self.pending.items()
            },
            "v2g": {use.value: _dump_credential(each) for use, each in self.v2g.items()},
            "requests": self.requests,
            "security_events": [
                {"type": event.type, "at": event.at.isoformat(), "tech_info": event.tech_info}
                for event in self.security_events
            ],
        }

    @classmethod
    def load(cls, dumped: dict[str, Any], configuration: ChargerConfiguration) -> ChargerMemory:
        """The memory that `dump` wrote, in a charger of this configuration."""
        trust = _trust_store(configuration)
        for kind, pems in dumped["roots"].items():
            for pem in pems:
                trust.restore(kind, pem)
        return cls(
            basic_password=dumped["basic_password"],
            organization=dumped["organization"],
            network_profiles={
                int(slot): NetworkProfile(profile["url"], profile["security_profile"])
                for slot, profile in dumped["network_profiles"].items()
            },
            priority=tuple(dumped["priority"]),
            security_profile=dumped["security_profile"],
            trust=trust,
            heartbeat_s=dumped["heartbeat_s"],
            signing_wait_s=dumped["signing_wait_s"],
            signing_repeat_times=dumped["signing_repeat_times"],
            credential=_load_credential(dumped["credential"]),
            renewed=_load_credential(dumped["renewed"]),
            pending_password=dumped["pending_password"],
            staged=dict(dumped["staged"]),
            pending={CertificateUse(use): PendingKey(**key) for use, key in dumped["pending"].items()},
            v2g={
                CertificateUse(use): ClientCredential.of(each["private_key_pem"], each["chain_pem"])
                for use, each in dumped["v2g"].items()
            },
            requests=dumped["requests"],
            security_events=deque(
                (
                    SecurityEvent(event["type"], datetime.fromisoformat(event["at"]), event["tech_info"])
                    for event in dumped["security_events"]
                ),
                maxlen=QUEUED_EVENTS,
            ),
        )


def _trust_store(configuration: ChargerConfiguration) -> TrustStore:
    return TrustStore(
        configuration.certificate_entries, additional_root_check=configuration.additional_root_check
    )


def _dump_credential(credential: ClientCredential | None) -> dict[str, str] | None:
    if credential is None:
        return None
    return {"private_key_pem": credential.private_key_pem, "chain_pem": credential.chain_pem}


def _load_credential(dumped: dict[str, str] | None) -> ClientCredential | None:
    return None if dumped is None else ClientCredential.of(dumped["private_key_pem"], dumped["chain_pem"])
