"""Who is in which arm: laws that hold for any number of arms and any weights."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from aboveboard.serving.tracks import choice, draw

PEOPLE = [f"sub-{number:032x}" for number in range(400)]
MANY = [f"sub-{number:032x}" for number in range(20_000)]

Keys = list[tuple[str, str]]


@st.composite
def arms(draw: st.DrawFn) -> tuple[Keys, list[float]]:
    """Return one to five arms, two of which may have one release, and shares that leave the champion some or none."""
    count = draw(st.integers(1, 5))
    digits = draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    keys = [(f"arm-{place}", f"sha256:{digit * 64}") for place, digit in enumerate(digits)]
    parts = draw(st.lists(st.integers(0, 100), min_size=count, max_size=count).filter(any))
    rest = draw(st.integers(0, 200))
    return keys, [part / (sum(parts) + rest) for part in parts]


def placement(keys: Keys, shares: list[float], people: list[str] = PEOPLE) -> list[int]:
    chosen = choice(keys, shares)
    return [chosen(person) for person in people]


@settings(max_examples=100, deadline=None)
@given(arms(), st.data())
def test_an_arm_that_grows_takes_people_in_and_moves_nobody_between_others(
    case: tuple[Keys, list[float]], data: st.DataObject
) -> None:
    keys, shares = case
    grows = data.draw(st.integers(0, len(keys) - 1))
    by = data.draw(st.floats(0, max(0.0, 1 - sum(shares))))
    larger = [share + by * (place == grows) for place, share in enumerate(shares)]
    for before, after in zip(placement(keys, shares), placement(keys, larger), strict=True):
        # Whoever moved came into the arm that grew, or from the champion into one that keeps its share.
        assert after in (before, grows) or (before == -1 and after >= 0)


@settings(max_examples=100, deadline=None)
@given(arms(), st.floats(0, 1))
def test_arms_that_grow_in_proportion_exchange_nobody(case: tuple[Keys, list[float]], part: float) -> None:
    keys, shares = case
    smaller = [share * part for share in shares]
    if not any(smaller):
        return
    for before, after in zip(placement(keys, smaller), placement(keys, shares), strict=True):
        assert after == before or before == -1


@settings(max_examples=50, deadline=None)
@given(arms(), st.randoms())
def test_the_order_in_which_arms_are_declared_says_nothing(case: tuple[Keys, list[float]], random: object) -> None:
    keys, shares = case
    order = list(range(len(keys)))
    random.shuffle(order)  # type: ignore[attr-defined]
    other = placement([keys[place] for place in order], [shares[place] for place in order])
    assert [order[place] if place >= 0 else -1 for place in other] == placement(keys, shares)


@settings(max_examples=50, deadline=None)
@given(arms())
def test_an_arm_of_no_weight_changes_nothing(case: tuple[Keys, list[float]]) -> None:
    keys, shares = case
    assert placement([*keys, ("idle", "sha256:" + "d" * 64)], [*shares, 0.0]) == placement(keys, shares)


@settings(max_examples=20, deadline=None)
@given(arms())
def test_each_arm_has_its_share(case: tuple[Keys, list[float]]) -> None:
    keys, shares = case
    met = Counter(placement(keys, shares, MANY))
    for place, share in enumerate(shares):
        # Five standard deviations of a binomial of this size, and a few people where it is small.
        assert abs(met[place] / len(MANY) - share) <= 5 * (share * (1 - share) / len(MANY)) ** 0.5 + 4 / len(MANY)
    if sum(shares) > 1 - 1e-9:
        assert met[-1] == 0


@given(st.sampled_from(["challenger", "b"]), st.floats(0.001, 1))
def test_a_single_arm_has_those_whose_draw_is_below_its_weight(name: str, share: float) -> None:
    digest = "sha256:" + "a" * 64
    expected = [0 if draw(person, digest, name) < share else -1 for person in PEOPLE]
    assert placement([(name, digest)], [share]) == expected
    # And so it is by the general rule, of which this is a short cut.
    assert placement([(name, digest), ("idle", digest)], [share, 0.0]) == expected


def test_experiments_are_independent() -> None:
    """Two arms each, of other releases: the shares of one are the same within each arm of the other."""
    first = placement([("a", "sha256:" + "a" * 64), ("b", "sha256:" + "b" * 64)], [0.3, 0.3], MANY)
    second = placement([("a", "sha256:" + "c" * 64), ("b", "sha256:" + "d" * 64)], [0.2, 0.5], MANY)
    both = Counter(zip(first, second, strict=True))
    for one, share in ((0, 0.3), (1, 0.3), (-1, 0.4)):
        for other, of in ((0, 0.2), (1, 0.5), (-1, 0.3)):
            expected = share * of
            assert abs(both[one, other] / len(MANY) - expected) <= 5 * (expected / len(MANY)) ** 0.5
