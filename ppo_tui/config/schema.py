"""Every setting: type, range, default, help, and when it may change.

A field's `setting` is the single definition that validation, ``--set``, the screen's editor, resuming and the
documentation read.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen, strict table of settings."""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Range and steps for editing a live setting.

    Attributes:
        low, high: the editor's range; the setting's own may be wider.
        step: added by one nudge, or multiplied with on a log scale.
        optional: whether None, for "off", is a value.
        unit: of the number.
        aliases: short names, besides the setting's own.
    """

    low: float
    high: float
    step: float
    scale: Literal["linear", "log"] = "linear"
    optional: bool = False
    unit: str = ""
    aliases: tuple[str, ...] = ()


OnResume = Literal["fixed", "harmless", "inexact"]
"""Whether a resumed run may change a setting:

- ``fixed``: it may not; the checkpoint's tensors and states have the setting's shape, or were drawn from it;
- ``harmless``: it may, and no number changes, or only through what the checkpoint's `Origin` compares anyway;
- ``inexact``: it may, and the run says that it no longer continues bit for bit.
"""


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """The power of a setting to name an outside party.

    Without consent no file, run or checkpoint may make the program import code, run a command, or send and write to
    an address.

    Attributes:
        party: the kind of outside party.
        pattern: of the values that name one, anywhere in the text.
        leave_out: a ``--set`` for a run without it; empty where there is none.
    """

    party: Literal["code", "command", "address"]
    pattern: str = ""
    leave_out: str = ""

    def names(self, value: Any) -> bool:
        """Whether `value`, perhaps of a wrong type, names an outside party."""
        return isinstance(value, str) and re.search(self.pattern, value) is not None


def setting(
    description: str,
    *,
    on_resume: OnResume,
    live: Live | None = None,
    outside: Outside | None = None,
    **limits: Any,
) -> Meta:
    """Declare one setting: help, limits, and when it may change.

    Args:
        description: one sentence of help.
        live: how it is edited while the run trains; None where it may not change then.
        outside: for settings with values that name code, a command or an address.
        limits: as `Meta` takes them, such as ``ge=0``.
    """
    extra = {"on_resume": on_resume, "live": live, "outside": outside}
    return Meta(description=description, extra=extra, **limits)


_ATARI_IDS = (re.compile(r"ALE/\w+-v5"), re.compile(r"\w+NoFrameskip-v[04]"))


def is_atari(env_id: str) -> bool:
    """Whether this id belongs to the Atari pipeline on the emulator itself."""
    return any(pattern.fullmatch(env_id) for pattern in _ATARI_IDS)


class AtariConfig(Section, frozen=True, kw_only=True):
    """Preprocessing of Atari.

    It follows the Nature DQN (Mnih et al., 2015) and PPO's baselines.
    """

    frame_skip: Annotated[
        int, setting("Emulator frames that each action is repeated for.", on_resume="inexact", ge=1, le=60)
    ] = 4
    noop_max: Annotated[
        int,
        setting("A new game starts with 1 to this many NOOP frames; 0 for none.", on_resume="inexact", ge=0, le=1000),
    ] = 30
    life_loss: Annotated[
        Literal["terminal", "reset", "none"],
        setting(
            "What a lost life does: end the learner's episode while the game continues (terminal), start a new game "
            "(reset), or nothing (none).",
            on_resume="inexact",
        ),
    ] = "terminal"
    fire_reset: Annotated[
        bool,
        setting("Press FIRE after a reset and after each lost life, in games that wait for it.", on_resume="inexact"),
    ] = True
    fire_then_second: Annotated[
        bool,
        setting(
            "After that FIRE, also take the game's action number 2, as Stable-Baselines3 and baselines do.",
            on_resume="inexact",
        ),
    ] = False
    clip_reward: Annotated[
        bool,
        setting("Train on the sign of the reward; the reported return stays raw.", on_resume="inexact"),
    ] = True
    sticky_actions: Annotated[
        float,
        setting(
            "Probability, per frame, that the emulator repeats the previous action.", on_resume="inexact", ge=0, le=1
        ),
    ] = 0.0
    screen_size: Annotated[
        int, setting("Width and height of the grey frame that the network sees.", on_resume="fixed", ge=36, le=210)
    ] = 84
    max_frames: Annotated[
        int,
        setting(
            "Emulator frames after which a game is truncated (108,000 are 30 minutes).",
            on_resume="inexact",
            ge=1,
            le=10**9,
        ),
    ] = 108_000
    full_action_space: Annotated[
        bool, setting("Offer all 18 joystick actions instead of the game's own minimal set.", on_resume="fixed")
    ] = False


class EnvConfig(Section, frozen=True, kw_only=True):
    """The environment and its preprocessing."""

    id: Annotated[
        str,
        setting(
            "Gymnasium id, such as ALE/Breakout-v5.",
            on_resume="fixed",
            outside=Outside(party="code", pattern=":"),
            min_length=1,
            max_length=200,
        ),
    ]
    frame_stack: Annotated[
        int, setting("Newest observations that the network sees together.", on_resume="fixed", ge=1, le=32)
    ] = 1
    hide: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)], ...],
        setting(
            "Indices of numbers in an observation vector to hide from the policy, such as velocities.",
            on_resume="fixed",
            max_length=4096,
        ),
    ] = ()
    action_masks: Annotated[
        bool | Literal["auto", "info"],
        setting(
            "Never take actions that the environment masks by info['action_mask'], a method action_masks() or an entry "
            "'action_mask' of Dict observations; auto: where it has masks; info: not by the observations.",
            on_resume="fixed",
        ),
    ] = "auto"
    on_bad_value: Annotated[
        Literal["drop", "stop"],
        setting(
            "An observation or reward that is NaN, infinite, of a wrong shape or not of its type drops its episode, or "
            "stops the run.",
            on_resume="harmless",
        ),
    ] = "drop"
    kwargs: Annotated[
        dict[str, Any],
        setting(
            "Keyword arguments for gymnasium.make, such as continuous = true.", on_resume="inexact", max_length=1000
        ),
    ] = msgspec.field(default_factory=dict)
    atari: AtariConfig | None = None


class TrackingConfig(Section, frozen=True, kw_only=True):
    """Experiment trackers; a failing one is dropped, and the run continues."""

    tensorboard: Annotated[
        bool | Literal["auto"],
        setting("Write TensorBoard's files into the run directory; auto: where it is installed.", on_resume="harmless"),
    ] = "auto"
    wandb: Annotated[
        Literal["off", "offline", "online"],
        setting(
            "Weights & Biases: off, offline (into the run directory, for `wandb sync`), or online.",
            on_resume="harmless",
            outside=Outside(party="address", pattern="^online$", leave_out="tracking.wandb=off"),
        ),
    ] = "off"
    mlflow: Annotated[
        str,
        setting(
            "MLflow's store: http://localhost:5000, a directory, sqlite:///mlflow.db; off for none.",
            on_resume="harmless",
            outside=Outside(party="address", pattern=r"^(?!off\Z)", leave_out="tracking.mlflow=off"),
            min_length=1,
            max_length=2000,
        ),
    ] = "off"
    project: Annotated[
        str,
        setting(
            "Name of the project in Weights & Biases, or of the experiment in MLflow.",
            on_resume="harmless",
            min_length=1,
            max_length=128,
        ),
    ] = "ppo-tui"


class NotifyConfig(Section, frozen=True, kw_only=True):
    """Notifications when a run ends, fails or stalls."""

    webhook: Annotated[
        Annotated[str, Meta(pattern=r"^https?://\S+$", max_length=2000)] | None,
        setting(
            "Address to post a short JSON text to; Slack, Mattermost and Discord understand it.",
            on_resume="harmless",
            outside=Outside(party="address", leave_out="notify={}"),
        ),
    ] = None
    command: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2000)] | None,
        setting(
            "Command to run, without a shell, with the same JSON on stdin and PPO_TUI_EVENT, _RUN, _RUN_DIR, _STATE, "
            "_STEP and _REASON in its environment.",
            on_resume="harmless",
            outside=Outside(party="command", leave_out="notify={}"),
        ),
    ] = None
    on: Annotated[
        tuple[Literal["finish", "failure", "stall"], ...],
        setting("Events to notify of: finish (a stop too), failure, stall.", on_resume="harmless", max_length=3),
    ] = ("finish", "failure", "stall")
    stall_seconds: Annotated[
        float,
        setting(
            "Seconds of training without a step until a run counts as stalled.", on_resume="harmless", gt=0, le=604_800
        ),
    ] = 600.0


class WorkersConfig(Section, frozen=True, kw_only=True):
    """The worker processes of the environments."""

    count: Annotated[
        Annotated[int, Meta(le=4096)] | Literal["auto"],
        setting("Worker processes; auto fits the machine's cores and the environments.", on_resume="harmless"),
    ] = "auto"
    groups: Annotated[
        Literal["auto", 1, 2],
        setting(
            "Worker groups; with 2, one half of the workers steps while actions for the other half are computed. "
            "auto: 2 wherever there are two workers.",
            on_resume="harmless",
        ),
    ] = "auto"
    step_timeout: Annotated[
        float,
        setting("Seconds without a reply until a worker counts as hung.", on_resume="harmless", gt=0, le=86_400),
    ] = 10.0
    max_restarts: Annotated[
        int,
        setting(
            "Replacements of failed workers without a whole rollout between; 0: a failure ends the run.",
            on_resume="harmless",
            ge=0,
            le=1000,
        ),
    ] = 5
    start_timeout: Annotated[
        float, setting("Seconds for a worker to start.", on_resume="harmless", gt=0, le=86_400)
    ] = 120.0


class RolloutConfig(Section, frozen=True, kw_only=True):
    """The experience of each update."""

    num_envs: Annotated[int, setting("Environments stepped side by side (N).", on_resume="fixed", ge=1, le=65_536)] = 8
    steps: Annotated[
        int, setting("Steps of each environment in a rollout (T).", on_resume="inexact", ge=1, le=1_000_000)
    ] = 128
    whole_episodes: Annotated[
        bool,
        setting(
            "End a rollout with its episode, at the latest after `steps`; for a single environment.",
            on_resume="inexact",
        ),
    ] = False


class PolicyConfig(Section, frozen=True, kw_only=True):
    """The networks of actor and critic."""

    network: Annotated[
        str,
        setting(
            "auto (nature-cnn for images, mlp for everything else), nature-cnn, nature-small, impala, a3c-cnn, mlp, or "
            "your own network as package.module:Class.",
            on_resume="fixed",
            outside=Outside(party="code", pattern=":"),
            pattern=r"^(auto|nature-cnn|nature-small|impala|a3c-cnn|mlp|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$",
            max_length=200,
        ),
    ] = "auto"
    hidden: Annotated[
        tuple[Annotated[int, Meta(le=65_536)], ...],
        setting("Widths of the hidden layers of an MLP.", on_resume="fixed", max_length=16),
    ] = (64, 64)
    activation: Annotated[
        Literal["tanh", "relu", "silu", "elu", "gelu"],
        setting("Nonlinearity of an MLP (a CNN's is ReLU).", on_resume="fixed"),
    ] = "tanh"
    layer_norm: Annotated[
        bool,
        setting(
            "Normalise the numbers of each layer of a trunk to mean 0 and variance 1 before its nonlinearity.",
            on_resume="fixed",
        ),
    ] = False
    shared: Annotated[
        bool | Literal["auto"],
        setting("Share a trunk between actor and critic; auto: all but MLPs.", on_resume="fixed"),
    ] = "auto"
    recurrent: Annotated[
        Literal["none", "lstm", "gru"],
        setting(
            "Recurrent layer between trunk and heads, for environments whose observations do not show the whole state.",
            on_resume="fixed",
        ),
    ] = "none"
    recurrent_size: Annotated[int, setting("Width of the recurrent layer.", on_resume="fixed", ge=1, le=8192)] = 128
    init: Annotated[
        Literal["orthogonal", "default"],
        setting("Orthogonal weights (√2, policy head 0.01, value head 1) or PyTorch's default.", on_resume="fixed"),
    ] = "orthogonal"
    precision: Annotated[
        Literal["float32", "bf16", "auto"],
        setting(
            "Arithmetic of the trunks: bf16 is faster on GPUs, and on CPUs with support; whether it learns as much is "
            "open (docs/performance.md). Weights, heads and losses stay float32. auto: bf16 on a GPU or CPU "
            "(avx512_bf16, AMX) with bfloat16 of its own, else float32, decided when the run starts.",
            on_resume="inexact",
        ),
    ] = "float32"
    log_std_init: Annotated[
        float, setting("Initial log standard deviation of continuous actions.", on_resume="fixed", ge=-20, le=5)
    ] = 0.0
    squash_actions: Annotated[
        bool,
        setting("Squash continuous actions into their bounds by a tanh instead of clipping them.", on_resume="fixed"),
    ] = False
    normalize_images: Annotated[
        bool | Literal["auto"],
        setting(
            "Divide observations of uint8 by 255; auto: only images, whose bounds are 0 and 255.", on_resume="fixed"
        ),
    ] = "auto"
    normalize_observations: Annotated[
        bool,
        setting(
            "Normalise observations to mean 0 and variance 1 by running statistics, clipped to ±10.",
            on_resume="fixed",
        ),
    ] = False


ScheduleKind = Literal["constant", "linear", "cosine", "exponential"]


class ScheduleConfig(Section, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule as a table.

    The name of a kind stands for a table with nothing else.
    """

    kind: Annotated[
        ScheduleKind,
        Meta(
            description="Keep the value, or bring it to `final`: in a straight line, along half a cosine, or by the "
            "same factor each step. Without it the setting's default."
        ),
    ]
    final: Annotated[
        float, Meta(description="The value at the end and afterwards; above 0 for exponential.", ge=0, le=100)
    ] = 0.0
    warmup_steps: Annotated[
        int,
        Meta(
            description="Environment steps over which the value first rises from 0 in a straight line.", ge=0, le=10**13
        ),
    ] = 0
    steps: Annotated[
        Annotated[int, Meta(ge=1, le=10**13)] | None,
        Meta(description="Environment steps until `final`, with the warm-up; none for the length of the run."),
    ] = None

    @classmethod
    def of(cls, value: str | ScheduleConfig) -> ScheduleConfig:
        """The schedule meant by `value`, a name or a table.

        A learning rate that follows the divergence is constant here: the learner adapts it.
        """
        if isinstance(value, ScheduleConfig):
            return value
        return cls(kind=next((kind for kind in get_args(ScheduleKind) if kind == value), "constant"))

    @property
    def text(self) -> str:
        """The schedule in words, such as: cosine to 1e-05, warmup_steps 10000."""
        rest = {name: getattr(self, name) for name in ("warmup_steps", "steps")}
        kind = f"{self.kind} to {self.final:g}" if self.final else self.kind
        return ", ".join([kind, *(f"{name} {number}" for name, number in rest.items() if number)])


