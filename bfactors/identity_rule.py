"""Who may open a session: the identity rules of security profiles 0 to 3 as an ordered table of pure checks.

The first rule that objects decides. Nothing here knows sockets; the credential may come from a handshake or from a header.
Source: A00.FR.001-005, A00.FR.204/207, A00.FR.303/324, A00.FR.403-407, A00.FR.429, B01.FR.11/12.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Set
from datetime import datetime

import msgspec

from bfactors.admission import (
    EXPIRED_FLAG,
    FACTORY_FLAG,
    AdmissionRecord,
    AdmissionRefused,
    KeyVerifier,
    KnownCredential,
    PresentedCredential,
    Speaker,
    spoken_for_flag,
)
from bfactors.distinguished_name import comparable
from bfactors.identity import charger_id_problem
from bfactors.path import PathCheck, Problem, TrustSet
from bfactors.x509 import MalformedX509, certificate_of, fingerprint_sha256

PASSWORD_MAX_BYTES = 256
"""OCPP allows 64 characters; UTF-8 may need four bytes for each."""

VerifyKey = Callable[[KeyVerifier, bytes], bool]

_NOBODY = KeyVerifier(generation=0, pepper_id="", verifier="0" * 64, state="active")
_VERIFICATIONS = 3
"""Every Basic attempt costs this many verifications at least, so that its time does not tell which part was wrong."""

ENDED = frozenset({"revoked", "inactive", "rejected"})
"""States of a leaf that also cut the sessions it has opened."""
_BASIC_MESSAGE = "user or password refused"
_SUPERSEDED = "superseded-credential"
UNPROVEN = "revocation-unknown"
"""Of a session with a leaf of somebody else's, whose revocation nobody could look up."""


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one upgrade is decided from.

    `charger_id` is the last part of the URL, percent-decoded. `ready`: the admission records have been seen in full.
    `user` and `password` come from Basic; None if there was no such header or it could not be read.
    """

    charger_id: str
    ready: bool
    tls: bool
    record: AdmissionRecord | None
    now: datetime
    trust: TrustSet
    paths: PathCheck
    verify_key: VerifyKey
    user: str | None = None
    password: bytes | None = None
    credential: PresentedCredential | None = None
    forgive_expired_leaf: bool = False
    controllers: Set[str] = frozenset()
    """Fingerprints of local controllers that speak for some charger, whichever."""
    ended: Mapping[str, str] = {}
    """Leaves that the inventory has of any charger and that may not be used any more: state by fingerprint."""

    @property
    def security_profile(self) -> int:
        """The profile this connection is: 3 with a client certificate, 2 over TLS, 1 with Basic on plain ws, else 0."""
        if self.tls:
            return 3 if self.credential else 2
        return 0 if self.password is None else 1


class Rule(msgspec.Struct, frozen=True):
    """One identity rule: `check` says what is wrong, or None. `http_status` is the refusal's answer."""

    name: str
    http_status: int
    check: Callable[[Upgrade], Problem | None]


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What an admitted session is known by."""

    security_profile: int
    fingerprint_sha256: str | None = None
    certificate_id: str | None = None
    key_generation: int | None = None
    flags: tuple[str, ...] = ()


# ---------------------------------------------------------------- keys


def key_verifier(pepper: bytes, password: bytes) -> str:
    """How a password is kept: hex HMAC-SHA256 of its bytes under the pepper."""
    return hmac.new(pepper, password, hashlib.sha256).hexdigest()


def verify_with(peppers: Mapping[str, bytes]) -> VerifyKey:
    """A check of passwords against verifiers under these peppers (by id); an unknown pepper matches nothing."""

    def verify(verifier: KeyVerifier, password: bytes) -> bool:
        pepper = peppers.get(verifier.pepper_id)
        matches = hmac.compare_digest(key_verifier(pepper or b"", password), verifier.verifier)
        return matches and pepper is not None

    return verify


def matching_key(upgrade: Upgrade) -> KeyVerifier | None:
    """The verifier the password matches; all are tried, and never fewer than a fixed number."""
    password = upgrade.password
    if password is None or not 0 < len(password) <= PASSWORD_MAX_BYTES:
        password = b""
    keys = upgrade.record.keys if upgrade.record else ()
    found: KeyVerifier | None = None
    for verifier in keys:
        if upgrade.verify_key(verifier, password) and found is None:
            found = verifier
    for _ in range(_VERIFICATIONS - len(keys)):
        upgrade.verify_key(_NOBODY, password)
    return found if password else None


# ---------------------------------------------------------------- the checks


def _not_ready(upgrade: Upgrade) -> Problem | None:
    return None if upgrade.ready else Problem("admission-not-ready", "admission records are still being read")


def _bad_id(upgrade: Upgrade) -> Problem | None:
    problem = charger_id_problem(upgrade.charger_id)
    return Problem("charger-id-invalid", f"the charger id in the URL {problem}") if problem else None


def _unknown(upgrade: Upgrade) -> Problem | None:
    if upgrade.record is not None:
        return None
    matching_key(upgrade)  # costs what a wrong password costs
    return Problem("charger-unknown", "no charger of this id")


def _refused(upgrade: Upgrade) -> Problem | None:
    record = upgrade.record
    if record is None or record.mode != "refused":
        return None
    return Problem(record.refusal_reason or "charger-refused", "this charger may not connect")


def _profile(upgrade: Upgrade) -> Problem | None:
    record, profile = upgrade.record, upgrade.security_profile
    if record is None or _is_controller(upgrade):
        return None
    until = record.way_back_until
    has_ended = until is not None and until <= upgrade.now and profile < 3
    if profile in record.allowed_profiles and not has_ended:
        return None
    return Problem("profile-not-allowed", f"this charger may not connect with security profile {profile}")


def _uses_basic(upgrade: Upgrade) -> bool:
    return upgrade.security_profile in (1, 2)


def _basic_missing(upgrade: Upgrade) -> Problem | None:
    if not _uses_basic(upgrade) or (upgrade.user is not None and upgrade.password is not None):
        return None
    matching_key(upgrade)
    return Problem("basic-credentials-missing", _BASIC_MESSAGE)


def _basic_wrong(upgrade: Upgrade) -> Problem | None:
    if not _uses_basic(upgrade):
        return None
    key = matching_key(upgrade)  # before the user is looked at: both refusals take as long
    if not hmac.compare_digest((upgrade.user or "").encode(), upgrade.charger_id.encode()):
        return Problem("basic-user-mismatch", _BASIC_MESSAGE)
    return None if key else Problem("basic-password-wrong", _BASIC_MESSAGE)


def known_credential(upgrade: Upgrade) -> KnownCredential | None:
    """The entry of the presented leaf in the charger's record."""
    if upgrade.credential is None or upgrade.record is None:
        return None
    name = fingerprint_sha256(upgrade.credential.leaf_der)
    return next((known for known in upgrade.record.credentials if known.fingerprint_sha256 == name), None)


