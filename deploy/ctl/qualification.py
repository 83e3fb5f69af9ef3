"""What a family must be able to do before campaigns trust it, tried with one real charger, one step after another.

Keys first, while the charger may still present one: a certificate takes it to profile 3 for good. A step that cannot be
tried safely is skipped and says why, never passed.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

from bfactors.x509 import MalformedX509, parse_certificate
from deploy.ctl.client import Body, Refused, in_path
from deploy.ctl.report import DETAIL_MAX_CHARS, Step
from deploy.ctl.walk import REASON, Walk, unoffered, why

PURPOSE = "charging_station"
ANCHORS = "backend_server"
CERTIFICATE_PROFILE = 3
_LEARNED_BY_THE_SERVER = (
    *("cannot_list", "cannot_delete", "max_chain_chars", "trust_store_slots"),
    "csr_wait_s",
)
_LIMITS_16 = {
    "CertificateSignedMaxChainSize": "max_chain_chars",
    "CertificateStoreMaxLength": "trust_store_slots",
}
_LIMITS = {"maxcertificatechainsize": "max_chain_chars", "certificateentries": "trust_store_slots"}
_KEY_TYPES = frozenset({"ec-secp256r1", "ec-secp384r1", "rsa-2048", "rsa-3072", "rsa-4096"})
_ESSENTIAL = frozenset(
    {
        "anchor-install",
        "anchor-listing",
        "key-generation-and-csr",
        "certificate-install",
        "mutual-tls-reconnect",
    }
)
_LIMIT_MAX = 1_000_000
_NUMBER = re.compile(r"[0-9]{1,7}")

_StepOf = Callable[[Walk], Awaitable[list[Step]]]


async def walked(walk: Walk) -> AsyncIterator[Step]:
    """Every step as it ends. Raises Unavailable when the API stays away."""
    for first_name, step in _STEPS:
        try:
            if not await walk.connected():
                yield Step(step=first_name, outcome="failed", detail="the charger is not connected any more")
                continue
            for one in await step(walk):
                yield one
        except Refused as refused:
            yield unoffered(first_name, refused)


def _payload(ended: Body) -> tuple[Body | None, str]:
    """A call's answer, or why there is none."""
    if ended["outcome"] == "answered":
        return ended.get("payload") or {}, ""
    return None, f"{ended['outcome']} {ended.get('error') or ''}".strip()[:DETAIL_MAX_CHARS]


# ---------------------------------------------------------------- steps


async def _limits(walk: Walk) -> list[Step]:
    name = "read-limits"
    if walk.version == "1.6":
        ended = await walk.call("GetConfiguration", {"key": list(_LIMITS_16)})
    else:
        security = {"component": {"name": "SecurityCtrlr"}}
        asked = [
            security | {"variable": {"name": "MaxCertificateChainSize"}},
            security | {"variable": {"name": "CertificateEntries"}, "attributeType": "MaxSet"},
        ]
        ended = await walk.call("GetVariables", {"getVariableData": asked})
    answer, problem = _payload(ended)
    if answer is None:
        return [Step(step=name, outcome="failed", detail=problem)]
    found = limits_of(answer)
    walk.learned |= found
    told = ", ".join(f"{limit} {value}" for limit, value in found.items())
    return [Step(step=name, outcome="passed", detail=told or "the charger tells none")]


def limits_of(answer: Body) -> dict[str, int]:
    """Our names of the limits in a GetVariables or GetConfiguration answer; what is no plain number is left out."""
    told: list[tuple[str | None, Any]] = [
        (_LIMITS_16.get(str(entry.get("key"))), entry.get("value"))
        for entry in _objects(answer.get("configurationKey"))
    ]
    told += [
        (_LIMITS.get(str((entry.get("variable") or {}).get("name", "")).lower()), entry.get("attributeValue"))
        for entry in _objects(answer.get("getVariableResult"))
        if entry.get("attributeStatus") == "Accepted"
    ]
    return {
        name: int(value)
        for name, value in told
        if name is not None
        and isinstance(value, str)
        and _NUMBER.fullmatch(value)
        and 0 < int(value) <= _LIMIT_MAX
    }


def _objects(value: Any) -> list[Body]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


async def _key_rotation(walk: Walk) -> list[Step]:
    name = "key-rotation"
    if walk.charger["session"]["security_profile"] >= CERTIFICATE_PROFILE:
        detail = "the charger connects with a certificate and has no key in use"
        return [Step(step=name, outcome="skipped", detail=detail)]
    return [await walk.job_step(name, f"{walk.path}/authorization-key", {})]


async def _anchors(walk: Walk) -> list[Step]:
    body = {"charger_id": walk.charger_id, "purpose": ANCHORS, "action": "install-anchor", "reason": REASON}
    return [await walk.job_step("anchor-install", "/api/v1/jobs", body)]


