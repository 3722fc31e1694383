"""Ids sort by time; tokens stand in for people and cannot be guessed without the key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aboveboard.ids import new_id, sha256_digest, subject_token

START = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_id("dec", START + timedelta(milliseconds=n)) for n in range(500)]
    assert ids == sorted(ids)
    assert len({new_id("dec", START) for _ in range(500)}) == 500
    assert all(len(name) == len("dec-") + 26 for name in ids)


@given(st.binary(min_size=32, max_size=32), st.text(), st.text())
def test_tokens_are_the_same_for_the_same_person_only(key: bytes, one: str, other: str) -> None:
    assert subject_token(key, one) == subject_token(key, one)
    assert (subject_token(key, one) == subject_token(key, other)) == (one == other)
    assert subject_token(key, one) != subject_token(bytes(reversed(key)) + b"x", one)


def test_the_digest_is_the_oci_form() -> None:
    assert sha256_digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
