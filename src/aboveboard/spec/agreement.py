"""The rules that span several parts of a spec, checked even where other parts are still wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from aboveboard.spec.data import DataSpec, Feature
from aboveboard.spec.protected import ProtectedAttribute


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two parts of a spec that contradict each other; `path` is below `spec`."""

    path: tuple[str | int, ...]
    message: str
    hint: str


def disagreements(
    features: Mapping[int, Feature],
    protected: Mapping[int, ProtectedAttribute],
    reason_groups: Collection[str] | None,
    data: DataSpec | None,
    regions: Collection[str] | None,
) -> Iterator[Disagreement]:
    """Yield everything that is wrong between the parts; None stands for a part that is itself not valid.

    `features` and `protected` hold the valid items by their position in the file.
    """
    seen: set[str] = set()
    attributes = {attribute.column: attribute.name for attribute in protected.values()}
    for index, feature in features.items():
        name = ("features", index, "name")
        if feature.name in seen:
            yield Disagreement(name, f"feature {feature.name!r} is declared twice", "remove one")
        seen.add(feature.name)
        if data is not None and feature.name in (data.target.column, data.identifier):
            yield Disagreement(name, f"{feature.name!r} is the target or the identifier", "it cannot be a feature")
        if feature.name in attributes and feature.protected_use is None:
            yield Disagreement(
                name,
                f"{feature.name!r} is a protected attribute ({attributes[feature.name]})",
                "remove it from features, or state the statute that allows it in protectedUse",
            )
        for place, attribute_name in enumerate(feature.proxy_for):
            if attribute_name not in attributes.values():
                yield Disagreement(
                    ("features", index, "proxyFor", place),
                    f"no protected attribute {attribute_name!r}",
                    "declare it under protected",
                )
        if reason_groups is not None and feature.reason_group not in (None, *reason_groups):
            yield Disagreement(
                ("features", index, "reasonGroup"),
                f"no reason group {feature.reason_group!r}",
                "declare its text under reasonGroups",
            )
    names: set[str] = set()
    for index, attribute in protected.items():
        if attribute.name in names:
            yield Disagreement(("protected", index, "name"), f"{attribute.name!r} is declared twice", "remove one")
        names.add(attribute.name)
        if data is not None and attribute.column in (data.target.column, data.identifier):
            message = f"{attribute.column!r} is the target or the identifier"
            yield Disagreement(("protected", index, "column"), message, "name another column")
    if data is not None and regions is not None and data.source.region not in regions:
        message = f"data in {data.source.region!r} is outside the regions of the model"
        yield Disagreement(("data", "source", "region"), message, "add the region under regions")
