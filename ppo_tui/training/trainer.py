"""The training loop: collect a rollout, learn from it, report it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..config import Config, build_config, is_rule, refuse_outsiders
from ..directories import Place
from ..distributed.ranks import ALONE, Ranks
from ..envs import EnvInfo
from ..errors import ConfigError, DivergedError, PPOTuiError, UsageError
from ..expectations import Reference
from ..ppo import ActorCritic, Hyperparameters
from ..protocol import (
    BY_RULE,
    Alarm,
    Command,
    CommandRefused,
    Event,
    Level,
    Pause,
    RunFinished,
    RunState,
    SettingChanged,
    SetValue,
    StateChanged,
    Stop,
    UpdateFinished,
)
from ..system.library import keep_freed_memory
from ..workers import WorkerPool
from .algorithms import make_engine
from .checkpoint.files import CheckpointState, OpenedCheckpoint, refuse_to_replace
from .checkpoint.initial import agreed_source, begin_with
from .checkpoint.manager import CheckpointManager
from .checkpoint.resume import Abandoned, ResumePoint, live_changes
from .checkpoint.snapshot import Position, RunParts, describe_origin, read_checkpoint, write_checkpoint
from .checkpoint.source import Source
from .controls import Controls, RankControls, Requests, StopTraining
from .device import resolve_precision
from .diagnostics.monitor import Diagnostics, GradientMonitor
from .engine import Collected
from .hub import EventHub, RunContext, RunResult, Sink, TrainingClock
from .inbox import Forestalled, Inbox
from .live_settings import LiveSettings
from .metrics import run_started
from .milestones import MilestoneNews
from .start import examine
from .stopping import StopRules, settle_stop

INTERRUPTED = 130
"""Exit code of a run that Ctrl+C stopped."""


class Trainer:
    """A trainer of a policy by the algorithm of its configuration.

    Args:
        config: the whole configuration, as `load_preset` returns it.
        sinks: objects with an ``emit(event)``, which get every event on the training thread.
        name: the run's name.
        run_dir: named in the events; the trainer itself writes only below `checkpoint_dir`.
        workers_log: file for the output of workers that the trainer starts; None leaves it as it is.
        checkpoint_dir: where checkpoints go; None keeps none.
        pool: workers that have been started already by `start_pool`; the trainer closes them.
        env_info: the result of `examine`, if it was called already.
        resume_from: a checkpoint to continue from; `config` is the checkpoint's, with changes at most that a resume
            allows.
        abandoned: what came after `resume_from` in the run so far, which it leaves as by a rewind.
        init_from: weights and running statistics of another run to begin with, found by
            `ppo_tui.exchange.initial.find_source`; ``run.init_from`` then names them. A resumed run needs none.
        inbox: commands for the trainer, some of which may have been sent already.
        notes: warnings for the record, published when the run begins.
        attended: somebody can change a setting: a training that diverges goes back to the last good checkpoint and
            pauses, instead of ending.
        reference: the measured curve of the preset, for whoever sees the run; milestones that it reaches are news.
        ranks: the processes that train together, each of which makes such a trainer with the same arguments, but for a
            pool of its own, and calls `run`. `config` counts the environments and workers of all of them. Give sinks
            and directories to rank 0 alone, which reads the checkpoint too.

    Attributes:
        config: the configuration, with ``policy.precision = "auto"`` and ``stop.at = "solved"`` decided.
        engine: the algorithm.

    Raises:
        UsageError: `resume_from` is no whole checkpoint, or another run's; nothing of `init_from` fits, or it is
            missing.
        ConfigError: the environment or the device does not exist, or the networks do not fit.
        WorkerError: the workers could not start.
    """

    def __init__(
        self,
        config: Config,
        *,
        sinks: Iterable[Sink] = (),
        name: str = "run",
        run_dir: Path | None = None,
        workers_log: Path | None = None,
        checkpoint_dir: Place | None = None,
        pool: WorkerPool | None = None,
        env_info: EnvInfo | None = None,
        resume_from: OpenedCheckpoint | Path | None = None,
        abandoned: Abandoned | None = None,
        init_from: Source | None = None,
        inbox: Inbox | None = None,
        notes: Sequence[str] = (),
        attended: bool = False,
        reference: Reference | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.name, self._run_dir, self._attended, self._reference = name, run_dir, attended, reference
        self._inbox = inbox or Inbox()
        self._resumed = None if resume_from is None else read_checkpoint(resume_from, ranks)
        saved = build_config(self._resumed.state.config) if self._resumed else None
        config, precision_notes = resolve_precision(config, ranks, saved)
        info = env_info or examine(config)
        config = settle_stop(config, info)
        self._abandoned = ranks.agree(lambda: abandoned, Abandoned | None) if self._resumed else None
        source = None if self._resumed else agreed_source(config, init_from, ranks)
        if source:
            config = source.pinned(config)
        self.config = config
        self._resumed_path = resume_from.path if isinstance(resume_from, OpenedCheckpoint) else resume_from
        clock = TrainingClock()
        self._hub = hub = EventHub(sinks, clock)
        self._context = RunContext(config, clock, hub, ranks)
        if config.run.diagnostics:
            hub.add(Diagnostics(hub.publish))
        if reference:
            hub.add(MilestoneNews(hub.publish, self._resumed.state.metrics if self._resumed else None))
        self._gradients = GradientMonitor(hub.publish)
        self._settings = LiveSettings(config)
        self._position = Position(0, 0, {})
        self._rule = ""  # which has ended the run, in words
        self._spent = False  # its workers serve one run
        keep_freed_memory()
        origin = self._resumed.state.origin if self._resumed else None
        self._reward_threshold = info.reward_threshold
        self._notes = [*((Level.WARNING, note) for note in notes), *((Level.INFO, note) for note in info.notes)]
        self._notes += precision_notes
        self.engine = make_engine(self._context, info, pool=pool, workers_log=workers_log, origin=origin)
        try:
            controls = Controls if ranks.size == 1 else RankControls
            self._controls = controls(self._context, self._inbox, self.engine)
            episodes = self.engine.metrics.episodes
            self._stop = StopRules(self._context, self._settings, episodes, info.reward_threshold)
            self._beginning = begin_with(source, self.engine.policy, self.engine.learner, config) if source else None
            self._checkpoints = self._prepare_checkpoints(checkpoint_dir)
        except BaseException:
            self.close()
            raise

    def _prepare_checkpoints(self, directory: Place | None) -> CheckpointManager:
        """Restore the resumed checkpoint; return the manager of new ones.

        Its environments are restored when the run begins.
        """
        engine, ranks = self.engine, self._context.ranks
        parts = RunParts(
            policy=engine.policy,
            learner=engine.learner,
            rollouts=engine.rollouts,
            settings=self._settings,
            episodes=engine.metrics.episodes,
            environment=engine.metrics.environment,
            stop=self._stop,
            origin=describe_origin(self._context, engine.device, engine.threads, list(engine.groups)),
        )
        if self._resumed:
            self._resumed.restore(self.config, parts)
            self._stand_at(self._resumed.state)
        # On another kind of processor the same seed may give other last bits.
        ranks.broadcast(list(engine.policy.state_dict().values()))
        return CheckpointManager(self._context, parts, self._inbox, directory, self._resumed, self._abandoned)

    def _stand_at(self, state: CheckpointState) -> None:
        self._position = Position(state.step, state.update, state.metrics)

    # ── Public ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def policy(self) -> ActorCritic:
        """The networks in training."""
        return self.engine.policy

    @property
    def step(self) -> int:
        """Environment steps done."""
        return self._position.step

    @property
    def update(self) -> int:
        """Updates done."""
        return self._position.update

    def send(self, command: Command) -> None:
        """Send a command to the running trainer, from any thread."""
        self._inbox.send(command)

    def publish_soon(self, event: Event) -> None:
        """Publish an event of the process soon, from any thread."""
        self._inbox.call_soon(lambda: self._context.publish(event))

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint directory at `path`, in place of a former one.

        Not while `run` runs in another thread: send `SaveCheckpoint` then.

        Raises:
            UsageError: a file, a link or a directory of something else is in its place.
            OSError: it cannot be written.
        """
        refuse_to_replace(Path(path))
        if snapshot := self._checkpoints.take(self._position):
            write_checkpoint(Path(path), snapshot)
        return Path(path)

    def close(self) -> None:
        """End the workers. `run` does so itself."""
        self._spent = True
        self.engine.pool.close()

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, allow_import: bool = False, **arguments: Any) -> Trainer:
        """Make a trainer to continue from a checkpoint directory.

        Its configuration is the checkpoint's, unless `arguments` have a `config`.

        Args:
            allow_import: accept a checkpoint that names code to import, as ``env.id = "module:Env-v0"``.
            arguments: as for `Trainer`; a `config` of your own may differ from the checkpoint's as a resume allows.

        Raises:
            UsageError: there is no whole checkpoint at `path`, its steps are done, or a stop rule holds.
            ConfigError: it names code to import.
        """
        point = ResumePoint.at(Path(path))
        if not allow_import and arguments.get("config") is None:
            refuse_outsiders(point.state.config, "the checkpoint", parties=("code",))
        config = arguments.pop("config", None) or point.config()
        point.refuse_reached(config)
        return cls(config, resume_from=point.checkpoint, **arguments)

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self, *, progress: bool = False) -> RunResult:
        """Train until the last step, a stop rule or a command.

        The last event is `RunFinished`.

        A failure of the run raises nothing: the result and the last event report it. The workers are closed. Ctrl+C, or
        a notebook's interrupt, stops the run as a command does, with a checkpoint where checkpoints are kept.

        Args:
            progress: show steps, mean return, speed and time left on one line: of stderr if that is a terminal, or of a
                notebook's cell; nothing elsewhere.

        Raises:
            UsageError: it has run already, or is closed.
            KeyboardInterrupt: a second Ctrl+C, before the first one has stopped the run.
        """
        if self._spent:
            raise UsageError("this Trainer has run, or is closed: it is for one run", hint="make another one")
        self._spent = True
        with contextlib.ExitStack() as stack:
            if progress and self._context.ranks.leads:
                from .progress import progress_sink

                if line := progress_sink():
                    self._hub.add(line)
                    stack.callback(line.close)
            stack.enter_context(self._hub.contained(self._stop_for_interrupt))
            return self._run()

    def _stop_for_interrupt(self) -> None:
        self.send(Stop(save=True, exit_code=INTERRUPTED, reason="stopped by an interrupt", by="SIGINT"))

    def _run(self) -> RunResult:
        resumed_at = self._resumed.state.seconds if self._resumed else 0.0
        self._context.clock.start(self._abandoned.seconds if self._abandoned else resumed_at)
        engine, publish = self.engine, self._context.publish
        publish(
            run_started(
                self.name,
                self.config,
                engine.metrics.workers.env_slices,
                engine.policy,
                engine.device,
                self._run_dir,
                self._reference,
                self._reward_threshold,
            )
        )
        details = by = ""
        try:
            self._train()
            state, code, reason = RunState.FINISHED, 0, f"{self.step:,} steps done"
            if self._rule:
                reason, by = f"stopped by rule: {self._rule}", BY_RULE
        except StopTraining as stopped:
            state, code, reason = RunState.STOPPED, stopped.stop.exit_code, stopped.stop.reason
            by = stopped.stop.by
            if stopped.stop.save:
                self._checkpoints.save(self._position, "signal" if code else "stop", wait=True)
        except PPOTuiError as error:
            self._checkpoints.save_after_failure(self._position)
            state, code, reason = RunState.FAILED, error.exit_code, str(error)
            details = "\n".join([*getattr(error, "__notes__", ()), traceback.format_exc()])
        except (KeyboardInterrupt, Forestalled):
            raise
        except BaseException as error:  # a user's network may call sys.exit
            self._checkpoints.save_after_failure(self._position)
            state, code, reason = RunState.FAILED, 3, f"{type(error).__name__}: {error}"
            details = traceback.format_exc()
        finally:
            self.close()
            self._checkpoints.close()
        step, update, metrics = self._position
        publish(
            RunFinished(state=state, exit_code=code, reason=reason, step=step, update=update, details=details, by=by)
        )
        return RunResult(state, code, reason, step, update, metrics)

    # ── The loop ────────────────────────────────────────────────────────────────────────────────────────────

    def _train(self) -> None:
        self._begin()
        self._inbox.begin()
        self._context.publish(StateChanged(state=RunState.TRAINING))
        while not self._done:
            while self._controls.check_between_updates():
                self._obey(self._controls.take_requests())
            self._checkpoints.keep_in_memory(self._position)
            self.engine.metrics.times.begin_update()
            hyper = self._settings.hyperparameters(self.step)
            collected = self.engine.collect(self._position, hyper, self._controls)
            learned = self._learn(collected, hyper)
            self._report(collected, learned)
            self._checkpoints.mark_boundary()
            requests = self._controls.at_boundary()
            saved = self._obey(requests)
            if self._gradients.bad_updates:  # the newest checkpoint stays a good one
                continue
            self._rule = self._stop.reason(self.step)
            if not (saved or self._rule):
                self._checkpoints.save_if_due(self._position)
        self._checkpoints.finish(self._position, self._controls)

    def _begin(self) -> None:
        """Start the first episodes, or continue those of the checkpoint.

        Settings that were changed since are applied.
        """
        resumed, self._resumed = self._resumed, None
        self._checkpoints.begin(resumed, self._resumed_path)
        if self._beginning:
            self._context.publish(self._beginning.taken)
            self._notes += [(Level.WARNING, warning) for warning in self._beginning.warnings]
        for level, note in self._notes:
            self._context.publish(Alarm(level=level, message=note))
        if resumed:
            changes = live_changes(build_config(resumed.state.config), self.config)
            for key, value in {**changes, **self._stop.changes(self.step)}.items():
                self._edit(SetValue(key=key, value=value, by="resume"))
            self._rule = self._stop.reason(self.step)
        if self._abandoned:
            self._checkpoints.save(self._position, "manual")  # a resumed run continues here, and at no later one
        self.engine.begin(self._settings.hyperparameters(self.step))

    @property
    def _done(self) -> bool:
        return bool(self._rule) or not (self.engine.has_rollout_ahead or self._wants_more(self.step))

    def _wants_more(self, collected: int) -> bool:
        """Whether a run needs another rollout after so many steps."""
        limit = self.config.run.max_episodes
        return collected < self.config.planned_steps and (limit is None or self.engine.metrics.episodes.total < limit)

    def _learn(self, collected: Collected[Any], hyper: Hyperparameters) -> Mapping[str, float | None]:
        """Improve the policy with the settings at the start of collecting."""
        more_wanted = self._wants_more(self.step + collected.steps)
        self._checkpoints.learning_begins()
        return self.engine.learn(collected, self._position, hyper, self._controls, more_wanted=more_wanted)

    def _report(self, collected: Collected[Any], learned: Mapping[str, float | None]) -> None:
        """Publish the line of metrics of this update."""
        step, update = self.step + collected.steps, self.update + 1
        metrics = self.engine.metrics.of_update(step, update, collected.steps, learned)
        self._position = Position(step, update, metrics)
        distance = self._stop.update_finished(step, metrics)
        self._context.publish(UpdateFinished(update=update, step=step, metrics=metrics, stop=distance))
        if diverged := self._gradients.check(metrics, update, step):
            self._give_up_branch(diverged)

    def _give_up_branch(self, diverged: DivergedError) -> None:
        """Go back to the last good checkpoint, and pause.

        The pause is for a change of settings.

        Raises:
            DivergedError: the run is unattended, or there is no checkpoint.
        """
        rewound = self._checkpoints.rewind_to_newest() if self._attended else None
        if rewound is None:
            raise diverged
        self._stand_at(rewound)
        message = f"{diverged.message}; back at step {self.step:,} and paused: {diverged.hint}, then resume it"
        self._context.publish(Alarm(level=Level.ERROR, message=message))
        self.send(Pause(by="trainer"))

    def _obey(self, requests: Requests) -> bool:
        """Obey between two updates; return whether the run was saved."""
        rewound = self._checkpoints.rewind(requests.rewind) if requests.rewind is not None else None
        if rewound:
            self._stand_at(rewound)
        for asked in requests.settings:
            self._edit(asked)
        if requests.save or rewound:
            # After a rewind the old position is saved again, so that a resumed run continues there and at no later one.
            self._checkpoints.save(self._position, "manual")
            return True
        return False

    def _edit(self, asked: SetValue) -> None:
        if not is_rule(asked.key) and asked.key.partition(".")[2] not in self.engine.live_settings:
            message = f"{asked.key}: not used by {self.config.run.algorithm.upper()}"
            self._context.publish(CommandRefused(message=message, by=asked.by))
            return
        try:
            if asked.key == "stop.at":
                asked = msgspec.structs.replace(asked, value=self._stop.goal(asked.value))
            old = self._settings.edit(asked.key, asked.value, self.step)
        except ConfigError as error:
            self._context.publish(CommandRefused(message=str(error), by=asked.by))
            return
        if asked.value != old:
            self._context.publish(
                SettingChanged(
                    key=asked.key,
                    old=old,
                    new=asked.value,
                    by=asked.by,
                    step=self.step,
                    update=self.update,
                    cause=asked.cause,
                    course=self._settings.course(asked.key, self.step),
                )
            )
