"""The Protocols through which sibling rooms meet. No bodies; `run.py` wires implementations to users."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol

from bfactors.admission import AdmissionPlace, AdmissionRecord, KeyVerifier, SessionInfo
from bfactors.audit.checkpoint import SignedCheckpoint
from bfactors.audit.note import NoteKey, NoteSignature, SignedNote
from bfactors.audit_report import AuditEntry, ReportRef
from bfactors.authorization_key import AuthorizationKey, Version
from bfactors.ca import AuthorityDescription, IssuedChain, SigningOrder
from bfactors.call_bucket import BucketSize, Grant
from bfactors.charger.former import Former
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.disclosed import Disclosed
from bfactors.evidence import Evidence
from bfactors.frame_trace import TracedFrame
from bfactors.instruction import InstructionOrder
from bfactors.known_certificate import KnownCertificate
from bfactors.ledger_row import AggregateRow, Batch, EffectRow, EventRow, Lease
from bfactors.log_upload import StoredLog, UploadFailed, UploadReceived, UploadTicket
from bfactors.notice import NotifierLease, SealedTarget, Telling
from bfactors.ocpp import Inbound, Outbound
from bfactors.revocation_answer import RevocationAnswer
from bfactors.revocation_list import RevocationList, SeenList
from bfactors.secret import OpenedSecret, SealingKey, SecretName
from bfactors.urgency import Urgency

# ---------------------------------------------------------------- time and numbers


class Clock(Protocol):
    """The only way to the time of day and to ids."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def new_id(self) -> str: ...


class Metrics(Protocol):
    """Counters, gauges and histograms by name; implemented once, over prometheus_client."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None: ...
    def gauge(self, name: str, value: float, **labels: str) -> None: ...
    def observe(self, name: str, value: float, **labels: str) -> None: ...


# ---------------------------------------------------------------- connect: sockets and chargers' actors


class Session(Protocol):
    """One admitted socket. `send` and `close` may be called from any lane; frames leave in order."""

    @property
    def info(self) -> SessionInfo: ...
    def send(self, outbound: Outbound) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def resume_reading(self) -> None:
        """Take up reading again after `ChargerDoor.received` answered False."""
        ...


class ChargerDoor(Protocol):
    """Where the gateway hands sessions and frames to; called on the I/O lane, must not block."""

    def opened(self, session: Session) -> None: ...
    def received(self, session: Session, inbound: Inbound) -> bool:
        """Hand over one frame. False: taken, but stop reading until `session.resume_reading()`."""
        ...

    def closed(self, session: Session, reason: str) -> None: ...


class AdmissionView(Protocol):
    """The admission records in memory; I/O lane only."""

    @property
    def ready(self) -> bool:
        """Whether the first full snapshot has been seen."""
        ...

    @property
    def age_s(self) -> float:
        """Seconds since the view was last known to be current; 0 while the watch is live."""
        ...

    def get(self, charger_id: str) -> AdmissionRecord | None: ...
    def subscribe(self, changed: Callable[[AdmissionRecord], None]) -> None: ...


class EdgeReporter(Protocol):
    """Where the gateway reports what never became a session; folds and rate-limits by itself."""

    def connection_refused(
        self,
        charger_id: str,
        remote_address: str,
        reason: str,
        http_status: int,
        fingerprint_sha256: str | None,
    ) -> None: ...
    def handshake_failed(self, remote_address: str) -> None: ...


class EvidenceLog(Protocol):
    """Publishes evidence; returns once JetStream has acknowledged. Raises Unavailable. Callable from any lane."""

    async def append(self, evidence: Evidence, partition: int | None = None) -> None:
        """The partition is the charger's own unless named; facts without a charger are the fleet's."""
        ...


class Relay(Protocol):
    """Publishes a charger's other traffic; returns once acknowledged. Raises Unavailable. Callable from any lane."""

    async def publish(self, charger_id: str, action: str, message_id: str, payload: bytes) -> None: ...


class Decisions(Protocol):
    """Asks the rest of BetterFleet what to answer a charger. Callable from any lane."""

    async def ask(self, charger_id: str, action: str, message_id: str, payload: bytes) -> bytes:
        """The payload to answer with, not validated. Raises Unavailable: nobody answered in time, or NATS is away."""
        ...


class InstructionInbox(Protocol):
    """Delivers orders addressed to sessions of this node. Callable from any lane; the callback runs on the I/O lane."""

    def listen(self, session_id: str, deliver: Callable[[InstructionOrder], None]) -> None: ...
    def forget(self, session_id: str) -> None: ...


