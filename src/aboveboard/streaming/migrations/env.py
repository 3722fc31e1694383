"""Runs the migrations of streaming on the connection that `aboveboard.db` hands over."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
