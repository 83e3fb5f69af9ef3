"""Numbers over prometheus_client: the one place that knows it, with every metric's name, labels and meaning in one table.

A name without `bf_` is taken to begin with it; on the page every counter ends with `_total`, also one not written so here.
No label holds a charger's id or serial; a metric whose label values run away all the same is folded into `_other` past a
bound, so that no client can fill the memory of Prometheus.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_LOG = logging.getLogger(__name__)

PREFIX = "bf_"
LABEL_SETS_AT_MOST = 1000
OTHER = "_other"

Kind = Literal["counter", "gauge", "histogram"]

_CALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COMMIT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class MetricSpec(msgspec.Struct, frozen=True):
    """One metric: what it counts and under which labels. `buckets` only for histograms."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: tuple[MetricSpec, ...] = (
    # connect
    MetricSpec("bf_sessions", "gauge", "Open OCPP sessions", ("family", "profile")),
    MetricSpec(
        "bf_exchanges_total", "counter", "Finished OCPP exchanges", ("action", "outcome", "direction")
    ),
    MetricSpec("bf_exchange_seconds", "histogram", "From call to answer", ("action",), _CALL_S),
    MetricSpec("bf_mailbox_depth_max", "gauge", "Fullest mailbox of a family's chargers so far", ("family",)),
    MetricSpec("bf_evidence_buffered", "gauge", "Evidence that waits for NATS"),
    MetricSpec(
        "bf_admission_age_seconds",
        "gauge",
        "Since the admission records were known to be current; +Inf: never",
    ),
    MetricSpec("bf_admission_records", "gauge", "Admission records in memory"),
    MetricSpec("bf_nats_connected", "gauge", "Whether NATS is reached (1) or not (0)", ("role",)),
    MetricSpec("bf_nats_publications_waiting", "gauge", "Publications not acknowledged yet", ("role",)),
    MetricSpec("bf_ocpp_frames_refused", "counter", "Frames answered with CALLERROR", ("reason",)),
    MetricSpec("bf_ocpp_answers_dropped", "counter", "Answers nobody had asked for", ("reason",)),
    MetricSpec("bf_ocpp_answers_refused", "counter", "Answers of ours that a charger could not use"),
    MetricSpec("bf_ocpp_decisions_unusable", "counter", "Decisions that broke their schema", ("action",)),
    MetricSpec("bf_ocpp_sockets_not_upgraded", "gauge", "Sockets before their WebSocket upgrade"),
    MetricSpec("bf_ocpp_sockets_refused", "counter", "Sockets turned away at the door", ("reason",)),
    MetricSpec("bf_ocpp_handshakes_started", "counter", "TLS handshakes begun"),
    MetricSpec("bf_ocpp_handshakes_failed", "counter", "TLS handshakes that ended before the upgrade"),
    MetricSpec("bf_ocpp_trace_frames_lost", "counter", "Frames under trace that reached nobody"),
    MetricSpec("bf_ocpp_upgrades_refused", "counter", "Upgrades refused", ("reason",)),
    MetricSpec("bf_ocpp_sessions_opened", "counter", "Sessions opened"),
    MetricSpec("bf_ocpp_sessions_closed", "counter", "Sessions ended", ("reason",)),
    MetricSpec("bf_ocpp_sessions_cut", "counter", "Sessions cut for what their record became", ("reason",)),
    MetricSpec("bf_log_uploads", "counter", "Log uploads ended or turned away", ("outcome",)),
    MetricSpec("bf_log_upload_bytes", "counter", "Bytes of stored log uploads"),
    MetricSpec("bf_log_uploads_open", "gauge", "Log uploads under way"),
    MetricSpec("bf_log_stored_bytes", "gauge", "Bytes of logs in the store, as this process counts them"),
    # core
    MetricSpec("bf_jobs", "gauge", "Open certificate jobs", ("stage", "purpose")),
    MetricSpec("bf_jobs_overdue", "gauge", "Open certificate jobs past their time", ("purpose",)),
    MetricSpec("bf_waivers", "gauge", "Waivers in force", ("subject", "purpose", "rule")),
    MetricSpec("bf_approvals_open", "gauge", "What waits for a second person", ("kind",)),
    MetricSpec("bf_certificates", "gauge", "Certificates by state", ("purpose", "state")),
    MetricSpec(
        "bf_lockout_chargers",
        "gauge",
        "Chargers that could not connect any more, by then, unless somebody reaches them",
        ("family", "cause", "within"),
    ),
    MetricSpec("bf_ledger_batch_messages", "histogram", "Messages in one commit", (), _BATCH),
    MetricSpec("bf_ledger_commit_seconds", "histogram", "Duration of one commit", (), _COMMIT_S),
    MetricSpec("bf_ledger_outbox_lag", "gauge", "Events committed but not yet published", ("partition",)),
    MetricSpec("bf_ledger_pending", "gauge", "Messages that wait for their commit", ("partition",)),
    MetricSpec("bf_checkpoint_lag", "gauge", "Events under no checkpoint yet", ("partition",)),
    MetricSpec("bf_checkpoints_total", "counter", "Checkpoints by what became of them", ("outcome",)),
    MetricSpec("bf_ledger_events_total", "counter", "Ledger events recorded", ("event",)),
    MetricSpec("bf_ca_calls_total", "counter", "Calls to a CA", ("operation", "outcome")),
    MetricSpec("bf_server_certificate_end_seconds", "gauge", "When it ends (Unix time)", ("key",)),
    MetricSpec("bf_server_certificates_kept_back", "gauge", "Server certificates that are not shown"),
    MetricSpec("bf_aws_role_findings", "gauge", "Things a role could do that it must not", ("duty",)),
    MetricSpec("bf_aws_role_verified", "gauge", "1 if AWS told what the role may do", ("duty",)),
    MetricSpec("bf_ca_call_seconds", "histogram", "Duration of a call to a CA", ("operation",), _CALL_S),
    MetricSpec(
        "bf_ca_bucket_cut_off",
        "gauge",
        "1: calls are taken from this node's small share, not from the shared bucket",
    ),
    MetricSpec(
        "bf_issuance_reconciliation_waiting",
        "gauge",
        "Attempts in doubt that wait for a report",
        ("purpose",),
    ),
    MetricSpec(
        "bf_issuance_reconciled_total",
        "counter",
        "Attempts in doubt, and what was found",
        ("purpose", "outcome"),
    ),
    MetricSpec(
        "bf_reconciliation_differences",
        "gauge",
        "What a CA and the ledger do not say the same of",
        ("purpose", "authority_id", "kind"),
    ),
    MetricSpec(
        "bf_reconciliation_report_timestamp_seconds",
        "gauge",
        "When the last report compared was made",
        ("purpose", "authority_id"),
    ),
    MetricSpec(
        "bf_authority_expiry_timestamp_seconds", "gauge", "When a CA ends", ("purpose", "authority_id")
    ),
    MetricSpec("bf_authority_active", "gauge", "Whether a CA signs", ("purpose", "authority_id")),
    MetricSpec(
        "bf_ca_rollover_step_timestamp_seconds", "gauge", "When a rollover's step began", ("purpose",)
    ),
    MetricSpec("bf_issuance_waiting", "gauge", "Effects that wait for their turn", ("purpose", "effect")),
    MetricSpec("bf_revocations_unpublished", "gauge", "Revocations no list names yet", ("purpose",)),
    MetricSpec("bf_revocation_list_age_seconds", "gauge", "Age of the CA's list as last read", ("purpose",)),
    MetricSpec(
        "bf_revocation_list_fresh_seconds", "gauge", "Until the CA's list should be replaced", ("purpose",)
    ),
    MetricSpec("bf_revocation_reads_total", "counter", "Lists and answers read", ("purpose", "outcome")),
    MetricSpec("bf_renewal_waiting", "gauge", "Renewals that wait for their turn", ("purpose",)),
    MetricSpec("bf_renewals_started_total", "counter", "Renewals asked for", ("purpose", "outcome")),
    MetricSpec("bf_egress_requests_total", "counter", "Requests to addresses outside", ("outcome",)),
    MetricSpec("bf_egress_seconds", "histogram", "Duration of a request to an address outside", (), _CALL_S),
    MetricSpec("bf_notices_total", "counter", "Notices by what became of them", ("channel", "outcome")),
    MetricSpec("bf_retention_deleted_total", "counter", "Records deleted past their time", ("kind",)),
    MetricSpec("bf_certificate_status_total", "counter", "Questions about revocation", ("source", "outcome")),
    # both
    MetricSpec("bf_supervisor_restarts_total", "counter", "Restarts by a supervisor", ("kind",)),
    MetricSpec("bf_admin_requests_total", "counter", "Admin requests answered", ("operation", "status")),
    MetricSpec(
        "bf_admin_request_seconds", "histogram", "Duration of an admin request", ("operation",), _CALL_S
    ),
    MetricSpec("bf_admin_streams", "gauge", "Open event streams"),
    MetricSpec("bf_metrics_refused_total", "counter", "Observations no metric is declared for"),
)