class ControlView(Protocol):
    """Pauses and other fleet control as this node knows it; I/O lane only."""

    def subscribe(self, changed: Callable[[str, bytes], None]) -> None:
        """`changed(key, value)` for every key of the control bucket, past and future."""
        ...


# ---------------------------------------------------------------- core: the ledger


class EvidenceReader(Protocol):
    """Reads one partition's evidence in stream order."""

    def read(self, partition: int, after: int) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """Batches of (stream position, JSON bytes of Evidence), starting after a position, without end."""
        ...


class CommandDoor(Protocol):
    """Serves commands to a partition's owner, and reaches the owner of a partition."""

    async def serve(
        self, partition: int, handle: Callable[[CommandEnvelope], Awaitable[CommandAnswer]]
    ) -> None: ...
    async def withdraw(self, partition: int) -> None: ...
    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        """Raises NotOwner when nobody answers in time."""
        ...


class Outbox(Protocol):
    """What leaves the core after a commit. Every publication may be repeated without harm."""

    async def publish_events(self, rows: Sequence[EventRow]) -> None:
        """Returns when JetStream has acknowledged all. Raises Unavailable."""
        ...

    async def put_admission(self, records: Iterable[AdmissionRecord]) -> AdmissionPlace:
        """Returns a place in the bucket by which all of them, or newer ones, have been written. Raises Unavailable."""
        ...

    async def put_control(self, values: Mapping[str, bytes]) -> None: ...
    async def send_order(self, node: str, order: InstructionOrder) -> None: ...
    @property
    def losses(self) -> int:
        """How often the way out was lost so far. Orders are not acknowledged: those under way may be lost with it."""
        ...


class EdgeWatch(Protocol):
    """Waits until every live connect node has read an admission record, and puts that into evidence. Any lane."""

    def expect(self, charger_id: str, revision: int, place: AdmissionPlace) -> None:
        """The record of that revision was written by that place; said again it changes nothing."""
        ...


