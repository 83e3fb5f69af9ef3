"""Calls an operator writes out by hand: which are allowed, and how they end. Once each, now or never.

Security and configuration actions only, and under the guards every job is under: no factory or firmware roots, no anchor
of another realm, no last root deleted, no way back to a lower security profile, no key but through its own route.
"""

from datetime import timedelta
from typing import Any, assert_never

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.charger import activation, deletion, inventory, trust_gate
from bfactors.charger.draft import Draft
from bfactors.charger.state import ChargerState, InstructionState
from bfactors.confidential import OWN_KEYS, is_plain, is_secret_setting, secrets_in, setting_name
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import CallAction
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.purpose import purposes
from bfactors.refusal import Refusal
from bfactors.x509 import MalformedX509, is_root, parse_certificate

ACTIONS = frozenset(
    {
        "TriggerMessage", "ExtendedTriggerMessage", "InstallCertificate", "GetInstalledCertificateIds",
        "DeleteCertificate", "GetLog", "GetVariables", "SetVariables", "GetConfiguration", "ChangeConfiguration",
        "SetNetworkProfile", "Reset",
    }
)  # fmt: skip
FRESH = timedelta(seconds=15)
"""A call that has not left by then does not leave any more: whoever asked has stopped waiting."""
ENDS = timedelta(seconds=120)
"""A call without an end by then is over, whatever became of it."""
PAYLOAD_MAX_CHARS = 32_768
_ANSWER_MAX_CHARS = 65_536
_FACTORY_ROOT = "ManufacturerRootCertificate"
_PROFILE_SETTINGS = frozenset({"securityprofile"})
_CENTRAL_SYSTEM_USES = frozenset({"CSMSRootCertificate", "CentralSystemRootCertificate"})

Payload = dict[str, Any]


def make(draft: Draft, command: c.CallCharger) -> Refusal | None:
    """Have the call made on the live session, or say why not."""
    if draft.state.session is None:
        return Refusal("not-connected", "the charger is not connected", "charger_id", 409)
    if any(i.instruction_id == command.call_id for i in draft.state.instructions.values()):
        return None
    refusal = _refusal(draft.state, draft.context.facts, command)
    if refusal is not None:
        return refusal
    draft.record(
        e.InstructionOpened(
            charger_id=draft.state.charger_id,
            instruction_id=command.call_id,
            job_id=None,
            decision=1,
            body=CallAction(command.action, command.payload),
            not_before=draft.now,
        )
    )
    return None


def ended(draft: Draft, instruction: InstructionState, body: CallAction, outcome: Outcome) -> None:
    """Record how the call ended; nothing of it is repeated."""
    match outcome:
        case Answered(payload=payload):
            if body.action == "GetInstalledCertificateIds" and outcome.status in ("Accepted", "NotFound"):
                _note_listing(draft, body, outcome)
            elif body.action == deletion.ACTION:
                deletion.by_hand(draft, body, outcome)
            settled = "rejected" if outcome.status == "Rejected" else "accepted"
            _settle(draft, instruction, body, "answered", _kept(payload), None, settled)
        case CallFailed():
            if body.action == deletion.ACTION:
                deletion.by_hand(draft, body, outcome)
            _settle(
                draft,
                instruction,
                body,
                "error",
                None,
                f"{outcome.code} {outcome.description}".strip(),
                "call-error",
            )
        case Silent():
            _settle(draft, instruction, body, "timeout", None, None)
        case Disconnected():
            _settle(draft, instruction, body, "disconnected", None, None)
        case _:
            assert_never(outcome)


def end_all(draft: Draft, outcome: str) -> None:
    """The session is over, or time is: every call still open ends so."""
    for instruction in list(draft.state.instructions.values()):
        if isinstance(instruction.body, CallAction):
            _settle(draft, instruction, instruction.body, outcome, None, None)


def rang(draft: Draft) -> None:
    """End what has waited too long."""
    for instruction in list(draft.state.instructions.values()):
        if isinstance(instruction.body, CallAction) and instruction.opened_at + ENDS <= draft.now:
            _settle(draft, instruction, instruction.body, "timeout", None, None)


def _settle(
    draft: Draft,
    instruction: InstructionState,
    body: CallAction,
    outcome: str,
    payload: str | None,
    error: str | None,
    settled: str = "unknown",
) -> None:
    draft.settle(instruction, settled, outcome)
    draft.record(
        e.OperatorCallAnswered(
            charger_id=draft.state.charger_id,
            instruction_id=instruction.instruction_id,
            action=body.action,
            outcome=outcome,
            payload=payload,
            error=error[:500] if error is not None else None,
            evidence_ref=draft.context.cause,
        )
    )


def _note_listing(draft: Draft, body: CallAction, outcome: Answered) -> None:
    """A list asked for by hand is the charger's word like any other, about the stores it was asked for."""
    asked = msgspec.json.decode(body.payload, type=dict[str, Any]).get("certificateType")
    uses = (asked,) if isinstance(asked, str) else tuple(map(str, asked)) if isinstance(asked, list) else ()
    inventory.note_list(draft, outcome.listed, uses)
    trust_gate.confirm_from_list(draft)
    activation.by_list(draft)


def _kept(payload: str | None) -> str | None:
    """The answer as it is recorded: bounded, and without a key that the charger should not have told."""
    if payload is None or len(payload) > _ANSWER_MAX_CHARS:
        return None
    return msgspec.json.encode(_redacted(msgspec.json.decode(payload))).decode()


