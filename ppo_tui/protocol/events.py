"""The events of a run."""

from __future__ import annotations

from typing import Any

import msgspec

from .base import Event, Whole
from .game import GameClip
from .inspection import UpdateInspected
from .states import PROTOCOL_VERSION, Cause, Level, RunState, WorkerState
from .stopping import StopDistance


class RunStarted(Event, frozen=True, kw_only=True, tag="run-started"):
    """The start of a run; always the first event.

    A resumed run starts once more, and `RunResumed` follows.

    Attributes:
        run: the run's name.
        config: the resolved configuration as nested dictionaries.
        device: of the networks, such as ``cpu`` or ``cuda:0``.
        num_workers: worker processes; worker w hosts the environments `env_slices[w][0]` to `env_slices[w][1] - 1`.
        parameters: number of weights of the networks.
        run_dir: the run directory, or None for a run that keeps no files.
        reference: the measured curve of its preset, a `ppo_tui.expectations.Reference`; None without one.
        reward_threshold: mean return of 100 episodes at which the environment counts as solved; None without one.
    """

    run: str
    config: dict[str, Any]
    seed: Whole
    total_steps: Whole
    num_envs: Whole
    num_workers: Whole
    rollout_steps: Whole
    env_slices: tuple[tuple[Whole, Whole], ...]
    device: str
    parameters: Whole
    versions: dict[str, str]
    run_dir: str | None = None
    reference: dict[str, Any] | None = None
    reward_threshold: float | None = None
    protocol: Whole = PROTOCOL_VERSION


class WeightsTaken(Event, frozen=True, kw_only=True, tag="weights-taken"):
    """The first weights of a new run, from another one.

    Attributes:
        source: where they are from, such as ``breakout-3``; `checkpoint` is ``best``, ``latest`` or empty.
        path, step, sha256: of the checkpoint (its manifest) or of the model's file.
        taken: number of layers and statistics taken over.
        anew: number of those that begin anew instead, as in a run without a source.
        misfits: their names, each with the reason; at most `MOST_LAYERS_NAMED`.
        unused: layers and statistics of the source without a place in this run; as many at most.
    """

    source: str
    path: str
    step: Whole
    sha256: str
    taken: Whole
    anew: Whole
    checkpoint: str = ""
    misfits: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


MOST_LAYERS_NAMED = 40
"""Layers of a network that a `WeightsTaken` names."""


class StateChanged(Event, frozen=True, kw_only=True, tag="state"):
    """A new state of the run, with a reason if needed.

    The end of the run is a `RunFinished` instead.
    """

    state: RunState
    reason: str = ""


class StartProgress(Event, frozen=True, kw_only=True, tag="start-progress"):
    """Transient: the work of a run before its training.

    It is published before the engine exists, a few times a second at most, and only while it changes.

    Attributes:
        doing: such as ``loading PyTorch``.
        workers: the number of worker processes; 0 while there are none.
        ready: how many of them have made their environments.
    """

    doing: str
    workers: Whole = 0
    ready: Whole = 0

    @property
    def text(self) -> str:
        """In words: loading PyTorch … · starting 4 workers (2 ready)."""
        parts = [f"{self.doing} …"]
        if self.workers:
            number = f"{self.workers} worker{'s' * (self.workers > 1)}"
            parts.append(f"{number} ready" if self.ready == self.workers else f"starting {number} ({self.ready} ready)")
        return " · ".join(parts)


class RolloutProgress(Event, frozen=True, kw_only=True, tag="rollout"):
    """Transient: the end of vector step `t` of a rollout.

    Where collecting and learning overlap, those of a rollout come between the `UpdateProgress` of the update before.

    Attributes:
        step: environment steps that the whole run has taken so far (all environments together).
        update: 1-based number of the update that this rollout feeds.
        fps: environment steps per second over the last updates, learning included.
    """

    step: Whole
    update: Whole
    t: Whole
    length: Whole
    fps: float


class UpdateProgress(Event, frozen=True, kw_only=True, tag="update-progress"):
    """Transient: the end of a minibatch; it and `epoch` count from 1."""

    update: Whole
    epoch: Whole
    epochs: Whole
    minibatch: Whole
    minibatches: Whole


