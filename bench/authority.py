"""The AWS client alone: one IssueCertificate and one GetCertificate after the other, through our own gateway."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop

from bench import pki
from bench.plant import CA_CALLS_PER_S
from bench.process import serve, settings_of_this_process
from bfactors.ca import SigningOrder
from bfactors.purpose import purpose
from deploy.role.clock import SystemClock
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.aws_session import AwsSettings
from gateways.ca.call_limits import CallLimits
from gateways.ca.retry import RetryPolicy
from gateways.metrics import PrometheusMetrics

_PATIENCE_S = 60.0
_AT_ONCE = 16


class Loop:
    """Asks the peer for certificates over the CSRs at hand, again and again."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._arn = str(settings["authority_arn"])
        self._csrs = pki.read_csrs(pki.Files(Path(settings["folder"])))
        self._clock = SystemClock()
        self._client = AwsPrivateCa(
            AwsSettings(
                region="eu-central-1",
                endpoint_url=settings["aws_url"],
                access_key_id="peer",
                secret_access_key="peer",
            ),
            clock=self._clock,
            metrics=PrometheusMetrics(),
            limits=CallLimits(CA_CALLS_PER_S, monotonic=self._clock.monotonic),
            retry=RetryPolicy(uniform=random.uniform),
        )

    async def issue(self, count: int) -> dict[str, float]:
        """CPU seconds of this process for so many certificates."""
        gate = asyncio.Semaphore(_AT_ONCE)
        began = time.process_time()
        await asyncio.gather(*(self._one(gate, number) for number in range(count)))
        return {"cpu_s": time.process_time() - began}

    async def _one(self, gate: asyncio.Semaphore, number: int) -> None:
        async with gate:
            now = self._clock.now().replace(microsecond=0)
            order = SigningOrder(
                authority_arn=self._arn,
                token=uuid.uuid4().hex,
                csr_pem=self._csrs[number % len(self._csrs)],
                template=purpose("charging_station").template,
                signing_algorithm="SHA256WITHECDSA",
                not_before=now - timedelta(hours=1),
                not_after=now + timedelta(days=90),
                call_before=now + timedelta(minutes=4),
            )
            reference = await self._client.issue(order)
            await self._client.fetch(self._arn, reference)

    async def start(self) -> None:
        await self._client.start()


def main() -> None:
    settings = settings_of_this_process()
    loop = uvloop.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def made() -> Loop:
        made = Loop(settings)
        await made.start()
        return made

    issuing = asyncio.run_coroutine_threadsafe(made(), loop).result(_PATIENCE_S)
    serve(
        {
            "issue": lambda count: asyncio.run_coroutine_threadsafe(issuing.issue(count), loop).result(
                _PATIENCE_S
            )
        }
    )
    os._exit(0)


if __name__ == "__main__":
    main()
