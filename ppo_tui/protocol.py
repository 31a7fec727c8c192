"""Events published by the engine, and commands to it.

Every screen, log line, file and replay is a view computed from one stream of events, and it does not matter
whether the stream comes from a thread of this process, from a socket, or from a file. All types here are
small, frozen and encodable as one line of JSON (`encode`, `decode_event`, `decode_command`).

Events come in two kinds. *Durable* ones are all part of the record: they are stored and never dropped.
*Transient* ones (`TRANSIENT`) describe a moment (the progress of the rollout, the state of the workers): only the
newest of each type matters, and a slow reader may skip all the others.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any

import msgspec

from .text import escaped_json

PROTOCOL_VERSION = 1


class RunState(enum.StrEnum):
    """State of a run, as in the header of the screen.

    `LOST` is set by a screen alone, when the run no longer answers.
    """

    STARTING = "starting"
    TRAINING = "training"
    PAUSED = "paused"
    SAVING = "saving"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        return self in (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)


class WorkerState(enum.StrEnum):
    """State of a worker process."""

    STARTING = "starting"
    STEPPING = "stepping"
    WAITING = "waiting"
    DEAD = "dead"


class Cause(enum.StrEnum):
    """Why a setting changes.

    Undo and redo are kept apart from edits, so that every screen has the same history of edits.
    """

    EDIT = "edit"
    UNDO = "undo"
    REDO = "redo"


class Level(enum.StrEnum):
    """Severity of an alarm."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Gaze(enum.StrEnum):
    """An output of the policy, followed back by a gradient.

    ``action`` is the log-probability of the chosen action, ``value`` the value of the state.
    """

    NONE = "none"
    ACTION = "action"
    VALUE = "value"


# ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base of all events.

    Attributes:
        time: seconds since the Unix epoch, for the record.
        elapsed: seconds of the run so far, from a monotonic clock: rates are computed from this one.
    """

    time: float = 0.0
    elapsed: float = 0.0


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
    seed: int
    total_steps: int
    num_envs: int
    num_workers: int
    rollout_steps: int
    env_slices: tuple[tuple[int, int], ...]
    device: str
    parameters: int
    versions: dict[str, str]
    run_dir: str | None = None
    reference: dict[str, Any] | None = None
    reward_threshold: float | None = None
    protocol: int = PROTOCOL_VERSION


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
    workers: int = 0
    ready: int = 0

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

    step: int
    update: int
    t: int
    length: int
    fps: float


class UpdateProgress(Event, frozen=True, kw_only=True, tag="update-progress"):
    """Transient: the end of a minibatch; it and `epoch` count from 1."""

    update: int
    epoch: int
    epochs: int
    minibatch: int
    minibatches: int


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

    index: int
    pid: int
    state: WorkerState
    num_envs: int
    steps_per_second: float = 0.0
    wait_share: float = 0.0
    answer_share: float = 0.0
    episodes: int = 0
    last_return: float | None = None
    restarts: int = 0
    memory_mb: float = 0.0


class WorkersStatus(Event, frozen=True, kw_only=True, tag="workers"):
    """Transient: the state of every worker.

    It comes at both ends of a rollout, and twice a second during it.
    """

    workers: tuple[WorkerInfo, ...]


class GameFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One environment before a step, and the policy's decision.

    Attributes:
        picture: difference from the picture of the frame before (see `ppo_tui.pictures`); None without pictures.
        observation: the observation as numbers, where the environment has no picture to show, or has few numbers; else
            empty.
        action: the chosen one: the number of a discrete action, or the components of one with several.
        probabilities: of each discrete action; empty for others.
        means, stds: of each component of a continuous action, in the units of the policy; empty for others.
        value: V of the state.
        entropy: of the action distribution, in nats.
        score: raw return of the episode before this step; None where the environment keeps none.
        lives: left; None in games without lives.
        t: steps of the episode before this one; None where the environment counts none.
        advantage: r + γ V(s′) − V(s) of the chosen action, over this single step; None where rewards are normalised.
        gaze: how strongly each part of the picture moves the output that the clip's `gaze` names, uint8 `[H, W]` by
            rows, 255 at the strongest; None without one.
        gradients: of that output with respect to each number of the observation, as the network reads it; empty for
            pictures.
    """

    picture: bytes | None = None
    observation: tuple[float | None, ...] = ()
    action: int | tuple[float | None, ...]
    probabilities: tuple[float | None, ...] = ()
    means: tuple[float | None, ...] = ()
    stds: tuple[float | None, ...] = ()
    value: float | None
    entropy: float | None
    score: float | None = None
    lives: int | None = None
    t: int | None = None
    advantage: float | None = None
    gaze: bytes | None = None
    gradients: tuple[float | None, ...] = ()


