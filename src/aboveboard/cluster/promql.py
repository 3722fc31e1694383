"""What is asked of Prometheus, written once: alerts, recorded series, autoscalers and dashboards share these queries.

Each function takes label matchers without braces, e.g. `namespace="lending",job="loans"`, and a window, e.g. `5m`.
Servers only count; rates, quantiles and ratios are made here, after adding up over pods and regions.
"""

from __future__ import annotations

from typing import Final

from aboveboard.models.outcome import OUTCOMES

FAULTS: Final = "data-refused|gate-refused|internal|not-verified|overloaded|spec-invalid|storage-failed|unconfirmed"
"""Codes of problems that are ours and not the caller's: those answered with a status of 500 and above."""
FAVOURABLE: Final = "|".join(sorted(words.favourable for words in OUTCOMES.values()))
LEAST_DECISIONS: Final = 30
"""A group with fewer is nobody's measure: its rate is shown, and nobody is compared with it."""
LEAST_VALUES: Final = 1000
"""Of a feature, in both windows: below it the stability index of ten bins is noise, about 9/n + 9/m of it."""
DRIFTED: Final = 0.25
"""By custom, a population stability index above which something is done."""
LEAST_SHARE: Final = 0.0001
"""What an empty bin counts as: the index has no value at a share of 0."""
UNPUBLISHED_SECONDS: Final = 600
"""A checkpoint is due every few seconds; after so long somebody should look at who publishes."""
SIGNIFICANT: Final = 3.09
"""Standard errors; one-sided 0.001. Strict, since the question is asked anew every few minutes."""
FOUR_FIFTHS: Final = 0.8
"""29 CFR 1607.4(D): a selection rate below four fifths of the highest group's is evidence of adverse impact."""

_POD = "namespace, job, pod"
_ATTRIBUTE = "namespace, job, model, release, track, attribute"
_FEATURE = "namespace, job, model, feature"


def decisions(chosen: str, window: str, *, by: str = "") -> str:
    """Return decisions per second, e.g. by `track, outcome`."""
    return f"{_sum(by)}(rate(aboveboard_decisions_total{{{chosen}}}[{window}]))"


def decisions_per_pod(chosen: str, window: str) -> str:
    """Return decisions per second of each pod."""
    return decisions(chosen, window, by=_POD)


def latency(chosen: str, window: str, quantile: float, *, stage: str = "total", by: str = "") -> str:
    """Return a quantile of the time decisions take, in seconds; `stage` is a pattern."""
    bucket = _series("aboveboard_decision_duration_seconds_bucket", chosen, f'stage=~"{stage}"')
    return f"histogram_quantile({quantile:g}, {_sum(f'{by}, le' if by else 'le')}(rate({bucket}[{window}])))"


def latency_per_pod(chosen: str, window: str) -> str:
    """Return the 99th percentile of each pod, in seconds.

    A pod that decided nothing has no percentile; it counts as fast, or no pod would ever be stopped.
    """
    idle = f"0 * {_sum(_POD)}(aboveboard_ready{{{chosen}}})"
    return f"{latency(chosen, window, 0.99, by=_POD)} >= 0 or {idle}"


def within(chosen: str, window: str, seconds: str) -> str:
    """Return the share of decisions that took at most so many seconds, which must be a bound of the histogram."""
    name, total = "aboveboard_decision_duration_seconds", 'stage="total"'
    fast = _series(f"{name}_bucket", chosen, total, f'le="{seconds}"')
    return f"sum(rate({fast}[{window}])) / sum(rate({_series(f'{name}_count', chosen, total)}[{window}]))"


def refusals(chosen: str, window: str, *, by: str = "code") -> str:
    """Return requests refused per second, by the code of the problem."""
    return f"{_sum(by)}(rate(aboveboard_refused_requests_total{{{chosen}}}[{window}]))"


def fault_share(chosen: str, window: str) -> str:
    """Return the share of requests that failed through our fault; 0 where none did."""
    failed = _series("aboveboard_refused_requests_total", chosen, f'code=~"{FAULTS}"')
    faults = f"(sum(rate({failed}[{window}])) or vector(0))"
    made = decisions(chosen, window)
    # Without the zeros a server that only fails would have no share, and one that never failed would have none.
    return f"{faults} / ({faults} + ({made} or vector(0)) > 0)"


def outcome_share(chosen: str, window: str) -> str:
    """Return the share of each outcome among the decisions of its track."""
    all_of_track = decisions(chosen, window, by="track")
    return f"{decisions(chosen, window, by='track, outcome')} / on (track) group_left () ({all_of_track} > 0)"


def score(chosen: str, window: str, quantile: float) -> str:
    """Return a quantile of the scores of each track."""
    bucket = f"aboveboard_decision_score_bucket{{{chosen}}}"
    return f"histogram_quantile({quantile:g}, sum by (track, le) (rate({bucket}[{window}])))"


def comparisons(chosen: str, window: str) -> str:
    """Return how many requests shadows scored too, by what was decided and what they would have."""
    series = f"aboveboard_shadow_comparisons_total{{{chosen}}}"
    return f"sum by (release, decided, shadowed) (increase({series}[{window}]))"


