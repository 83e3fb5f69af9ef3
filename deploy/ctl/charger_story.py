"""One charger's whole story in lines: who it is, how it stands, what it holds, what is wanted of it and why that waits."""

from collections.abc import Iterator

from deploy.ctl import cell
from deploy.ctl.client import Body
from deploy.ctl.report import wrapped

_LABEL_CHARS = 14
_EVENTS_SHOWN = 5


def story(charger: Body, family: Body, columns: int) -> list[str]:
    """Labelled paragraphs; what there is nothing to say of is left out."""
    lines: list[str] = []
    for label, texts in _paragraphs(charger, family):
        for text in texts:
            lines += wrapped(f"{label:<{_LABEL_CHARS}}", text, columns)
            label = ""
    return lines


def _paragraphs(charger: Body, family: Body) -> Iterator[tuple[str, list[str]]]:
    yield "charger", [f"{charger['charger_id']}, serial number {charger['serial_number']}"]
    yield "identity", [charger["managed_identity_id"]]
    yield "place", [f"family {charger['family']}, site {charger['site']}, cohort {charger['cohort']}"]
    yield "profile", [_profile(charger)]
    yield "session", [_session(charger)]
    if charger["boot"]:
        boot = charger["boot"]
        yield (
            "boot",
            [f"{boot['vendor']} {boot['model']}, firmware {cell.text(boot['firmware_version'])}"],
        )
    yield "key", _key(charger["authorization_key"])
    yield "certificates", list(_certificates(charger)) or ["none is known"]
    anchors = list(_anchors(charger))
    if anchors:
        yield "bundles", anchors
    yield "open jobs", list(_jobs(charger)) or ["none"]
    outstanding = [
        f"{each['instruction']} since {cell.second(each['since'])}, waits for {each['waiting_for']}"
        for each in charger["outstanding"]
    ]
    if outstanding:
        yield "outstanding", outstanding
    if charger["migration"]:
        yield "migration", list(_migration(charger["migration"]))
    special = list(_special(charger))
    if special:
        yield "note", special
    events = list(_security_events(charger))
    if events:
        yield "security", events
    yield "family", list(_family(charger, family))


def _profile(charger: Body) -> str:
    now, target = charger["security_profile"], charger["target_security_profile"]
    return f"{now}" if now == target else f"{now}, to become {target}"


def _session(charger: Body) -> str:
    session = charger["session"]
    if session is None:
        return f"not connected; last seen {cell.second(charger['last_seen_at'])}"
    shown = session["fingerprint_sha256"]
    credential = f"certificate {cell.fingerprint(shown)}" if shown else "no certificate"
    flags = f"; {cell.text(session['flags'])}" if session.get("flags") else ""
    return (
        f"since {cell.second(session['connected_at'])}, OCPP {session['ocpp_version']}, profile "
        f"{session['security_profile']} with {credential}, from {session['remote_address']} to "
        f"{session['node']}{flags}"
    )


def _key(key: Body | None) -> list[str]:
    if key is None:
        return ["no AuthorizationKey is known"]
    weakness = f", weak: {key['weakness']}" if key.get("weakness") else ""
    said = [f"{cell.text(key['origin'])}, active since {cell.second(key['active_since'])}{weakness}"]
    if key["pending_since"]:
        said.append(f"another is pending since {cell.second(key['pending_since'])}")
    said += [
        f"generation {each['generation']} is in doubt, admitted until {cell.second(each['admit_until'])}"
        for each in key.get("in_doubt", ())
    ]
    return said


def _certificates(charger: Body) -> Iterator[str]:
    """Those bound to a slot, then whatever else anybody knows of, each with who knows of it."""
    inventory = charger.get("inventory") or {}
    rows = [*charger["reported_certificates"], *inventory.get("not_listed", ())]
    sources = {row["certificate_id"]: row["sources"] for row in rows if row.get("certificate_id")}
    told = set()
    for slot in charger["slots"]:
        for place in ("current", "next"):
            certificate = slot[place]
            if certificate is None:
                continue
            told.add(certificate["certificate_id"])
            known = cell.text(sources.get(certificate["certificate_id"], ["issued"]))
            yield (
                f"{slot['purpose']} {place}: {certificate['state']} until "
                f"{cell.minute(certificate['not_after'])}; {known}"
            )
            yield f"  {certificate['certificate_id']} {certificate['subject']}"
    for row in rows:
        use = row.get("use") or row.get("purpose") or "unlisted"
        if row.get("certificate_id") not in told:
            yield f"{use}: {cell.text(row.get('state'))}; {cell.text(row['sources'])}"
            yield f"  {cell.fingerprint(row['fingerprint_sha256'])} {cell.text(row['subject'])}"
        for difference in row["differences"]:
            yield f"  ! {difference['code']}: {difference['message']}"
    if inventory.get("reported_at"):
        whole = "everything" if inventory["is_complete"] else "the stores it was asked for"
        yield f"listed {whole} at {cell.second(inventory['reported_at'])}"


