"""Parts come to a charger, change and go; which of them a job, a CSR or a leaf is about."""

from collections.abc import Iterable

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.part import Part
from bfactors.charger.state import ChargerState
from bfactors.distinguished_name import comparable
from bfactors.purpose import PurposeSpec, purposes
from bfactors.refusal import Refusal

MOST_PARTS = 64
"""That are in use."""


def problem(state: ChargerState, part: Part) -> Refusal | None:
    """Why a part cannot be so: retired while it is in use, or not to be told from another."""
    if part.is_retired:
        return _in_use(state, part.identity_id)
    others = [one for one in _of_kind(state, part.kind) if one.identity_id != part.identity_id]
    if len(others) >= MOST_PARTS:
        return Refusal("too-many-parts", f"a charger has at most {MOST_PARTS}", "charger_id", 409)
    taken = {number for one in others for number in one.evses}.intersection(part.evses)
    if taken:
        return Refusal("evse-number-taken", f"another has the EVSE number {min(taken)}", "evses", 409)
    without = [one for one in (part, *others) if not one.evses]
    if others and without:
        message = f"of several in one charger each needs its EVSE numbers; {without[0].identity_id} has none"
        return Refusal("evse-numbers-missing", message, "evses", 409)
    return None


def _in_use(state: ChargerState, identity_id: str) -> Refusal | None:
    for job in state.jobs.values():
        if job.part == identity_id:
            return Refusal("identity-in-use", f"its job {job.job_id} is open: cancel it first", status=409)
    for certificate in state.certificates.values():
        if certificate.part == identity_id and certificate.is_usable:
            message = f"its certificate {certificate.certificate_id} is in use: revoke or deactivate it first"
            return Refusal("identity-in-use", message, status=409)
    return None


def placed(draft: Draft, part: Part) -> None:
    """Know a part as it is now; recorded if that is news."""
    if draft.state.parts.get(part.identity_id) != part:
        draft.record(
            e.ChargerPartChanged(
                charger_id=draft.state.charger_id,
                managed_identity_id=part.identity_id,
                kind=part.kind,
                external_ids=part.names,
                evses=part.evses,
                is_retired=part.is_retired,
            )
        )


# ---------------------------------------------------------------- which one


def addressed(state: ChargerState, spec: PurposeSpec, identity_id: str | None) -> str | Refusal:
    """The part that a job without a certificate is for; empty: the charger itself."""
    if not spec.is_of_part:
        if identity_id in (None, "", state.managed_identity_id):
            return ""
        message = f"{spec.name} belongs to the charger itself"
        return Refusal("wrong-identity", message, "managed_identity_id")
    parts = _of_kind(state, spec.identity_kind)
    if identity_id not in (None, state.managed_identity_id):
        parts = [one for one in parts if one.identity_id == identity_id]
    if not parts:
        message = (
            f"{spec.name} belongs to an {spec.identity_kind} with a {spec.name_scheme}: register that first, as an identity "
            "of this charger"
        )
        return Refusal("no-such-identity", message, "managed_identity_id", 409)
    if len(parts) > 1:
        known = ", ".join(one.identity_id for one in parts[:5])
        message = f"the charger has several, say which: {known}"
        return Refusal("identity-ambiguous", message, "managed_identity_id", 409)
    if parts[0].named(spec.name_scheme) is None:
        message = f"its {spec.name_scheme} is not known, and the certificate must name it"
        return Refusal("name-missing", message, "managed_identity_id", 409)
    return parts[0].identity_id


def bearing(state: ChargerState, spec: PurposeSpec, common_names: Iterable[str]) -> str | None:
    """The part that a subject is of: the one it names, or the only one there is; None: nobody can say."""
    parts = [one for one in _of_kind(state, spec.identity_kind) if one.named(spec.name_scheme) is not None]
    if len(parts) == 1:
        return parts[0].identity_id
    said = {comparable(name) for name in common_names}
    meant = [one for one in parts if comparable(one.named(spec.name_scheme) or "") in said]
    return meant[0].identity_id if len(meant) == 1 else None


def expected_name(state: ChargerState, spec: PurposeSpec, part: str) -> str:
    """The CN its leaf of this purpose must have."""
    if not part:
        return state.expected_common_name
    return state.parts[part].named(spec.name_scheme) or ""


def evse_of(state: ChargerState, part: str) -> int | None:
    """The EVSE by which a charger of several is asked about this one; None: it has one for all."""
    known = state.parts.get(part)
    return known.evses[0] if known is not None and known.evses else None


def asking(state: ChargerState) -> tuple[str, ...]:
    """The purposes of parts for which this charger may send a CSR."""
    return tuple(
        spec.name
        for spec in purposes().values()
        if spec.is_of_part
        and any(one.named(spec.name_scheme) is not None for one in _of_kind(state, spec.identity_kind))
    )


def _of_kind(state: ChargerState, kind: str) -> list[Part]:
    return [one for one in state.parts.values() if one.kind == kind and not one.is_retired]
