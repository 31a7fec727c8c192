"""Every setting: its type, range, default and one sentence of help.

A field's `Meta` is the single definition that validation, ``--set``, the screen's editor and the documentation
read. A field whose `Meta.extra` holds a `Live` may change while the run trains.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen, strict table of settings."""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """How a live field is edited.

    Attributes:
        low, high: what the editor offers; the field's own range may be wider.
        step: what one nudge adds, or multiplies by on a log scale.
        optional: whether None, for "off", is a value.
        unit: what the number counts or measures.
        aliases: short names that people type, besides the field's own.
    """

    low: float
    high: float
    step: float
    scale: Literal["linear", "log"] = "linear"
    optional: bool = False
    unit: str = ""
    aliases: tuple[str, ...] = ()


_ATARI_IDS = (re.compile(r"ALE/\w+-v5"), re.compile(r"\w+NoFrameskip-v[04]"))


def is_atari(env_id: str) -> bool:
    """Whether this id is one of the Atari pipeline, which drives the emulator itself."""
    return any(pattern.fullmatch(env_id) for pattern in _ATARI_IDS)


class AtariConfig(Section, frozen=True, kw_only=True):
    """Preprocessing of an Atari game, as in the Nature DQN (Mnih et al., 2015) and PPO's baselines."""

    frame_skip: Annotated[int, Meta(ge=1, le=60, description="Emulator frames that each action is repeated for.")] = 4
    noop_max: Annotated[
        int,
        Meta(ge=0, le=1000, description="A new game starts with 1 to this many no-op frames; 0 for none."),
    ] = 30
    life_loss: Annotated[
        Literal["terminal", "reset", "none"],
        Meta(
            description="What a lost life is: the end of the learner's episode while the game goes on (terminal), "
            "the start of a new game (reset), or nothing (none)."
        ),
    ] = "terminal"
    fire_reset: Annotated[
        bool,
        Meta(description="Press FIRE after a reset and after each lost life, in games that wait for it."),
    ] = True
    clip_reward: Annotated[
        bool, Meta(description="Train on the sign of the reward; the reported return is always the raw one.")
    ] = True
    sticky_actions: Annotated[
        float,
        Meta(ge=0, le=1, description="Probability, per frame, that the emulator repeats the previous action."),
    ] = 0.0
    screen_size: Annotated[
        int, Meta(ge=36, le=210, description="Width and height of the grey frame that the network sees.")
    ] = 84
    max_frames: Annotated[
        int,
        Meta(ge=1, description="Emulator frames after which a game is truncated (108,000 are 30 minutes)."),
    ] = 108_000
    full_action_space: Annotated[
        bool, Meta(description="Offer all 18 joystick actions instead of the game's own minimal set.")
    ] = False


class EnvConfig(Section, frozen=True, kw_only=True):
    """What is played."""

    id: Annotated[str, Meta(min_length=1, max_length=200, description="Gymnasium id, such as ALE/Breakout-v5.")]
    frame_stack: Annotated[int, Meta(ge=1, le=32, description="Newest observations that the network sees at once.")] = 1
    hide: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...],
        Meta(
            max_length=4096,
            description="Indices of the numbers of an observation vector that the policy is not shown, such as the "
            "velocities.",
        ),
    ] = ()
    action_masks: Annotated[
        bool | Literal["auto"],
        Meta(
            description="Never take actions that the environment masks, by info['action_mask'] or a method "
            "action_masks(); auto does so where it has masks."
        ),
    ] = "auto"
    on_bad_value: Annotated[
        Literal["drop", "stop"],
        Meta(
            description="An observation or reward that is NaN, infinite or of a wrong shape drops its episode, or "
            "stops the run."
        ),
    ] = "drop"
    kwargs: Annotated[
        dict[str, Any], Meta(description="Keyword arguments for gymnasium.make, such as continuous = true.")
    ] = msgspec.field(default_factory=dict)
    atari: AtariConfig | None = None


class TrackingConfig(Section, frozen=True, kw_only=True):
    """Programs that keep track of runs, besides the run directory. One that fails is let go; the run goes on."""

    tensorboard: Annotated[
        bool | Literal["auto"],
        Meta(description="Write TensorBoard's files into the run directory; auto does where it is installed."),
    ] = "auto"
    wandb: Annotated[
        Literal["off", "offline", "online"],
        Meta(description="Weights & Biases: off, offline (into the run directory, for `wandb sync`), or online."),
    ] = "off"
    mlflow: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2000,
            description="MLflow's store: http://localhost:5000, a directory, sqlite:///mlflow.db; off for none.",
        ),
    ] = "off"
    project: Annotated[
        str,
        Meta(min_length=1, max_length=128, description="The project of Weights & Biases, the experiment of MLflow."),
    ] = "ppo-tui"


