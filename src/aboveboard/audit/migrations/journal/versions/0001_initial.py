"""The first schema of journals in PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "journal_0001"
down_revision = None


def upgrade() -> None:
    op.create_table("writer", sa.Column("name", sa.Text, primary_key=True))
    op.create_table(
        "batch",
        sa.Column("writer", sa.Text, sa.ForeignKey("writer.name"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    # Batches are ciphertext: compressing them is in vain.
    op.execute("ALTER TABLE batch ALTER COLUMN content SET STORAGE EXTERNAL")
