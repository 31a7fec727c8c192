"""What `ppo-tui bench` measures and suggests."""

from __future__ import annotations

import json

import pytest

from ppo_tui.commands.bench import print_report
from ppo_tui.config import load_preset
from ppo_tui.training.bench import BenchReport, Measurement, Variant, variants


def test_the_first_is_the_configurations_own_and_each_is_tried_once():
    config = load_preset("breakout")
    found = variants(config, cores=2)
    assert found[0] == Variant(workers=2, groups=2)
    assert len(set(found)) == len(found)
    assert all(each.groups <= each.workers <= config.rollout.num_envs for each in found)
    assert Variant(workers=1, groups=1) in found
    assert Variant(workers=2, groups=2, overlap=True) in found
    fixed = load_preset("breakout", overrides=["workers.count=3", "run.overlap=true"])
    assert variants(fixed, cores=2)[0] == Variant(workers=3, groups=2, overlap=True)
    assert Variant(workers=3, groups=2) in variants(fixed, cores=2)


def test_the_workers_of_a3c_are_its_environments():
    assert len(variants(load_preset("a3c-cartpole"), cores=2)) == 1


def report(*speeds: tuple[float, Variant]) -> BenchReport:
    measurements = tuple(
        Measurement(
            variant=variant,
            steps_per_second=speed,
            seconds={"wait": 0.1, "infer": 0.2, "copy": 0.0, "learn": 0.7, "other": 0.0},
            emulate_seconds=0.3,
        )
        for speed, variant in speeds
    )
    return BenchReport(env="x", device="cpu", cores=2, cpu="x", versions={"torch": "x"}, measurements=measurements)


OWN, OTHER = Variant(workers=1, groups=1), Variant(workers=2, groups=1)


def test_a_layout_is_suggested_only_where_it_is_clearly_faster():
    assert report((100, OWN), (120, OTHER)).suggestion == "--set workers.count=2 was 20% faster here"
    found = report((100, OWN), (103, OTHER))
    assert found.suggestion.startswith("no layout was clearly faster; most time (70%) goes into: learning")
    assert found.tradeoff is None


def test_what_changes_the_learning_is_told_apart_with_its_price():
    rounded = Variant(workers=1, groups=1, precision="bf16")
    found = report((100, OWN), (150, rounded), (120, OTHER))
    assert found.suggestion == "--set workers.count=2 was 20% faster here"
    assert found.tradeoff == (
        "--set policy.precision=bf16 was 50% faster here, at the price of networks computed with three digits instead "
        "of seven"
    )
    stale = Variant(workers=1, groups=1, overlap=True)
    assert "--set run.overlap=true was 30% faster" in report((100, OWN), (130, stale)).tradeoff
    assert report((100, OWN), (118, rounded), (120, OTHER)).tradeoff is None


@pytest.mark.slow
def test_the_command_measures_real_training(ppo_tui):
    done = ppo_tui("bench", "--preset", "cartpole", "--updates", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["env"] == "CartPole-v1"
    assert found["suggestion"]
    assert "tradeoff" in found
    for measurement in found["measurements"]:
        assert measurement["steps_per_second"] > 0
        assert measurement["seconds"].keys() == {"wait", "infer", "copy", "learn", "other"}
        assert min(measurement["seconds"].values()) >= 0
    table = ppo_tui("bench", "--preset", "cartpole", "--updates", "1")
    assert "steps/s" in table.stdout
    assert ppo_tui("bench", "--preset", "cartpol").returncode == 2


def test_a_report_of_eighty_columns_has_every_figure_whole(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    print_report(report((12345, Variant(workers=16, groups=2)), (511, OTHER)), as_json=False)
    printed = capsys.readouterr().out
    assert "…" not in printed
    header = next(line for line in printed.splitlines() if "steps/s" in line)
    assert header.split()[4:] == ["steps/s", "wait", "infer", "copy", "learn", "other", "emulate"]
    assert ["16", "2", "float32", "no", "12,345"] in [line.split()[:5] for line in printed.splitlines()]
