"""What the admin API asks for and never builds: readers, tokens, keys and streams, injected by the composition."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec
from aiohttp import web

from bfactors.admission import KeyVerifier
from bfactors.command import RegisterAuthority
from bfactors.errors import BetterFleetError
from bfactors.frame_trace import TracedFrame
from bfactors.incident import Selector
from bfactors.ledger_row import AggregateRow
from bfactors.notice import SealedTarget, Subscription
from bfactors.refusal import Refusal
from bfactors.revocation_list import SeenList
from bfactors.server_certificate import Forecast, Presented
from bfactors.trust_end import TrustEnd
from bfactors.x509 import Certificate

Body = dict[str, Any]
"""A JSON object as the API answers it; a list is `{"items": [...], "next_cursor": str | None}`."""


class Token(Protocol):
    """A verified API token, without its text."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def cohorts(self) -> tuple[str, ...] | None:
        """What it is limited to; None: nothing."""
        ...


class TokenStore(Protocol):
    """Raises Unavailable."""

    async def verify(self, token: str) -> Token | None:
        """Whose token this is; None for an unknown or revoked one."""
        ...


class RenewalSpan(NamedTuple):
    """The ends of certificates, after one moment and up to another, of the chargers of one family and cohort."""

    family: str
    cohort: str
    after: datetime
    until: datetime


class AuthorityDesk(Protocol):
    """Asks a CA what it is, under the role that issues for the purpose."""

    async def described(self, purpose: str, authority_arn: str) -> RegisterAuthority | Refusal:
        """The command that makes it known; a refusal says why it cannot be used. Raises Unavailable."""
        ...

    def list_of(self, authority_arn: str) -> SeenList | None:
        """How its revocation list stood when this node last read it; None: it has read none."""
        ...