class UndeclaredMetric(ValueError):
    """A name, kind or label that the table does not hold; a programming error."""


class PrometheusMetrics:
    """`bfactors.ports.Metrics`; any thread. `strict` (in tests) raises UndeclaredMetric, else such a number is dropped."""

    def __init__(self, *, strict: bool = False, metrics: Iterable[MetricSpec] = METRICS) -> None:
        self._strict = strict
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._families: dict[str, _Family] = {}
        for spec in metrics:
            self._families[spec.name] = _Family(spec, self.registry)

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        child = self._child(name, "counter", labels)
        if isinstance(child, Counter):
            child.inc(amount)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        child = self._child(name, "gauge", labels)
        if isinstance(child, Gauge):
            child.set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        child = self._child(name, "histogram", labels)
        if isinstance(child, Histogram):
            child.observe(value)

    def gauges(self, name: str, values: Iterable[tuple[Mapping[str, str], float]]) -> None:
        """Set a gauge for exactly these labels: what is not named any more disappears (for counts read as a whole)."""
        family = self._family(name, "gauge")
        if family is not None:
            present = [(dict(labels), value) for labels, value in values]
            for labels, value in present:
                self.gauge(name, value, **labels)
            family.forget_others({family.values(labels) for labels, _ in present})

    def exposition(self) -> tuple[bytes, str]:
        """The page Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _child(self, name: str, kind: Kind, labels: Mapping[str, str]) -> Counter | Gauge | Histogram | None:
        family = self._family(name, kind)
        if family is None:
            return None
        values = family.values(labels)
        if values is None:
            self._refused(f"{family.spec.name} has the labels {family.spec.labels}, not {sorted(labels)}")
            return None
        return family.child(values)

    def _family(self, name: str, kind: Kind) -> "_Family | None":
        known = self._families.get(name)
        if known is not None and known.spec.kind == kind:
            return known
        full = name if name.startswith(PREFIX) else PREFIX + name
        family = self._families.get(full)
        if family is None or family.spec.kind != kind:
            self._refused(f"there is no {kind} called {full}")
            return None
        return family

    def _refused(self, why: str) -> None:
        if self._strict:
            raise UndeclaredMetric(why)
        refused = self._families.get("bf_metrics_refused_total")
        child = refused.child(()) if refused is not None else None
        if isinstance(child, Counter):
            child.inc()
        _LOG.debug("a number was dropped: %s", why)


class _Family:
    """One metric with its children by label values. Lookups are a dictionary's: they lie on every frame's way."""

    __slots__ = ("_children", "_family", "spec")

    def __init__(self, spec: MetricSpec, registry: CollectorRegistry) -> None:
        self.spec = spec
        self._children: dict[tuple[str, ...], Counter | Gauge | Histogram] = {}
        self._family: Counter | Gauge | Histogram
        match spec.kind:
            case "counter":
                self._family = Counter(spec.name, spec.help, spec.labels, registry=registry)
            case "gauge":
                self._family = Gauge(spec.name, spec.help, spec.labels, registry=registry)
            case "histogram":
                self._family = Histogram(
                    spec.name, spec.help, spec.labels, registry=registry, buckets=spec.buckets
                )

    def values(self, labels: Mapping[str, str]) -> tuple[str, ...] | None:
        """The label values in the table's order; None if the labels are not the table's."""
        if len(labels) != len(self.spec.labels):
            return None
        try:
            return tuple([labels[name] for name in self.spec.labels])
        except KeyError:
            return None

    def child(self, values: tuple[str, ...]) -> Counter | Gauge | Histogram:
        if not values:
            return self._family
        child = self._children.get(values)
        if child is None:
            if len(self._children) >= LABEL_SETS_AT_MOST:
                values = (OTHER,) * len(values)
            child = self._children[values] = self._family.labels(*values)
        return child

    def forget_others(self, kept: set[tuple[str, ...] | None]) -> None:
        """Take every child away but these; a reader of the page never misses one that stays."""
        for values in [values for values in self._children if values not in kept]:
            del self._children[values]
            self._family.remove(*values)
