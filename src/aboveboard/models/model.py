"""A fitted model as one value: it encodes, scores, decides and explains; and its files, strictly read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import AboveboardError, NotVerified
from aboveboard.models.calibration import Calibration
from aboveboard.models.contract import EncodedFeature
from aboveboard.models.encoding import Encoding
from aboveboard.models.lightgbm_trees import TREES_FILE, LightGBMTrees
from aboveboard.models.outcome import OUTCOMES
from aboveboard.models.predictor import Predictor
from aboveboard.models.reasons import Reason, ReasonCode, rank, text_for
from aboveboard.models.reference import FEWEST, Reference
from aboveboard.models.scorecard import SCORECARD_FILE, Scorecard
from aboveboard.spec.types import Family, Purpose, ReferenceConvention

MODEL_FILE: Final = "model.json"
_PREDICTOR_FILE: Final = {Family.LIGHTGBM: TREES_FILE, Family.SCORECARD: SCORECARD_FILE}
_LOCALES: Final = 64
"""For how many locales the texts are remembered; callers choose locales, so there is a bound."""


class DecisionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a score becomes an outcome, and the reasons that go with it."""

    purpose: Purpose
    approve_at: float
    refer_at: float
    convention: ReferenceConvention
    max_reasons: int


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of model.json: everything about a model but its trees or points."""

    format: Literal["aboveboard-model/1"]
    family: Family
    features: tuple[EncodedFeature, ...]
    decision: DecisionRule
    calibration: Calibration
    references: dict[ReferenceConvention, Reference]
    reason_codes: tuple[ReasonCode, ...]


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted, calibrated model with its cut-offs, references and reason texts. Safe to share between threads.

    Rows are encoded records, shape (n, width); scores are calibrated probabilities of the favourable outcome.
    Raises `NotVerified` where the parts do not fit each other.
    """

    encoding: Encoding
    predictor: Predictor
    calibration: Calibration
    decision: DecisionRule
    references: Mapping[ReferenceConvention, Reference]
    reason_codes: tuple[ReasonCode, ...]
    """In the order in which their features are declared, which breaks ties between reasons."""
    code_of_column: NDArray[np.intp] = field(init=False, repr=False)
    """For each column, the index of the reason code it counts towards."""
    _rows: dict[ReferenceConvention, NDArray[np.float64]] = field(init=False, repr=False)
    _texts: dict[str, tuple[str, ...]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        code_of = {name: index for index, code in enumerate(self.reason_codes) for name in code.features}
        declared = [feature.name for feature in self.encoding.features]
        stated = [name for code in self.reason_codes for name in code.features]
        if sorted(stated) != sorted(declared) or not all(code.texts for code in self.reason_codes):
            raise _unfit("the reason codes do not cover each feature once, with a text")
        if len({code.code for code in self.reason_codes}) != len(self.reason_codes):
            raise _unfit("a reason code stands twice")
        rule = self.decision
        if not 0 < rule.refer_at <= rule.approve_at < 1 or not 1 <= rule.max_reasons <= 4:
            raise _unfit("the cut-offs are out of order, or more than four reasons are asked for")
        columns = [code_of[self.encoding.features[owner].name] for owner in self.encoding.owner]
        object.__setattr__(self, "code_of_column", np.array(columns, dtype=np.intp))
        object.__setattr__(self, "_rows", {c: self._reference_row(c) for c in ReferenceConvention})

    def _reference_row(self, convention: ReferenceConvention) -> NDArray[np.float64]:
        reference = self.references.get(convention)
        if reference is None or reference.people < FEWEST:
            raise _unfit(f"the reference {convention.value} is missing, or summarises too few people")
        row = self.encoding.encode(reference.record)
        score = float(self.score(row.reshape(1, -1))[0])
        if not math.isclose(score, reference.score, abs_tol=1e-9) or score < self.approve_at:
            raise _unfit(
                f"the reference {convention.value} does not have the score it states, at the cut-off or above"
            )
        row.flags.writeable = False
        return row

    @property
    def family(self) -> Family:
        """Return which kind of model it is."""
        return self.predictor.family

    @property
    def approve_at(self) -> float:
        """Return the score from which the outcome is favourable."""
        return self.decision.approve_at

    @property
    def refer_at(self) -> float:
        """Return the score from which a person decides; below it the outcome is adverse."""
        return self.decision.refer_at

    def margin(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log-odds of the favourable outcome, shape (n,), before calibration."""
        return self.predictor.margin(rows)

    def margin_of(self, row: NDArray[np.float64]) -> float:
        """Return the log-odds of one row, shape (width,), bit for bit as `margin` does."""
        return self.predictor.margin_of(row)

    def score(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities of the favourable outcome, shape (n,)."""
        return self.calibration.apply(self.predictor.margin(rows))

    def outcome(self, score: float) -> str:
        """Return the word for what a score leads to, e.g. approve, refer or decline."""
        words = OUTCOMES[self.decision.purpose]
        if score >= self.decision.approve_at:
            return words.favourable
        return words.referred if score >= self.decision.refer_at else words.adverse

    @property
    def outcomes(self) -> tuple[str, str, str]:
        """Return the words for the outcomes: favourable, referred, adverse."""
        return OUTCOMES[self.decision.purpose]

    def reference(self, convention: ReferenceConvention | None = None) -> NDArray[np.float64]:
        """Return the reference row, shape (width,), of a convention; of the model's own where none is named."""
        return self._rows[convention or self.decision.convention]

    def attribute(
        self, rows: NDArray[np.float64], convention: ReferenceConvention | None = None
    ) -> NDArray[np.float64]:
        """Return exact Baseline Shapley values, shape (n, width), in log-odds against the reference.

        Each row's add up to its margin minus the reference's. A feature of several columns is one player, whose
        contribution stands in the first of them.
        """
        return self.predictor.attribute(rows, self.reference(convention))

    def by_reason(self, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add contributions up by reason code: shape (n, width) becomes (n, reason codes)."""
        merged = np.zeros((len(contributions), len(self.reason_codes)))
        np.add.at(merged.T, self.code_of_column, contributions.T)
        return merged

    def reasons(
        self, row: NDArray[np.float64], locale: str = "en", convention: ReferenceConvention | None = None
    ) -> list[Reason]:
        """Return the principal reasons why a row, shape (width,), scores below the reference, weightiest first.

        They matter for every outcome that is not favourable. `locale` is a BCP 47 tag; see `reasons.text_for`.
        """
        contributions = self.attribute(row.reshape(1, -1), convention)[0]
        merged = np.bincount(self.code_of_column, contributions, len(self.reason_codes)).tolist()
        texts = self._texts_in(locale)
        return [
            Reason(self.reason_codes[index].code, texts[index], merged[index], self.reason_codes[index].features)
            for index in rank(merged, texts, self.decision.max_reasons)
        ]

    def _texts_in(self, locale: str) -> tuple[str, ...]:
        texts = self._texts.get(locale)
        if texts is None:
            texts = tuple(text_for(code.texts, locale) for code in self.reason_codes)
            if len(self._texts) < _LOCALES:
                self._texts[locale] = texts
        return texts

    def files(self) -> dict[str, bytes]:
        """Return the model as files, by name; `load_model` reads them. The same model gives the same bytes."""
        document = ModelFile(
            format="aboveboard-model/1",
            family=self.family,
            features=self.encoding.features,
            decision=self.decision,
            calibration=self.calibration,
            references=dict(self.references),
            reason_codes=self.reason_codes,
        )
        content = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
        return {MODEL_FILE: content, **self.predictor.files()}


def load_model(files: Mapping[str, bytes]) -> Model:
    """Return the model that `Model.files` wrote. Raises `NotVerified` for anything else."""
    if MODEL_FILE not in files:
        raise NotVerified(f"{MODEL_FILE} is missing", hint="fetch or build the model again")
    try:
        document = msgspec.json.decode(files[MODEL_FILE], type=ModelFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unfit(f"{MODEL_FILE}: {error}") from error
    expected = {MODEL_FILE, _PREDICTOR_FILE[document.family]}
    if set(files) != expected:
        raise _unfit(f"the files are not exactly {', '.join(sorted(expected))}")
    try:
        encoding = Encoding(document.features)
        return Model(
            encoding=encoding,
            predictor=_load_predictor(document.family, files, encoding),
            calibration=document.calibration,
            decision=document.decision,
            references=document.references,
            reason_codes=document.reason_codes,
        )
    except NotVerified:
        raise
    except AboveboardError as error:
        raise _unfit(error.message) from error


def _load_predictor(family: Family, files: Mapping[str, bytes], encoding: Encoding) -> Predictor:
    match family:
        case Family.LIGHTGBM:
            return LightGBMTrees.from_files(files, encoding.owner)
        case Family.SCORECARD:
            return Scorecard.from_files(files, encoding)


def _unfit(why: str) -> NotVerified:
    return NotVerified(f"not a model we can load: {why}", hint="fetch the model again, or build it again")
