"""Looking for the certificates of many attempts in one report of their CA."""

from collections.abc import Awaitable, Callable, Sequence

from actors.reconciliation.ports import ReconciliationPorts
from bfactors.audit_report import AuditEntry, ReportRef, may_be_of
from bfactors.ca import IssuedChain, NotReady, Transient, next_delay_s
from bfactors.effect import ReconcileIssuance
from bfactors.ports import Auditor
from bfactors.x509 import MalformedX509, parse_certificate

RETRY_BASE_S = 0.5
RETRY_LONGEST_S = 30.0


async def search(
    ports: ReconciliationPorts,
    auditor: Auditor,
    report: ReportRef,
    effects: Sequence[ReconcileIssuance],
    wait: Callable[[float], Awaitable[object]],
) -> dict[str, str]:
    """The CA's name for the certificate of each effect (by effect id) that has one.

    A report tells no keys, so what fits by dates and template, and is not in the ledger, is fetched: once each, however
    many attempts it may belong to. Raises `bfactors.ca` and Unavailable.
    """
    keys: dict[str, str] = {}
    wanted: dict[str, list[ReconcileIssuance]] = {}
    for effect in effects:
        wanted.setdefault(effect.spki_sha256, []).append(effect)
    found: dict[str, AuditEntry] = {}
    async for batch in auditor.entries(report):
        fitting = [entry for entry in batch if any(may_be_of(entry, effect) for effect in effects)]
        known = await ports.index.by_serial([entry.serial_number for entry in fitting]) if fitting else {}
        for entry in fitting:
            if entry.serial_number in known:
                continue
            key = keys.get(entry.external_ref)
            if key is None:
                key = keys[entry.external_ref] = await _key_of(
                    ports, report.authority_arn, entry.external_ref, wait
                )
            for effect in wanted.get(key, ()):
                first = found.get(effect.effect_id)
                if may_be_of(entry, effect) and (first is None or entry.issued_at < first.issued_at):
                    found[effect.effect_id] = entry
    return {effect_id: entry.external_ref for effect_id, entry in found.items()}


async def _key_of(
    ports: ReconciliationPorts,
    authority_arn: str,
    external_ref: str,
    wait: Callable[[float], Awaitable[object]],
) -> str:
    """The SPKI digest of a certificate at the CA; "" for one that cannot be read."""
    chain = await fetch_patiently(ports, authority_arn, external_ref, wait)
    try:
        return parse_certificate(chain.leaf_pem).spki_sha256
    except MalformedX509:
        return ""


async def fetch_patiently(
    ports: ReconciliationPorts,
    authority_arn: str,
    external_ref: str,
    wait: Callable[[float], Awaitable[object]],
) -> IssuedChain:
    """A certificate by the CA's name for it, asked for until there is an answer. Raises what is no passing trouble."""
    delay_s = 0.0
    while True:
        try:
            return await ports.authority.fetch(authority_arn, external_ref)
        except (Transient, NotReady) as error:
            delay_s = next_delay_s(
                delay_s, base_s=RETRY_BASE_S, longest_s=RETRY_LONGEST_S, uniform=ports.uniform
            )
            await wait(max(delay_s, error.retry_after_s or 0.0))
