"""The admin API on a real socket, over the real decisions: a ledger in memory that folds and commits every command."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec

from actors.ledger.commit import Memory, commit, recall
from actors.ledger.item import Asked, Fact, Item
from bfactors.admission import KeyVerifier
from bfactors.charger.project import project
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.errors import NotOwner, Unavailable
from bfactors.event import CSRValidated
from bfactors.evidence import AccessDenied, Evidence
from bfactors.frame_trace import TracedFrame
from bfactors.identity import partition_of
from bfactors.incident import Selector, selects
from bfactors.ledger_fold import charger_key
from bfactors.ledger_row import AggregateRow, Batch, EventRow, KeyOwnerRow
from bfactors.pseudonym import PseudonymKey
from bfactors.refusal import Refusal
from bfactors.trust_end import TrustEnd
from deploy.role.server_trust import ServerTrust
from gateways.admin.app import create_app
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.ports import EventFeed, LogDesk, NotificationDesk, Proofs, Readiness, ShownOnNode
from gateways.admin.role import ROLES
from gateways.admin.server import AdminServer, serve_admin
from gateways.metrics import PrometheusMetrics
from persistence.cursor import decode_cursor, encode_cursor
from tests.core.world import World as CoreWorld
from tests.fakes.incident import incident_of, subject_of
from tests.fakes.ledger_store import FakeLedgerStore
from tests.fakes.personal_identifier import FakePersonalIdentifiers
from tests.fakes.secret_store import FakeSecretStore

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE_TIME = timedelta(days=3650)
TOKENS = {f"bf_{role}-token": role for role in sorted(ROLES)}
CHARGER = {
    "charger_id": "CP-1",
    "serial_number": "SN-1",
    "family": "acme-one",
    "site": "north",
    "cohort": "canary",
    "security_profile": 2,
}
JOB = {"charger_id": "CP-1", "purpose": "charging_station", "action": "issue", "reason": "first certificate"}


def token_of(role: str) -> str:
    return f"bf_{role}-token"


class HandClock:
    """Time and ids in the test's hand."""

    def __init__(self) -> None:
        self.at = BEGIN
        self._ids = itertools.count(1)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - BEGIN).total_seconds()

    def new_id(self) -> str:
        return f"id-{next(self._ids)}"


@dataclass(frozen=True)
class ApiToken:
    name: str
    role: str
    cohorts: tuple[str, ...] | None = None


class Tokens:
    """One live token per role, named after it."""

    def __init__(self) -> None:
        self.live = {text: ApiToken(name=f"the-{role}", role=role) for text, role in TOKENS.items()}
        self.away = False

    async def verify(self, token: str) -> ApiToken | None:
        if self.away:
            raise Unavailable("PostgreSQL")
        return self.live.get(token)


class Mint:
    """Keys that can be told apart: key-0001, key-0002, ..."""

    def __init__(self) -> None:
        self.minted: list[str] = []

    def mint(self) -> tuple[str, KeyVerifier]:
        text = f"{len(self.minted) + 1:032d}"
        self.minted.append(text)
        return text, self.verifier(text)

    def forms(self, text: str, versions: Sequence[str]) -> tuple[KeyVerifier, ...]:
        return (self.verifier(f"bytes of {text}"),) if "1.6" in versions else ()

    def verifier(self, text: str) -> KeyVerifier:
        return KeyVerifier(
            generation=1, pepper_id="p", verifier=hashlib.sha256(text.encode()).hexdigest(), state="active"
        )


