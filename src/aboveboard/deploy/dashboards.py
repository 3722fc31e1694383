"""What the dashboards show: decisions, fairness, servers, the control plane; the queries are those of the alerts.

Every query is chosen by the variables at the top; `All` matches series without the label, too, so that a Prometheus
outside Kubernetes shows the same.
"""

from __future__ import annotations

import json
from typing import Final

from aboveboard.cluster import promql
from aboveboard.deploy.grafana import Dashboard, Panel, Query, document, of_label, of_list
from aboveboard.serving.metrics import LATENCY_BOUNDS

CHOSEN: Final = 'namespace=~"$namespace",job=~"$service"'
"""What every query is about."""
RELEASED: Final = f'{CHOSEN},model=~"$model",release=~"$release"'
RATE: Final = "$__rate_interval"
"""Grafana's own: four scrapes at least."""

_CHOICES: Final = (
    {"name": "datasource", "type": "datasource", "label": "Prometheus", "query": "prometheus", "hide": 0},
    of_label("namespace", "namespace", "aboveboard_ready"),
    of_label("service", "job", 'aboveboard_ready{namespace=~"$namespace"}'),
)
_RELEASES: Final = (
    of_label("model", "model", f"aboveboard_decisions_total{{{CHOSEN}}}"),
    of_label("release", "release", f'aboveboard_decisions_total{{{CHOSEN},model=~"$model"}}'),
)

DECISIONS: Final = Dashboard(
    "decisions",
    "Decisions",
    "How many, how fast, how they came out, and what was refused.",
    (
        Panel(
            "Decisions per second",
            "All pods together, by the track that decided.",
            (Query(promql.decisions(RELEASED, RATE, by="track"), "{{track}}"),),
            "reqps",
        ),
        Panel(
            "Within the objective",
            "The share of decisions that took at most as long as the objective at the top.",
            (Query(promql.within(CHOSEN, RATE, "$objective"), "within $objective s"),),
            "percentunit",
            limits=((None, "red"), (0.99, "orange"), (0.999, "green")),
            largest=1,
        ),
        Panel(
            "Time of a decision",
            "From the request's first byte parsed to its record durable.",
            (
                *(
                    Query(promql.latency(CHOSEN, RATE, quantile), name)
                    for quantile, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
                ),
                Query("vector($objective)", "objective"),
            ),
            "s",
        ),
        Panel(
            "99th percentile by stage",
            "Where the time goes: read, decide, journal.",
            (Query(promql.latency(CHOSEN, RATE, 0.99, stage="read|decide|journal", by="stage"), "{{stage}}"),),
            "s",
        ),
        Panel(
            "Outcomes by track",
            "The share of each outcome. A challenger that decides otherwise shows here first.",
            (Query(promql.outcome_share(RELEASED, RATE), "{{track}} {{outcome}}"),),
            "percentunit",
            largest=1,
        ),
        Panel(
            "Scores by track",
            "Median and tenths of the calibrated probability of the favourable outcome.",
            tuple(
                Query(promql.score(RELEASED, RATE, quantile), f"{{{{track}}}} {name}")
                for quantile, name in ((0.1, "10 %"), (0.5, "median"), (0.9, "90 %"))
            ),
            "percentunit",
            largest=1,
        ),
        Panel(
            "Refused requests by code",
            "Requests that got a problem document. What a code means: GET /problems/CODE.",
            (Query(promql.refusals(CHOSEN, RATE), "{{code}}"),),
            "reqps",
        ),
        Panel(
            "Failed through our fault",
            "The share of requests that counts against the error budget.",
            (Query(promql.fault_share(CHOSEN, RATE), "faults"),),
            "percentunit",
        ),
        Panel(
            "Shadows: decided and would have decided",
            "Requests of the last day, by the outcome given and the shadow's own.",
            (Query(promql.comparisons(CHOSEN, "1d"), "requests"),),
            kind="table",
        ),
        Panel(
            "Waiting for a person",
            "Decisions in the review queue, by state and by whether their deadline has passed.",
            (Query(promql.review_cases(f'{CHOSEN},model=~"$model"'), "{{state}}, overdue {{overdue}}"),),
        ),
        Panel(
            "Reported outcomes and replays",
            "What became of decisions, by kind, and requests answered by an earlier decision.",
            (
                Query(promql.reported(CHOSEN, RATE), "{{kind}}"),
                Query(promql.replayed(CHOSEN, RATE), "answered again"),
            ),
            "reqps",
        ),
    ),
    (
        *_CHOICES,
        *_RELEASES,
        of_list("objective", "objective, seconds", [f"{bound:g}" for bound in LATENCY_BOUNDS], "0.1"),
    ),
)

_WINDOW: Final = of_list("window", "over", ("1h", "6h", "1d", "7d", "28d"), "7d")
_BEFORE: Final = of_list("before", "against the time before", ("1h", "1d", "7d", "28d"), "7d")
_GROUPED: Final = f'{RELEASED},attribute=~"$attribute"'

