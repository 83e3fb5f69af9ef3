"""Older certificates, which their charger's state has let go of: found in the table, and read whole when they are wanted."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from actors.ledger.item import Asked, Item, Rang
from bfactors import command as c
from bfactors import event as e
from bfactors.charger import former
from bfactors.charger.former import Recall
from bfactors.charger.state import ChargerState
from bfactors.fleet.state import FleetFacts
from bfactors.ports import LedgerStore
from bfactors.urgency import URGENT_REASONS

Recalled = Mapping[str, tuple[e.CertificateRecalled, ...]]
States = Mapping[str, ChargerState | None]


async def load_former(
    store: LedgerStore,
    partition: int,
    items: Sequence[Item],
    states: States,
    facts: FleetFacts,
    now: datetime,
) -> Recalled:
    """What these messages want back, by charger. Raises Unavailable."""
    named: dict[str, set[str]] = {}
    leaving: set[str] = set()
    compromised: dict[str, str] = {}
    looked_at = {state.charger_id for state in states.values() if state is not None and state.recalls_more}
    for item in items:
        match item:
            case Asked(envelope=c.CommandEnvelope(body=c.RequestJob(certificate_id=str(name)) as body)):
                state = states.get(body.charger_id)
                if state is not None and name not in state.certificates:
                    named.setdefault(body.charger_id, set()).add(name)
                if body.action == "revoke" and body.revocation_reason in URGENT_REASONS:
                    compromised[body.charger_id] = name
            case Asked(envelope=c.CommandEnvelope(body=c.DecommissionCharger() | c.ReplaceUnit() as body)):
                leaving.add(body.charger_id)
            case Rang(charger_id=charger_id):
                state = states.get(charger_id)
                if state is not None and former.is_looked_for(state, facts):
                    looked_at.add(charger_id)
            case _:
                pass
    wanted = await find_former(
        store,
        partition,
        states,
        looked_at | leaving | compromised.keys(),
        facts,
        now,
        leaving=leaving,
        compromised=compromised,
    )
    names = {name for found in wanted.values() for name in found.certificate_ids}.union(*named.values())
    if not names:
        return {}
    docs = await store.certificate_docs(partition, sorted(names))
    return {
        charger_id: _events(docs, charger_id, wanted.get(charger_id, Recall()), named.get(charger_id, set()))
        for charger_id in wanted.keys() | named.keys()
    }


async def concerned(
    store: LedgerStore, partition: int, states: Sequence[ChargerState], facts: FleetFacts, now: datetime
) -> frozenset[str]:
    """Those of a page of chargers that have an older certificate to be recalled. Raises Unavailable."""
    charger_ids = {state.charger_id for state in states if former.is_looked_for(state, facts)}
    by_id = {state.charger_id: state for state in states}
    return frozenset(await find_former(store, partition, by_id, charger_ids, facts, now))


async def find_former(
    store: LedgerStore,
    partition: int,
    states: States,
    charger_ids: set[str],
    facts: FleetFacts,
    now: datetime,
    *,
    leaving: Collection[str] = (),
    compromised: Mapping[str, str] | None = None,
) -> dict[str, Recall]:
    """Which of these chargers' older certificates are wanted: a charger without any is left out. Raises Unavailable."""
    if not charger_ids:
        return {}
    known: dict[str, list[former.Former]] = {}
    for one in await store.former_certificates(partition, sorted(charger_ids), now):
        known.setdefault(one.charger_id, []).append(one)
    found: dict[str, Recall] = {}
    for charger_id, ones in known.items():
        state = states.get(charger_id)
        if state is None:
            continue
        recall = former.recall(
            state,
            facts,
            ones,
            now,
            is_leaving=charger_id in leaving,
            compromised=(compromised or {}).get(charger_id),
        )
        if recall.certificate_ids:
            found[charger_id] = recall
    return found


def _events(
    docs: Mapping[str, bytes], charger_id: str, recall: Recall, named: set[str]
) -> tuple[e.CertificateRecalled, ...]:
    names = [*recall.certificate_ids, *sorted(named.difference(recall.certificate_ids))]
    rows = [docs[name] for name in names if name in docs]
    events = former.from_rows(rows, has_more=recall.has_more)
    return tuple(event for event in events if event.charger_id == charger_id)
