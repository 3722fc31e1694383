"""The first schema of idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "idempotency_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "claim",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("decision_id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("settled", sa.SmallInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False, index=True),
        # The key is looked up and nothing else: one tree instead of a table and an index.
        sqlite_with_rowid=False,
    )
