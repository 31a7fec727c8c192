"""A session without an engine: a plausible Breakout run, always the same.

``python -m tests.tui.fake`` from the root of the repository shows it as it goes, a hundred times as fast.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from ppo_tui.config.presets import load_preset
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    Command,
    EpisodeFinished,
    Event,
    Level,
    Pause,
    Resume,
    RolloutProgress,
    RunFinished,
    RunStarted,
    RunState,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    StateChanged,
    Stop,
    UpdateFinished,
    UpdateProgress,
    WatchGame,
    WorkerInfo,
    WorkersStatus,
    WorkerState,
)
from ppo_tui.training.inbox import Inbox
from ppo_tui.tui.session import LocalSession, Session

NUM_ENVS, ROLLOUT, BATCH, TOTAL, WORKERS = 8, 128, 1024, 10_000_000, 8
SECONDS_PER_UPDATE = BATCH / 631
UPDATES = -(-TOTAL // BATCH)


def started() -> RunStarted:
    return RunStarted(
        run="breakout-7",
        config=msgspec.to_builtins(load_preset("breakout")),
        seed=1,
        total_steps=TOTAL,
        num_envs=NUM_ENVS,
        num_workers=WORKERS,
        rollout_steps=ROLLOUT,
        env_slices=tuple((index, index + 1) for index in range(WORKERS)),
        device="cpu",
        parameters=1_686_693,
        versions={"ppo-tui": "0.1.0"},
    )


def metrics(share: float, mean: float, rng: np.random.Generator) -> dict[str, float | None]:
    """The line of an update at `share` of the run."""
    noise = rng.normal(size=8).tolist()
    return {
        "rollout/ep_rew_mean": mean,
        "rollout/ep_len_mean": 180 + 4.2 * mean + 5 * noise[0],
        "train/policy_gradient_loss": -0.012 + 0.004 * noise[1],
        "train/value_loss": 0.05 + 0.25 * math.exp(-4 * share) * (1 + 0.3 * noise[2]),
        "train/entropy_loss": -(1.386 * math.exp(-1.2 * share) + 0.03 * noise[3]),
        "train/approx_kl": 0.0045 * (1 + 0.25 * noise[4]),
        "train/clip_fraction": 0.11 * (1 + 0.15 * noise[5]),
        "train/explained_variance": 1 - 0.9 * math.exp(-6 * share) + 0.02 * noise[6],
        "train/learning_rate": 2.5e-4 * (1 - share),
        "train/clip_range": 0.1,
        "time/fps": 631 + 18 * noise[7],
        "time/cpu_percent": 92 + noise[7],
        "time/share_wait": 0.31,
        "time/share_infer": 0.14,
        "time/share_copy": 0.02,
        "time/share_learn": 0.5,
        "time/share_other": 0.03,
    }


def recorded(updates: int) -> Iterator[Event]:
    """The first `updates` updates of a run, as events."""
    rng = np.random.default_rng(0)
    yield started()
    yield StateChanged(state=RunState.TRAINING, elapsed=1.5)
    returns: list[float] = []
    for update in range(1, updates + 1):
        share, step, elapsed = update / UPDATES, update * BATCH, 1.5 + update * SECONDS_PER_UPDATE
        yield from _progress(update, elapsed)
        for env in range(int(rng.integers(0, 4))):
            score = float(max(0, round(420 / (1 + math.exp(-9 * (share - 0.45))) * rng.uniform(0.4, 1.4))))
            returns.append(score)
            yield EpisodeFinished(env=env, episode_return=score, length=600, step=step, elapsed=elapsed)
        mean = float(np.mean(returns[-100:])) if returns else None
        line = metrics(share, mean or 0.0, rng)
        if mean is None:
            line["rollout/ep_rew_mean"] = None
        yield UpdateFinished(update=update, step=step, metrics=line, elapsed=elapsed)
        yield workers_status(rng)
        if update == updates // 2:
            yield CheckpointSaved(path="step", step=step, update=update, reason="manual", seconds=0.21, elapsed=elapsed)
        if update == 2 * updates // 3:
            yield SettingChanged(
                key="ppo.entropy_coef", old=0.01, new=0.012, by="user", step=step, update=update, elapsed=elapsed
            )
            yield Alarm(level=Level.WARNING, message="worker 3 was restarted (exit code -9)", elapsed=elapsed)
    yield RolloutProgress(
        step=updates * BATCH + 96 * NUM_ENVS, update=updates + 1, t=96, length=ROLLOUT, fps=631.0, elapsed=elapsed + 1.2
    )


def _progress(update: int, elapsed: float) -> Iterator[Event]:
    yield RolloutProgress(step=update * BATCH, update=update, t=ROLLOUT, length=ROLLOUT, fps=631.0, elapsed=elapsed - 1)
    yield UpdateProgress(update=update, epoch=2, epochs=4, minibatch=3, minibatches=4, elapsed=elapsed - 0.5)


def workers_status(rng: np.random.Generator) -> WorkersStatus:
    return WorkersStatus(
        workers=tuple(
            WorkerInfo(
                index=index,
                pid=4000 + index,
                state=WorkerState.STEPPING if index % 2 else WorkerState.WAITING,
                num_envs=1,
                steps_per_second=79 + float(rng.normal()),
                wait_share=(waiting := 0.31 + 0.04 * float(rng.normal())),
                answer_share=1 - waiting,
                episodes=120 + 7 * index,
                last_return=float(rng.integers(10, 90)),
                restarts=int(index == 3),
                memory_mb=38.0 + index,
            )
            for index in range(WORKERS)
        )
    )


class FakeSession(Session):
    """A session with a test's events, and a record of commands.

    Attributes:
        sent: what the user asked for.
        watched: what the screen asked for by itself, to show the game.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._waiting = list(events)
        self.sent: list[Command] = []
        self.watched: list[WatchGame] = []
        self.was_started = False
        self.can_detach = False
        self.closed = False

    @property
    def live(self) -> bool:
        return not self.closed

    def start(self) -> None:
        self.was_started = True

    def put(self, *events: Event) -> None:
        self._waiting += events

    def poll(self) -> list[Event]:
        events, self._waiting = self._waiting, []
        return events

    def send(self, command: Command) -> None:
        (self.watched if isinstance(command, WatchGame) else self.sent).append(command)

    def close(self, timeout: float) -> bool:
        self.closed = True
        return True


