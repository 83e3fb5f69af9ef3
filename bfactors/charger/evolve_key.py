"""How the events of AuthorizationKeys change the charger that holds them."""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger.pending_key import PendingKey
from bfactors.charger.state import ChargerState, InstructionState
from bfactors.instruction import CloseSession, Reboot, WriteAuthorizationKey

KeyEvent = (
    e.AuthorizationKeyRequested
    | e.AuthorizationKeyPrepared
    | e.AuthorizationKeyAccepted
    | e.AuthorizationKeyActivated
    | e.AuthorizationKeyDoubted
    | e.AuthorizationKeyWithdrawn
    | e.AuthorizationKeysRetired
)
_DISPLACEMENTS_KEPT = 4
_SWITCHED_BY_THEN = timedelta(days=1)
"""So long after its rotation ended, a charger that comes with another key shows that it did not take that one."""


def key_changed(state: ChargerState, event: KeyEvent, now: datetime) -> ChargerState:
    """The state after one of these events; one about a generation that is unknown by now changes nothing."""
    match event:
        case e.AuthorizationKeyRequested():
            return _requested(state, event, now)
        case e.AuthorizationKeyPrepared():
            return _prepared(state, event, now)
        case e.AuthorizationKeyAccepted(generation=generation, needs_reboot=needs_reboot):
            return _with(
                state, generation, lambda key: replace(key, accepted_at=now, needs_reboot=needs_reboot)
            )
        case e.AuthorizationKeyActivated():
            return _activated(state, event.generation, now)
        case e.AuthorizationKeyDoubted(generation=generation, admit_until=until):
            return _with(state, generation, lambda key: replace(key, doubted_at=now, admit_until=until))
        case e.AuthorizationKeyWithdrawn(generation=generation):
            return _without(state, generation)
        case e.AuthorizationKeysRetired():
            return replace(
                state,
                keys=(),
                pending_keys=(),
                key_origin=None,
                key_since=None,
                key_weakness=None,
                # no generation is given out twice, not even those of keys that are gone
                key_generation=max(state.key_generation, *(key.generation for key in state.keys), 0),
            )


def shown(state: ChargerState, event: e.ChargerSessionOpened) -> ChargerState:
    """Which key a session was opened with, unless a later session is known to have shown one."""
    if event.key_generation is None:
        return state
    if state.key_shown_at is not None and event.connected_at < state.key_shown_at:
        return state
    return replace(
        state,
        key_shown=event.key_generation,
        key_shown_at=event.connected_at,
        pending_keys=tuple(
            replace(key, is_outlived=True)
            if key.doubted_at is not None
            and key.generation != event.key_generation
            and event.connected_at >= key.doubted_at + _SWITCHED_BY_THEN
            else key
            for key in state.pending_keys
        ),
    )


def displaced(state: ChargerState, now: datetime) -> tuple[datetime, ...]:
    """When sessions displaced a live one: the present one added, if it did."""
    if state.session is None:
        return state.displaced_at
    return (*state.displaced_at, now)[-_DISPLACEMENTS_KEPT:]


def told(state: ChargerState, instruction: InstructionState, now: datetime) -> ChargerState:
    """An order for a rotation was opened: from the first one that carries the key on, the charger may be using it."""
    key = _of_job(state, instruction.job_id)
    if key is None:
        return state
    match instruction.body:
        case WriteAuthorizationKey() if key.offered_at is None:
            session_id = state.session.session_id if state.session is not None else None
            key = replace(key, offered_at=now, offered_session=session_id)
        case CloseSession():
            key = replace(key, nudged_at=now)
        case _:
            return state
    return _with(state, key.generation, lambda _: key)


def rebooted(state: ChargerState, settled: InstructionState, outcome: str) -> ChargerState:
    """The reboot that makes a key count has happened, as far as anybody knows."""
    key = _of_job(state, settled.job_id)
    if key is None or not isinstance(settled.body, Reboot) or outcome in ("rejected", "withdrawn"):
        return state
    return _with(state, key.generation, lambda key: replace(key, needs_reboot=False))


def told_again(state: ChargerState, job_id: str) -> ChargerState:
    """A step of its job failed: what the charger said of the key counts no longer."""
    key = _of_job(state, job_id)
    if key is None:
        return state
    key = replace(key, accepted_at=None, needs_reboot=False, nudged_at=None)
    return _with(state, key.generation, lambda _: key)


def _of_job(state: ChargerState, job_id: str | None) -> PendingKey | None:
    return next((key for key in state.pending_keys if key.job_id == job_id), None)


def _requested(state: ChargerState, event: e.AuthorizationKeyRequested, now: datetime) -> ChargerState:
    key = PendingKey(
        generation=event.generation,
        job_id=event.job_id,
        origin=event.origin,
        trigger=event.trigger,
        requested_at=now,
    )
    return replace(state, pending_keys=(*state.pending_keys, key), key_generation=event.generation)


def _prepared(state: ChargerState, event: e.AuthorizationKeyPrepared, now: datetime) -> ChargerState:
    for generation in event.replaces:
        state = _without(state, generation)
    state = _with(
        state,
        event.generation,
        lambda key: replace(
            key, prepared_at=now, prepared_revision=state.revision + 1, weakness=event.weakness
        ),
    )
    return replace(state, keys=(*state.keys, *event.keys))


def _activated(state: ChargerState, generation: int, now: datetime) -> ChargerState:
    """Later ones stay: the charger may still come to use them."""
    seen = next((key for key in state.pending_keys if key.generation == generation), None)
    if seen is None:
        return state
    return replace(
        state,
        keys=tuple(
            replace(key, state="active") if key.generation == generation else key
            for key in state.keys
            if key.generation >= generation
        ),
        pending_keys=tuple(key for key in state.pending_keys if key.generation > generation),
        key_origin=seen.origin,
        key_since=now,
        key_weakness=seen.weakness,
    )


def _with(state: ChargerState, generation: int, change: Callable[[PendingKey], PendingKey]) -> ChargerState:
    return replace(
        state,
        pending_keys=tuple(
            change(key) if key.generation == generation else key for key in state.pending_keys
        ),
    )


def _without(state: ChargerState, generation: int) -> ChargerState:
    return replace(
        state,
        keys=tuple(key for key in state.keys if key.generation != generation),
        pending_keys=tuple(key for key in state.pending_keys if key.generation != generation),
    )
