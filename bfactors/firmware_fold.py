"""Where firmware trust and operations meet inside a commit: each is told of the other only what must be told.

Firmware events are appended to the chain of the charger's partition (or the fleet's), their states are aggregates of their own.
This is the one module of the core that knows both sides.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from bfactors import command as c
from bfactors import evidence as v
from bfactors.certificate_hash import HashData
from bfactors.charger.state import ChargerState
from bfactors.firmware import decide
from bfactors.firmware.command import FirmwareChargerCommand, FirmwareCommand, RecordFirmwareAnchor
from bfactors.firmware.comparison import in_both
from bfactors.firmware.event import FirmwareAnchorRecorded, FirmwareEvent
from bfactors.firmware.separation import Overlap, overlaps
from bfactors.firmware.state import FLEET_KEY, FirmwareCharger, FirmwareFleet, charger_key, is_work
from bfactors.firmware.update import SECURITY_EVENTS
from bfactors.fleet.state import FleetFacts, FleetState
from bfactors.identity import FLEET
from bfactors.inventory.store import FIRMWARE_STORE, SERVER_STORE, store_of
from bfactors.ledger_row import AggregateRow
from bfactors.ocpp import Answered, Outcome
from bfactors.refusal import Refusal
from bfactors.x509 import Certificate, MalformedX509, parse_certificates

ROLE = "firmware-admin"
"""The one role that may send firmware commands, and it may send no others."""
_OWNER_PREFIX = "firmware-anchor:"
_encode = msgspec.json.Encoder().encode

Append = Callable[[FirmwareEvent, str, str, ChargerState | None], None]
"""Event, actor, cause and the charger it is about."""


class FirmwareLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch starts from. `chargers` holds whoever has an aggregate, of those the batch's firmware messages name."""

    chargers: dict[str, FirmwareCharger] = {}
    fleet: FirmwareFleet = FirmwareFleet()


class FirmwareFold:
    """The firmware side of one commit in the making."""

    def __init__(self, loaded: FirmwareLoaded, partition: int, now: datetime, append: Append) -> None:
        self._before = loaded
        self._partition = partition
        self._now = now
        self._append = append
        self.chargers = dict(loaded.chargers)
        self.fleet = loaded.fleet

    def command(
        self,
        envelope: c.CommandEnvelope,
        body: FirmwareCommand,
        *,
        facts: FleetFacts,
        fleet: FleetState | None,
        state: ChargerState | None,
        key_owners: Mapping[str, str],
    ) -> c.CommandAnswer:
        """Fold one firmware command. `fleet` is operations' own, in the fleet partition; `state` the charger's."""
        if not isinstance(body, FirmwareChargerCommand):
            if fleet is None or self._partition != FLEET:
                message = "firmware anchors belong to the fleet partition"
                return c.CommandAnswer(refusal=Refusal("wrong-partition", message, status=500))
            decided = decide.decide_fleet(
                self.fleet,
                body,
                operational=operational_certificates(fleet),
                is_key_taken=_is_key_taken(body, key_owners),
                by=envelope.actor,
                now=self._now,
            )
            if decided.refusal is not None:
                return c.CommandAnswer(refusal=decided.refusal)
            self.fleet = decided.state
            for event in decided.events:
                self._append(event, envelope.actor, envelope.command_id, None)
            return c.CommandAnswer(result=_encode(decided.result))
        if state is None:
            message = f"no charger is called {body.charger_id}"
            return c.CommandAnswer(refusal=Refusal("unknown-charger", message, "charger_id", 404))
        of_charger = decide.decide_charger(
            self._of(body.charger_id),
            body,
            operational=operational_certificates(FleetState(facts=facts)),
            operational_names=_operational_names(facts, state),
            by=envelope.actor,
            now=self._now,
        )
        if of_charger.refusal is not None:
            return c.CommandAnswer(refusal=of_charger.refusal)
        self._take(of_charger, envelope.actor, envelope.command_id, state)
        return c.CommandAnswer(result=_encode(of_charger.result))

    def evidence(self, evidence: v.Evidence, state: ChargerState, facts: FleetFacts) -> bool:
        """Fold what a fact says of firmware. Whether it concerns firmware alone, and nobody else is to decide on it."""
        body, cause = evidence.body, evidence.evidence_id
        if not concerns(body):
            return False
        before = self._of(evidence.charger_id)
        match body:
            case v.InstructionAnswered():
                decided = decide.answered(
                    before,
                    body.instruction_id,
                    body.decision,
                    body.outcome,
                    shared=_listed_twice(body.outcome, facts),
                    cause=cause,
                    now=self._now,
                )
            case v.FirmwareStatusReported():
                decided = decide.update_told(
                    before,
                    session_id=body.session_id,
                    status=body.status,
                    request_id=body.request_id,
                    cause=cause,
                    now=self._now,
                )
            case v.SecurityEventReported():
                decided = decide.security_event_told(
                    before,
                    session_id=body.session_id,
                    kind=body.event_type,
                    detail=body.tech_info,
                    cause=cause,
                    now=self._now,
                )
            case _:
                return True
        self._take(decided, evidence.source, cause, state)
        return isinstance(body, v.InstructionAnswered | v.FirmwareStatusReported)

    def refusal_of(self, body: c.Command) -> Refusal | None:
        """Why an operational command may not bring what it brings: something of it belongs to firmware signing."""
        match body:
            case c.CreateTrustAnchorBundle():
                field, texts = "anchors", body.anchors_pem
            case c.RegisterAuthority():
                field = "certificate_pem"
                texts = (body.certificate_pem, body.chain_pem, body.root_pem)
            case c.SetFactoryAnchors():
                field, texts = "anchors", body.anchors_pem
            case _:
                return None
        found = next(overlaps(firmware_certificates(self.fleet), _readable(texts)), None)
        return None if found is None else Refusal("firmware-hierarchy", found.message, field)

    def rows(self) -> Iterator[AggregateRow]:
        """The aggregates that changed."""
        for state in self.touched():
            yield AggregateRow(charger_key(state.charger_id), state.revision, _encode(state))
        if self.fleet is not self._before.fleet:
            yield AggregateRow(FLEET_KEY, self.fleet.revision, _encode(self.fleet))

    def touched(self) -> list[FirmwareCharger]:
        """The chargers whose firmware trust changed."""
        before = self._before.chargers
        return [state for key, state in self.chargers.items() if state is not before.get(key)]

    def _of(self, charger_id: str) -> FirmwareCharger:
        return self.chargers.get(charger_id) or FirmwareCharger(charger_id=charger_id)

    def _take(self, decided: decide.ChargerDecision, actor: str, cause: str, state: ChargerState) -> None:
        if decided.events:
            self.chargers[decided.state.charger_id] = decided.state
        for event in decided.events:
            self._append(event, actor, cause, state)


