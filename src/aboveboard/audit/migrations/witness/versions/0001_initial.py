"""A witness's first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "witness_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "seen",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
