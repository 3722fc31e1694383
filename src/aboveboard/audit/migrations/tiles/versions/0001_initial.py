"""The tiles' first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "tiles_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "file",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