def concerns(body: v.EvidenceBody) -> bool:
    """Whether a fact says something of firmware."""
    match body:
        case v.InstructionAnswered() | v.InstructionSent():
            return is_work(body.instruction_id)
        case v.SecurityEventReported():
            return body.event_type in SECURITY_EVENTS
        case _:
            return isinstance(body, v.FirmwareStatusReported)


def wrong_role(envelope: c.CommandEnvelope) -> Refusal | None:
    """The API's table says the same; a command that came another way is refused here."""
    if isinstance(envelope.body, FirmwareCommand) == (envelope.role == ROLE):
        return None
    message = f"the role {envelope.role!r} may not do this: firmware trust and operations share no role"
    return Refusal("forbidden", message, status=403)


# ---------------------------------------------------------------- the two hierarchies


def operational_certificates(state: FleetState) -> list[Certificate]:
    """Every CA certificate of operations: issuing CAs, what is above them, and the anchors of every bundle there ever was."""
    texts = [
        text
        for authority in (*state.facts.authorities.values(), *state.facts.further.values(), *state.retired)
        for text in (authority.certificate_pem, authority.chain_pem, authority.root_pem)
    ]
    bundles = {
        bundle.bundle_id: bundle for bundle in (*state.history.values(), *state.facts.bundles.values())
    }
    texts += [anchor.pem for bundle in bundles.values() for anchor in bundle.anchors]
    texts += [anchor.pem for known in state.facts.families.values() for anchor in known.factory_anchors]
    return _readable(texts)


def firmware_certificates(fleet: FirmwareFleet) -> list[Certificate]:
    """Every manufacturer's root there ever was."""
    return _readable(anchor.pem for anchor in fleet.anchors.values())


def shared(fleet: FirmwareFleet, operations: FleetState, offered: Iterable[str] = ()) -> list[Overlap]:
    """What recorded state, and the PEM texts about to be added to operations, have in common with firmware signing."""
    operational = {each.der: each for each in (*operational_certificates(operations), *_readable(offered))}
    return list(overlaps(firmware_certificates(fleet), operational.values()))


def key_of(body: c.Command) -> str | None:
    """The key a command would give to firmware signing (SHA-256 of its SPKI): has a charger shown it as its own?"""
    if not isinstance(body, RecordFirmwareAnchor):
        return None
    return next((certificate.spki_sha256 for certificate in _readable([body.pem])), None)


def owned_key(event: object) -> tuple[str, str] | None:
    """The key that an event gives away for good, and to whom: no charger's CSR may come with it."""
    if isinstance(event, FirmwareAnchorRecorded):
        return event.spki_sha256, _OWNER_PREFIX + event.anchor_id
    return None


def _is_key_taken(body: c.Command, key_owners: Mapping[str, str]) -> bool:
    owner = key_owners.get(key_of(body) or "")
    return owner is not None and not owner.startswith(_OWNER_PREFIX)


def _readable(texts: Iterable[str]) -> list[Certificate]:
    """What cannot be read is refused by whoever it is meant for."""
    found: list[Certificate] = []
    for text in texts:
        try:
            found += parse_certificates(text) if text.strip() else ()
        except MalformedX509:
            continue
    return found


def _listed_twice(outcome: Outcome, facts: FleetFacts) -> tuple[HashData, ...]:
    """The roots of an answer that sit in the manufacturers' store and in the central system's."""
    if not isinstance(outcome, Answered):
        return ()
    held = {
        store: [entry.hash_data for entry in outcome.listed if store_of(entry.use) == store]
        for store in (FIRMWARE_STORE, SERVER_STORE)
    }
    known = [anchor.hash_data for bundle in facts.bundles.values() for anchor in bundle.anchors]
    return in_both(held[FIRMWARE_STORE], held[SERVER_STORE], known)


def _operational_names(facts: FleetFacts, state: ChargerState) -> list[HashData]:
    """What operations have on that charger, or mean to have."""
    meant = [name for bundle in facts.bundles.values() for a in bundle.anchors for name in a.hash_data]
    said = [
        name
        for entry in state.reported
        if store_of(entry.use) != FIRMWARE_STORE
        for name in (entry.hash_data, *entry.child_hash_data)
    ]
    return meant + said