_MADE: Final = promql.group_decisions(_GROUPED, "$window")
_RATE: Final = promql.selection_rate(_GROUPED, "$window")

FAIRNESS: Final = Dashboard(
    "fairness",
    "Fairness and drift",
    "How groups fare, with the numbers it stands on, and whether the people are still those the model was made for.",
    (
        Panel(
            "Adverse impact ratio",
            "A group's selection rate over the highest of its attribute, among groups of 30 or more. Below 0.8 is "
            "evidence of adverse impact (29 CFR 1607.4(D)), if it is not chance: look at the counts.",
            (
                Query(
                    promql.adverse_impact_ratio(_RATE, promql.best_rate(_RATE, _MADE)),
                    "{{attribute}} {{group}} {{track}}",
                ),
            ),
            limits=((None, "red"), (promql.FOUR_FIFTHS, "green")),
        ),
        Panel(
            "Selection rate",
            "The share of favourable outcomes of each group.",
            (Query(_RATE, "{{attribute}} {{group}} {{track}}"),),
            "percentunit",
            largest=1,
        ),
        Panel(
            "Decisions and rates by group",
            "What the ratios stand on. A rate of few people says little.",
            (Query(_MADE, "decisions"), Query(_RATE, "selection rate")),
            kind="table",
            width=24,
        ),
        Panel(
            "Drift: population stability index by feature",
            "This window against the same one a while before. By custom 0.1 asks for a look and 0.25 for action; "
            "with n decisions in each window, ten bins give about 18/n by chance.",
            (Query(promql.stability_index(f'{CHOSEN},model=~"$model"', "$window", "$before"), "{{feature}}"),),
            limits=((None, "green"), (0.1, "orange"), (promql.DRIFTED, "red")),
        ),
        Panel(
            "Decisions by feature bin",
            "How many values fell into each bin in the window.",
            (
                Query(
                    promql.feature_counts(f'{CHOSEN},model=~"$model",feature=~"$feature"', "$window"),
                    "{{feature}} {{bin}}",
                ),
            ),
            kind="bargauge",
        ),
    ),
    (
        *_CHOICES,
        *_RELEASES,
        of_label("attribute", "attribute", f"aboveboard_group_decisions_total{{{CHOSEN}}}"),
        of_label("feature", "feature", f"aboveboard_feature_values_total{{{CHOSEN}}}"),
        _WINDOW,
        _BEFORE,
    ),
)

SERVERS: Final = Dashboard(
    "servers",
    "Servers and journal",
    "Whether decisions are durable in time, and what the servers need.",
    (
        Panel(
            "Servers that take requests",
            "Ready pods.",
            (Query(f"sum(aboveboard_ready{{{CHOSEN}}})", "ready"),),
            kind="stat",
            width=6,
            limits=((None, "red"), (1, "green")),
        ),
        Panel(
            "Journal lag",
            "Age of the oldest record that is not yet durable. Nothing is answered before it is.",
            (Query(promql.journal_lag(CHOSEN), "lag"),),
            "s",
            kind="stat",
            width=6,
            limits=((None, "green"), (0.1, "orange"), (1, "red")),
        ),
        Panel(
            "Journal lag by pod",
            "One slow disk stands out.",
            (Query(promql.journal_lag(CHOSEN, by="pod"), "{{pod}}"),),
            "s",
        ),
        Panel(
            "Not yet published",
            "Age of the oldest decision that no checkpoint of the log covers.",
            (Query(promql.publication_lag(CHOSEN, by="pod"), "{{pod}}"),),
            "s",
            limits=((None, "green"), (promql.UNPUBLISHED_SECONDS, "red")),
        ),
        Panel(
            "Records on their way",
            "Handed to the journal and not yet durable.",
            (Query(f"sum by (pod) (aboveboard_journal_pending_records{{{CHOSEN}}})", "{{pod}}"),),
        ),
        Panel(
            "Time until durable",
            "The journal's share of a decision: the disk's word.",
            tuple(
                Query(promql.latency(CHOSEN, RATE, quantile, stage="journal"), name)
                for quantile, name in ((0.5, "median"), (0.99, "99 %"))
            ),
            "s",
        ),
        Panel(
            "CPU by pod",
            "Cores in use.",
            (Query(f"sum by (pod) (rate(process_cpu_seconds_total{{{CHOSEN}}}[{RATE}]))", "{{pod}}"),),
        ),
        Panel(
            "Memory by pod",
            "Held by the process. Its limit is its request.",
            (Query(f"sum by (pod) (process_resident_memory_bytes{{{CHOSEN}}})", "{{pod}}"),),
            "bytes",
        ),
        Panel(
            "Decisions by pod",
            "A pod that gets none is not routed to.",
            (Query(promql.decisions(CHOSEN, RATE, by="pod"), "{{pod}}"),),
            "reqps",
        ),
        Panel(
            "Open files by pod",
            "Connections count.",
            (Query(f"sum by (pod) (process_open_fds{{{CHOSEN}}})", "{{pod}}"),),
        ),
    ),
    _CHOICES,
)

