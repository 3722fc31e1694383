"""What the rounds of a command come to: metrics for Prometheus, answers for probes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from aboveboard.clock import Clock

STALLED_SECONDS: Final = 300.0
"""Without the end of a round after which a process counts as stuck.

The longest round there is waits for a turn behind others that wait for brokers, forty seconds each.
"""


class Progress:
    """Follows the rounds of one command; read by other threads than the one that works."""

    def __init__(
        self,
        registry: CollectorRegistry,
        part: Literal["relay", "collector"],
        *,
        clock: Clock,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._timer = timer
        self._ended = timer()
        self._works = False
        self._failures = Counter(
            "aboveboard_streaming_failures_total",
            "rounds that failed and are tried again",
            ["code"],
            registry=registry,
        )
        self._failures.labels("storage-failed")  # so that the first one is an increase
        self._last = Gauge(
            f"aboveboard_{part}_last_round_timestamp_seconds",
            "when a round last worked, also one with nothing to do; 0 before the first",
            registry=registry,
        )

    def worked(self) -> None:
        """Note a round that worked."""
        self._last.set(self._clock().timestamp())
        self._ended, self._works = self._timer(), True

    def failed(self, code: str) -> None:
        """Note a round that failed."""
        self._failures.labels(code).inc()
        self._ended, self._works = self._timer(), False

    def silent_for(self) -> float:
        """Return the seconds since a round ended, or since the beginning."""
        return self._timer() - self._ended

    @property
    def alive(self) -> bool:
        """Whether rounds end, well or not: what is away elsewhere is no reason to be restarted."""
        return self.silent_for() < STALLED_SECONDS

    @property
    def ready(self) -> bool:
        """Whether the last round worked, and was not long ago."""
        return self._works and self.alive
