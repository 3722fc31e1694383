"""Protected attributes that come with a request: counted, so that unfairness shows, and kept from the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aboveboard.errors import RequestRefused
from aboveboard.spec.protected import ProtectedAttribute

UNASSIGNED = "unassigned"
"""The group of those whose value is missing or belongs to no declared group."""

Scalar = bool | int | float | str | None


class Cohort:
    """Protected attributes as a client sent them.

    It is neither a mapping nor a sequence, on purpose: nothing that encodes features for a model takes one,
    and the type checker says so before a request does.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Scalar]) -> None:
        self._values = dict(values)

    def names(self) -> Iterator[str]:
        """Return the names of the attributes that were sent."""
        return iter(self._values)

    def texts(self) -> Iterator[str]:
        """Return the values that are strings, to be looked through for what may not be there."""
        return (value for value in self._values.values() if isinstance(value, str))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Cohort({len(self._values)} attributes)"


def groups_of(cohort: Cohort | None, protected: Sequence[ProtectedAttribute]) -> tuple[str, ...]:
    """Return the group of each protected attribute, in the order they are declared.

    An attribute is named as the spec names it or its column; its value is a group's name or what the column
    would hold. Raises `RequestRefused` for an attribute that the spec does not declare, or one named twice.
    """
    if cohort is None or not len(cohort):
        return (UNASSIGNED,) * len(protected)
    values = cohort._values
    found = 0
    groups = []
    for attribute in protected:
        given = [name for name in {attribute.name, attribute.column} if name in values]
        if len(given) > 1:
            raise RequestRefused(
                f"cohort gives {attribute.name} twice, as {attribute.name} and as {attribute.column}",
                hint="send one of the two",
            )
        found += len(given)
        groups.append(_group(attribute, values[given[0]]) if given else UNASSIGNED)
    if found != len(values):
        raise RequestRefused(
            "cohort names an attribute that the model spec does not declare as protected",
            hint="send " + ", ".join(attribute.name for attribute in protected) + ", or leave it out",
        )
    return tuple(groups)


def _group(attribute: ProtectedAttribute, value: Scalar) -> str:
    if any(group.name == value for group in attribute.groups):
        return str(value)
    return attribute.group_of(value) or UNASSIGNED
