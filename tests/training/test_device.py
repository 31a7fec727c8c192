"""Threads and precision that fit the machine."""

from __future__ import annotations

import pytest
import torch

from ppo_tui import Trainer
from ppo_tui.config import load_preset
from ppo_tui.distributed.ranks import Ranks
from ppo_tui.errors import ConfigError
from ppo_tui.launch import TrainRequest, prepare
from ppo_tui.machine import bfloat16_instructions
from ppo_tui.protocol import Alarm, Level, RunResumed, RunStarted, RunState, Stop, UpdateFinished
from ppo_tui.training.checkpoint.resume import ResumePoint
from ppo_tui.training.device import (
    Threads,
    choose_threads,
    device_of,
    global_generators_untouched,
    load_global_generators,
    resolve_device,
    resolve_precision,
    save_global_generators,
)
from ppo_tui.training.inbox import Inbox
from ppo_tui.training.start import examine
from tests.training.test_trainer import Recorder, cartpole

BREAKOUT, CARTPOLE = load_preset("breakout"), load_preset("cartpole")


@pytest.mark.parametrize(
    ("config", "workers", "cores", "expected"),
    [
        (BREAKOUT, 2, 2, Threads(act=1, learn=2)),
        (BREAKOUT, 8, 16, Threads(act=8, learn=16)),
        (BREAKOUT, 1, 1, Threads(act=1, learn=1)),
        (CARTPOLE, 2, 16, Threads(act=1, learn=1)),
        (load_preset("breakout", overrides=["run.torch_threads=3"]), 2, 16, Threads(act=3, learn=3)),
    ],
)
def test_learning_takes_the_cores_and_acting_what_the_workers_leave(config, workers, cores, expected):
    assert choose_threads(config, examine(config), workers, cores) == expected


