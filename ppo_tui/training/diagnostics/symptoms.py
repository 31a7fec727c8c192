"""The table of symptoms, the source of docs/diagnostics.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .readings import Readings


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """One alarm: when it is raised, and its texts.

    Attributes:
        name: of the alarm.
        title: what is wrong, in a few words.
        measured: the number that is compared with `limit`, in words.
        measure: that number now; None where it has no meaning.
        above: whether it is too high beyond `limit`, else too low.
        limit: ill beyond this, for `patience` updates in a row in which there is a number.
        well: healthy again at this or better, for as many updates in a row.
        applies: whether the symptom makes sense for the configuration.
        reason: the message, from the number and the readings.
        edit: the command that is suggested; empty where no live setting helps.
        source: where the limit comes from.
        remedy: what else helps.
        after: alarms that explain this one: while one of them is active, this one is not checked.
    """

    name: str
    title: str
    measured: str
    measure: Callable[[Readings], float | None]
    above: bool = True
    limit: float
    well: float
    patience: int
    applies: Callable[[Readings], bool] = lambda run: True
    reason: Callable[[float, Readings], str]
    edit: Callable[[float, Readings], str] = lambda value, run: ""
    source: str
    remedy: str
    after: tuple[str, ...] = ()

    def is_ill(self, value: float) -> bool:
        return value > self.limit if self.above else value < self.limit

    def is_well(self, value: float) -> bool:
        return value <= self.well if self.above else value >= self.well


USUAL_KL = 0.02
"""A healthy update's mean KL is seldom above this (Huang et al., 2022)."""

RATE, ENTROPY, VALUE = "optim.learning_rate", "ppo.entropy_coef", "ppo.value_coef"


def _clips(run: Readings) -> bool:
    """Whether ratios can leave 1 within an update, and are clipped then."""
    several = (run.setting("ppo.epochs") or 1) * (run.configured("ppo.minibatches") or 1) > 1
    return run.configured("ppo.surrogate") == "clip" and several


def _slower(kl: float, run: Readings) -> str:
    """Suggest a learning rate for the usual KL, quadratic in the step."""
    return run.edit(RATE, run.setting(RATE) * min(0.5, math.sqrt(USUAL_KL / kl)))


