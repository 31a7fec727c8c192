"""`--until`, from the command line to the end of the run and on."""

from __future__ import annotations

import json

import pytest

QUICK = ["--set", "ppo.epochs=1", "--set", "stop.window=5"]

pytestmark = pytest.mark.slow


def test_a_run_ends_by_its_rule_is_listed_so_and_goes_on_with_another_goal(ppo_tui, tmp_path):
    train = ["cartpole", "--headless", "--name", "it", "--total-steps", "4096", *QUICK, "--resume", "auto"]
    done = ppo_tui(*train, "--until", "5", "--until", "1h")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped by rule: return 5 reached (" in done.stdout.splitlines()[-1]
    facts = json.loads((tmp_path / "runs" / "it" / "run.json").read_text())
    assert (facts["status"], facts["exit_code"], facts["stopped_by"]) == ("finished", 0, "rule")
    assert facts["reason"].startswith("stopped by rule: return 5 reached")
    (listed,) = json.loads(ppo_tui("runs", "--json").stdout)
    assert (listed["state"], listed["by_rule"], listed["reason"]) == ("finished", True, facts["reason"])
    assert " rule " in ppo_tui("runs").stdout

    again = ppo_tui(*train, "--until", "5", "--until", "1h")
    assert (again.returncode, again.stdout) == (0, ""), "a script that repeats itself finds it done"
    refused = ppo_tui("resume", "it")
    assert refused.returncode == 2
    assert "the run has ended by its stop rule: return 5 reached (" in refused.stderr
    assert "--until off" in refused.stderr
    assert ppo_tui("resume", "it", "--until", "6").returncode == 0
    further = ppo_tui("resume", "it", "--until", "off")
    assert further.returncode == 0
    assert "4,096 steps done" in further.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--until", "soon"], "--until 'soon': expected a return such as 475"),
        (["--until", "475", "--until", "480"], "exclude each other"),
        (["--until", "eval/ep_rew_mean=475"], "there are no evaluations"),
        (["--until", "rollout/ep_rew_maen=475"], "did you mean 'rollout/ep_rew_mean'"),
    ],
)
def test_what_cannot_hold_is_refused_before_anything_starts(ppo_tui, tmp_path, arguments, message):
    done = ppo_tui("cartpole", "--headless", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_trial_that_is_good_ends_early_and_is_complete(ppo_tui, tmp_path):
    pytest.importorskip("optuna")
    sweep = ["sweep", "--preset", "cartpole", "--seeds", "1,2", "--until", "5", "--total-steps", "4096", *QUICK]
    done = ppo_tui(*sweep, "--processes", "1", "--json")
    assert done.returncode == 0, done.stderr
    (trial,) = json.loads(done.stdout)
    assert trial["state"] == "complete"
    for run in trial["runs"]:
        assert json.loads((tmp_path / run / "run.json").read_text())["stopped_by"] == "rule"
