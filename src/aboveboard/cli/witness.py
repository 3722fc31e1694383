"""`aboveboard witness`: cosign the checkpoints of logs, each after proof that it extends the one before."""

from __future__ import annotations

import signal
import socket
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.public_keys import keys_in
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import Misuse
from aboveboard.files import storage_errors

if TYPE_CHECKING:
    from aboveboard.audit.note import VerifierKey
    from aboveboard.audit.witness import Witness

DIRECTORY = click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
NAME = click.option("--name", help="The witness's name, a schema-less URL; needed the first time, then fixed.")


@click.group(name="witness")
def command() -> None:
    """Cosign the checkpoints of other people's logs (C2SP tlog-witness).

    A witness remembers the last checkpoint of every log it knows, and cosigns a newer one only with proof that it
    extends that. DIRECTORY holds its memory and its keys; run it elsewhere, and by somebody else, than the log.
    """


@command.command()
@DIRECTORY
@NAME
@json_option
@click.pass_context
def key(ctx: click.Context, directory: Path, name: str | None, as_json: bool) -> None:
    """Print the witness's public keys (C2SP vkeys), making them when there are none."""
    out = output_of(as_json)
    with closing(_open(ctx, directory, name, ())) as witness:
        vkeys = witness.vkeys
    if not as_json:
        click.echo("\n".join(vkeys))  # not by the console, which folds long lines
    out.document({"keys": vkeys})


@command.command()
@DIRECTORY
@NAME
@click.option(
    "--log", "logs", metavar="VKEY", multiple=True, required=True, help="A log's public key, or a file that holds it."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 answers to other machines, too.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes any free port.")
@json_option
@click.pass_context
def serve(
    ctx: click.Context, directory: Path, name: str | None, logs: tuple[str, ...], host: str, port: int, as_json: bool
) -> None:
    """Answer `POST /add-checkpoint` for the logs given, in the foreground.

    Put a proxy that speaks TLS in front of it where it is reached over a network. SIGTERM and Ctrl-C stop it.
    """
    from aboveboard.serving.listening import listen, url_of

    out = output_of(as_json)
    trusted = [parsed for given in logs for parsed in keys_in(given)]
    with listen(host, port) as listener, closing(_open(ctx, directory, name, trusted)) as witness:
        url = url_of(listener)
        if not as_json:
            # In one write: whoever started this process may read one line and go away. Keys must not be folded.
            click.echo("\n  ".join([f"✓ witness {witness.name} at {url}  (Ctrl-C stops)", *witness.vkeys]))
        out.document({"url": url, "keys": witness.vkeys})
        _serve(witness, listener)


def _open(ctx: click.Context, directory: Path, name: str | None, logs: Sequence[VerifierKey]) -> Witness:
    from aboveboard.audit.witness import Witness

    known = directory / "keys" / "witness.vkey"
    with storage_errors(known):
        if name is None and known.is_file():
            name = known.read_text(encoding="utf-8", errors="replace").partition("+")[0]
    if name is None:
        raise Misuse("a new witness needs a name", hint="give it one: --name witness.example")
    return Witness.in_directory(directory, name=name, logs=logs, clock=Workspace.of(ctx).clock)


def _serve(witness: Witness, listener: socket.socket) -> None:
    import uvicorn

    from aboveboard.audit.witness_http import witness_app

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            """Stop on SIGTERM and SIGINT, and end well: unlike uvicorn, do not raise them again."""
            numbers = (signal.SIGTERM, signal.SIGINT)
            before = {number: signal.signal(number, self.handle_exit) for number in numbers}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        witness_app(witness),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    Server(config).run(sockets=[listener])
