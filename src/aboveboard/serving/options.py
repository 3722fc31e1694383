"""How one decision server is run: every setting, its default, and what does not go together."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aboveboard.errors import Misuse
from aboveboard.serving import telemetry
from aboveboard.serving.recorder import DEADLINE_SECONDS, LARGEST_BACKLOG
from aboveboard.serving.tracks import ArmPlan, TrackPlan
from aboveboard.settings import LogSettings

CHECKPOINT_SECONDS: Final = 1.0
MOST_WORKERS: Final = 64
DRAIN_SECONDS: Final = 25
"""A little less than the 30 seconds Kubernetes grants between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How one decision server is run."""

    release: str
    """The champion: a digest, or any other reference the release store knows."""
    challenger: str | None = None
    weight: float = 0
    """The challenger's share of subjects, in per cent."""
    shadows: tuple[str, ...] = ()
    arms: tuple[ArmPlan, ...] = ()
    """Releases that decide about a share of subjects each, under names of their own."""
    tracks_by: str | None = None
    """Who alone says which releases are in service, in words; what is asked over HTTP is refused then."""
    clients: Path | None = None
    """API keys and roles; without them or an identity provider, only this machine is answered."""
    identity: Path | None = None
    """Whose tokens are believed, and what they allow."""
    host: str = "127.0.0.1"
    port: int = 8080
    """0 for any free port."""
    grpc_port: int = 0
    """Where the Open Inference Protocol is spoken over gRPC; 0 for nowhere."""
    certificate: Path | None = None
    """The server's certificate chain, PEM; with it, only TLS is spoken."""
    certificate_key: Path | None = None
    client_authority: Path | None = None
    """Whose certificates clients must have (mutual TLS), beside their keys."""
    origin: str = "aboveboard.local/log"
    """The name of the audit log on its checkpoints."""
    log: LogSettings = field(default_factory=LogSettings)
    """Where the log is, if not in the home: on a database, many servers write one log."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    drain_seconds: int = DRAIN_SECONDS
    largest_backlog: int = LARGEST_BACKLOG
    """Decisions on their way to the disk, beyond which more are answered 503."""
    deadline_seconds: float = DEADLINE_SECONDS
    """How long a decision may wait for the disk before its client is told to ask again."""
    keep_alive_seconds: int = 75
    """How long a connection may be quiet: longer than a load balancer's, so that it is never us who hang up first."""
    workers: int = 1
    """How many processes answer, each with a journal of its own: one for each core."""
    lane: bool = True
    """Whether decisions bypass ASGI (see lane.py); off, they are answered by the ASGI application alike."""
    traces: bool = False
    """Whether traces are sent, to where and as the OpenTelemetry variables of the environment say."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MOST_WORKERS:
            raise Misuse(f"from 1 to {MOST_WORKERS} workers", hint="one for each core")
        if (self.certificate is None) != (self.certificate_key is None):
            raise Misuse("a certificate and its key go together", hint="name both")
        if self.client_authority is not None and self.certificate is None:
            raise Misuse("client certificates need TLS", hint="name the server's certificate and key, too")
        if self.grpc_port and importlib.util.find_spec("grpc") is None:
            raise Misuse("gRPC needs the package grpcio", hint="pip install 'aboveboard[grpc]'")
        if self.traces:
            telemetry.require_exporter()

    @property
    def plan(self) -> TrackPlan:
        """Return the tracks to start with."""
        return TrackPlan(self.release, self.challenger, self.weight, list(self.shadows), list(self.arms))
