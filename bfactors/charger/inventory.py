"""A charger's inventory, reconciled with its own lists and with the leaves it was seen with.

Done after every list and every strange leaf; what the accounts disagree on is recorded when that is news. A list that has
grown old is asked for anew, without a job.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import is_spoken_for
from bfactors.certificate_hash import ReportedCertificate
from bfactors.charger import setting_fact
from bfactors.charger.draft import Draft
from bfactors.charger.state import (
    ChargerState,
    certificate_by_fingerprint,
    slot_key,
)
from bfactors.fleet.state import Bundle, FleetFacts
from bfactors.instruction import ListCertificates, OperationalKind, ReadSettings
from bfactors.inventory.held import Held, held_anchors, held_by
from bfactors.inventory.reconciliation import reconcile
from bfactors.inventory.row import Reconciliation, Row, SeenCredential
from bfactors.inventory.store import SERVER_STORE, anchor_stores, leaf_stores, lists_leaves, store_of
from bfactors.policy import Policy
from bfactors.purpose import purposes, session_purpose
from bfactors.x509 import MalformedX509, parse_certificates

DIFFERENCES_KEPT = 64
"""How many differences an event spells out; the rest is counted."""
EVERYTHING = ""
_SPREAD = 0.1
_MAIN_USE = "CSMSRootCertificate"
_USES = {SERVER_STORE: _MAIN_USE, "v2g-root": "V2GRootCertificate", "v2g-chain": "V2GCertificateChain"}
"""The use a list is about when it is asked for by purpose, as the dialects ask."""


def reconciled(state: ChargerState, facts: FleetFacts) -> Reconciliation:
    """Everything this charger holds by any account."""
    return reconcile(
        held(state, facts),
        state.reported if state.reported_at is not None else None,
        seen(state),
        asked=None if state.listed_everything else state.listed_uses,
    )


def held(state: ChargerState, facts: FleetFacts) -> tuple[Held, ...]:
    """What we know of it. An anchor of an older bundle is retired once the charger has confirmed the newer one."""
    moved: list[Bundle] = []
    staying: list[Bundle] = []
    for bundle in facts.past:
        current, confirmed = facts.bundles.get(bundle.purpose), state.bundles.get(bundle.purpose)
        has_moved = current is not None and confirmed is not None and confirmed.bundle_id == current.bundle_id
        (moved if has_moved else staying).append(bundle)
    found = held_by(state, facts.bundles, moved)
    for bundle in staying:
        anchors = held_anchors(bundle, is_current=True, installed=frozenset())
        found += tuple(msgspec.structs.replace(anchor, state="replaced") for anchor in anchors)
    return found


def seen(state: ChargerState) -> Iterable[SeenCredential]:
    """The leaf of the live session, and those seen that nobody knows."""
    for fingerprint, at in state.strangers.items():
        yield SeenCredential(fingerprint, at)
    session = state.session
    if session is not None and session.fingerprint_sha256 is not None and not is_spoken_for(session.flags):
        yield SeenCredential(session.fingerprint_sha256, session.connected_at)


# ---------------------------------------------------------------- lists


def list_of_leaves(name: str) -> ListCertificates:
    """What shows the leaves of a purpose on a charger: their store, where OCPP has one, or everything."""
    if lists_leaves(purposes()[name].realm):
        return ListCertificates(purpose=name, with_leaves=True)
    return ListCertificates()


def uses_of(state: ChargerState, body: ListCertificates) -> tuple[str, ...]:
    """What a list asked for by an instruction is about; empty: everything. OCPP 1.6 lists one store at a time."""
    spec = purposes().get(body.purpose)
    if spec is not None:
        stores = anchor_stores(spec.realm) | (leaf_stores(spec.realm) if body.with_leaves else frozenset())
        return tuple(_USES[store] for store in sorted(stores) if store in _USES)
    is_16 = state.session is not None and state.session.ocpp_version == "1.6"
    return (_MAIN_USE,) if is_16 else ()


def note_list(draft: Draft, listed: Sequence[ReportedCertificate], uses: Sequence[str]) -> None:
    """The charger's word on the stores it was asked about; what it said of others stands."""
    others: tuple[ReportedCertificate, ...] = ()
    if uses:
        stores = {store_of(use) for use in (*uses, *(entry.use for entry in listed))}
        others = tuple(entry for entry in draft.state.reported if store_of(entry.use) not in stores)
    draft.record(
        e.InstalledCertificatesReported(
            charger_id=draft.state.charger_id,
            reported=(*others, *listed),
            evidence_ref=draft.context.cause,
            uses=tuple(uses),
        )
    )


