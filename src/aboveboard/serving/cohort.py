"""Protected attributes that come with a request: counted, so that unfairness shows, and kept from the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from aboveboard.errors import RequestRefused
from aboveboard.spec.protected import ProtectedAttribute

UNASSIGNED: Final = "unassigned"
"""The group of those whose value is missing or belongs to no declared group."""

Scalar = bool | int | float | str | None

_REMEMBERED: Final = 4_096
"""Values of one attribute whose group is remembered; clients choose values, so there is a bound."""


class Cohort:
    """Protected attributes as a client sent them.

    It is neither a mapping nor a sequence, on purpose: nothing that encodes features for a model takes one,
    and the type checker says so before a request does.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Scalar]) -> None:
        self._values = values

    def names(self) -> Iterator[str]:
        """Return the names of the attributes that were sent."""
        return iter(self._values)

    def texts(self) -> list[str]:
        """Return the values that are strings, to be looked through for what may not be there."""
        return [value for value in self._values.values() if isinstance(value, str)]

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Cohort({len(self._values)} attributes)"


class Grouping:
    """The protected attributes of a model, and the group each value belongs to.

    An attribute is named as the spec names it or as its column is; its value is a group's name, or what the
    column would hold. Safe to share between threads.
    """

    def __init__(self, protected: Sequence[ProtectedAttribute]) -> None:
        self._protected = tuple(protected)
        self.attributes = tuple(attribute.name for attribute in protected)
        names = [(name, place) for place, a in enumerate(protected) for name in {a.name, a.column}]
        self._places: Mapping[str, int] = dict(names)
        # Keyed by type, too: 1, 1.0, True and "1" are one key to a dict, and not one value to a spec.
        self._known: list[dict[tuple[type, Scalar], str]] = [{} for _ in protected]
        self._nobody = (UNASSIGNED,) * len(protected)

    def groups_of(self, cohort: Cohort | None) -> tuple[str, ...]:
        """Return the group of each protected attribute, in the order they are declared.

        Raises `RequestRefused` for an attribute that the spec does not declare, or one that is named twice.
        """
        if cohort is None or not cohort._values:
            return self._nobody
        groups: list[str] = [UNASSIGNED] * len(self._protected)
        seen = 0
        for name, value in cohort._values.items():
            place = self._places.get(name)
            if place is None:
                raise RequestRefused(
                    "cohort names an attribute that the model spec does not declare as protected",
                    hint="send " + ", ".join(self.attributes) + ", or leave it out",
                )
            if seen & (1 << place):
                attribute = self._protected[place]
                raise RequestRefused(
                    f"cohort gives {attribute.name} twice, as {attribute.name} and as {attribute.column}",
                    hint="send one of the two",
                )
            seen |= 1 << place
            group = self._known[place].get((value.__class__, value))
            groups[place] = self._find(place, value) if group is None else group
        return tuple(groups)

    def known(self, groups: Sequence[str]) -> dict[str, str] | None:
        """Return the groups that are known by attribute, or None where none is."""
        return {a: g for a, g in zip(self.attributes, groups, strict=True) if g is not UNASSIGNED} or None

    def _find(self, place: int, value: Scalar) -> str:
        group = group_of(self._protected[place], value)
        known = self._known[place]
        if len(known) < _REMEMBERED:
            known[(value.__class__, value)] = group
        return group


def group_of(attribute: ProtectedAttribute, value: Scalar) -> str:
    """Return the group of one value, given as the group's name or as the column holds it, or `UNASSIGNED`."""
    for group in attribute.groups:
        if group.name == value:
            return group.name
    return attribute.group_of(value) or UNASSIGNED