def _anchors(charger: Body) -> Iterator[str]:
    for each in charger.get("trust_anchors", ()):
        when = cell.second(each.get("confirmed_at"))
        yield f"{each['purpose']}: {each['bundle_id']} {each['rung']}, confirmed {when}"


def _jobs(charger: Body) -> Iterator[str]:
    for job in charger.get("open_jobs", ()):
        overdue = ", OVERDUE" if job["overdue"] else ""
        yield f"{job['action']} {job['purpose']}: {job['stage']}{overdue}; {waits(job)}"
        yield f"  {job['job_id']}"


def waits(job: Body) -> str:
    """Why a job stands where it stands."""
    held = f"held by {job['held_by']}" if job.get("held_by") else ""
    waiting = f"waits for {job['waiting_for']}" if job["waiting_for"] else ""
    return "; ".join(part for part in (waiting, held, cell.reason(job["reason"])) if part) or "under way"


def _migration(case: Body) -> Iterator[str]:
    way = f"{case['from_profile']} to {case['to_profile']}"
    ended = f", ended {cell.second(case['ended_at'])}" if case["ended_at"] else ""
    yield f"{way}: {case['state']} at {case['step']}{ended}"
    if case["reason"]:
        yield f"{case.get('reason_code') or 'reason'}: {case['reason']}"
    if case["ended_at"] is None:
        for each in case.get("prerequisites") or ():
            if not each["met"]:
                yield f"! {each['code']}: {each['message']}"
        if case.get("next_try_at"):
            yield f"tried again at {cell.second(case['next_try_at'])}"


def _special(charger: Body) -> Iterator[str]:
    if charger.get("decommissioned_at"):
        why = cell.text(charger.get("decommission_reason"))
        yield f"out of service since {cell.second(charger['decommissioned_at'])}: {why}"
    lockout = charger.get("lockout")
    if lockout:
        when, cause = cell.minute(lockout["locked_out_at"]), lockout["cause"]
        yield f"locked out from {when} on ({cause}); prevented by: {lockout['prevented_by']}"
    for waiver in charger.get("waivers", ()):
        until = cell.day(waiver["ends_at"])
        yield f"waiver {waiver['waiver_id']} of {waiver['rule']} until {until}: {waiver['reason']}"
    if charger.get("paused_reason"):
        yield f"paused: {charger['paused_reason']}"
    admission = charger.get("expired_certificate_admission")
    if admission:
        yield (
            f"let in with its expired certificate until {cell.minute(admission['until'])} by "
            f"{admission['by']}: {admission['reason']}"
        )
    speakers = [each["controller_id"] for each in charger.get("spoken_for_by", ())]
    if speakers:
        yield f"spoken for by {cell.text(speakers)}"
    if charger.get("firmware_update"):
        update = charger["firmware_update"]
        yield f"firmware update: {update['status']} at {cell.second(update['at'])}"


def _security_events(charger: Body) -> Iterator[str]:
    events = charger.get("security_events", ())
    for each in events[:_EVENTS_SHOWN]:
        times = f" x{each['count']}" if each["count"] > 1 else ""
        critical = ", critical" if each["critical"] else ""
        detail = f": {each['detail']}" if each["detail"] else ""
        yield f"{cell.second(each['observed_at'])} {each['kind']}{times}{critical}{detail}"
    if len(events) > _EVENTS_SHOWN:
        yield f"and {len(events) - _EVENTS_SHOWN} more: run.py ctl security-events"


def _family(charger: Body, family: Body) -> Iterator[str]:
    qualified = family.get("qualification")
    if qualified is None:
        yield "not qualified"
    else:
        outcome = "qualified" if qualified["passed"] else "FAILED its qualification"
        yield f"{outcome} on {cell.day(qualified['at'])} with firmware {qualified['firmware']}"
    facts = cell.facts(charger.get("capabilities") or {})
    yield f"facts: {facts or 'none: as the specification says'}"
    if family.get("note"):
        yield str(family["note"])
