"""The search for a model's parameters: every candidate is fitted, judged and kept on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.models.fit import fit_model
from aboveboard.spec import ModelSpec
from aboveboard.spec.decision import Parameter, Span

if TYPE_CHECKING:
    import optuna

_VALIDATION_SHARE = 0.25


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One candidate: its parameters, and its AUC on records that it was not fitted on."""

    number: int
    parameters: dict[str, Parameter]
    auc: float


def search_parameters(
    spec: ModelSpec,
    rows: NDArray[np.float64],
    favourable: NDArray[np.bool_],
    *,
    trials: int,
    observe: Callable[[Trial], None],
) -> tuple[dict[str, Parameter], list[Trial]]:
    """Return the best parameters and every trial, by the tree-structured Parzen estimator (Bergstra et al. 2011).

    `rows` (n, width) and `favourable` (n,) are the training partition; a quarter of it, drawn by the model's
    seed, judges the candidates. The held-out and calibration partitions are never touched. The first trial is
    always the parameters as the spec states them, so a search cannot end below where it began. With no space
    to search, or no trials, the stated parameters are returned and the list is empty.
    """
    algorithm = spec.spec.model
    stated = dict(algorithm.parameters)
    if not algorithm.search.space or trials < 1:
        return stated, []
    import optuna
    from sklearn.metrics import roc_auc_score

    order = np.random.default_rng(algorithm.seed).permutation(len(rows))
    cut = int(len(rows) * _VALIDATION_SHARE)
    validation, fitting = order[:cut], order[cut:]
    record: list[Trial] = []

    def objective(trial: optuna.Trial) -> float:
        parameters = stated | {name: _suggest(trial, name, span) for name, span in algorithm.search.space.items()}
        model = fit_model(
            spec,
            rows[fitting],
            favourable[fitting],
            rows[validation],
            favourable[validation],
            parameters=parameters,
            seed=algorithm.seed,
        )
        auc = float(roc_auc_score(favourable[validation], model.margin(rows[validation])))
        record.append(Trial(number=trial.number + 1, parameters=parameters, auc=auc))
        observe(record[-1])
        return auc

    # Trials are reported through `observe`; optuna would also print a stack for one that Ctrl-C ended.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=algorithm.seed))
    inside = {name: stated[name] for name in algorithm.search.space if name in stated}
    if inside:
        study.enqueue_trial(inside, skip_if_exists=True)
    study.optimize(objective, n_trials=trials)
    return max(record, key=lambda trial: (trial.auc, -trial.number)).parameters, record


def _suggest(trial: optuna.Trial, name: str, span: Span | tuple[Parameter, ...]) -> Parameter:
    """Draw one parameter; a span whose ends are whole numbers is searched in integers."""
    if not isinstance(span, Span):
        return span[trial.suggest_int(name, 0, len(span) - 1)]
    if span.low.is_integer() and span.high.is_integer():
        return trial.suggest_int(name, int(span.low), int(span.high), log=span.log)
    return trial.suggest_float(name, span.low, span.high, log=span.log)
