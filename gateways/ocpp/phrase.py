"""Turns of phrase that every OCPP version shares: times, hash data, and PEM text as one charger reads it."""

from datetime import UTC, datetime

import orjson

from bfactors.capability import Capabilities
from bfactors.certificate_hash import HashData
from bfactors.instruction import InstallLeaf
from gateways.ocpp.dialect import NotSendable
from gateways.ocpp.frame import Payload


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds, e.g. `2026-06-01T10:00:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def object_of(text: bytes | str) -> Payload:
    """What is no JSON object is an empty one: its schema says whether that will do."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def hash_data_of(entry: Payload) -> HashData:
    """A CertificateHashDataType as it came."""
    return HashData(
        algorithm=entry["hashAlgorithm"],
        issuer_name_hash=entry["issuerNameHash"],
        issuer_key_hash=entry["issuerKeyHash"],
        serial_number=entry["serialNumber"],
    )


def hash_payload(data: HashData) -> Payload:
    """A CertificateHashDataType, word for word (M04.FR.07: what the charger reported is what it deletes)."""
    return {
        "hashAlgorithm": data.algorithm,
        "issuerNameHash": data.issuer_name_hash,
        "issuerKeyHash": data.issuer_key_hash,
        "serialNumber": data.serial_number,
    }


def pem_for(pem: str, capabilities: Capabilities) -> str:
    """PEM text with the line ends this charger reads; `pem` has LF."""
    return pem.replace("\n", "\r\n") if capabilities.needs_crlf else pem


def chain_for(leaf: InstallLeaf, capabilities: Capabilities) -> str:
    """The chain of a leaf as this charger takes it. Raises NotSendable if that is longer than it can take."""
    chain = leaf.chain_pem
    if capabilities.include_root_in_chain:
        chain += leaf.root_pem
    chain = pem_for(chain, capabilities)
    most = capabilities.max_chain_chars
    if most is not None and len(chain) > most:
        raise NotSendable(f"the chain has {len(chain)} characters, this charger takes {most}")
    return chain
