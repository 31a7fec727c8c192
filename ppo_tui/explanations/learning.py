"""The metrics of learning, ``train/…``, in words."""

from __future__ import annotations

from .absence import several_steps
from .alarms import ALARMS
from .card import Explanation, Facts, Healthy

_RATE = "optim.learning_rate"
_CRITIC = "mathematics.md#the-critic"


def _full_steps(facts: Facts) -> bool:
    """Whether steps should move the policy: not with an annealed rate."""
    rate, first = facts.setting(_RATE), facts.configured(_RATE)
    return several_steps(facts) and (rate is None or first is None or rate >= 0.1 * first)


def _has_discrete_actions(facts: Facts) -> bool:
    """Whether the entropy is one of probabilities.

    That of densities may have any sign.
    """
    return facts.first("train/std") is None and (facts.first("train/entropy_loss") or 0.0) < 0.0


def _on_time(facts: Facts) -> bool:
    return not facts.configured("run.overlap") and facts.configured("policy.precision") == "float32"


USUAL_KL = 0.02
"""A healthy update's mean KL is seldom above this (Huang et al., 2022)."""

LEARNING = (
    Explanation(
        key="train/approx_kl",
        name="approx KL",
        text="How far the policy has moved in an update: the divergence of the new policy from the one that acted.",
        formula="KL ≈ mean of (r − 1) − ln r,   r = π_new(a|s) / π_old(a|s)",
        healthy=Healthy(
            low=0.001,
            high=USUAL_KL,
            least=ALARMS["clip-fraction-low"].limit,
            most=ALARMS["kl-spike"].limit,
            remark="lower once the learning rate is annealed away",
        ),
        advice="Too high: a lower learning rate, fewer ppo.epochs, a ppo.target_kl. Too low: the reverse.",
        link="diagnostics.md#kl-spike",
        judged=_full_steps,
    ),
    Explanation(
        key="train/clip_fraction",
        name="clipped",
        text="The share of samples whose probability ratio has left the clip range: they push the policy no further.",
        formula="mean of [ |r − 1| > ε ],   r = π_new(a|s) / π_old(a|s)",
        healthy=Healthy(high=0.3, most=ALARMS["clip-fraction-high"].limit, percent=True),
        advice="Too high: a lower learning rate, fewer ppo.epochs, or a wider ppo.clip_range.",
        link="diagnostics.md#clip-fraction-high",
        judged=several_steps,
    ),
    Explanation(
        key="train/explained_variance",
        name="expl. var.",
        text="The share of the returns' variance that the critic foresaw: 1 is perfect, 0 as good as a constant.",
        formula="1 − Var[return − V(s)] / Var[return]",
        healthy=Healthy(
            low=ALARMS["explained-variance"].well,
            least=ALARMS["explained-variance"].limit,
            remark="rising towards 1; short rollouts jump",
        ),
        advice="Low for long: a higher ppo.value_coef, a separate critic (policy.shared = false), "
        "ppo.normalize_values where returns are large.",
        link="diagnostics.md#explained-variance",
    ),
    Explanation(
        key="train/entropy_loss",
        name="entropy",
        text="How undecided the policy is, in nats: all actions alike at first, near 0 when it is certain.",
        formula="S[π] = − Σ π(a|s) ln π(a|s);   the logged loss is −S",
        healthy=Healthy(
            low=ALARMS["entropy-collapse"].well,
            least=ALARMS["entropy-collapse"].limit,
            of_first=True,
            remark="it falls slowly; certain and good is no fault",
        ),
        advice="Falls to 0 at once while the return stays low: a higher ppo.entropy_coef, a lower learning rate.",
        link="diagnostics.md#entropy-collapse",
        judged=_has_discrete_actions,
    ),
    Explanation(
        key="train/policy_gradient_loss",
        name="policy loss",
        text="Minus the surrogate objective: what the gradient lowers to make good actions more likely.",
        formula="− mean of min(r·Â, clip(r, 1−ε, 1+ε)·Â)",
        usual="small and near 0; its size tells nothing about the return",
        advice="Nothing: look at the return, the KL and the entropy instead.",
        link="mathematics.md#clip-a-pessimistic-bound",
    ),
    Explanation(
        key="train/value_loss",
        name="value loss",
        text="The critic's mean squared error: its value against the return that came.",
        formula="0.5 · mean of (V(s) − Vtarget)²,   Vtarget = Â + V_old(s)",
        usual="it grows with the returns, and falls while the critic catches up",
        advice="Exploding: a lower learning rate, ppo.normalize_values, or rewards of a smaller scale.",
        link=_CRITIC,
    ),
    Explanation(
        key="train/loss",
        name="loss",
        text="All that the optimiser lowers: policy loss, value loss and entropy bonus, weighted.",
        formula="L = policy loss + c₁ · value loss − c₂ · S[π]",
        usual="no range: its parts say more",
        link="mathematics.md#all-together",
    ),
    Explanation(
        key="train/grad_norm",
        name="gradient norm",
        text="The mean length of the gradient before it is clipped to optim.max_grad_norm.",
        formula="‖∇L‖₂, scaled down to optim.max_grad_norm if longer",
        usual="steady; jumps are clipped, which is what the limit is for",
        advice="Near 0 with a low return: dead units or a constant reward. Always far above the limit: "
        "rewards or values of a large scale.",
        link="settings.md#optim",
    ),
    Explanation(
        key="train/dead_units",
        name="dead units",
        text="The share of the network's units that no gradient passes: ReLUs at 0, tanhs saturated, on a whole "
        "minibatch; counted in every tenth pass.",
        formula="units dead on every sample / all units",
        healthy=Healthy(high=0.4, most=ALARMS["dead-units"].limit, percent=True),
        advice="A lower learning rate, scaled or normalised inputs; dead units stay dead: rewind to an earlier "
        "checkpoint.",
        link="diagnostics.md#dead-units",
    ),
    Explanation(
        key="train/std",
        name="action spread",
        text="The mean standard deviation of continuous actions: how widely the policy tries around its mean.",
        formula="σ = exp(log_std), mean over the action's components",
        healthy=Healthy(
            low=ALARMS["entropy-collapse"].well,
            least=ALARMS["entropy-collapse"].limit,
            of_first=True,
            remark="it falls slowly",
        ),
        advice="Falls at once: a higher ppo.entropy_coef. Grows without end: a lower one.",
        link="diagnostics.md#entropy-collapse",
    ),
    Explanation(
        key="train/ratio_error_first",
        name="first ratio error",
        text="How far the ratio is from 1 before the first step: 0 if the policy that learns is the one that acted.",
        formula="max of |r − 1| in an update's first minibatch",
        healthy=Healthy(high=ALARMS["ratio-not-one"].well, most=ALARMS["ratio-not-one"].limit),
        advice="Remove dropout and batch normalisation from the network; masks must depend on the state alone.",
        link="diagnostics.md#ratio-not-one",
        judged=_on_time,
    ),
    Explanation(
        key="train/nonfinite",
        name="skipped minibatches",
        text="Minibatches of the update that were skipped, because their loss or gradient was NaN or infinite.",
        formula="count of minibatches with NaN or ∞",
        healthy=Healthy(high=0.0, most=0.0),
        advice="A lower learning rate, a smaller ppo.clip_range, rewards of a smaller scale.",
        link="diagnostics.md#non-finite",
    ),
    Explanation(
        key="train/n_updates",
        name="passes",
        text="Passes over a rollout (epochs) since the start of the run; gradients with A3C.",
        formula="updates × ppo.epochs",
        usual="grows; more slowly where ppo.target_kl ends updates early",
        link="settings.md#ppo",
    ),
    Explanation(
        key="train/learning_rate",
        name="learning rate",
        text="The step size of the optimiser in force, as its schedule has it now.",
        formula="θ ← θ − α · Adam(∇L)",
        usual="1e-4 to 1e-3 with Adam; to 0 over the run where it is annealed",
        advice="KL too high: halve it. KL very low and the return still: double it.",
        link="settings.md#schedules",
    ),
    Explanation(
        key="train/clip_range",
        name="clip range",
        text="ε in force: how far a ratio may move from 1 before its gain is clipped.",
        formula="clip(r, 1 − ε, 1 + ε)",
        usual="0.1 (Atari) to 0.2",
        advice="The learning rate is the better lever; lower this where the KL keeps jumping.",
        link="mathematics.md#clip-a-pessimistic-bound",
    ),
    Explanation(
        key="train/clip_range_upper",
        name="clip upper",
        text="ε of the upper bound alone: rare actions have more room to become likely (clip-higher).",
        formula="clip(r, 1 − ε, 1 + ε_upper)",
        usual="somewhat above the clip range, such as 0.28 beside 0.2",
        advice="Raise it where the entropy falls too fast.",
        link="mathematics.md#clip-a-pessimistic-bound",
    ),
    Explanation(
        key="train/value_coef",
        name="value weight",
        text="c₁ in force: the weight of the value loss.",
        formula="L = policy loss + c₁ · value loss − c₂ · S[π]",
        usual="0.5 to 1",
        advice="Raise it where the critic explains nothing.",
        link="mathematics.md#all-together",
    ),
    Explanation(
        key="train/entropy_coef",
        name="entropy weight",
        text="c₂ in force: the weight of the entropy bonus. Higher explores more.",
        formula="L = policy loss + c₁ · value loss − c₂ · S[π]",
        usual="0 to 0.02",
        advice="Raise it where the policy decides too early, lower it where it never decides.",
        link="mathematics.md#all-together",
    ),
    Explanation(
        key="train/kl",
        name="exact KL",
        text="The divergence of the whole action distribution after an update, where something adapts to it.",
        formula="mean over s of KL[π_old(·|s), π_new(·|s)]",
        usual="near ppo.desired_kl",
        link="mathematics.md#kl-and-kl-adaptive-a-penalty",
    ),
    Explanation(
        key="train/kl_coef",
        name="KL weight",
        text="β: the weight of the KL penalty, which follows the divergence of each update.",
        formula="L = − mean of (r·Â − β·KL);   β doubles or halves to keep KL near its target",
        usual="any: it finds its own",
        link="mathematics.md#kl-and-kl-adaptive-a-penalty",
    ),
)