class NotifyConfig(Section, frozen=True, kw_only=True):
    """Who is told when a run ends, fails or stalls."""

    webhook: Annotated[
        Annotated[str, Meta(pattern=r"^https?://\S+$", max_length=2000)] | None,
        Meta(
            description="An address that a short JSON text is posted to; Slack, Mattermost and Discord understand it."
        ),
    ] = None
    command: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2000)] | None,
        Meta(
            description="A command, run without a shell, that gets the same JSON on stdin and PPO_TUI_EVENT, _RUN, "
            "_RUN_DIR, _STATE, _STEP and _REASON in its environment."
        ),
    ] = None
    on: Annotated[
        tuple[Literal["finish", "failure", "stall"], ...],
        Meta(max_length=3, description="What they are told of: finish (a stop too), failure, stall."),
    ] = ("finish", "failure", "stall")
    stall_seconds: Annotated[
        float, Meta(gt=0, le=604_800, description="Seconds of training without a step after which a run has stalled.")
    ] = 600.0


class WorkersConfig(Section, frozen=True, kw_only=True):
    """The processes that host the environments."""

    count: Annotated[
        int | Literal["auto"],
        Meta(description="Worker processes; auto fits them to the machine's cores and the environments."),
    ] = "auto"
    groups: Annotated[
        Literal["auto", 1, 2],
        Meta(
            description="With 2, one half of the workers steps while actions for the other half are computed; "
            "auto takes 2 wherever there are two workers."
        ),
    ] = "auto"
    step_timeout: Annotated[
        float,
        Meta(gt=0, le=86_400, description="Seconds without a reply after which a worker counts as hung."),
    ] = 10.0
    max_restarts: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="How often a worker that died or hung is replaced without a whole rollout between; 0: never.",
        ),
    ] = 5
    start_timeout: Annotated[float, Meta(gt=0, le=86_400, description="Seconds that a worker may take to start.")] = (
        120.0
    )


class RolloutConfig(Section, frozen=True, kw_only=True):
    """How much experience each update learns from."""

    num_envs: Annotated[int, Meta(ge=1, le=65_536, description="Environments stepped side by side (N).")] = 8
    steps: Annotated[int, Meta(ge=1, le=1_000_000, description="Steps of each environment in a rollout (T).")] = 128
    whole_episodes: Annotated[
        bool,
        Meta(description="End a rollout with its episode, or after `steps`; for a single environment."),
    ] = False


class PolicyConfig(Section, frozen=True, kw_only=True):
    """The networks of actor and critic."""

    network: Annotated[
        str,
        Meta(
            pattern=r"^(auto|nature-cnn|impala|a3c-cnn|mlp|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$",
            max_length=200,
            description="auto (nature-cnn for images, mlp for everything else), nature-cnn, impala, a3c-cnn, mlp, or a "
            "network of your own as package.module:Class.",
        ),
    ] = "auto"
    hidden: Annotated[tuple[int, ...], Meta(max_length=16, description="Widths of the hidden layers of an mlp.")] = (
        64,
        64,
    )
    activation: Annotated[
        Literal["tanh", "relu", "silu", "elu", "gelu"], Meta(description="Nonlinearity of an mlp (a CNN's is ReLU).")
    ] = "tanh"
    shared: Annotated[
        bool | Literal["auto"],
        Meta(description="Whether actor and critic share a trunk; auto shares all but MLPs."),
    ] = "auto"
    recurrent: Annotated[
        Literal["none", "lstm", "gru"],
        Meta(
            description="Whether the policy remembers: a recurrent layer between trunk and heads, for environments "
            "that one observation does not tell everything about."
        ),
    ] = "none"
    recurrent_size: Annotated[int, Meta(ge=1, le=8192, description="Width of the recurrent layer.")] = 128
    init: Annotated[
        Literal["orthogonal", "default"],
        Meta(description="Orthogonal weights (√2, policy head 0.01, value head 1) or PyTorch's own default."),
    ] = "orthogonal"
    precision: Annotated[
        Literal["float32", "bf16"],
        Meta(
            description="Arithmetic of the trunks: bf16 is faster on GPUs, and on CPUs that have it; whether it learns "
            "as much is open (docs/performance.md). Weights, heads and losses stay float32."
        ),
    ] = "float32"
    log_std_init: Annotated[
        float, Meta(ge=-20, le=5, description="Initial log standard deviation of continuous actions.")
    ] = 0.0
    squash_actions: Annotated[
        bool, Meta(description="Squash continuous actions into their bounds by a tanh, instead of clipping them.")
    ] = False
    normalize_observations: Annotated[
        bool,
        Meta(description="Give each number of an observation mean 0 and variance 1 by running statistics, within ±10."),
    ] = False