class InterimMetrics(Event, frozen=True, kw_only=True, tag="interim"):
    """Transient: metrics in the middle of an update.

    It comes twice a second at most.

    Their keys are those of `UpdateFinished`, whose values take their place.
    """

    metrics: dict[str, float | None]


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One worker at one moment.

    Attributes:
        steps_per_second: environment steps a second over the last rollout, all its environments together.
        wait_share: share of the last rollout (0..1) spent waiting for actions.
        answer_share: share of the last rollout (0..1) between receiving actions and replying, whether it was at work or
            had no core.
        episodes: finished in its environments since the start, each over all lives.
        last_return: raw return of the last of them, or None before the first.
        memory_mb: private memory of the process in megabytes (10⁶ bytes).
    """

    index: Whole
    pid: Whole
    state: WorkerState
    num_envs: Whole
    steps_per_second: float = 0.0
    wait_share: float = 0.0
    answer_share: float = 0.0
    episodes: Whole = 0
    last_return: float | None = None
    restarts: Whole = 0
    memory_mb: float = 0.0


class WorkersStatus(Event, frozen=True, kw_only=True, tag="workers"):
    """Transient: the state of every worker.

    It comes at both ends of a rollout, and twice a second during it.
    """

    workers: tuple[WorkerInfo, ...]


class EpisodeFinished(Event, frozen=True, kw_only=True, omit_defaults=True, tag="episode"):
    """The end of an episode, with its raw return.

    The return is unclipped and over all lives.

    Attributes:
        step: environment steps of the run when it ended.
        length: agent steps of the episode.
        numbers: those in the info of its last step, by name (see `ppo_tui.envs.numbers`).
    """

    env: Whole
    episode_return: float
    length: Whole
    step: Whole
    numbers: dict[str, float] = msgspec.field(default_factory=dict)


class UpdateFinished(Event, frozen=True, kw_only=True, tag="update"):
    """The end of an update (rollout and learning), with its metrics.

    `metrics` is the line written to ``metrics.jsonl``.

    Attributes:
        stop: the distance to the stop rules; None without any.
    """

    update: Whole
    step: Whole
    metrics: dict[str, float | None]
    stop: StopDistance | None = None


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """The course of a scheduled setting from a step on.

    Attributes:
        kind: of the schedule; a ``constant`` one has a warm-up alone.
        final: the value at step `end` and afterwards.
        warmup_steps: the step at which its warm-up ends; 0 once it is over.
    """

    kind: str
    final: float
    end: Whole
    warmup_steps: Whole = 0

    @property
    def text(self) -> str:
        """In words, such as: linear to 0 at step 10,000,000."""
        parts = [f"warm-up until step {self.warmup_steps:,}"] if self.warmup_steps else []
        if self.kind != "constant":
            parts.append(f"{self.kind} to {self.final:g} at step {self.end:,}")
        return ", then ".join(parts)


class SettingChanged(Event, frozen=True, kw_only=True, tag="setting"):
    """A change of a live setting, at an update boundary.

    Attributes:
        by: names the client that asked for it.
        course: from the new value on; None if that stays as it is.
    """

    key: str
    old: Any
    new: Any
    by: str
    step: Whole
    update: Whole
    cause: Cause = Cause.EDIT
    course: Course | None = None


class CommandRefused(Event, frozen=True, kw_only=True, tag="refused"):
    """The refusal of a command.

    `message` says why and what would be accepted; `by` names the sender.
    """

    message: str
    by: str = ""


class CheckpointSaved(Event, frozen=True, kw_only=True, tag="checkpoint"):
    """A complete checkpoint on the disk.

    Attributes:
        seconds: of training time that it took.
        reason: ``periodic``, ``best``, ``manual``, ``stop``, ``signal``, ``failure`` (at the last whole update before
            one), ``evaluation`` or ``final``.
    """

    path: str
    step: Whole
    update: Whole
    reason: str
    seconds: float


class Evaluated(Event, frozen=True, kw_only=True, tag="evaluated"):
    """The score of a policy of this run, evaluated in another process.

    Training has continued meanwhile.

    Attributes:
        path: the checkpoint with its weights.
        step, update: of these weights.
        metrics: the line written to ``metrics.jsonl``: mean, standard deviation and 95 % interval of the raw returns
            (``eval/ep_rew_mean``, ``_std``, ``_low``, ``_high``), the mean length, and the number of episodes.
        best: the highest score of this run so far; the link ``best`` names its checkpoint.
        seconds: duration of the evaluation.
    """

    path: str
    step: Whole
    update: Whole
    metrics: dict[str, float | None]
    best: bool
    seconds: float


class RunResumed(Event, frozen=True, kw_only=True, tag="run-resumed"):
    """The continuation of a run from an earlier process's checkpoint.

    Attributes:
        step, update: of the checkpoint.
        restarted_envs: environments whose part-played episode could not be restored; they began new ones.
        exact: the run continues bit for bit as if it had never stopped.
        differences: from the process that saved the checkpoint, in words.
    """

    path: str
    step: Whole
    update: Whole
    restarted_envs: tuple[Whole, ...] = ()
    exact: bool = True
    differences: tuple[str, ...] = ()


class Rewound(Event, frozen=True, kw_only=True, tag="rewound"):
    """The return of the run to an earlier checkpoint.

    The next events follow `step`; those since the checkpoint are abandoned.

    Attributes:
        restarted_envs, exact: as of `RunResumed`.
    """

    path: str
    step: Whole
    update: Whole
    restarted_envs: tuple[Whole, ...] = ()
    exact: bool = True


class SuggestedEdit(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a live setting, advised by an alarm."""

    key: str
    value: float

    @property
    def command(self) -> str:
        """In the words of `ctl`: set optim.learning_rate 2.5e-05."""
        return f"set {self.key} {self.value:.3g}"


