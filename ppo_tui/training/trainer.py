"""The trainer: collect a rollout, learn from it, say what happened; again, until the steps are done."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from ..config import Config, build_config, to_tables
from ..envs import EnvInfo
from ..errors import DivergedError, PPOTuiError, UsageError
from ..ppo import Learner, build_policy
from ..protocol import (
    Alarm,
    Command,
    EpisodeFinished,
    Event,
    Level,
    Pause,
    RolloutProgress,
    RunFinished,
    RunStarted,
    RunState,
    SettingChanged,
    SetValue,
    StateChanged,
    UpdateFinished,
    UpdateProgress,
    WatchGame,
)
from ..workers import WorkerPool
from .checkpoint import read_checkpoint, write_checkpoint
from .checkpoint_state import CheckpointState
from .collector import Collector, wrap_rollout
from .control import Controls, StopTraining
from .durability import Durability, Position
from .gameview import GameView
from .health import GradientWatch
from .hub import EventHub, Sink
from .machine import Threads, choose_threads, keep_freed_memory, resolve_device
from .metrics import EpisodeWindow, PhaseTimes, RecentRate, TrainingClock
from .recovery import Recovery
from .result import RunResult
from .resuming import ResumePoint, live_changes
from .settings import LiveSettings
from .snapshots import Snapshots, describe_origin
from .start import examine, start_pool
from .usage import MachineUsage
from .versions import versions
from .workers_view import WorkersView


class Trainer:
    """Trains a policy by PPO.

    Args:
        config: the whole configuration, as `load_preset` gives it.
        sinks: objects with an ``emit(event)`` that are given every event, on the training thread.
        name: the run's name.
        run_dir: named in the events; the trainer itself writes only below `checkpoint_dir`.
        checkpoint_dir: where checkpoints go; None keeps none.
        pool: workers that have been started already by `start_pool`; the trainer closes them.
        env_info: what `examine` said, where it has been asked already.
        resume_from: a checkpoint to go on from; `config` is the checkpoint's, perhaps with changes that it can bear.
        notes: warnings that are part of the record, given when the run begins.
        attended: somebody can change a setting: a training that diverges goes back to the last good checkpoint and
            pauses, instead of ending.

    Raises:
        UsageError: `resume_from` is no whole checkpoint, or another run's; the configuration is another algorithm's.
        ConfigError: the environment or the device is not there, or the networks do not fit.
        WorkerError: the workers could not start.
    """

    ALGORITHM = "ppo"

    def __init__(
        self,
        config: Config,
        *,
        sinks: Iterable[Sink] = (),
        name: str = "run",
        run_dir: Path | None = None,
        checkpoint_dir: Path | None = None,
        pool: WorkerPool | None = None,
        env_info: EnvInfo | None = None,
        resume_from: Path | None = None,
        notes: Sequence[str] = (),
        attended: bool = False,
    ) -> None:
        if config.run.algorithm != self.ALGORITHM:
            raise UsageError(
                f"run.algorithm = {config.run.algorithm!r}: {type(self).__name__} trains by {self.ALGORITHM!r}",
                hint="ppo_tui.training.engine_class(config) is the one for a configuration",
            )
        self.config = config
        self.name = name
        self.step = 0
        self.update = 0
        self._resume_from = resume_from
        resumed = self._resumed = None if resume_from is None else read_checkpoint(resume_from)
        self._run_dir, self._notes, self._attended = run_dir, notes, attended
        self._clock = TrainingClock()
        self._hub = EventHub(sinks, lambda: self._clock.seconds)
        self._gradients = GradientWatch(self._hub.emit)
        self._controls = Controls(self._hub.emit, self._hold, self._watch)
        self._settings = LiveSettings(config)
        self._times = PhaseTimes(self._clock)
        self._rate = RecentRate()
        self._episodes = EpisodeWindow()
        self._metrics: dict[str, float | None] = {}
        info = env_info or examine(config)
        self.device = self._choose_device()
        self.pool = pool or self._start_workers(info)
        self._usage = MachineUsage(self.device)
        self._threads = self._choose_threads(info)
        if resumed and config.run.torch_threads == "auto":
            # The last bits of sums depend on how many threads compute them.
            origin = resumed.state.origin
            self._threads = Threads(act=origin.act_threads, learn=origin.learn_threads)
        keep_freed_memory()
        try:
            self.pool.wait_until_ready()
            self._build(info)
            self._prepare_checkpoints(checkpoint_dir)
        except BaseException:
            self.close()
            raise

    # What another algorithm does in its own way.

    def _choose_device(self) -> torch.device:
        return resolve_device(self.config.run.device)

    def _start_workers(self, info: EnvInfo) -> WorkerPool:
        return start_pool(self.config, info=info)

    def _choose_threads(self, info: EnvInfo) -> Threads:
        return choose_threads(self.config, info, self.pool.num_workers)

    def _build(self, info: EnvInfo) -> None:
        """Networks, learner and rollout, all from the run's seed."""
        config = self.config
        # The last bits of the initial weights depend on the number of threads that compute them.
        torch.set_num_threads(self._threads.learn)
        policy_seed, action_seed, env_seed = np.random.SeedSequence(config.run.seed).spawn(3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(policy_seed.generate_state(1)[0]))
            self.policy = build_policy(
                info.observation_space, info.action_space, config.policy, frame_stack=config.env.frame_stack
            ).to(self.device)
        self.learner = Learner(self.policy, config, self.device)
        self.rollout = wrap_rollout(self.pool.shared, self.policy, config, masked=info.num_masked > 0)
        self._workers = WorkersView(self.pool)
        self._game = GameView(
            self.pool, self.policy, self.rollout, action_names=info.action_meanings or (), emit=self._emit
        )
        env_seeds = [int(seed) for seed in env_seed.generate_state(config.rollout.num_envs) >> 1]
        recovery = Recovery(
            self.pool,
            self.policy,
            self.rollout,
            max_restarts=config.workers.max_restarts,
            env_seeds=env_seeds,
            emit=self._emit,
            on_change=lambda: self._emit(self._workers.changed()),
        )
        self._collector = Collector(
            self.pool,
            self.policy,
            self.rollout,
            times=self._times,
            action_seed=int(action_seed.generate_state(1)[0]),
            env_seeds=env_seeds,
            recovery=recovery,
        )

    def _prepare_checkpoints(self, directory: Path | None) -> None:
        """What saves the run; with a checkpoint to go on from, all but the environments stands there."""
        snapshots = Snapshots(
            self.config,
            policy=self.policy,
            learner=self.learner,
            collector=self._collector,
            settings=self._settings,
            episodes=self._episodes,
            origin=describe_origin(self.pool, self.device, self._threads),
        )
        if self._resumed:
            snapshots.load(self._resumed)
            self._stand_at(self._resumed.state)
        self._durability = Durability(
            self.config,
            snapshots,
            self._episodes,
            directory,
            emit=self._hub.emit,
            controls=self._controls,
            position=lambda: Position(self.step, self.update, self._clock.seconds, self._metrics),
            resumed=self._resumed,
        )

    def _stand_at(self, state: CheckpointState) -> None:
        self.step, self.update, self._metrics = state.step, state.update, state.metrics

    # ── What others may call ────────────────────────────────────────────────────────────────────────────────

    def send(self, command: Command) -> None:
        """Ask something of a running trainer, from any thread."""
        self._controls.send(command)

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint directory at `path`; not while `run` runs in another thread (send `SaveCheckpoint`)."""
        write_checkpoint(Path(path), self._durability.take())
        return Path(path)

    def close(self) -> None:
        """End the workers. `run` does so itself."""
        self.pool.close()

    @classmethod
    def from_checkpoint(cls, path: str | Path, **arguments: Any) -> Trainer:
        """A trainer that goes on from a checkpoint directory, with the configuration that is in it.

        Args:
            arguments: as for `Trainer`; with a `config` of your own, the changes that a checkpoint can bear.

        Raises:
            UsageError: there is no whole checkpoint at `path`, or its steps are done.
        """
        point = ResumePoint.at(Path(path))
        return cls(arguments.pop("config", None) or point.config(), resume_from=point.path, **arguments)

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self) -> RunResult:
        """Train until the steps are done or a command stops the run; the last event is `RunFinished`.

        Never raises for what befalls the run: the result and the last event carry it. The workers are closed.
        """
        self._clock.start(self._resumed.state.seconds if self._resumed else 0.0)
        self._emit(self._run_started())
        details = ""
        try:
            self._train()
            state, code, reason = RunState.FINISHED, 0, f"{self.step:,} steps done"
        except StopTraining as stopped:
            state, code, reason = RunState.STOPPED, stopped.stop.exit_code, stopped.stop.reason
            if stopped.stop.save:
                self._durability.save("signal" if code else "stop", wait=True)
        except PPOTuiError as error:
            self._durability.save_after_failure()
            state, code, reason = RunState.FAILED, error.exit_code, str(error)
            details = "\n".join([*getattr(error, "__notes__", ()), traceback.format_exc()])
        except Exception as error:
            self._durability.save_after_failure()
            state, code, reason = RunState.FAILED, 3, f"{type(error).__name__}: {error}"
            details = traceback.format_exc()
        finally:
            self.close()
            self._durability.close()
        self._emit(StateChanged(state=state, reason=reason))
        self._emit(
            RunFinished(state=state, exit_code=code, reason=reason, step=self.step, update=self.update, details=details)
        )
        return RunResult(state, code, reason, self.step, self.update, self._metrics)

    # ── The loop ────────────────────────────────────────────────────────────────────────────────────────────

    def _train(self) -> None:
        self._begin()
        self._emit(StateChanged(state=RunState.TRAINING))
        while not self._done:
            self._controls.check()
            self._durability.keep()
            self._times.begin()
            self._collect()
            self._learn()
            self._report()
            self._durability.mark()
            self._obey_at_boundary()
        self._durability.finish()

    def _begin(self) -> None:
        """Start the first episodes, or go on from the checkpoint, with the settings that were changed since."""
        resumed, self._resumed = self._resumed, None
        self._durability.begin(resumed, self._resume_from)
        for note in self._notes:
            self._emit(Alarm(level=Level.WARNING, message=note))
        if resumed:
            for key, value in live_changes(build_config(resumed.state.config), self.config).items():
                self._edit(SetValue(key=key, value=value, by="resume"))

    @property
    def _done(self) -> bool:
        limit = self.config.run.max_episodes
        return self.step >= self.config.planned_steps or (limit is not None and self._episodes.total >= limit)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1; schedules follow it."""
        return self.step / self.config.planned_steps

    def _collect(self) -> None:
        """Fill the rollout with the experience of the policy as it is."""
        began = self._clock.seconds
        torch.set_num_threads(self._threads.act)
        self._emit(self._workers.stepping())
        self._game.before_rollout(self.step)
        for t in range(self.config.rollout.steps):
            self._collector.step(t)
            self._emit_rollout_progress(t + 1)
            self._controls.check()
            if self.config.rollout.whole_episodes and self._collector.all_ended(t):
                break
        self._experience = self._collector.finish(steps=t + 1)
        self._taken = len(self._experience)
        self._game.after_rollout()
        for episode in self._collector.finished_episodes(self.step, steps=t + 1):
            self._note_episode(episode)
        self._emit(self._workers.waiting(t + 1, self._clock.seconds - began))

    def _note_episode(self, episode: EpisodeFinished) -> None:
        self._episodes.add(episode.episode_return, episode.length)
        self._workers.add_episode(episode.env, episode.episode_return)
        self._emit(episode)

    def _learn(self) -> None:
        """Improve the policy on the rollout.

        `progress` still is what it was when the rollout began: the first update uses the full learning rate.
        """
        hyper = self._settings.hyperparameters(self.progress)

        def on_minibatch(epoch: int, minibatch: int) -> None:
            self._emit(
                UpdateProgress(
                    update=self.update + 1,
                    epoch=epoch,
                    epochs=hyper.epochs,
                    minibatch=minibatch,
                    minibatches=self.config.ppo.minibatches,
                )
            )
            self._controls.check(mid_update=True)

        torch.set_num_threads(self._threads.learn)
        self._durability.learning()
        with self._times.phase("learn"):
            self._metrics = self.learner.update(self._experience, hyper, on_minibatch=on_minibatch)
        with self._times.phase("copy"):
            self._experience.carry_over()
        self.update += 1
        self.step += self._taken

    def _report(self) -> None:
        """One line of metrics for this update."""
        seconds = self._times.total
        self._rate.add(self._taken, seconds)
        elapsed = self._clock.seconds
        self._metrics = {
            "time/total_timesteps": self.step,
            "time/iterations": self.update,
            "time/time_elapsed": elapsed,
            "time/fps": self.step / max(elapsed, 1e-9),
            "time/fps_update": self._taken / seconds,
            **self._times.shares(),
            "time/workers_busy": self._workers.busy_share,
            **self._usage.metrics(),
            **self._episodes.metrics(),
            **self._metrics,
        }
        self._emit(UpdateFinished(update=self.update, step=self.step, metrics=self._metrics))
        if diverged := self._gradients.check(self._metrics, self.update, self.step):
            self._give_up_branch(diverged)

    def _give_up_branch(self, diverged: DivergedError) -> None:
        """Go back to the last good checkpoint and wait for someone to change a setting.

        Raises:
            DivergedError: nobody is there, or there is no checkpoint.
        """
        rewound = self._durability.rewind_to_newest() if self._attended else None
        if rewound is None:
            raise diverged
        self._stand_at(rewound)
        message = f"{diverged.message}; back at step {self.step:,} and paused: {diverged.hint}, then go on"
        self._emit(Alarm(level=Level.ERROR, message=message))
        self.send(Pause(by="trainer"))

    def _obey_at_boundary(self) -> None:
        """Go back if asked to, apply the edits that arrived during the update, and save if it is time."""
        settings, save = self._controls.at_boundary()
        rewind = self._controls.take_rewind()
        rewound = self._durability.rewind(rewind) if rewind is not None else None
        if rewound:
            self._stand_at(rewound)
        for asked in settings:
            self._edit(asked)
        if save or rewound:
            # What the run went back to is saved anew: it, and no later one, is where a resumed run goes on.
            self._durability.save("manual")
        elif not self._gradients.bad_updates:  # the newest checkpoint stays a good one
            self._durability.save_if_due()

    def _edit(self, asked: SetValue) -> None:
        old = self._settings.edit(asked.key, asked.value, self.progress)
        if asked.value == old:
            return
        self._emit(
            SettingChanged(
                key=asked.key,
                old=old,
                new=asked.value,
                by=asked.by,
                step=self.step,
                update=self.update,
                cause=asked.cause,
            )
        )

    # ── Events ──────────────────────────────────────────────────────────────────────────────────────────────

    def _emit(self, event: Event) -> None:
        self._hub.emit(event)

    def _hold(self, paused: bool) -> None:
        self._clock.hold(paused)

    def _watch(self, command: WatchGame) -> None:
        self._game.watch(command)

    def _emit_rollout_progress(self, t: int) -> None:
        self._emit(
            RolloutProgress(
                step=self.step + t * self.config.rollout.num_envs,
                update=self.update + 1,
                t=t,
                length=self.config.rollout.steps,
                fps=self._rate.per_second,
            )
        )

    def _run_started(self) -> RunStarted:
        return RunStarted(
            run=self.name,
            config=to_tables(self.config),
            seed=self.config.run.seed,
            total_steps=self.config.planned_steps,
            num_envs=self.config.rollout.num_envs,
            num_workers=self.pool.num_workers,
            rollout_steps=self.config.rollout.steps,
            env_slices=tuple((worker.envs.start, worker.envs.stop) for worker in self.pool.workers),
            device=str(self.device),
            parameters=sum(parameter.numel() for parameter in self.policy.parameters()),
            versions=versions(),
            run_dir=None if self._run_dir is None else str(self._run_dir),
        )