class PPOConfig(Section, frozen=True, kw_only=True):
    """Proximal Policy Optimization (Schulman et al., 2017, arXiv:1707.06347) and its relatives.

    One epoch of one minibatch without clipping (``surrogate = "none"``, ``normalize_advantage = false``) is A2C.
    """

    surrogate: Annotated[
        Literal["clip", "kl", "kl-adaptive", "none"],
        Meta(
            description="What holds the new policy near the old one: the clipped ratio (clip), a KL penalty of fixed "
            "weight β (kl) or of one that follows the divergence (kl-adaptive), or nothing (none)."
        ),
    ] = "clip"

    gamma: Annotated[
        float,
        Meta(
            ge=0, le=1, description="Discount factor γ.",
            extra={"live": Live(low=0.5, high=1.0, step=0.001, unit="per step", aliases=("discount",))},
        ),
    ] = 0.99  # fmt: skip
    gae_lambda: Annotated[
        float,
        Meta(
            ge=0, le=1, description="λ of generalised advantage estimation: 0 trusts the critic, 1 the returns.",
            extra={"live": Live(low=0.0, high=1.0, step=0.01, unit="per step", aliases=("lam", "lambda"))},
        ),
    ] = 0.95  # fmt: skip
    epochs: Annotated[
        int,
        Meta(
            ge=1, le=1000, description="Passes over each rollout.",
            extra={"live": Live(low=1, high=50, step=1, unit="passes")},
        ),
    ] = 4  # fmt: skip
    minibatches: Annotated[int, Meta(ge=1, description="Minibatches that each pass is split into.")] = 4
    clip_range: Annotated[
        float,
        Meta(
            gt=0, le=10, description="ε: how far the probability ratio may move from 1 before its gain is clipped.",
            extra={"live": Live(low=0.01, high=1.0, step=0.01, unit="of the ratio", aliases=("clip", "eps"))},
        ),
    ] = 0.1  # fmt: skip
    clip_range_schedule: Annotated[
        Literal["constant", "linear"], Meta(description="Keep ε, or anneal it linearly to 0 over the run.")
    ] = "constant"
    dual_clip: Annotated[
        Annotated[float, Meta(gt=1, le=1000)] | None,
        Meta(description="c > 1: a step of negative advantage Â costs no more than c |Â|; none never bounds it."),
    ] = None
    kl_coef: Annotated[
        float,
        Meta(gt=0, le=1e6, description="β, the weight of the KL penalty; kl-adaptive starts from it."),
    ] = 1.0
    desired_kl: Annotated[
        float,
        Meta(gt=0, le=100, description="The KL of an update that kl-adaptive penalties and learning rates aim at."),
    ] = 0.01
    clip_value_loss: Annotated[
        bool, Meta(description="Clip the value loss by ε around the old values, as OpenAI's baselines do.")
    ] = True
    huber_delta: Annotated[
        Annotated[float, Meta(gt=0, le=1e6)] | None,
        Meta(description="Errors of the critic beyond this count linearly (Huber's loss); none squares all of them."),
    ] = None
    value_coef: Annotated[
        float,
        Meta(
            ge=0, le=100, description="Weight c₁ of the value loss.",
            extra={"live": Live(low=0.0, high=10.0, step=0.05, unit="weight", aliases=("vf", "vf_coef"))},
        ),
    ] = 0.5  # fmt: skip
    entropy_coef: Annotated[
        float,
        Meta(
            ge=0, le=10, description="Weight c₂ of the entropy bonus: higher explores more.",
            extra={"live": Live(low=0.0, high=1.0, step=0.001, unit="weight", aliases=("ent", "ent_coef"))},
        ),
    ] = 0.01  # fmt: skip
    normalize_advantage: Annotated[
        bool, Meta(description="Give the advantages of each minibatch mean 0 and standard deviation 1.")
    ] = True
    normalize_rewards: Annotated[
        bool,
        Meta(
            description="Divide rewards by the running standard deviation of the discounted return, within ±10; the "
            "reported return stays the raw one."
        ),
    ] = False
    target_kl: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(
            description="End an update early once the approximate KL passes 1.5 times this; none never does.",
            extra={"live": Live(low=0.001, high=1.0, step=1.25, scale="log", optional=True, unit="nats")},
        ),
    ] = None  # fmt: skip


