"""Runs are grouped, aligned on their steps, and averaged as by rliable."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui import load_preset
from ppo_tui.commands.compare import print_comparison
from ppo_tui.comparison.curves import group_curve
from ppo_tui.comparison.export import figure_words
from ppo_tui.comparison.groups import Group, RunCurve, group_runs
from ppo_tui.runs import RunDirectory

RETURN = "rollout/ep_rew_mean"


def curve(name: str, steps: list[float], values: list[float], *overrides: str, preset: str = "cartpole") -> RunCurve:
    config = load_preset(preset, overrides=overrides)
    return RunCurve(name, preset, config, np.array(steps, float), np.array(values, float))


def save(path: Path, values: list[float | None], *, seed: int = 1, preset: str = "cartpole", set: str = "") -> None:
    """A run directory with these values at steps 100, 200, …"""
    overrides = [f"run.seed={seed}", *([set] if set else [])]
    run = RunDirectory.create(load_preset(preset, overrides=overrides), label=preset, path=path)
    lines = [{"time/total_timesteps": 100 * (n + 1), RETURN: value} for n, value in enumerate(values)]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.release()


def test_curves_meet_at_the_steps_that_all_runs_have_reached():
    group = Group("g", "CartPole-v1", ((curve("a", [0, 100], [0, 10]), curve("b", [50, 250], [20, 60])),))
    aligned = group_curve(group, points=3)
    assert aligned.steps.tolist() == [50, 75, 100]
    assert aligned.values.tolist() == [[5, 7.5, 10], [20, 25, 30]]
    assert aligned.estimates["mean"].value.tolist() == [12.5, 16.25, 20]
    assert (float(aligned.final["mean"].low), float(aligned.final["mean"].high)) == (10, 30)
    assert aligned.furthest == 250


def test_the_interquartile_mean_of_the_last_scores_leaves_out_the_extremes():
    runs = tuple(curve(f"r{n}", [0, 10], [0, score]) for n, score in enumerate([1, 2, 3, 400]))
    final = group_curve(Group("g", "CartPole-v1", (runs,))).final
    assert float(final["iqm"].value) == 2.5
    assert float(final["mean"].value) == 101.5


def test_runs_of_a_preset_are_repetitions_unless_their_settings_differ():
    runs = [
        curve("x", [1], [1], "run.seed=1"),
        curve("y", [1], [1], "run.seed=2", "workers.count=2", "run.checkpoint_seconds=9"),
        curve("z", [1], [1], "run.seed=1", "optim.learning_rate=1e-4"),
        curve("w", [1], [1], preset="acrobot"),
    ]
    groups = group_runs(runs, "preset")
    assert [group.label for group in groups] == ["cartpole", "cartpole (optim.learning_rate=0.0001)", "acrobot"]
    assert [run.name for run in groups[0].runs] == ["x", "y"]


def test_runs_can_be_grouped_by_name_and_by_environment():
    names = ["slow-1", "slow-2", "slow_s3", "fast-seed7", "fast-20260101-101010", "cp1"]
    runs = [curve(name, [1], [1], f"run.seed={n}") for n, name in enumerate(names)]
    assert [(g.label, len(g.runs)) for g in group_runs(runs, "name")] == [("slow", 3), ("fast", 2), ("cp1", 1)]
    other = curve("slow-9", [1], [1], preset="acrobot")
    assert len(group_runs([*runs, other], "name")) == 4, "scores of different environments are never averaged"
    changed = curve("m", [1], [1], "ppo.gamma=0.9")
    (group,) = group_runs([*runs, changed], "env")
    assert [len(stratum) for stratum in group.strata] == [6, 1], "each configuration is resampled from itself"


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(2, 30), st.floats(-10, 10)), min_size=1, max_size=5))
@settings(max_examples=40)
def test_straight_lines_average_to_a_straight_line(lines):
    """Wherever the steps of the runs are, interpolation adds nothing."""
    runs = []
    for number, (stride, count, slope) in enumerate(lines):
        steps = np.arange(count) * float(stride)
        runs.append(curve(f"r{number}", steps.tolist(), (slope * steps).tolist()))
    aligned = group_curve(Group("g", "CartPole-v1", (tuple(runs),)), points=7)
    slope = np.mean([slope for _, _, slope in lines])
    assert aligned.steps[-1] == min(run.steps[-1] for run in runs)
    assert aligned.estimates["mean"].value == pytest.approx(slope * aligned.steps, abs=1e-6)


# ── The command ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def three_runs(tmp_path):
    save(tmp_path / "runs" / "a-1", [None, 10, 20, 30], seed=1)
    save(tmp_path / "runs" / "a-2", [0, 20, 40, 60, 80], seed=2)
    save(tmp_path / "runs" / "b-1", [1, 1, 1], set="ppo.gamma=0.9")


def test_a_table_a_csv_and_a_figure(ppo_tui, tmp_path, three_runs):
    done = ppo_tui("compare", "a-1", "a-2", "b-1", "a-1", "--csv", "out.csv", "--plot", "out.svg")
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith(" A "))
    assert re.split(r"\s{2,}", row.strip()) == [
        "A", "cartpole", "2", "400", "45.00", "[30.00, 60.00]", "45.00", "[30.00, 60.00]", "30.00", "60.00",
    ]  # fmt: skip
    assert "cartpole (ppo.gamma=0.9)" in done.stdout
    assert "end between steps 400 and 500" in done.stdout
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    first, last = rows[0], [row for row in rows if row["group"] == "cartpole"][-1]
    assert (first["step"], first["mean"], first["runs"]) == ("200", "15", "2")
    assert (last["step"], last["mean"], last["mean_low"], last["iqm_high"]) == ("400", "45", "30", "60")
    assert rows[-1]["mean_low"] == "", "one run has no interval"
    assert "<svg" in (tmp_path / "out.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a-9"], ["no run 'a-9'", "did you mean 'a-"]),
        (["a-1", "--metric", "rollout/ep_rew"], ["--metric 'rollout/ep_rew'", "did you mean 'rollout/ep_rew_mean'"]),
        (["a-1", "--by", "presets"], ["--by 'presets'", "did you mean 'preset'"]),
        (["a-1", "--statistic", "median"], ["--statistic 'median'", "did you mean 'mean'"]),
        (["a-1", "--plot", "out.gif"], ["out.gif", ".png, .svg"]),
        (["a-1", "--csv", "nowhere/out.csv"], ["nowhere/out.csv", "there is no directory"]),
    ],
    ids=lambda value: " ".join(value[:3]),
)
def test_bad_arguments(ppo_tui, three_runs, arguments, words):
    done = ppo_tui("compare", *arguments)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_run_without_the_metric_yet_is_named(ppo_tui, tmp_path):
    save(tmp_path / "runs" / "young", [None, None])
    done = ppo_tui("compare", "young")
    assert done.returncode == 2
    assert "young has no value of rollout/ep_rew_mean yet" in done.stderr


def test_different_environments_and_single_runs_get_a_word(capsys):
    one, other = (
        group_curve(Group(name, env, ((curve(name, [0, 9], [0, 1]),),)))
        for name, env in (("a", "CartPole-v1"), ("b", "Pendulum-v1"))
    )
    print_comparison([one, other], metric=RETURN, statistic="mean")
    note = "CartPole-v1, Pendulum-v1: scores of different environments differ in scale"
    assert note in capsys.readouterr().out
    print_comparison([one], metric=RETURN, statistic="mean")
    assert note not in capsys.readouterr().out
    assert figure_words([one, other], "mean") == "single runs"
    pair = group_curve(Group("c", "CartPole-v1", ((curve("c", [0, 9], [0, 1]), curve("d", [0, 9], [0, 2])),)))
    assert figure_words([one, pair], "iqm") == "iqm, 95 % interval"
