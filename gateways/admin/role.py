"""Who may do what: one table, operation by role. A role that is not named beside an operation may not do it.

Viewers read the fleet; auditors read the trail as well; rollout managers also pause and resume; operators run jobs and the
inventory; PKI admins do everything operational, and alone revoke, change trust and policy. Firmware admins have firmware trust,
which is nobody else's, and nothing else.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Role = Literal["viewer", "operator", "pki-admin", "rollout-manager", "auditor", "firmware-admin"]
ROLES: frozenset[str] = frozenset(get_args(Role))

PUBLIC: frozenset[str] = frozenset()
"""Without a token: health, numbers, public trust anchors and the API's own description."""

_FIRMWARE = frozenset({"firmware-admin"})
_EVERYONE = ROLES - _FIRMWARE
_TRAIL = frozenset({"operator", "pki-admin", "auditor"})
_AUDIT = frozenset({"pki-admin", "auditor"})
_OPERATION = frozenset({"operator", "pki-admin"})
_ROLLOUT = frozenset({"operator", "pki-admin", "rollout-manager"})
_PKI = frozenset({"pki-admin"})

MAY: Mapping[str, frozenset[str]] = {
    "health.live": PUBLIC,
    "health.ready": PUBLIC,
    "health.metrics": PUBLIC,
    "openapi.get": PUBLIC,
    "trust.central_system": PUBLIC,
    "trust.purpose": PUBLIC,
    "chargers.register": _OPERATION,
    "imports.run": _OPERATION,
    "chargers.list": _EVERYONE,
    "chargers.get": _EVERYONE,
    "chargers.change": _OPERATION,
    "chargers.decommission": _OPERATION,
    "chargers.replace": _OPERATION,
    "chargers.resume": _OPERATION,
    "chargers.set_capabilities": _PKI,
    "chargers.call": _PKI,
    "chargers.set_spoken_for": _PKI,
    "chargers.admit_expired": _PKI,
    "chargers.trace": _PKI,
    "chargers.traced": _PKI,
    "approvals.list": _EVERYONE,
    "approvals.get": _EVERYONE,
    "approvals.approve": _PKI,
    "approvals.reject": _PKI,
    "approvals.withdraw": _OPERATION,
    "migrations.open": _OPERATION,
    "migrations.release": _PKI,
    "migrations.list": _EVERYONE,
    "authorization_keys.rotate": _OPERATION,
    "authorization_keys.list": _TRAIL,
    "authorization_keys.counts": _TRAIL,
    "logs.request": _OPERATION,
    "logs.list": _TRAIL,
    "logs.get": _TRAIL,
    "logs.content": _TRAIL,
    "families.list": _EVERYONE,
    "families.get": _EVERYONE,
    "families.set": _PKI,
    "families.qualify": _PKI,
    "families.set_factory_anchors": _PKI,
    "jobs.open": _OPERATION,
    "jobs.list": _EVERYONE,
    "jobs.get": _EVERYONE,
    "jobs.cancel": _OPERATION,
    "certificates.list": _EVERYONE,
    "certificates.get": _EVERYONE,
    "certificates.revoke": _PKI,
    "certificates.deactivate": _OPERATION,
    "lockouts.list": _EVERYONE,
    "lockouts.counts": _EVERYONE,
    "renewals.list": _EVERYONE,
    "renewals.counts": _EVERYONE,
    "trust_anchor_bundles.create": _PKI,
    "trust_anchor_bundles.list": _EVERYONE,
    "trust_anchor_bundles.get": _EVERYONE,
    "supervisors.list": _EVERYONE,
    "supervisors.pause": _ROLLOUT,
    "supervisors.resume": _ROLLOUT,
    "supervisors.drain": _ROLLOUT,
    "policies.list": _EVERYONE,
    "policies.effective": _EVERYONE,
    "policies.preview": _EVERYONE,
    "policies.set": _PKI,
    "waivers.request": _OPERATION,
    "waivers.list": _EVERYONE,
    "waivers.get": _EVERYONE,
    "waivers.end": _PKI,
    "identities.register": _OPERATION,
    "identities.list": _EVERYONE,
    "identities.get": _EVERYONE,
    "identities.change": _OPERATION,
    "identities.retire": _OPERATION,
    "identities.erase_personal_data": _PKI,
    "retention.list": _EVERYONE,
    "retention.set": _PKI,
    "purposes.list": _EVERYONE,
    "incidents.forecast": _EVERYONE,
    "incidents.open": _PKI,
    "incidents.list": _EVERYONE,
    "incidents.get": _EVERYONE,
    "incidents.targets": _EVERYONE,
    "incidents.advance": _PKI,
    "incidents.pause": _PKI,
    "incidents.resume": _PKI,
    "incidents.end": _PKI,
    "server_certificates.list": _EVERYONE,
    "server_certificates.forecast": _EVERYONE,
    "notifications.subscriptions": _TRAIL,
    "notifications.subscribe": _PKI,
    "notifications.unsubscribe": _PKI,
    "notifications.test": _PKI,
    "notifications.list": _TRAIL,
    "authorities.list": _EVERYONE,
    "authorities.holders": _EVERYONE,
    "authorities.register": _PKI,
    "rollovers.get": _EVERYONE,
    "rollovers.start": _PKI,
    "rollovers.advance": _PKI,
    "rollovers.abort": _PKI,
    "reconciliations.list": _EVERYONE,
    "reconciliations.items": _EVERYONE,
    "reconciliations.request": _PKI,
    "audit.list": _TRAIL,
    "audit.checkpoints": _TRAIL,
    "audit.keys": _TRAIL,
    "audit.inclusion": _TRAIL,
    "audit.consistency": _TRAIL,
    "chargers.evidence_pack": _AUDIT,
    "security_events.list": _TRAIL,
    "events.follow": _TRAIL | _ROLLOUT,
    "firmware_trust.record": _FIRMWARE,
    "firmware_trust.anchors": _FIRMWARE,
    "firmware_trust.anchor": _FIRMWARE,
    "firmware_trust.withdraw": _FIRMWARE,
    "firmware_trust.charger": _FIRMWARE,
    "firmware_trust.install": _FIRMWARE,
    "firmware_trust.list": _FIRMWARE,
    "firmware_trust.compare": _FIRMWARE,
    "firmware_trust.delete": _FIRMWARE,
    "firmware_trust.update": _FIRMWARE,
    "firmware_trust.cancel": _FIRMWARE,
    "firmware_trust.events": _FIRMWARE,
}

SEE_MASKED = _TRAIL
"""Who is shown the ends of a VIN, an EMAID or a PCID."""

MAY_OPEN_JOB: Mapping[str, frozenset[str]] = {
    "issue": _OPERATION,
    "renew": _OPERATION,
    "migrate": _OPERATION,
    "deactivate": _OPERATION,
    "revoke": _PKI,
    "delete": _PKI,
    "install-anchor": _PKI,
    "rotate-key": _OPERATION,
    "decommission": _OPERATION,
}
"""Jobs by action: revoking needs the same role whichever route it takes; of a unit that has left, it is nobody's choice."""
