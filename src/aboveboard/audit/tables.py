"""The tables of the vault and of the log, as queries name them; `migrations/` creates them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text

MIGRATIONS = Path(__file__).parent / "migrations"
VAULT_HEAD = "vault_0002"
LOG_HEAD = "log_0002"

vault_metadata = MetaData()
log_metadata = MetaData()

vault_key = Table(
    "vault_key",
    vault_metadata,
    Column("id", Integer, primary_key=True),
    Column("provider", Text),
    Column("reference", Text),
    Column("wrapped", LargeBinary),
    Column("created", Text),
    Column("retired", Text),
)
"""Keys that wrap subject keys, each itself wrapped by the key-encryption key of a provider."""

subject_key = Table(
    "subject_key",
    vault_metadata,
    Column("key_id", LargeBinary, primary_key=True),
    Column("subject", Text),
    Column("epoch", Text),
    Column("retention", Text),
    Column("vault_key", Integer),
    Column("wrapped", LargeBinary),
)
"""One key per person, month and retention period; the log's own keys stand under `@log`."""

generation = Table("generation", vault_metadata, Column("id", Integer, primary_key=True), Column("value", BigInteger))
"""One row: how often keys were destroyed or wrapped anew. Keys remembered from an earlier generation are not used."""

erasure = Table(
    "erasure",
    vault_metadata,
    Column("erasure_id", Text, primary_key=True),
    Column("subject", Text),
    Column("actor", Text),
    Column("reason", Text),
    Column("override", Text),
    Column("requested", Text),
    Column("due", Text),
    Column("state", Text),
)
"""Requests to be erased: `begun`, `deferred` until a day, `done`."""

erasure_key = Table(
    "erasure_key",
    vault_metadata,
    Column("erasure_id", Text, primary_key=True),
    Column("key_id", LargeBinary, primary_key=True),
    Column("destroyed", Text),
    Column("logged", Text),
)
"""Which keys a request is about, when each was destroyed and when the log was told."""

hold = Table(
    "hold",
    vault_metadata,
    Column("hold_id", Text, primary_key=True),
    Column("subject", Text),
    Column("basis", Text),
    Column("until", Text),
    Column("placed_by", Text),
    Column("lifted", Text),
)

journal = Table(
    "journal",
    log_metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("segment", BigInteger),
    Column("offset", BigInteger),
    Column("next_batch", BigInteger),
)
"""Up to where each journal has been sequenced."""

span = Table(
    "span",
    log_metadata,
    Column("first_leaf", BigInteger, primary_key=True),
    Column("leaves", Integer),
    Column("journal", Integer),
    Column("batch", BigInteger),
    Column("first_ordinal", BigInteger),
    Column("segment", BigInteger),
    Column("offset", BigInteger),
    Column("chain", LargeBinary),
)
"""The order of the log: which batch of which journal stands where. Its only source of truth."""

tree = Table(
    "tree",
    log_metadata,
    Column("id", Integer, primary_key=True),
    Column("origin", Text),
    Column("sequenced", BigInteger),
    Column("size", BigInteger),
    Column("root", LargeBinary),
    Column("edge", LargeBinary),
    Column("indexed", BigInteger),
)
"""One row: how many leaves are in order, in published tiles (with root and right edge), and in the index."""

checkpoint = Table(
    "checkpoint",
    log_metadata,
    Column("size", BigInteger, primary_key=True),
    Column("time", Text),
    Column("note", Text),
)

term = Table("term", log_metadata, Column("id", Integer, primary_key=True), Column("text", Text))
"""Texts that repeat in the index: kinds, releases, outcomes."""

entry = Table(
    "entry",
    log_metadata,
    Column("leaf", BigInteger, primary_key=True),
    Column("key_id", LargeBinary),
    Column("kind", Integer),
    Column("time", BigInteger),
    Column("decision_id", Text),
    Column("release", Integer),
    Column("outcome", Integer),
)
"""The search index, rebuilt from journals and vault at will. Who an entry is about only the vault can tell."""

mention = Table(
    "mention",
    log_metadata,
    Column("key_id", LargeBinary, primary_key=True),
    Column("leaf", BigInteger, primary_key=True),
)
"""Which events about the handling of personal data name which keys, so that a person can be told of them."""

review_case = Table(
    "review_case",
    log_metadata,
    Column("decision_id", Text, primary_key=True),
    Column("key_id", LargeBinary),
    Column("model", Text),
    Column("release", Text),
    Column("cause", Text),
    Column("since", BigInteger),
    Column("contested_by", Text),
    Column("claimed_by", Text),
    Column("claimed_until", BigInteger),
    Column("proposed_by", Text),
    Column("proposed_outcome", Text),
)
"""Decisions that wait for a person, kept and rebuilt with the search index. `key_id` is the decision's."""