def speaker(upgrade: Upgrade) -> Speaker | None:
    """The local controller that presents its own leaf for this charger, if it may."""
    if upgrade.credential is None or upgrade.record is None or not upgrade.record.spoken_for_by:
        return None
    name = fingerprint_sha256(upgrade.credential.leaf_der)
    if known_credential(upgrade) is not None:
        return None
    return next((one for one in upgrade.record.spoken_for_by if one.fingerprint_sha256 == name), None)


def _is_controller(upgrade: Upgrade) -> bool:
    if upgrade.credential is None or known_credential(upgrade) is not None:
        return False
    return (
        speaker(upgrade) is not None or fingerprint_sha256(upgrade.credential.leaf_der) in upgrade.controllers
    )


def _may_be_factory(upgrade: Upgrade) -> bool:
    """Whether an unknown leaf is to be judged as the factory's: its path must end where the record says."""
    record = upgrade.record
    is_open = upgrade.credential is not None and record is not None and bool(record.factory_anchors)
    return is_open and known_credential(upgrade) is None and not _is_controller(upgrade)


_UNKNOWN = Problem("credential-unknown", "the client certificate is not one of this charger's")


def _credential_unknown(upgrade: Upgrade) -> Problem | None:
    if upgrade.credential is None or known_credential(upgrade) or speaker(upgrade):
        return None
    if _is_controller(upgrade):
        return Problem("not-spoken-for", "this local controller does not speak for this charger")
    return None if _may_be_factory(upgrade) else _UNKNOWN


def _credential_state(upgrade: Upgrade) -> Problem | None:
    known = known_credential(upgrade)
    if known is None:
        return _controller_state(upgrade) or _revoked_elsewhere(upgrade)
    if known.state == "expired" and upgrade.forgive_expired_leaf:
        return None
    return credential_problem(known, upgrade.now)


def _credential_unproven(upgrade: Upgrade) -> Problem | None:
    known = known_credential(upgrade)
    if known is None or known.unproven != "refused":
        return None
    message = "whether the issuer of the client certificate has revoked it is not known"
    return Problem("credential-revocation-unknown", message)


def _controller_state(upgrade: Upgrade) -> Problem | None:
    """A controller's leaf may be in the inventory too, as another charger's: revoked there it speaks for nobody."""
    spoken = speaker(upgrade)
    state = upgrade.ended.get(spoken.fingerprint_sha256) if spoken is not None else None
    return ended_problem(state) if state is not None else None


