"""Asking for a certificate until one comes: SignCertificate with a doubling wait (OCPP 2.0.1 A02.FR.17-19)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from simulator.charger.credential import (
    CertificateUse,
    PendingKey,
    make_key,
    request_certificate,
    secc_name,
    station_name,
)
from simulator.charger.csr_dress import dress
from simulator.charger.dialect import Dialect
from simulator.charger.fault_conduct import SilentOn
from simulator.charger.fault_identity import (
    CsrWithSubjectOf,
    DressesCsr,
    NewKeyOnRetry,
    SameCsrTwice,
    TwoKeysAtOnce,
)
from simulator.charger.frame import CallRefused
from simulator.charger.journal import Happening
from simulator.charger.link import CallUnanswered, Link, LinkClosed
from simulator.charger.station import Station


class Signing:
    """The certificate requests a charger has going, one for each use; they outlive connections."""

    def __init__(
        self, station: Station, dialect: Dialect, usable_link: Callable[[], Awaitable[Link]]
    ) -> None:
        self._configuration = station.configuration
        self._memory = station.memory
        self._faults = station.faults
        self._journal = station.journal
        self._certificates = station.certificates
        self._dialect = dialect
        self._usable_link = usable_link
        self._asking: dict[CertificateUse, asyncio.Task[None]] = {}
        self._settled: dict[CertificateUse, asyncio.Event] = {}

    def begin(self, use: CertificateUse = CertificateUse.STATION, *, combined: bool = False) -> None:
        """Ask with a new key, in place of whatever was asked for this use before."""
        if use in self._asking:
            self._asking[use].cancel()
        settled = self._settled[use] = asyncio.Event()
        self._asking[use] = asyncio.create_task(self._ask(use, settled, combined=combined))

    def settle(self, use: CertificateUse) -> None:
        """CertificateSigned came: ask no more until triggered (A02.FR.20 for a rejected one)."""
        if use in self._settled:
            self._settled[use].set()

    async def stop(self) -> None:
        """Give up at once; pending keys stay and may still get their certificates."""
        for task in self._asking.values():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _ask(self, use: CertificateUse, settled: asyncio.Event, *, combined: bool) -> None:
        wait_s = self._memory.signing_wait_s
        for attempt in range(self._memory.signing_repeat_times + 1):
            if attempt == 0 or use not in self._memory.pending or self._faults.has(NewKeyOnRetry):
                await self._new_key(use)
            if not await self._send(use, combined=combined):
                return
            if attempt == 0 and self._faults.has(TwoKeysAtOnce):
                await self._new_key(use)
                await self._send(use, combined=combined)
            elif attempt == 0 and self._faults.has(SameCsrTwice) and use in self._memory.pending:
                await self._send(use, combined=combined)
            try:
                async with asyncio.timeout(wait_s):
                    await settled.wait()
                return
            except TimeoutError:
                wait_s *= 2
        self._journal.record(Happening.CERTIFICATE_REQUEST_GIVEN_UP)

    async def _new_key(self, use: CertificateUse) -> None:
        configuration, organization = self._configuration, self._memory.organization
        other = self._faults.find(CsrWithSubjectOf)
        if use is CertificateUse.STATION:
            subject = station_name(
                other.serial_number if other else configuration.serial_number, organization
            )
        else:
            subject = secc_name(configuration.secc_id, organization, configuration.country)
        key = await make_key(configuration.family.key_type, use)
        self._memory.requests += 1
        self._memory.pending[use] = request_certificate(key, subject, self._memory.requests)

    async def _send(self, use: CertificateUse, *, combined: bool) -> bool:
        """Send the pending request; False when the central system said Rejected (A02: no retry then)."""
        if self._faults.spend(SilentOn, "SignCertificate"):
            self._journal.record(Happening.FAULT_STRUCK, "SilentOn SignCertificate")
            return True
        link = await self._usable_link()
        pending = self._memory.pending.get(use)
        if pending is None:  # answered meanwhile
            return True
        said = self._dialect.sign(
            self._dressed(pending),
            None if combined else use,
            pending.request_id,
            self._certificates.root_hash(),
        )
        self._journal.record(Happening.CERTIFICATE_REQUESTED, use)
        try:
            answer = self._dialect.opened(said, await link.call(said.action, said.payload))
        except (CallRefused, CallUnanswered, LinkClosed) as error:
            self._journal.record(Happening.CALL_FAILED, f"SignCertificate: {error}")
            return True
        if answer.get("status") == "Rejected":
            self._memory.pending.pop(use, None)
            self._journal.record(Happening.CERTIFICATE_REQUEST_REFUSED, str(answer.get("statusInfo", "")))
            return False
        return True

    def _dressed(self, pending: PendingKey) -> str:
        fault = self._faults.find(DressesCsr)
        return dress(pending.csr_pem, fault.dress) if fault else pending.csr_pem
