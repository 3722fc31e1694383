from __future__ import annotations

from dataclasses import replace

import pytest

from aboveboard.errors import Misuse
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.serving.tracks import Tracks, share_of


@pytest.fixture(scope="session")
def deployments(release_files: dict[str, bytes]) -> list[Deployment]:
    return [deploy(f"sha256:{digit * 64}", release_files) for digit in "abc"]


SUBJECTS = [f"sub-{number:032x}" for number in range(20_000)]


def test_without_a_challenger_the_champion_decides(deployments: list[Deployment]) -> None:
    tracks = Tracks(deployments[0])
    assert {tracks.choose(subject) for subject in SUBJECTS[:100]} == {("champion", deployments[0])}


@pytest.mark.parametrize("weight", [0, 1, 25, 50, 99.5, 100])
def test_the_challenger_gets_its_share(deployments: list[Deployment], weight: float) -> None:
    tracks = Tracks(deployments[0], deployments[1], weight)
    met = sum(tracks.choose(subject)[0] == "challenger" for subject in SUBJECTS)
    # Four standard deviations of a binomial of this size.
    assert abs(met / len(SUBJECTS) - weight / 100) <= 4 * (weight / 100 * (1 - weight / 100) / len(SUBJECTS)) ** 0.5


def test_a_growing_weight_only_adds_people(deployments: list[Deployment]) -> None:
    before: set[str] = set()
    for weight in (1, 5, 25, 100):
        tracks = Tracks(deployments[0], deployments[1], weight)
        now = {subject for subject in SUBJECTS if tracks.choose(subject)[0] == "challenger"}
        assert before <= now
        before = now


def test_who_meets_one_challenger_says_nothing_about_the_next() -> None:
    first = {s for s in SUBJECTS if share_of(s, "sha256:" + "a" * 64) < 0.5}
    second = {s for s in SUBJECTS if share_of(s, "sha256:" + "b" * 64) < 0.5}
    assert abs(len(first & second) / len(SUBJECTS) - 0.25) < 0.02


def test_a_share_is_what_the_documentation_says() -> None:
    # BLAKE2b-64 of b"sub-1", keyed with 64 times "a": anyone can recompute it.
    import hashlib

    expected = int.from_bytes(hashlib.blake2b(b"sub-1", key=b"a" * 64, digest_size=8).digest(), "big") / 2**64
    assert share_of("sub-1", "sha256:" + "a" * 64) == expected


def test_refuses_what_cannot_stand_side_by_side(deployments: list[Deployment]) -> None:
    champion, other, _ = deployments
    with pytest.raises(Misuse, match="itself"):
        Tracks(champion, champion, 10)
    with pytest.raises(Misuse, match="needs a challenger"):
        Tracks(champion, weight=10)
    with pytest.raises(Misuse, match="cannot stand beside"):
        Tracks(champion, replace(other, name="something-else"), 10)
    with pytest.raises(Misuse):
        Tracks(champion, shadows=(champion,))
