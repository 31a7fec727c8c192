"""The trainer: collect a rollout, learn from it, say what happened; again, until the steps are done."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from ..config import Config, to_tables
from ..envs import EnvInfo
from ..errors import DivergedError, PPOTuiError, RunFailedError
from ..ppo import Learner, RolloutBuffer, build_policy
from ..protocol import (
    Alarm,
    CheckpointSaved,
    Command,
    EpisodeFinished,
    Event,
    Level,
    RolloutProgress,
    RunFinished,
    RunStarted,
    RunState,
    SettingChanged,
    StateChanged,
    UpdateFinished,
    UpdateProgress,
)
from ..workers import WorkerPool
from .checkpoint import point_latest, save_checkpoint
from .collector import Collector
from .control import Controls, StopTraining
from .hub import EventHub, Sink
from .machine import choose_threads, keep_freed_memory, resolve_device
from .metrics import EpisodeWindow, PhaseTimes, RecentRate, TrainingClock
from .settings import LiveSettings
from .start import examine, start_pool
from .usage import MachineUsage
from .versions import versions
from .workers_view import WorkersView


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        state: FINISHED, STOPPED (by a command) or FAILED.
        exit_code: what a process that ran it should leave with (see `ppo_tui.errors`).
        metrics: those of the last update.
    """

    state: RunState
    exit_code: int
    reason: str
    step: int
    update: int
    metrics: dict[str, float | None]

    def raise_if_failed(self) -> None:
        """Raises: DivergedError or RunFailedError, when the run failed, with its reason."""
        if self.state is RunState.FAILED:
            raise (DivergedError if self.exit_code == DivergedError.exit_code else RunFailedError)(self.reason)


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

    Raises:
        ConfigError: the environment or the device is not there, or the networks do not fit.
        WorkerError: the workers could not start.
    """

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
    ) -> None:
        self.config = config
        self.name = name
        self.step = 0
        self.update = 0
        self._run_dir, self._checkpoint_dir = run_dir, checkpoint_dir
        self._clock = TrainingClock()
        self._hub = EventHub(sinks, lambda: self._clock.seconds)
        self._controls = Controls(self._hub.emit, self._clock.hold)
        self._settings = LiveSettings(config)
        self._times = PhaseTimes(self._clock)
        self._rate = RecentRate()
        self._episodes = EpisodeWindow()
        self._metrics: dict[str, float | None] = {}
        info = env_info or examine(config)
        self.device = resolve_device(config.run.device)
        self.pool = pool or start_pool(config, info=info)
        self._usage = MachineUsage(self.device)
        self._threads = choose_threads(config, info, self.pool.num_workers)
        keep_freed_memory()
        try:
            self.pool.wait_until_ready()
            self._build(info)
        except BaseException:
            self.close()
            raise

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
        shared, stack = self.pool.shared, config.env.frame_stack
        self.rollout = RolloutBuffer(
            frames=shared.observations,
            rewards=shared.rewards[stack:],
            terminations=shared.terminations[stack:],
            truncations=shared.truncations[stack:],
            frame_stack=stack,
            action_shape=self.policy.action_shape,
            action_dtype=self.policy.action_dtype,
        )
        self._workers = WorkersView(self.pool)
        self._collector = Collector(
            self.pool,
            self.policy,
            self.rollout,
            times=self._times,
            action_seed=int(action_seed.generate_state(1)[0]),
            env_seeds=[int(seed) for seed in env_seed.generate_state(config.rollout.num_envs) >> 1],
        )

    # ── What others may call ────────────────────────────────────────────────────────────────────────────────

    def send(self, command: Command) -> None:
        """Ask something of a running trainer, from any thread."""
        self._controls.send(command)

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint directory at `path`; not while `run` runs in another thread (send `SaveCheckpoint`)."""
        return save_checkpoint(
            Path(path),
            policy=self.policy,
            learner=self.learner.state_dict(),
            config=self.config,
            state={
                "step": self.step,
                "update": self.update,
                "versions": versions(),
                "metrics": self._metrics,
            },
        )

    def close(self) -> None:
        """End the workers. `run` does so itself."""
        self.pool.close()

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
        self._clock.start()
        self._emit(self._run_started())
        details = ""
        try:
            self._train()
            state, code, reason = RunState.FINISHED, 0, f"{self.step:,} steps done"
        except StopTraining as stopped:
            state, code, reason = RunState.STOPPED, stopped.stop.exit_code, stopped.stop.reason
            if stopped.stop.save:
                self._save_checkpoint("signal" if code else "stop")
        except PPOTuiError as error:
            state, code, reason = RunState.FAILED, error.exit_code, str(error)
            details = "\n".join([*getattr(error, "__notes__", ()), traceback.format_exc()])
        except Exception as error:
            state, code, reason = RunState.FAILED, 3, f"{type(error).__name__}: {error}"
            details = traceback.format_exc()
        finally:
            self.close()
        self._emit(StateChanged(state=state, reason=reason))
        self._emit(
            RunFinished(state=state, exit_code=code, reason=reason, step=self.step, update=self.update, details=details)
        )
        return RunResult(state, code, reason, self.step, self.update, self._metrics)

    # ── The loop ────────────────────────────────────────────────────────────────────────────────────────────

    def _train(self) -> None:
        self._collector.reset()
        self._emit(StateChanged(state=RunState.TRAINING))
        while self.step < self.config.planned_steps:
            self._controls.check()
            self._times.begin()
            self._collect()
            self._learn()
            self._report()
            self._obey_at_boundary()
        self._save_checkpoint("final")

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1; schedules follow it."""
        return self.step / self.config.planned_steps

    def _collect(self) -> None:
        """Fill the rollout with the experience of the policy as it is."""
        began = self._clock.seconds
        torch.set_num_threads(self._threads.act)
        self._emit(self._workers.stepping())
        for t in range(self.config.rollout.steps):
            self._collector.step(t)
            self._emit_rollout_progress(t + 1)
            self._controls.check()
        self._collector.finish()
        for episode in self._collector.finished_episodes(self.step):
            self._note_episode(episode)
        self._emit(self._workers.waiting(self.config.rollout.steps, self._clock.seconds - began))

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
        with self._times.phase("learn"):
            self._metrics = self.learner.update(self.rollout, hyper, on_minibatch=on_minibatch)
        with self._times.phase("copy"):
            self.rollout.carry_over()
        self.update += 1
        self.step += self.config.batch_size

    def _report(self) -> None:
        """One line of metrics for this update."""
        seconds = self._times.total
        self._rate.add(self.config.batch_size, seconds)
        elapsed = self._clock.seconds
        self._metrics = {
            "time/total_timesteps": self.step,
            "time/iterations": self.update,
            "time/time_elapsed": elapsed,
            "time/fps": self.step / max(elapsed, 1e-9),
            "time/fps_update": self.config.batch_size / seconds,
            **self._times.shares(),
            "time/workers_busy": self._workers.busy_share,
            **self._usage.metrics(),
            **self._episodes.metrics(),
            **self._metrics,
        }
        self._emit(UpdateFinished(update=self.update, step=self.step, metrics=self._metrics))
        self._check_health()

    def _check_health(self) -> None:
        """Raises: DivergedError, when not one gradient of the update was finite."""
        bad = self._metrics["train/nonfinite"]
        if not bad:
            return
        if np.isfinite(self._metrics["train/loss"] or 0.0):
            message = f"update {self.update}: {bad:.0f} minibatches with a non-finite gradient were skipped"
            self._emit(Alarm(level=Level.WARNING, message=message))
            return
        raise DivergedError(
            f"the training diverged at update {self.update} (step {self.step:,}): losses or gradients are NaN",
            hint="try a lower optim.learning_rate, a smaller ppo.clip_range, or rewards of a smaller scale",
        )

    def _obey_at_boundary(self) -> None:
        """Apply the edits that arrived during the update, and save if asked to."""
        settings, save = self._controls.at_boundary()
        for asked in settings:
            old = self._settings.edit(asked.key, asked.value, self.progress)
            if asked.value == old:
                continue
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
        if save:
            self._save_checkpoint("manual")

    def _save_checkpoint(self, reason: str) -> None:
        """Save below the checkpoint directory, if there is one; failing to is an alarm, not the end of the run."""
        if self._checkpoint_dir is None:
            return
        self._emit(StateChanged(state=RunState.SAVING))
        began = time.perf_counter()
        try:
            path = self.save(self._checkpoint_dir / f"step-{self.step:012d}")
            point_latest(path)
        except OSError as error:
            message = f"the checkpoint at step {self.step:,} could not be written: {error.strerror or error}"
            self._emit(Alarm(level=Level.ERROR, message=message))
        else:
            seconds = time.perf_counter() - began
            self._emit(
                CheckpointSaved(path=str(path), step=self.step, update=self.update, reason=reason, seconds=seconds)
            )
        if reason == "manual":
            self._emit(StateChanged(state=RunState.TRAINING))

    # ── Events ──────────────────────────────────────────────────────────────────────────────────────────────

    def _emit(self, event: Event) -> None:
        self._hub.emit(event)

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