class GameClip(Event, frozen=True, kw_only=True, tag="game-clip"):
    """Transient: consecutive steps of one environment, recorded on request.

    It is published only while somebody watches (see `WatchGame`).

    The frames are consecutive: played at `fps` they show the game at its own speed. They are recorded during rollouts,
    which are much faster, and last a few seconds: while they are played, the learner learns.

    Attributes:
        step: environment steps of the run when the recording began.
        height, width, channels: of the pictures; all 0 without pictures. One channel is grey, three are RGB.
        action_names: of the discrete actions; empty where the environment names none.
        gaze: the output that the frames' gaze belongs to.
        gaze_height, gaze_width: of the frames' `gaze`; 0 without one.
        follows: its first frame comes right after the last one of the clip before.
        scene: grows with each cut of what is played; a clip of a new scene takes the place of the one before at once.
    """

    env: int
    step: int
    fps: float
    height: int = 0
    width: int = 0
    channels: int = 0
    action_names: tuple[str, ...] = ()
    gaze: Gaze = Gaze.NONE
    gaze_height: int = 0
    gaze_width: int = 0
    follows: bool = False
    scene: int = 0
    frames: tuple[GameFrame, ...]


class EpisodeFinished(Event, frozen=True, kw_only=True, tag="episode"):
    """The end of an episode, with its raw return.

    The return is unclipped and over all lives.

    Attributes:
        step: environment steps of the run when it ended.
        length: agent steps of the episode.
    """

    env: int
    episode_return: float
    length: int
    step: int


class UpdateFinished(Event, frozen=True, kw_only=True, tag="update"):
    """The end of an update (rollout and learning), with its metrics.

    `metrics` is the line written to ``metrics.jsonl``.
    """

    update: int
    step: int
    metrics: dict[str, float | None]


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """The course of a scheduled setting from a step on.

    Attributes:
        kind: of the schedule; a ``constant`` one has a warm-up alone.
        final: the value at step `end` and afterwards.
        warmup_steps: the step at which its warm-up ends; 0 once it is over.
    """

    kind: str
    final: float
    end: int
    warmup_steps: int = 0

    @property
    def text(self) -> str:
        """In words, such as: linear to 0 at step 10,000,000."""
        parts = [f"warm-up until step {self.warmup_steps:,}"] if self.warmup_steps else []
        if self.kind != "constant":
            parts.append(f"{self.kind} to {self.final:g} at step {self.end:,}")
        return ", then ".join(parts)


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of numbers in bins of equal width; NaN is in none.

    Attributes:
        low, high: the lower edge of the first bin, and the upper edge of the last.
        counts: one a bin.
        below, above: of the numbers beyond the edges.
    """

    low: float
    high: float
    counts: tuple[int, ...]
    below: int = 0
    above: int = 0


class LayerReading(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of the networks in an update.

    Attributes:
        grad_norm: of its gradient before clipping, mean over the minibatches of the epoch.
        units, dead: units of the nonlinearity behind it, and how many of them were dead in the newest minibatch; None
            where they are not counted.
    """

    name: str
    grad_norm: float | None
    units: int | None = None
    dead: int | None = None


class MinibatchColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of the minibatches of an update, in order.

    Each column has one entry a minibatch.

    Attributes:
        epoch: from 1.
        approx_kl, clip_fraction, policy_loss, value_loss, entropy: before the optimiser's step; None if not finite.
        grad_norm: before clipping.
    """

    epoch: tuple[int, ...] = ()
    approx_kl: tuple[float | None, ...] = ()
    clip_fraction: tuple[float | None, ...] = ()
    policy_loss: tuple[float | None, ...] = ()
    value_loss: tuple[float | None, ...] = ()
    entropy: tuple[float | None, ...] = ()
    grad_norm: tuple[float | None, ...] = ()


class ClipCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Steps by probability ratio r and sign of the advantage Â.

    Attributes:
        steps: all of them.
        outside: those with r beyond a bound; the counts below are parts of it.
        risen: Â > 0 and r above the upper bound: it has become as likely as it may.
        fallen: Â < 0 and r below the lower bound: it has become as unlikely as it may.
        astray: beyond the bound on the other side, against the advantage.
        capped: Â < 0 and r beyond the dual clip.
    """

    steps: int = 0
    outside: int = 0
    risen: int = 0
    fallen: int = 0
    astray: int = 0
    capped: int = 0


