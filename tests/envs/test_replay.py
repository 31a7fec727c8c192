"""What is called exact is proved: an episode comes back as it was, or is refused."""

from __future__ import annotations

import pytest

from ppo_tui.envs import replay
from ppo_tui.envs.luck import seed_spaces
from ppo_tui.envs.state import CannotRestoreError, restore_env, save_env, unsaved_reason
from tests.envs.test_state import check_exact, maker, play

HIDDEN = "tests.envs.hidden:"


@pytest.mark.parametrize("name", ["DrawsFromGlobals", "Counts", "CountsInC", "Forgets", "Mapped"])
@pytest.mark.parametrize("before", [0, 3, 43])
def test_a_history_that_is_not_too_long_is_replayed_from_the_making(name: str, before: int):
    check_exact(maker(f"{HIDDEN}{name}-v0"), before=before, after=60)


@pytest.mark.parametrize(
    ("env_id", "before"), [("BipedalWalker-v3", 400), ("CarRacing-v3", 30), ("LunarLander-v3", 400)]
)
def test_physics_do_not_outlive_an_episode(env_id: str, before: int):
    check_exact(maker(env_id), before=before, after=120 if env_id != "CarRacing-v3" else 20)


def test_environments_of_one_class_do_not_share_the_generators_of_its_spaces():
    """Each is seeded and reset in its turn, as a worker does, and comes back in another process's order."""
    make = maker(f"{HIDDEN}SharesSpaces-v0")
    first, second = make(), make()
    for seed, env in enumerate((first, second)):
        seed_spaces(env, seed)
        env.reset(seed=seed)
    play(first, [0, 1] * 4)
    saved = save_env(first)
    play(second, [1] * 3)
    told = play(first, [0, 1] * 6)
    other, again = make(), make()
    seed_spaces(other, 5)
    other.reset(seed=5)
    restore_env(again, saved)
    play(other, [0] * 4)
    assert play(again, [0, 1] * 6) == told


@pytest.fixture
def short_history(monkeypatch):
    monkeypatch.setattr(replay, "MAX_HISTORY_STEPS", 10)


def played(name: str, steps: int):
    make = maker(f"{HIDDEN}{name}-v0")
    env = make()
    env.reset(seed=1)
    play(env, [0, 1] * (steps // 2) + [0] * (steps % 2))
    return make, env


@pytest.mark.usefixtures("short_history")
@pytest.mark.parametrize("name", ["Forgets", "Mapped"])
def test_after_a_long_history_an_episode_that_depends_on_none_is_replayed_alone(name: str):
    make, env = played(name, 58)
    saved = save_env(env)
    other = make()
    restore_env(other, saved)
    assert play(other, [0, 1] * 40) == play(env, [0, 1] * 40)
    assert len(saved) < 40_000


@pytest.mark.usefixtures("short_history")
def test_a_long_history_that_python_sees_is_found_out():
    """The newest episode alone shows no difference: it takes seven to get harder."""
    make, env = played("Counts", 23)
    with pytest.raises(CannotRestoreError, match="outlives an episode"):
        restore_env(make(), save_env(env))


@pytest.mark.usefixtures("short_history")
def test_an_engine_that_outlives_its_episodes_is_named_when_it_is_saved():
    _, env = played("CountsInC", 33)
    assert "its episodes outlives an episode" in (unsaved_reason(save_env(env)) or "")


def test_a_reward_that_differs_is_found_out():
    make, env = played("Pays", 3)
    with pytest.raises(CannotRestoreError, match="not deterministic"):
        restore_env(make(), save_env(env))


def test_an_environment_that_failed_cannot_be_replayed_until_its_next_episode():
    make, env = played("Forgets", 3)
    env.unwrapped.engine = iter(())
    with pytest.raises(StopIteration):
        env.step(0)
    assert unsaved_reason(save_env(env)) == "its step failed"
    env.reset()
    play(env, [0, 1])
    other = make()
    restore_env(other, save_env(env))
    assert play(other, [1] * 30) == play(env, [1] * 30)