class Alarm(Event, frozen=True, kw_only=True, tag="alarm"):
    """A problem or piece of news, with the remedy in `message`.

    Attributes:
        name: of an alarm of the diagnostics (docs/diagnostics.md), such as ``kl-spike``; empty for any other. It holds
            until a `Recovered` of this name, or until the run starts, resumes or rewinds.
        suggestion: `edit` in the words of `ctl`, such as ``set optim.learning_rate 2.5e-05``; or empty.
        value: the number behind an alarm of the diagnostics.
        edit: of a live setting that may help.
    """

    level: Level
    message: str
    details: str = ""
    name: str = ""
    suggestion: str = ""
    value: float | None = None
    edit: SuggestedEdit | None = None

    @property
    def text(self) -> str:
        """The message, with the suggestion if any."""
        return f"{self.message}; try: {self.suggestion}" if self.suggestion else self.message


class Recovered(Event, frozen=True, kw_only=True, tag="recovered"):
    """The end of a diagnostics alarm: the run is healthy again.

    Attributes:
        name: of the alarm.
        message: in words, for the log.
    """

    name: str
    message: str


class RunFinished(Event, frozen=True, kw_only=True, tag="run-finished"):
    """The last event of a run.

    Attributes:
        exit_code: of the process (see `ppo_tui.errors`).
        details: the traceback of a failure, else empty.
        by: the sender of the `Stop` that the run obeyed, such as ``user`` (at its own screen), ``ctl (pid 123)`` or
            ``SIGTERM``, or `BY_RULE` for a stop rule; empty where none did.
    """

    state: RunState
    exit_code: Whole
    reason: str
    step: Whole
    update: Whole
    details: str = ""
    by: str = ""


AnyEvent = (
    RunStarted
    | WeightsTaken
    | StateChanged
    | StartProgress
    | RolloutProgress
    | UpdateProgress
    | InterimMetrics
    | WorkersStatus
    | GameClip
    | EpisodeFinished
    | UpdateFinished
    | UpdateInspected
    | SettingChanged
    | CommandRefused
    | CheckpointSaved
    | Evaluated
    | RunResumed
    | Rewound
    | Alarm
    | Recovered
    | RunFinished
)

TRANSIENT: tuple[type[Event], ...] = (
    StartProgress,
    RolloutProgress,
    UpdateProgress,
    InterimMetrics,
    WorkersStatus,
    GameClip,
    UpdateInspected,
)
"""Only the newest event of each of these types matters; every other event is part of the record."""


def transient_key(event: Event) -> tuple[int, int]:
    """The kind of a transient event: only the newest of each matters.

    It is the type's place in `TRANSIENT`, and the environment of a clip: there are clips of several at a time.
    """
    return TRANSIENT.index(type(event)), event.env if isinstance(event, GameClip) else 0