def due_at(state: ChargerState, policy: Policy) -> datetime | None:
    """When the charger is to list everything again, spread over the fleet; None while that is under way or impossible."""
    if not policy.inventory_every_days or state.session is None or state.capabilities.cannot_list:
        return None
    for one in state.instructions.values():
        if isinstance(one.body, ListCertificates):
            return None
    first, next_one = _waits(state.managed_identity_id, policy.inventory_every_days)
    heard = [at for at in (state.reported_at, state.list_asked_at) if at is not None]
    return max(heard) + next_one if heard else state.registered_at + first


@lru_cache(maxsize=16_384)  # asked twice with every message about a charger, and always the same for it
def _waits(managed_identity_id: str, every_days: int) -> tuple[timedelta, timedelta]:
    """How long after its registration a charger first lists everything, and how long after a list again."""
    digest = hashlib.sha256(f"{managed_identity_id}/inventory".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    every = timedelta(days=every_days)
    return every * share, every * (1 - _SPREAD * share)


def ask_if_due(draft: Draft) -> None:
    """Have the charger list everything, and say what its settings are, if its last list is old."""
    due = due_at(draft.state, draft.policy(session_purpose().name))
    if due is None or due > draft.now:
        return
    _ask(draft, "inventory", ListCertificates())
    if not any(isinstance(one.body, ReadSettings) for one in draft.state.instructions.values()):
        _ask(draft, "settings", ReadSettings(setting_fact.READ))


def _ask(draft: Draft, name: str, body: OperationalKind) -> None:
    draft.record(
        e.InstructionOpened(
            charger_id=draft.state.charger_id,
            instruction_id=draft.derived_id(name),
            job_id=None,
            decision=1,
            body=body,
            not_before=draft.now,
        )
    )


# ---------------------------------------------------------------- differences


def follow(draft: Draft) -> None:
    """Reconcile if this decision brought news of what the charger holds; recorded if the differences are others."""
    if not any(_is_news(draft.state, event) for event in draft.events):
        return
    found = sorted(
        {
            (difference.code, reference(row))
            for row in reconciled(draft.state, draft.context.facts).differing
            for difference in row.differences
        }
    )
    text = "\n".join(f"{code} {named}" for code, named in found)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32] if found else ""
    if digest == draft.state.differences_digest:
        return
    counts: dict[str, int] = {}
    for code, _ in found:
        counts[code] = counts.get(code, 0) + 1
    draft.record(
        e.InventoryReconciled(
            charger_id=draft.state.charger_id,
            differences=tuple(e.InventoryDifference(*one) for one in found[:DIFFERENCES_KEPT]),
            counts=counts,
            digest=digest,
            evidence_ref=draft.context.cause,
        )
    )


_NEWS = (e.InstalledCertificatesReported, e.CertificateDeleted, e.CertificateAdopted)


def _is_news(state: ChargerState, event: e.ChargerEvent) -> bool:
    if isinstance(event, e.ChargerSessionOpened):
        return event.fingerprint_sha256 is not None and event.fingerprint_sha256 in state.strangers
    return isinstance(event, _NEWS)


def reference(row: Row) -> str:
    """A short name for one certificate: the head of its fingerprint, or how the charger lists it."""
    if row.fingerprint_sha256 is not None:
        return row.fingerprint_sha256[:16]
    entry = row.reported[0]
    return f"{entry.use[:40]}/{entry.hash_data.issuer_key_hash[:8]}/{entry.hash_data.serial_number[:40]}"


# ---------------------------------------------------------------- adoption


def adopt(draft: Draft, body: v.SessionOpened) -> None:
    """Take a leaf somebody else issued into the inventory as tracked, if policy lets such leaves in and the slot is free."""
    spec = session_purpose()
    if body.fingerprint_sha256 is None or not body.leaf_pem:
        return
    if draft.policy(spec.name).factory_certificate != "allowed":
        return
    slot = draft.state.slots.get(slot_key(spec.name, "default"))
    if slot is not None and slot.current is not None:
        return  # ours is in use: another leaf beside it is shown as a difference, and somebody's question
    if certificate_by_fingerprint(draft.state, body.fingerprint_sha256) is not None:
        return
    try:
        leaf = parse_certificates(body.leaf_pem)[0]
    except MalformedX509:
        return
    if leaf.fingerprint_sha256 != body.fingerprint_sha256 or leaf.not_after <= draft.now:
        return
    draft.record(
        e.CertificateAdopted(
            # Also of the position: a unit that is moved brings its leaf along, and the old position's history keeps its own.
            certificate_id=v.evidence_id(draft.state.charger_id, leaf.fingerprint_sha256),
            managed_identity_id=draft.state.managed_identity_id,
            charger_id=draft.state.charger_id,
            purpose=spec.name,
            variant="default",
            source="charger",
            fingerprint_sha256=leaf.fingerprint_sha256,
            serial_number=leaf.serial_number,
            subject=leaf.subject,
            issuer=leaf.issuer,
            spki_sha256=leaf.spki_sha256,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            chain_pem=body.leaf_pem,
            seen_at=body.opened_at,
            evidence_ref=draft.context.cause,
        )
    )