class LedgerDoor:
    """`CommandDoor` whose owner lives in the same process. `lose` makes the next answers vanish, after the commit."""

    def __init__(self, store: FakeLedgerStore, clock: HandClock) -> None:
        self.store = store
        self.clock = clock
        self.asked: list[CommandEnvelope] = []
        self.lose = 0
        self.lose_as_retry = False
        self.away = False
        self.retry = False
        self._memories: dict[int, Memory] = {}
        self._turn = asyncio.Lock()

    async def serve(self, partition: int, handle: Any) -> None:
        raise NotImplementedError

    async def withdraw(self, partition: int) -> None:
        raise NotImplementedError

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        if self.away:
            raise NotOwner(f"the owner of partition {partition}", retry_after_s=7)
        if self.retry:
            return CommandAnswer(retry=True)
        sent = msgspec.json.decode(msgspec.json.encode(command), type=CommandEnvelope)
        self.asked.append(sent)
        answer: asyncio.Future[CommandAnswer] = asyncio.get_running_loop().create_future()
        answers = await self.commit(partition, [Asked(sent, answer)])
        if self.lose:
            self.lose -= 1
            if self.lose_as_retry:
                return CommandAnswer(retry=True)
            raise NotOwner(f"the owner of partition {partition}")
        return answers[0]

    @property
    def memories(self) -> Mapping[int, Memory]:
        """What each partition's owner holds."""
        return self._memories

    async def tell(self, partition: int, evidence: Evidence) -> None:
        """One fact at the end of the partition's evidence."""
        memory = self._memories.get(partition)
        position = 1 if memory is None else memory.lease.evidence_position + 1
        await self.commit(partition, [Fact(position, evidence)])

    async def commit(self, partition: int, items: Sequence[Item]) -> list[CommandAnswer]:
        async with self._turn:
            memory = self._memories.get(partition)
            if memory is None:
                lease = await self.store.claim(partition, "test", LEASE_TIME)
                assert lease is not None
                memory = self._memories[partition] = await recall(self.store, lease)
            done = await commit(
                self.store, memory, items, self.clock, "wss://csms.example:9443/ocpp", LEASE_TIME
            )
            memory.lease = done.lease
            memory.facts, memory.fleet = done.fold.facts, done.fold.fleet
            for _, after in done.fold.touched():
                memory.keep(after)
            return [answer for _, answer in done.answers]

    async def adopt(self, world: CoreWorld) -> None:
        """Take over a charger as another world left it: its state, its rows, and the facts it was decided under."""
        state, partition = world.charger, partition_of(world.charger.charger_id)
        await self.commit(partition, [])
        memory = self._memories[partition]
        rows = project(None, state, world.jobs, world.facts)
        batch = Batch(
            evidence_position=memory.lease.evidence_position,
            fleet_position=memory.lease.fleet_position,
            aggregates=[
                AggregateRow(charger_key(state.charger_id), state.revision, msgspec.json.encode(state))
            ],
            chargers=[rows.charger],
            certificates=rows.certificates,
            jobs=rows.jobs,
            instructions=rows.instructions,
            migrations=rows.migrations,
            effects=rows.effects,
            key_owners=[
                KeyOwnerRow(event.spki_sha256, state.managed_identity_id)
                for event in world.events
                if isinstance(event, CSRValidated)
            ],
            approvals=rows.approvals,
        )
        memory.lease = await self.store.commit(memory.lease, batch, LEASE_TIME)
        memory.facts = world.facts
        memory.keep(state)