def fake_session(engine: type[PlayingEngine] | None = None) -> LocalSession:
    """A session with the fake run."""
    inbox = Inbox()
    return LocalSession(lambda emit: (engine or PlayingEngine)(emit, inbox), inbox)


class PlayingEngine:
    """An engine that plays the recorded run and obeys commands."""

    def __init__(self, emit, inbox: Inbox, *, updates: int = UPDATES, speed: float = 100.0) -> None:
        self._emit, self._inbox = emit, inbox
        self._events = recorded(updates)
        self._speed = speed

    def run(self) -> None:
        paused = False
        elapsed = 0.0
        for event in self._events:
            while (command := self._inbox.receive(wait=paused)) or paused:
                match command:
                    case Pause():
                        paused = True
                        self._emit(StateChanged(state=RunState.PAUSED, elapsed=elapsed))
                    case Resume():
                        paused = False
                        self._emit(StateChanged(state=RunState.TRAINING, elapsed=elapsed))
                    case SetValue(key=key, value=value):
                        self._emit(
                            SettingChanged(key=key, old=0, new=value, by="user", step=0, update=0, elapsed=elapsed)
                        )
                    case SaveCheckpoint():
                        self._save(elapsed, "manual")
                    case Stop() as stop:
                        if stop.save:
                            self._emit(StateChanged(state=RunState.SAVING, elapsed=elapsed))
                            time.sleep(1.0)  # two looks of the screen
                            self._save(elapsed, "final")
                        self._end(stop, elapsed)
                        return
            if event.elapsed > elapsed:
                time.sleep((event.elapsed - elapsed) / self._speed)
                elapsed = event.elapsed
            self._emit(event)
        self._end(Stop(reason=""), elapsed, RunState.FINISHED)

    def _save(self, elapsed: float, reason: str) -> None:
        self._emit(CheckpointSaved(path="step", step=0, update=0, reason=reason, seconds=0.2, elapsed=elapsed))

    def _end(self, stop: Stop, elapsed: float, state: RunState = RunState.STOPPED) -> None:
        self._emit(
            RunFinished(state=state, exit_code=stop.exit_code, reason=stop.reason, step=0, update=0, elapsed=elapsed)
        )


if __name__ == "__main__":
    import sys

    from ppo_tui.tui.session import LocalSession
    from ppo_tui.tui.terminal import run_screen

    sys.exit(run_screen(fake_session()).exit_code)
