"""The alarms of the diagnostics: limits, reasons for them, and remedies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AlarmText:
    """One alarm in words, with its limits.

    Attributes:
        name: of the alarm.
        title: what is wrong, in a few words.
        label: of its number, in two words.
        percent: write the number as percent.
        measured: the number that is compared with `limit`, in words.
        above: whether it is too high beyond `limit`, else too low.
        limit: ill beyond this, for `patience` updates in a row in which there is a number.
        well: healthy again at this or better, for as many updates in a row.
        source: where the limit comes from.
        remedy: what else helps.
        after: alarms that explain this one: while one of them is active, this one is not checked.
    """

    name: str
    title: str
    label: str
    percent: bool = False
    measured: str
    above: bool = True
    limit: float
    well: float
    patience: int
    source: str
    remedy: str
    after: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key of its explanation."""
        return alarm_key(self.name)

    def is_ill(self, value: float) -> bool:
        return value > self.limit if self.above else value < self.limit

    def is_well(self, value: float) -> bool:
        return value <= self.well if self.above else value >= self.well


NON_FINITE = "non-finite"
"""Name of the alarms of minibatches and updates skipped for numbers that are not finite."""

MAX_BAD_UPDATES = 3
"""Updates in a row without one finite gradient after which the training counts as diverged."""


def alarm_key(name: str) -> str:
    """The key of the explanation of an alarm."""
    return f"alarm/{name}"


