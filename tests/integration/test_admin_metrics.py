"""The table of metrics, the adapter over it, and that the whole product uses only what the table declares."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateways.metrics import (
    LABEL_SETS_AT_MOST,
    METRICS,
    OTHER,
    MetricSpec,
    PrometheusMetrics,
    UndeclaredMetric,
)

ROOT = Path(__file__).parents[2]
ROOMS = ("actors", "gateways", "supervisors", "persistence", "deploy", "dashboards")
KINDS = {"count": "counter", "gauge": "gauge", "observe": "histogram", "gauges": "gauge"}
BY_NAME = {spec.name: spec for spec in METRICS}


def uses() -> Iterator[tuple[str, str, str, tuple[str, ...] | None]]:
    """Every call of a metrics port in the product: (place, method, name, labels or None where they are passed on)."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                owner = ast.unparse(node.func.value)
                if node.func.attr not in KINDS or not owner.endswith("metrics") or not node.args:
                    continue
                if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                    keywords = [keyword.arg for keyword in node.keywords]
                    is_open = None in keywords or node.func.attr == "gauges"
                    labels = None if is_open else tuple(sorted(name for name in keywords if name is not None))
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    yield place, node.func.attr, node.args[0].value, labels


def page(metrics: PrometheusMetrics) -> dict[str, float]:
    text = metrics.exposition()[0].decode()
    return {
        sample.name + "".join(f"[{value}]" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_the_product_counts_is_declared_with_the_same_labels() -> None:
    found = list(uses())
    assert len(found) > 20
    wrong = []
    for place, method, name, labels in found:
        spec = BY_NAME.get(name if name.startswith("bf_") else f"bf_{name}")
        if spec is None or spec.kind != KINDS[method]:
            wrong.append(f"{place}: no {KINDS[method]} is called {name}")
        elif labels is not None and labels != tuple(sorted(spec.labels)):
            wrong.append(f"{place}: {name} has the labels {spec.labels}, not {labels}")
    assert wrong == []


def test_no_metric_is_labelled_by_charger_serial_or_anything_unbounded() -> None:
    allowed = {
        *("family", "profile", "action", "outcome", "direction", "reason", "stage", "purpose", "state"),
        *("partition", "event", "operation", "effect", "kind", "status", "cohort", "role", "source"),
        *("channel", "duty", "key"),  # of a notice; of an AWS role; RSA or ECDSA, of a server certificate
        # few by their nature: four CAs of a purpose, three spans, a table of causes, the rules and kinds of subject of waivers
        *("authority_id", "within", "cause", "rule", "subject"),
    }
    assert {label for spec in METRICS for label in spec.labels} <= allowed


def test_every_metric_is_named_once_and_explained() -> None:
    assert len(BY_NAME) == len(METRICS)
    for spec in METRICS:
        assert spec.name.startswith("bf_")
        assert spec.help
        assert bool(spec.buckets) is (spec.kind == "histogram")


def test_numbers_arrive_on_the_page_under_their_full_name() -> None:
    metrics = PrometheusMetrics(strict=True)
    metrics.count("ocpp_handshakes_started")
    metrics.count("bf_ca_calls_total", 2, outcome="ok", operation="IssueCertificate")
    metrics.gauge("bf_evidence_buffered", 7)
    metrics.observe("bf_ledger_commit_seconds", 0.003)
    shown = page(metrics)
    assert shown["bf_ocpp_handshakes_started_total"] == 1
    assert shown["bf_ca_calls_total[IssueCertificate][ok]"] == 2
    assert shown["bf_evidence_buffered"] == 7
    assert shown["bf_ledger_commit_seconds_bucket[0.005]"] == 1
    assert shown["bf_ledger_commit_seconds_bucket[0.0025]"] == 0
    assert shown["process_resident_memory_bytes"] > 0


def test_each_process_part_counts_for_itself() -> None:
    one, other = PrometheusMetrics(), PrometheusMetrics()
    one.gauge("bf_evidence_buffered", 1)
    assert page(other)["bf_evidence_buffered"] == 0


@pytest.mark.parametrize(
    ("method", "name", "labels"),
    [
        ("count", "bf_nothing", {}),
        ("gauge", "bf_ca_calls_total", {"operation": "x", "outcome": "y"}),
        ("count", "bf_ca_calls_total", {"operation": "x"}),
        ("count", "bf_ca_calls_total", {"operation": "x", "outcome": "y", "charger_id": "CP-1"}),
        ("count", "bf_ca_calls_total", {"operation": "x", "charger_id": "CP-1"}),
        ("gauge", "bf_evidence_buffered", {"charger_id": "CP-1"}),
    ],
)
def test_what_is_not_declared_raises_in_tests_and_is_dropped_in_service(
    method: str, name: str, labels: dict[str, str]
) -> None:
    strict, lenient = PrometheusMetrics(strict=True), PrometheusMetrics()
    with pytest.raises(UndeclaredMetric):
        getattr(strict, method)(name, 1.0, **labels)
    getattr(lenient, method)(name, 1.0, **labels)
    assert page(lenient)["bf_metrics_refused_total"] == 1
    assert "CP-1" not in lenient.exposition()[0].decode()


def test_label_values_that_run_away_are_folded_into_one() -> None:
    metrics = PrometheusMetrics(strict=True)
    for number in range(LABEL_SETS_AT_MOST + 50):
        metrics.count("bf_ocpp_upgrades_refused", reason=f"reason-{number}")
    metrics.count("bf_ocpp_upgrades_refused", reason="reason-1")
    shown = page(metrics)
    assert shown[f"bf_ocpp_upgrades_refused_total[{OTHER}]"] == 50
    assert shown["bf_ocpp_upgrades_refused_total[reason-1]"] == 2
    assert sum(name.startswith("bf_ocpp_upgrades_refused_total") for name in shown) == LABEL_SETS_AT_MOST + 1


def test_a_gauge_read_as_a_whole_forgets_what_is_gone() -> None:
    metrics = PrometheusMetrics(strict=True)
    metrics.gauges(
        "bf_jobs", [({"stage": "issuing", "purpose": "p"}, 3), ({"stage": "held", "purpose": "p"}, 1)]
    )
    metrics.gauges("bf_jobs", [({"stage": "issuing", "purpose": "p"}, 2)])
    shown = page(metrics)
    assert shown["bf_jobs[p][issuing]"] == 2
    assert "bf_jobs[p][held]" not in shown
    metrics.gauges("bf_jobs", [])
    assert not any(name.startswith("bf_jobs[") for name in page(metrics))


def test_a_table_of_its_own_can_be_given() -> None:
    metrics = PrometheusMetrics(strict=True, metrics=[MetricSpec("bf_cups", "gauge", "Cups of coffee")])
    metrics.gauge("cups", 2)
    assert page(metrics)["bf_cups"] == 2
