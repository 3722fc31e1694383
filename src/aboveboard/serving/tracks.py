"""Which release decides about whom: champion, challenger by a sticky hash of the subject, shadows beside them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from aboveboard.errors import Misuse
from aboveboard.serving.deployment import Deployment

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
SHADOW: Final = "shadow"

_PARTS: Final = 1 << 64


class TrackPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an operator asks for: releases by digest or any reference the store knows."""

    champion: str
    challenger: str | None = None
    weight: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0
    """The challenger's share of subjects, in per cent."""
    shadows: list[str] = []
    """Releases that score every request beside the one that decides, and answer nobody."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """The releases in service at one moment. It never changes; a reload puts another in its place, at once.

    Raises `Misuse` where the releases do not belong side by side.
    """

    champion: Deployment
    challenger: Deployment | None = None
    weight: float = 0
    shadows: tuple[Deployment, ...] = ()

    def __post_init__(self) -> None:
        for other in (self.challenger, *self.shadows):
            if other is None:
                continue
            if other.name != self.champion.name:
                raise Misuse(
                    f"release of {other.name} cannot stand beside one of {self.champion.name}",
                    hint="tracks hold releases of one model",
                )
            if other.digest == self.champion.digest:
                raise Misuse("a release cannot be challenger or shadow to itself", hint="name another release")
        if self.weight and self.challenger is None:
            raise Misuse("a weight needs a challenger", hint="name the release it is for")

    def choose(self, subject: str) -> tuple[str, Deployment]:
        """Return the track and the release that decide about a subject token: always the same for the same person."""
        challenger = self.challenger
        if challenger is None or share_of(subject, challenger.digest) >= self.weight / 100:
            return CHAMPION, self.champion
        return CHALLENGER, challenger

    def plan(self) -> TrackPlan:
        """Return the plan that asks for these tracks."""
        return TrackPlan(
            champion=self.champion.digest,
            challenger=self.challenger.digest if self.challenger else None,
            weight=self.weight,
            shadows=[shadow.digest for shadow in self.shadows],
        )

    def deployments(self) -> tuple[Deployment, ...]:
        """Return every release in service, the champion first."""
        return (self.champion, *([self.challenger] if self.challenger else []), *self.shadows)


def share_of(subject: str, digest: str) -> float:
    """Return where in [0, 1) a subject token falls for a challenger: below the weight, the challenger decides.

    BLAKE2b of the token, keyed by the challenger's digest (RFC 7693): who meets one challenger says nothing about
    who meets the next, a growing weight only ever adds people, and anyone with the log can recompute it.
    """
    key = digest.removeprefix("sha256:").encode()[:64]
    hashed = hashlib.blake2b(subject.encode(), key=key, digest_size=8).digest()
    return int.from_bytes(hashed, "big") / _PARTS
