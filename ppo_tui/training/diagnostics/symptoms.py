"""What the doctor looks for: one table, which docs/diagnostics.md is written from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .readings import Readings


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """One alarm: when it is raised, and what it says.

    Attributes:
        name: of the alarm.
        title: what is wrong, in a few words.
        measured: what the number is.
        measure: the number now; None where it means nothing.
        above: whether it is too high beyond `limit`, else too low.
        limit: ill beyond this, for `patience` updates in a row in which there is a number.
        well: healthy again at this or better, for as many updates in a row.
        applies: whether it makes sense for the configuration.
        reason: the message, of the number and all that is known.
        edit: the command that is suggested; empty where no setting helps that can be changed while the run trains.
        source: where the limit comes from.
        remedy: what else helps.
        after: alarms that explain this one: while one of them stands, this one is not looked for.
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
"""Above this a healthy update's mean KL seldom is (Huang et al., 2022)."""

RATE, ENTROPY, VALUE = "optim.learning_rate", "ppo.entropy_coef", "ppo.value_coef"


def _clips(run: Readings) -> bool:
    """Whether the policy moves away from the one that collected before an update is over, and is clipped then."""
    several = (run.setting("ppo.epochs") or 1) * (run.configured("ppo.minibatches") or 1) > 1
    return run.configured("ppo.surrogate") == "clip" and several


def _slower(kl: float, run: Readings) -> str:
    """A learning rate for the usual KL, which grows as the square of the step."""
    return run.edit(RATE, run.setting(RATE) * min(0.5, math.sqrt(USUAL_KL / kl)))


def _times(key: str, factor: float, at_least: float = 0.0) -> Callable[[float, Readings], str]:
    return lambda value, run: run.edit(key, max(run.setting(key) * factor, at_least))


def _is(run: Readings, key: str) -> str:
    return f"{key} is {run.setting(key):.3g}"


def _kl_of_full_steps(run: Readings) -> float | None:
    """The KL, unless the learning rate is annealed away: policies then stand still as they should."""
    annealed = run.setting(RATE) < 0.1 * (run.configured(RATE) or 0.0)
    return None if annealed else run.metric("train/approx_kl")


def _slow_worker(value: float, run: Readings) -> str:
    worker, _ = run.straggler
    return (
        f"worker {worker} (pid {run.pids[worker]}) holds up the others: its steps take {value:.1f} times as long as "
        "theirs, and all wait for the slowest; another process may have its core, or its environments are slower"
    )


SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        name="ratio-not-one",
        title="what learns is not what acted",
        measured="the largest \\|rₜ − 1\\| of an update's first minibatch (`train/ratio_error_first`)",
        measure=lambda run: run.metric("train/ratio_error_first"),
        limit=0.01,
        well=0.01,
        patience=1,
        applies=lambda run: not run.configured("run.overlap") and run.configured("policy.precision") == "float32",
        reason=lambda value, run: (
            f"the probability ratio is {value:.2g} away from 1 before the first step of an update: the policy that "
            "learns is not the one that acted; a network with dropout or batch normalisation does this"
        ),
        source="Before the first step both policies are the same one: the ratio is 1 but for rounding, which stays "
        "below 1e-5 here (Huang et al., 2022, “37 details”, debugging). Not with `run.overlap`, where it is stale on "
        "purpose, nor in bf16",
        remedy="take dropout and batch normalisation out of `policy.network`; see that action masks depend on the "
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
            f"the policy moved too far in one update: KL {value:.2g} is ten times the usual and more; {_is(run, RATE)}"
        ),
        edit=_slower,
        source="KL usually stays below 0.02 (Huang et al., 2022), and early stopping aims at 0.01 to 0.03 (Spinning "
        "Up, rl-baselines3-zoo); the highest in healthy runs of the presets here was 0.09. Observations that are not "
        "scaled make it explode at the first update",
        remedy="a lower learning rate, fewer `ppo.epochs`, a `ppo.target_kl`; observations scaled or normalised; back "
        "to a checkpoint before it",
        after=("ratio-not-one",),
    ),
    Symptom(
        name="clip-fraction-high",
        title="most of what is learnt is clipped away",
        measured="the share of samples whose ratio is clipped (`train/clip_fraction`)",
        measure=lambda run: run.metric("train/clip_fraction"),
        limit=0.5,
        well=0.4,
        patience=3,
        applies=_clips,
        reason=lambda value, run: (
            f"{value:.0%} of the samples are clipped, in three updates in a row: steps are too large for "
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
            f"clipped, in 20 updates in a row; {_is(run, RATE)}"
        ),
        edit=_times(RATE, 10.0, at_least=1e-5),
        source="Nothing is ever clipped there, and steps are a hundredth of those for a KL of 0.01. Healthy runs come "
        "there for six updates in a row at most, at their end",
        remedy="a higher learning rate, more `ppo.epochs`; see whether gradients vanish (`train/grad_norm`)",
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
            f"that nothing behind them learns; {_is(run, RATE)}"
        ),
        edit=_times(RATE, 0.3),
        source="Dead units lose the network's capacity and come back by themselves hardly ever (Sokar et al., 2023, "
        "arXiv:2302.12902). On Breakout a third of a fresh Nature CNN says nothing, and that is no harm: its frames "
        "are much alike",
        remedy="a lower learning rate, inputs scaled or normalised, another `policy.activation`; units that are dead "
        "stay dead: go back to a checkpoint before it",
        after=("kl-spike",),
    ),
    Symptom(
        name="entropy-collapse",
        title="the policy has stopped to explore",
        measured="the entropy (`train/entropy_loss`; of continuous actions `train/std`) as a share of the first "
        "update's, while the return is no better than it was in the beginning",
        measure=lambda run: 1.0 if run.improved else run.freedom,
        above=False,
        limit=0.02,
        well=0.05,
        patience=3,
        reason=lambda value, run: (
            f"the policy has stopped to explore: {value:.1%} of its first entropy are left, and its return is no "
            f"better than it was; {_is(run, ENTROPY)}"
        ),
        edit=_times(ENTROPY, 2.0, at_least=0.01),
        source="A policy that has learnt its task may be as certain as it likes (Acrobot: 8 % of its first entropy "
        "when solved); one that is and has gained nothing will gain nothing more",
        remedy="a higher `ppo.entropy_coef`, a lower learning rate; back to a checkpoint before it",
        after=("kl-spike", "dead-units"),
    ),
    Symptom(
        name="stalled-return",
        title="no signal in the return",
        measured="the newest games in a row with the very same return, which is no better than any before",
        measure=lambda run: float(run.stuck_games),
        limit=99.0,
        well=1.0,
        patience=1,
        reason=lambda value, run: (
            f"the last {value:.0f} games all returned {run.mean_return:.4g}: nothing that the policy does makes a "
            f"difference that it could learn from; {_is(run, ENTROPY)}"
        ),
        edit=_times(ENTROPY, 2.0, at_least=0.01),
        source="Advantages are differences between returns; a hundred games are what `rollout/ep_rew_mean` averages",
        remedy="see whether the environment's reward is what it should be, and whether random actions ever change it; "
        "explore more",
        after=("dead-units", "entropy-collapse"),
    ),
    Symptom(
        name="explained-variance",
        title="the critic explains nothing",
        measured="the share of the returns' variance that the critic explains (`train/explained_variance`, less than 0 "
        "counted as 0), mean of 40 updates, in a run that has never come to 0.3",
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
        "Spinning Up). A frozen critic comes to 0.01 here by chance, Pong in its first 40 updates to 0.03, others "
        "to 0.2. Rollouts below 128 steps, or of single games, say too little",
        remedy="a higher `ppo.value_coef`; a critic of its own (`policy.shared = false`); `ppo.normalize_rewards` "
        "where returns are large",
        after=("ratio-not-one", "kl-spike", "dead-units", "entropy-collapse", "stalled-return"),
    ),
    Symptom(
        name="slow-worker",
        title="one worker holds up the others",
        measured="how many times as long as the others' median the slowest worker takes for a step of an environment, "
        "from being asked to its answer; medians over four seconds and more, and only where it has something to do in "
        "30 % of the time",
        measure=lambda run: None if run.straggler is None else run.straggler[1],
        limit=4.0,
        well=2.5,
        patience=1,
        reason=_slow_worker,
        source="All wait for the slowest, and equal workers take equally long; on a machine that others use too, one "
        "may be three times as slow for seconds",
        remedy="see what else runs on its core; a machine that is not shared; environments of equal cost",
    ),
    Symptom(
        name="starved-learner",
        title="the learner starves",
        measured="the share of time that is spent waiting for workers (`time/share_wait`), over ten updates and four "
        "seconds and more",
        measure=lambda run: run.wait_share,
        limit=0.8,
        well=0.7,
        patience=1,
        applies=lambda run: run.configured("run.algorithm") == "ppo",
        reason=lambda value, run: (
            f"the learner starves: {value:.0%} of the time it waits for environments to step, four times as much as it "
            f"can be learning; workers.count is {run.configured('workers.count')}, {len(run.pids)} are at work"
        ),
        source="The presets wait for 3 % (Breakout) to 30 % (Acrobot) of the time on two cores; beyond 80 % a faster "
        "learner or a GPU gains next to nothing",
        remedy="more workers and environments where there are cores (`ppo-tui bench` finds the fastest layout), "
        "`run.overlap`, a faster environment; more `ppo.epochs` cost next to nothing then",
        after=("slow-worker",),
    ),
)