class PPOConfig(Section, frozen=True, kw_only=True):
    """Proximal Policy Optimization (Schulman et al., 2017, arXiv:1707.06347) and its relatives.

    One epoch of one minibatch without clipping (``surrogate = "none"``, ``normalize_advantage = false``) is A2C.
    """

    surrogate: Annotated[
        Literal["clip", "spo", "kl", "kl-adaptive", "none"],
        setting(
            "Bound on the change of policy in an update: a clipped ratio (clip), a ratio led back to its bounds (spo, "
            "arXiv:2401.16025), a KL penalty of fixed weight β (kl), one of adaptive weight (kl-adaptive), or none.",
            on_resume="inexact",
        ),
    ] = "clip"

    gamma: Annotated[
        float,
        setting(
            "Discount factor γ.",
            on_resume="inexact",
            ge=0,
            le=1,
            live=Live(low=0.5, high=1.0, step=0.001, unit="per step", aliases=("discount",)),
        ),
    ] = 0.99
    gae_lambda: Annotated[
        float,
        setting(
            "λ of generalised advantage estimation: 0 trusts the critic, 1 the returns.",
            on_resume="inexact",
            ge=0,
            le=1,
            live=Live(low=0.0, high=1.0, step=0.01, unit="per step", aliases=("lam", "lambda")),
        ),
    ] = 0.95
    epochs: Annotated[
        int,
        setting(
            "Passes over each rollout.",
            on_resume="inexact",
            ge=1,
            le=1000,
            live=Live(low=1, high=50, step=1, unit="passes"),
        ),
    ] = 4
    minibatches: Annotated[int, setting("Minibatches of each pass.", on_resume="inexact", ge=1, le=1_000_000)] = 4
    clip_range: Annotated[
        float,
        setting(
            "ε: how far the probability ratio may move from 1 before its gain is clipped, or, with spo, falls again.",
            on_resume="inexact",
            gt=0,
            le=10,
            live=Live(low=0.01, high=1.0, step=0.01, unit="of the ratio", aliases=("clip", "eps")),
        ),
    ] = 0.1
    clip_range_upper: Annotated[
        Annotated[float, Meta(gt=0, le=10)] | None,
        setting(
            "ε of the upper bound alone (clip-higher, arXiv:2503.14476), on clip_range_schedule too; none for that of "
            "clip_range. Clipped values keep to clip_range.",
            on_resume="inexact",
            live=Live(
                low=0.01, high=1.0, step=0.01, optional=True, unit="of the ratio", aliases=("clip_upper", "clip_high")
            ),
        ),
    ] = None
    clip_range_schedule: Annotated[
        ScheduleKind | ScheduleConfig,
        setting("How ε changes over the run, by name or as a table (Schedules, below).", on_resume="inexact"),
    ] = "constant"
    dual_clip: Annotated[
        Annotated[float, Meta(gt=1, le=1000)] | None,
        setting(
            "c > 1 bounds the loss of a step with negative advantage Â to c |Â|; none for no bound.",
            on_resume="inexact",
        ),
    ] = None
    kl_coef: Annotated[
        float,
        setting("Weight β of the KL penalty; kl-adaptive starts with it.", on_resume="inexact", gt=0, le=1e6),
    ] = 1.0
    desired_kl: Annotated[
        float,
        setting(
            "Target KL of an update for kl-adaptive penalties and learning rates.",
            on_resume="inexact",
            gt=0,
            le=100,
        ),
    ] = 0.01
    clip_value_loss: Annotated[
        bool, setting("Clip the value loss by ε around the old values, as OpenAI's baselines do.", on_resume="inexact")
    ] = True
    huber_delta: Annotated[
        Annotated[float, Meta(gt=0, le=1e6)] | None,
        setting(
            "Huber loss: errors of the critic beyond this count linearly; none squares all of them.",
            on_resume="inexact",
        ),
    ] = None
    value_coef: Annotated[
        float,
        setting(
            "Weight c₁ of the value loss.",
            on_resume="inexact",
            ge=0,
            le=100,
            live=Live(low=0.0, high=10.0, step=0.05, unit="weight", aliases=("vf", "vf_coef")),
        ),
    ] = 0.5
    value_coef_schedule: Annotated[
        ScheduleKind | ScheduleConfig,
        setting("How c₁ changes over the run, by name or as a table (Schedules, below).", on_resume="inexact"),
    ] = "constant"
    entropy_coef: Annotated[
        float,
        setting(
            "Weight c₂ of the entropy bonus: higher explores more.",
            on_resume="inexact",
            ge=0,
            le=10,
            live=Live(low=0.0, high=1.0, step=0.001, unit="weight", aliases=("ent", "ent_coef")),
        ),
    ] = 0.01
    entropy_coef_schedule: Annotated[
        ScheduleKind | ScheduleConfig,
        setting("How c₂ changes over the run, by name or as a table (Schedules, below).", on_resume="inexact"),
    ] = "constant"
    recompute_advantages: Annotated[
        bool,
        setting(
            "Compute advantages and returns again before each epoch but the first, by the critic as it is then "
            "(arXiv:2006.05990, section 3.5).",
            on_resume="inexact",
        ),
    ] = False
    normalize_advantage: Annotated[
        bool,
        setting("Normalise the advantages of each minibatch to mean 0 and standard deviation 1.", on_resume="inexact"),
    ] = True
    normalize_rewards: Annotated[
        bool,
        setting(
            "Divide rewards by the running standard deviation of the discounted return, clipped to ±10; the reported "
            "return stays raw.",
            on_resume="inexact",
        ),
    ] = False
    normalize_values: Annotated[
        bool,
        setting(
            "Let the critic learn values of mean 0 and variance 1, scaled by running statistics of the returns "
            "(PopArt); the value loss, its clipping and huber_delta are in these units.",
            on_resume="fixed",
        ),
    ] = False
    target_kl: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        setting(
            "End an update early once the approximate KL passes 1.5 times this; none never does.",
            on_resume="inexact",
            live=Live(low=0.001, high=1.0, step=1.25, scale="log", optional=True, unit="nats"),
        ),
    ] = None


