"""What an operator has a charger do by hand, and the certificates a test makes for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conformance.raw_charger import Call, Charger, Payload, Session

IN_BOTH_VERSIONS = pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
"""The case is the same in both, and is gone through in both."""
IN_21 = pytest.mark.parametrize("version", ["2.1"], indirect=True)

T = TypeVar("T")


async def called(
    charger: Charger, session: Session, action: str, payload: Payload, answer: Payload | None = None
) -> tuple[Call, Payload]:
    """An operator's call by hand: what reached the charger, and what the operator was told."""

    async def obeyed() -> Call:
        call = await session.expect(action)
        await session.answer(call, charger._as_told(call) if answer is None else answer)
        return call

    await until_live(charger, session)
    path = f"/api/v1/chargers/{charger.charger_id}/ocpp/{action}"
    return await while_ordered(charger.system.post(path, payload), obeyed())


async def until_live(charger: Charger, session: Session) -> None:
    """Until the ledger knows of this very session: the charger is served before that."""

    def is_live(shown: Payload) -> bool:
        live = shown["session"]
        return bool(live) and datetime.fromisoformat(live["connected_at"]) >= session.since

    await charger.system.until_charger(charger.charger_id, is_live)


async def while_ordered(
    order: Coroutine[Any, Any, Payload], deeds: Coroutine[Any, Any, T]
) -> tuple[T, Payload]:
    """What the charger does while an operator waits for it; at once the refusal, if the operator is refused."""
    ordered, done = asyncio.create_task(order), asyncio.create_task(deeds)
    await asyncio.wait({ordered, done}, return_when=asyncio.FIRST_COMPLETED)
    if ordered.done() and ordered.exception() is not None:
        done.cancel()
        await asyncio.wait({done})
    told = await ordered
    return await done, told


def new_root(name: str) -> str:
    """A self-signed CA certificate, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    root = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return root.public_bytes(serialization.Encoding.PEM).decode()
