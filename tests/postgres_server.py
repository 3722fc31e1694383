"""A PostgreSQL server of one's own, for as long as the tests need one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the URL of a fresh server, listening on a socket in a directory of its own."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here (Debian: postgresql)")
    root = Path(tempfile.mkdtemp(prefix="aboveboard-pg-", dir="/tmp"))
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if user:
        shutil.chown(root, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=user, cwd=root, stdout=subprocess.DEVNULL)

    try:
        run(str(programs / "initdb"), "-D", f"{root}/data", "-A", "trust", "-U", "tester", "--no-instructions")
        options = f"-k {root} -c listen_addresses='' -c shared_buffers=32MB"
        run(str(programs / "pg_ctl"), "-D", f"{root}/data", "-l", f"{root}/log", "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://tester@/postgres?host={root}"
        finally:
            run(str(programs / "pg_ctl"), "-D", f"{root}/data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def new_database(server: str) -> str:
    """Return the URL of a fresh database on the server."""
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)
