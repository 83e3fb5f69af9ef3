"""Identities: given events, when a command, then events and rows; and what twice, late or never does."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bfactors.charger.state import ChargerState
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.event.identity import IdentityChanged, IdentityRegistered, IdentityRetired, PersonalDataErased
from bfactors.fleet.state import FleetFacts
from bfactors.identity_fold import IdentitiesLoaded
from bfactors.identity_record import command as c
from bfactors.identity_record import view
from bfactors.identity_record.decide import Decision, decide
from bfactors.identity_record.evolve import IdentityEvent, evolve
from bfactors.identity_record.state import IdentityState
from bfactors.ledger_fold import Fold, Loaded
from bfactors.ledger_row import GENESIS, Batch, Lease
from tests.core.world import World

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
VIN, PCID = f"vin:{'a' * 12}:{'1' * 64}", f"pcid:{'a' * 12}:{'2' * 64}"
OTHER_VIN = f"vin:{'a' * 12}:{'3' * 64}"


def register(**fields: Any) -> c.RegisterIdentity:
    values: dict[str, Any] = {"identity_id": "v-1", "kind": "vehicle", "external_ids": (VIN, PCID)} | fields
    return c.RegisterIdentity(**values)


def when(
    command: c.IdentityCommand,
    *events: IdentityEvent,
    holders: Mapping[str, str] | None = None,
    charger: ChargerState | None = None,
) -> Decision:
    state: IdentityState | None = None
    for event in events:
        state = evolve(state, event, NOW)
    return decide(state, command, holders=holders or {}, charger=charger, by="operator:ada", now=LATER)


def event_of(decision: Decision) -> IdentityEvent:
    assert decision.refusal is None
    assert decision.event is not None
    return decision.event


REGISTERED = event_of(when(register()))
ERASED = event_of(when(c.ErasePersonalData(identity_id="v-1", reason="asked for"), REGISTERED))
RETIRED = event_of(when(c.RetireIdentity(identity_id="v-1"), REGISTERED))


def refusal(decision: Decision) -> tuple[str, int]:
    assert decision.refusal is not None
    assert decision.event is None
    return decision.refusal.code, decision.refusal.status


# ---------------------------------------------------------------- twice, late, never


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (register(), [REGISTERED]),
        (register(external_ids=(PCID, VIN, VIN)), [REGISTERED]),
        (c.RetireIdentity(identity_id="v-1"), [REGISTERED, RETIRED]),
        (c.ErasePersonalData(identity_id="v-1", reason="again"), [REGISTERED, ERASED]),
        (c.ChangeIdentity(identity_id="v-1", external_ids=(VIN, PCID)), [REGISTERED]),
        (c.ChangeIdentity(identity_id="v-1"), [REGISTERED]),
    ],
)
def test_the_same_again_changes_nothing(command: c.IdentityCommand, given: list[IdentityEvent]) -> None:
    decision = when(command, *given, holders={VIN: "v-1", PCID: "v-1"})
    assert (decision.event, decision.refusal) == (None, None)
    assert decision.state is not None


def test_what_was_erased_is_deleted_again_when_asked_again_without_another_event() -> None:
    decision = when(c.ErasePersonalData(identity_id="v-1", reason="again"), REGISTERED, ERASED)
    assert (decision.event, set(decision.erase)) == (None, {VIN, PCID})


@pytest.mark.parametrize(
    "command",
    [
        c.ChangeIdentity(identity_id="v-1", site="north"),
        c.RetireIdentity(identity_id="v-1"),
        c.ErasePersonalData(identity_id="v-1", reason="x"),
    ],
)
def test_of_what_never_was_nothing_is_done(command: c.IdentityCommand) -> None:
    assert refusal(when(command)) == ("unknown-identity", 404)


def test_a_change_that_comes_after_the_end_is_refused_but_an_erasure_is_not() -> None:
    late = c.ChangeIdentity(identity_id="v-1", external_ids=(VIN,))
    assert refusal(when(late, REGISTERED, RETIRED)) == ("identity-retired", 409)
    erase = c.ErasePersonalData(identity_id="v-1", reason="asked for")
    assert isinstance(event_of(when(erase, REGISTERED, RETIRED)), PersonalDataErased)


# ---------------------------------------------------------------- who may bear what


def test_a_name_has_one_bearer_and_the_refusal_says_who() -> None:
    decision = when(register(), holders={VIN: "v-0"})
    assert refusal(decision) == ("external-id-held", 409)
    assert decision.refusal is not None
    assert "v-0" in decision.refusal.message
    taken = c.ChangeIdentity(identity_id="v-1", external_ids=(OTHER_VIN,))
    assert refusal(when(taken, REGISTERED, holders={OTHER_VIN: "v-0"})) == ("external-id-held", 409)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"kind": "contract"}, "wrong-identity"),
        ({"kind": "charger"}, "wrong-identity"),
        ({"kind": "nonsense"}, "wrong-identity"),
        ({"external_ids": ()}, "name-missing"),
        ({"external_ids": (VIN, OTHER_VIN)}, "invalid-value"),
        ({"charger_id": "CP-1"}, "wrong-identity"),
        ({"kind": "evse", "external_ids": ("evse_id:DE*ABC*E1",)}, "charger-missing"),
    ],
)
def test_what_does_not_fit_its_kind_is_refused(fields: dict[str, Any], code: str) -> None:
    assert refusal(when(register(**fields))) == (code, 422)


def test_an_evse_needs_a_charger_that_is_there_and_stands_where_it_stands() -> None:
    evse = register(identity_id="e-1", kind="evse", external_ids=("evse_id:DE*ABC*E1",), charger_id="CP-1")
    assert refusal(when(evse)) == ("unknown-charger", 404)
    charger = World().state
    registered = event_of(when(evse, charger=charger))
    assert isinstance(registered, IdentityRegistered)
    assert registered.charger_id == "CP-1"
    gone = msgspec.structs.replace(charger, decommissioned_at=NOW)
    assert refusal(when(evse, charger=gone)) == ("charger-decommissioned", 409)
    moved = c.ChangeIdentity(identity_id="e-1", cohort="canary")
    assert refusal(when(moved, registered)) == ("wrong-identity", 422)


def test_what_bears_nothing_personal_has_nothing_to_erase() -> None:
    server = event_of(when(register(identity_id="s", kind="server", external_ids=("host_name:a.example",))))
    erase = c.ErasePersonalData(identity_id="s", reason="x")
    assert refusal(when(erase, server)) == ("nothing-personal", 409)


# ---------------------------------------------------------------- erasing and giving again


def test_an_erasure_names_the_pseudonyms_and_how_many() -> None:
    assert isinstance(ERASED, PersonalDataErased)
    assert (ERASED.pseudonyms, ERASED.count, ERASED.reason) == ((PCID, VIN), 2, "asked for")


def test_given_again_it_is_no_longer_erased() -> None:
    again = c.ChangeIdentity(identity_id="v-1", external_ids=(VIN, PCID))
    decision = when(again, REGISTERED, ERASED, holders={VIN: "v-1", PCID: "v-1"})
    changed = event_of(decision)
    assert isinstance(changed, IdentityChanged)
    assert changed.restored
    assert decision.state is not None
    assert decision.state.erased_at is None
    moved = event_of(when(c.ChangeIdentity(identity_id="v-1", site="north"), REGISTERED, ERASED))
    assert isinstance(moved, IdentityChanged)
    assert not moved.restored


def bearing(before: IdentityState | None, after: IdentityState) -> dict[str, tuple[bool, bool]]:
    return {row.external_id: (row.held, row.kept) for row in view.holder_rows(before, after, LATER)}


def test_rows_say_who_bears_what_and_whose_value_may_stay() -> None:
    registered = evolve(None, REGISTERED, NOW)
    assert bearing(None, registered) == {VIN: (True, True), PCID: (True, True)}
    assert bearing(registered, registered) == {}
    assert isinstance(RETIRED, IdentityRetired)
    retired = evolve(registered, RETIRED, NOW)
    assert bearing(registered, retired) == {VIN: (False, True), PCID: (False, True)}
    erased = evolve(retired, ERASED, NOW)
    assert bearing(retired, erased) == {VIN: (False, False), PCID: (False, False)}
    changed = event_of(when(c.ChangeIdentity(identity_id="v-1", external_ids=(OTHER_VIN,)), REGISTERED))
    corrected = evolve(registered, changed, NOW)
    assert bearing(registered, corrected) == {
        OTHER_VIN: (True, True),
        VIN: (False, False),
        PCID: (False, False),
    }


# ---------------------------------------------------------------- in a commit


def folded(
    *commands: c.IdentityCommand, loaded: IdentitiesLoaded | None = None
) -> tuple[list[CommandAnswer], Batch]:
    lease = Lease(
        partition=3,
        owner="a",
        epoch=1,
        sequence=0,
        head_hash=GENESIS,
        evidence_position=0,
        fleet_position=0,
        outbox_position=0,
    )
    start = Loaded(facts=FleetFacts(), states={}, identities=loaded or IdentitiesLoaded())
    fold = Fold(lease, start, NOW, "wss://x/ocpp")
    answers = [
        fold.command(
            CommandEnvelope(command_id=f"c-{number}", actor="operator:ada", role="operator", body=command)
        )
        for number, command in enumerate(commands)
    ]
    return answers, fold.finish()


def test_in_one_batch_each_command_sees_what_those_before_it_did() -> None:
    answers, batch = folded(
        register(),
        register(identity_id="v-2"),
        c.RetireIdentity(identity_id="v-1"),
        register(identity_id="v-3"),
        c.ErasePersonalData(identity_id="v-3", reason="asked for"),
    )
    assert [answer.refusal.code if answer.refusal else None for answer in answers] == [
        *(None, "external-id-held", None, None, None)
    ]
    assert [row.event for row in batch.events] == [
        *("IdentityRegistered", "IdentityRetired", "IdentityRegistered", "PersonalDataErased")
    ]
    assert {row.managed_identity_id for row in batch.events} == {"v-1", "v-3"}
    assert {row.identity_id: row.state for row in batch.identities} == {"v-1": "retired", "v-3": "registered"}
    assert {(row.external_id, row.identity_id): row.held for row in batch.identity_holders} == {
        (VIN, "v-1"): False,
        (PCID, "v-1"): False,
        (VIN, "v-3"): True,
        (PCID, "v-3"): True,
    }
    assert set(batch.erased_identifiers) == {VIN, PCID}
