"""The core's actors under the supervision tree: sixteen ledgers, issuance and renewal per purpose, and the key desk."""

from collections.abc import Callable
from dataclasses import dataclass

from actors.issuance.actor import IssuanceActor
from actors.issuance.message import Settled, Wanted
from actors.issuance.ports import IssuancePorts
from actors.key_desk import KeyDesk, KeyDeskPorts
from actors.ledger.actor import LedgerActor, Ports
from actors.publication import ForeignActor, ForeignPorts, PublicationActor, PublicationPorts
from actors.reconciliation import ReconciliationActor, ReconciliationPorts
from actors.renewal import RenewalActor, RenewalPorts, pace_of
from bfactors.effect import (
    CheckForeign,
    Effect,
    IssueCertificate,
    MintKey,
    ReconcileAuthority,
    ReconcileIssuance,
    RevokeCertificate,
    StartRenewal,
    WatchPublication,
)
from bfactors.identity import PARTITIONS
from bfactors.ports import (
    Auditor,
    CertificateIndex,
    Checkpointing,
    CommandDoor,
    EdgeWatch,
    EvidenceLog,
    EvidenceReader,
    ForeignReader,
    IssuedSample,
    KeyVerifiers,
    LedgerStore,
    ListBoard,
    Outbox,
    SecretStore,
)
from bfactors.purpose import purpose as spec_of
from bfactors.purpose import session_purpose
from deploy.role.runtime import Runtime
from gateways.ca.aws_private_ca import AwsPrivateCa
from supervisors.effect_router import EffectRouter
from supervisors.lane import Lane

KEY_DESK = "key-desk"


@dataclass(frozen=True, slots=True)
class PublicationMeans:
    """How core looks at what CAs publish."""

    reader: ForeignReader
    sample: IssuedSample
    board: ListBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class CorePorts:
    """What the core's actors are built on."""

    store: LedgerStore
    reader: EvidenceReader
    commands: CommandDoor
    outbox: Outbox
    evidence_log: EvidenceLog
    authorities: dict[str, AwsPrivateCa]
    auditor: Auditor | None
    index: CertificateIndex
    secrets: SecretStore
    verifiers: KeyVerifiers
    reconciliation_hour_utc: int
    ca_calls_per_s: float
    ocpp_url: Callable[[], str]
    checkpoints: Checkpointing | None = None
    edge: EdgeWatch | None = None
    publication: PublicationMeans | None = None


def child_of(effect: Effect) -> str:
    """Which child carries an effect out."""
    match effect:
        case MintKey():
            return KEY_DESK
        case StartRenewal():
            duty = "renewal"
        case ReconcileIssuance() | ReconcileAuthority():
            duty = "reconciliation"
        case IssueCertificate() | RevokeCertificate():
            duty = "issuance"
        case WatchPublication():
            duty = "publication"
        case CheckForeign():
            duty = "foreign"
    return f"{duty}/{effect.purpose}"


def start_core_actors(runtime: Runtime, owner: str, ports: CorePorts) -> EffectRouter:
    """Place every actor of the core; they begin by themselves as Postgres and NATS come up."""
    router = EffectRouter(child_of, Wanted, Settled)
    for purpose, authority in ports.authorities.items():
        supervisor = runtime.tree.purpose(purpose)
        supervisor.start_child(
            f"issuance/{purpose}",
            _issuance(runtime, purpose, authority, ports),
            router.notified(f"issuance/{purpose}"),
        )
        supervisor.start_child(
            f"renewal/{purpose}",
            _renewal(runtime, purpose, authority, ports),
            router.notified(f"renewal/{purpose}"),
        )
        supervisor.start_child(
            f"reconciliation/{purpose}",
            _reconciliation(runtime, purpose, authority, ports),
            router.notified(f"reconciliation/{purpose}"),
        )
        if ports.publication is not None:
            supervisor.start_child(
                f"publication/{purpose}",
                _publication(runtime, purpose, ports.publication, ports),
                router.notified(f"publication/{purpose}"),
            )
    runtime.tree.purpose(session_purpose().name).start_child(
        KEY_DESK, _key_desk(runtime, ports), router.notified(KEY_DESK)
    )
    if ports.publication is not None:
        name = f"foreign/{session_purpose().name}"
        runtime.tree.purpose(session_purpose().name).start_child(
            name, _foreign(runtime, ports.publication, ports), router.notified(name)
        )
    for partition in range(PARTITIONS):
        runtime.tree.ledger().start_child(
            f"ledger-{partition:02d}", _ledger(runtime, partition, owner, ports, router)
        )
    return router