_TABLE = (
    AlarmText(
        name=NON_FINITE,
        title="losses or gradients are not finite",
        label="skipped minibatches",
        measured="minibatches of an update whose losses or gradients are NaN or infinite (`train/nonfinite`)",
        limit=0.0,
        well=0.0,
        patience=1,
        source=f"Such a minibatch is skipped, and leaves the weights as they were; {MAX_BAD_UPDATES} whole updates in "
        "a row end the run, or pause it behind a screen",
        remedy="try a lower optim.learning_rate, a smaller ppo.clip_range, or rewards of a smaller scale",
    ),
    AlarmText(
        name="ratio-not-one",
        title="the learning policy is not the one that acted",
        label="first ratio off by",
        measured="the largest |rₜ − 1| of an update's first minibatch (`train/ratio_error_first`)",
        limit=0.01,
        well=0.01,
        patience=1,
        source="Before the first step both policies are the same: the ratio is 1 up to rounding, which stays below "
        "1e-5 here (Huang et al., 2022, “37 details”, debugging). Not checked with `run.overlap`, where the policy is "
        "stale on purpose, nor in bf16",
        remedy="remove dropout and batch normalisation from `policy.network`; check that action masks depend on the "
        "state alone",
    ),
    AlarmText(
        name="kl-spike",
        title="the policy moved too far in one update",
        label="approx KL",
        measured="the mean approximate KL of an update (`train/approx_kl`)",
        limit=0.2,
        well=0.1,
        patience=1,
        source="KL usually stays below 0.02 (Huang et al., 2022), and early stopping aims at 0.01 to 0.03 (Spinning "
        "Up, rl-baselines3-zoo); the highest in healthy runs of the presets here was 0.09. Unscaled observations "
        "make it explode in the first update",
        remedy="a lower learning rate, fewer `ppo.epochs`, a `ppo.target_kl`; scaled or normalised observations; "
        "rewind to an earlier checkpoint",
        after=("ratio-not-one",),
    ),
    AlarmText(
        name="clip-fraction-high",
        title="most samples are clipped",
        label="clipped",
        percent=True,
        measured="the share of samples whose ratio is clipped (`train/clip_fraction`)",
        limit=0.5,
        well=0.4,
        patience=3,
        source="0.05 to 0.3 is usual; the highest in healthy runs of the presets here was 0.37 (Pendulum)",
        remedy="a lower learning rate, fewer `ppo.epochs`",
        after=("ratio-not-one", "kl-spike"),
    ),
    AlarmText(
        name="clip-fraction-low",
        title="updates hardly move the policy",
        label="approx KL",
        measured="the mean approximate KL, while the learning rate is not annealed away",
        above=False,
        limit=1e-6,
        well=1e-5,
        patience=20,
        source="Nothing is clipped there, and steps are a hundredth of those for a KL of 0.01. Healthy runs stay there "
        "for six updates in a row at most, at their end",
        remedy="a higher learning rate, more `ppo.epochs`; check whether gradients vanish (`train/grad_norm`)",
    ),
    AlarmText(
        name="dead-units",
        title="much of the network is dead",
        label="dead units",
        percent=True,
        measured="the share of units that are dead on a whole minibatch (`train/dead_units`), every tenth pass",
        limit=0.8,
        well=0.7,
        patience=3,
        source="Dead units cost the network capacity and rarely recover by themselves (Sokar et al., 2023, "
        "arXiv:2302.12902). On Breakout a third of a fresh Nature CNN is constant, which does no harm: its frames are "
        "much alike",
        remedy="a lower learning rate, scaled or normalised inputs, another `policy.activation`; dead units stay dead: "
        "rewind to an earlier checkpoint",
        after=("kl-spike",),
    ),
    AlarmText(
        name="entropy-collapse",
        title="the policy has stopped exploring",
        label="entropy left",
        percent=True,
        measured="the entropy (`train/entropy_loss`; of continuous actions `train/std`) as a share of the first "
        "update's, while the return is no better than in the beginning",
        above=False,
        limit=0.02,
        well=0.05,
        patience=3,
        source="A policy that has learnt its task may be certain (Acrobot: 8 % of its first entropy when solved); a "
        "certain policy without any gain will not improve",
        remedy="a higher `ppo.entropy_coef`, a lower learning rate; rewind to an earlier checkpoint",
        after=("kl-spike", "dead-units"),
    ),
    AlarmText(
        name="stalled-return",
        title="the return carries no signal",
        label="equal episodes",
        measured="the newest episodes in a row with the very same return, while others were better or none differed",
        limit=99.0,
        well=1.0,
        patience=1,
        source="Advantages are differences between returns; `rollout/ep_rew_mean` averages a hundred episodes",
        remedy="check the environment's reward, and whether random actions ever change it; explore more",
        after=("dead-units", "entropy-collapse"),
    ),
    AlarmText(
        name="explained-variance",
        title="the critic explains nothing",
        label="explained variance",
        percent=True,
        measured="the share of the returns' variance that the critic explains (`train/explained_variance`, less than 0 "
        "counted as 0), mean of 40 updates, in a run that has never reached 0.3",
        above=False,
        limit=0.02,
        well=0.1,
        patience=1,
        source="1 is a perfect critic, 0 is as good as a constant, less is worse than none (Stable-Baselines3, "
        "Spinning Up). A frozen critic reaches 0.01 here by chance, Pong in its first 40 updates 0.03, others "
        "0.2. Rollouts below 128 steps, or of single episodes, are too short to judge by",
        remedy="a higher `ppo.value_coef`; a separate critic (`policy.shared = false`); `ppo.normalize_rewards` "
        "where returns are large",
        after=("ratio-not-one", "kl-spike", "dead-units", "entropy-collapse", "stalled-return"),
    ),
    AlarmText(
        name="slow-worker",
        title="one worker holds up the others",
        label="step time ×",
        measured="the slowest worker's time for one environment step, from request to reply, divided by the others' "
        "median; medians over at least four seconds, and only where it works for 30 % of the time",
        limit=4.0,
        well=2.5,
        patience=1,
        source="All wait for the slowest, and equal workers take equally long; on a shared machine one may be three "
        "times as slow for seconds",
        remedy="check what else runs on its core; use a machine of your own; environments of equal cost",
    ),
    AlarmText(
        name="starved-learner",
        title="the learner starves",
        label="waiting",
        percent=True,
        measured="the share of time spent waiting for workers (`time/share_wait`), over at least ten updates and four "
        "seconds",
        limit=0.8,
        well=0.7,
        patience=1,
        source="The presets wait for 3 % (Breakout) to 30 % (Acrobot) of the time on two cores; beyond 80 % a faster "
        "learner or a GPU gains next to nothing",
        remedy="more workers and environments where cores are free (`ppo-tui bench` finds the fastest layout), "
        "`run.overlap`, a faster environment; more `ppo.epochs` cost next to nothing then",
        after=("slow-worker",),
    ),
)

ALARMS = {text.name: text for text in _TABLE}
"""Name → alarm, the most severe first: those come first that explain others."""