def _revoked_elsewhere(upgrade: Upgrade) -> Problem | None:
    """A factory's leaf that was revoked where its unit stood before is revoked where it stands now.

    One that was only deactivated there is not: its unit may have been moved.
    """
    credential = upgrade.credential
    if credential is None or upgrade.ended.get(fingerprint_sha256(credential.leaf_der)) != "revoked":
        return None
    return Problem("credential-revoked", "the client certificate has been revoked")


def ended_problem(state: str) -> Problem:
    """Why a session of a local controller may not begin or go on, by the state its leaf has as another charger's."""
    return Problem(f"credential-{state}", "the local controller's certificate may no longer be used")


def ended_in(record: AdmissionRecord) -> dict[str, str]:
    """The charger's leaves that nobody may use any more: state by fingerprint."""
    return {one.fingerprint_sha256: one.state for one in record.credentials if one.state in ENDED}


def credential_problem(known: KnownCredential, now: datetime) -> Problem | None:
    """Why a leaf of the inventory may not open or keep a session because of its state, or None."""
    match known.state:
        case "issued" | "installed" | "active":
            return None
        case "superseded":
            if known.admit_until is not None and now < known.admit_until:
                return None
            return Problem(
                "credential-superseded", "the client certificate has been replaced and its grace is over"
            )
        case "revoked":
            return Problem("credential-revoked", "the client certificate has been revoked")
        case "inactive":
            return Problem("credential-inactive", "the client certificate has been deactivated")
        case "expired":
            return Problem("credential-expired", "the client certificate is recorded as expired")
        case "rejected":
            return Problem(
                "credential-rejected", "the client certificate was rejected and never came into use"
            )


def _path(upgrade: Upgrade) -> Problem | None:
    credential = upgrade.credential
    if credential is None:
        return None
    try:
        leaf = certificate_of(credential.leaf_der)
    except MalformedX509:
        return Problem("credential-malformed", "the client certificate cannot be read")
    checked = upgrade.paths.check(
        leaf,
        credential.chain_der,
        upgrade.trust,
        upgrade.now,
        resumed=credential.resumed,
        forgive_expired_leaf=upgrade.forgive_expired_leaf and known_credential(upgrade) is not None,
    )
    if isinstance(checked, Problem):
        return checked
    if _may_be_factory(upgrade) and upgrade.record is not None:
        is_factory = not set(upgrade.record.factory_anchors).isdisjoint(checked.fingerprints[1:])
        return None if is_factory else _UNKNOWN
    return None


def _organization(upgrade: Upgrade) -> Problem | None:
    record, credential = upgrade.record, upgrade.credential
    if record is None or credential is None or record.organization is None:
        return None
    if speaker(upgrade) or _may_be_factory(upgrade):
        return None
    found = certificate_of(credential.leaf_der).organizations
    if comparable(record.organization) in map(comparable, found):
        return None
    return Problem("organization-mismatch", "the certificate's organization is not this charger's")


def _common_name(upgrade: Upgrade) -> Problem | None:
    record, credential = upgrade.record, upgrade.credential
    if record is None or credential is None or speaker(upgrade):
        return None
    if _may_be_factory(upgrade):
        return _factory_name(record, certificate_of(credential.leaf_der).common_name)
    if names_charger(record, certificate_of(credential.leaf_der).common_name):
        return None
    return Problem(
        "common-name-mismatch", "the certificate's common name is not the one expected of this charger"
    )


def _factory_name(record: AdmissionRecord, common_name: str | None) -> Problem | None:
    """A factory names the unit, whatever name we give the charger."""
    if comparable(common_name or "") == comparable(record.serial_number):
        return None
    return Problem(
        "common-name-mismatch", "the factory certificate's common name is not this charger's serial number"
    )


def names_charger(record: AdmissionRecord, common_name: str | None) -> bool:
    """Whether a leaf's CN is (or contains, if the record says so) the name expected of this charger."""
    found, expected = comparable(common_name or ""), comparable(record.expected_common_name)
    if not found or not expected:
        return False
    return expected in found if record.subject_match == "contains" else expected == found


RULES: tuple[Rule, ...] = (
    Rule("admission-records-read", 503, _not_ready),
    Rule("charger-id-valid", 400, _bad_id),
    Rule("charger-known", 404, _unknown),
    Rule("charger-not-refused", 403, _refused),
    Rule("profile-allowed", 403, _profile),
    Rule("basic-present", 401, _basic_missing),
    Rule("basic-correct", 401, _basic_wrong),
    Rule("credential-known", 403, _credential_unknown),
    Rule("credential-in-use", 403, _credential_state),
    Rule("credential-not-revoked", 403, _credential_unproven),
    Rule("credential-path", 403, _path),
    Rule("credential-organization", 403, _organization),
    Rule("credential-common-name", 403, _common_name),
)
"""In the order they are asked: what costs or tells least comes first."""