async def _listing(walk: Walk) -> list[Step]:
    name = "anchor-listing"
    wanted: Body = {"certificateType": ["CSMSRootCertificate"]}
    if walk.version == "1.6":
        wanted = {"certificateType": "CentralSystemRootCertificate"}
    answer, problem = _payload(await walk.call("GetInstalledCertificateIds", wanted))
    if answer is None:
        if problem.startswith(("error NotSupported", "error NotImplemented")):
            walk.learned["cannot_list"] = True
        return [Step(step=name, outcome="failed", detail=problem)]
    chains = answer.get("certificateHashDataChain") or answer.get("certificateHashData") or []
    if answer.get("status") != "Accepted":
        detail = f"the charger answers {answer.get('status')}, and one anchor at least is on it"
        return [Step(step=name, outcome="failed", detail=detail[:DETAIL_MAX_CHARS])]
    return [Step(step=name, outcome="passed", detail=f"{len(chains)} listed")]


async def _certificate(walk: Walk) -> list[Step]:
    """One job, and the three things the charger does in it."""
    slots = walk.charger["slots"]
    has_one = any(slot["purpose"] == PURPOSE and slot["current"] is not None for slot in slots)
    action = "renew" if has_one else "issue"
    body = {"charger_id": walk.charger_id, "purpose": PURPOSE, "action": action, "reason": REASON}
    job = await walk.ended((await walk.post("/api/v1/jobs", body))["job_id"])
    seen = {entry["event"] for entry in job["timeline"]}
    certificate = await _new_certificate(walk, job)
    key_type = _key_type(certificate)
    if key_type is not None:
        walk.learned["key_types"] = [key_type]
    session = (await walk.look())["session"] or {}
    # activation is no event of the job's; the live session shows it better than any event
    is_used = (
        certificate is not None and session.get("fingerprint_sha256") == certificate["fingerprint_sha256"]
    )
    reached = (
        ("key-generation-and-csr", "CSRValidated" in seen, f"{action}, {key_type or 'key type not seen'}"),
        ("certificate-install", "CertificateInstalled" in seen, ""),
        ("mutual-tls-reconnect", job["state"] == "succeeded" and is_used, ""),
    )
    steps: list[Step] = []
    for name, is_done, detail in reached:
        if is_done:
            steps.append(Step(step=name, outcome="passed", detail=detail))
        elif steps and steps[-1].outcome != "passed":
            steps.append(Step(step=name, outcome="skipped", detail="the step before did not pass"))
        else:
            steps.append(Step(step=name, outcome="failed", detail=why(job)))
    return steps


async def _new_certificate(walk: Walk, job: Body) -> Body | None:
    if job["certificate_id"] is None:
        return None
    return await walk.client.get(f"/api/v1/certificates/{in_path(job['certificate_id'])}")


def _key_type(certificate: Body | None) -> str | None:
    """The kind of key in the new certificate, if it is one we know by name."""
    if certificate is None:
        return None
    try:
        found = parse_certificate(certificate["pem"]).key_algorithm
    except MalformedX509:
        return None
    return found if found in _KEY_TYPES else None


async def _fall_back(walk: Walk) -> list[Step]:
    detail = (
        "not safe: the admin API offers no rehearsal, and a charger sent to an address that does not answer "
        "may need somebody on site"
    )
    return [Step(step="fall-back", outcome="skipped", detail=detail)]


async def _log(walk: Walk) -> list[Step]:
    body = {"log": "security", "reason": REASON}
    return [await walk.job_step("log-upload", f"{walk.path}/logs", body)]


_STEPS: tuple[tuple[str, _StepOf], ...] = (
    ("read-limits", _limits),
    ("key-rotation", _key_rotation),
    ("anchor-install", _anchors),
    ("anchor-listing", _listing),
    ("key-generation-and-csr", _certificate),
    ("fall-back", _fall_back),
    ("log-upload", _log),
)


# ---------------------------------------------------------------- what is recorded


async def record_facts(walk: Walk, family: str) -> dict[str, Any]:
    """Write what was learned over what is said of the family already; what was written. Raises Refused, Unavailable."""
    shown = (await walk.look())["capabilities"]
    learned = {name: shown[name] for name in _LEARNED_BY_THE_SERVER if shown.get(name)} | walk.learned
    path = f"/api/v1/families/{in_path(family)}"
    try:
        before = await walk.client.get(path)
    except Refused as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        before = {"capabilities": {}, "note": ""}
    known = before["capabilities"]
    if "key_types" in learned:
        learned["key_types"] = sorted({*known.get("key_types", ()), *learned["key_types"]})
    changed = {name: value for name, value in learned.items() if known.get(name) != value}
    if changed:
        note = before["note"] or REASON
        await walk.client.put(path, {"capabilities": known | changed, "note": note})
    return changed


async def record_outcome(walk: Walk, family: str, firmware: str, steps: list[Step]) -> Body:
    """Put the report down as the family's qualification. Raises Refused, Unavailable."""
    body = {
        "charger_id": walk.charger_id,
        "firmware": firmware,
        "passed": has_passed(steps),
        "steps": [{"step": one.step, "outcome": one.outcome, "detail": one.detail} for one in steps],
    }
    return await walk.post(f"/api/v1/families/{in_path(family)}/qualification", body)


def has_passed(steps: list[Step]) -> bool:
    """Nothing failed, and nothing that every campaign needs was skipped; what else was skipped stands in the report."""
    passed = {step.step for step in steps if step.outcome == "passed"}
    return passed >= _ESSENTIAL and all(step.outcome != "failed" for step in steps)
