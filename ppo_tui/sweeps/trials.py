"""The trials of a sweep, as its study in ``study.db`` has them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL

from .definition import MILESTONES

INDEX = "index"
"""Attribute of a trial: its number among those that the user sees; one that is tried again keeps it."""

STARTUP_TRIALS = 5
"""Trials that are drawn at random, and that are never cut short, before others follow from them."""

WARM_UP = MILESTONES // 4
"""Milestones that every trial may take before it is compared with others: early scores say little."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a trial.

    Attributes:
        score: mean over its seeds; of one that was pruned, when it was; None without any.
        state: ``complete``, ``pruned`` or ``failed``.
        settings: what it tried.
        runs: the directories of its runs, as `ppo-tui compare` takes them.
    """

    trial: int
    score: float | None
    state: str
    settings: dict[str, Any]
    runs: tuple[str, ...]


def open_study(path: Path, seed: int) -> optuna.Study:
    """The study in this file, made where there is none.

    Trials that were running when the sweep before was killed are put back in the queue, with the same settings.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(URL.create("sqlite", database=str(path)).render_as_string())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            study_name="sweep",
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARM_UP, n_min_trials=STARTUP_TRIALS
            ),
        )
        known = study.get_trials(deepcopy=False)
        # With the same seed again, the trials after a restart would be those before it once more.
        study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(known), n_startup_trials=STARTUP_TRIALS, constant_liar=True
        )
    for trial in known:
        if trial.state is TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            if (index := trial.user_attrs.get(INDEX)) is not None:
                study.enqueue_trial(trial.params, user_attrs={INDEX: index})
    return study


def ask(study: optuna.Study, total: int) -> optuna.Trial | None:
    """The next trial, one of the queue first; None where `total` have begun."""
    trials = study.get_trials(deepcopy=False)
    begun = {trial.user_attrs[INDEX] for trial in trials if INDEX in trial.user_attrs}
    if len(begun) >= total and not any(trial.state is TrialState.WAITING for trial in trials):
        return None
    trial = study.ask()
    if INDEX not in trial.user_attrs:
        trial.set_user_attr(INDEX, max(begun, default=-1) + 1)
    return trial


def settled(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that are over, the best first, then those that were pruned, then those that failed."""
    newest: dict[int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        if INDEX in trial.user_attrs:
            newest[trial.user_attrs[INDEX]] = trial
    over = [trial for trial in newest.values() if trial.state.is_finished()]
    ranks = {TrialState.COMPLETE: 0, TrialState.PRUNED: 1}
    return sorted(over, key=lambda trial: (ranks.get(trial.state, 2), -(trial.value if trial.value is not None else 0)))
