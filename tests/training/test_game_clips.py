"""WatchEngine shows what happens, changes nothing, and costs nothing when nobody does."""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch

from ppo_tui import Trainer, load_preset
from ppo_tui.envs.atari import AtariEnv
from ppo_tui.pictures import PictureDecoder
from ppo_tui.protocol import (
    Alarm,
    CommandRefused,
    Event,
    GameClip,
    Gaze,
    RolloutProgress,
    RunStarted,
    UpdateFinished,
    WatchGame,
)
from ppo_tui.runs import RunDirectory
from ppo_tui.sinks import EventLog
from ppo_tui.training.game_clips import CLIP_SECONDS
from tests.training.test_trainer import Recorder


def run(preset: str, *overrides: str, watch: WatchGame | None = None, until: int | None = None):
    """Train with a watcher of env 1 and return the recorder and the weights that came of it."""

    def react(event: Event) -> None:
        if watch is not None and isinstance(event, RunStarted | UpdateFinished):
            over = until is not None and isinstance(event, UpdateFinished) and event.update >= until
            trainer.send(WatchGame(env=None) if over else watch)

    recorder = Recorder(react)
    config = load_preset(preset, overrides=[*overrides, "workers.count=2", "run.torch_threads=1"])
    trainer = Trainer(config, sinks=[recorder])
    trainer.run().raise_if_failed()
    return recorder, {name: weight.clone() for name, weight in trainer.policy.state_dict().items()}, trainer


def pictures(clip: GameClip) -> list[np.ndarray]:
    decoder = PictureDecoder(clip.height, clip.width, clip.channels)
    shown = []
    for frame in clip.frames:
        decoder.decode(frame.picture)
        shown.append(decoder.picture.copy())
    return shown


BREAKOUT = ("rollout.num_envs=2", "rollout.steps=32", "run.total_steps=256", "ppo.epochs=1", "ppo.minibatches=2")
CARTPOLE = ("rollout.num_envs=4", "rollout.steps=128", "run.total_steps=2048", "ppo.epochs=1")


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("breakout", BREAKOUT),
        ("cartpole", CARTPOLE),
        ("lunarlander", ("rollout.num_envs=4", "rollout.steps=128", "run.total_steps=2048", "ppo.epochs=1")),
        ("cartpole", (*CARTPOLE, "policy.network=tests.training.diagnostics.ill:Dropout", "policy.shared=true")),
    ],
)
def test_watching_changes_not_a_bit_of_the_run(preset, overrides):
    gaze = Gaze.VALUE if preset == "breakout" else Gaze.ACTION
    watched, weights, _ = run(preset, *overrides, watch=WatchGame(env=1, gaze=gaze, beside=(0,)), until=3)
    alone, same_weights, _ = run(preset, *overrides)
    clips = watched.of(GameClip)
    assert {clip.env for clip in clips} == {0, 1}, "both are shown"
    assert all(frame.gaze or frame.gradients for clip in clips for frame in clip.frames), "with what is looked at"
    assert not alone.of(GameClip)
    assert watched.metrics == alone.metrics
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)


def test_breakout_is_shown_in_colour_step_by_step_with_what_the_policy_made_of_it():
    recorder, *_ = run("breakout", *BREAKOUT, watch=WatchGame(env=1))
    first = recorder.of(GameClip)[0]
    assert (first.env, first.height, first.width, first.channels) == (1, 210, 160, 3)
    assert first.action_names == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert len(first.frames) == 30, "every step of the first two seconds"
    shown = pictures(first)
    assert [200, 72, 72] in shown[0].reshape(-1, 3).tolist(), "Breakout's red bricks"
    assert any((a != b).any() for a, b in itertools.pairwise(shown))
    for frame in first.frames:
        assert sum(frame.probabilities) == pytest.approx(1, abs=1e-3)
        assert 0 <= frame.action < 4
        assert frame.lives in (4, 5)
        assert 0 < frame.entropy <= np.log(4) + 1e-4
    assert {frame.action for frame in first.frames} >= {0, 1, 2, 3}, "a fresh policy tries everything"


def test_the_pictures_are_those_of_the_observations():
    """The colours are the brighter ones of the newest two frames; in grey they are what the network sees."""
    import cv2

    env = AtariEnv("space_invaders", load_preset("breakout").env.atari, render_mode="rgb_array")
    env.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(40):
        observation, *_ = env.step(int(rng.integers(6)))
        grey = cv2.cvtColor(env.render(), cv2.COLOR_RGB2GRAY)
        seen = cv2.resize(grey, (84, 84), interpolation=cv2.INTER_AREA)
        assert np.abs(seen.astype(int) - observation).max() <= 3
    env.close()


