"""What Prometheus reads: counts that add up over servers and regions, never rates.

The hot path notes what has happened; it is counted now and then, and the counts get names and labels only when
somebody reads them. Names follow the Prometheus rules: one prefix, base units, `_total` on counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from aboveboard.models import Encoding
from aboveboard.serving.bins import FeatureBins

LATENCY_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. 0.1 is the service level most models declare."""
SCORE_BOUNDS = tuple(step / 20 for step in range(1, 20))
STAGES = ("read", "decide", "journal", "total")
MOST_KINDS = 50
"""Kinds of outcomes with a series of their own."""
OTHER_KINDS = "(other)"
"""What no client can call an outcome."""
_NOTED = 256
"""So many decisions are counted in one go: one by one, counting them took longer than reading them."""


class Histogram:
    """Counts by upper bound, and the sum."""

    __slots__ = ("_edges", "bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self._edges = np.array(bounds)

    def observe(self, values: NDArray[np.float64]) -> None:
        """Count values, shape (n,)."""
        places = np.searchsorted(self._edges, values)
        for place, count in enumerate(np.bincount(places, minlength=len(self.counts)).tolist()):
            self.counts[place] += count
        self.total += float(values.sum())

    def buckets(self) -> list[tuple[str, float]]:
        """Return cumulative counts by upper bound, the last `+Inf`."""
        running = 0
        cumulative = []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            running += count
            cumulative.append((bound, float(running)))
        return cumulative


class ReleaseCounts:
    """The counts of one release on one track. What is noted is counted when somebody asks, or when much was noted."""

    __slots__ = ("_noted", "_noted_scores", "bins", "groups", "model", "outcomes", "release", "scores", "track")

    def __init__(self, model: str, release: str, track: str, encoding: Encoding | None) -> None:
        self.model = model
        self.release = release
        self.track = track
        self.outcomes: dict[str, int] = {}
        self.groups: dict[tuple[str, str, str], int] = {}
        """By attribute, group, outcome."""
        self.scores = Histogram(SCORE_BOUNDS)
        self.bins = FeatureBins(encoding) if encoding is not None else None
        self._noted: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        self._noted_scores: list[float] = []

    def decided(self, outcome: str, score: float, attributes: tuple[str, ...], groups: tuple[str, ...]) -> None:
        """Note one decision, to be counted once for itself and once for each protected attribute."""
        self._noted.append((outcome, attributes, groups))
        self._noted_scores.append(score)
        if len(self._noted) >= _NOTED:
            self.count()

    def looked_like(self, row: NDArray[np.float64]) -> None:
        """Note one row, shape (width,), to be counted by the bins its values fall into."""
        if self.bins is not None:
            self.bins.add(row)

    def count(self) -> None:
        """Count what was noted."""
        if not self._noted:
            return
        for (outcome, attributes, groups), times in Counter(self._noted).items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + times
            for attribute, group in zip(attributes, groups, strict=True):
                key = (attribute, group, outcome)
                self.groups[key] = self.groups.get(key, 0) + times
        self.scores.observe(np.array(self._noted_scores))
        self._noted.clear()
        self._noted_scores.clear()


class Metrics(Collector):
    """All counts of one decision server."""

    def __init__(self, *, pending: Callable[[], int] = lambda: 0, lag: Callable[[], float] = lambda: 0.0) -> None:
        self._releases: dict[tuple[str, str, str], ReleaseCounts] = {}
        self.stages = {stage: Histogram(LATENCY_BOUNDS) for stage in STAGES}
        self._moments: list[tuple[float, float, float, float]] = []
        self.refused: dict[str, int] = {}
        self.outcomes: dict[str, int] = {}
        self.shadow_refusals: dict[tuple[str, str], int] = {}
        self.comparisons: dict[tuple[str, str, str], int] = {}
        self.replayed = 0
        self.searches = {True: 0, False: 0}
        """Searches for alternatives, by whether they ended in time."""
        self.ready = False
        self.publication_lag = 0.0
        self._pending = pending
        self._lag = lag

    def of_release(self, model: str, release: str, track: str, encoding: Encoding | None = None) -> ReleaseCounts:
        """Return the counts of a release on a track; they outlive a reload.

        With the `encoding` of its rows, they are counted by bin, too.
        """
        key = (model, release, track)
        counts = self._releases.get(key)
        if counts is None:
            counts = self._releases[key] = ReleaseCounts(model, release, track, encoding)
        return counts

    def refuse(self, code: str) -> None:
        """Count a request that got a problem document instead of a decision."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def refuse_shadow(self, release: str, code: str) -> None:
        """Count a request that a shadow could not score, its contract being another."""
        key = (release, code)
        self.shadow_refusals[key] = self.shadow_refusals.get(key, 0) + 1

    def compare(self, release: str, decided: str, shadowed: str) -> None:
        """Count what a shadow would have decided beside what was decided."""
        key = (release, decided, shadowed)
        self.comparisons[key] = self.comparisons.get(key, 0) + 1

    def timed(self, started: float, read: float, decided: float, durable: float) -> None:
        """Note how long one decision took, from the moments its stages ended."""
        self._moments.append((started, read, decided, durable))
        if len(self._moments) >= _NOTED:
            self._count_durations()

    def _count_durations(self) -> None:
        if not self._moments:
            return
        moments = np.array(self._moments)
        self._moments.clear()
        for stage, seconds in zip(STAGES, np.diff(moments).T, strict=False):
            self.stages[stage].observe(seconds)
        self.stages["total"].observe(moments[:, -1] - moments[:, 0])

    def registry(self) -> CollectorRegistry:
        """Return a registry with these counts and those of the process, ready to be written out."""
        registry = CollectorRegistry(auto_describe=False)
        for collector in (self, PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            registry.register(collector)
        return registry

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        self._count_durations()
        yield from self._decisions()
        stages = HistogramMetricFamily(
            "aboveboard_decision_duration_seconds",
            "Time a decision took, by stage: read (parse and check the request), decide (score and reasons), "
            "journal (until it is durable), total",
            labels=["stage"],
        )
        for stage, histogram in self.stages.items():
            stages.add_metric([stage], histogram.buckets(), histogram.total)
        yield stages
        refused = CounterMetricFamily(
            "aboveboard_refused_requests", "Requests answered with a problem document, by its code", labels=["code"]
        )
        for code, count in self.refused.items():
            refused.add_metric([code], count)
        yield refused
        comparisons = CounterMetricFamily(
            "aboveboard_shadow_comparisons",
            "Requests a shadow release scored too, by the outcome that was decided and the shadow's own",
            labels=["release", "decided", "shadowed"],
        )
        for pair, count in self.comparisons.items():
            comparisons.add_metric([*pair], count)
        yield comparisons
        shadow_refusals = CounterMetricFamily(
            "aboveboard_shadow_refusals",
            "Requests a shadow release could not score, by the code of the problem",
            labels=["release", "code"],
        )
        for refusal, count in self.shadow_refusals.items():
            shadow_refusals.add_metric([*refusal], count)
        yield shadow_refusals
        outcomes = CounterMetricFamily(
            "aboveboard_reported_outcomes", "Outcomes reported for decisions, by kind", labels=["kind"]
        )
        # Clients make the kinds up: those that came first keep a series of their own.
        counts = list(self.outcomes.items())
        for kind, count in counts[:MOST_KINDS]:
            outcomes.add_metric([kind], count)
        if len(counts) > MOST_KINDS:
            outcomes.add_metric([OTHER_KINDS], sum([count for _, count in counts[MOST_KINDS:]]))
        yield outcomes
        yield CounterMetricFamily(
            "aboveboard_replayed_requests",
            "Requests answered with an earlier decision by idempotency key",
            self.replayed,
        )
        searches = CounterMetricFamily(
            "aboveboard_alternative_searches",
            "Unfavourable decisions for which alternatives were asked for, by whether they were found in time",
            labels=["in_time"],
        )
        for in_time, count in self.searches.items():
            searches.add_metric([str(in_time).lower()], count)
        yield searches
        yield GaugeMetricFamily(
            "aboveboard_journal_pending_records", "Records handed to the journal and not yet durable", self._pending()
        )
        yield GaugeMetricFamily(
            "aboveboard_journal_lag_seconds", "Age of the oldest record that is not yet durable", self._lag()
        )
        yield GaugeMetricFamily(
            "aboveboard_log_publication_lag_seconds",
            "Age of the oldest decision made here that the newest checkpoint of the log does not cover",
            self.publication_lag,
        )
        yield GaugeMetricFamily("aboveboard_ready", "1 where the server takes requests, else 0", float(self.ready))

    def _decisions(self) -> Iterator[Metric]:
        labels = ["model", "release", "track"]
        decisions = CounterMetricFamily(
            "aboveboard_decisions", "Decisions made, by release, track and outcome", labels=[*labels, "outcome"]
        )
        groups = CounterMetricFamily(
            "aboveboard_group_decisions",
            "Decisions made, by protected group. The selection rate of a group is its favourable outcomes over all "
            "its outcomes; the adverse impact ratio is that rate over the reference group's, below 1 where the group "
            "fares worse",
            labels=[*labels, "attribute", "group", "outcome"],
        )
        scores = HistogramMetricFamily(
            "aboveboard_decision_score",
            "Calibrated probability of the favourable outcome, by release and track",
            labels=labels,
        )
        features = CounterMetricFamily(
            "aboveboard_feature_values",
            "Decisions made, by feature and the bin its value falls into; the bins follow from the release",
            labels=[*labels, "feature", "bin"],
        )
        for counts in self._releases.values():
            counts.count()
            who = [counts.model, counts.release, counts.track]
            for outcome, count in counts.outcomes.items():
                decisions.add_metric([*who, outcome], count)
            for key, count in counts.groups.items():
                groups.add_metric([*who, *key], count)
            scores.add_metric(who, counts.scores.buckets(), counts.scores.total)
            for feature, label, count in counts.bins.counts() if counts.bins is not None else ():
                features.add_metric([*who, feature, label], count)
        yield decisions
        yield groups
        yield scores
        yield features
