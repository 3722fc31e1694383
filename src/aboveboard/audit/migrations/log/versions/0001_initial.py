"""The log's first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "log_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "journal",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("segment", sa.BigInteger),
        sa.Column("offset", sa.BigInteger),
        sa.Column("next_batch", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "span",
        sa.Column("first_leaf", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("leaves", sa.Integer, nullable=False),
        sa.Column("journal", sa.Integer, sa.ForeignKey("journal.id"), nullable=False),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("first_ordinal", sa.BigInteger, nullable=False),
        sa.Column("segment", sa.BigInteger, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("journal", "batch"),
    )
    op.create_table(
        "tree",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("sequenced", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("edge", sa.LargeBinary, nullable=False),
        sa.Column("indexed", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "term",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "entry",
        sa.Column("leaf", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.Integer),
        sa.Column("time", sa.BigInteger),
        sa.Column("decision_id", sa.Text),
        sa.Column("release", sa.Integer),
        sa.Column("outcome", sa.Integer),
    )
    op.create_table(
        "mention",
        sa.Column("key_id", sa.LargeBinary, primary_key=True),
        sa.Column("leaf", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.create_index("entry_key", "entry", ["key_id"])
    op.create_index("entry_time", "entry", ["time"])
    for column in ("decision_id", "release"):
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"entry_{column}",
            "entry",
            [column] if column == "decision_id" else [column, "time"],
            sqlite_where=present,
            postgresql_where=present,
        )
