"""Policy values: what may be chosen per purpose and overridden per family and cohort, with the built-in defaults.

Durations are whole days or seconds as the name says. A policy set has a version; every decision records the version it
was made under.
"""

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from bfactors import blackout
from bfactors.approval import KIND_NAMES as APPROVAL_KINDS
from bfactors.approval import ROLLBACK
from bfactors.policy_scope import scopes_of
from bfactors.purpose import purposes

BUILT_IN = "built-in"
KEY_ALGORITHMS = ("ec-secp256r1", "ec-secp384r1", "rsa-2048", "rsa-3072", "rsa-4096")
FURTHER_KEY_ALGORITHMS = ("ec-secp521r1",)
"""What single purposes may have beside those."""
KEY_ROTATION_TRIGGERS = (
    "schedule",
    "suspected-leak",
    "used-from-two-places",
    "owner-changed",
    "installer-changed",
    "factory-key",
    "first-contact",
)
KEY_REBOOTS = ("never", "when-idle", "always")
MANAGED, TRACKED_ONLY = "managed", "tracked-only"
MODES = (MANAGED, "brokered", TRACKED_ONLY)
WITHOUT_USAGE = "none"
EXTENDED_KEY_USAGES = ("of-purpose", WITHOUT_USAGE)
_encode = msgspec.json.Encoder(order="deterministic").encode


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The effective policy of one charger and purpose."""

    mode: str = MANAGED
    """`tracked-only`: nothing is issued or renewed, what others issue is watched; `brokered` needs a scheme that can."""
    validity_days: int = 180
    shortest_validity_days: int = 1
    """A leaf is cut at its CA's end; one that would be cut shorter than this is not asked for."""
    authority: str = ""
    """Which of the purpose's CAs issues, by its id (`GET /api/v1/authorities`); empty: the current one."""
    extended_key_usage: str = "of-purpose"
    """`of-purpose`: client or server authentication, as the purpose needs; `none`: the leaf carries none (A00.FR.514)."""
    alternative_names: str = "as-asked"
    """`none`: a CSR that asks for alternative names is refused; `as-asked`: those that the purpose allows are kept."""
    domain_component: str = "expected"
    """`any`: a CSR is taken also without the DC that its purpose expects."""
    renew_before_days: int = 45
    escalate_before_days: tuple[int, ...] = (30, 14, 7)
    last_safe_days: int = 3
    """A renewal this close to expiry is never held by a pause."""
    lockout_notice_days: int = 5
    """So long before a charger could not connect any more somebody is told; 0: never."""
    superseded_grace_days: int = 14
    """How long a superseded leaf may still open a session; 0 allows none; never after a compromise."""
    not_before_skew_s: int = 3600
    csr_wait_s: int = 120
    """How long a triggered charger has for its SignCertificate before it is triggered again."""
    answer_wait_s: int = 60
    """How long an instruction may stay unanswered on a live session."""
    charger_patience_s: int = 3600
    """How long a charger keeps the key whose certificate it waits for; a CA that takes longer is shown as too slow."""
    own_renewals_per_day: int = 2
    """How often a day a charger may renew by itself (A03) before its certificate is in its last safe days; 0: always."""
    reconnect_wait_s: int = 900
    """How long after the install (or the Reset) the new session may take before the job is overdue."""
    reconnect_close_s: int = 600
    """A charger that took its leaf and stays on its session this long has its socket closed; 0: never."""
    reconnect_reset_s: int = 0
    """... and this long after that, or after it came back unchanged, it is reset when idle; 0: never."""
    discarded_reconnects: int = 3
    """Coming back so often on its old certificate, a charger has discarded the new one; 0: no number says so."""
    discarded_after_s: int = 86400
    """So long after it took the leaf, a charger that came back on the old one has discarded it; 0: no time says so."""
    job_deadline_s: int = 7 * 86400
    max_attempts: int = 5
    confirm_rung: str = "listed"
    """Lowest rung that counts as a confirmed trust anchor: listed, used or accepted."""
    key_algorithms: tuple[str, ...] = KEY_ALGORITHMS
    renewal_spread_days: int = 5
    """Renewals start up to this many days before `renew_before_days`, spread by a hash of the identity."""
    subject_match: str = "exact"
    """`exact`: CN equals the expected name; `contains`: the expected name occurs in CN."""
    factory_certificate: str = "refused"
    anchor_over_plain: str = "refused"
    """Whether a trust anchor may be sent over a connection without TLS, where somebody could exchange it on its way."""
    inventory_every_days: int = 30
    """A charger lists all its certificates at least this often; 0: only when something else needs it."""
    escalate_security_events: tuple[str, ...] = ("TamperDetectionActivated", "SecurityLogWasCleared")
    """Kinds that are escalated when a charger reports them; `critical` stands for all its OCPP version calls so."""
    log_silence_s: int = 900
    """How long an accepted log upload may show no progress before its job is overdue."""
    log_claim_grace_s: int = 60
    """How long after the charger said Uploaded the log may still be on its way to us."""

    key_rotation_days: int = 365
    """An AuthorizationKey is changed at this age at the latest, from eleven twelfths of it on, spread by a hash; 0: never."""
    key_rotation_triggers: tuple[str, ...] = (
        "schedule",
        "suspected-leak",
        "owner-changed",
        "installer-changed",
        "factory-key",
    )
    """What changes a key without anybody asking; the others of the table are for policies that want them."""
    key_close_session_s: int = 300
    """How long a charger that took a new AuthorizationKey may stay on its session before that is closed; 0: it never is."""
    key_reboot: str = "when-idle"
    """For a key that takes effect with a reboot: `never`, `when-idle` (not in OCPP 1.6, which has no such reset), `always`."""
    key_doubt_days: int = 30
    """How long a key that its charger may have taken stays admitted after its rotation ended without a session."""
    approval_valid_hours: int = 72
    """How long somebody else has to agree to what needs two people."""
    approvals_needed: tuple[str, ...] = ("rollback", "waiver", "incident", "rollover")
    """What needs a second person. `rollback` always does; taking a kind out needs one itself."""
    waiver_longest_days: int = 90
    """The furthest end that a waiver may have."""
    waiver_alert_days: int = 7
    """How long before its end a waiver is announced; 0: it is not."""
    rollback_longest_days: int = 30
    """The furthest end that a way back from profile 3 may have."""
    migration_retry_s: int = 60
    """The pause before a migration that failed is tried again; it grows fourfold, `max_attempts` times at most."""
    migration_lockout_s: int = 6 * 3600
    """How long after its reset a migrating charger may be away before it counts as locked out, and is put in quarantine."""
    blackout_hours: tuple[str, ...] = ()
    """Windows of the day (`05:00-08:30`, UTC) in which nothing interrupts a charger, unless its certificate cannot wait."""
    not_while_charging: bool = False
    """While a transaction runs, no socket is closed either and no profile raised, and no reset is sent that ends it; a
    reset on idle waits by itself, and in OCPP 1.6 every reset waits in any case. What cannot wait does not."""
    unexplained_certificates: str = "report"
    """What becomes of a certificate that our CA signed and nothing in the ledger accounts for: `report` or `revoke`."""
    foreign_revocation: str = "soft"
    """Revocation of leaves that others issued: `off` asks nobody; not known, `soft` lets them in and `hard` does not."""
    revocation_done: str = "ca"
    """When a revocation's job is done: `ca`, once the CA has accepted it, or `published`, once its list says so."""
    publication_wait_s: int = 3600
    """How long after the CA accepted a revocation it may be missing from the CA's list before somebody is told."""


