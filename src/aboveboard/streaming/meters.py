"""What relay and collector count, for Prometheus. Nothing here is about a person."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from aboveboard.clock import Clock

CODES: Final = ("not-found", "not-json", "request-refused", "too-large")
"""Why a message is usually no outcome; counted from 0 on, so that the first one is an increase."""


class RelayMeters:
    """How far the relay is, and how far behind."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._relayed = Counter(
            "aboveboard_relay_events_total", "decisions sent to the topic, duplicates included", registry=registry
        )
        self._unreadable = Counter(
            "aboveboard_relay_unreadable_total",
            "entries that nobody can read any more, mostly of erased persons; no event is made of them",
            registry=registry,
        )
        self._position = Gauge("aboveboard_relay_position", "the next entry of the log to relay", registry=registry)
        self._entries = Gauge("aboveboard_relay_lag_entries", "entries in order, not relayed", registry=registry)
        self._seconds = Gauge(
            "aboveboard_relay_lag_seconds",
            "age of the oldest entry not relayed; 0 when there is none",
            registry=registry,
        )
        self._waiting: datetime | None = None
        self._seconds.set_function(
            lambda: max(0.0, (clock() - self._waiting).total_seconds()) if self._waiting is not None else 0.0
        )

    def stands(self, position: int, sequenced: int, waiting: datetime | None) -> None:
        """Note where the relay is, and of when the oldest entry is that it has not relayed."""
        self._position.set(position)
        self._entries.set(sequenced - position)
        self._waiting = waiting

    def moved(self, decisions: int, unreadable: int) -> None:
        """Note what was relayed."""
        self._relayed.inc(decisions)
        self._unreadable.inc(unreadable)


class CollectorMeters:
    """What became of the outcomes that came in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._outcomes = Counter(
            "aboveboard_collector_outcomes_total",
            "outcomes taken from the topic: recorded, or known already",
            ["result"],
            registry=registry,
        )
        self._rejected = Counter(
            "aboveboard_collector_rejected_total", "messages that were no outcome", ["code"], registry=registry
        )
        self._lag = Gauge(
            "aboveboard_collector_lag_messages", "messages not taken yet", ["partition"], registry=registry
        )
        for code in CODES:
            self._rejected.labels(code)

    def took(self, recorded: int, known: int, rejected: list[str]) -> None:
        """Note a batch: how many are recorded, how many were known, and the codes of the rejected."""
        self._outcomes.labels("recorded").inc(recorded)
        self._outcomes.labels("known").inc(known)
        for code in rejected:
            self._rejected.labels(code).inc()

    def behind(self, lags: dict[int, int]) -> None:
        """Note how many messages wait in each partition that is ours; forget those that are not any more."""
        self._lag.clear()
        for partition, messages in lags.items():
            self._lag.labels(str(partition)).set(messages)