OptimizerName = Literal["adam", "adamw", "radam", "muon", "rmsprop", "rmsprop-tf"]

OPTIMIZERS: tuple[str, ...] = typing.get_args(OptimizerName)


class OptimConfig(Section, frozen=True, kw_only=True):
    """Adam (Kingma & Ba, 2015, arXiv:1412.6980), its relatives, or RMSprop (Hinton, 2012)."""

    name: Annotated[
        OptimizerName,
        setting(
            "The optimiser; muon is for the matrices between hidden layers, with adamw for all other weights; "
            "rmsprop-tf is TensorFlow 1's, as used for A2C's published scores.",
            on_resume="fixed",
        ),
    ] = "adam"

    learning_rate: Annotated[
        float,
        setting(
            "Step size of the optimiser, before annealing.",
            on_resume="inexact",
            ge=0,
            le=1,
            live=Live(low=1e-7, high=0.1, step=1.25, scale="log", unit="step size", aliases=("lr",)),
        ),
    ] = 2.5e-4
    learning_rate_schedule: Annotated[
        ScheduleKind | Literal["kl-adaptive"] | ScheduleConfig,
        setting(
            "How the learning rate changes over the run, by name or as a table (Schedules, below); kl-adaptive: by the "
            "divergence, towards ppo.desired_kl.",
            on_resume="inexact",
        ),
    ] = "linear"
    kl_adaptive_every: Annotated[
        Literal["update", "minibatch"],
        setting(
            "Adapt a kl-adaptive learning rate after every update, to its exact KL, or after every minibatch, to the "
            "approximate KL in it, as rl_games and RSL-RL do.",
            on_resume="inexact",
        ),
    ] = "update"
    min_learning_rate: Annotated[
        float, setting("Lower bound of a kl-adaptive learning rate.", on_resume="inexact", gt=0, le=1)
    ] = 1e-6
    max_learning_rate: Annotated[
        float, setting("Upper bound of a kl-adaptive learning rate.", on_resume="inexact", gt=0, le=1)
    ] = 1e-2
    critic_learning_rate: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        setting(
            "Learning rate of the critic's own network and the value head, annealed, adapted and edited in proportion "
            "to learning_rate; with a shared trunk, of the value head alone. none: the same.",
            on_resume="inexact",
        ),
    ] = None
    adam_beta1: Annotated[
        float, setting("Decay of Adam's mean gradient per step.", on_resume="inexact", ge=0, lt=1)
    ] = 0.9
    adam_beta2: Annotated[float, setting("Decay of Adam's mean square per step.", on_resume="inexact", ge=0, lt=1)] = (
        0.999
    )
    adam_eps: Annotated[float, setting("ε in Adam's denominator.", on_resume="inexact", gt=0, le=1)] = 1e-5
    weight_decay: Annotated[
        float,
        setting(
            "Weight decay of adamw and muon: the share of a weight, times the learning rate, lost in each step.",
            on_resume="inexact",
            ge=0,
            le=1,
        ),
    ] = 0.01
    muon_learning_rate: Annotated[
        float,
        setting(
            "Learning rate of Muon's matrices, annealed, adapted and edited in proportion to learning_rate.",
            on_resume="inexact",
            gt=0,
            le=1,
        ),
    ] = 0.02
    muon_momentum: Annotated[float, setting("Muon's momentum.", on_resume="inexact", ge=0, lt=1)] = 0.95
    rmsprop_eps: Annotated[float, setting("ε in RMSprop's denominator.", on_resume="inexact", gt=0, le=1)] = 1e-5
    rmsprop_alpha: Annotated[
        float, setting("Decay of RMSprop's mean square per step.", on_resume="inexact", ge=0, lt=1)
    ] = 0.99
    max_grad_norm: Annotated[
        float,
        setting(
            "Gradients longer than this are scaled down to it.",
            on_resume="inexact",
            gt=0,
            le=1e6,
            live=Live(low=0.01, high=100.0, step=1.25, scale="log", unit="L2 norm"),
        ),
    ] = 0.5


