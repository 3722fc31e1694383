"""Decisions that wait for a person; the index is built again to find those that wait already."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "log_0002"
down_revision = "log_0001"


def upgrade() -> None:
    op.create_table(
        "review_case",
        sa.Column("decision_id", sa.Text, primary_key=True),
        sa.Column("key_id", sa.LargeBinary, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("contested_by", sa.Text),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.BigInteger),
        sa.Column("proposed_by", sa.Text),
        sa.Column("proposed_outcome", sa.Text),
    )
    op.create_index("review_case_key", "review_case", ["key_id"])
    op.create_index("review_case_queue", "review_case", ["model", "since", "decision_id"])
    op.create_index("review_case_release", "review_case", ["model", "release", "since"])
    for name, column, columns in (
        ("review_case_claimed", "claimed_until", ["model", "claimed_until"]),
        ("review_case_proposed", "proposed_by", ["model", "since", "decision_id"]),
    ):
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "review_case", columns, sqlite_where=present, postgresql_where=present)
    op.execute(sa.text("DELETE FROM entry"))
    op.execute(sa.text("DELETE FROM mention"))
    op.execute(sa.text("UPDATE tree SET indexed = 0"))
