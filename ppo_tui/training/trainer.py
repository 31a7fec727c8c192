"""The trainer: collect a rollout, learn from it, say what happened; again, until the steps are done."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import Config, build_config
from ..distributed.ranks import ALONE, Ranks
from ..envs import EnvInfo
from ..errors import DivergedError, PPOTuiError, UsageError
from ..ppo import Learner, build_policy
from ..protocol import (
    Alarm,
    Command,
    Level,
    Pause,
    RunFinished,
    RunState,
    SettingChanged,
    SetValue,
    StateChanged,
    UpdateFinished,
    WatchGame,
)
from ..system import keep_freed_memory
from ..workers import WorkerPool, own_cores
from .checkpoint.files import CheckpointState
from .checkpoint.manager import CheckpointManager, Position
from .checkpoint.resume import ResumePoint, live_changes
from .checkpoint.snapshot import Snapshots, describe_origin, read_checkpoint, write_checkpoint
from .collect import Rollouts
from .controls import Controls, GroupControls, LiveSettings, StopTraining
from .device import Threads, choose_threads, resolve_device, seed_global_generators
from .diagnostics.monitor import Doctor, GradientWatch
from .hub import EventHub, RunResult, Sink
from .metrics import Bookkeeping, TrainingClock, run_started
from .overlap import Learning
from .start import examine, share_of_config, start_pool


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
        ranks: the processes that train together, each of which makes such a trainer with the same arguments, but for a
            pool of its own, and calls `run`. `config` counts the environments and workers of all of them. Give sinks
            and directories to rank 0 alone, which reads the checkpoint too.

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
        ranks: Ranks = ALONE,
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
        self._resume_from, self._ranks = resume_from, ranks
        resumed = self._resumed = None if resume_from is None else read_checkpoint(resume_from, ranks)
        self._run_dir, self._notes, self._attended = run_dir, notes, attended
        self._clock = TrainingClock()
        self._hub = EventHub(sinks, lambda: self._clock.seconds)
        self._emit = self._hub.emit
        if config.run.doctor:
            self._hub.add(Doctor(self._emit))
        self._gradients = GradientWatch(self._emit)
        told = (self._emit, self._hold, self._watch)
        self._controls = Controls(*told) if ranks.size == 1 else GroupControls(*told, ranks)
        self._settings = LiveSettings(config)
        self._metrics: dict[str, float | None] = {}
        info = env_info or examine(config)
        self.device = self._choose_device()
        self.pool = pool or self._start_workers(info)
        self._books = Bookkeeping(config, self.pool, self.device, clock=self._clock, emit=self._emit, ranks=ranks)
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
        return self._ranks.device or resolve_device(self.config.run.device)

    def _start_workers(self, info: EnvInfo) -> WorkerPool:
        return start_pool(share_of_config(self.config, self._ranks.size, self._ranks.local_size), info=info)

    def _choose_threads(self, info: EnvInfo) -> Threads:
        return choose_threads(self.config, info, self.pool.num_workers, own_cores(self._ranks.local_size))

    def _build(self, info: EnvInfo) -> None:
        """Networks, learner and rollout, all from the run's seed."""
        config = self.config
        # The last bits of the initial weights depend on the number of threads that compute them.
        torch.set_num_threads(self._threads.learn)
        policy_seed, action_seed, env_seed, layer_seed = np.random.SeedSequence(config.run.seed).spawn(4)
        seed_global_generators(int(layer_seed.generate_state(1)[0]) + self._ranks.rank)
        self.policy = build_policy(
            info.observation_space,
            info.action_space,
            config.policy,
            frame_stack=config.env.frame_stack,
            seed=int(policy_seed.generate_state(1)[0]),
        ).to(self.device)
        self.learner = Learner(self.policy, config, self.device, self._ranks)
        self._learning = Learning(
            self.learner,
            minibatches=config.ppo.minibatches,
            threads=self._threads.learn,
            times=self._books.times,
            check=lambda: self._controls.check(mid_update=True),
            emit=self._emit,
        )
        self._acting = copy.deepcopy(self.policy) if config.run.overlap else self.policy
        self._rollouts = Rollouts(
            config,
            info,
            self.pool,
            self._acting,
            action_seed=action_seed,
            env_seed=env_seed,
            books=self._books,
            check=self._between_steps,
            emit=self._books.tell,
            ranks=self._ranks,
        )
        self.rollout = self._rollouts.buffer

    def _prepare_checkpoints(self, directory: Path | None) -> None:
        """What saves the run; with a checkpoint to go on from, all but the environments stands there."""
        snapshots = Snapshots(
            self.config,
            policy=self.policy,
            learner=self.learner,
            rollouts=self._rollouts,
            settings=self._settings,
            episodes=self._books.episodes,
            origin=describe_origin(self.pool, self.device, self._threads, self._ranks),
            ranks=self._ranks,
        )
        if self._resumed:
            snapshots.load(self._resumed)
            self._stand_at(self._resumed.state)
        # On another kind of processor the same seed may give other last bits.
        self._ranks.broadcast(list(self.policy.state_dict().values()))
        self._durability = CheckpointManager(
            self.config,
            snapshots,
            self._books.episodes,
            directory,
            emit=self._emit,
            controls=self._controls,
            position=lambda: Position(self.step, self.update, self._clock.seconds, self._metrics),
            resumed=self._resumed,
            ranks=self._ranks,
        )

    def _stand_at(self, state: CheckpointState) -> None:
        self.step, self.update, self._metrics = state.step, state.update, state.metrics

    # ── What others may call ────────────────────────────────────────────────────────────────────────────────

    def send(self, command: Command) -> None:
        """Ask something of a running trainer, from any thread."""
        self._controls.send(command)

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint directory at `path`; not while `run` runs in another thread (send `SaveCheckpoint`)."""
        if snapshot := self._durability.take():
            write_checkpoint(Path(path), snapshot)
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

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self) -> RunResult:
        """Train until the steps are done or a command stops the run; the last event is `RunFinished`.

        Never raises for what befalls the run: the result and the last event carry it. The workers are closed.
        """
        self._clock.start(self._resumed.state.seconds if self._resumed else 0.0)
        slices = self._books.workers.env_slices
        self._emit(run_started(self.name, self.config, slices, self.policy, self.device, self._run_dir))
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
            self._books.times.begin()
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
        return self._rollouts.ahead is None and not self._wants_more(self.step)

    def _wants_more(self, collected: int) -> bool:
        """Whether a run that has taken so many steps needs another rollout."""
        limit = self.config.run.max_episodes
        return collected < self.config.planned_steps and (limit is None or self._books.episodes.total < limit)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1; schedules follow it."""
        return self.step / self.config.planned_steps

    def _collect(self) -> None:
        """Take the rollout that was collected ahead, else collect one with the policy as it is."""
        torch.set_num_threads(self._threads.act)
        if self.config.run.overlap:
            self._acting.load_state_dict(self.policy.state_dict())
            if self._rollouts.ahead is None:
                self._rollouts.collect_ahead(self.step, self.update + 1)
        self._experience = self._rollouts.next(self.step, self.update + 1)
        self._taken = len(self._experience) * self._ranks.size

    def _between_steps(self) -> None:
        """After each vector step of a rollout."""
        self._learning.tell()
        self._controls.check(mid_update=self._learning.under_way)

    def _learn(self) -> None:
        """Improve the policy on the rollout.

        `progress` still is what it was when the rollout began: the first update uses the full learning rate.
        """
        hyper = self._settings.hyperparameters(self.progress)
        collected, number = self.step + self._taken, self.update + 1
        self._durability.learning()
        if self.config.run.overlap and self._wants_more(collected):
            self._metrics = self._learning.update_during(
                lambda: self._rollouts.collect_ahead(collected, number + 1), self._experience, hyper, number
            )
        else:
            self._metrics = self._learning.update(self._experience, hyper, number)
            with self._books.times.phase("copy"):
                self._experience.carry_over()
        self.update, self.step = number, collected

    def _report(self) -> None:
        """One line of metrics for this update."""
        self._metrics = self._books.metrics(self.step, self.update, self._taken, self._metrics)
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

    def _hold(self, paused: bool) -> None:
        self._clock.hold(paused)
        self._learning.hold(paused)

    def _watch(self, command: WatchGame) -> None:
        self._rollouts.game.watch(command)
