from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest

from aboveboard.errors import Misuse
from aboveboard.serving.control import placed
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.serving.standing import Standing
from aboveboard.serving.tracks import Arm, ArmPlan, TrackPlan, Tracks, draw


@pytest.fixture(scope="session")
def deployments(release_files: dict[str, bytes]) -> list[Deployment]:
    return [deploy(f"sha256:{digit * 64}", release_files) for digit in "abc"]


SUBJECTS = [f"sub-{number:032x}" for number in range(20_000)]


def challenged(deployments: list[Deployment], weight: float) -> Tracks:
    return Tracks(deployments[0], (Arm("challenger", deployments[1], weight),))


def test_without_a_challenger_the_champion_decides(deployments: list[Deployment]) -> None:
    tracks = Tracks(deployments[0])
    assert {tracks.choose(subject) for subject in SUBJECTS[:100]} == {("champion", deployments[0])}


@pytest.mark.parametrize("weight", [0, 1, 25, 50, 99.5, 100])
def test_the_challenger_gets_its_share(deployments: list[Deployment], weight: float) -> None:
    tracks = challenged(deployments, weight)
    met = sum(tracks.choose(subject)[0] == "challenger" for subject in SUBJECTS)
    # Four standard deviations of a binomial of this size.
    assert abs(met / len(SUBJECTS) - weight / 100) <= 4 * (weight / 100 * (1 - weight / 100) / len(SUBJECTS)) ** 0.5


def test_a_growing_weight_only_adds_people(deployments: list[Deployment]) -> None:
    before: set[str] = set()
    for weight in (1, 5, 25, 100):
        tracks = challenged(deployments, weight)
        now = {subject for subject in SUBJECTS if tracks.choose(subject)[0] == "challenger"}
        assert before <= now
        before = now


def test_who_meets_one_arm_says_nothing_about_the_next() -> None:
    digest, other = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    first = {s for s in SUBJECTS if draw(s, digest) < 0.5}
    for second in (
        {s for s in SUBJECTS if draw(s, other) < 0.5},
        {s for s in SUBJECTS if draw(s, digest, "longer-history") < 0.5},
    ):
        assert abs(len(first & second) / len(SUBJECTS) - 0.25) < 0.02


def test_a_draw_is_what_the_documentation_says() -> None:
    # BLAKE2b-64 of the token, keyed with 64 times "a": anyone can recompute it.
    for message, arguments in ((b"sub-1", ()), (b"control/sub-1", ("control",))):
        expected = int.from_bytes(hashlib.blake2b(message, key=b"a" * 64, digest_size=8).digest(), "big") / 2**64
        assert draw("sub-1", "sha256:" + "a" * 64, *arguments) == expected


def test_arms_decide_under_their_names(deployments: list[Deployment]) -> None:
    champion, other, third = deployments
    tracks = Tracks(champion, (Arm("control", champion, 30), Arm("longer-history", other, 30)), (third,))
    met = {tracks.choose(subject) for subject in SUBJECTS[:1000]}
    assert met == {("champion", champion), ("control", champion), ("longer-history", other)}
    assert tracks.deployments() == (champion, other, third)
    assert placed(tracks) == [
        (champion.digest, "champion", 40),
        (champion.digest, "control", 30),
        (other.digest, "longer-history", 30),
        (third.digest, "shadow", 0),
    ]


def test_a_plan_and_its_tracks_say_the_same(deployments: list[Deployment]) -> None:
    champion, other, third = deployments
    tracks = Tracks(champion, (Arm("challenger", other, 5), Arm("control", champion, 5)), (third,))
    plan = tracks.plan()
    assert plan.challenger == other.digest
    assert plan.arms == [ArmPlan("control", champion.digest, 5)]
    assert [(arm.name, arm.release, arm.weight) for arm in plan.all_arms()] == [
        ("challenger", other.digest, 5),
        ("control", champion.digest, 5),
    ]


def test_what_was_written_before_there_were_arms_is_read() -> None:
    old = b'{"started":{"champion":"a"},"tracks":{"champion":"a","challenger":"b","weight":5,"shadows":["c"]}}'
    standing = msgspec.json.decode(old, type=Standing)
    assert standing.tracks == TrackPlan("a", "b", 5, ["c"])
    assert msgspec.json.decode(msgspec.json.encode(standing)) == msgspec.json.decode(old) | {"before": None}


@pytest.mark.parametrize(
    "plan",
    [
        {"champion": "a", "arms": [{"name": "No", "release": "b", "weight": 1}]},
        {"champion": "a", "arms": [{"name": "b", "release": "b", "weight": 101}]},
        {"champion": "a", "arms": [{"name": "b", "release": "b", "weight": -1}]},
        {"champion": "a", "arms": [{"name": "b", "release": "b"}]},
        {"champion": "a", "arms": [{"name": "b", "release": "b", "weight": 1, "salt": "x"}]},
    ],
)
def test_refuses_a_plan_that_is_none(plan: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(plan, TrackPlan)


def test_refuses_what_cannot_stand_side_by_side(deployments: list[Deployment]) -> None:
    champion, other, _ = deployments
    with pytest.raises(Misuse, match="itself"):
        Tracks(champion, (Arm("challenger", champion, 10),))
    with pytest.raises(Misuse, match="needs a challenger"):
        TrackPlan("a", weight=10).all_arms()
    with pytest.raises(Misuse, match="cannot stand beside"):
        Tracks(champion, (Arm("challenger", replace(other, name="something-else"), 10),))
    with pytest.raises(Misuse):
        Tracks(champion, shadows=(champion,))
    with pytest.raises(Misuse, match="one name"):
        Tracks(champion, (Arm("b", other, 1), Arm("b", champion, 1)))
    for name in ("champion", "shadow"):
        with pytest.raises(Misuse, match="cannot be called"):
            Tracks(champion, (Arm(name, other, 1),))
    with pytest.raises(Misuse, match="more than 100"):
        Tracks(champion, (Arm("b", other, 60), Arm("c", other, 41)))
    with pytest.raises(Misuse, match="more than 100"):
        Tracks(champion, (Arm("b", other, float("nan")),))
