"""Bad input: one message with a remedy, exit code 2, nothing started."""

from __future__ import annotations

import pytest


def assert_refused(done, tmp_path, *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3, done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["which preset", "ppo-tui cartpole"]),
        (["--preset", "brekout"], ["'brekout'", "did you mean 'breakout'"]),
        (["--preset", "./nowhere.toml"], ["nowhere.toml", "shipped presets"]),
        (["--preset", "cartpole", "--set", "optim.lr=3"], ["optim.lr", "learning_rate"]),
        (["--preset", "cartpole", "--set", "optim.learning_rate"], ["KEY=VALUE"]),
        (["--preset", "cartpole", "--set", "ppo.minibatches=7"], ["8 × 32 = 256", "nearest"]),
        (["--preset", "cartpole", "--workers", "0"], ["workers.count = 0", "at least one worker"]),
        (["--preset", "cartpole", "--workers", "99"], ["workers.count = 99", "8 environments"]),
        (["--preset", "cartpole", "--envs", "0"], ["rollout.num_envs = 0"]),
        (["--preset", "cartpole", "--total-steps", "-5"], ["run.total_steps = -5"]),
        (["--preset", "cartpole", "--seed", "-1"], ["run.seed = -1"]),
        (["--preset", "cartpole", "--seed", "one"], ["run.seed = 'one'", "a whole number"]),
        (["--preset", "cartpole", "--total-steps", "1.5"], ["run.total_steps = 1.5", "a whole number"]),
        (["--preset", "cartpole", "--device", "tpu"], ["run.device = 'tpu'"]),
        (["--preset", "cartpole", "--device", 'a"b'], ["run.device"]),
        (["--preset", "cartpole", "--name", "../x"], ["--name '../x'"]),
        (["--preset", "cartpole", "--set", "env.id=CartPole-v9"], ["CartPole-v9", "CartPole-v1"]),
        (["--preset", "cartpole", "--set", "env.id=CartPol-v1"], ["CartPol-v1", "CartPole-v1"]),
        (["--preset", "breakout", "--set", "env.id=ALE/Brekout-v5"], ["Brekout", "ALE/Breakout-v5"]),
        (["--preset", "cartpole", "--set", "env.id=Breakout-v4"], ["Breakout-v4", "ALE/Breakout-v5"]),
        (["--preset", "breakout", "--set", "env.kwargs.frameskip=4"], ["double frame skip"]),
        (["--preset", "cartpole", "--set", "env.id=no_such_module:Thing-v0"], ["no_such_module"]),
        (["--preset", "cartpole", "--set", "policy.network=nature-cnn"], ["nature-cnn"]),
        (["--preset", "cartpole", "--set", "policy.network=impla"], ["'impla'", "impala", "package.module:Class"]),
        (["--preset", "cartpole", "--set", "policy.squash_actions=true"], ["squash_actions", "no bounds"]),
        (["--preset", "cartpole", "--set", "env.action_masks=true"], ["env.action_masks = true", "no masks"]),
        (["--preset", "a2c-cartpole", "--set", "ppo.dual_clip=3"], ["ppo.dual_clip = 3.0", "'none' clips nothing"]),
        (["--preset", "breakout", "--set", "policy.normalize_observations=true"], ["normalize_observations", "images"]),
        (["--preset", "cartpole", "--set", "env.kwargs.colour=1"], ["colour"]),
        (["--preset", "cartpole-masked", "--set", "run.compile=true"], ["run.compile = true", "policy.recurrent"]),
        (["--preset", "a3c-cartpole", "--set", "run.compile=true"], ["run.compile = true", "'a3c'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_arguments(ppo_tui, tmp_path, arguments, words):
    assert_refused(ppo_tui(*arguments), tmp_path, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prest", "cartpole"], ["No such option", "--preset"]),
        (["trian"], ["trian"]),
    ],
)
def test_bad_usage(ppo_tui, arguments, words):
    done = ppo_tui(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_gpu_that_is_not_there(ppo_tui, tmp_path):
    done = ppo_tui("--preset", "cartpole", "--device", "cuda:7", CUDA_VISIBLE_DEVICES="")
    assert_refused(done, tmp_path, "run.device = 'cuda:7'", "no GPU", "--device cpu")


def test_a_preset_file_that_is_a_directory(ppo_tui, tmp_path):
    (tmp_path / "mine.toml").mkdir()
    assert_refused(ppo_tui("--preset", "./mine.toml"), tmp_path, "is a directory")


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "empty"), (b"\0\1\2", "binary"), (b"# \xff\n", "UTF-8"), (b"[env", "TOML")]
)
def test_a_preset_file_that_is_none(ppo_tui, tmp_path, content, word):
    (tmp_path / "mine.toml").write_bytes(content)
    assert_refused(ppo_tui("--preset", "mine.toml"), tmp_path, "mine.toml", word)


def test_an_empty_run_directory_is_an_error_and_not_the_current_one(ppo_tui, tmp_path):
    assert_refused(ppo_tui("--preset", "cartpole", "--run-dir", ""), tmp_path, "--run-dir is empty", "--run-dir .")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_holds_a_run_already(ppo_tui, tmp_path):
    run = tmp_path / "mine"
    run.mkdir()
    (run / "run.json").write_text('{"name": "precious"}')
    done = ppo_tui("--preset", "cartpole", "--run-dir", str(run))
    assert_refused(done, tmp_path, "already holds a run", "nothing was overwritten")
    assert (run / "run.json").read_text() == '{"name": "precious"}'


def test_a_run_directory_that_cannot_be_written(ppo_tui, tmp_path):
    (tmp_path / "file").write_text("")
    done = ppo_tui("--preset", "cartpole", "--run-dir", str(tmp_path / "file" / "run"))
    assert_refused(done, tmp_path, "cannot be written", "--run-dir")


def test_names_with_control_characters_do_not_reach_the_terminal(ppo_tui, tmp_path):
    done = ppo_tui("--preset", "cart\x1b[31mpole")
    assert_refused(done, tmp_path, "unknown preset")
    assert "\x1b" not in done.stderr
