"""The benchmarks: ratios, equal work for all peers, and the driver."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.__main__ import measure_suite, require_peers
from benchmarks.arithmetic import LayerPass, layers_of
from benchmarks.cleanrl_style import CleanRLStyle
from benchmarks.effort import QUICK
from benchmarks.experiments import find_experiments
from benchmarks.gpu import parts
from benchmarks.reference_curves import STRETCH, course_lines, read_course, read_reference
from benchmarks.report import SuiteResult, as_json, shown, table
from benchmarks.results import read_scores, score, train
from benchmarks.results_table import BEGIN, END, Score, over_seeds, table_lines, write_results
from benchmarks.statistics import Summary, growth, paired_ratios
from benchmarks.suites import SUITES, Case, Suite, find_case, find_suites
from benchmarks.terminal import Terminal
from benchmarks.timing import update_rate
from benchmarks.work import breakout
from ppo_tui.errors import RunFailedError, UsageError
from ppo_tui.ppo import build_policy
from ppo_tui.ppo.gae import gae
from ppo_tui.protocol import EpisodeFinished, RunState, StateChanged, UpdateFinished, encode
from tests.conftest import ROOT

RATES = st.floats(min_value=1.0, max_value=1e5)


# ── Figures ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_summary_is_the_median_and_the_range():
    assert Summary.of([3.0, 1.0, 100.0]) == Summary(median=3.0, low=1.0, high=100.0)


@given(st.lists(st.tuples(RATES, st.floats(min_value=0.1, max_value=10)), min_size=1), RATES)
def test_what_slows_a_whole_round_down_leaves_its_ratio_alone(rounds: list[tuple[float, float]], ours: float):
    mine = [ours * slowness for _, slowness in rounds]
    peers = [peer * slowness for peer, slowness in rounds]
    assert paired_ratios(mine, peers) == pytest.approx([ours / peer for peer, _ in rounds])


def test_a_round_in_which_one_side_failed_has_no_ratio():
    assert paired_ratios([600.0, None, 620.0], [300.0, 310.0, None]) == [2.0]


def test_growth_compares_the_last_quarter_with_the_first():
    assert growth([100.0] * 60) == 0.0
    assert growth([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == pytest.approx(6.5 - 0.5)
    assert growth([100.0, 180.0, 100.0, 100.0, 100.0, 180.0, 100.0, 140.0]) == pytest.approx(-20.0)


def test_the_first_update_is_a_warm_up():
    assert update_rate([9.0, 11.0, 13.0], batch_size=1024) == 512.0


@pytest.mark.parametrize(("value", "text"), [(0.0643, "0.064"), (9.382, "9.382"), (22.61, "22.6"), (3934.2, "3,934")])
def test_figures_show_about_three_digits(value: float, text: str):
    assert shown(value) == text


# ── Results ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def result() -> SuiteResult:
    """Two contenders over three rounds, and a third, failed one.

    In the last round the machine was half as fast.
    """
    names = ("ours", "peer", "broken")
    result = SuiteResult(Suite("training", "Training", tuple(Case(name, "") for name in names), reference="ours"))
    for ours, peer in ((600.0, 300.0), (630.0, 300.0), (300.0, 150.0)):
        result.add("ours", {"steps_per_second": ours})
        result.add("peer", {"steps_per_second": peer, "terminal_bytes_per_second": 10.0})
        result.add_failure("broken", "exit code 1")
    return result


def test_ratios_are_medians_over_rounds(result: SuiteResult):
    assert result.ratio("peer") == Summary(median=2.0, low=2.0, high=2.1)
    assert result.ratio("ours") is None
    assert result.ratio("broken") is None


@pytest.mark.parametrize("markdown", [False, True])
def test_the_table_shows_median_range_ratio_and_failures(result: SuiteResult, markdown: bool):
    output = io.StringIO()
    Console(file=output, width=120).print(table(result, markdown=markdown))
    lines = {line.strip("| ").split()[0]: line for line in output.getvalue().splitlines() if line.strip("| ")}
    assert all(figure in lines["ours"] for figure in ("steps/second", "600", "300 to 630"))
    assert "2.00 (2.00 to 2.10)" in output.getvalue()
    assert "failed: exit code 1" in lines["broken"]
    assert output.getvalue().count("2.10") == 1, "only the rate has a ratio"


def test_the_json_holds_every_figure_of_every_round(result: SuiteResult):
    found = json.loads(json.dumps(as_json([result], {"cores": 2}, {"rounds": 3})))
    cases = found["suites"]["training"]["cases"]
    assert [once["steps_per_second"] for once in cases["ours"]["rounds"]] == [600.0, 630.0, 300.0]
    assert cases["peer"]["ratio"] == {"median": 2.0, "low": 2.0, "high": 2.1}
    assert cases["broken"] == {"rounds": [None] * 3, "summaries": {}, "ratio": None, "failure": "exit code 1"}


# ── Suites ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_case_has_a_name_of_its_own_and_a_module():
    cases = [case for suite in SUITES for case in suite.cases]
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert find_case(case.name) is case
        assert importlib.util.find_spec(case.function.partition(":")[0])


def test_every_reference_is_one_of_its_cases():
    for suite in SUITES:
        assert suite.reference is None or suite.reference in {case.name for case in suite.cases}


def test_suites_that_do_not_exist_are_refused_with_the_nearest():
    with pytest.raises(UsageError, match="unknown suite 'trainng'\n.*did you mean 'training'"):
        find_suites(["sampling", "trainng"])
    assert [suite.name for suite in find_suites(["startup", "training"])] == ["training", "startup"]


def test_a_peer_that_is_not_installed_is_named_before_anything_is_measured():
    suite = Suite("peers", "", (Case("ours", ""), Case("peer", "", needs="no-such-distribution")))
    with pytest.raises(UsageError, match=r"not installed: no-such-distribution\n.*make bench"):
        require_peers([suite])


# ── The plain learner ───────────────────────────────────────────────────────────────────────────────────────


class Flicker(gymnasium.vector.VectorEnv):
    """Random frames, rewards and ends, from a self-resetting image environment."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self._random = np.random.default_rng(0)

    def reset(self, **_) -> tuple[np.ndarray, dict]:
        return self._frames(), {}

    def step(self, actions: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        assert set(actions) <= set(range(4))
        rewards, ended = self._random.normal(size=self.num_envs), self._random.random(self.num_envs) < 0.2
        return self._frames(), rewards, ended, np.zeros(self.num_envs, dtype=bool), {}

    def _frames(self) -> np.ndarray:
        return self._random.integers(256, size=(self.num_envs, 4, 84, 84), dtype=np.uint8)


@pytest.fixture
def plain() -> CleanRLStyle:
    torch.manual_seed(0)
    config = breakout(num_updates=1, num_envs=3, overrides=("rollout.steps=16",))
    return CleanRLStyle(Flicker(3), config, num_actions=4)


def test_the_plain_learner_trains_a_network_as_large_as_ours(plain: CleanRLStyle):
    config = plain.config
    ours = build_policy(Box(0, 255, (84, 84), np.uint8), Discrete(4), config.policy, frame_stack=4)
    assert sum(p.numel() for p in plain.agent.parameters()) == sum(p.numel() for p in ours.parameters())


def test_the_plain_learner_estimates_the_advantages_that_ours_does(plain: CleanRLStyle):
    plain._collect()
    rollout = plain.rollout
    ended = torch.cat([rollout.dones[1:], plain.dones.unsqueeze(0)]).bool()
    with torch.no_grad():
        last_values = plain.agent(plain.observations)[1]
    expected, _ = gae(
        rollout.rewards, rollout.values, ended, torch.zeros_like(ended), last_values,
        torch.zeros_like(rollout.values), gamma=0.99, gae_lambda=0.95,
    )  # fmt: skip
    assert ended.any()
    assert torch.allclose(plain._advantages(), expected, atol=1e-5)


def test_the_plain_learner_gives_advantageous_actions_more_probability(plain: CleanRLStyle):
    plain._collect()
    rollout = plain.rollout
    advantages = torch.where(rollout.actions == 2, 1.0, -1.0)
    plain._learn(advantages, advantages + rollout.values)
    with torch.no_grad():
        distribution, _ = plain.agent(rollout.observations.flatten(0, 1))
    before, after = rollout.log_probs.flatten().exp(), distribution.log_prob(rollout.actions.flatten()).exp()
    chosen = rollout.actions.flatten() == 2
    assert after[chosen].mean() > before[chosen].mean()
    assert after[~chosen].mean() < before[~chosen].mean()


# ── The terminal ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_program_in_the_terminal_sees_120_by_40_cells_and_its_output_is_counted():
    program = "import os, sys; print(os.get_terminal_size(), sys.stdin.isatty()); sys.exit(int(input()))"
    with Terminal([sys.executable, "-c", program]) as terminal:
        terminal.read_until_text("columns=120, lines=40) True", timeout=30)
        terminal.type("3\n")
        assert terminal.read_to_end(timeout=30) == 3
        assert terminal.bytes_written >= len("os.terminal_size(columns=120, lines=40) True")


def test_a_program_that_leaves_too_early_is_reported_with_its_last_words():
    with (
        Terminal([sys.executable, "-c", "print('no such preset')"]) as terminal,
        pytest.raises(RunFailedError, match="no such preset"),
    ):
        terminal.read_until(lambda: False, timeout=30)


def test_the_operations_of_the_nature_cnn_are_those_of_its_shapes():
    """The operations of each layer for two images.

    Outputs × terms of each sum, twice (or thrice), as products and sums.
    """
    policy = build_policy(Box(0, 255, (84, 84), np.uint8), Discrete(4), breakout(num_updates=1).policy, frame_stack=4)
    met = layers_of(policy.actor_trunk, torch.zeros(2, 4, 84, 84, dtype=torch.uint8))
    counted = [LayerPass(layer, given, first=number == 0).operations for number, (layer, given) in enumerate(met)]
    assert counted == [
        2 * 2 * (20 * 20 * 32) * (8 * 8 * 4) * 2,
        2 * 3 * (9 * 9 * 64) * (4 * 4 * 32) * 2,
        2 * 3 * (7 * 7 * 64) * (3 * 3 * 64) * 2,
        2 * 3 * 512 * 3136 * 2,
    ]


# ── The driver ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_case_that_fails_leaves_the_others_their_turns():
    suite = Suite("help", "", (Case("no-such-case", ""), find_case("help")), reference=None)
    result = measure_suite(suite, rounds=2, effort=QUICK)
    assert result.rounds["no-such-case"] == [None, None]
    assert "exit code" in result.failures["no-such-case"]
    assert [set(once) for once in result.rounds["help"]] == [{"help_seconds"}] * 2


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_a_suite_that_does_not_exist_leaves_with_2_and_no_traceback():
    done = benchmarks("smapling")
    assert done.returncode == 2
    assert done.stderr == "benchmarks: unknown suite 'smapling'\n  did you mean 'sampling'?\n"


@pytest.mark.slow
def test_one_command_measures_prints_a_table_and_writes_json(tmp_path):
    results = tmp_path / "new" / "results.json"
    done = benchmarks("workers", "--rounds", "2", "--seconds", "0.5", "--markdown", "--json", str(results))
    assert done.returncode == 0, done.stderr
    assert "| ours-1-workers | steps/second |" in done.stdout
    turns = [line.rpartition(": ")[2] for line in done.stderr.splitlines() if "round" in line]
    assert turns == ["ours-1-workers", "ours-2-workers", "ours-4-workers"] * 2
    found = json.loads(results.read_text("utf-8"))
    assert found["machine"]["cores"] >= 1
    for case in found["suites"]["workers"]["cases"].values():
        assert len(case["rounds"]) == 2
        assert all(once["steps_per_second"] > 0 for once in case["rounds"])


# ── Results ─────────────────────────────────────────────────────────────────────────────────────────────────


def scored(preset: str, seed: int, returns: Sequence[float], actions: str = "greedy") -> Score:
    (experiment,) = find_experiments([preset])
    return Score(experiment, seed, actions, 1000, tuple(returns), tuple(1 for _ in returns))


def test_the_interval_of_a_score_is_that_of_the_seeds_and_not_of_their_games():
    alike = [scored("cartpole", seed, [0.0, 1000.0]) for seed in (1, 2, 3)]
    assert tuple(map(float, over_seeds(alike))) == (500, 500, 500), "however much the games of each differ"
    apart = [scored("cartpole", 1, [10.0, 10.0]), scored("cartpole", 2, [30.0, 30.0])]
    assert tuple(map(float, over_seeds(apart))) == (20, 10, 30)


def test_the_table_says_which_targets_are_reached_and_shows_sampled_actions_apart():
    scores = [
        scored("acrobot", 1, [-70.0, -90.0]),
        scored("acrobot", 2, [-80.0, -90.0]),
        scored("cartpole", 1, [500.0, 500.0]),
        scored("pong", 1, [-5.0, -7.0], "greedy"),
        scored("pong", 1, [3.0, 5.0], "sampled"),
    ]
    lines = {line.split(" | ")[0].strip("| `"): line for line in table_lines(scores)}
    assert "| −82.5 [−85.0, −80.0] | −80.0 · −85.0 | −80.0: missed |" in lines["acrobot"]
    assert "| 500.0 | 500.0 | 500.0: reached |" in lines["cartpole"], "one seed has no interval"
    pong = [line for line in table_lines(scores) if "`pong`" in line]
    assert ["| greedy | −6.0 |" in pong[0], "| sampled | 4.0 |" in pong[1]] == [True, True]


def test_the_course_of_a_training_stands_beside_that_of_the_reference(tmp_path):
    events = tmp_path / "events.jsonl"
    games = [(99_990, 1.0), (100_000, 2.0), (100_001, -7.0), (300_000, 9.0)]
    lines = [encode(EpisodeFinished(env=0, episode_return=number, length=5, step=step)) for step, number in games]
    lines.append(encode(UpdateFinished(update=9, step=290_000, metrics={})))
    lines.append(encode(StateChanged(state=RunState.FINISHED)))
    events.write_bytes(b"".join(line + b"\n" for line in lines) + lines[0][:20])
    course = read_course(events)
    assert course == {100_000: [1.0, 2.0], 200_000: [-7.0]}, "the third stretch is not over"
    reference = {100_000: (3, 1.25), 200_000: (4, -6.0), 400_000: (5, 8.0)}
    assert list(course_lines("pong", [course, {100_000: [6.0]}], reference))[2:] == [
        "| 100,000 | 3 | 3.00 | 3 | 1.25 |",
        "| 200,000 | 1 | −7.00 | 4 | −6.00 |",
    ]


def test_every_stretch_of_the_reference_is_one_of_ours():
    reference = read_reference(ROOT / "docs" / "results" / "reference.csv")
    assert set(reference) == {"breakout", "pong"}
    for stretches in reference.values():
        assert list(stretches) == [STRETCH * number for number in range(1, 11)]


def test_an_unknown_experiment_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="'acrobat'.*\n  did you mean 'acrobot'"):
        find_experiments(["acrobat"])


