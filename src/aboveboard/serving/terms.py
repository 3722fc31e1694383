"""What holds for the review of a decision: the words, the deadline and the four eyes of the release that decided.

They are read from the signed release, also from one that is not in service any more: a newer one does not change
what was promised about a decision, and nobody can decide alone because the rule was dropped since.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from aboveboard.errors import AboveboardError, NotFound, NotVerified
from aboveboard.models.outcome import OUTCOMES
from aboveboard.serving.control import TrackControl
from aboveboard.serving.deployment import SPEC_FILE
from aboveboard.spec.decision import ReviewSpec
from aboveboard.spec.load import parse_spec

DEADLINE: Final = timedelta(days=ReviewSpec().deadline_days)
"""Assumed where the release that decided is not to be had."""


class ReviewTerms(NamedTuple):
    """What one release says about reviews of its decisions."""

    favourable: str
    adverse: str
    four_eyes: bool
    deadline: timedelta


class Terms:
    """Looks terms up, and remembers them: a release never changes."""

    def __init__(self, control: TrackControl) -> None:
        self._control = control
        self._known: dict[str, ReviewTerms] = {}
        self._unknown: set[str] = set()

    @property
    def model(self) -> str:
        """The name of the model in service."""
        return self._control.tracks.champion.name

    def of(self, release: str) -> ReviewTerms:
        """Return the terms of a release. Blocks. Raises `NotFound` when it is not in this server's store."""
        if (known := self._known.get(release)) is None:
            known = self._known[release] = self._look(release)
            self._unknown.discard(release)
        return known

    def deadline(self, release: str) -> timedelta:
        """Return how long a person may take; `DEADLINE` for a release that is not in this server's store. Blocks."""
        if release in self._unknown:
            return DEADLINE
        try:
            return self.of(release).deadline
        except AboveboardError:
            self._unknown.add(release)
            return DEADLINE

    def _look(self, release: str) -> ReviewTerms:
        for deployment in self._control.tracks.deployments():
            if deployment.digest == release:
                favourable, _, adverse = deployment.model.outcomes
                return _terms(favourable, adverse, deployment.review)
        try:
            text = self._control.files_of(release)[SPEC_FILE]
        except (NotFound, NotVerified, KeyError) as error:
            raise NotFound(
                "the release that decided is not in this server's store, and with it what holds for a review",
                hint="import it there: aboveboard release import",
            ) from error
        spec = parse_spec(text.decode(), name=SPEC_FILE).spec
        words = OUTCOMES[spec.purpose]
        return _terms(words.favourable, words.adverse, spec.decision.review)


def _terms(favourable: str, adverse: str, review: ReviewSpec) -> ReviewTerms:
    return ReviewTerms(favourable, adverse, review.four_eyes, timedelta(days=review.deadline_days))