class LedgerStore(Protocol):
    """The ledger's tables: the only INSERTs. Every method may raise Unavailable."""

    async def claim(self, partition: int, owner: str, lease: timedelta) -> Lease | None:
        """Take the partition if its lease lapsed or is ours; the epoch grows by 1. None: another owner is alive."""
        ...

    async def renew(self, lease: Lease, duration: timedelta) -> None:
        """Raises Fenced."""
        ...

    async def release(self, lease: Lease) -> None:
        """Let another node claim at once, and leave it the lease's outbox position."""
        ...

    async def load(self, partition: int, keys: Sequence[str]) -> Mapping[str, AggregateRow]: ...
    async def aggregates_after(self, partition: int, key: str, limit: int) -> Sequence[AggregateRow]:
        """The next aggregates in key order, from "" on."""
        ...

    async def chargers_on(self, partition: int, incarnation: str) -> Sequence[str]:
        """The chargers of a partition whose live session is held by that incarnation of a connect node."""
        ...

    async def known_evidence(self, partition: int, ids: Sequence[str]) -> set[str]: ...
    async def idempotent_answer(self, key: str) -> tuple[str, bytes] | None:
        """(request_hash, answer) of an earlier command with this key."""
        ...

    async def key_owner(self, spki_sha256: Sequence[str]) -> Mapping[str, str]: ...
    async def former_certificates(
        self, partition: int, charger_ids: Sequence[str], now: datetime
    ) -> Sequence[Former]:
        """Of these chargers, the managed certificates that have ended and are valid at their CA until after `now`."""
        ...

    async def certificate_docs(
        self, partition: int, certificate_ids: Sequence[str]
    ) -> Mapping[str, bytes]: ...
    async def serial_owner(self, serial_number: str) -> str | None:
        """The charger_id of the live charger with this serial number."""
        ...

    async def identity_holders(self, external_ids: Sequence[str]) -> Mapping[str, str]:
        """Which identity is called each of these now; what nobody is called is left out."""
        ...

    async def outstanding_effects(self, partition: int) -> Sequence[EffectRow]: ...
    async def due(self, partition: int, limit: int) -> Sequence[tuple[str, datetime]]:
        """The earliest timers of a partition, soonest first."""
        ...

    async def commit(self, lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        """Write everything in one transaction and renew the lease; moves the outbox position up to the lease's.

        Raises Fenced or EvidenceKnown (nothing written) or Unavailable.
        """
        ...

    async def events_after(self, partition: int, sequence: int, limit: int) -> Sequence[EventRow]: ...
    async def outbox_done(self, lease: Lease, sequence: int) -> None:
        """Everything up to and including `sequence` has been published."""
        ...


# ---------------------------------------------------------------- core: what convinces an outsider


class Checkpointing(Protocol):
    """Makes checkpoints of a partition for its owner. Callable from any lane."""

    @property
    def every_events(self) -> int: ...
    @property
    def every_s(self) -> float: ...
    async def checkpoint(self, lease: Lease, after: int, hashes: bytes) -> int:
        """Bring the checkpoints up to the lease's sequence; returns how far they are now, which may be short of it.

        `hashes` are those of the rows after sequence `after`, 32 bytes each, as their owner committed them; others are
        read. Raises Unavailable, Fenced, and LedgerCorrupt when what is stored, here or outside, is not what was signed.
        """
        ...


class NoteSigner(Protocol):
    """Signs with every key that signs just now: more than one while a key is replaced. Raises Unavailable."""

    @property
    def keys(self) -> Sequence[NoteKey]: ...
    async def sign(self, text: str) -> Sequence[NoteSignature]: ...


class NoteVerifier(Protocol):
    """Whom we believe."""

    def signed_by(self, note: SignedNote) -> Sequence[NoteKey]:
        """The trusted keys that signed it; none at all if one of them is named and its signature is not good."""
        ...


class CheckpointStore(Protocol):
    """Where signed checkpoints are written outside the database, for good. One loop; each method may raise Unavailable."""

    async def append(self, checkpoint: SignedCheckpoint) -> None:
        """Returns once it is durable. The same again does no harm, another of the same size replaces nothing."""
        ...

    async def held(self, origin: str, partition: int, from_size: int) -> Sequence[SignedCheckpoint]:
        """Those of that size or more, smallest first. What cannot be read is left out; signatures are not looked at."""
        ...

    async def keep_key(self, key: NoteKey) -> None:
        """Write a public key beside them, under its fingerprint."""
        ...


# ---------------------------------------------------------------- core: what chargers ask, and the world outside


class Egress(Protocol):
    """The one way out to addresses that are not in settings. One loop."""

    async def fetch(
        self,
        url: str,
        *,
        size_bytes: int,
        within_s: float,
        body: bytes | None = None,
        content_type: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """What lies at an address of the public Internet; POSTs `body` if there is one, which any 2xx answers well.

        Raises NotFetched.
        """
        ...


class NotificationStore(Protocol):
    """Notices on their way, and which core goes through the events. I/O lane; every method may raise Unavailable."""

    async def hold(self, owner: str, lease_time: timedelta) -> NotifierLease | None:
        """Become or stay the one that goes through the events; None while another one is."""
        ...

    async def release(self, lease: NotifierLease) -> None: ...
    async def take(self, lease: NotifierLease, position: int, tellings: Sequence[Telling]) -> None:
        """Note how far the events have been gone through, with what they led to; twice the same is once. Raises Fenced."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[Telling]: ...
    async def settled(self, telling: Telling, state: str, at: datetime, error: str | None = None) -> None:
        """It is `delivered`, `given-up` or `withdrawn`."""
        ...

    async def failed(self, telling: Telling, next_at: datetime, error: str) -> None: ...


class PublishedEvents(Protocol):
    """The ledger's published events with their positions. I/O lane; raises Unavailable."""

    async def bounds(self) -> tuple[int, int]:
        """The first position there still is, and the last."""
        ...

    def read(self, after: int) -> AsyncGenerator[tuple[int, EventRow], None]: ...


class NoticeSender(Protocol):
    """One channel on which notices leave."""

    async def send(self, target: SealedTarget, telling: Telling) -> None:
        """Returns once it has been taken. Raises NotFetched: it was not, or nobody knows."""
        ...


class EvCertificateBroker(Protocol):
    """Hands a car's request for contract certificates to whoever issues them. One loop.

    A core without a broker does not listen for the question, so the charger gets its Failed at once.
    """

    async def answer(self, question: bytes) -> bytes | None:
        """The payload of Get15118EVCertificate's answer to its payload, within 3.5 s; None: leave it to others."""
        ...


# ---------------------------------------------------------------- core: certificate authorities


class CertificateAuthority(Protocol):
    """Makes certificates. Callable from any lane; each call is sent once, repeating it is the caller's business.

    Every method raises the tree of `bfactors.ca`.
    """

    async def issue(self, order: SigningOrder) -> str:
        """Ask for a certificate; returns the CA's name for it. The same order within the token's window names the same."""
        ...

    async def fetch(
        self, authority_arn: str, external_ref: str, *, urgency: Urgency = Urgency.ROUTINE
    ) -> IssuedChain:
        """The certificate once it is made, also an expired or revoked one. Raises NotReady before that."""
        ...

    async def describe(self, authority_arn: str) -> AuthorityDescription:
        """The CA itself: whether it signs, until when, with what, under which root."""
        ...


class Revoker(Protocol):
    """The further power of a CA that can take certificates back. Callable from any lane."""

    async def revoke(
        self, authority_arn: str, serial_number: str, reason: str, *, is_incident: bool = False
    ) -> None:
        """`serial_number` is lower hex, `reason` as the API names it; what an incident wants goes first.

        Raises AlreadyDone and the rest of `bfactors.ca`.
        """
        ...


class RevocationReader(Protocol):
    """Reads what issuers say to everybody about revoked certificates. Callable from any lane.

    Both raise NotFetched, and NotBelieved for what is not the issuer's proven word.
    """

    async def list_at(self, address: str, issuer_pem: str) -> RevocationList:
        """The issuer's list as it lies there now, stale or not."""
        ...

    async def answer_at(self, address: str, issuer_pem: str, serial_number: str) -> RevocationAnswer:
        """What the issuer's responder says now."""
        ...


class ForeignReader(RevocationReader, Protocol):
    """Of certificates that others issued."""

    async def issuer_of(self, chain_pem: str) -> str | None:
        """The certificate that signed the first of a chain, from beside it or from settings; None: it is not at hand."""
        ...


class IssuedSample(Protocol):
    """Callable from any lane."""

    async def newest_issued(self, purpose: str) -> Sequence[tuple[str, str]]:
        """Of each CA with certificates in use, the one that ends last: the CA's ARN, and the chain. Raises Unavailable."""
        ...


class ListBoard(Protocol):
    """Where it is noted how each CA's revocation list stood when it was last read. Callable from any lane."""

    def note(self, authority_arn: str, seen: SeenList) -> None: ...


class Auditor(Protocol):
    """The further power of a CA that lists what it signed. Callable from any lane; raises the tree of `bfactors.ca`."""

    async def report(self, authority_arn: str, since: datetime) -> ReportRef:
        """A finished report made at `since` or later, whoever asked for it; a new one if need be.

        Raises NotReady while the CA makes one, or makes none yet: it limits how often.
        """
        ...

    def entries(self, report: ReportRef) -> AsyncGenerator[Sequence[AuditEntry], None]:
        """Everything the CA signed, in batches."""
        ...


class ReportShelf(Protocol):
    """Where the nodes find each other's reports: a CA makes few. Raises Unavailable."""

    async def latest(self, authority_arn: str) -> ReportRef | None: ...
    async def put(self, report: ReportRef) -> None:
        """Keeps the newer of two."""
        ...


class CallBucket(Protocol):
    """Calls that all nodes take from one place. Callable on the I/O lane; raises Unavailable."""

    async def take(
        self, scope: str, operation: str, *, size: BucketSize, wanted: int, kept_back: float
    ) -> Grant:
        """Take up to `wanted` calls, leaving `kept_back` of the bucket."""
        ...


class CertificateIndex(Protocol):
    """The ledger's certificates as others see them. Callable from any lane; every method may raise Unavailable."""

    async def by_serial(self, serial_numbers: Sequence[str]) -> Mapping[str, KnownCertificate]: ...
    async def of_purpose(
        self, purpose: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[KnownCertificate]:
        """Those that were issued to us, ordered by (not_after, certificate_id), from behind a key on."""
        ...

    async def charger_of_key(self, spki_sha256: str) -> str | None:
        """The charger whose CSR first showed a key."""
        ...


# ---------------------------------------------------------------- logs of chargers


class UploadTickets(Protocol):
    """Who may upload a log, and what became of it. Called on the loop of the receiver; every method may raise Unavailable."""

    async def claim(self, ticket_hash: str) -> UploadTicket | None:
        """The ticket, if it is known and not used up. A look-up: it marks nothing, and a crash leaves nothing to clear."""
        ...

    async def finished(self, received: UploadReceived) -> bool:
        """A complete log is stored; returns once that is recorded, and the ticket is used up.

        False: another upload used it first, and this one is to be deleted. The same fact twice is True twice.
        """
        ...

    async def failed(self, failure: UploadFailed) -> None:
        """An upload ended without a log."""
        ...


class LogWriter(Protocol):
    """One log being written, invisible until `finish`."""

    async def write(self, chunk: bytes) -> None:
        """Raises Unavailable."""
        ...

    async def finish(self, sha256: str) -> None:
        """Make the log durable, then visible under its name. Raises Unavailable: it may or may not have become visible."""
        ...

    async def abandon(self) -> None:
        """Leave nothing behind, as far as the store can be reached; raises nothing, also after `finish` or twice."""
        ...


class OpenLog(Protocol):
    """One stored log being read."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The content, once. Raises Unavailable."""
        ...

    async def close(self) -> None: ...


class LogStore(Protocol):
    """Where logs lie until their retention ends. One loop; every method may raise Unavailable."""

    async def begin(self, stored_name: str) -> LogWriter:
        """Start a log under a name of `bfactors.log_upload.stored_name`. Raises ValueError for any other."""
        ...

    async def open_log(self, stored_name: str) -> OpenLog | None: ...
    async def stored(self) -> Sequence[StoredLog]:
        """Every visible log with its size, in order of name."""
        ...

    async def delete(self, stored_name: str) -> bool:
        """Whether there was such a log."""
        ...

    async def expire(self, older_than: datetime) -> Sequence[StoredLog]:
        """Delete what was stored before `older_than`; returns what went."""
        ...


class TraceSink(Protocol):
    """Takes what is seen of chargers under trace."""

    def saw(self, charger_id: str, frame: TracedFrame) -> None:
        """Called on the I/O lane for each frame; must not wait or raise."""
        ...


# ---------------------------------------------------------------- secrets


class KeyVerifiers(Protocol):
    """Makes what admission compares AuthorizationKeys with; the pepper stays inside. Any lane."""

    def verifiers_of(
        self,
        key: AuthorizationKey,
        versions: Iterable[Version],
        *,
        generation: int,
        state: Literal["active", "pending"] = "active",
    ) -> tuple[KeyVerifier, ...]: ...


class KeyCustody(Protocol):
    """Where sealing keys come from: never the database, NATS or a log. Raises Unavailable."""

    async def sealing_key(self) -> SealingKey:
        """The newest key, to seal with."""
        ...

    async def opening_key(self, key_id: str, wrapped: bytes) -> SealingKey:
        """The key that sealed something, as its `key_id` and `wrapped` say."""
        ...


class SecretStore(Protocol):
    """Secrets on their way, sealed in the database; core only, I/O lane only. Every method may raise Unavailable.

    A secret is stored before the command that names it is sent, with an expiry in case that command never commits.
    """

    async def put(self, name: SecretName, disclosed: Disclosed, expires_at: datetime | None) -> bool:
        """False: a live secret has this id already and stays as it is, so that a repeated command finds its own."""
        ...

    async def open(self, secret_id: str) -> OpenedSecret | None:
        """None: gone. Raises LedgerCorrupt when the row is not as it was sealed."""
        ...

    async def reseal(self, secret_id: str, expires_at: datetime | None) -> bool:
        """Give it another expiry (None: kept until deleted). False: gone."""
        ...

    async def delete(self, secret_id: str) -> bool: ...
    async def expire(self) -> int:
        """Delete what is past its time; how many that were."""
        ...


class PersonalIdentifiers(Protocol):
    """What pseudonyms stand for, sealed; core only, I/O lane only. Every method may raise Unavailable.

    A value is put before the command that names its pseudonym is sent; the commit that erases it deletes it.
    """

    async def put(self, pseudonym: str, kind: str, value: Disclosed, now: datetime) -> None:
        """What is there already stays, and counts as used now."""
        ...

    async def open(self, pseudonyms: Sequence[str]) -> Mapping[str, Disclosed]:
        """What of these is still there. Raises LedgerCorrupt."""
        ...

    async def sweep_unwanted(self, used_before: datetime, limit: int) -> int:
        """Delete values no identity bears (any more), unless used since; how many."""
        ...

    async def sweep_retired(self, retired_before: datetime, limit: int) -> int:
        """Delete values whose last bearer was retired before that; how many."""
        ...


class RetentionStore(Protocol):
    """What can be deleted when its time is over; core only, I/O lane only. Raises Unavailable."""

    async def begin(self, now: datetime, every: timedelta) -> bool:
        """Whether this round is the caller's: nobody in the system began one within `every`."""
        ...

    async def sweep(self, kind: str, before: datetime, limit: int) -> int:
        """Delete up to `limit` records of a kind (`bfactors.retention`) that are older; how many."""
        ...


class SecretSource(Protocol):
    """How connect comes by a secret that an instruction names: once for each send, kept nowhere. Any lane."""

    async def fetch(
        self, secret_id: str, charger_id: str, session_id: str, generation: int | None = None
    ) -> Disclosed | None:
        """None: settled, expired, of another generation or not that charger's. Raises Unavailable: ask again later."""
        ...
