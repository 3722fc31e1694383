from __future__ import annotations

import pickle

from prometheus_client.parser import text_string_to_metric_families

from aboveboard.serving.gathered import exposition, families_of, together, what_lasts
from aboveboard.serving.metrics import Metrics


def worker(approved: int, *, lag: float, ready: bool) -> Metrics:
    metrics = Metrics(pending=lambda: approved, lag=lambda: lag)
    counts = metrics.of_release("credit-default", "sha256:aa", "champion")
    for _ in range(approved):
        counts.decided("approve", 0.8, ("sex",), ("female",))
        metrics.timed(0.0, 0.0001, 0.0003, 0.004)
    metrics.ready = ready
    return metrics


def values(text: bytes) -> dict[str, float]:
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counts_add_up_and_states_are_the_worst() -> None:
    one, two = (
        pickle.loads(pickle.dumps(families_of(metrics.registry())))  # noqa: S301  as they travel
        for metrics in (worker(3, lag=0.5, ready=True), worker(4, lag=2.0, ready=False))
    )
    found = values(exposition(together([one, two])))
    decided = [value for name, value in found.items() if name.startswith("aboveboard_decisions_total")]
    assert decided == [7]
    assert found["aboveboard_decision_duration_seconds_count[('stage', 'total')]"] == 7
    assert found["aboveboard_journal_pending_records[]"] == 7
    assert found["aboveboard_journal_lag_seconds[]"] == 2.0
    assert found["aboveboard_ready[]"] == 0.0
    assert sum(name.startswith("python_info") for name in found) == 1


def test_together_with_nobody_changes_nothing() -> None:
    families = families_of(worker(3, lag=0.5, ready=True).registry())
    assert values(exposition(together([[], families]))) == values(exposition(families))


def test_totals_outlive_a_worker_and_states_do_not() -> None:
    past = what_lasts(families_of(worker(3, lag=0.5, ready=False).registry()))
    found = values(exposition(together([past, families_of(worker(4, lag=0.1, ready=True).registry())])))
    assert found["aboveboard_ready[]"] == 1.0
    assert found["aboveboard_journal_pending_records[]"] == 4
    assert [value for name, value in found.items() if name.startswith("aboveboard_decisions_total")] == [7]
