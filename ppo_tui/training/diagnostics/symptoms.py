"""The symptoms: measured, worded and mended; limits are in `explanations`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from ...explanations import ALARMS, USUAL_KL, AlarmText, clips
from ...protocol import SuggestedEdit
from .readings import Readings


@dataclass(frozen=True)
class Symptom:
    """One alarm: how it is measured, worded and mended.

    Attributes:
        text: its name, its limits and what is written about it.
        measure: the number to compare with the limit now; None where it has no meaning.
        applies: whether the symptom makes sense for the configuration.
        reason: the message, from the number and the readings.
        edit: of a live setting, to be suggested; None where none helps.
    """

    text: AlarmText
    _: KW_ONLY
    measure: Callable[[Readings], float | None]
    applies: Callable[[Readings], bool] = lambda run: True
    reason: Callable[[float, Readings], str]
    edit: Callable[[float, Readings], SuggestedEdit | None] = lambda value, run: None


RATE, ENTROPY, VALUE = "optim.learning_rate", "ppo.entropy_coef", "ppo.value_coef"


def _slower(kl: float, run: Readings) -> SuggestedEdit | None:
    """Suggest a learning rate for the usual KL, quadratic in the step."""
    return run.edit(RATE, run.setting(RATE) * min(0.5, math.sqrt(USUAL_KL / kl)))


def _times(key: str, factor: float, at_least: float = 0.0) -> Callable[[float, Readings], SuggestedEdit | None]:
    return lambda value, run: run.edit(key, max(run.setting(key) * factor, at_least))


def _is(run: Readings, key: str) -> str:
    return f"{key} is {run.setting(key):.3g}"


def _kl_of_full_steps(run: Readings) -> float | None:
    """The KL; None once annealing leaves the policy still, as it should."""
    annealed = run.setting(RATE) < 0.1 * (run.configured(RATE) or 0.0)
    return None if annealed else run.metric("train/approx_kl")


def _slow_worker(value: float, run: Readings) -> str:
    worker, _ = run.straggler or (0, value)
    return (
        f"worker {worker} (pid {run.pids.get(worker)}) holds up the others: its steps take {value:.1f} times as long "
        "as theirs, and all wait for the slowest; another process may use its core, or its environments are slower"
    )


SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        ALARMS["ratio-not-one"],
        measure=lambda run: run.metric("train/ratio_error_first"),
        applies=lambda run: not run.configured("run.overlap") and run.configured("policy.precision") == "float32",
        reason=lambda value, run: (
            f"the probability ratio is {value:.2g} away from 1 before the first step of an update: the policy that "
            "learns is not the one that acted; dropout or batch normalisation in the network causes this"
        ),
    ),
    Symptom(
        ALARMS["kl-spike"],
        measure=lambda run: run.metric("train/approx_kl"),
        reason=lambda value, run: (
            f"the policy moved too far in one update: KL {value:.2g}, more than ten times the usual; {_is(run, RATE)}"
        ),
        edit=_slower,
    ),
    Symptom(
        ALARMS["clip-fraction-high"],
        measure=lambda run: run.metric("train/clip_fraction"),
        applies=clips,
        reason=lambda value, run: (
            f"{value:.0%} of the samples are clipped, three updates in a row: steps are too large for "
            f"ppo.clip_range {run.setting('ppo.clip_range'):.3g}; {_is(run, RATE)}"
        ),
        edit=_times(RATE, 0.5),
    ),
    Symptom(
        ALARMS["clip-fraction-low"],
        measure=_kl_of_full_steps,
        applies=clips,
        reason=lambda value, run: (
            f"updates hardly move the policy: KL {value:.1g} and {run.metric('train/clip_fraction') or 0.0:.0%} "
            f"clipped, 20 updates in a row; {_is(run, RATE)}"
        ),
        edit=_times(RATE, 10.0, at_least=1e-5),
    ),
    Symptom(
        ALARMS["dead-units"],
        measure=lambda run: run.metric("train/dead_units"),
        reason=lambda value, run: (
            f"{value:.0%} of the network's units are dead: zero (ReLU) or saturated (tanh) on whole minibatches, so "
            f"no gradient passes them; {_is(run, RATE)}"
        ),
        edit=_times(RATE, 0.3),
    ),
    Symptom(
        ALARMS["entropy-collapse"],
        measure=lambda run: 1.0 if run.improved else run.freedom,
        reason=lambda value, run: (
            f"the policy has stopped exploring: {value:.1%} of its first entropy is left, and its return is no "
            f"better than in the beginning; {_is(run, ENTROPY)}"
        ),
        edit=_times(ENTROPY, 2.0, at_least=0.01),
    ),
    Symptom(
        ALARMS["stalled-return"],
        measure=lambda run: float(run.stuck_episodes),
        reason=lambda value, run: (
            f"the last {value:.0f} episodes all returned {run.mean_return:.4g}: no action makes a difference to learn "
            f"from; {_is(run, ENTROPY)}"
        ),
        edit=_times(ENTROPY, 2.0, at_least=0.01),
    ),
    Symptom(
        ALARMS["explained-variance"],
        measure=lambda run: run.explained,
        applies=lambda run: (
            run.configured("run.algorithm") == "ppo"
            and not run.configured("rollout.whole_episodes")
            and run.batch_size >= 128
        ),
        reason=lambda value, run: (
            f"the critic explains nothing of the returns: {value:.1%} of their variance, over 40 updates; "
            f"{_is(run, VALUE)}"
        ),
        edit=_times(VALUE, 2.0, at_least=0.5),
    ),
    Symptom(
        ALARMS["slow-worker"],
        measure=lambda run: None if run.straggler is None else run.straggler[1],
        reason=_slow_worker,
    ),
    Symptom(
        ALARMS["starved-learner"],
        measure=lambda run: run.wait_share,
        applies=lambda run: run.configured("run.algorithm") == "ppo",
        reason=lambda value, run: (
            f"the learner starves: it waits for environments {value:.0%} of the time, at least four times as long as "
            f"it learns; workers.count is {run.configured('workers.count')}, with {len(run.pids)} at work"
        ),
    ),
)
