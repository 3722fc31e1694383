from __future__ import annotations

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aboveboard.serving.metrics import MOST_KINDS, OTHER_KINDS, Metrics


def test_clients_that_make_up_kinds_of_outcomes_make_up_no_series() -> None:
    metrics = Metrics(pending=lambda: 0, lag=lambda: 0.0)
    for number in range(1_000):
        metrics.outcomes[f"kind-{number}"] = 2
    text = generate_latest(metrics.registry()).decode()
    (family,) = [f for f in text_string_to_metric_families(text) if f.name == "aboveboard_reported_outcomes"]
    counts = {sample.labels["kind"]: sample.value for sample in family.samples}
    assert len(counts) == MOST_KINDS + 1
    assert sum(counts.values()) == 2_000
    assert counts["kind-0"] == 2
    assert counts[OTHER_KINDS] == 2 * (1_000 - MOST_KINDS)
