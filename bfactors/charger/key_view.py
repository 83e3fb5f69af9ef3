"""A charger's AuthorizationKey as the API and the report of the fleet's keys show it."""

import hashlib
from typing import Any

from bfactors.admission import KeyVerifier
from bfactors.charger.key_rotation import active_generation
from bfactors.charger.state import ChargerState
from bfactors.ledger_row import AuthorizationKeyRow


def key_body(state: ChargerState) -> dict[str, Any] | None:
    """What is known of the key in use, and of those beside it that the charger may be using; None: there is none."""
    if not state.keys and not state.pending_keys:
        return None
    row = _row(state)
    return {
        "active_since": row.active_since,
        "pending_since": row.pending_since,
        "origin": row.origin,
        "generation": row.generation,
        "weakness": row.weakness,
        "last_shown_at": state.key_shown_at,
        "in_doubt": [
            {
                "generation": key.generation,
                "job_id": key.job_id,
                "since": key.doubted_at,
                "admit_until": key.admit_until,
            }
            for key in state.pending_keys
            if key.doubted_at is not None
        ],
    }


def key_rows(before: ChargerState | None, after: ChargerState) -> list[AuthorizationKeyRow]:
    """The report's row, where it is another than before; a charger that never had a key needs none."""
    if before is None:
        return [_row(after)] if after.keys or after.pending_keys else []
    if before.keys is after.keys and before.pending_keys is after.pending_keys:
        return []
    row = _row(after)
    return [row] if row != _row(before) else []


def _row(state: ChargerState) -> AuthorizationKeyRow:
    generation = active_generation(state)
    has_key = generation is not None
    open_since = [key.requested_at for key in state.pending_keys if key.doubted_at is None]
    return AuthorizationKeyRow(
        charger_id=state.charger_id,
        generation=generation,
        origin=state.key_origin if has_key else None,
        weakness=state.key_weakness if has_key else None,
        active_since=state.key_since if has_key else None,
        pending_since=open_since[-1] if open_since else None,
        in_doubt=any(key.doubted_at is not None for key in state.pending_keys),
        digests=tuple(_digest(key) for key in state.keys if key.state == "active"),
    )


def _digest(key: KeyVerifier) -> str:
    """Equal for equal keys under one pepper, and no verifier: nobody can be admitted by comparing with it."""
    return hashlib.sha256(f"{key.pepper_id}:{key.verifier}".encode()).hexdigest()
