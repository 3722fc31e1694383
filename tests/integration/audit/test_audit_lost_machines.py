"""What holds a lock of the log's database and loses its power does not hold it for hours."""

from __future__ import annotations

import socket
from pathlib import Path

from sqlalchemy import text

from aboveboard.audit.tables import LOG_HEAD, MIGRATIONS
from aboveboard.db import Database
from tests.postgres_server import new_database, running_postgres


def test_either_side_of_a_connection_notices_within_a_minute_that_the_other_is_gone(tmp_path: Path) -> None:
    """Over TCP: sockets of one machine know at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running_postgres() as server:
        server.stop()
        server.start(address="127.0.0.1", port=port)
        url = new_database(f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres")
        database = Database.postgresql(url, migrations=MIGRATIONS / "log", head=LOG_HEAD, schema="lost")
        try:
            with database.reading() as connection:
                theirs = {
                    name: int(connection.execute(text(f"SHOW {name}")).scalar_one())
                    for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
                }
                assert connection.execute(text("SHOW search_path")).scalar() == "lost"
                assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
                driver = connection.connection.driver_connection
                assert driver is not None
                with socket.socket(fileno=socket.dup(driver.fileno())) as ours:
                    options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
                    mine = [ours.getsockopt(socket.IPPROTO_TCP, option) for option in options]
                    unacknowledged = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        finally:
            database.close()
    for idle, interval, count in (theirs.values(), mine):
        assert idle + interval * count <= 60
    assert unacknowledged == 60_000
