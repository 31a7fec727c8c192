"""What `ppo-tui bench` measures and suggests."""

from __future__ import annotations

import json

import pytest

from ppo_tui.config import load_preset
from ppo_tui.training.bench import BenchReport, Layout, Measurement, layouts


def test_the_first_layout_is_the_configurations_own_and_each_is_tried_once():
    config = load_preset("breakout")
    found = layouts(config, cores=2)
    assert found[0] == Layout(workers=2, groups=2)
    assert len(set(found)) == len(found)
    assert all(layout.groups <= layout.workers <= config.rollout.num_envs for layout in found)
    assert Layout(workers=1, groups=1) in found
    fixed = load_preset("breakout", overrides=["workers.count=3"])
    assert layouts(fixed, cores=2)[0] == Layout(workers=3, groups=2)


def report(*speeds: float) -> BenchReport:
    measurements = tuple(
        Measurement(
            layout=Layout(workers=index + 1, groups=1),
            steps_per_second=speed,
            seconds={"wait": 0.1, "infer": 0.2, "copy": 0.0, "learn": 0.7, "other": 0.0},
            emulate_seconds=0.3,
        )
        for index, speed in enumerate(speeds)
    )
    return BenchReport(env="x", device="cpu", cores=2, cpu="x", versions={}, measurements=measurements)


def test_a_layout_is_suggested_only_where_it_is_clearly_faster():
    assert report(100, 120).suggestion == "--set workers.count=2 --set workers.groups=1 was 20% faster here"
    assert report(100, 103).suggestion.startswith("no layout was clearly faster; most time (70%) goes into: learning")


@pytest.mark.slow
def test_the_command_measures_real_training(ppo_tui):
    done = ppo_tui("bench", "--preset", "cartpole", "--updates", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["env"] == "CartPole-v1"
    assert found["suggestion"]
    for measurement in found["measurements"]:
        assert measurement["steps_per_second"] > 0
        assert measurement["seconds"].keys() == {"wait", "infer", "copy", "learn", "other"}
        assert min(measurement["seconds"].values()) >= 0
    table = ppo_tui("bench", "--preset", "cartpole", "--updates", "1")
    assert "steps/s" in table.stdout
    assert ppo_tui("bench", "--preset", "cartpol").returncode == 2
