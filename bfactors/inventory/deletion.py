"""Why a certificate that a charger lists may not be deleted: what would strand it, cannot work, or is not ours to touch.

Source: M04.FR.06, A05.FR.02; a charger without the root that verifies us never comes back.
"""

from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.inventory.row import Reconciliation, Row
from bfactors.inventory.store import FIRMWARE_STORE, SERVER_STORE
from bfactors.refusal import Refusal


def deletion_problem(
    target: HashData, inventory: Reconciliation, server_anchors: frozenset[str] | None
) -> Refusal | None:
    """Why the operational routes may not delete it, or None; what is sent then is `inventory.listed(target)`'s hash data.

    `server_anchors`: fingerprints of every anchor that the live session's server certificate chains to, cross-signed ones
    included; None if there is no live session over TLS.
    """
    found = inventory.listed(target)
    if found is None:
        return Refusal(
            "unknown-hash-data",
            "the charger does not list a certificate with this hash data: have it list again",
            "hash_data",
            404,
        )
    row = found[0]
    # Hash data name no store: whatever place the same certificate has besides, it leaves that too.
    places = {store for one in inventory.rows if not _is_another(one, row) for store in one.stores}
    if FIRMWARE_STORE in places:
        return Refusal(
            "firmware-trust-apart",
            "manufacturer roots verify firmware and are deleted through firmware trust only",
            "hash_data",
        )
    if "charging-station" in places or (row.held is not None and row.held.is_session_credential):
        return Refusal(
            "station-certificate-stays",
            "a charger's own certificate cannot be deleted over OCPP (M04.FR.06); revoke or deactivate it instead",
            "hash_data",
            409,
        )
    return _server_root_problem(row, inventory, server_anchors) if SERVER_STORE in places else None


def _server_root_problem(
    row: Row, inventory: Reconciliation, server_anchors: frozenset[str] | None
) -> Refusal | None:
    live = server_anchors or frozenset()
    if row.fingerprint_sha256 in live:
        return Refusal(
            "anchor-of-live-session",
            "the charger verifies this very session with it; move it to a server certificate under another root first",
            "hash_data",
            409,
        )
    others = [one for one in inventory.rows if SERVER_STORE in one.stores and _is_another(one, row)]
    if not others:
        return Refusal(
            "last-central-system-root",
            "it is the only root the charger could verify us with; install and confirm another first",
            "hash_data",
            409,
        )
    if live and row.held is None and not any(one.fingerprint_sha256 in live for one in others):
        return Refusal(
            "live-anchor-not-identified",
            "none of the roots listed is known to verify this session, so this one might; install and confirm ours first",
            "hash_data",
            409,
        )
    return None


def _is_another(one: Row, row: Row) -> bool:
    """Whether two rows are certainly two certificates. Strangers listed over different algorithms may be one."""
    if one is row:
        return False
    if one.held is not None or row.held is not None:
        return True  # whatever is ours has been recognised
    return all(_differ(a, b) for a in one.reported for b in row.reported)


def _differ(one: ReportedCertificate, other: ReportedCertificate) -> bool:
    """By serial number, or by name over the same algorithm; keys do not tell, because some hash more than the key's bits."""
    a, b = one.hash_data.readings(), other.hash_data.readings()
    if {reading[3] for reading in a}.isdisjoint(reading[3] for reading in b):
        return True
    return a[0][0] == b[0][0] and a[0][1] != b[0][1]