def test_a_frame_has_its_time_its_advantage_and_what_the_network_looks_at():
    recorder, *_ = run(
        "cartpole", *SMALL, f"env.id={__name__}:Blind-v0", watch=WatchGame(env=1, gaze=Gaze.ACTION)
    )  # fmt: skip
    clip = recorder.of(GameClip)[0]
    gamma = load_preset("cartpole").ppo.gamma
    assert [frame.t for frame in clip.frames[:12]] == [*range(10), 0, 1]
    for now, then in itertools.pairwise(clip.frames[:20]):
        ahead = 0.0 if now.t == 9 else gamma * then.value
        assert now.advantage == pytest.approx(1.0 + ahead - now.value, abs=2e-3)
        assert len(now.gradients) == 3
    recorder, *_ = run("breakout", *BREAKOUT, watch=WatchGame(env=1, gaze=Gaze.VALUE))
    clip = recorder.of(GameClip)[0]
    assert (clip.gaze, clip.gaze_height, clip.gaze_width) == (Gaze.VALUE, 21, 21)
    assert all(len(frame.gaze) == 441 and max(frame.gaze) == 255 for frame in clip.frames)


def test_filming_leaves_the_game_as_it_is():
    plain, filmed = (AtariEnv("breakout", load_preset("breakout").env.atari) for _ in range(2))
    rng = np.random.default_rng(1)
    assert (plain.reset(seed=5)[0] == filmed.reset(seed=5)[0]).all()
    for t in range(300):
        filmed.render_mode = "rgb_array" if t % 100 > 50 else None
        action = int(rng.integers(4))
        ours, theirs = plain.step(action), filmed.step(action)
        assert filmed.render().shape == (210, 160, 3)
        assert (ours[0] == theirs[0]).all()
        assert ours[1:4] == theirs[1:4]
        if ours[2] or ours[3]:
            assert (plain.reset()[0] == filmed.reset()[0]).all()


def test_cartpole_is_drawn_at_its_own_speed_and_the_score_counts_steps():
    recorder, *_ = run("cartpole", *CARTPOLE, watch=WatchGame(env=1))
    clip = recorder.of(GameClip)[0]
    assert (clip.height, clip.width, clip.channels) == (200, 300, 3)
    assert len(clip.frames) >= 30
    scores = [frame.score for frame in clip.frames]
    assert all(b - a == 3 or b < a for a, b in itertools.pairwise(scores)), "50 steps a second, 15 frames"
    assert all(frame.lives is None for frame in clip.frames)
    assert (pictures(clip)[0] != pictures(clip)[-1]).any()


def test_continuous_actions_show_their_distribution():
    recorder, *_ = run(
        "cartpole", "env.id=Pendulum-v1", "rollout.num_envs=2", "rollout.steps=128", "run.total_steps=512",
        watch=WatchGame(env=1),
    )  # fmt: skip
    frame = recorder.of(GameClip)[0].frames[0]
    assert frame.probabilities == ()
    assert len(frame.action) == len(frame.means) == len(frame.stds) == 1
    assert frame.stds[0] == pytest.approx(1, abs=1e-3)
    assert frame.entropy == pytest.approx(1.4189, abs=1e-3)


class Blind(gymnasium.Env):
    """Cannot be drawn."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._t = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self._t += 1
        return np.array([self._t / 10, -self._t / 10, 0], np.float32), 1.0, self._t == 10, False, {}


class Clumsy(Blind):
    """Says that it can be drawn, and fails at it."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def render(self):
        raise RuntimeError("no display")


class Crashing(Clumsy):
    """Draws in a library that ends the process, as MuJoCo's does without a display."""

    def render(self):
        os.abort()


class Seen(Blind):
    """Observes images."""

    observation_space = gymnasium.spaces.Box(0, 255, (40, 40), np.uint8)

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0][0].astype(np.uint8) * np.ones((40, 40), np.uint8), {}

    def step(self, action):
        _, *rest = super().step(action)
        return np.full((40, 40), 10 * self._t, np.uint8), *rest


class Dials(Blind):
    """Two choices at once."""

    action_space = gymnasium.spaces.MultiDiscrete([2, 3])


gymnasium.register("Blind-v0", entry_point=Blind)
gymnasium.register("Clumsy-v0", entry_point=Clumsy)
gymnasium.register("Crashing-v0", entry_point=Crashing)
gymnasium.register("Dials-v0", entry_point=Dials)
gymnasium.register("Seen-v0", entry_point=Seen)

SMALL = ("rollout.num_envs=2", "rollout.steps=64", "run.total_steps=256", "ppo.epochs=1")