class OptimConfig(Section, frozen=True, kw_only=True):
    """Adam (Kingma & Ba, 2015, arXiv:1412.6980) or RMSprop (Hinton, 2012)."""

    name: Annotated[
        Literal["adam", "rmsprop", "rmsprop-tf"],
        Meta(description="The optimiser; rmsprop-tf is TensorFlow 1's, which A2C's published scores come from."),
    ] = "adam"

    learning_rate: Annotated[
        float,
        Meta(
            ge=0, le=1, description="Step size of the optimiser, before annealing.",
            extra={"live": Live(low=1e-7, high=0.1, step=1.25, scale="log", unit="step size", aliases=("lr",))},
        ),
    ] = 2.5e-4  # fmt: skip
    learning_rate_schedule: Annotated[
        Literal["constant", "linear", "kl-adaptive"],
        Meta(description="Keep the step size, anneal it linearly to 0, or let it follow ppo.desired_kl."),
    ] = "linear"
    adam_eps: Annotated[float, Meta(gt=0, le=1, description="ε in Adam's denominator.")] = 1e-5
    rmsprop_eps: Annotated[float, Meta(gt=0, le=1, description="ε in RMSprop's denominator.")] = 1e-5
    rmsprop_alpha: Annotated[
        float, Meta(ge=0, lt=1, description="Share of the old mean square that each step of RMSprop keeps.")
    ] = 0.99
    max_grad_norm: Annotated[
        float,
        Meta(
            gt=0, le=1e6, description="Gradients longer than this are scaled down to it.",
            extra={"live": Live(low=0.01, high=100.0, step=1.25, scale="log", unit="L2 norm")},
        ),
    ] = 0.5  # fmt: skip


class EvalConfig(Section, frozen=True, kw_only=True):
    """Evaluations while the run trains: full games, played by a process of its own and of low priority."""

    every: Annotated[
        int,
        Meta(
            ge=0,
            le=10**13,
            description="Environment steps from one evaluation to the next; 0 for none. With evaluations, `best` names "
            "the checkpoint with the highest score, else the one with the highest return in training.",
        ),
    ] = 0
    episodes: Annotated[int, Meta(ge=1, le=1_000_000, description="Full games of each evaluation.")] = 20
    greedy: Annotated[
        bool | Literal["auto"],
        Meta(
            description="Always the most probable action, or sampled ones as in training; auto samples on Atari, as "
            "its published scores are, and is greedy elsewhere."
        ),
    ] = "auto"


class RunConfig(Section, frozen=True, kw_only=True):
    """By which algorithm, how long, from which seed, on what."""

    algorithm: Annotated[
        Literal["ppo", "a3c"],
        Meta(
            description="ppo (and its special cases), or a3c: workers that learn asynchronously, each from its own "
            "environment."
        ),
    ] = "ppo"
    total_steps: Annotated[
        int, Meta(ge=1, le=10**13, description="Environment steps of the run, all environments together.")
    ] = 1_000_000
    max_episodes: Annotated[
        Annotated[int, Meta(ge=1, le=10**13)] | None,
        Meta(description="End after the update in which this many full games are done; none counts steps alone."),
    ] = None
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, description="Seed of everything that is random.")] = 1
    device: Annotated[
        str,
        Meta(
            pattern=r"^(auto|cpu|cuda(:\d+)?)$",
            description="Where the networks live: auto (a GPU where there is one), cpu, cuda or cuda:N.",
        ),
    ] = "auto"
    torch_threads: Annotated[
        int | Literal["auto"], Meta(description="Threads that PyTorch computes with; auto takes the cores.")
    ] = "auto"
    overlap: Annotated[
        bool,
        Meta(
            description="Collect the next rollout while learning from the last one, with the weights from before that "
            "update, which is one update stale."
        ),
    ] = False
    compile: Annotated[
        bool,
        Meta(
            description="Compile what the learner computes (torch.compile), for GPUs: a few large kernels instead of "
            "many small ones. The first update takes up to a minute longer."
        ),
    ] = False
    doctor: Annotated[
        bool,
        Meta(description="Watch the training and say what is wrong with it, with an edit to try; changes no number."),
    ] = True
    checkpoint_seconds: Annotated[
        float,
        Meta(gt=0, le=86_400, description="Seconds between checkpoints: the most work that a crash can cost."),
    ] = 60.0
    keep_checkpoints: Annotated[
        int,
        Meta(
            ge=1, le=100_000, description="Newest checkpoints that are kept, besides the best and those saved by hand."
        ),
    ] = 5


class Config(Section, frozen=True, kw_only=True):
    """A whole run: one section a concern, each documented at its class."""

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
        """Whether the learner needs the whole distributions that the actions came from, for their exact divergence."""
        return self.ppo.surrogate in ("kl", "kl-adaptive") or self.optim.learning_rate_schedule == "kl-adaptive"

    @property
    def num_updates(self) -> int:
        """Updates until at least `run.total_steps` steps are done; the fewest, where rollouts end with episodes."""
        return -(-self.run.total_steps // self.batch_size)

    @property
    def planned_steps(self) -> int:
        """Steps that the run takes: `run.total_steps` rounded up to whole updates of a known length."""
        if self.rollout.whole_episodes:
            return self.run.total_steps
        return self.num_updates * self.batch_size
