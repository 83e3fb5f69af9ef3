"""When this charger's own credentials let it in no more, if nobody reaches it until then. Pure: state in, date out.

What counts is what is known to be on the charger and is admitted: a leaf that is installed counts before it was ever seen, one
whose delivery is in doubt does not. Whether the charger can verify us is the fleet's side (`bfactors.trust_end`).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.pending_key import PendingKey
from bfactors.charger.prerequisite import CLIENT_CERTIFICATE_PROFILE, TLS_PROFILE
from bfactors.charger.state import CertificateRecord, ChargerState
from bfactors.lockout import Cause, Lockout
from bfactors.policy import Policy
from bfactors.purpose import purpose
from bfactors.server_certificate import bundle_purpose
from bfactors.trust_end import NO_BUNDLE, TrustEnd

_ON_CHARGER = ("installed", "active")


def lockout(state: ChargerState) -> Lockout | None:
    """When and why; None: never, as far as its credentials go. A moment that has passed: it has been locked out since.

    Nobody waits for one that was taken out of service.
    """
    if state.decommissioned_at is not None:
        return None
    if state.security_profile >= CLIENT_CERTIFICATE_PROFILE:
        return _of_way_back(state) or _of_certificates(state)
    if state.security_profile == 0:
        return None
    return _of_keys(state)


def trust_bundle(state: ChargerState) -> str | None:
    """The bundle by which it verifies us: `NO_BUNDLE` if it confirmed none; None: it is shown no server certificate."""
    if state.security_profile < TLS_PROFILE or state.decommissioned_at is not None:
        return None
    confirmation = state.bundles.get(bundle_purpose())
    return NO_BUNDLE if confirmation is None else confirmation.bundle_id


def whole_lockout(state: ChargerState, ends: Iterable[TrustEnd]) -> Lockout | None:
    """By its own credentials or by what it verifies us with, whichever ends first."""
    own, bundle = lockout(state), trust_bundle(state)
    trust = next((end for end in ends if end.bundle_id == bundle), None)
    if trust is None or (own is not None and own.at <= trust.at):
        return own
    return Lockout(at=trust.at, cause=trust.cause)


def told_at(state: ChargerState, policy: Policy) -> datetime | None:
    """When somebody is to be told of what is coming; None: of nothing, or they were.

    What a charger lacks since its registration is no news.
    """
    end = lockout(state)
    days = policy.lockout_notice_days
    if days == 0 or end is None or end.cause == "no-credential" or end.at == state.lockout_told:
        return None
    return end.at - timedelta(days=days)


def rang(draft: Draft, policy: Policy) -> None:
    """Record what is coming, once for each moment it is foreseen for."""
    at, end = told_at(draft.state, policy), lockout(draft.state)
    if at is None or at > draft.now or end is None:
        return
    draft.record(
        e.ChargerLockoutForeseen(
            charger_id=draft.state.charger_id,
            locked_out_at=end.at,
            cause=end.cause,
            certificate_id=end.certificate_id,
        )
    )


def _of_way_back(state: ChargerState) -> Lockout | None:
    """It went back to profile 2 and uses that until it is refused again."""
    way = state.way_back
    return None if way is None or way.used_at is None else Lockout(at=way.ends_at, cause="way-back-end")


def _of_keys(state: ChargerState) -> Lockout | None:
    """The last of its keys to be refused; one that nothing withdraws never is."""
    pending = {key.generation: key for key in state.pending_keys}
    ends = [_withdrawn_at(pending.get(key.generation)) for key in state.keys]
    known = [end for end in ends if end is not None]
    if not ends:
        return None if state.spoken_for_by else _without_credential(state)
    return Lockout(at=max(known), cause="key-withdrawn") if len(known) == len(ends) else None


def _without_credential(state: ChargerState) -> Lockout:
    return Lockout(at=state.unit_since or state.registered_at, cause="no-credential")


def _withdrawn_at(key: PendingKey | None) -> datetime | None:
    """A doubted key is withdrawn once another was seen since; until then it may be all the charger has."""
    return key.admit_until if key is not None and key.is_outlived else None


def _of_certificates(state: ChargerState) -> Lockout | None:
    own = [
        each
        for each in state.certificates.values()
        if purpose(each.purpose).is_session_credential and not each.former_identity_id
    ]
    admitted = [*_admitted(own), *_admitted_expired(state, own)]
    if admitted:
        return max(admitted, key=lambda way: way.at)
    if state.spoken_for_by:
        return None  # a local controller opens its sessions, under a certificate of its own
    ended = [
        Lockout(at=_ended_at(each), cause=_end(each), certificate_id=each.certificate_id) for each in own
    ]
    return max(ended, key=lambda way: way.at, default=_without_credential(state))


def _admitted(own: list[CertificateRecord]) -> Iterator[Lockout]:
    """How long the edge lets each leaf in that is known to be on the charger."""
    for each in own:
        if each.state in _ON_CHARGER and each.is_usable:
            yield Lockout(at=each.not_after, cause="certificate-expiry", certificate_id=each.certificate_id)
        elif _is_in_grace(each):
            assert each.admit_until is not None
            is_cut = each.admit_until < each.not_after
            yield Lockout(
                at=min(each.admit_until, each.not_after),
                cause="grace-end" if is_cut else "certificate-expiry",
                certificate_id=each.certificate_id,
            )


def _is_in_grace(each: CertificateRecord) -> bool:
    return each.state == "superseded" and each.admit_until is not None and not _is_refused(each)


def _is_refused(each: CertificateRecord) -> bool:
    """Whatever its state lets it do: its revocation was asked for, or an incident refuses it."""
    return each.is_denied or each.revocation_requested_at is not None


def _admitted_expired(state: ChargerState, own: list[CertificateRecord]) -> Iterator[Lockout]:
    """An operator lets its expired leaf in for a while."""
    if state.expired_admission is None:
        return
    for each in own:
        if each.state in (*_ON_CHARGER, "expired") and not _is_refused(each):
            yield Lockout(
                at=state.expired_admission.until,
                cause="expired-admission-end",
                certificate_id=each.certificate_id,
            )


def _end(each: CertificateRecord) -> Cause:
    return "certificate-expiry" if each.state == "expired" else "certificate-ended"


def _ended_at(each: CertificateRecord) -> datetime:
    """Since when it is refused; where that is not remembered, since when there was it at the latest."""
    if each.revocation_requested_at is not None:
        return each.revocation_requested_at
    if each.state == "expired":
        return each.not_after
    return each.activated_at or each.installed_at or each.issued_at
