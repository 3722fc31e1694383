"""The lag of the published log is 0 when all is published, and grows from the first decision that is not."""

from __future__ import annotations

from aboveboard.serving.publication import PublicationLag


def test_nothing_decided_is_nothing_behind() -> None:
    assert PublicationLag().at(100.0, decided=None, published=None) == 0
    assert PublicationLag().at(100.0, decided=90.0, published=90.0) == 0


def test_a_quiet_hour_is_no_lag() -> None:
    lag = PublicationLag()
    assert lag.at(4_000.0, decided=400.0, published=401.0) == 0
    assert lag.at(4_001.0, decided=4_000.5, published=401.0) == 0.5
    assert lag.at(4_002.0, decided=4_000.5, published=4_001.5) == 0


def test_under_steady_load_it_is_the_age_of_the_checkpoint() -> None:
    lag = PublicationLag()
    assert [lag.at(now, decided=now, published=now - 1.25) for now in (10.0, 11.0, 12.0)] == [0.0, 1.0, 1.25]


def test_it_grows_while_nothing_is_published() -> None:
    lag = PublicationLag()
    assert [lag.at(now, decided=now, published=5.0) for now in (10.0, 11.0, 20.0)] == [0.0, 1.0, 10.0]
    assert lag.at(21.0, decided=21.0, published=None) == 11.0
