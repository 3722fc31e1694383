"""The model spec as a whole, and the rules that span its parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from aboveboard.spec.data import DataSpec, Feature
from aboveboard.spec.decision import Algorithm, DecisionSpec, EvaluationSpec
from aboveboard.spec.operation import Governance, Monitoring, Retention, Rollout, Serving
from aboveboard.spec.protected import ProtectedAttribute
from aboveboard.spec.types import LegalBasis, Materiality, Name, Origin, Purpose, Strict, Text, Texts

API_VERSION = "aboveboard.dev/v1alpha1"


class Metadata(Strict):
    """What the model is called and who owns it."""

    name: Name
    owner: Text
    description: Text | None = None
    labels: dict[str, str] = {}


class Spec(Strict):
    """Everything a model declares about itself."""

    purpose: Purpose
    materiality: Materiality
    jurisdictions: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Whose policy packs judge the model, e.g. `us`, `eu`."""
    regions: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Where it may run."""
    governance: Governance = Governance()
    data: DataSpec
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    reason_groups: dict[Name, Texts] = {}
    protected: Annotated[tuple[ProtectedAttribute, ...], Field(min_length=1)]
    model: Algorithm
    decision: DecisionSpec
    evaluation: EvaluationSpec
    serving: Serving = Serving()
    rollout: Rollout = Rollout()
    monitoring: Monitoring = Monitoring()
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        complaints = list(self._disagreements())
        if complaints:
            raise ValueError("\n".join(f"{path}\t{message}\t{hint}" for path, message, hint in complaints))
        return self

    def _disagreements(self) -> Iterator[tuple[str, str, str]]:
        """Yield (path below spec, message, hint) for everything that is wrong between the parts."""
        seen: set[str] = set()
        protected = {attribute.column: attribute.name for attribute in self.protected}
        for index, feature in enumerate(self.features):
            path = f"features.{index}"
            if feature.name in seen:
                yield f"{path}.name", f"feature {feature.name!r} is declared twice", "remove one"
            seen.add(feature.name)
            if feature.name in (self.data.target.column, self.data.identifier):
                yield (
                    f"{path}.name",
                    f"{feature.name!r} is the target or the identifier",
                    "it cannot be a feature",
                )
            if feature.name in protected and feature.protected_use is None:
                yield (
                    f"{path}.name",
                    f"{feature.name!r} is a protected attribute ({protected[feature.name]})",
                    "remove it from features, or state the statute that allows it in protectedUse",
                )
            if feature.reason_group is not None and feature.reason_group not in self.reason_groups:
                yield (
                    f"{path}.reasonGroup",
                    f"no reason group {feature.reason_group!r}",
                    "declare its text under reasonGroups",
                )
        for index, attribute in enumerate(self.protected):
            if attribute.column == self.data.target.column:
                yield f"protected.{index}.column", "the target cannot be protected", "name another column"
        if self.data.source.region not in self.regions:
            yield (
                "data.source.region",
                f"data in {self.data.source.region!r} is outside the regions",
                "add it there",
            )

    def legal_basis_of(self, feature: Feature) -> LegalBasis:
        """Return the feature's own legal basis, or the one that holds for all data."""
        return feature.legal_basis or self.data.legal_basis

    def origin_of(self, feature: Feature) -> Origin:
        """Return the feature's own origin, or the one that holds for all data."""
        return feature.origin or self.data.origin

    def reason_texts(self, feature: Feature) -> tuple[str, Texts]:
        """Return the reason code a feature counts towards, and its texts by language."""
        if feature.reason_group is not None:
            return feature.reason_group, self.reason_groups[feature.reason_group]
        assert feature.reasons is not None  # noqa: S101  the feature's own validator saw to it
        return feature.name, feature.reasons


class ModelSpec(Strict):
    """A model.yaml, version `aboveboard.dev/v1alpha1`."""

    api_version: Literal["aboveboard.dev/v1alpha1"]
    kind: Literal["Model"]
    metadata: Metadata
    spec: Spec