def _times(key: str, factor: float, at_least: float = 0.0) -> Callable[[float, Readings], str]:
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
        name="ratio-not-one",
        title="the learning policy is not the one that acted",
        measured="the largest \\|rₜ − 1\\| of an update's first minibatch (`train/ratio_error_first`)",
        measure=lambda run: run.metric("train/ratio_error_first"),
        limit=0.01,
        well=0.01,
        patience=1,
        applies=lambda run: not run.configured("run.overlap") and run.configured("policy.precision") == "float32",
        reason=lambda value, run: (
            f"the probability ratio is {value:.2g} away from 1 before the first step of an update: the policy that "
            "learns is not the one that acted; dropout or batch normalisation in the network causes this"
        ),
        source="Before the first step both policies are the same: the ratio is 1 up to rounding, which stays below "
        "1e-5 here (Huang et al., 2022, “37 details”, debugging). Not checked with `run.overlap`, where the policy is "
        "stale on purpose, nor in bf16",
        remedy="remove dropout and batch normalisation from `policy.network`; check that action masks depend on the "
        "state alone",
    ),
    Symptom(
        name="kl-spike",
        title="the policy moved too far in one update",
        measured="the mean approximate KL of an update (`train/approx_kl`)",
        measure=lambda run: run.metric("train/approx_kl"),
        limit=0.2,
        well=0.1,
        patience=1,
        reason=lambda value, run: (
            f"the policy moved too far in one update: KL {value:.2g}, more than ten times the usual; {_is(run, RATE)}"
        ),
        edit=_slower,
        source="KL usually stays below 0.02 (Huang et al., 2022), and early stopping aims at 0.01 to 0.03 (Spinning "
        "Up, rl-baselines3-zoo); the highest in healthy runs of the presets here was 0.09. Unscaled observations "
        "make it explode in the first update",
        remedy="a lower learning rate, fewer `ppo.epochs`, a `ppo.target_kl`; scaled or normalised observations; "
        "rewind to an earlier checkpoint",
        after=("ratio-not-one",),
    ),
    Symptom(
        name="clip-fraction-high",
        title="most samples are clipped",
        measured="the share of samples whose ratio is clipped (`train/clip_fraction`)",
        measure=lambda run: run.metric("train/clip_fraction"),
        limit=0.5,
        well=0.4,
        patience=3,
        applies=_clips,
        reason=lambda value, run: (
            f"{value:.0%} of the samples are clipped, three updates in a row: steps are too large for "
            f"ppo.clip_range {run.setting('ppo.clip_range'):.3g}; {_is(run, RATE)}"
        ),
        edit=_times(RATE, 0.5),
        source="0.05 to 0.3 is usual; the highest in healthy runs of the presets here was 0.37 (Pendulum)",
        remedy="a lower learning rate, fewer `ppo.epochs`",
        after=("ratio-not-one", "kl-spike"),
    ),
    Symptom(
        name="clip-fraction-low",
        title="updates hardly move the policy",
        measured="the mean approximate KL, while the learning rate is not annealed away",
        measure=_kl_of_full_steps,
        above=False,
        limit=1e-6,
        well=1e-5,
        patience=20,
        applies=_clips,
        reason=lambda value, run: (
            f"updates hardly move the policy: KL {value:.1g} and {run.metric('train/clip_fraction') or 0.0:.0%} "
            f"clipped, 20 updates in a row; {_is(run, RATE)}"
        ),
        edit=_times(RATE, 10.0, at_least=1e-5),
        source="Nothing is clipped there, and steps are a hundredth of those for a KL of 0.01. Healthy runs stay there "
        "for six updates in a row at most, at their end",
        remedy="a higher learning rate, more `ppo.epochs`; check whether gradients vanish (`train/grad_norm`)",
    ),
    Symptom(
        name="dead-units",
        title="much of the network is dead",
        measured="the share of units that are dead on a whole minibatch (`train/dead_units`), every tenth pass",
        measure=lambda run: run.metric("train/dead_units"),
        limit=0.8,
        well=0.7,
        patience=3,
        reason=lambda value, run: (
            f"{value:.0%} of the network's units are dead: zero (ReLU) or saturated (tanh) on whole minibatches, so "
            f"no gradient passes them; {_is(run, RATE)}"
        ),
        edit=_times(RATE, 0.3),
        source="Dead units cost the network capacity and rarely recover by themselves (Sokar et al., 2023, "
        "arXiv:2302.12902). On Breakout a third of a fresh Nature CNN is constant, which does no harm: its frames are "
        "much alike",
        remedy="a lower learning rate, scaled or normalised inputs, another `policy.activation`; dead units stay dead: "
        "rewind to an earlier checkpoint",
        after=("kl-spike",),
    ),
    Symptom(
        name="entropy-collapse",
        title="the policy has stopped exploring",
        measured="the entropy (`train/entropy_loss`; of continuous actions `train/std`) as a share of the first "
        "update's, while the return is no better than in the beginning",
        measure=lambda run: 1.0 if run.improved else run.freedom,
        above=False,
        limit=0.02,
        well=0.05,
        patience=3,
        reason=lambda value, run: (
            f"the policy has stopped exploring: {value:.1%} of its first entropy is left, and its return is no "
            f"better than in the beginning; {_is(run, ENTROPY)}"
        ),
        edit=_times(ENTROPY, 2.0, at_least=0.01),
        source="A policy that has learnt its task may be certain (Acrobot: 8 % of its first entropy when solved); a "
        "certain policy without any gain will not improve",
        remedy="a higher `ppo.entropy_coef`, a lower learning rate; rewind to an earlier checkpoint",
        after=("kl-spike", "dead-units"),
    ),
    Symptom(
        name="stalled-return",
        title="the return carries no signal",
        measured="the newest episodes in a row with the very same return, while others were better or none differed",
        measure=lambda run: float(run.stuck_episodes),
        limit=99.0,
        well=1.0,
        patience=1,
        reason=lambda value, run: (
            f"the last {value:.0f} episodes all returned {run.mean_return:.4g}: no action makes a difference to learn "
            f"from; {_is(run, ENTROPY)}"
        ),
        edit=_times(ENTROPY, 2.0, at_least=0.01),
        source="Advantages are differences between returns; `rollout/ep_rew_mean` averages a hundred episodes",
        remedy="check the environment's reward, and whether random actions ever change it; explore more",
        after=("dead-units", "entropy-collapse"),
    ),
    Symptom(
        name="explained-variance",
        title="the critic explains nothing",
        measured="the share of the returns' variance that the critic explains (`train/explained_variance`, less than 0 "
        "counted as 0), mean of 40 updates, in a run that has never reached 0.3",
        measure=lambda run: run.explained,
        above=False,
        limit=0.02,
        well=0.1,
        patience=1,
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
        source="1 is a perfect critic, 0 is as good as a constant, less is worse than none (Stable-Baselines3, "
        "Spinning Up). A frozen critic reaches 0.01 here by chance, Pong in its first 40 updates 0.03, others "
        "0.2. Rollouts below 128 steps, or of single episodes, are too short to judge by",
        remedy="a higher `ppo.value_coef`; a separate critic (`policy.shared = false`); `ppo.normalize_rewards` "
        "where returns are large",
        after=("ratio-not-one", "kl-spike", "dead-units", "entropy-collapse", "stalled-return"),
    ),
    Symptom(
        name="slow-worker",
        title="one worker holds up the others",
        measured="the slowest worker's time for one environment step, from request to reply, divided by the others' "
        "median; medians over at least four seconds, and only where it works for 30 % of the time",
        measure=lambda run: None if run.straggler is None else run.straggler[1],
        limit=4.0,
        well=2.5,
        patience=1,
        reason=_slow_worker,
        source="All wait for the slowest, and equal workers take equally long; on a shared machine one may be three "
        "times as slow for seconds",
        remedy="check what else runs on its core; use a machine of your own; environments of equal cost",
    ),
    Symptom(
        name="starved-learner",
        title="the learner starves",
        measured="the share of time spent waiting for workers (`time/share_wait`), over at least ten updates and four "
        "seconds",
        measure=lambda run: run.wait_share,
        limit=0.8,
        well=0.7,
        patience=1,
        applies=lambda run: run.configured("run.algorithm") == "ppo",
        reason=lambda value, run: (
            f"the learner starves: it waits for environments {value:.0%} of the time, at least four times as long as "
            f"it learns; workers.count is {run.configured('workers.count')}, with {len(run.pids)} at work"
        ),
        source="The presets wait for 3 % (Breakout) to 30 % (Acrobot) of the time on two cores; beyond 80 % a faster "
        "learner or a GPU gains next to nothing",
        remedy="more workers and environments where cores are free (`ppo-tui bench` finds the fastest layout), "
        "`run.overlap`, a faster environment; more `ppo.epochs` cost next to nothing then",
        after=("slow-worker",),
    ),
)
