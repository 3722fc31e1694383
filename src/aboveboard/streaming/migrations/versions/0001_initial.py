"""The first schema of streaming."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "streaming_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "position",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False),
    )
