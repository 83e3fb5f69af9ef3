"""A hand that writes into the evidence streams what no connect node would: the same again, and rubbish."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import nats
from nats.js.errors import NotFoundError

from bfactors import subject
from bfactors.identity import subject_token
from deploy.embedded import inbox_prefix
from gateways.nats.presence import Presence
from tests.faults.depot import pause
from tests.faults.ledger_view import PARTITIONS, LedgerView
from tests.faults.plant import Plant


@dataclass(frozen=True, slots=True)
class EvidenceHand:
    """A JetStream client with the core's rights."""

    jetstream: Any

    async def stored(self, partition: int) -> list[tuple[str, bytes]]:
        """Subject and payload of everything in a partition's stream."""
        stream = subject.evidence_stream(partition)
        state = (await self.jetstream.stream_info(stream)).state
        if state.messages == 0:
            return []
        found = [
            await self.jetstream.get_msg(stream, seq) for seq in range(state.first_seq, state.last_seq + 1)
        ]
        return [(message.subject, message.data) for message in found]

    async def last_word(self, node: str) -> Presence | None:
        """A connect node's last sign of life; None for none."""
        try:
            message = await self.jetstream.get_last_msg(
                subject.STREAM_NODE, f"bf.node.{subject_token(node)}.*"
            )
        except NotFoundError:
            return None
        return msgspec.json.decode(message.data, type=Presence) if message.data else None  # a mark: it lapsed

    async def publish(self, to: str, payload: bytes, message_id: str) -> None:
        """Stored when this returns."""
        await self.jetstream.publish(to, payload, headers={"Nats-Msg-Id": message_id})

    async def all_read(self, ledger: LedgerView, within_s: float = 20.0) -> None:
        """Wait until every partition has committed up to the end of its stream."""
        behind: dict[int, tuple[int, int]] = {}
        for _ in range(int(within_s * 4)):
            behind = {}
            for partition in range(PARTITIONS):
                last = (await self.jetstream.stream_info(subject.evidence_stream(partition))).state.last_seq
                at = await ledger.fetchval(
                    "SELECT evidence_position FROM partition WHERE number = $1", partition
                )
                if at < last:
                    behind[partition] = (at, last)
            if not behind:
                return
            await pause()
        raise AssertionError(f"partitions behind their streams after {within_s:g} s: {behind}")


@asynccontextmanager
async def evidence_hand(plant: Plant) -> AsyncIterator[EvidenceHand]:
    client = await nats.connect(
        plant.nats.url,
        nkeys_seed=str(plant.nats.seed_file("core")),
        inbox_prefix=inbox_prefix("core"),
        allow_reconnect=False,
    )
    try:
        yield EvidenceHand(client.jetstream())
    finally:
        await client.close()
