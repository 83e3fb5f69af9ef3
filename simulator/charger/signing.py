"""Asking for a certificate until one comes: SignCertificate with a doubling wait (OCPP 2.0.1 A02.FR.17-19)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.credential import make_key, request_certificate
from simulator.charger.fault import CsrWithSubjectOf, FaultScript, NewKeyOnRetry, SameCsrTwice, SilentOn
from simulator.charger.frame import CallRefused, Payload
from simulator.charger.journal import Happening, Journal
from simulator.charger.link import CallUnanswered, Link, LinkClosed
from simulator.charger.memory import ChargerMemory


class Signing:
    """The one certificate request a charger may have going; it outlives connections."""

    def __init__(
        self,
        configuration: ChargerConfiguration,
        memory: ChargerMemory,
        faults: FaultScript,
        journal: Journal,
        usable_link: Callable[[], Awaitable[Link]],
    ) -> None:
        self._configuration = configuration
        self._memory = memory
        self._faults = faults
        self._journal = journal
        self._usable_link = usable_link
        self._asking: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()

    def begin(self) -> None:
        """Ask with a new key, in place of whatever was asked before."""
        if self._asking is not None:
            self._asking.cancel()
        self._settled = asyncio.Event()
        self._asking = asyncio.create_task(self._ask(self._settled))

    def settle(self) -> None:
        """CertificateSigned came: ask no more until triggered (A02.FR.20 for a rejected one)."""
        self._settled.set()

    async def stop(self) -> None:
        """Give up at once; the pending key stays and may still get its certificate."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _ask(self, settled: asyncio.Event) -> None:
        wait_s = self._memory.signing_wait_s
        for attempt in range(self._memory.signing_repeat_times + 1):
            if attempt == 0 or self._memory.pending is None or self._faults.has(NewKeyOnRetry):
                await self._new_key()
            if not await self._send(twice=attempt == 0 and self._faults.has(SameCsrTwice)):
                return
            try:
                async with asyncio.timeout(wait_s):
                    await settled.wait()
                return
            except TimeoutError:
                wait_s *= 2
        self._journal.record(Happening.CERTIFICATE_REQUEST_GIVEN_UP)

    async def _new_key(self) -> None:
        other = self._faults.find(CsrWithSubjectOf)
        self._memory.pending = request_certificate(
            await make_key(self._configuration.family.key_type),
            common_name=other.serial_number if other else self._configuration.serial_number,
            organization=self._memory.organization,
        )

    async def _send(self, *, twice: bool) -> bool:
        """Send the pending request; False when the central system said Rejected (A02: no retry then)."""
        if self._faults.spend(SilentOn, "SignCertificate"):
            self._journal.record(Happening.FAULT_STRUCK, "SilentOn SignCertificate")
            return True
        for _ in range(2 if twice else 1):
            pending = self._memory.pending
            if pending is None:  # answered between the two
                return True
            payload: Payload = {"csr": pending.csr_pem, "certificateType": "ChargingStationCertificate"}
            link = await self._usable_link()
            self._journal.record(Happening.CERTIFICATE_REQUESTED)
            try:
                answer = await link.call("SignCertificate", payload)
            except (CallRefused, CallUnanswered, LinkClosed) as error:
                self._journal.record(Happening.CALL_FAILED, f"SignCertificate: {error}")
                continue
            if answer.get("status") == "Rejected":
                self._memory.pending = None
                self._journal.record(Happening.CERTIFICATE_REQUEST_REFUSED, str(answer.get("statusInfo", "")))
                return False
        return True
