"""The counts of several workers as those of one server: Prometheus asks one of them and is told about all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

Families = list[Metric]

_ONE_OF_ALL: Final[dict[str, Callable[[float, float], float]]] = {
    "aboveboard_journal_lag_seconds": max,
    "aboveboard_log_publication_lag_seconds": max,
    "aboveboard_ready": min,
    "process_max_fds": min,
    "process_start_time_seconds": min,
    "python_info": max,
}
"""What does not add up. Everything else does: counts, histograms, records on their way, memory."""


def families_of(registry: CollectorRegistry) -> Families:
    """Return every family of a registry as it is now."""
    return list(registry.collect())


def together(workers: Iterable[Families]) -> Families:
    """Return one family for each name, its samples added up over the workers by name and labels."""
    found: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in workers:
        for family in families:
            if family.name not in found:
                found[family.name] = Metric(family.name, family.documentation, family.type, family.unit)
            samples = values.setdefault(family.name, {})
            combine = _ONE_OF_ALL.get(family.name)
            for sample in family.samples:
                place = (sample.name, tuple(sample.labels.items()))
                known = samples.get(place)
                if known is None:
                    samples[place] = sample.value
                else:
                    samples[place] = combine(known, sample.value) if combine else known + sample.value
    for name, family in found.items():
        for (sample_name, labels), value in values[name].items():
            family.add_sample(sample_name, dict(labels), value)
    return list(found.values())


def what_lasts(families: Families) -> Families:
    """Return what still counts of a worker that has ended: a total never falls, what it held is gone."""
    return [family for family in families if family.type in ("counter", "histogram")]


class _Fixed(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def exposition(families: Sequence[Metric]) -> bytes:
    """Return families in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(families))
    return generate_latest(registry)