def _ledger(
    runtime: Runtime, partition: int, owner: str, ports: CorePorts, router: EffectRouter
) -> Callable[[Lane], LedgerActor]:
    def make(lane: Lane) -> LedgerActor:
        return LedgerActor(
            partition,
            owner,
            Ports(
                store=ports.store,
                reader=ports.reader,
                commands=ports.commands,
                outbox=ports.outbox,
                evidence_log=ports.evidence_log,
                effects=router,
                clock=runtime.clock,
                metrics=runtime.metrics,
                ocpp_url=ports.ocpp_url,
                is_current=lane.is_current,
                checkpoints=ports.checkpoints,
                edge=ports.edge,
            ),
        )

    return make


def _key_desk(runtime: Runtime, ports: CorePorts) -> Callable[[Lane], KeyDesk]:
    def make(lane: Lane) -> KeyDesk:
        return KeyDesk(
            KeyDeskPorts(
                secrets=ports.secrets,
                verifiers=ports.verifiers,
                evidence=ports.evidence_log,
                clock=runtime.clock,
            )
        )

    return make


def _issuance(
    runtime: Runtime, purpose: str, authority: AwsPrivateCa, ports: CorePorts
) -> Callable[[Lane], IssuanceActor]:
    def make(lane: Lane) -> IssuanceActor:
        return IssuanceActor(
            purpose,
            IssuancePorts(
                authority=authority,
                revoker=authority,
                evidence=ports.evidence_log,
                clock=runtime.clock,
                metrics=runtime.metrics,
            ),
        )

    return make


def _reconciliation(
    runtime: Runtime, purpose: str, authority: AwsPrivateCa, ports: CorePorts
) -> Callable[[Lane], ReconciliationActor]:
    def make(lane: Lane) -> ReconciliationActor:
        return ReconciliationActor(
            purpose,
            ReconciliationPorts(
                authority=authority,
                auditor=ports.auditor,
                index=ports.index,
                commands=ports.commands,
                evidence=ports.evidence_log,
                clock=runtime.clock,
                metrics=runtime.metrics,
            ),
            hour_utc=_night_of(purpose, ports),
        )

    return make


def _publication(
    runtime: Runtime, purpose: str, means: PublicationMeans, ports: CorePorts
) -> Callable[[Lane], PublicationActor]:
    def make(lane: Lane) -> PublicationActor:
        return PublicationActor(
            purpose,
            PublicationPorts(
                reader=means.reader,
                sample=means.sample,
                board=means.board,
                evidence=ports.evidence_log,
                clock=runtime.clock,
                metrics=runtime.metrics,
            ),
        )

    return make


def _foreign(runtime: Runtime, means: PublicationMeans, ports: CorePorts) -> Callable[[Lane], ForeignActor]:
    def make(lane: Lane) -> ForeignActor:
        return ForeignActor(
            session_purpose().name,
            ForeignPorts(reader=means.reader, evidence=ports.evidence_log, clock=runtime.clock),
        )

    return make


def _night_of(purpose: str, ports: CorePorts) -> int | None:
    """Where a purpose's certificates are not all the ledger's, its CA's list would only look unexplained."""
    if ports.auditor is None or ports.reconciliation_hour_utc < 0:
        return None
    return ports.reconciliation_hour_utc if spec_of(purpose).is_at_charger else None


def _renewal(
    runtime: Runtime, purpose: str, authority: AwsPrivateCa, ports: CorePorts
) -> Callable[[Lane], RenewalActor]:
    def make(lane: Lane) -> RenewalActor:
        return RenewalActor(
            purpose,
            RenewalPorts(
                commands=ports.commands,
                clock=runtime.clock,
                metrics=runtime.metrics,
                room_s=authority.room_s,
            ),
            per_minute=pace_of(ports.ca_calls_per_s, len(ports.authorities)),
        )

    return make