_HERE: Final = 'namespace=~"$namespace"'
"""What the queries of the control plane are about: where it is installed."""
_LOOKS: Final = f"rate(aboveboard_operator_reconciliations_total{{{_HERE}}}[{RATE}])"
_ANSWERS: Final = "aboveboard_admission_requests_total"


def _took(histogram: str) -> tuple[Query, ...]:
    return tuple(
        Query(f"histogram_quantile({quantile}, sum by (le) (rate({histogram}_bucket{{{_HERE}}}[{RATE}])))", name)
        for quantile, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
    )


CONTROL_PLANE: Final = Dashboard(
    "control-plane",
    "Control plane",
    "Whether services become what they say, what is let in, and what is about to end.",
    (
        Panel(
            "Operators that act",
            "One holds the Lease. None: changes wait, and what runs goes on.",
            (Query(f"sum(aboveboard_operator_acting{{{_HERE}}})", "acting"),),
            kind="stat",
            width=6,
            limits=((None, "red"), (1, "green"), (2, "red")),
        ),
        Panel(
            "Services looked after",
            "DecisionServices that the acting operator knows.",
            (Query(f"max(aboveboard_operator_services{{{_HERE}}})", "services"),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Policy packs that are not valid",
            "Each refuses whatever it selects. `kubectl get policypacks -A` says which, and why.",
            (Query(f'max(aboveboard_operator_policy_packs{{{_HERE},state="invalid"}})', "invalid"),),
            kind="stat",
            width=6,
            limits=((None, "green"), (1, "red")),
        ),
        Panel(
            "Certificate of the webhook ends in",
            "It is renewed in its last thirty days. When it has ended everything is refused.",
            (
                Query(
                    f"min(aboveboard_admission_certificate_expiry_timestamp_seconds{{{_HERE}}}) - time()", "ends in"
                ),
            ),
            "s",
            kind="stat",
            width=6,
            limits=((None, "red"), (7 * 86_400, "orange"), (14 * 86_400, "green")),
        ),
        Panel(
            "Looks at services by result",
            "Settled, waiting for pods or for somebody to mend it, or failed and tried again.",
            (Query(f"sum by (result) ({_LOOKS})", "{{result}}"),),
            "ops",
        ),
        Panel(
            "Looks that fail",
            "The share that is tried again: mostly an API server that does not take something.",
            (
                Query(
                    f'sum(rate(aboveboard_operator_reconciliations_total{{{_HERE},result="failed"}}[{RATE}])) '
                    f"/ sum({_LOOKS})",
                    "failed",
                ),
            ),
            "percentunit",
            largest=1,
        ),
        Panel(
            "Services that wait for their turn",
            "Due, and not yet looked at. It rises when a policy pack changes or the operator starts, and falls.",
            (Query(f"max(aboveboard_operator_queue_services{{{_HERE}}})", "waiting"),),
        ),
        Panel(
            "Time of a look",
            "One service judged, compared and brought to what it says.",
            _took("aboveboard_operator_reconciliation_duration_seconds"),
            "s",
        ),
        Panel(
            "The watch is behind",
            "For how long the API server has owed an event. After five minutes the operator is started anew.",
            (Query(f"max(aboveboard_operator_watch_behind_seconds{{{_HERE}}})", "behind"),),
            "s",
            limits=((None, "green"), (300, "red")),
        ),
        Panel(
            "Policy packs",
            "Of the cluster, by whether they can be judged by.",
            (Query(f"max by (state) (aboveboard_operator_policy_packs{{{_HERE}}})", "{{state}}"),),
        ),
        Panel(
            "Reviews by verdict",
            "What the API server asked. Broken ones got no answer, and were refused.",
            (Query(f"sum by (verdict) (rate({_ANSWERS}{{{_HERE}}}[{RATE}]))", "{{verdict}}"),),
            "reqps",
        ),
        Panel(
            "Refusals by rule",
            "The first rule that did not hold, over an hour.",
            (Query(f'sum by (rule) (increase({_ANSWERS}{{{_HERE},verdict="refused"}}[1h]))', "{{rule}}"),),
        ),
        Panel(
            "Time of an answer",
            "The API server waits ten seconds, and then refuses.",
            _took("aboveboard_admission_duration_seconds"),
            "s",
            limits=((None, "green"), (8, "red")),
        ),
    ),
    (_CHOICES[0], of_label("namespace", "namespace", "aboveboard_operator_acting")),
)

DASHBOARDS: Final = (DECISIONS, FAIRNESS, SERVERS, CONTROL_PLANE)


def dashboard_files() -> dict[str, str]:
    """Return the dashboards as JSON files, by name."""
    return {
        f"{dashboard.name}.json": json.dumps(document(dashboard), indent=2, ensure_ascii=False) + "\n"
        for dashboard in DASHBOARDS
    }
