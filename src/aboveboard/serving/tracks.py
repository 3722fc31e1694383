"""Which release decides about whom: a champion, arms beside it by a sticky hash of the subject, shadows beside those.

The challenger of a canary is an arm by that name; an A/B test has arms with names of its own. Who is in an arm
follows from the plan alone, so every server, started at any time, comes to the same.

The rule is weighted rendezvous hashing (Thaler & Ravishankar 1998; with weights, Schindelhauer & Schomaker 2005).
For every person each arm draws a number u in [0, 1), the keyed hash `draw`, and would arrive at the time
-ln(1 - u) / weight. Whoever arrives first decides, if that is before -ln(1 - W) / W, where W is the sum of the
weights; else the champion does. These times are exponential with the weights as rates, so that the first is before
that moment with probability W, and is a given arm's with probability weight / W. From this follows:

1. Each arm has its weight, whatever the others have.
2. A weight that grows moves people into its own arm, and from the champion into others as far as these keep their
   share. Nobody leaves the arm that grows, nobody moves between two others, nobody goes back to the champion.
3. Weights that grow in proportion move people from the champion into the arms, and nobody between arms.
4. With a single arm, a person is in it whose u is below its weight.
5. The hash is keyed by the arm's release and its name: who meets one arm says nothing about who meets another.

No rule that looks only at the plan could keep an arm that grows from taking anybody from the others: three arms that
fill whatever share is left to them, each from people of its own, do not fit side by side.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec

from aboveboard.errors import Misuse
from aboveboard.serving.deployment import Deployment

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
SHADOW: Final = "shadow"

_PARTS: Final = 1 << 64
_ROUNDING: Final = 1e-9
"""Per cent by which weights that are meant to add up to a hundred may differ from it."""

ArmName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Weight = Annotated[float, msgspec.Meta(ge=0, le=100)]


class ArmPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One arm beside the champion."""

    name: ArmName
    """Stands for the arm in decisions, metrics and the log. Neither `champion` nor `shadow`."""
    release: str
    weight: Weight
    """The arm's share of subjects, in per cent."""


class TrackPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an operator asks for: releases by digest or any reference the store knows."""

    champion: str
    challenger: str | None = None
    """Short for an arm of this name."""
    weight: Weight = 0
    """The challenger's share of subjects, in per cent."""
    shadows: list[str] = []
    """Releases that score every request beside the one that decides, and answer nobody."""
    arms: list[ArmPlan] = []
    """Arms of an A/B test. Who is in none is decided about by the champion; the weights add up to at most 100."""

    def all_arms(self) -> list[ArmPlan]:
        """Return the arms, the challenger among them. Raises `Misuse` for a weight that nothing has."""
        if self.challenger is not None:
            return [ArmPlan(CHALLENGER, self.challenger, self.weight), *self.arms]
        if self.weight:
            raise Misuse("a weight needs a challenger", hint="name the release it is for")
        return list(self.arms)


