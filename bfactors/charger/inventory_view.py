"""A charger's inventory as the API shows it: each certificate with who knows of it, and what they disagree on."""

from typing import Any

from bfactors.charger.inventory import reconciled
from bfactors.charger.state import ChargerState
from bfactors.fleet.state import FleetFacts
from bfactors.inventory.row import Row


def inventory_body(state: ChargerState, facts: FleetFacts) -> dict[str, Any]:
    """`reported_certificates`, in the charger's own order, and `inventory`: its age, and what it does not list.

    A list of 2,000 entries is tens of milliseconds of work.
    """
    rows = reconciled(state, facts)
    by_entry = {id(entry): row for row, entry in rows.entries()}
    return {
        "reported_certificates": [
            {
                "use": entry.use,
                "hash_data": entry.hash_data,
                "child_hash_data": list(entry.child_hash_data),
                **_row(by_entry[id(entry)]),
            }
            for entry in state.reported
        ],
        "inventory": {
            "reported_at": state.reported_at,
            "is_complete": state.listed_everything,
            "not_listed": [
                _row(row) for row in rows.rows if not row.reported and (row.differences or row.seen)
            ],
        },
    }


def _row(row: Row) -> dict[str, Any]:
    held = row.held
    return {
        "sources": list(row.sources),
        "match": row.match,
        "fingerprint_sha256": row.fingerprint_sha256,
        "certificate_id": held.certificate_id if held is not None else None,
        "purpose": held.purpose if held is not None else None,
        "subject": held.subject if held is not None else None,
        "state": held.state if held is not None else None,
        "seen_at": row.seen.at if row.seen is not None else None,
        "differences": [{"code": one.code, "message": one.message} for one in row.differences],
    }
