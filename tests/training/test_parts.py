"""Runs whose observations have images, vectors and discrete parts at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from ppo_tui import Trainer
from ppo_tui.config import Config, build_config
from ppo_tui.exchange.deployed import describe
from ppo_tui.exchange.experience import gather_experience
from ppo_tui.exchange.formats import FORMATS, deploy, write_policy
from ppo_tui.protocol import Alarm, Event, GameClip, Gaze, Level, RunStarted, RunState, WatchGame
from tests.training.checkpoint.test_resume import check_exact, run, stop_at
from tests.training.test_trainer import Recorder


def parts(name: str = "Parts", **tables) -> Config:
    """A run with two environments of this name, of small networks."""
    return build_config(
        {
            "env": {"id": f"tests.training.parts:{name}-v0", **tables.pop("env", {})},
            "rollout": {"num_envs": 2, "steps": 32, **tables.pop("rollout", {})},
            "workers": {"count": 2},
            "ppo": {"epochs": 2, "minibatches": 2, **tables.pop("ppo", {})},
            "policy": {"normalize_observations": True, **tables.pop("policy", {})},
            "run": {"total_steps": 192, "device": "cpu", "torch_threads": 1, **tables.pop("run", {})},
            **tables,
        }
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Recorder]:
    """A checkpoint of a short run, watched, and its events."""

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RunStarted):
            trainer.send(WatchGame(env=1, fps=5, gaze=Gaze.ACTION))

    trainer, result, recorder = run(lambda **kw: Trainer(parts(), **kw), react)
    assert result.state is RunState.FINISHED, result.reason
    return trainer.save(tmp_path_factory.mktemp("parts") / "checkpoint"), recorder


def test_the_text_left_out_is_said_once(finished):
    notes = [alarm.message for alarm in finished[1].of(Alarm) if alarm.level is Level.INFO]
    assert [note for note in notes if "text" in note] == [
        "not part of what the policy sees, because it is text: observation['hint']"
    ]


def test_a_watcher_sees_the_camera_and_the_numbers(finished):
    clip = finished[1].of(GameClip)[0]
    assert (clip.height, clip.width, clip.channels) == (36, 36, 1)
    assert max(clip.gaze_height, clip.gaze_width) <= 24
    for frame in clip.frames:
        assert frame.picture is not None
        assert frame.gaze
        assert len(frame.observation) == 4
        assert frame.observation[:2] in ((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("name", "policy"),
    [("Parts", {}), pytest.param("Parts", {"recurrent": "lstm", "recurrent_size": 8}, marks=pytest.mark.slow)],
)
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(name, policy, tmp_path):
    env = {"frame_stack": 2} if policy else {}
    check_exact(parts(name, policy=policy, env=env, run={"total_steps": 192}), tmp_path, stop_at(2, 11))


@pytest.mark.slow
def test_nested_parts_with_a_mask_resume_exactly(tmp_path):
    check_exact(parts("Nested", env={"frame_stack": 3}), tmp_path, stop_at(2, 30))


def test_statistics_of_the_vectors_are_in_the_checkpoint(finished):
    """Those of the parts in their order, the mode's two and the speed's two, over all steps."""
    saved = load_file(finished[0] / "policy.safetensors")
    assert saved["normalizer.count"] == 192
    assert saved["normalizer.variance"].shape == (4,)
    assert (saved["normalizer.variance"][2:] > 4).all()


def test_a_number_that_is_not_finite_drops_its_episode_and_is_named():
    recorder = Recorder()
    Trainer(parts("Broken", run={"total_steps": 64}), sinks=[recorder]).run()
    (first, *_) = [alarm.message for alarm in recorder.of(Alarm) if "failed" in alarm.message]
    assert "BadValueError: observation['speed'][1] is nan" in first


# ── Exports and evaluation ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["torchscript", "safetensors", pytest.param("onnx", marks=pytest.mark.slow)])
def test_an_exported_policy_takes_each_part_by_its_name(finished, tmp_path, form):
    """It is compared with the live policy on observations of the environment and on samples of its space."""
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    experience = gather_experience(finished[0], allow_import=True)
    facts = describe(deploy(experience), experience, run="it")
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in facts.inputs] == [
        ("observations.camera", "uint8", (36, 36, 1)),
        ("observations.mode", "int64", ()),
        ("observations.speed", "float64", (2,)),
    ]
    path = tmp_path / f"policy{FORMATS[form].suffix}"
    assert write_policy(path, FORMATS[form], experience, facts) < 1e-4


@pytest.mark.slow
def test_nested_stacked_and_masked_parts_are_exported(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with Trainer(parts("Nested", env={"frame_stack": 2}, policy={"recurrent": "gru", "recurrent_size": 8})) as trainer:
        path = trainer.save(tmp_path / "checkpoint")
    experience = gather_experience(path, allow_import=True)
    facts = describe(deploy(experience), experience, run="it")
    assert [tensor.name for tensor in facts.inputs] == [
        "observations.body.flags",
        "observations.body.grid",
        "observations.body.speed",
        "observations.eyes.0",
        "observations.eyes.1",
        "masks",
        "states",
    ]
    for form in FORMATS.values():
        assert write_policy(tmp_path / f"policy{form.suffix}", form, experience, facts) < 1e-4


# ── Learning ────────────────────────────────────────────────────────────────────────────────────────────────

LEARNING = {
    "rollout": {"num_envs": 8, "steps": 128},
    "ppo": {
        "epochs": 8,
        "minibatches": 8,
        "gamma": 0.0,
        "gae_lambda": 0.0,
        "entropy_coef": 0.0,
        "clip_range": 0.2,
    },
    "optim": {"learning_rate": 1e-3, "learning_rate_schedule": "constant"},
    "run": {"total_steps": 40_960},
}


@pytest.mark.slow
def test_a_policy_that_sees_every_part_learns_what_each_of_them_says():
    """Without one part the return is at most 8 of 16."""
    recorder = Recorder()
    Trainer(parts(**LEARNING), sinks=[recorder]).run().raise_if_failed()
    assert max(metrics["rollout/ep_rew_mean"] for metrics in recorder.metrics) > 15