@dataclass(frozen=True, slots=True)
class Arm:
    """A release that decides about a share of the people."""

    name: str
    deployment: Deployment
    weight: float
    """In per cent."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """The releases in service at one moment. It never changes; a reload puts another in its place, at once.

    Raises `Misuse` where the releases do not belong side by side.
    """

    champion: Deployment
    arms: tuple[Arm, ...] = ()
    shadows: tuple[Deployment, ...] = ()
    _choice: Callable[[str], int] | None = field(init=False, repr=False, compare=False)
    """Of a subject token, the place of the arm that decides, or -1; None where there is only a champion."""

    def __post_init__(self) -> None:
        for deployment in (*(arm.deployment for arm in self.arms), *self.shadows):
            if deployment.name != self.champion.name:
                raise Misuse(
                    f"release of {deployment.name} cannot stand beside one of {self.champion.name}",
                    hint="tracks hold releases of one model",
                )
        for deployment in (*(arm.deployment for arm in self.arms if arm.name == CHALLENGER), *self.shadows):
            if deployment.digest == self.champion.digest:
                raise Misuse("a release cannot be challenger or shadow to itself", hint="name another release")
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise Misuse("two arms have one name", hint="give each arm a name of its own")
        if CHAMPION in names or SHADOW in names:
            raise Misuse("an arm cannot be called champion or shadow", hint="those are tracks; choose another name")
        weights = [arm.weight / 100 for arm in self.arms]
        if not math.isfinite(sum(weights)) or min(weights, default=0) < 0 or sum(weights) > 1 + _ROUNDING / 100:
            raise Misuse(
                "the weights of the arms add up to more than 100 per cent",
                hint="what is left is the champion's share",
            )
        keys = [(arm.name, arm.deployment.digest) for arm in self.arms]
        object.__setattr__(self, "_choice", choice(keys, weights) if any(weights) else None)

    def choose(self, subject: str) -> tuple[str, Deployment]:
        """Return the track and the release that decide about a subject token: always the same for the same person."""
        if self._choice is None:
            return CHAMPION, self.champion
        place = self._choice(subject)
        if place < 0:
            return CHAMPION, self.champion
        arm = self.arms[place]
        return arm.name, arm.deployment

    def plan(self) -> TrackPlan:
        """Return the plan that asks for these tracks."""
        challenger = next((arm for arm in self.arms if arm.name == CHALLENGER), None)
        return TrackPlan(
            champion=self.champion.digest,
            challenger=challenger.deployment.digest if challenger else None,
            weight=challenger.weight if challenger else 0,
            shadows=[shadow.digest for shadow in self.shadows],
            arms=[ArmPlan(a.name, a.deployment.digest, a.weight) for a in self.arms if a is not challenger],
        )

    @property
    def champion_weight(self) -> float:
        """Return the share of subjects that the champion decides about, in per cent."""
        return max(0.0, 100 - math.fsum(arm.weight for arm in self.arms))

    def deployments(self) -> tuple[Deployment, ...]:
        """Return every release in service once, the champion first."""
        every = (self.champion, *(arm.deployment for arm in self.arms), *self.shadows)
        return tuple({deployment.digest: deployment for deployment in every}.values())


def choice(keys: list[tuple[str, str]], weights: list[float]) -> Callable[[str], int]:
    """Return what chooses among arms, given by name and digest, with these shares: the arm's place, -1 for none.

    The shares are positive somewhere and add up to at most 1.
    """
    if len(keys) == 1:  # the same, without logarithms
        ((name, digest),), (share,) = keys, weights
        return lambda subject: 0 if draw(subject, digest, name) < share else -1
    total = min(1.0, math.fsum(weights))
    if total > 1 - _ROUNDING:
        total = 1.0  # meant to be everybody
    horizon = -math.log1p(-total) / total if total < 1 else math.inf
    runners = [(place, *key, share) for place, (key, share) in enumerate(zip(keys, weights, strict=True)) if share]

    def chosen(subject: str) -> int:
        first, soonest = -1, horizon
        for place, name, digest, share in runners:
            number = draw(subject, digest, name)
            time = -math.log1p(-number) / share if number < 1 else math.inf
            if time < soonest:
                first, soonest = place, time
        return first

    return chosen


def draw(subject: str, digest: str, name: str = CHALLENGER) -> float:
    """Return the number in [0, 1) that an arm draws for a subject token.

    BLAKE2b of the token, keyed by the digest of the arm's release (RFC 7693), so that anyone with the log can
    recompute it. Before the token stand the arm's name and a stroke; before it stands nothing for the challenger.
    """
    key = digest.removeprefix("sha256:").encode()[:64]
    message = subject if name == CHALLENGER else f"{name}/{subject}"
    hashed = hashlib.blake2b(message.encode(), key=key, digest_size=8).digest()
    return int.from_bytes(hashed, "big") / _PARTS