def admit(upgrade: Upgrade) -> Admitted | AdmissionRefused:
    """Ask every rule in order; the first objection refuses."""
    for rule in RULES:
        problem = rule.check(upgrade)
        if problem is not None:
            return AdmissionRefused(problem.code, rule.http_status, problem.message)
    known = known_credential(upgrade)
    if known is not None:
        return Admitted(
            security_profile=3,
            fingerprint_sha256=known.fingerprint_sha256,
            certificate_id=known.certificate_id,
            flags=_flags(known, upgrade.now),
        )
    spoken = speaker(upgrade)
    if spoken is not None:
        # TLS, and nothing proved by the charger itself: whoever reads a 3 here would believe that it was
        return Admitted(
            security_profile=2,
            fingerprint_sha256=spoken.fingerprint_sha256,
            flags=(spoken_for_flag(spoken.controller_id),),
        )
    if upgrade.credential is not None:
        leaf = fingerprint_sha256(upgrade.credential.leaf_der)
        return Admitted(security_profile=3, fingerprint_sha256=leaf, flags=(FACTORY_FLAG,))
    key = matching_key(upgrade) if _uses_basic(upgrade) else None
    return Admitted(security_profile=upgrade.security_profile, key_generation=key.generation if key else None)


def _flags(known: KnownCredential, now: datetime) -> tuple[str, ...]:
    """What is unusual about an admitted leaf; an expired one keeps its charger Pending (A00.FR.429)."""
    flags = [_SUPERSEDED] if known.state == "superseded" else []
    if known.unproven == "admitted":
        flags.append(UNPROVEN)
    if known.state == "expired" or now > known.not_after:
        flags.append(EXPIRED_FLAG)
    return tuple(flags)


# ---------------------------------------------------------------- after the upgrade


def admits_expired(record: AdmissionRecord | None, now: datetime) -> bool:
    """Whether this one charger may come in with its own expired leaf now."""
    until = record.expired_admitted_until if record is not None else None
    return until is not None and now < until


def cut_problem(
    record: AdmissionRecord,
    fingerprint_sha256: str | None,
    key_generation: int | None,
    flags: tuple[str, ...] = (),
    managed_identity_id: str | None = None,
) -> Problem | None:
    """Why an open session may not go on after its charger's record changed, or None.

    Only a refused charger, a leaf that was revoked, deactivated, rejected or is listed no more, and a key that is listed
    no more cut a session; expiry, supersession and a raised profile wait for the next upgrade (A00.FR.705). A session that
    an expired leaf was let in for ends with that permission, and one of a unit that another has replaced ends with it.
    """
    if record.mode == "refused":
        return Problem(record.refusal_reason or "charger-refused", "this charger may not connect")
    if managed_identity_id is not None and managed_identity_id != record.managed_identity_id:
        return Problem("unit-replaced", "another unit stands in this charger's place")
    if EXPIRED_FLAG in flags and record.expired_admitted_until is None:
        return Problem("credential-expired", "the expired certificate is no longer let in")
    if fingerprint_sha256 is not None:
        for known in record.credentials:
            if known.fingerprint_sha256 == fingerprint_sha256:
                if known.state in ENDED:
                    return Problem(
                        f"credential-{known.state}", "the session's certificate may no longer be used"
                    )
                return None
        if any(one.fingerprint_sha256 == fingerprint_sha256 for one in record.spoken_for_by):
            return None
        if FACTORY_FLAG in flags and record.factory_anchors:
            return None  # the ledger has yet to hear of it
        return Problem("credential-unknown", "the session's certificate is no longer listed")
    if key_generation is not None and all(key.generation != key_generation for key in record.keys):
        return Problem("key-removed", "the session's key is no longer listed")
    return None


def boot_serial_problem(record: AdmissionRecord, security_profile: int, serial: str | None) -> Problem | None:
    """Why the serial of a BootNotification contradicts the certificate it came under (profile 3 only), or None.

    Source: B01.FR.11/12.
    """
    expected = (comparable(record.serial_number), comparable(record.expected_common_name))
    if security_profile != 3 or (serial is not None and comparable(serial) in expected):
        return None
    if serial is None:
        return Problem("serial-missing", "BootNotification carries no serial number")
    return Problem("serial-mismatch", "BootNotification's serial number is not the one in the certificate")
