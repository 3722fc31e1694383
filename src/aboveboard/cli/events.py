"""`aboveboard events`: decisions from the log to Kafka, and outcomes from Kafka into the log."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from rich.markup import escape

from aboveboard.cli.app import json_always, json_option, output_of
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import Misuse

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from aboveboard.streaming.kafka import KafkaSettings
    from aboveboard.streaming.progress import Progress

DECISIONS, OUTCOMES, REJECTED = "aboveboard.decisions", "aboveboard.outcomes", "aboveboard.outcomes.rejected"
F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(name="events")
def command() -> None:
    """Copy decisions from the log to Kafka, and take outcomes from Kafka into the log.

    Both run in the foreground beside the decision servers, need the same ABOVEBOARD_LOG_… settings, and can be
    killed at any time: nothing is lost, and duplicates can be told.
    """


def kafka_options(function: F) -> F:
    """Add what both directions need, as `settings`, and where metrics are answered."""

    @wraps(function)
    def wrapped(
        *arguments: Any,
        brokers: str,
        authority: Path | None,
        certificate: Path | None,
        certificate_key: Path | None,
        properties: Path | None,
        **options: Any,
    ) -> Any:
        from aboveboard.streaming.kafka import KafkaSettings, require

        require()
        settings = KafkaSettings(brokers, authority, certificate, certificate_key, properties)
        return function(*arguments, settings=settings, **options)

    for option in reversed(
        [
            click.option(
                "--brokers", envvar="ABOVEBOARD_KAFKA_BROKERS", required=True, help="HOST:PORT[,HOST:PORT…]"
            ),
            click.option(
                "--ca", "authority", envvar="ABOVEBOARD_KAFKA_CA", type=FILE, help="The brokers' authority."
            ),
            click.option(
                "--certificate", envvar="ABOVEBOARD_KAFKA_CERTIFICATE", type=FILE, help="Our own: mutual TLS."
            ),
            click.option(
                "--certificate-key", envvar="ABOVEBOARD_KAFKA_CERTIFICATE_KEY", type=FILE, help="The key to it."
            ),
            click.option(
                "--properties",
                envvar="ABOVEBOARD_KAFKA_PROPERTIES",
                type=FILE,
                help="Further settings of librdkafka, name=value a line; the place for a password.",
            ),
            click.option(
                "--metrics-host",
                default="127.0.0.1",
                show_default=True,
                help="0.0.0.0 answers to other machines, too.",
            ),
            click.option(
                "--metrics-port",
                type=click.IntRange(0, 65535),
                default=9464,
                show_default=True,
                help="HTTP: /metrics, and the probes /livez and /readyz. 0 for none.",
            ),
        ]
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # click's decorators keep the signature


@command.command()
@kafka_options
@click.option("--topic", default=DECISIONS, show_default=True)
@click.option(
    "--mode",
    type=click.Choice(["structured", "binary"]),
    default="structured",
    show_default=True,
    help="How CloudEvents are laid out.",
)
@click.option(
    "--from", "start", type=click.IntRange(min=0), help="Begin with this entry of the log, whatever was sent already."
)
@json_option
@click.pass_context
def relay(
    ctx: click.Context,
    settings: KafkaSettings,
    metrics_host: str,
    metrics_port: int,
    topic: str,
    mode: str,
    start: int | None,
    as_json: bool,
) -> None:
    """Send every decision of the log to a topic as a CloudEvent, in the log's order, at least once.

    The events name nobody: no subject, no feature, no group. How far the relay is stands in the log's database; a
    second relay stands by. SIGTERM stops it.
    """
    from prometheus_client import CollectorRegistry

    from aboveboard.streaming import cloudevent
    from aboveboard.streaming.kafka import Sender, reachable
    from aboveboard.streaming.meters import RelayMeters
    from aboveboard.streaming.position import Positions
    from aboveboard.streaming.progress import Progress
    from aboveboard.streaming.relay import Relay
    from aboveboard.streaming.rounds import rounds

    out = output_of(as_json)
    workspace, registry = Workspace.of(ctx), CollectorRegistry()
    progress = Progress(registry, "relay", clock=workspace.clock)
    reachable(settings, [topic])
    with (
        workspace.log() as log,
        closing(Positions.open(workspace.home, workspace.where)) as positions,
        closing(Sender(settings, topic)) as sender,
        running(metrics_host, metrics_port, registry, progress) as stop,
    ):
        form = cloudevent.structured if mode == "structured" else cloudevent.binary
        meters = RelayMeters(registry, workspace.clock)
        made = Relay(log, positions, sender.send, stream=topic, form=form, meters=meters)
        if start is not None:
            made.rewind(start)
        out.say(f"[green]✓[/] relaying decisions of [bold]{escape(log.origin)}[/] to {escape(topic)}")
        out.document({"topic": topic, "log": log.origin})
        rounds(made.round, stop, progress)


@command.command()
@kafka_options
@click.option("--topic", default=OUTCOMES, show_default=True)
@click.option("--rejected", default=REJECTED, show_default=True, help="Where messages go that are no outcome.")
@click.option(
    "--group",
    default=OUTCOMES,
    show_default=True,
    help="The consumer group; several collectors share the partitions.",
)
@json_option
@click.pass_context
def collect(
    ctx: click.Context,
    settings: KafkaSettings,
    metrics_host: str,
    metrics_port: int,
    topic: str,
    rejected: str,
    group: str,
    as_json: bool,
) -> None:
    """Take outcomes from a topic into the log, each held against the contract of POST /v1/outcomes.

    A message is a JSON object: decision_id, label, observed. What is none goes to another topic with the code of its
    problem. An offset is committed once its message is durable. SIGTERM stops it.
    """
    from prometheus_client import CollectorRegistry

    from aboveboard.streaming.collector import Collector
    from aboveboard.streaming.kafka import Sender, Source, reachable
    from aboveboard.streaming.meters import CollectorMeters
    from aboveboard.streaming.progress import Progress
    from aboveboard.streaming.rounds import rounds

    if rejected == topic:
        raise Misuse("what is rejected cannot go back to where it came from", hint="name another topic")
    out = output_of(as_json)
    workspace, registry = Workspace.of(ctx), CollectorRegistry()
    progress = Progress(registry, "collector", clock=workspace.clock)
    reachable(settings, [topic, rejected])
    with (
        workspace.log() as log,
        closing(Sender(settings, rejected)) as sender,
        closing(Source(settings, topic, group)) as source,
        running(metrics_host, metrics_port, registry, progress) as stop,
    ):
        meters = CollectorMeters(registry)
        collector = Collector(log, sender.send, actor=workspace.actor, clock=workspace.clock, meters=meters)
        held: list[Any] = []

        def work() -> bool:
            # A batch that could not be taken is held and tried again: the next would move past it.
            if not held:
                held.extend(source.poll(500, 0.5))
            if held:
                collector.take(held)
                taken = list(held)
                held.clear()
                source.commit(taken)
            meters.behind(source.lags())
            return True

        out.say(f"[green]✓[/] collecting outcomes from {escape(topic)} into [bold]{escape(log.origin)}[/]")
        out.document({"topic": topic, "rejected": rejected, "group": group, "log": log.origin})
        rounds(work, stop, progress)


@command.command()
@json_always
def schema() -> None:
    """Print the JSON Schema of the events."""
    from aboveboard.streaming.cloudevent import json_schema

    click.echo(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2))


@contextmanager
def running(host: str, port: int, registry: CollectorRegistry, progress: Progress) -> Iterator[threading.Event]:
    """Answer probes and metrics, and yield an event that SIGTERM and SIGINT set.

    Raises `Conflict` where the port is taken.
    """
    from aboveboard.serving.logs import logging_to
    from aboveboard.streaming.health import answering

    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    with logging_to(sys.stderr):
        try:
            with answering(host, port, registry, progress) if port else nullcontext():
                yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
