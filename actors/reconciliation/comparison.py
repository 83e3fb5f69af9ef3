"""Holding everything a CA signed against the ledger, and telling each difference to whoever decides on it."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from actors.issuance.record import record_fact
from actors.issuance.returned import below_root
from actors.reconciliation.ports import ReconciliationPorts
from actors.reconciliation.search import fetch_patiently
from bfactors.audit_report import AuditEntry, ReportRef
from bfactors.authority_comparison import ATTACHED, KINDS, MISSING, UNEXPLAINED, is_missing, oddity
from bfactors.ca import IssuedChain, Permanent
from bfactors.effect import ReconcileAuthority
from bfactors.event import ReconciliationItem
from bfactors.evidence import AuthorityCompared, CertificateNotAtCa, CertificateSeenAtCa, EvidenceBody
from bfactors.fleet.state import authority_id_of
from bfactors.known_certificate import KnownCertificate
from bfactors.ports import Auditor
from bfactors.x509 import Certificate, MalformedX509, join_chain, parse_certificate

_LOG = logging.getLogger(__name__)

ITEMS_SHOWN = 200
"""So many differences are named in the fleet's record; of the others their number, and each charger has its own."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run. Made again after a crash it tells the same facts under the same ids."""

    ports: ReconciliationPorts
    auditor: Auditor
    effect: ReconcileAuthority
    wait: Callable[[float], Awaitable[object]]
    _listed: set[int] = field(default_factory=set)
    _counts: Counter[str] = field(default_factory=Counter)
    _items: list[ReconciliationItem] = field(default_factory=list)

    async def carry_out(self, report: ReportRef) -> None:
        """Raises `bfactors.ca` and Unavailable; what was told by then stays told."""
        own_serial = parse_certificate(self.effect.authority_pem).serial_number
        async for batch in self.auditor.entries(report):
            entries = [entry for entry in batch if entry.serial_number != own_serial]
            self._listed.update(int(entry.serial_number, 16) for entry in entries)
            known = await self.ports.index.by_serial([entry.serial_number for entry in entries])
            for entry in entries:
                found = known.get(entry.serial_number)
                kind = oddity(entry, found, report.created_at)
                if kind is not None:
                    await self._look_at(entry, found, kind, report)
        await self._look_for_missing(report)
        counts = {kind: self._counts[kind] for kind in KINDS if self._counts[kind]}
        fact = AuthorityCompared(
            purpose=self.effect.purpose,
            run_id=self.effect.run_id,
            authority_arn=report.authority_arn,
            report_ref=report.report_id,
            report_at=report.created_at,
            certificates=len(self._listed),
            counts=counts,
            items=tuple(self._items),
        )
        await self._tell("", fact, self.effect.run_id, self.effect.purpose, report.authority_arn)
        self._show(counts, report.created_at)

    async def _look_at(
        self, entry: AuditEntry, known: KnownCertificate | None, kind: str, report: ReportRef
    ) -> None:
        """The certificate itself tells the key, and the key whose it is."""
        chain, leaf = await self._fetched(entry, report)
        charger_id = known.charger_id if known is not None else None
        if charger_id is None and leaf is not None:
            charger_id = await self.ports.index.charger_of_key(leaf.spki_sha256)
        if charger_id is not None and chain is not None:
            kind = ATTACHED if kind == UNEXPLAINED else kind
            fact = CertificateSeenAtCa(
                purpose=self.effect.purpose,
                authority_arn=report.authority_arn,
                external_ref=entry.external_ref,
                chain_pem=chain,
                issued_at=entry.issued_at,
                revoked_at=entry.revoked_at,
                revocation_reason=entry.revocation_reason,
                report_ref=report.report_id,
                report_at=report.created_at,
                ledger_state=known.state if known is not None else None,
            )
            await self._tell(charger_id, fact, self.effect.run_id, entry.external_ref)
        self._note(
            ReconciliationItem(
                kind=kind,
                serial_number=entry.serial_number,
                external_ref=entry.external_ref,
                certificate_id=leaf.fingerprint_sha256[:32] if leaf is not None else None,
                charger_id=charger_id,
                subject=entry.subject,
                not_after=entry.not_after,
                issued_at=entry.issued_at,
                spki_sha256=leaf.spki_sha256 if leaf is not None else None,
            )
        )

    async def _fetched(self, entry: AuditEntry, report: ReportRef) -> tuple[str | None, Certificate | None]:
        """Leaf first, issuers upward, no root; nothing where the CA does not hand it out or it cannot be read."""
        try:
            chain = await fetch_patiently(self.ports, report.authority_arn, entry.external_ref, self.wait)
            leaf = parse_certificate(chain.leaf_pem)
            return _chain_pem(leaf, chain, self.effect.authority_pem), leaf
        except (Permanent, MalformedX509) as problem:
            _LOG.warning("%s cannot be looked at: %s", entry.external_ref, problem)
            return None, None

    async def _look_for_missing(self, report: ReportRef) -> None:
        after: tuple[datetime, str] | None = (report.created_at, "")
        while page := await self.ports.index.of_purpose(self.effect.purpose, after, PAGE):
            after = (page[-1].not_after, page[-1].certificate_id)
            for known in page:
                if int(known.serial_number, 16) not in self._listed and is_missing(
                    known, report.authority_arn, report.created_at
                ):
                    await self._miss(known, report)

    async def _miss(self, known: KnownCertificate, report: ReportRef) -> None:
        if known.charger_id is not None:
            fact = CertificateNotAtCa(certificate_id=known.certificate_id, report_ref=report.report_id)
            await self._tell(known.charger_id, fact, known.certificate_id)
        self._note(
            ReconciliationItem(
                kind=MISSING,
                serial_number=known.serial_number,
                external_ref=known.external_ref,
                certificate_id=known.certificate_id,
                charger_id=known.charger_id,
                subject="",
                not_after=known.not_after,
                issued_at=known.issued_at,
            )
        )

    def _note(self, item: ReconciliationItem) -> None:
        self._counts[item.kind] += 1
        if len(self._items) < ITEMS_SHOWN:
            self._items.append(item)

    async def _tell(self, charger_id: str, fact: EvidenceBody, *about: str) -> None:
        await record_fact(
            self.ports, self.effect.authority_arn, charger_id, fact, type(fact).__name__, *about
        )

    def _show(self, counts: dict[str, int], report_at: datetime) -> None:
        metrics, effect = self.ports.metrics, self.effect
        of = {
            "purpose": effect.purpose,
            "authority_id": authority_id_of(effect.purpose, effect.authority_arn),
        }
        for kind in KINDS:
            metrics.gauge("bf_reconciliation_differences", counts.get(kind, 0), **of, kind=kind)
        metrics.gauge("bf_reconciliation_report_timestamp_seconds", report_at.timestamp(), **of)


def _chain_pem(leaf: Certificate, chain: IssuedChain, authority_pem: str) -> str:
    issuers = below_root(chain.issuers_pem) or below_root(authority_pem)
    return join_chain([certificate.der for certificate in (leaf, *issuers)])