class EvalConfig(Section, frozen=True, kw_only=True):
    """Evaluations while training: whole episodes in a separate, low-priority process."""

    every: Annotated[
        int,
        setting(
            "Environment steps between evaluations; 0 for none. With evaluations, `best` is the checkpoint with the "
            "highest score, else the one with the highest return in training.",
            on_resume="harmless",
            ge=0,
            le=10**13,
        ),
    ] = 0
    episodes: Annotated[int, setting("Episodes of each evaluation.", on_resume="harmless", ge=1, le=1_000_000)] = 20
    max_steps: Annotated[
        int,
        setting(
            "Steps after which an episode of an evaluation ends; it counts with its return so far, and the result says "
            "so.",
            on_resume="harmless",
            ge=1,
            le=10**9,
        ),
    ] = 100_000
    greedy: Annotated[
        bool | Literal["auto"],
        setting(
            "Take the most probable action, or sample as in training; auto samples on Atari, as for its published "
            "scores, and is greedy elsewhere.",
            on_resume="harmless",
        ),
    ] = "auto"


class RunConfig(Section, frozen=True, kw_only=True):
    """The algorithm, length, seed, device and checkpoints of a run."""

    algorithm: Annotated[
        Literal["ppo", "a3c"],
        setting(
            "ppo (and its special cases), or a3c: workers learn asynchronously, each from its own environment.",
            on_resume="fixed",
        ),
    ] = "ppo"
    total_steps: Annotated[
        int, setting("Environment steps of the run, over all environments.", on_resume="inexact", ge=1, le=10**13)
    ] = 1_000_000
    max_episodes: Annotated[
        Annotated[int, Meta(ge=1, le=10**13)] | None,
        setting(
            "End after the update in which this many episodes are done; none for no such limit.",
            on_resume="harmless",
        ),
    ] = None
    seed: Annotated[int, setting("Seed of everything random.", on_resume="fixed", ge=0, le=2**31 - 1)] = 1
    device: Annotated[
        str,
        setting(
            "Device of the networks: auto (a GPU where there is one), cpu, cuda or cuda:N.",
            on_resume="harmless",
            pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$",
            max_length=20,
        ),
    ] = "auto"
    torch_threads: Annotated[
        Annotated[int, Meta(le=1024)] | Literal["auto"],
        setting("Threads of PyTorch; auto takes the cores.", on_resume="harmless"),
    ] = "auto"
    overlap: Annotated[
        bool,
        setting(
            "Collect the next rollout while learning from the last one, with weights that are one update old.",
            on_resume="inexact",
        ),
    ] = False
    compile: Annotated[
        bool,
        setting(
            "Compile the learner (torch.compile), for GPUs: a few large kernels instead of many small ones. The first "
            "update takes up to a minute longer.",
            on_resume="inexact",
        ),
    ] = False
    diagnostics: Annotated[
        bool,
        setting(
            "Raise alarms when the training goes wrong, with an edit to try; changes no number.",
            on_resume="harmless",
        ),
    ] = True
    checkpoint_seconds: Annotated[
        float,
        setting(
            "Seconds between checkpoints, the most training that a crash can cost.",
            on_resume="harmless",
            gt=0,
            le=86_400,
        ),
    ] = 60.0
    keep_checkpoints: Annotated[
        int,
        setting(
            "Newest checkpoints to keep, besides the best and those saved by hand.",
            on_resume="harmless",
            ge=1,
            le=100_000,
        ),
    ] = 5


