"""What a charger does with certificates it is sent, asked for, or told to delete, in no version's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from simulator.charger.configuration import ChargerConfiguration, HashAlgorithm
from simulator.charger.credential import CertificateRefused, CertificateUse, ClientCredential, accept_chain
from simulator.charger.deed import CertificateSettled, Deed, Reconnect, TellSecurityEvents
from simulator.charger.fault import FaultScript
from simulator.charger.fault_conduct import NeverReconnectAfterCertificate
from simulator.charger.fault_identity import (
    HashStyle,
    ListsCertificatesAs,
    ListsEveryAlgorithm,
    NeedsCrlf,
    NeedsRootInChain,
    RejectsCertificate,
    StoreFull,
)
from simulator.charger.frame import Payload
from simulator.charger.hash_data import Listed, hash_data, is_named_by
from simulator.charger.journal import Happening, Journal
from simulator.charger.memory import ChargerMemory
from simulator.charger.trust_store import CSMS_ROOT, ROOT_TYPES, V2G_ROOT, RootRefused, StoreExhausted

V2G_CHAIN = "V2GCertificateChain"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status, why, and what follows; versions word it."""

    status: str
    reason_code: str = ""
    info: str = ""
    deeds: tuple[Deed, ...] = ()


class CertificateDesk:
    """Certificates come and go here; all names are OCPP 2.x's."""

    def __init__(
        self,
        configuration: ChargerConfiguration,
        memory: ChargerMemory,
        faults: FaultScript,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._configuration = configuration
        self._memory = memory
        self._faults = faults
        self._journal = journal
        self._clock = clock
        lists = faults.find(ListsCertificatesAs)
        self._style = lists.style if lists else HashStyle.PLAIN

    def deliver(self, use: str, chain_pem: str, request_id: int | None = None) -> Verdict:
        """CertificateSigned; `request_id` None means that the version has none.

        Source: OCPP 2.0.1 A02.FR.06-08, A02.FR.16; 2.1 A02.FR.26.
        """
        memory = self._memory
        try:
            wanted = CertificateUse(use)
        except ValueError:
            return self._turn_down(CertificateUse.STATION, "no such kind of certificate is kept here")
        pending = memory.pending.get(wanted)
        is_station = wanted is CertificateUse.STATION
        roots = memory.trust.roots(CSMS_ROOT if is_station else V2G_ROOT)
        try:
            if len(chain_pem) > self._configuration.maximum_chain_chars:
                raise CertificateRefused("longer than MaxCertificateChainSize")
            if request_id is not None and pending is not None and pending.request_id != request_id:
                raise CertificateRefused("the request id is not that of the request")
            if self._faults.spend(RejectsCertificate):
                raise CertificateRefused("this charger was told to reject it")
            self._insist_on_form(chain_pem)
            verified = roots if self._configuration.family.verifies_issuer_chain else None
            credential = accept_chain(chain_pem, pending, roots=verified, now=self._clock())
        except CertificateRefused as error:
            return self._turn_down(wanted, str(error))
        del memory.pending[wanted]
        self._journal.record(Happening.CERTIFICATE_ACCEPTED, credential.fingerprint_sha256)
        deeds: tuple[Deed, ...] = (CertificateSettled(wanted),)
        if not is_station:
            memory.v2g[wanted] = credential
            return Verdict("Accepted", deeds=deeds)
        memory.renewed = credential
        if memory.security_profile == 3 and not self._faults.has(NeverReconnectAfterCertificate):
            deeds = (*deeds, Reconnect())
        return Verdict("Accepted", deeds=deeds)

    def _insist_on_form(self, chain_pem: str) -> None:
        if self._faults.has(NeedsCrlf) and _has_bare_newline(chain_pem):
            raise CertificateRefused("its lines do not end in CRLF")
        if self._faults.has(NeedsRootInChain):
            try:
                last = x509.load_pem_x509_certificates(chain_pem.encode())[-1]
            except ValueError as error:
                raise CertificateRefused("not a PEM certificate chain") from error
            if last.subject != last.issuer:
                raise CertificateRefused("its root is missing")

    def _turn_down(self, use: CertificateUse, reason: str) -> Verdict:
        self._journal.record(Happening.CERTIFICATE_REFUSED, reason)
        self._memory.note_security_event("InvalidChargingStationCertificate", self._clock(), reason)
        deeds = (CertificateSettled(use), TellSecurityEvents())
        return Verdict("Rejected", "InvalidCertificate", reason, deeds)

    def install(self, kind: str, pem: str) -> Verdict:
        """InstallCertificate."""
        try:
            if self._faults.has(StoreFull):
                raise StoreExhausted
            if self._faults.has(NeedsCrlf) and _has_bare_newline(pem):
                raise RootRefused("its lines do not end in CRLF")
            name = self._memory.trust.install(kind, pem)
        except StoreExhausted:
            self._journal.record(Happening.ROOT_REFUSED, "the certificate store is full")
            return Verdict("Failed", "OutOfStorage", "the certificate store is full")
        except RootRefused as error:
            self._journal.record(Happening.ROOT_REFUSED, str(error))
            return Verdict("Rejected", "InvalidCertificate", str(error))
        self._journal.record(Happening.ROOT_INSTALLED, name)
        return Verdict("Accepted")

    def listed(self, kinds: Iterable[str] | None) -> list[Listed]:
        """GetInstalledCertificateIds; None means all kinds."""
        found: list[Listed] = []
        wanted = (*ROOT_TYPES, V2G_CHAIN) if kinds is None else tuple(kinds)
        algorithms: Iterable[HashAlgorithm] = (self._configuration.family.hash_algorithm,)
        if self._faults.has(ListsEveryAlgorithm):
            algorithms = HashAlgorithm
        for algorithm in algorithms:
            for kind in wanted:
                if kind == V2G_CHAIN:
                    found.extend(self._chain(each, algorithm) for each in self._memory.v2g.values())
                elif kind in ROOT_TYPES:
                    found.extend(
                        Listed(kind, self._name(root, self._memory.trust.issuer_of(root), algorithm))
                        for root in self._memory.trust.roots(kind)
                    )
        return found

    def _chain(self, credential: ClientCredential, algorithm: HashAlgorithm) -> Listed:
        chain = x509.load_pem_x509_certificates(credential.chain_pem.encode())
        issuers = [*chain[1:], self._issuer(chain[-1])]
        leaf, *below = [
            self._name(one, issuer, algorithm) for one, issuer in zip(chain, issuers, strict=True)
        ]
        return Listed(V2G_CHAIN, leaf, tuple(below[:4]))

    def _issuer(self, last: x509.Certificate) -> x509.Certificate:
        for root in self._memory.trust.roots(V2G_ROOT):
            if root.subject == last.issuer:
                return root
        return last  # nothing better is known

    def _name(
        self, certificate: x509.Certificate, issuer: x509.Certificate, algorithm: HashAlgorithm
    ) -> Payload:
        return hash_data(certificate, issuer, algorithm, self._style)

    def root_hash(self) -> Payload | None:
        """The hash data of the V2G root a request is meant for, if there is one."""
        roots = self._memory.trust.roots(V2G_ROOT)
        algorithm = self._configuration.family.hash_algorithm
        return self._name(roots[0], roots[0], algorithm) if roots else None

    def delete(self, wanted: Payload) -> Verdict:
        """DeleteCertificate; the charger's own client certificate stays (M04.FR.06)."""
        memory = self._memory
        for use, credential in memory.v2g.items():
            leaf, *above = x509.load_pem_x509_certificates(credential.chain_pem.encode())
            if is_named_by(leaf, (*above[:1], self._issuer(leaf)), wanted, self._style):
                del memory.v2g[use]
                return Verdict("Accepted")
        for own in (memory.credential, memory.renewed):
            chain = x509.load_pem_x509_certificates(own.chain_pem.encode()) if own else []
            issuers = (*chain[1:2], *memory.trust.roots())
            if chain and is_named_by(chain[0], issuers, wanted, self._style):
                return Verdict("Failed", "InvalidCertificate", "the charger's own certificate is not deleted")
        for kind in ROOT_TYPES:
            for root in memory.trust.roots(kind):
                if is_named_by(root, (memory.trust.issuer_of(root),), wanted, self._style):
                    return self._drop(kind, root)
        return Verdict("NotFound")

    def _drop(self, kind: str, root: x509.Certificate) -> Verdict:
        trust = self._memory.trust
        if kind == CSMS_ROOT and len(trust.roots()) == 1 and self._memory.security_profile >= 2:
            return Verdict("Failed", "InvalidCertificate", "the last CSMSRootCertificate is in use")
        name = trust.fingerprints(kind)[trust.roots(kind).index(root)]
        trust.remove(kind, name)
        self._journal.record(Happening.ROOT_REMOVED, name)
        return Verdict("Accepted")


def _has_bare_newline(pem: str) -> bool:
    return "\n" in pem.replace("\r\n", "")