# ── bfloat16 ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ("model name : X\nflags\t: fpu avx512f avx512_bf16 amx_tile\n", "avx512_bf16"),
        ("flags : fpu amx_bf16 amx_tile avx512_bf16\n", "amx_bf16"),
        ("flags : fpu avx512f avx512_bf16x\n", None),
        ("Features : fp asimd bf16\n", None),
        ("", None),
    ],
)
def test_a_processor_says_which_instructions_it_has(facts, expected, tmp_path):
    (tmp_path / "cpuinfo").write_text(facts)
    assert bfloat16_instructions(tmp_path / "cpuinfo") == expected
    assert bfloat16_instructions(tmp_path / "nothing") is None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Make this machine one with these instructions for bfloat16, or without any."""

    def become(instructions: str | None) -> None:
        monkeypatch.setattr("ppo_tui.training.device.bfloat16_instructions", lambda: instructions)

    return become


def alarms(recorder: Recorder) -> list[tuple[Level, str]]:
    return [(alarm.level, alarm.message) for alarm in recorder.of(Alarm) if "precision" in alarm.message]


@pytest.mark.parametrize(("instructions", "precision"), [("avx512_bf16", "bf16"), (None, "float32")])
def test_auto_is_decided_once_in_a_run_and_said(machine, instructions, precision, tmp_path):
    """Another kind of machine resumes it with the same precision."""
    machine(instructions)
    config = cartpole("policy.precision=auto", "run.device=cpu", steps=512)
    recorder = Recorder()
    trainer = Trainer(config, sinks=[recorder], checkpoint_dir=tmp_path)
    recorder.react = lambda event: trainer.send(Stop()) if isinstance(event, UpdateFinished) else None
    assert trainer.run().state is RunState.STOPPED
    assert trainer.policy.mixed_precision is (precision == "bf16")
    assert recorder.of(RunStarted)[0].config["policy"]["precision"] == precision
    ((level, message),) = alarms(recorder)
    assert level is Level.INFO
    assert message.startswith(f"policy.precision = auto: {precision}, for the whole run; the CPU has ")

    machine(None if instructions else "amx_bf16")
    point = ResumePoint.newest(tmp_path)
    assert point.state.config["policy"]["precision"] == precision
    for overrides in ((), ("policy.precision=auto",)):
        again = Recorder()
        resumed = Trainer(point.config(overrides=overrides), sinks=[again], resume_from=point.checkpoint)
        assert resumed.config.policy.precision == precision
        assert resumed.run().state is RunState.FINISHED
        assert again.of(RunResumed)[0].exact, again.of(RunResumed)[0].differences
        levels = [level for level, _ in alarms(again)]
        assert levels == ([Level.WARNING] if precision == "bf16" else []), "it is told that bf16 is only imitated here"


def test_another_precision_on_resume_is_inexact(machine, tmp_path):
    machine("avx512_bf16")
    trainer = Trainer(cartpole("policy.precision=auto", "run.device=cpu", steps=256))
    trainer.run()
    point = ResumePoint.at(trainer.save(tmp_path / "it"))
    again = Recorder()
    config = point.config(overrides=["policy.precision=float32", "run.total_steps=512"])
    Trainer(config, sinks=[again], resume_from=point.checkpoint).run()
    assert "policy.precision bf16 → float32" in again.of(RunResumed)[0].differences


def test_a_run_directory_records_the_decision(machine, tmp_path):
    machine("amx_bf16")
    config = cartpole("policy.precision=auto", "run.device=cpu")
    prepared = prepare(TrainRequest(config, label="cartpole", run_dir=tmp_path / "run"))
    try:
        trainer = prepared.trainer([], Inbox())
        assert trainer.config.policy.precision == "bf16"
        assert prepared.directory.read_config()["policy"]["precision"] == "bf16"
        assert not prepared.directory.config_was_edited
    finally:
        prepared.close()
        prepared.directory.release()


def test_ranks_take_bfloat16_only_if_all_have_it(machine):
    machine("amx_bf16")

    class Mixed(Ranks):
        """Two machines, the other one without bfloat16."""

        size, device = 2, torch.device("cpu")

        def exchange(self, value, kind):
            return [value, ""]

    config, notes = resolve_precision(cartpole("policy.precision=auto"), Mixed())
    assert config.policy.precision == "float32"
    assert "no bfloat16" in notes[0][1]


# ── Apple's GPUs, of which none is here ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def a_mac(monkeypatch: pytest.MonkeyPatch) -> torch.Generator:
    """PyTorch as it answers on a Mac; returns the generator in the place of its GPU's."""
    generator = torch.Generator().manual_seed(7)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.mps.get_rng_state", generator.get_state)
    monkeypatch.setattr("torch.mps.set_rng_state", generator.set_state)
    return generator


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is one")
def test_without_apples_gpu_it_is_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="run.device = 'mps': PyTorch finds") as refused:
        examine(cartpole("run.device=mps"))
    assert "--device cpu or auto" in refused.value.hint
    for wrong in ("mps:0", "mps:", "metal"):
        with pytest.raises(ConfigError, match="expected auto, cpu, cuda, cuda:N or mps"):
            resolve_device(wrong)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_prefers_cuda_then_mps_then_the_cpu(cuda, mps, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert resolve_device("auto").type == device_of(BREAKOUT).type == expected


@pytest.mark.parametrize(
    "setting",
    [
        "policy.normalize_observations=true",
        "ppo.normalize_values=true",
        "policy.recurrent=lstm",
        "policy.precision=bf16",
        "run.overlap=true",
        "run.compile=true",
    ],
)
def test_what_apples_gpu_cannot_compute_is_refused_and_left_to_the_cpu_by_auto(a_mac, setting):
    assert device_of(cartpole("run.device=mps")) == device_of(cartpole("run.device=auto")) == torch.device("mps")
    assert device_of(cartpole("run.device=auto", setting)) == torch.device("cpu")
    with pytest.raises(ConfigError, match=setting.partition("=")[0]) as refused:
        device_of(cartpole("run.device=mps", setting))
    assert "--device cpu" in refused.value.hint


def test_precision_auto_is_float32_on_apples_gpu(a_mac, monkeypatch):
    monkeypatch.setattr("ppo_tui.training.device.bfloat16_instructions", lambda: "amx_bf16")
    config, notes = resolve_precision(cartpole("policy.precision=auto", "run.device=mps"))
    assert config.policy.precision == "float32"
    assert "the GPU has no bfloat16" in notes[0][1]


def test_the_generator_of_apples_gpu_is_saved_and_restored(a_mac):
    mps = torch.device("mps")
    saved = save_global_generators(mps)
    drawn = torch.rand(3, generator=a_mac)
    with global_generators_untouched(mps):
        torch.rand(5, generator=a_mac)
    load_global_generators(saved, mps)
    assert torch.equal(torch.rand(3, generator=a_mac), drawn)
    load_global_generators(saved, torch.device("cpu"))