class UpdateInspected(Event, frozen=True, kw_only=True, tag="update-inspected"):
    """Transient: an update as the learner sees it.

    Measured on request (see `WatchUpdate`). Published after the update, and between two minibatches while it is stepped
    through. Of those after an update some are recorded, so that a replay has them.

    Attributes:
        epoch, epochs, minibatch, minibatches: of the newest minibatch, from 1.
        done: the update has ended.
        surrogate: as ``ppo.surrogate``.
        clip_low, clip_high: 1 − ε and 1 + ε; None where the surrogate has no bounds.
        ratio_up, ratio_down: probability ratios of this epoch's steps so far, of those with Â ≥ 0 and with Â < 0, Â as
            in the loss.
        clip: the same steps by bound and advantage.
        advantages, log_probs: of all steps of the rollout, before any normalisation and of the policy that acted.
        better: share (0..1) of the steps with an advantage above 0.
        values, returns: V(s) of the critic that acted and its target, of a few hundred steps.
        explained_variance: of all steps.
        choices: of discrete actions: the share of each action (0..1), for each choice of a step. The last share is
            that of all `other_actions` together, if there are any.
        action_names: of the first choice; empty where the environment names none.
        means, stds: of each dimension of continuous actions, as the policy counts them.
        layers: from observation to head.
        columns: of the minibatches measured.
        every: one of so many minibatches is in `columns`.
    """

    update: int
    epoch: int
    epochs: int
    minibatch: int
    minibatches: int
    done: bool
    surrogate: str
    clip_low: float | None = None
    clip_high: float | None = None
    ratio_up: Histogram
    ratio_down: Histogram
    clip: ClipCounts
    advantages: Histogram
    advantage_mean: float | None
    advantage_std: float | None
    better: float | None = None
    log_probs: Histogram
    log_prob_mean: float | None
    values: tuple[float | None, ...]
    returns: tuple[float | None, ...]
    explained_variance: float | None
    choices: tuple[tuple[float, ...], ...] = ()
    other_actions: int = 0
    action_names: tuple[str, ...] = ()
    means: tuple[float | None, ...] = ()
    stds: tuple[float | None, ...] = ()
    layers: tuple[LayerReading, ...] = ()
    columns: MinibatchColumns
    every: int = 1


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
    step: int
    update: int
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
    step: int
    update: int
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
    step: int
    update: int
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
    step: int
    update: int
    restarted_envs: tuple[int, ...] = ()
    exact: bool = True
    differences: tuple[str, ...] = ()


