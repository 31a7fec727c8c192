"""Threads and precision that fit the machine."""

from __future__ import annotations

import pytest
import torch

from ppo_tui import Trainer
from ppo_tui.config import load_preset
from ppo_tui.distributed.ranks import Ranks
from ppo_tui.launch import TrainRequest, prepare
from ppo_tui.machine import bfloat16_instructions
from ppo_tui.protocol import Alarm, Level, RunResumed, RunStarted, RunState, Stop, UpdateFinished
from ppo_tui.training.checkpoint.resume import ResumePoint
from ppo_tui.training.controls import Inbox
from ppo_tui.training.device import Threads, choose_threads, resolve_precision
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
