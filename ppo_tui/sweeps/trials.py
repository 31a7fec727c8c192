"""The trials of a sweep, kept in its Optuna study ``study.db``."""

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
"""Attribute of a trial: its number for the user, kept if it is tried again."""

STARTUP_TRIALS = 5
"""Trials drawn at random and never pruned, before the sampler and the pruner begin."""

WARM_UP = MILESTONES // 4
"""Milestones of a trial before it may be pruned: early scores mean little."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a trial.

    Attributes:
        score: mean over its seeds, for a pruned trial at that point; None without any.
        state: ``complete``, ``pruned`` or ``failed``.
        settings: the values tried.
        runs: the directories of its runs, as `ppo-tui compare` takes them.
    """

    trial: int
    score: float | None
    state: str
    settings: dict[str, Any]
    runs: tuple[str, ...]


def open_study(path: Path, seed: int) -> optuna.Study:
    """Open the study in this file, or create it.

    Trials left running by a killed sweep go back into the queue, with the same settings.
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
        # With the same seed again, the trials after a restart would repeat those before it.
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
    """Ask for the next trial; None once `total` have begun."""
    trials = study.get_trials(deepcopy=False)
    begun = {trial.user_attrs[INDEX] for trial in trials if INDEX in trial.user_attrs}
    if len(begun) >= total and not any(trial.state is TrialState.WAITING for trial in trials):
        return None
    trial = study.ask()
    if INDEX not in trial.user_attrs:
        trial.set_user_attr(INDEX, max(begun, default=-1) + 1)
    return trial


def settled(study: optuna.Study) -> list[FrozenTrial]:
    """The ended trials: complete ones, best first, then pruned, then failed ones."""
    newest: dict[int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        if INDEX in trial.user_attrs:
            newest[trial.user_attrs[INDEX]] = trial
    over = [trial for trial in newest.values() if trial.state.is_finished()]
    ranks = {TrialState.COMPLETE: 0, TrialState.PRUNED: 1}
    return sorted(over, key=lambda trial: (ranks.get(trial.state, 2), -(trial.value if trial.value is not None else 0)))