class Rewound(Event, frozen=True, kw_only=True, tag="rewound"):
    """The return of the run to an earlier checkpoint.

    The next events follow `step`; those since the checkpoint are abandoned.

    Attributes:
        restarted_envs, exact: as of `RunResumed`.
    """

    path: str
    step: int
    update: int
    restarted_envs: tuple[int, ...] = ()
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
            ``SIGTERM``; empty where none did.
    """

    state: RunState
    exit_code: int
    reason: str
    step: int
    update: int
    details: str = ""
    by: str = ""


AnyEvent = (
    RunStarted
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


# ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command"):
    """Base of all commands.

    `by` names the sender in the audit trail.
    """

    by: str = "user"


class Pause(Command, frozen=True, kw_only=True, tag="pause"):
    """Pause at the next vector step or minibatch."""


class Resume(Command, frozen=True, kw_only=True, tag="resume"):
    """Resume after a pause."""


class StepUpdates(Command, frozen=True, kw_only=True, tag="step"):
    """Run until `updates` more updates are done, then pause."""

    updates: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 1


class StepMinibatches(Command, frozen=True, kw_only=True, tag="step-minibatches"):
    """Learn from `minibatches` more minibatches, then pause between two of them.

    Such a pause lasts while its sender, or anybody else, watches (see `WatchUpdate`); then the run continues. A save
    and a rewind wait for the update to end, and so end the pause too.
    """

    minibatches: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 1


class SaveCheckpoint(Command, frozen=True, kw_only=True, tag="save"):
    """Write a checkpoint at the next update boundary."""


class Rewind(Command, frozen=True, kw_only=True, tag="rewind"):
    """Return to a checkpoint of this run, at the next update boundary.

    Attributes:
        path: the checkpoint's directory, or its name below the run's ``checkpoints``.
    """

    path: str


class SetValue(Command, frozen=True, kw_only=True, tag="set"):
    """Change a live setting at the next update boundary.

    Attributes:
        key: its dotted name.
    """

    key: str
    value: Any
    cause: Cause = Cause.EDIT


class WithdrawValue(Command, frozen=True, kw_only=True, tag="withdraw"):
    """Withdraw a pending change of a live setting."""

    key: str


WATCH_SECONDS = 15.0
"""Duration of a `WatchGame` or `WatchUpdate`: a watcher that vanishes costs nothing for longer than this."""


MOST_BESIDE = 15
"""Environments that can be watched beside a first one."""


class WatchGame(Command, frozen=True, kw_only=True, tag="watch-game"):
    """Publish `GameClip`s of an environment for the next `WATCH_SECONDS`.

    A watcher repeats the command in time.

    Attributes:
        env: which environment; None to end the clips.
        fps: frames a second of the player, of all environments together.
        gaze: the output whose gradient the clips show.
        beside: further environments to show at the same time.
    """

    env: int | None
    fps: float = 15.0
    gaze: Gaze = Gaze.NONE
    beside: Annotated[tuple[int, ...], msgspec.Meta(max_length=MOST_BESIDE)] = ()


class WatchUpdate(Command, frozen=True, kw_only=True, tag="watch-update"):
    """Publish an `UpdateInspected` for each update of the next `WATCH_SECONDS`.

    A watcher repeats the command in time.

    Attributes:
        open: False ends it for this sender.
    """

    open: bool = True


class Stop(Command, frozen=True, kw_only=True, tag="stop"):
    """End the run at the next vector step or minibatch.

    Attributes:
        save: write a checkpoint before.
        exit_code: of the process; 130 and 143 stand for SIGINT and SIGTERM.
    """

    save: bool = True
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    reason: str = "stopped by the user"


AnyCommand = (
    Pause
    | Resume
    | StepUpdates
    | StepMinibatches
    | SaveCheckpoint
    | Rewind
    | SetValue
    | WithdrawValue
    | WatchGame
    | WatchUpdate
    | Stop
)

PASSIVE: tuple[type[Command], ...] = (WatchGame, WatchUpdate)
"""Commands without effect on training: every client may send them, without control of the run."""

_encoder = msgspec.json.Encoder()
_event_decoder = msgspec.json.Decoder(AnyEvent)
_command_decoder = msgspec.json.Decoder(AnyCommand)


def encode(message: Event | Command) -> bytes:
    """Encode as one line of JSON, without its newline.

    NaN and infinities become null, as JSON has neither. What would steer a terminal is escaped, since these lines are
    printed too.
    """
    try:
        line = _encoder.encode(message)
    except UnicodeEncodeError:  # a lone surrogate, as of a file name that is not UTF-8
        line = _encoder.encode(_encodable(msgspec.to_builtins(message)))
    return line if line.isascii() and b"\x7f" not in line else escaped_json(line.decode()).encode()


def _encodable(value: Any) -> Any:
    """`value` of plain types without lone surrogates: no reader could decode them."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_encodable(key): _encodable(item) for key, item in value.items()}
        case list():
            return [_encodable(item) for item in value]
    return value


def decode_event(line: bytes | str) -> AnyEvent:
    """Decode an event from a line of `encode`.

    Raises:
        msgspec.ValidationError: the line is JSON but no event.
        msgspec.DecodeError: the line is no JSON.
    """
    return _event_decoder.decode(line)


def decode_command(line: bytes | str) -> AnyCommand:
    """Decode a command from a line of `encode`.

    Raises as `decode_event` does.
    """
    return _command_decoder.decode(line)
