"""What the operator and the webhook count, for Prometheus: names and units after its conventions."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from aboveboard.cluster.judgement import Judgement

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class OperatorMetrics:
    """What one operator has done."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciliations = Counter(
            "aboveboard_operator_reconciliations",
            "Looks at a service: settled, waiting (for pods, or for somebody to mend it), or failed and tried again.",
            ["result"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "aboveboard_operator_reconciliation_duration_seconds",
            "How long one look at a service took.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.services = Gauge(
            "aboveboard_operator_services", "Services this operator looks after.", registry=self.registry
        )
        self.acting = Gauge(
            "aboveboard_operator_acting", "Whether this one holds the Lease and acts.", registry=self.registry
        )
        self.queue = Gauge(
            "aboveboard_operator_queue_services",
            "Services that are due and wait for their turn to be looked at.",
            registry=self.registry,
        )
        self.behind = Gauge(
            "aboveboard_operator_watch_behind_seconds",
            "For how long the watch has owed an event; 0 where it owes none.",
            registry=self.registry,
        )
        self.packs = Gauge(
            "aboveboard_operator_policy_packs",
            "Policy packs of the cluster, by whether they can be judged by: valid, or invalid.",
            ["state"],
            registry=self.registry,
        )
        for result in ("settled", "waiting", "failed"):
            self.reconciliations.labels(result)
        self.packs_known(valid=0, invalid=0)

    def looked(self, result: str, seconds: float) -> None:
        """Count one look at a service."""
        self.reconciliations.labels(result).inc()
        self.duration.observe(seconds)

    def packs_known(self, *, valid: int, invalid: int) -> None:
        """Note how the policy packs stand."""
        self.packs.labels("valid").set(valid)
        self.packs.labels("invalid").set(invalid)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class AdmissionMetrics:
    """What one webhook has answered."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "aboveboard_admission_requests",
            "Reviews answered: admitted, refused (with the first rule that did not hold), or broken (no answer).",
            ["verdict", "rule"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "aboveboard_admission_duration_seconds",
            "How long an answer took.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.expiry = Gauge(
            "aboveboard_admission_certificate_expiry_timestamp_seconds",
            "When the certificate that is served ends.",
            registry=self.registry,
        )

    def judged(self, judgement: Judgement) -> None:
        """Count one judgement."""
        rule = judgement.refusals[0].rule if judgement.refusals else ""
        self.requests.labels("admitted" if judgement.admitted else "refused", rule).inc()

    def broke(self) -> None:
        """Count one review that got no answer, which is a refusal under failurePolicy Fail."""
        self.requests.labels("broken", "").inc()

    def certificate_ends(self, moment: datetime) -> None:
        """Note when the certificate in use ends."""
        self.expiry.set(moment.timestamp())

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
