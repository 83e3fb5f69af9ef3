"""NATS subjects, streams and buckets: the only place their names are spelled."""

from bfactors.identity import subject_token

BUCKET_ADMISSION = "bf_admission"
BUCKET_CONTROL = "bf_control"
STREAM_LEDGER = "BF_LEDGER"
STREAM_OCPP = "BF_OCPP"
STREAM_NODE = "BF_NODE"
NODE_FILTER = "bf.node.>"
_FIRMWARE_TRUST = ("FirmwareAnchor", "FirmwareList", "FirmwareWork", "FirmwareUpdate")
SEEN_FILTER = "bf.seen.*.*"
TRACE_FILTER = "bf.trace.*"
SECRET_FILTER = "bf.secret.*"  # noqa: S105 - a subject, not a secret


def evidence_stream(partition: int) -> str:
    """The JetStream stream that holds one partition's evidence."""
    return f"BF_EVIDENCE_{partition:02d}"


def evidence(partition: int, node: str, kind: str, evidence_id: str) -> str:
    """Where one piece of evidence is published."""
    return f"bf.evidence.{partition}.{subject_token(node)}.{subject_token(kind)}.{subject_token(evidence_id)}"


def evidence_filter(partition: int) -> str:
    """Every subject of one partition's evidence stream."""
    return f"bf.evidence.{partition}.>"


def command(partition: int) -> str:
    """Where the partition's owner answers commands."""
    return f"bf.command.{partition}"


def instruction(node: str, session_id: str) -> str:
    """Where one session's actor listens for instructions."""
    return f"bf.instruction.{subject_token(node)}.{subject_token(session_id)}"


def instruction_filter(node: str) -> str:
    """Every instruction for a node's sessions."""
    return f"bf.instruction.{subject_token(node)}.*"


def is_of_firmware(event: str) -> bool:
    """Whether a ledger event is of firmware trust, as its name says: those have a subject of their own."""
    return event.startswith(_FIRMWARE_TRUST)


def ledger(event: str, event_id: str) -> str:
    """Where the outbox publishes a ledger event; `bf.ledger.firmware.>` is firmware trust's, and no other's."""
    if is_of_firmware(event):
        return f"bf.ledger.firmware.{subject_token(event)}.{subject_token(event_id)}"
    return f"bf.ledger.{subject_token(event)}.{subject_token(event_id)}"


def ocpp(charger_id: str) -> str:
    """Where a charger's non-security traffic is relayed."""
    return f"bf.ocpp.{subject_token(charger_id)}"


_DECIDED_APART = frozenset({"Get15118EVCertificate", "GetCertificateStatus", "GetCertificateChainStatus"})
"""Questions about certificates have subjects of their own: who answers these need not hear, nor keep waiting, the rest."""


def ocpp_decision(charger_id: str, action: str = "Authorize") -> str:
    """Where the rest of BetterFleet answers a charger's Authorize; where core answers for certificates."""
    subject = f"bf.ocpp-decision.{subject_token(charger_id)}"
    return f"{subject}.{action}" if action in _DECIDED_APART else subject


def ocpp_decision_filter(action: str) -> str:
    """Every charger's questions of one action about certificates."""
    return f"bf.ocpp-decision.*.{action}"


def secret(secret_id: str) -> str:
    """Where connect asks core for one secret, by request-reply; no stream keeps questions or answers."""
    return f"bf.secret.{subject_token(secret_id)}"


def trace(charger_id: str) -> str:
    """Where a connect node says what it sees of a charger under trace; no stream keeps it."""
    return f"bf.trace.{subject_token(charger_id)}"


def node(name: str, incarnation: str) -> str:
    """Where one incarnation of a connect node renews its presence."""
    return f"bf.node.{subject_token(name)}.{subject_token(incarnation)}"


def seen(name: str, incarnation: str) -> str:
    """Where one incarnation of a connect node says once a minute which chargers are connected."""
    return f"bf.seen.{subject_token(name)}.{subject_token(incarnation)}"