UNEXPLAINED_CERTIFICATES = ("report", "revoke")
FOREIGN_REVOCATION = ("off", "soft", "hard")
REVOCATION_DONE = ("ca", "published")
ALTERNATIVE_NAMES = ("as-asked", "none")
DOMAIN_COMPONENTS = ("expected", "any")


class PolicyOverride(msgspec.Struct, frozen=True, kw_only=True):
    """A few fields of a policy for one scope; how scopes are written: `bfactors.policy_scope`."""

    scope: str
    values: dict[str, object] = {}


class PolicySet(msgspec.Struct, frozen=True, kw_only=True):
    """Every override in force, under one version. Version 1 is the built-in defaults alone."""

    version: int = 1
    overrides: tuple[PolicyOverride, ...] = ()


_ALL_KEYS = (*KEY_ALGORITHMS, *FURTHER_KEY_ALGORITHMS)
_NOT_NEGATIVE = (
    "renew_before_days",
    "renewal_spread_days",
    "last_safe_days",
    "lockout_notice_days",
    "superseded_grace_days",
    "not_before_skew_s",
    "inventory_every_days",
    "key_rotation_days",
    "key_close_session_s",
    "key_doubt_days",
    "own_renewals_per_day",
    "reconnect_close_s",
    "reconnect_reset_s",
    "discarded_reconnects",
    "discarded_after_s",
    "waiver_alert_days",
)
_POSITIVE = (
    "shortest_validity_days",
    "csr_wait_s",
    "answer_wait_s",
    "publication_wait_s",
    "charger_patience_s",
    "reconnect_wait_s",
    "job_deadline_s",
    "max_attempts",
    "log_silence_s",
    "log_claim_grace_s",
    "approval_valid_hours",
    "rollback_longest_days",
    "waiver_longest_days",
    "migration_retry_s",
    "migration_lockout_s",
)


_ONE_OF = (
    ("mode", MODES),
    ("extended_key_usage", EXTENDED_KEY_USAGES),
    ("alternative_names", ALTERNATIVE_NAMES),
    ("domain_component", DOMAIN_COMPONENTS),
)