@pytest.mark.parametrize("name", ["Blind", "Clumsy"])
def test_an_environment_that_cannot_be_drawn_shows_its_observation(name):
    recorder, *_ = run("cartpole", *SMALL, f"env.id={__name__}:{name}-v0", watch=WatchGame(env=1))
    frames = recorder.of(GameClip)[0].frames
    assert [frame.observation for frame in frames[:3]] == [(0, 0, 0), (0.1, -0.1, 0), (0.2, -0.2, 0)]
    assert all(frame.picture is None for frame in frames)


@pytest.mark.slow
def test_a_crash_while_drawing_costs_two_workers_and_no_run():
    settings = (*SMALL, "run.total_steps=768", "workers.max_restarts=2")
    recorder, weights, _ = run("cartpole", *settings, f"env.id={__name__}:Crashing-v0", watch=WatchGame(env=1))
    messages = [alarm.message for alarm in recorder.of(Alarm)]
    assert sum("SIGABRT" in message for message in messages) == 2
    assert sum("without pictures" in message and "MUJOCO_GL" in message for message in messages) == 1
    assert all(frame.observation and frame.picture is None for frame in recorder.of(GameClip)[-1].frames)
    _, unseen, _ = run("cartpole", *settings, f"env.id={__name__}:Blind-v0")
    assert all(torch.equal(unseen[name], weight) for name, weight in weights.items())


def test_a_worker_lost_with_several_watched_environments_is_one_loss():
    """The game has pictures again with the next clip."""

    def react(event: Event) -> None:
        if isinstance(event, RunStarted | UpdateFinished):
            trainer.send(WatchGame(env=0, beside=(1,)))
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (1, 60):
            os.kill(trainer.engine.pool.workers[0].process.pid, signal.SIGKILL)

    recorder = Recorder(react)
    overrides = [*CARTPOLE, "workers.count=2", "run.torch_threads=1", "run.total_steps=4096"]
    trainer = Trainer(load_preset("cartpole", overrides=overrides), sinks=[recorder])
    trainer.run().raise_if_failed()
    messages = [alarm.message for alarm in recorder.of(Alarm)]
    assert sum("SIGKILL" in message for message in messages) == 1
    assert not any("without pictures" in message for message in messages)


def test_images_are_shown_as_the_agent_sees_them():
    recorder, *_ = run("cartpole", *SMALL, f"env.id={__name__}:Seen-v0", watch=WatchGame(env=1))
    clip = recorder.of(GameClip)[0]
    assert (clip.height, clip.width, clip.channels) == (40, 40, 1)
    assert [int(picture[0, 0, 0]) for picture in pictures(clip)[:12]] == [*range(0, 100, 10), 0, 10]


def test_clips_are_made_no_faster_than_they_are_watched():
    """2,048 steps take a moment, and each clip lasts for seconds: at most one is made in advance."""
    recorder, *_ = run("cartpole", *CARTPOLE, watch=WatchGame(env=1, fps=1.0))
    clips = recorder.of(GameClip)
    assert clips
    seconds_shown = sum(len(clip.frames) for clip in clips[:-1])
    assert seconds_shown <= clips[-1].elapsed - clips[0].elapsed + CLIP_SECONDS


@pytest.mark.parametrize("command", [WatchGame(env=2), WatchGame(env=-1), WatchGame(env=0, fps=0.0)])
def test_what_cannot_be_watched_is_refused(command):
    recorder, *_ = run("cartpole", *SMALL, watch=command)
    assert "envs are 0 to 1" in recorder.of(CommandRefused)[0].message
    assert not recorder.of(GameClip)


def test_clips_are_never_stored(tmp_path):
    config = load_preset("cartpole")
    log = EventLog(RunDirectory.create(config, label="x", path=tmp_path / "run"))
    recorder, *_ = run("cartpole", *SMALL, watch=WatchGame(env=1))
    for event in recorder.events:
        log.emit(event)
    log.close()
    text = (tmp_path / "run" / "events.jsonl").read_text()
    assert "run-started" in text
    assert "game-clip" not in text


def test_impossible_actions_are_shown_as_such():
    """Taxi masks what would do nothing."""
    recorder, *_ = run("cartpole", "env.id=Taxi-v4", *CARTPOLE, watch=WatchGame(env=1))
    frames = [frame for clip in recorder.of(GameClip) for frame in clip.frames]
    assert any(0.0 in frame.probabilities for frame in frames)
    assert all(frame.probabilities[frame.action] > 0 for frame in frames)


def test_several_choices_at_once_are_shown_by_their_numbers():
    recorder, *_ = run("cartpole", f"env.id={__name__}:Dials-v0", *CARTPOLE, watch=WatchGame(env=1))
    frame = recorder.of(GameClip)[0].frames[0]
    assert len(frame.action) == 2
    assert frame.probabilities == frame.means == ()
