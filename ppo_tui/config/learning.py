"""Settings of learning: networks, objective, optimisers and schedules."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta

from .declaring import Live, Outside, Section, setting


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
        setting(
            "Widths of the hidden layers of an MLP, also behind the CNNs of images among other parts.",
            on_resume="fixed",
            max_length=16,
        ),
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
            "Normalise observations to mean 0 and variance 1 by running statistics, clipped to ±10; where images are "
            "among other parts, the vectors.",
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

OPTIMIZERS: tuple[str, ...] = get_args(OptimizerName)


class OptimConfig(Section, frozen=True, kw_only=True):
    """Adam (Kingma & Ba, 2015, arXiv:1412.6980), its relatives, or RMSprop (Hinton, 2012)."""

    name: Annotated[
        OptimizerName,
        setting(
            "The optimiser; muon is for convolutions and the matrices between hidden layers, with adamw for all other "
            "weights; rmsprop-tf is TensorFlow 1's, as used for A2C's published scores.",
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