@pytest.mark.slow
def test_results_are_trained_scored_and_written_once(tmp_path, monkeypatch):
    short = dataclasses.replace(find_experiments(["cartpole"])[0], until=1_000)
    monkeypatch.setattr("benchmarks.experiments.EXPERIMENTS", (short,))
    docs, runs = tmp_path / "docs", tmp_path / "runs"
    docs.mkdir()
    (docs / "results.md").write_text(f"# Results\n\n{BEGIN}\n{END}\n\nThe end.\n", "utf-8")
    for seed in (1, 2):
        train(short, seed, runs)
        score(short, seed, runs, episodes=3)
    write_results(read_scores(runs), runs, docs)
    page = (docs / "results.md").read_text("utf-8")
    assert "| `cartpole` |" in page
    assert page.endswith(f"{END}\n\nThe end.\n")
    games = (docs / "results" / "games.csv").read_text().splitlines()
    assert len(games) == 1 + 2 * 3
    assert len((docs / "results" / "cartpole.csv").read_text().splitlines()) > 1

    files = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    train(short, 1, runs)
    score(short, 1, runs, episodes=3)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == files


# ── Ten minutes on a GPU ────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.sampled_from(["pong", "breakout", "cartpole"]), max_size=3, unique=True), st.floats(10, 3600))
def test_the_parts_on_a_gpu_take_the_whole_time_and_no_more(presets: list[str], total: float):
    found = parts(presets, total)
    assert sum(part.seconds for part in found) == pytest.approx(total)
    assert [part.name for part in found[:4]] == ["bench-plain", "bench-bf16", "bench-compile", "bench-overlap"]
    assert [part.preset for part in found[4:]] == presets
    assert [part.name for part in found if part.needs == "cuda"] == ["bench-compile"]
