"""A score is that of full games which were chosen beforehand, played by a policy that stays as it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from ppo_tui import Trainer, load_policy, load_preset
from ppo_tui.envs.making import make_seeded_env
from ppo_tui.errors import ConfigError, UsageError
from ppo_tui.protocol import Alarm, EpisodeFinished, GameClip, Gaze, RunFinished, RunState, Stop
from ppo_tui.training.evaluation.evaluate import Evaluation, PolicyPlayer, evaluate
from ppo_tui.training.evaluation.programme import AS_FAST_AS_IT_GOES, UNTRAINED, Choice, NowPlaying, Programme
from ppo_tui.training.evaluation.setup import start_evaluation, whole_episodes
from ppo_tui.training.evaluation.watch import WatchEngine
from tests.training.scoreboard import LONG


def checkpoint(path: Path, preset: str, *overrides: str) -> Path:
    with Trainer(load_preset(preset, overrides=overrides)) as trainer:
        trainer.run().raise_if_failed()
        return trainer.save(path)


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("cartpole") / "few", "cartpole", "run.total_steps=2048")


@pytest.fixture(scope="module")
def lottery(tmp_path_factory) -> Path:
    env = "env.id=tests.training.scoreboard:Lottery-v0"
    return checkpoint(tmp_path_factory.mktemp("lottery") / "few", "cartpole", env, "run.total_steps=256")


def by_hand(path: Path, seeds: list[int]) -> list[float]:
    """The return of a greedy game from each of these seeds, in one environment, step by step."""
    policy = load_policy(path)
    returns = []
    env = make_seeded_env(load_preset("cartpole").env, seeds, 10_000)
    for _ in seeds:
        observation, _ = env.reset()
        total, over = 0.0, False
        while not over:
            decision = policy.decide(torch.from_numpy(np.array(observation))[None], noise=None)
            observation, reward, terminated, truncated, _ = env.step(int(policy.env_actions(decision.actions)[0]))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    env.close()
    return returns


def test_greedy_games_are_those_that_one_environment_plays_from_the_same_seeds(cartpole):
    evaluation = evaluate(cartpole, episodes=20, seed=3)
    setup = start_evaluation(cartpole, episodes=20, num_envs=1, steps=1, seed=3)
    setup.pool.close()
    seeds = list(setup.episode_seeds)
    assert len(set(seeds)) == 20
    assert list(evaluation.returns) == by_hand(cartpole, seeds)
    assert evaluation.returns == evaluation.lengths, "CartPole pays 1 a step"
    assert len(set(evaluation.returns)) > 5
    assert evaluation.score.mean == pytest.approx(np.mean(evaluation.returns))
    low, high = evaluation.score.interval
    assert min(evaluation.returns) <= low < evaluation.score.mean < high <= max(evaluation.returns)


def test_the_same_seed_gives_the_same_games_and_more_games_begin_with_those_of_fewer(cartpole):
    first, again, other, more = (
        evaluate(cartpole, episodes=episodes, seed=seed, greedy=False)
        for episodes, seed in ((16, 0), (16, 0), (16, 1), (32, 0))
    )
    assert first.returns == again.returns
    assert first.returns != other.returns
    greedy, longer = (evaluate(cartpole, episodes=episodes, greedy=True) for episodes in (16, 32))
    assert longer.returns[:16] == greedy.returns
    assert len(more.returns) == 32


def test_short_games_count_no_more_often_than_long_ones(lottery):
    """Taking whichever games end first would count hardly any long one."""
    evaluation = evaluate(lottery, episodes=120, allow_import=True)
    share = evaluation.returns.count(float(LONG)) / 120
    assert share == pytest.approx(1 / 3, abs=0.13)  # three standard deviations
    assert set(evaluation.returns) == {1.0, float(LONG)}


def test_code_is_imported_only_where_that_is_allowed(lottery):
    with pytest.raises(ConfigError, match=r"tests\.training\.scoreboard"):
        evaluate(lottery, episodes=1)


def test_playing_changes_neither_weights_nor_running_statistics(tmp_path):
    path = checkpoint(tmp_path / "few", "acrobot", "run.total_steps=2048", "env.kwargs.max_episode_steps=60")
    setup = start_evaluation(path, episodes=8, num_envs=4, steps=16)
    try:
        play = PolicyPlayer(setup)
        before = {name: tensor.clone() for name, tensor in play.policy.state_dict().items()}
        assert before["normalizer.count"] > 0
        games = [game for _ in range(8) for game in play.advance()]
    finally:
        setup.pool.close()
    assert len(games) >= 4
    after = play.policy.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_lost_life_ends_no_game(tmp_path):
    preset = "breakout-labml"  # which trains on games of one life
    assert whole_episodes(load_preset(preset).env).atari.life_loss == "none"
    path = checkpoint(
        tmp_path / "few", preset, "run.total_steps=64", "rollout.num_envs=2", "rollout.steps=32", "ppo.minibatches=2",
        "ppo.epochs=1",
    )  # fmt: skip
    evaluation = evaluate(path, episodes=2)
    assert min(evaluation.lengths) > 100, "five lives"
    assert evaluation.protocol["actions"] == "sampled"
    assert evaluation.protocol["sticky_actions"] == 0.0


def test_an_episode_at_the_limit_of_steps_counts_as_far_as_it_got(cartpole):
    evaluation = evaluate(cartpole, episodes=20, seed=3, max_steps=12)
    whole = evaluate(cartpole, episodes=20, seed=3)
    assert evaluation.returns == tuple(min(12.0, episode) for episode in whole.returns)
    assert evaluation.limited == sum(episode > 12 for episode in whole.returns) > 0
    assert evaluation.limit_reached == f"{evaluation.limited} of 20 episodes reached the limit of 12 steps"
    assert (whole.limited, whole.limit_reached, whole.max_steps) == (0, None, 100_000)


def test_players_of_one_evaluation_have_luck_of_their_own_and_the_next_has_the_same(tmp_path):
    env = "env.id=tests.envs.hidden:DrawsFromGlobals-v0"
    path = checkpoint(tmp_path / "few", "cartpole", env, "run.total_steps=256", "run.seed=5")
    seen = []
    for num_envs in (6, 6, 2):
        setup = start_evaluation(path, episodes=6, num_envs=num_envs, steps=1, allow_import=True)
        try:
            play = PolicyPlayer(setup)
            seen.append(play.rollout.observation(0)[:, :2].clone())
        finally:
            setup.pool.close()
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0][:2, 1], seen[2][:, 1]), "of the episode, whoever plays it"
    assert len(set(seen[0].flatten().tolist())) == 12


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a checkpoint"):
        evaluate(tmp_path, episodes=1)


@pytest.mark.slow
def test_a_trained_cartpole_is_solved(tmp_path):
    path = checkpoint(tmp_path / "trained", "cartpole")
    evaluation: Evaluation = evaluate(path, episodes=50)
    assert evaluation.score.mean >= 475
    assert evaluation.reward_threshold == 475


# ── WatchEngine ────────────────────────────────────────────────────────────────────────────────────────────────


def watch(path: Path, **options) -> list:
    events: list = []
    setup = start_evaluation(path, episodes=3, num_envs=1, steps=1)
    WatchEngine(setup, name="few", emit=events.append, **options).run()
    return events


def test_who_watches_sees_the_games_that_are_scored(cartpole):
    events = watch(cartpole, episodes=3, paced=False)
    games = [event.episode_return for event in events if isinstance(event, EpisodeFinished)]
    assert games == list(evaluate(cartpole, episodes=3).returns)
    frames = [frame for event in events if isinstance(event, GameClip) for frame in event.frames]
    assert len(frames) >= sum(games) // 3, "one picture in three steps, at 50 steps a second"
    assert all(frame.picture and len(frame.probabilities) == 2 for frame in frames)
    assert all(frame.action == int(np.argmax(frame.probabilities)) for frame in frames), "greedy"
    assert frames[0].score == 0.0
    assert isinstance(events[-1], RunFinished)
    assert events[-1].state is RunState.FINISHED


def test_who_watches_is_told_of_an_episode_at_the_limit(cartpole):
    events: list = []
    setup = start_evaluation(cartpole, episodes=2, num_envs=1, steps=1, max_steps=7)
    WatchEngine(setup, name="few", episodes=2, emit=events.append, paced=False).run()
    assert [event.length for event in events if isinstance(event, EpisodeFinished)] == [7, 7]
    told = [event.message for event in events if isinstance(event, Alarm)]
    assert told == ["the episode was ended at the limit of 7 steps"] * 2


def test_watching_ends_when_it_is_told_to(cartpole):
    events: list = []

    def stop_at_the_first_clip(event) -> None:
        events.append(event)
        if isinstance(event, GameClip):
            watching.send(Stop())

    setup = start_evaluation(cartpole, episodes=3, num_envs=1, steps=1)
    watching = WatchEngine(setup, name="few", episodes=None, emit=stop_at_the_first_clip, paced=True)
    watching.run()
    assert events[-1].state is RunState.STOPPED
    assert sum(isinstance(event, GameClip) for event in events) == 1


@pytest.mark.parametrize(
    "damage", ["gone", *(pytest.param(damage, marks=pytest.mark.slow) for damage in ("cut", "link", "pipe"))]
)
def test_a_checkpoint_that_cannot_be_read_ends_no_watching(cartpole, tmp_path, damage):
    """A run that trains on removes its old ones meanwhile."""
    bad = shutil.copytree(cartpole, tmp_path / "bad")
    weights = bad / "policy.safetensors"
    if damage == "cut":
        os.truncate(weights, 100)
    else:
        weights.unlink()
    if damage == "link":
        weights.symlink_to(cartpole / weights.name)
    elif damage == "pipe":
        os.mkfifo(weights)
    elif damage == "gone":
        shutil.rmtree(bad)
    choices = (Choice("bad", 1, path=bad), Choice(cartpole.name, 2048, path=cartpole))
    programme = Programme(checkpoints=("bad", cartpole.name))
    events = watch(cartpole, episodes=1, paced=False, choices=choices, programme=programme)
    assert [event.checkpoints for event in events if isinstance(event, NowPlaying)] == [(cartpole.name,) * 2]
    (alarm,) = [event for event in events if isinstance(event, Alarm)]
    assert alarm.message.startswith("bad cannot be watched: ")
    assert events[-1].state is RunState.FINISHED


def test_policies_side_by_side_play_the_same_seeds_and_obey_the_screen(cartpole):
    """From clumsy to good: the next game, another checkpoint, and one policy alone."""
    events: list = []
    own = Choice(cartpole.name, 2048, "latest", cartpole)
    both = Programme(checkpoints=(UNTRAINED, own.name), speed=AS_FAST_AS_IT_GOES, gaze=Gaze.VALUE)
    wishes = [
        msgspec.structs.replace(both, scene=1, game=3),
        msgspec.structs.replace(both, scene=2, game=1, checkpoints=(own.name,), gaze=Gaze.NONE),
    ]

    def emit(event) -> None:
        events.append(event)
        if isinstance(event, EpisodeFinished) and len(scores_of(0)) == len(scores_of(1)):
            watching.send(wishes.pop(0) if wishes else Stop())
        elif isinstance(event, EpisodeFinished) and not wishes and event.env == 0 and playing()[-1].scene == 2:
            watching.send(Stop())

    def playing() -> list[NowPlaying]:
        return [event for event in events if isinstance(event, NowPlaying)]

    def scores_of(env: int) -> list[float]:
        return [event.episode_return for event in events if isinstance(event, EpisodeFinished) and event.env == env]

    setup = start_evaluation(cartpole, episodes=3, num_envs=1, steps=1)
    watching = WatchEngine(
        setup,
        name="few",
        episodes=None,
        emit=emit,
        paced=True,
        choices=(Choice(UNTRAINED), own),
        programme=both,
    )
    watching.run()
    scored = evaluate(cartpole, episodes=3).returns
    assert [(each.game, len(each.checkpoints)) for each in playing()][:1] == [(1, 2)]
    assert scores_of(1)[:1] == [scored[0]]
    assert scores_of(1)[1:2] == [scored[2]], "the third game, as it was asked for"
    assert scores_of(0)[-1] == scored[0], "alone, the trained policy plays the first game"
    clips = [event for event in events if isinstance(event, GameClip)]
    assert {clip.env for clip in clips} == {0, 1}
    assert {len(frame.gradients) for clip in clips if clip.gaze is Gaze.VALUE for frame in clip.frames} == {4}
    assert {clip.scene for clip in clips} == {0, 1, 2}
