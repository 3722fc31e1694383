"""The vault's first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "vault_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "vault_key",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.Text, nullable=False),
        sa.Column("retired", sa.Text),
    )
    op.create_table(
        "subject_key",
        sa.Column("key_id", sa.LargeBinary, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("retention", sa.Text, nullable=False),
        sa.Column("vault_key", sa.Integer, sa.ForeignKey("vault_key.id"), nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("subject", "epoch", "retention"),
    )
    op.create_table(
        "erasure",
        sa.Column("erasure_id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("override", sa.Text),
        sa.Column("requested", sa.Text, nullable=False),
        sa.Column("due", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_table(
        "erasure_key",
        sa.Column("erasure_id", sa.Text, sa.ForeignKey("erasure.erasure_id"), primary_key=True),
        sa.Column("key_id", sa.LargeBinary, primary_key=True),
        sa.Column("destroyed", sa.Text),
        sa.Column("logged", sa.Text),
    )
    op.create_index("erasure_key_key", "erasure_key", ["key_id"])
    op.create_table(
        "hold",
        sa.Column("hold_id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False, index=True),
        sa.Column("basis", sa.Text, nullable=False),
        sa.Column("until", sa.Text, nullable=False),
        sa.Column("placed_by", sa.Text, nullable=False),
        sa.Column("lifted", sa.Text),
    )
