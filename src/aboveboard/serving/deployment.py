"""A verified release, ready to decide: its model in memory, and what the server must know of its spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aboveboard.errors import NotVerified, RequestRefused
from aboveboard.models import Model, load_model
from aboveboard.models.recourse import RecourseSearch
from aboveboard.serving.cohort import Grouping
from aboveboard.spec.decision import ReviewSpec
from aboveboard.spec.load import parse_spec

MODEL_FILES = "model/"
SPEC_FILE = "model.yaml"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One release in memory. Nothing in it changes; a reload makes another."""

    name: str
    """The model's name, as its spec has it."""
    digest: str
    """The release's digest, which stands for everything that was signed and approved."""
    model: Model
    grouping: Grouping
    """The protected attributes, for counting."""
    jurisdictions: tuple[str, ...]
    retention: str
    """How long decisions are kept, an ISO 8601 duration."""
    human_review: str | None
    """Where a person can ask for a human to decide."""
    review: ReviewSpec
    """How people decide what the model leaves to them."""
    recourse: RecourseSearch
    """Looks for what would have changed the outcome."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Return the names of the protected attributes."""
        return self.grouping.attributes

    def jurisdiction(self, asked: str | None) -> str:
        """Return the jurisdiction of a request, by default the first the model was released for.

        Raises `RequestRefused` for one that the release was not judged under.
        """
        if asked is None:
            return self.jurisdictions[0]
        if asked not in self.jurisdictions:
            raise RequestRefused(
                "this release was not judged under the law of that jurisdiction",
                hint=f"it may decide for {', '.join(self.jurisdictions)}",
            )
        return asked


def deploy(digest: str, files: Mapping[str, bytes]) -> Deployment:
    """Return the deployment of a release whose `files` were verified against `digest` before.

    Raises `NotVerified` when a file is missing or is not what a release holds.
    """
    spec_text = files.get(SPEC_FILE)
    model_files = {name.removeprefix(MODEL_FILES): c for name, c in files.items() if name.startswith(MODEL_FILES)}
    if spec_text is None or not model_files:
        raise NotVerified(f"release {digest} holds no model", hint="create the release again from a finished run")
    try:
        spec = parse_spec(spec_text.decode(), name=SPEC_FILE)
    except UnicodeDecodeError as error:
        raise NotVerified(f"release {digest}: its model.yaml is not text") from error
    model = load_model(model_files)
    return Deployment(
        name=spec.metadata.name,
        digest=digest,
        model=model,
        grouping=Grouping(spec.spec.protected),
        jurisdictions=spec.spec.jurisdictions,
        retention=spec.spec.retention.decisions,
        human_review=spec.spec.governance.human_review,
        review=spec.spec.decision.review,
        recourse=RecourseSearch(model, {feature.name: feature.recourse for feature in spec.spec.features}),
    )
