"""Settings of a run: length, device, evaluations, trackers and notices."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .declaring import Outside, Section, setting


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
    init_from: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2000)] | None,
        setting(
            "Begin with the weights and running statistics of another run: its name, RUN@best, RUN@STEP, the directory "
            "of a checkpoint, or a model.zip of Stable-Baselines3; optimiser, counters and schedules begin anew.",
            on_resume="fixed",
        ),
    ] = None
    seed: Annotated[int, setting("Seed of everything random.", on_resume="fixed", ge=0, le=2**31 - 1)] = 1
    device: Annotated[
        str,
        setting(
            "Device of the networks: auto (a GPU where there is one), cpu, cuda, cuda:N, or mps (Apple's GPUs).",
            on_resume="harmless",
            pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$",
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
            "Raise alarms when the training goes wrong, with an edit to try; the numbers stay the same.",
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