def problems(policy: Policy) -> list[tuple[str, str]]:
    """Contradictions within one policy as (field, message); empty when it can be used."""
    found: list[tuple[str, str]] = []
    if not 1 <= policy.validity_days <= 3650:
        found.append(("validity_days", "must lie between 1 and 3650"))
    for name, known in _ONE_OF:
        if getattr(policy, name) not in known:
            found.append((name, f"must be one of {', '.join(known)}"))
    if policy.shortest_validity_days > policy.validity_days:
        found.append(("shortest_validity_days", "must not be longer than validity_days"))
    if policy.renew_before_days >= policy.validity_days:
        found.append(("renew_before_days", "must be shorter than validity_days"))
    if any(days > policy.renew_before_days for days in policy.escalate_before_days):
        found.append(("escalate_before_days", "must lie inside the renewal window"))
    for name in _NOT_NEGATIVE:
        if getattr(policy, name) < 0:
            found.append((name, "must not be negative"))
    if not policy.key_algorithms or not set(policy.key_algorithms) <= set(_ALL_KEYS):
        found.append(("key_algorithms", f"must name some of {', '.join(_ALL_KEYS)}"))
    for name in _POSITIVE:
        if getattr(policy, name) < 1:
            found.append((name, "must be at least 1"))
    if (wrong := blackout.problem(policy.blackout_hours)) is not None:
        found.append(("blackout_hours", wrong))
    if policy.confirm_rung not in ("listed", "used", "accepted"):
        found.append(("confirm_rung", "must be listed, used or accepted"))
    if policy.subject_match not in ("exact", "contains"):
        found.append(("subject_match", "must be exact or contains"))
    if not set(policy.key_rotation_triggers) <= set(KEY_ROTATION_TRIGGERS):
        found.append(("key_rotation_triggers", f"must name some of {', '.join(KEY_ROTATION_TRIGGERS)}"))
    if policy.key_reboot not in KEY_REBOOTS:
        found.append(("key_reboot", f"must be one of {', '.join(KEY_REBOOTS)}"))
    if ROLLBACK not in policy.approvals_needed or not set(policy.approvals_needed) <= set(APPROVAL_KINDS):
        found.append(("approvals_needed", f"must name rollback, and others of {', '.join(APPROVAL_KINDS)}"))
    if policy.unexplained_certificates not in UNEXPLAINED_CERTIFICATES:
        found.append(("unexplained_certificates", "must be report or revoke"))
    if policy.foreign_revocation not in FOREIGN_REVOCATION:
        found.append(("foreign_revocation", "must be off, soft or hard"))
    if policy.revocation_done not in REVOCATION_DONE:
        found.append(("revocation_done", "must be ca or published"))
    for name in ("factory_certificate", "anchor_over_plain"):
        if getattr(policy, name) not in ("refused", "allowed"):
            found.append((name, "must be refused or allowed"))
    return found


def effective(
    policies: PolicySet,
    *,
    purpose: str,
    family: str,
    cohort: str,
    waived: tuple[PolicyOverride, ...] = (),
) -> Policy:
    """The policy of a charger for `purpose`: cohort over family over purpose over built-in, field by field. What is built in
    may be the purpose's own.

    `waived` values stand above them all, a later one above an earlier. Cheap enough to be asked in every decision. Raises as
    `effective_with_origin`.
    """
    spec = purposes().get(purpose)
    own = spec.policy if spec is not None else {}
    if not policies.overrides and not waived and not own:
        return _DEFAULT
    values: dict[str, object] = {**own}
    for override in _in_force(policies, scopes_of(purpose=purpose, family=family, cohort=cohort)):
        values |= override.values
    for override in waived:
        values |= override.values
    return _policy_of(_encode(values)) if values else _DEFAULT


def effective_with_origin(
    policies: PolicySet,
    *,
    purpose: str,
    family: str,
    cohort: str,
    waived: tuple[PolicyOverride, ...] = (),
) -> tuple[Policy, dict[str, str]]:
    """As `effective`, with the scope each field came from.

    Raises msgspec.ValidationError if an override names an unknown field or a value of the wrong type.
    """
    origin = dict.fromkeys(Policy.__struct_fields__, BUILT_IN)
    for override in _in_force(policies, scopes_of(purpose=purpose, family=family, cohort=cohort)):
        origin |= dict.fromkeys(override.values, override.scope)
    for override in waived:
        origin |= dict.fromkeys(override.values, override.scope)
    return effective(policies, purpose=purpose, family=family, cohort=cohort, waived=waived), origin


def _in_force(policies: PolicySet, scopes: tuple[str, ...]) -> Iterator[PolicyOverride]:
    """The overrides that apply, the stronger one last."""
    for scope in scopes:
        for override in policies.overrides:
            if override.scope == scope:
                yield override


def differences(before: Policy, after: Policy) -> dict[str, tuple[object, object]]:
    """The fields in which two policies differ, each with its value before and after."""
    return {
        name: (was, will)
        for name in Policy.__struct_fields__
        if (was := getattr(before, name)) != (will := getattr(after, name))
    }


_DEFAULT = Policy()


@lru_cache(maxsize=512)
def _policy_of(values: bytes) -> Policy:
    """The defaults under these overridden fields, given as JSON so that equal sets of them are one key."""
    unknown = sorted(set(msgspec.json.decode(values)) - set(Policy.__struct_fields__))
    if unknown:
        raise msgspec.ValidationError(f"unknown policy field {unknown[0]!r}")
    return msgspec.json.decode(values, type=Policy)