class Reader(Protocol):
    """The projections. Lists answer a Refusal for a cursor or filter that cannot be used. Raises Unavailable."""

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
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def charger(self, charger_id: str) -> Body | None: ...
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
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def lockout_counts(
        self,
        trust: Sequence[TrustEnd],
        now: datetime,
        *,
        family: str | None = None,
        site: str | None = None,
        cohort: str | None = None,
    ) -> Sequence[Mapping[str, Any]]: ...
    async def incident_forecast(self, selector: Selector, now: datetime) -> Sequence[Mapping[str, Any]]: ...
    async def incident_selection_counts(
        self, selector: Selector, now: datetime
    ) -> Sequence[Mapping[str, Any]]: ...
    async def incident_selection(
        self,
        selector: Selector,
        now: datetime,
        *,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def incident_counts(self, incident_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]: ...
    async def incident_targets(
        self,
        *,
        incident_id: str,
        state: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
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
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def renewal_counts(self) -> Sequence[Mapping[str, Any]]: ...
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
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def certificate(self, certificate_id: str) -> Body | None: ...
    async def jobs(
        self,
        *,
        state: str | None = None,
        stage: str | None = None,
        purpose: str | None = None,
        charger_id: str | None = None,
        overdue: bool | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def job(self, job_id: str) -> Body | None: ...
    async def audit(
        self,
        *,
        managed_identity_id: str | None = None,
        charger_id: str | None = None,
        event: str | None = None,
        job_id: str | None = None,
        after: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def security_events(
        self,
        *,
        charger_id: str | None = None,
        kind: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def logs(
        self,
        *,
        charger_id: str | None = None,
        state: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def log(self, log_id: str) -> Body | None: ...
    async def approvals(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        charger_id: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def approval(self, approval_id: str) -> Body | None: ...
    async def migrations(
        self,
        *,
        state: str | None = None,
        cohort: str | None = None,
        family: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def notifications(
        self,
        *,
        state: str | None = None,
        subscription_id: str | None = None,
        charger_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def authorization_keys(
        self,
        *,
        old_before: datetime,
        state: str | None = None,
        family: str | None = None,
        site: str | None = None,
        cohort: str | None = None,
        cohorts: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal: ...
    async def authorization_key_counts(self, old_before: datetime) -> Mapping[str, int]: ...
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
        limit: int = 100,
        cursor: str | None = None,
    ) -> Body | Refusal:
        """Identities of every kind by id, with `names` as the ledger has them. Of each of `names` one must be borne."""
        ...

    async def identity(self, identity_id: str) -> Body | None: ...
    async def external_ids_known(self, names: Sequence[str]) -> set[str]:
        """Which of these names anybody bears or ever bore."""
        ...

    async def aggregate(self, partition: int, key: str) -> AggregateRow | None: ...
    async def anchor_holders(
        self,
        purpose: str,
        bundle_ids: Sequence[str],
        *,
        from_profile: int,
        apart: Sequence[str] = (),
        examples: int = 5,
    ) -> Sequence[Mapping[str, Any]]: ...
    async def authority_load(self, arns: Sequence[str], now: datetime) -> Sequence[Mapping[str, Any]]: ...
    async def authority_holders(
        self, arn: str, now: datetime, most: int = 1000
    ) -> Sequence[Mapping[str, Any]]: ...
    async def charger_groups(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, cohort, count`, the largest first; retired chargers left out."""
        ...

    async def active_ending_in(
        self, purpose: str, spans: Sequence[RenewalSpan]
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of `family, cohort, count`: active certificates of a purpose that end in their group's span."""
        ...


class MadeTicket(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of an upload address outside its seal."""

    ticket_hash: str
    credential_hash: str
    max_bytes: int
    expires_at: datetime


class LogDesk(Protocol):
    """Makes upload addresses and hands logs out. Raises Unavailable."""

    async def ticket(self, secret_id: str, charger_id: str) -> MadeTicket:
        """Make an address for one log and seal it under that id; the same id again names the same address."""
        ...

    async def send(self, request: web.Request, stored_name: str) -> web.StreamResponse | None:
        """Answer with the log as an attachment; None: it is not kept any more."""
        ...


class Proofs(Protocol):
    """What an outsider can check: checkpoints, proofs, evidence packs. Raises Unavailable."""

    async def checkpoints(
        self, *, partition: int | None = None, limit: int = 100, cursor: str | None = None
    ) -> Body | Refusal: ...
    async def keys(self) -> Body: ...
    async def inclusion(self, partition: int, sequence: int, size: int | None = None) -> Body | Refusal: ...
    async def consistency(self, partition: int, first: int, second: int) -> Body | Refusal: ...
    async def evidence_pack(self, charger_id: str) -> bytes | Refusal:
        """A signed zip archive of everything the ledger holds of a charger."""
        ...


class NotificationDesk(Protocol):
    """Seals addresses and tries them out. Raises Unavailable."""

    def target_of(self, address: str) -> str | None:
        """What of an address may be shown: its host or domain. None: nothing may be sent there."""
        ...

    async def seal(self, secret_id: str, target: SealedTarget) -> bool:
        """For a while, until `keep`. False: the same request sealed one already, which stays."""
        ...

    async def keep(self, secret_id: str) -> None: ...
    async def forget(self, secret_id: str) -> None: ...
    async def test(self, subscription: Subscription) -> str | None:
        """Send a trial notice; what went wrong, or None."""
        ...


class KeyMint(Protocol):
    """Makes AuthorizationKeys and what they are verified with; the pepper stays inside."""

    def mint(self) -> tuple[str, KeyVerifier]: ...
    def verifier(self, text: str) -> KeyVerifier: ...
    def forms(self, text: str, versions: Sequence[str]) -> tuple[KeyVerifier, ...]:
        """The same key in the other forms that chargers of these OCPP versions may present it in."""
        ...


class HasValue(Protocol):
    """A member of an enumeration of texts."""

    @property
    def value(self) -> str: ...


class SupervisorStatus(Protocol):
    """What a supervisor of this process says of itself."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> HasValue: ...
    @property
    def children(self) -> int: ...
    @property
    def restarts(self) -> int: ...
    @property
    def reason(self) -> str | None: ...


class FeedItem(msgspec.Struct, frozen=True):
    """One ledger event on its way to a browser: `position` in the stream, `data` its JSON text without line breaks."""

    position: int
    event: str
    data: bytes


class EventTooOld(BetterFleetError):
    """The stream no longer holds what follows the given position; read the audit trail instead."""


class EventFeed(Protocol):
    """Ledger events of all partitions, as one stream."""

    async def open(self, after: int | None) -> AsyncIterator[FeedItem]:
        """Events behind a position, or from now on. Pulled at the client's pace. Raises EventTooOld, Unavailable."""
        ...


class Readiness(msgspec.Struct, frozen=True):
    """Whether this process can do its work, and what is missing if not."""

    ready: bool
    missing: tuple[str, ...] = ()


ReadinessOf = Callable[[], Readiness | Awaitable[Readiness]]
Statuses = Callable[[], Sequence[SupervisorStatus]]
LastSeen = Callable[[str], datetime | None]
"""When a connect node last said that a charger is connected; None if that is not known here."""
TracedFrames = Callable[[str, str], Sequence[TracedFrame]]
"""What a trace (charger id, trace id) has seen so far, as far as this process heard."""


class ShownOnNode(NamedTuple):
    """What one connect node shows chargers."""

    node: str
    presented: Presented


ShownServerCertificates = Callable[[], Sequence[ShownOnNode]]
ServerForecast = Callable[[Sequence[Certificate]], Awaitable[Forecast]]
"""Who would still verify us under a chain, leaf first. Raises Unavailable."""
Exposition = Callable[[], tuple[bytes, str]]
"""The Prometheus page and its content type."""
