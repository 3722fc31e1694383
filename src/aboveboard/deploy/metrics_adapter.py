"""How prometheus-adapter offers what we record to HorizontalPodAutoscalers: values for its Helm chart.

KEDA asks Prometheus itself and needs none of this.
https://github.com/kubernetes-sigs/prometheus-adapter/blob/master/docs/config.md
"""

from __future__ import annotations

from typing import Any, Final

from aboveboard.cluster.scaling import LATENCY_METRIC, RATE_METRIC
from aboveboard.deploy.manifests import to_yaml

FILE: Final = "prometheus-adapter/values.yaml"
_HEADER: Final = """\
# For the chart of prometheus-adapter: the metrics that HorizontalPodAutoscalers of decision services ask for.
#   helm upgrade --install prometheus-adapter prometheus-community/prometheus-adapter -f values.yaml \\
#     --set prometheus.url=http://prometheus.monitoring.svc --set prometheus.port=9090
"""


def adapter_values() -> dict[str, Any]:
    """Return the values: one rule for each metric, by pod. A pod's value is the sum of its one series."""
    return {"rules": {"default": False, "custom": [_rule(RATE_METRIC), _rule(LATENCY_METRIC)]}}


def adapter_file() -> str:
    """Return the values as a file."""
    return _HEADER + to_yaml([adapter_values()])


def _rule(metric: str) -> dict[str, Any]:
    return {
        "seriesQuery": metric + '{namespace!="",pod!=""}',
        "resources": {"overrides": {name: {"resource": name} for name in ("namespace", "pod")}},
        "name": {"as": metric},
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    }