class Config(Section, frozen=True, kw_only=True):
    """A whole run, one section a concern."""

    env: EnvConfig
    workers: WorkersConfig = WorkersConfig()
    rollout: RolloutConfig = RolloutConfig()
    policy: PolicyConfig = PolicyConfig()
    ppo: PPOConfig = PPOConfig()
    optim: OptimConfig = OptimConfig()
    eval: EvalConfig = EvalConfig()
    run: RunConfig = RunConfig()
    tracking: TrackingConfig = TrackingConfig()
    notify: NotifyConfig = NotifyConfig()

    @property
    def batch_size(self) -> int:
        """Environment steps in a rollout: N × T."""
        return self.rollout.num_envs * self.rollout.steps

    @property
    def minibatch_size(self) -> int:
        return self.batch_size // self.ppo.minibatches

    @property
    def compares_distributions(self) -> bool:
        """Whether the learner needs whole action distributions, for their exact KL."""
        adaptive_rate = self.optim.learning_rate_schedule == "kl-adaptive"
        return self.ppo.surrogate in ("kl", "kl-adaptive") or (
            adaptive_rate and self.optim.kl_adaptive_every == "update"
        )

    @property
    def num_updates(self) -> int:
        """Updates until `run.total_steps` are done; a minimum with whole episodes."""
        return -(-self.run.total_steps // self.batch_size)

    @property
    def planned_steps(self) -> int:
        """`run.total_steps` rounded up to whole updates of known length."""
        if self.rollout.whole_episodes:
            return self.run.total_steps
        return self.num_updates * self.batch_size


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting by its dotted name, with its declaration."""

    key: str
    type: Any
    description: str
    on_resume: OnResume
    live: Live | None
    outside: Outside | None

    @property
    def most(self) -> float:
        """The upper bound of a number; infinite without one."""
        return next((meta.le for meta in self.type.__metadata__ if meta.le is not None), float("inf"))


@functools.cache
def all_settings() -> Mapping[str, Setting]:
    """Dotted name → setting, in the order of the schema."""
    return {found.key: found for found in _walk(Config, "")}


def _walk(section: type[msgspec.Struct], prefix: str) -> Iterator[Setting]:
    for name, field in section_fields(section).items():
        if nested := nested_section(field.type):
            yield from _walk(nested, f"{prefix}{name}.")
            continue
        (meta,) = (meta for meta in getattr(field.type, "__metadata__", ()) if meta.extra)
        yield Setting(key=prefix + name, type=field.type, description=meta.description, **meta.extra)


@functools.cache
def section_fields(section: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Name → field of a section.

    Cached, because msgspec evaluates all annotations again whenever it is asked, which takes longer than the rest.
    """
    return {field.name: field for field in msgspec.structs.fields(section)}


def nested_section(field_type: Any) -> type[Section] | None:
    """The section in a field, or None.

    It is there directly, or as ``Section | None``; a section that is one of a setting's values is no such one.
    """
    options = typing.get_args(field_type) if isinstance(field_type, types.UnionType) else (field_type,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, Section)), None)
