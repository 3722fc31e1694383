"""A PostgreSQL server of one's own, for as long as the tests need one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text


def binaries() -> Path | None:
    """Return where the server's programs are: Debian's packages keep them off the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    which = shutil.which("initdb")
    return Path(which).parent if which else None


@dataclass(frozen=True)
class PostgresServer:
    """A server on a socket in a directory of its own."""

    programs: Path
    root: Path
    user: str | None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://tester@/postgres?host={self.root}"

    def make(self) -> None:
        """Make the server's files."""
        self._run("initdb", "-D", f"{self.root}/data", "-A", "trust", "-U", "tester", "--no-instructions")

    def start(self, *, address: str = "", port: int = 5432) -> None:
        """Listen on the socket, and with an address by TCP, too."""
        options = f"-k {self.root} -c listen_addresses='{address}' -p {port} -c shared_buffers=32MB"
        self._run("pg_ctl", "-D", f"{self.root}/data", "-l", f"{self.root}/log", "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop as a machine that loses power does: without a checkpoint, in the middle of whatever is going on."""
        self._run("pg_ctl", "-D", f"{self.root}/data", "-m", "immediate", "-w", "stop")

    def add_user(self, name: str, password: str) -> None:
        """Add a superuser who has to give a password, unlike everybody else."""
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(text(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{password}'"))
            access = self.root / "data" / "pg_hba.conf"
            access.write_text(f"local all {name} scram-sha-256\n" + access.read_text())
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, user=self.user, cwd=self.root, stdout=subprocess.DEVNULL)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a fresh server until the block ends; skip the test where none is installed."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here (Debian: postgresql)")
    root = Path(tempfile.mkdtemp(prefix="aboveboard-pg-", dir="/tmp"))
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if user:
        shutil.chown(root, user)
    server = PostgresServer(programs, root, user)
    try:
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the URL of a fresh server, listening on a socket in a directory of its own."""
    with running_postgres() as server:
        yield server.url


def new_database(server: str) -> str:
    """Return the URL of a fresh database on the server."""
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)
