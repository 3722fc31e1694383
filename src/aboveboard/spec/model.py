"""The model spec as a whole, and the rules that span its parts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from aboveboard.spec.agreement import disagreements
from aboveboard.spec.data import DataSpec, Feature
from aboveboard.spec.decision import Algorithm, DecisionSpec, EvaluationSpec
from aboveboard.spec.operation import Governance, Monitoring, Retention, Rollout, Serving
from aboveboard.spec.protected import ProtectedAttribute
from aboveboard.spec.reading import DISAGREEMENT
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
        found = tuple(
            disagreements(
                dict(enumerate(self.features)),
                dict(enumerate(self.protected)),
                self.reason_groups,
                self.data,
                self.regions,
            )
        )
        if found:
            raise PydanticCustomError(DISAGREEMENT, "parts of the spec disagree", {"found": found})
        return self

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