def _redacted(value: Any) -> Any:
    if isinstance(value, list):
        return [_redacted(part) for part in value]
    if not isinstance(value, dict):
        return value
    hidden = is_secret_setting(setting_name(value))
    return {name: "***" if hidden and not is_plain(name) else _redacted(part) for name, part in value.items()}


# ---------------------------------------------------------------- guards


def _refusal(state: ChargerState, facts: FleetFacts, command: c.CallCharger) -> Refusal | None:
    if command.action not in ACTIONS:
        return Refusal("action-not-allowed", f"{command.action} is not called by hand", "action")
    if len(command.payload) > PAYLOAD_MAX_CHARS:
        return Refusal("too-large", f"a payload has {PAYLOAD_MAX_CHARS} characters at most", "body")
    payload: Payload = msgspec.json.decode(command.payload, type=dict[str, Any])
    if _names(payload, _FACTORY_ROOT):
        message = "manufacturer roots are touched through firmware trust only"
        return Refusal("other-realm", message, "certificateType")
    return _action_problem(state, facts, command.action, payload) or _secret_problem(payload)


def _secret_problem(payload: Payload) -> Refusal | None:
    """A call by hand is written down whole, so it can carry no secret."""
    name = next(secrets_in(payload), None)
    if name is None:
        return None
    message = "a secret would stand in the record; a call by hand carries none"
    return Refusal("secret-in-call", message, name[:64])


def _action_problem(state: ChargerState, facts: FleetFacts, action: str, payload: Payload) -> Refusal | None:
    match action:
        case "InstallCertificate":
            return _install_problem(facts, payload)
        case "DeleteCertificate":
            return _deletion_problem(state, facts, payload)
        case "SetVariables" | "ChangeConfiguration":
            return _setting_problem(state, action, payload)
        case "SetNetworkProfile":
            return _network_problem(state, payload)
        case "GetLog":
            return _log_problem(payload)
        case _:
            return None


def _names(value: Any, text: str) -> bool:
    if isinstance(value, dict):
        return any(_names(part, text) for part in value.values())
    if isinstance(value, list):
        return any(_names(part, text) for part in value)
    return bool(value == text)


def _install_problem(facts: FleetFacts, payload: Payload) -> Refusal | None:
    try:
        certificate = parse_certificate(str(payload.get("certificate", "")))
    except MalformedX509 as problem:
        return Refusal("malformed-certificate", str(problem), "certificate")
    if not certificate.is_ca or not is_root(certificate):
        message = "only self-signed CA certificates are installed: a charger could never list another"
        return Refusal("not-a-root", message, "certificate")
    is_for_us = payload.get("certificateType") in _CENTRAL_SYSTEM_USES
    specs = purposes()
    for bundle in facts.bundles.values():
        if any(a.fingerprint_sha256 == certificate.fingerprint_sha256 for a in bundle.anchors):
            realm = specs[bundle.purpose].realm
            if is_for_us != (realm in ("backend-server", "charger-identity")):
                message = f"this anchor belongs to the realm {realm}"
                return Refusal("other-realm", message, "certificateType")
    return None


def _deletion_problem(state: ChargerState, facts: FleetFacts, payload: Payload) -> Refusal | None:
    """No last root and no anchor of the live session: every anchor of our own counts as that, while it is over TLS."""
    try:
        target = deletion.named_in(payload)
    except msgspec.ValidationError as problem:
        return Refusal("invalid-value", str(problem), "certificateHashData")
    return deletion.problem(state, facts, target)


def _settings_of(action: str, payload: Payload) -> list[tuple[str, str]]:
    if action == "ChangeConfiguration":
        return [(str(payload.get("key", "")), str(payload.get("value", "")))]
    entries = payload.get("setVariableData")
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            variable = entry.get("variable")
            name = variable.get("name", "") if isinstance(variable, dict) else ""
            found.append((str(name), str(entry.get("attributeValue", ""))))
    return found


def _setting_problem(state: ChargerState, action: str, payload: Payload) -> Refusal | None:
    for name, value in _settings_of(action, payload):
        if name.lower() in OWN_KEYS:
            message = "an AuthorizationKey is changed through its own route, which keeps the old one valid meanwhile"
            return Refusal("use-key-rotation", message, name)
        if name.lower() in _PROFILE_SETTINGS:
            if not value.isdigit() or int(value) < state.security_profile:
                return Refusal("profile-lowered", "a security profile is lowered by a migration only", name)
            return Refusal("use-migration", "a security profile is raised by a migration only", name)
    return None


def _network_problem(state: ChargerState, payload: Payload) -> Refusal | None:
    data = payload.get("connectionData")
    profile = data.get("securityProfile") if isinstance(data, dict) else None
    if isinstance(profile, int) and profile < state.security_profile:
        message = "a network slot with a lower security profile is written by a migration only"
        return Refusal("profile-lowered", message, "connectionData.securityProfile")
    if isinstance(data, dict) and "basicAuthPassword" in data:
        message = (
            "an AuthorizationKey is changed through its own route, which keeps the old one valid meanwhile"
        )
        return Refusal("use-key-rotation", message, "connectionData.basicAuthPassword")
    return None


def _log_problem(payload: Payload) -> Refusal | None:
    log = payload.get("log")
    address = log.get("remoteLocation", "") if isinstance(log, dict) else ""
    if isinstance(address, str) and "@" in address.partition("://")[2].partition("/")[0]:
        message = "an address with a password would stand in the record; ask for logs through their own route"
        return Refusal("use-log-request", message, "log.remoteLocation")
    return None
