"""What the admin API and the metrics read: bodies as the projections hold them, under the reader role and its own pool."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

import asyncpg
import orjson

from bfactors.incident import Selector
from bfactors.ledger_row import AggregateRow
from bfactors.purpose import purposes
from bfactors.refusal import Refusal
from bfactors.trust_end import TrustEnd
from persistence.audit import audit_item, audit_start, timeline_item
from persistence.cursor import DEFAULT_LIMIT, NO_KEY, Key, decode_cursor, encode_cursor, limit_problem
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

Body = dict[str, Any]
"""A JSON object as the API answers it; a list is `{"items": [...], "next_cursor": str | None}`."""

TIMELINE_ROWS = 1000
_ONLY_IN_DETAIL = ("pem", "chain_pem", "evidence")
_UNUSABLE = Refusal("invalid-filter", "a filter holds text, a number or a time that no row can have")
_SQL = queries("reader")


class LedgerReader:
    """Read-only, bounded in time, never behind a lock. All methods run on the pool's loop and raise Unavailable.

    Lists return Refusal for a cursor or a limit that cannot be used; single resources None when unknown. Chargers come in
    the order of their ids, certificates soonest expiry first, jobs and security events newest first.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(
        cls, reader_dsn: str, *, size: int = 4, statement_timeout: timedelta = timedelta(seconds=5)
    ) -> Self:
        """Raises Unavailable."""
        settings = {"plan_cache_mode": "force_custom_plan", "default_transaction_read_only": "on"}
        return cls(
            await open_pool(
                reader_dsn,
                size=size,
                application="bf-reader",
                statement_timeout=statement_timeout,
                settings=settings,
            )
        )

    async def close(self) -> None:
        """Cut off what is still being read."""
        self._pool.terminate()

    # ------------------------------------------------------------ lists and their items

    async def chargers(
        self,
        *,
        family: str | None = None,
        site: str | None = None,
        cohort: str | None = None,
        connected: bool | None = None,
        q: str | None = None,
        decommissioned: bool = False,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """`q` is looked for in charger id, serial number and identity id; `decommissioned` shows retired ones too."""
        filters = (family, site, cohort, connected, q, decommissioned)
        return await self._page("chargers", filters, limit, cursor, (str,), orjson.loads, cohorts)

    async def charger(self, charger_id: str) -> Body | None:
        """Retired chargers included."""
        return await self._one("charger", charger_id)

    async def lockouts(
        self,
        trust: Sequence[TrustEnd],
        *,
        before: datetime | None = None,
        cause: str | None = None,
        family: str | None = None,
        site: str | None = None,
        cohort: str | None = None,
        connected: bool | None = None,
        charger_id: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Chargers that will not be able to connect any more, soonest first. `trust`: what ends for whole bundles."""
        filters = (before, cause, family, site, cohort, connected, charger_id, *_columns(trust))
        return await self._page("lockouts", filters, limit, cursor, (datetime, str), orjson.loads)

    async def lockout_counts(
        self,
        trust: Sequence[TrustEnd],
        now: datetime,
        *,
        family: str | None = None,
        site: str | None = None,
        cohort: str | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of `week, cause, count`: `week` None: before `now`; `cause` None: it never comes."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["lockout_counts"], now, family, site, cohort, *_columns(trust))
        return [dict(row) for row in rows]

    async def lockouts_within(
        self, trust: Sequence[TrustEnd], moments: Sequence[datetime]
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, cause, number, count`: how many are locked out before `moments[number]`."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["lockouts_within"], list(moments), *_columns(trust))
        return [dict(row) for row in rows]

    async def renewals(
        self,
        *,
        state: str | None = None,
        offline: bool | None = None,
        purpose: str | None = None,
        family: str | None = None,
        site: str | None = None,
        cohort: str | None = None,
        ends_before: datetime | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Certificates in use whose renewal is wanted, soonest end first, each with the open job that is to replace it."""
        filters = (state, offline, purpose, family, site, cohort, ends_before)
        return await self._page("renewals", filters, limit, cursor, (datetime, str), orjson.loads)

    async def renewal_counts(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `purpose, cohort, due, overdue, escalated, offline, stragglers`; stragglers are escalated and offline."""
        return await self._rows("renewal_counts")

    async def incident_forecast(self, selector: Selector, now: datetime) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, cohort, state, certificates, connected, locked_out`."""
        spec = purposes().get(selector.purpose)
        opens_sessions = spec is not None and spec.is_session_credential
        return await self._rows("incident_forecast", *_criteria(selector, now), opens_sessions)

    async def incident_selection_counts(
        self, selector: Selector, now: datetime
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, issuing_ca_id, certificates, connected`: what an incident that is not open yet chooses now."""
        return await self._rows("incident_selection_counts", *_criteria(selector, now))

    async def incident_selection(
        self,
        selector: Selector,
        now: datetime,
        *,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """The same certificates in the order of their ids."""
        filters = _criteria(selector, now)
        return await self._page("incident_selection", filters, limit, cursor, (str,), orjson.loads, cohorts)

    async def incident_counts(self, incident_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Rows of `incident_id, state, count, came_later`."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["incident_counts"], list(incident_ids))
        return [dict(row) for row in rows]

    async def incident_targets(
        self,
        *,
        incident_id: str,
        state: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """The certificates of an incident in the order of their ids."""
        filters = (incident_id, state)
        return await self._page("incident_targets", filters, limit, cursor, (str,), orjson.loads, cohorts)

    async def certificates(
        self,
        *,
        charger_id: str | None = None,
        managed_identity_id: str | None = None,
        purpose: str | None = None,
        state: str | None = None,
        mode: str | None = None,
        realm: str | None = None,
        expires_before: datetime | None = None,
        fingerprint_sha256: str | None = None,
        serial_number: str | None = None,
        q: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Without `pem`, `chain_pem` and `evidence`. `q` is the beginning of an id, a serial number or a fingerprint."""
        filters = (
            *(charger_id, managed_identity_id, purpose, state, mode, realm, expires_before),
            *(_lower(fingerprint_sha256), _lower(serial_number), _beginning(q)),
        )
        return await self._page(
            "certificates", filters, limit, cursor, (datetime, str), _without_detail, cohorts
        )

    async def certificate(self, certificate_id: str) -> Body | None:
        """With its PEM and its evidence: the ledger's events that name it, oldest first, at most the first 1000."""
        async with unavailable_when_lost():
            body = await self._one("certificate", certificate_id)
            if body is not None and body.get("charger_id") is not None:
                events = await self._pool.fetch(
                    _SQL["certificate_events"], body["charger_id"], certificate_id, TIMELINE_ROWS
                )
                body["evidence"] = [timeline_item(row) for row in events]
        return body

    async def jobs(
        self,
        *,
        state: str | None = None,
        stage: str | None = None,
        purpose: str | None = None,
        charger_id: str | None = None,
        overdue: bool | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Without their timelines."""
        filters = (state, stage, purpose, charger_id, overdue)
        return await self._page("jobs", filters, limit, cursor, (datetime, str), orjson.loads, cohorts)

    async def job(self, job_id: str) -> Body | None:
        """With its timeline, oldest first: the ledger's events that name the job, at most the first 1000."""
        async with unavailable_when_lost():
            body = await self._one("job", job_id)
            if body is not None:
                events = await self._pool.fetch(_SQL["job_events"], job_id, TIMELINE_ROWS)
                body["timeline"] = [timeline_item(row) for row in events]
        return body

    async def audit(
        self,
        *,
        managed_identity_id: str | None = None,
        charger_id: str | None = None,
        event: str | None = None,
        job_id: str | None = None,
        after: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Ledger events in the order they were recorded, oldest first.

        `after` is an RFC 3339 time or `<partition>:<sequence>`; a cursor overrides it. Partitions record side by side: an
        event of the last moments may still appear before one already shown. Whoever must miss none follows the stream.
        """
        if refused := limit_problem(limit):
            return refused
        start: Key | Refusal = NO_KEY
        async with unavailable_when_lost():
            if cursor is not None:
                start = decode_cursor("audit", cursor, datetime, int, int)
            elif after is not None:
                start = await audit_start(self._pool, after)
            if isinstance(start, Refusal):
                return start
            filters = (managed_identity_id, charger_id, event, job_id)
            try:
                rows = await self._pool.fetch(_SQL["audit"], *filters, *start, limit + 1)
            except asyncpg.DataError:
                return _UNUSABLE
        shown = rows[:limit]
        last = (shown[-1]["recorded_at"], shown[-1]["partition"], shown[-1]["sequence"]) if shown else ()
        return {
            "items": [audit_item(row) for row in shown],
            "next_cursor": encode_cursor("audit", last) if len(rows) > limit else None,
        }

    async def security_events(
        self,
        *,
        charger_id: str | None = None,
        kind: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Newest first."""
        filters = (charger_id, kind)
        return await self._page(
            "security_events", filters, limit, cursor, (datetime, str), orjson.loads, cohorts
        )

    async def logs(
        self,
        *,
        charger_id: str | None = None,
        state: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Logs asked for, newest first, here or not."""
        return await self._page(
            "logs", (charger_id, state), limit, cursor, (datetime, str), orjson.loads, cohorts
        )

    async def migrations(
        self,
        *,
        state: str | None = None,
        cohort: str | None = None,
        family: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """The chargers' migration cases, newest first."""
        filters = (state, cohort, family)
        return await self._page("migrations", filters, limit, cursor, (datetime, str), orjson.loads, cohorts)

    async def approvals(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        charger_id: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """What needs, or needed, a second person, newest first."""
        filters = (state, kind, charger_id)
        return await self._page("approvals", filters, limit, cursor, (datetime, str), orjson.loads, cohorts)

    async def approval(self, approval_id: str) -> Body | None:
        """With its content."""
        return await self._one("approval", approval_id)

    async def log(self, log_id: str) -> Body | None:
        """What is known of one log; its content is in the log store."""
        return await self._one("log", log_id)

    async def notifications(
        self,
        *,
        state: str | None = None,
        subscription_id: str | None = None,
        charger_id: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """What was told to whom, or is to be, newest first."""
        filters = (state, subscription_id, charger_id)
        return await self._page("notifications", filters, limit, cursor, (datetime, str), orjson.loads)

    async def authorization_keys(
        self,
        *,
        old_before: datetime,
        state: str | None = None,
        family: str | None = None,
        site: str | None = None,
        cohort: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Of chargers on profiles 1 and 2, in the order of their ids, each with the states it is in."""
        filters = (state, family, site, cohort, old_before)
        return await self._page("authorization_keys", filters, limit, cursor, (str,), orjson.loads, cohorts)

    async def authorization_key_counts(self, old_before: datetime) -> Mapping[str, int]:
        """How many keys are in each state, and `total` of all; compares all keys, so seldom to be asked."""
        async with unavailable_when_lost():
            return dict(await self._pool.fetchrow(_SQL["authorization_key_counts"], old_before))

    async def identities(
        self,
        *,
        kind: str | None = None,
        state: str | None = None,
        family: str | None = None,
        site: str | None = None,
        cohort: str | None = None,
        charger_id: str | None = None,
        q: str | None = None,
        q_names: Sequence[str] = (),
        names: Sequence[Sequence[str]] = (),
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Identities of every kind in the order of their ids, chargers' among them, with their names as the ledger has them.

        `names`: of each of these lists one must be borne. `q` is looked for in ids and serial numbers; whoever bears one
        of `q_names` fits it too.
        """
        sought = None if not names else orjson.dumps([list(each) for each in names]).decode()
        filters = (kind, state, family, site, cohort, charger_id, q, list(q_names), sought)
        return await self._page("identities", filters, limit, cursor, (str, str), orjson.loads)

    async def identity(self, identity_id: str) -> Body | None:
        """One identity, a charger's too; retired ones included."""
        return await self._one("identity", identity_id)

    async def external_ids_known(self, names: Sequence[str]) -> set[str]:
        """Which of these names anybody bears or ever bore."""
        async with unavailable_when_lost():
            return {
                row["external_id"] for row in await self._pool.fetch(_SQL["external_ids_known"], list(names))
            }

    # ------------------------------------------------------------ states and numbers

    async def aggregate(self, partition: int, key: str) -> AggregateRow | None:
        """A folded state as last committed, e.g. the fleet's for effective policies."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_SQL["aggregate"], partition, key)
        return None if row is None else AggregateRow(*row)

    async def open_job_counts(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `stage, purpose, overdue, count`."""
        return await self._rows("open_job_counts")

    async def open_approval_counts(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `kind, count`: what waits for a second person."""
        return await self._rows("open_approval_counts")

    async def certificate_counts(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `purpose, state, mode, count`; reads the whole table, so for a slow clock."""
        return await self._rows("certificate_counts")

    async def charger_counts(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, cohort, connected, count`; retired ones left out."""
        return await self._rows("charger_counts")

    async def charger_groups(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, cohort, count`, the largest first; retired ones left out."""
        return await self._rows("charger_groups")

    async def active_ending_in(
        self, purpose: str, spans: Sequence[tuple[str, str, datetime, datetime]]
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, cohort, count`: active certificates of a purpose that end after a moment and up to another.

        `spans`: (family, cohort, after, until); a group without such certificates has no row.
        """
        columns = [list(column) for column in zip(*spans, strict=True)] or [[], [], [], []]
        async with unavailable_when_lost():
            return [dict(row) for row in await self._pool.fetch(_SQL["active_ending_in"], purpose, *columns)]

    async def anchor_holders(
        self,
        purpose: str,
        bundle_ids: Sequence[str],
        *,
        from_profile: int,
        apart: Sequence[str] = (),
        examples: int = 5,
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, cohort, cannot_list, apart, rung, count, examples`: chargers by how surely they hold a bundle.

        `rung` None: none of these. Each charger of `apart` is a row of its own, which names it. Only chargers from
        this security profile up. Reads every charger's row.
        """
        async with unavailable_when_lost():
            rows = await self._pool.fetch(
                _SQL["anchor_holders"], purpose, list(bundle_ids), from_profile, examples, list(apart)
            )
        return [dict(row) for row in rows]

    async def authority_load(self, arns: Sequence[str], now: datetime) -> Sequence[Mapping[str, Any]]:
        """Rows of `authority_arn, certificates, orders, heard_sequence`, all as of one moment.

        `certificates` may open a session, now or soon; `orders` are with the CA; of the fleet's decisions every partition
        had heard those up to `heard_sequence`.
        """
        async with unavailable_when_lost():
            return [dict(row) for row in await self._pool.fetch(_SQL["authority_load"], list(arns), now)]

    async def authority_holders(
        self, arn: str, now: datetime, most: int = 1000
    ) -> Sequence[Mapping[str, Any]]:
        """The certificates that `authority_load` counts, those of absent chargers first."""
        async with unavailable_when_lost():
            return [dict(row) for row in await self._pool.fetch(_SQL["authority_holders"], arn, now, most)]

    async def incarnations(self) -> Sequence[tuple[str, str]]:
        """(node, incarnation) of every connect node that the ledger believes to hold a live session."""
        return [(row["node"], row["incarnation"]) for row in await self._rows("incarnations")]

    async def partitions(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `number, owner, epoch, live, sequence, outbox_backlog, evidence_position, quarantined, database_now`."""
        return await self._rows("partitions")

    # ------------------------------------------------------------ inside

    async def _rows(self, name: str, *values: object) -> list[dict[str, Any]]:
        async with unavailable_when_lost():
            return [dict(row) for row in await self._pool.fetch(_SQL[name], *values)]

    async def _one(self, name: str, key: str) -> Body | None:
        async with unavailable_when_lost():
            try:
                doc = await self._pool.fetchval(_SQL[name], key)
            except asyncpg.DataError:
                return None  # a text that cannot be stored names nothing
        return None if doc is None else orjson.loads(doc)

    async def _page(
        self,
        listing: str,
        filters: tuple[object, ...],
        limit: int,
        cursor: str | None,
        key_types: tuple[type, ...],
        body: Callable[[bytes], Body],
        *cohorts: Sequence[str] | None,
    ) -> Body | Refusal:
        """One page of rows (key..., doc). One row more than asked for tells whether there is a next page.

        `cohorts`: for the lists that can be narrowed down to several of them, these, or None for all.
        """
        if refused := limit_problem(limit):
            return refused
        start: Key | Refusal = NO_KEY[: len(key_types)]
        if cursor is not None:
            start = decode_cursor(listing, cursor, *key_types)
        if isinstance(start, Refusal):
            return start
        async with unavailable_when_lost():
            try:
                rows = await self._pool.fetch(_SQL[listing], *filters, *start, limit + 1, *cohorts)
            except asyncpg.DataError:
                return _UNUSABLE
        more = len(rows) > limit
        return {
            "items": [body(row[-1]) for row in rows[:limit]],
            "next_cursor": encode_cursor(listing, tuple(rows[limit - 1][:-1])) if more else None,
        }


def _criteria(selector: Selector, now: datetime) -> tuple[object, ...]:
    """A selector as the queries take it, from $1 to $10."""
    lists = (
        *(selector.issuing_ca_ids, selector.spki_sha256, selector.certificate_ids),
        *(selector.families, selector.sites, selector.cohorts),
    )
    return (selector.purpose, now, *map(list, lists), selector.issued_from, selector.issued_before)


def _without_detail(doc: bytes) -> Body:
    body: Body = orjson.loads(doc)
    for name in _ONLY_IN_DETAIL:
        body.pop(name, None)
    return body


def _columns(trust: Sequence[TrustEnd]) -> tuple[list[str], list[datetime], list[str]]:
    return [end.bundle_id for end in trust], [end.at for end in trust], [end.cause for end in trust]


def _beginning(text: str | None) -> str | None:
    """A LIKE pattern of what begins with it, in lower case."""
    if text is None:
        return None
    return "".join(f"\\{each}" if each in "%_\\" else each for each in text.lower()) + "%"


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