def reported(chosen: str, window: str) -> str:
    """Return outcomes reported per second, by kind."""
    return f"sum by (kind) (rate(aboveboard_reported_outcomes_total{{{chosen}}}[{window}]))"


def replayed(chosen: str, window: str) -> str:
    """Return requests per second that were answered by an earlier decision."""
    return f"sum(rate(aboveboard_replayed_requests_total{{{chosen}}}[{window}]))"


def journal_lag(chosen: str, *, by: str = "") -> str:
    """Return the age of the oldest record that is not yet durable, in seconds."""
    return f"max{f' by ({by}) ' if by else ' '}(aboveboard_journal_lag_seconds{{{chosen}}})"


def publication_lag(chosen: str, *, by: str = "") -> str:
    """Return the age of the oldest decision that no checkpoint of the log covers, in seconds."""
    return f"max{f' by ({by}) ' if by else ' '}(aboveboard_log_publication_lag_seconds{{{chosen}}})"


def review_cases(chosen: str, *, by: str = "model, state, overdue") -> str:
    """Return decisions that wait for a person. Every server of a model tells of the same cases."""
    return f"max by ({by}) (aboveboard_review_cases{{{chosen}}})"


def group_decisions(chosen: str, window: str) -> str:
    """Return how many decisions were made about each protected group."""
    return f"sum by ({_ATTRIBUTE}, group) (increase(aboveboard_group_decisions_total{{{chosen}}}[{window}]))"


def selection_rate(chosen: str, window: str) -> str:
    """Return the share of favourable outcomes of each protected group; 0 for a group that had none."""
    made = group_decisions(chosen, window)
    favoured = group_decisions(f'{chosen}{"," if chosen else ""}outcome=~"{FAVOURABLE}"', window)
    return f"({favoured} or 0 * {made}) / ({made} > 0)"


def best_rate(rate: str, made: str) -> str:
    """Return the highest selection rate of each attribute, among groups with enough decisions to be a measure."""
    return f"max by ({_ATTRIBUTE}) (({rate}) and ({made}) >= {LEAST_DECISIONS})"


def best_count(rate: str, made: str, best: str) -> str:
    """Return how many decisions that group had; the largest of them where several have the highest rate."""
    return f"max by ({_ATTRIBUTE}) (({made}) and (({rate}) == on ({_ATTRIBUTE}) group_left () ({best})))"


def adverse_impact_ratio(rate: str, best: str) -> str:
    """Return each group's selection rate over the highest of its attribute."""
    return f"({rate}) / on ({_ATTRIBUTE}) group_left () ({best})"


def adverse_impact_z(rate: str, made: str, best: str, many: str) -> str:
    """Return by how many standard errors each group's rate lies below the highest of its attribute.

    The pooled test of two proportions: (p0 - p) / sqrt(P (1 - P) (1/n + 1/n0)), P the rate of both groups together.
    """
    left = f"on ({_ATTRIBUTE}) group_left ()"
    pooled = f"(({rate} * {made} + {left} ({best} * {many})) / ({made} + {left} {many}))"
    return f"-({rate} - {left} {best}) / sqrt({pooled} * (1 - {pooled}) * (1 / {made} + {left} (1 / {many})))"


def stability_index(chosen: str, window: str, before: str) -> str:
    """Return the population stability index of each feature against the same window `before`, e.g. `7d`.

    The sum over bins of (p - q) ln(p / q); by custom, 0.1 asks for a look and 0.25 for action. A bin that was empty
    counts as `LEAST_SHARE`.
    """
    counts = f"sum by ({_FEATURE}, bin) (increase(aboveboard_feature_values_total{{{chosen}}}[{window}]%s))"
    now, then = counts % "", counts % f" offset {before}"
    p = _share(f"({now} or 0 * {then})")
    q = _share(f"({then} or 0 * {now})")
    return f"sum by ({_FEATURE}) (({p} - {q}) * ln({p} / {q}))"


def feature_counts(chosen: str, window: str) -> str:
    """Return how many values of each feature fell into each bin."""
    return f"sum by (feature, bin) (increase(aboveboard_feature_values_total{{{chosen}}}[{window}]))"


def enough_values(chosen: str, window: str, before: str) -> str:
    """Return the features, by `namespace, job, model, feature`, of which both windows saw enough decisions."""
    counts = f"sum by ({_FEATURE}) (increase(aboveboard_feature_values_total{{{chosen}}}[{window}]%s))"
    return " and ".join(f"{counts % offset} >= {LEAST_VALUES}" for offset in ("", f" offset {before}"))


def _share(counts: str) -> str:
    total = f"sum by ({_FEATURE}) ({counts}) > 0"
    return f"clamp_min({counts} / on ({_FEATURE}) group_left () ({total}), {LEAST_SHARE:g})"


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"


def _series(name: str, *matchers: str) -> str:
    return f"{name}{{{','.join(matcher for matcher in matchers if matcher)}}}"