class StoreReader:
    """`Reader` over the ledger in memory, with the real cursors."""

    def __init__(self, store: FakeLedgerStore) -> None:
        self._store = store
        self.away = False

    async def chargers(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        q, decommissioned = filters.pop("q", None), filters.pop("decommissioned", False)
        rows = [
            row
            for _, row in sorted(self._store.chargers.items())
            if self._fits(row, filters)
            and (decommissioned or not row.decommissioned)
            and (q is None or q in f"{row.charger_id} {row.serial_number} {row.managed_identity_id}")
        ]
        return self._page("chargers", rows, lambda row: row.charger_id, limit, cursor)

    async def charger(self, charger_id: str) -> Any:
        return self._one(self._store.chargers.get(charger_id))

    async def lockouts(
        self,
        trust: Sequence[TrustEnd],
        *,
        limit: int = 100,
        cursor: str | None = None,
        before: datetime | None = None,
        cause: str | None = None,
        **filters: Any,
    ) -> Any:
        ends = {end.bundle_id: end for end in trust}
        found = []
        for row in self._store.chargers.values():
            at, why, end = row.locked_out_at, row.lockout_cause, ends.get(row.trust_bundle or "")
            if row.trust_bundle is not None and end is not None and (at is None or end.at < at):
                at, why = end.at, end.cause
            if at is None or not self._fits(row, filters) or (cause is not None and cause != why):
                continue
            if before is None or at < before:
                found.append((at, why, row))
        found.sort(key=lambda each: (each[0], each[2].charger_id))

        def body(each: Any) -> Any:
            at, why, row = each
            names = ("charger_id", "family", "site", "cohort", "connected")
            own = {"locked_out_at": at, "cause": why, "certificate_id": row.lockout_certificate_id}
            seen = json.loads(row.doc)["last_seen_at"]
            return {name: getattr(row, name) for name in names} | own | {"last_seen_at": seen}

        return self._page("lockouts", found, lambda each: each[2].charger_id, limit, cursor, body)

    async def lockout_counts(self, trust: Sequence[TrustEnd], now: datetime, **filters: Any) -> Any:
        page = await self.lockouts(trust, limit=10**9, **filters)
        weeks = Counter(
            (None if item["locked_out_at"] < now else _monday(item["locked_out_at"]), item["cause"])
            for item in page["items"]
        )
        everybody = sum(self._fits(row, filters) for row in self._store.chargers.values())
        weeks[None, None] = everybody - len(page["items"])
        return [{"week": week, "cause": cause, "count": count} for (week, cause), count in weeks.items()]

    async def renewals(
        self,
        *,
        state: str | None = None,
        offline: bool | None = None,
        limit: int = 100,
        cursor: str | None = None,
        **filters: Any,
    ) -> Any:
        ends_before = filters.pop("ends_before", None)
        found = []
        for row in self._store.certificates.values():
            owner = self._store.chargers[row.charger_id or ""]
            work = [
                job
                for job in self._store.jobs.values()
                if job.state == "open"
                and (job.charger_id, job.purpose) == (row.charger_id, row.purpose)
                and job.action in ("issue", "renew")
            ]
            seen = json.loads(owner.doc)
            body = {name: getattr(owner, name) for name in ("family", "site", "cohort", "connected")}
            body |= {name: seen[name] for name in ("last_seen_at", "paused_reason")}
            body |= {
                "overdue": any(job.overdue for job in work),
                "job": json.loads(work[0].doc) if work else None,
            }
            for name in ("certificate_id", "charger_id", "managed_identity_id", "purpose", "escalated_days"):
                body[name] = getattr(row, name)
            for name in ("not_after", "due_since", "renew_again_at"):
                value = getattr(row, name)
                body[name] = None if value is None else value.isoformat()
            is_meant = row.due_since is not None and {
                "overdue": body["overdue"],
                "escalated": row.escalated_days is not None,
            }.get(state or "", True)
            if offline is not None and owner.connected is offline:
                is_meant = False
            if ends_before is not None and row.not_after >= ends_before:
                is_meant = False
            if is_meant and all(body[name] == value for name, value in filters.items()):
                found.append(body)
        found.sort(key=lambda body: (body["not_after"], body["certificate_id"]))
        return self._page(
            "renewals", found, lambda body: body["certificate_id"], limit, cursor, lambda body: body
        )

    async def renewal_counts(self) -> Any:
        groups: dict[tuple[str, str], Counter[str]] = {}
        for row in (await self.renewals(limit=10**9))["items"]:
            counts = groups.setdefault((row["purpose"], row["cohort"]), Counter())
            escalated, away = row["escalated_days"] is not None, not row["connected"]
            counts.update(
                {"due": 1, "overdue": row["overdue"], "escalated": escalated, "offline": away}
                | {"stragglers": escalated and away}
            )
        names = ("due", "overdue", "escalated", "offline", "stragglers")
        return [
            {"purpose": purpose, "cohort": cohort, **{name: counts[name] for name in names}}
            for (purpose, cohort), counts in groups.items()
        ]

    async def incident_forecast(self, selector: Selector, now: datetime) -> Any:
        """As SQL does it, by the core's own rule."""
        anything = incident_of(selector, now)
        chosen, shares = set(), Counter[tuple[str, str, str, str]]()
        for row in self._store.certificates.values():
            owner = self._store.chargers[row.charger_id or ""]
            if selects(anything, subject_of(row, owner), now):
                chosen.add(row.certificate_id)
                place = (owner.family, owner.cohort, row.state)
                shares[*place, "certificates"] += 1
                shares[*place, "connected"] += owner.connected
        for row in self._store.certificates.values():
            owner = self._store.chargers[row.charger_id or ""]
            others = [
                other
                for other in self._store.certificates.values()
                if (other.charger_id, other.purpose) == (row.charger_id, row.purpose)
                and other.state in ("installed", "active")
                and other.certificate_id not in chosen
            ]
            is_last = row.certificate_id in chosen and row.state in ("installed", "active") and not others
            if is_last and owner.security_profile >= 3:
                shares[owner.family, owner.cohort, row.state, "locked_out"] += 1
        places = sorted({place[:3] for place in shares})
        return [
            {"family": family, "cohort": cohort, "state": state}
            | {
                name: shares[family, cohort, state, name]
                for name in ("certificates", "connected", "locked_out")
            }
            for family, cohort, state in places
        ]

    def _selected(self, selector: Selector, now: datetime) -> list[tuple[Any, Any]]:
        """Rows that the core's own rule chooses, each with its charger's."""
        rows = [
            (row, self._store.chargers[row.charger_id or ""])
            for _, row in sorted(self._store.certificates.items())
        ]
        anything = incident_of(selector, now)
        return [(row, owner) for row, owner in rows if selects(anything, subject_of(row, owner), now)]

    async def incident_selection_counts(self, selector: Selector, now: datetime) -> Any:
        counts: dict[tuple[str, str], Counter[str]] = {}
        for row, owner in self._selected(selector, now):
            group = counts.setdefault((owner.family, row.issuing_ca_id or ""), Counter())
            group.update({"certificates": 1, "connected": owner.connected})
        return [
            {"family": family, "issuing_ca_id": arn, **group}
            for (family, arn), group in sorted(counts.items())
        ]

    async def incident_selection(
        self,
        selector: Selector,
        now: datetime,
        *,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Any:
        rows = [
            row for row, owner in self._selected(selector, now) if cohorts is None or owner.cohort in cohorts
        ]

        def body(row: Any) -> Any:
            return self._target(row) | {"state": "selected", "came_later": False}

        return self._page("incident_selection", rows, lambda row: row.certificate_id, limit, cursor, body)

    async def incident_counts(self, incident_ids: Sequence[str]) -> Any:
        found = Counter(
            (row.incident_id, row.incident_state, row.came_later)
            for row in self._store.certificates.values()
            if row.incident_id in incident_ids
        )
        return [
            {"incident_id": one, "state": state, "count": count, "came_later": count if is_late else 0}
            for (one, state, is_late), count in found.items()
        ]

    async def incident_targets(
        self,
        *,
        incident_id: str,
        state: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Any:
        rows = [
            row
            for _, row in sorted(self._store.certificates.items())
            if row.incident_id == incident_id
            and state in (None, row.incident_state)
            and (cohorts is None or self._store.chargers[row.charger_id or ""].cohort in cohorts)
        ]
        key = "incident_targets"
        return self._page(key, rows, lambda row: row.certificate_id, limit, cursor, self._target)

    def _target(self, row: Any) -> Any:
        owner = self._store.chargers[row.charger_id]
        names = ("family", "site", "cohort", "connected")
        return {
            "certificate_id": row.certificate_id,
            "charger_id": row.charger_id,
            "certificate_state": row.state,
            "state": row.incident_state,
            "came_later": row.came_later,
            "not_after": row.not_after.isoformat(),
            "last_seen_at": json.loads(owner.doc)["last_seen_at"],
            **{name: getattr(owner, name) for name in names},
        }

    async def certificates(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        filters.pop("q", None)
        before = filters.pop("expires_before", None)
        rows = [
            row
            for _, row in sorted(self._store.certificates.items())
            if self._fits(row, filters) and (before is None or row.not_after < before)
        ]
        found = self._page("certificates", rows, lambda row: row.certificate_id, limit, cursor)
        if isinstance(found, dict):
            for item in found["items"]:
                item.pop("pem"), item.pop("chain_pem")
        return found

    async def certificate(self, certificate_id: str) -> Any:
        return self._one(self._store.certificates.get(certificate_id))

    async def jobs(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        rows = sorted(self._store.jobs.values(), key=lambda row: (row.created_at, row.job_id), reverse=True)
        rows = [row for row in rows if self._fits(row, filters)]
        return self._page("jobs", rows, lambda row: row.job_id, limit, cursor)

    async def job(self, job_id: str) -> Any:
        body = self._one(self._store.jobs.get(job_id))
        if body is not None:
            body["timeline"] = [
                {
                    "at": event.recorded_at.isoformat(),
                    "event": event.event,
                    "by": event.actor,
                    "evidence_ref": event.cause,
                    "detail": msgspec.json.decode(event.payload),
                }
                for event in self._events()
                if event.job_id == job_id
            ]
        return body

    async def audit(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        after = filters.pop("after", None)
        if after == "9999:1":
            return Refusal("unknown-event", f"the ledger holds no event {after}", "after")
        rows = [event for event in self._events() if self._fits(event, filters)]
        return self._page(
            "audit", rows, lambda row: f"{row.partition}:{row.sequence}", limit, cursor, body=_audit_item
        )

    async def security_events(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        rows = [row for row in self._store.security_events.values() if self._fits(row, filters)]
        return self._page("security_events", rows, lambda row: row.evidence_id, limit, cursor)

    async def logs(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        rows = sorted(self._store.logs.values(), key=lambda row: (row.requested_at, row.log_id), reverse=True)
        return self._page(
            "logs", [row for row in rows if self._fits(row, filters)], lambda row: row.log_id, limit, cursor
        )

    async def migrations(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        rows = sorted(
            self._store.migrations.values(), key=lambda row: (row.opened_at, row.charger_id), reverse=True
        )
        rows = [row for row in rows if self._fits(row, filters)]
        return self._page("migrations", rows, lambda row: row.charger_id, limit, cursor)

    async def approvals(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        rows = [row for row in self._store.approvals.values() if self._fits(row, filters)]
        rows.sort(key=lambda row: (row.requested_at, row.approval_id), reverse=True)
        return self._page("approvals", rows, lambda row: row.approval_id, limit, cursor)

    async def approval(self, approval_id: str) -> Any:
        return self._one(self._store.approvals.get(approval_id))

    async def log(self, log_id: str) -> Any:
        return self._one(self._store.logs.get(log_id))

    async def notifications(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        return self._page("notifications", [], lambda row: str(row), limit, cursor)

    async def authorization_keys(
        self,
        *,
        old_before: datetime,
        state: str | None = None,
        limit: int = 100,
        cohorts: Sequence[str] | None = None,
        **_: Any,
    ) -> Any:
        """Only what needs no SQL: `old` and `weak`."""
        self._check()
        items = []
        for _, row in sorted(self._store.authorization_keys.items()):
            owner = self._store.chargers[row.charger_id]
            fields = ("charger_id", "generation", "origin", "weakness", "active_since", "pending_since")
            item = {name: getattr(row, name) for name in fields} | {
                name: getattr(owner, name) for name in ("family", "site", "cohort", "security_profile")
            }
            is_old = row.active_since is not None and row.active_since < old_before
            item["states"] = ["old"] * is_old + ["weak"] * (row.weakness is not None)
            if (state is None or state in item["states"]) and (cohorts is None or owner.cohort in cohorts):
                items.append(item)
        return {"items": items[:limit], "next_cursor": None}

    async def authorization_key_counts(self, old_before: datetime) -> dict[str, int]:
        self._check()
        names = ("factory", "shared", "old", "weak", "unknown", "pending", "in_doubt")
        return {"total": len(self._store.authorization_keys), **dict.fromkeys(names, 0)}

    async def identities(
        self,
        *,
        q: str | None = None,
        q_names: Sequence[str] = (),
        names: Sequence[Sequence[str]] = (),
        limit: int = 100,
        cursor: str | None = None,
        **filters: Any,
    ) -> Any:
        def fits(row: dict[str, Any]) -> bool:
            borne = row["names"]
            text = (
                f"{row['identity_id']} {row['charger_id'] or ''} {borne if row['kind'] == 'charger' else ''}"
            )
            return (
                all(row[name] == value for name, value in filters.items() if value is not None)
                and all(any(name in borne for name in each) for each in names)
                and (q is None or q.lower() in text.lower() or any(name in borne for name in q_names))
            )

        rows = sorted(
            (row for row in self._identities() if fits(row)),
            key=lambda row: (row["identity_id"], row["charger_id"] or ""),
        )
        return self._page(
            "identities", rows, lambda row: str(row["identity_id"]), limit, cursor, body=lambda row: row
        )

    async def identity(self, identity_id: str) -> Any:
        self._check()
        return next((row for row in self._identities() if row["identity_id"] == identity_id), None)

    async def external_ids_known(self, names: Sequence[str]) -> set[str]:
        self._check()
        return {row.external_id for row in self._store.holders.values()} & set(names)

    def _identities(self) -> list[dict[str, Any]]:
        found = []
        for identity in self._store.identities.values():
            body = msgspec.json.decode(identity.doc)
            charger = self._store.chargers.get(identity.charger_id or "")
            if charger is not None:
                body |= {name: getattr(charger, name) for name in ("family", "site", "cohort")}
            found.append(body)
        for row in self._store.chargers.values():
            found.append(
                {name: getattr(row, name) for name in ("family", "site", "cohort", "charger_id")}
                | {
                    "identity_id": row.managed_identity_id,
                    "kind": "charger",
                    "state": "retired" if row.decommissioned else "registered",
                    "names": [f"serial_number:{row.serial_number}"],
                }
                | dict.fromkeys(("registered_at", "retired_at", "erased_at"))
            )
        return found

    async def aggregate(self, partition: int, key: str) -> AggregateRow | None:
        self._check()
        return self._store.aggregates.get((partition, key))

    async def authority_load(self, arns: Sequence[str], now: datetime) -> Any:
        self._check()
        return [
            {
                "authority_arn": arn,
                "certificates": len(await self.authority_holders(arn, now)),
                "orders": 0,
                "heard_sequence": 1 << 40,
            }
            for arn in arns
        ]

    async def authority_holders(self, arn: str, now: datetime, most: int = 1000) -> Any:
        self._check()
        return [
            {
                "certificate_id": row.certificate_id,
                "charger_id": row.charger_id,
                "family": self._store.chargers[row.charger_id or ""].family,
                "cohort": self._store.chargers[row.charger_id or ""].cohort,
                "connected": self._store.chargers[row.charger_id or ""].connected,
                "state": row.state,
                "not_after": row.not_after,
            }
            for row in self._store.certificates.values()
            if row.issuing_ca_id == arn
            and row.state in ("issued", "installed", "active")
            and row.not_after > now
        ][:most]

    async def charger_groups(self) -> Any:
        self._check()
        groups = Counter(
            (row.family, row.cohort) for row in self._store.chargers.values() if not row.decommissioned
        )
        return [{"family": f, "cohort": c, "count": n} for (f, c), n in groups.most_common()]

    async def anchor_holders(
        self,
        purpose: str,
        bundle_ids: Sequence[str],
        *,
        from_profile: int,
        apart: Sequence[str] = (),
        examples: int = 5,
    ) -> Any:
        self._check()
        groups: dict[tuple[str, str, bool, str, str], list[str]] = {}
        for charger_id, row in sorted(self._store.chargers.items()):
            if row.decommissioned or row.security_profile < from_profile:
                continue
            doc = json.loads(row.doc)
            held = [
                each["rung"]
                for each in doc["trust_anchors"]
                if each["purpose"] == purpose and each["bundle_id"] in bundle_ids
            ]
            cannot_list = bool(doc["capabilities"]["cannot_list"])
            alone = charger_id if charger_id in apart else ""
            key = (row.family, row.cohort, cannot_list, alone, held[0] if held else "")
            groups.setdefault(key, []).append(charger_id)
        return [
            {
                "family": family,
                "cohort": cohort,
                "cannot_list": cannot_list,
                "apart": alone or None,
                "rung": rung or None,
                "count": len(ids),
                "examples": ids[:examples],
            }
            for (family, cohort, cannot_list, alone, rung), ids in sorted(groups.items())
        ]

    async def active_ending_in(self, purpose: str, spans: Any) -> Any:
        self._check()
        groups: Counter[tuple[str, str]] = Counter()
        for row in self._store.certificates.values():
            owner = self._store.chargers.get(row.charger_id or "")
            if owner is None or (row.purpose, row.state) != (purpose, "active"):
                continue
            for family, cohort, after, until in spans:
                if (owner.family, owner.cohort) == (family, cohort) and after < row.not_after <= until:
                    groups[family, cohort] += 1
        return [{"family": f, "cohort": c, "count": n} for (f, c), n in groups.items()]

    def _fits(self, row: Any, filters: dict[str, Any]) -> bool:
        """Whether the row passes every filter that is given; `cohorts` by the charger it is about."""
        cohorts = filters.get("cohorts")
        if cohorts is not None:
            owner = self._store.chargers.get(row.charger_id or "")
            if owner is None or owner.cohort not in cohorts:
                return False
        return all(
            value is None or name == "cohorts" or getattr(row, name) == value
            for name, value in filters.items()
        )

    def _events(self) -> list[EventRow]:
        rows = [event for events in self._store.events.values() for event in events]
        return sorted(rows, key=lambda row: (row.recorded_at, row.partition, row.sequence))

    def _check(self) -> None:
        if self.away:
            raise Unavailable("PostgreSQL", "told to be away")

    def _one(self, row: Any) -> Any:
        self._check()
        return None if row is None else msgspec.json.decode(row.doc)

    def _page(
        self,
        listing: str,
        rows: list[Any],
        name: Callable[[Any], str],
        limit: int,
        cursor: str | None,
        body: Callable[[Any], Any] = lambda row: msgspec.json.decode(row.doc),
    ) -> Any:
        self._check()
        start = 0
        if cursor is not None:
            key = decode_cursor(listing, cursor, str)
            if isinstance(key, Refusal):
                return key
            start = next((index + 1 for index, row in enumerate(rows) if name(row) == key[0]), len(rows))
        shown = rows[start : start + limit]
        more = len(rows) > start + limit
        return {
            "items": [body(row) for row in shown],
            "next_cursor": encode_cursor(listing, (name(shown[-1]),)) if more else None,
        }


def _monday(at: datetime) -> datetime:
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=midnight.weekday())


def _audit_item(row: EventRow) -> Any:
    item = msgspec.to_builtins(row)
    item["payload"] = msgspec.json.decode(row.payload)
    return item


@dataclass
class AdminWorld:
    """Everything behind the API, and a client in front of it."""

    store: FakeLedgerStore = field(default_factory=FakeLedgerStore)
    clock: HandClock = field(default_factory=HandClock)
    tokens: Tokens = field(default_factory=Tokens)
    mint: Mint = field(default_factory=Mint)
    secrets: FakeSecretStore = field(default_factory=FakeSecretStore)
    metrics: PrometheusMetrics = field(default_factory=lambda: PrometheusMetrics(strict=True))
    readiness: Readiness = Readiness(ready=True)  # noqa: RUF009 - frozen
    statuses: Sequence[Any] = ()
    shown: Sequence[ShownOnNode] = ()
    seen: dict[str, datetime] = field(default_factory=dict)
    traced: dict[tuple[str, str], Sequence[TracedFrame]] = field(default_factory=dict)
    events: EventFeed | None = None
    logs: LogDesk | None = None
    proofs: Proofs | None = None
    notifications: NotificationDesk | None = None
    denied: list[AccessDenied] = field(default_factory=list)
    authorities: Any = None
    pseudonym_keys: tuple[PseudonymKey, ...] = (PseudonymKey.of(b"k" * 32),)
    heartbeat_s: float = 15.0
    stream_limit: int = 64

    def __post_init__(self) -> None:
        self.store._now = self.clock.now
        self.personal = FakePersonalIdentifiers(self.store)
        self.door = LedgerDoor(self.store, self.clock)
        self.reader = StoreReader(self.store)
        self.server: AdminServer
        self.http: aiohttp.ClientSession
        self._keys = itertools.count(1)

    @property
    def dependencies(self) -> AdminDependencies:
        return AdminDependencies(
            reader=self.reader,
            tokens=self.tokens,
            commands=self.door,
            keys=self.mint,
            secrets=self.secrets,
            personal=self.personal,
            pseudonym_keys=self.pseudonym_keys,
            clock=self.clock,
            metrics=self.metrics,
            exposition=self.metrics.exposition,
            readiness=lambda: self.readiness,
            statuses=lambda: self.statuses,
            server_forecast=ServerTrust(self.reader, self.clock).forecast,
            server_certificates=lambda: self.shown,
            last_seen=self.seen.get,
            traced_frames=lambda charger_id, trace_id: self.traced.get((charger_id, trace_id), ()),
            events=self.events,
            logs=self.logs,
            proofs=self.proofs,
            notifications=self.notifications,
            authorities=self.authorities,
            denied=self.denied.append,
            heartbeat_s=self.heartbeat_s,
            stream_limit=self.stream_limit,
        )

    @asynccontextmanager
    async def served(self) -> AsyncIterator[AdminWorld]:
        self.server = await serve_admin(create_app(self.dependencies), "127.0.0.1", 0)
        self.http = aiohttp.ClientSession(self.server.url, timeout=aiohttp.ClientTimeout(total=20))
        try:
            yield self
        finally:
            await self.http.close()
            await self.server.close()

    # ------------------------------------------------------------ asking

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str | None = "pki-admin",
        key: str | None = "",
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request. `key` "": a new Idempotency-Key for a POST; None: none at all."""
        sent: dict[str, str] = {}
        if role is not None:
            sent["Authorization"] = f"Bearer {token_of(role)}"
        if method == "POST" and key == "":
            key = f"key-{next(self._keys)}"
        if key:
            sent["Idempotency-Key"] = key
        data = raw if raw is not None else (None if body is None else msgspec.json.encode(body))
        if data is not None:
            sent["Content-Type"] = "application/json"
        async with self.http.request(method, path, data=data, headers=sent | (headers or {})) as response:
            content = await response.read()
            is_json = "json" in response.content_type and "ndjson" not in response.content_type
            return Reply(
                response.status,
                msgspec.json.decode(content) if is_json and content else content,
                dict(response.headers),
            )

    async def register(self, **changes: Any) -> Reply:
        return await self.ask("POST", "/api/v1/chargers", CHARGER | changes)

    async def bundle(self, pems: Sequence[str], purpose: str = "backend_server") -> Reply:
        body = {"purpose": purpose, "anchors": list(pems), "note": "first"}
        return await self.ask("POST", "/api/v1/trust-anchor-bundles", body)

    async def adopt(self, world: CoreWorld) -> None:
        """A charger further on its way than commands alone can bring it."""
        self.clock.at = max(self.clock.at, world.now)
        await self.door.adopt(world)


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def fields(self) -> list[str]:
        """What a problem names."""
        return [error["field"] for error in self.body["errors"]]
