"""The wording of events: in full for a log, briefly for the screen."""

from __future__ import annotations

import msgspec
import pytest

from ppo_tui.plotting.formats import NOTHING
from ppo_tui.protocol import (
    Alarm,
    Cause,
    CheckpointSaved,
    CommandRefused,
    Course,
    EpisodeFinished,
    Evaluated,
    Level,
    Rewound,
    RunFinished,
    RunResumed,
    RunState,
    SettingChanged,
    StateChanged,
    UpdateFinished,
    WeightsTaken,
)
from ppo_tui.sinks import describe, describe_next

EDIT = SettingChanged(key="ppo.clip_range", old=0.1, new=0.2, by="user", step=512, update=2)
METRICS = {"eval/ep_rew_mean": 487.25, "eval/ep_rew_low": 471.1, "eval/ep_rew_high": 499.0, "eval/episodes": 20}
RESUMED = RunResumed(path="p", step=2048, update=2)
PARTLY = RunResumed(path="p", step=2048, update=2, exact=False, restarted_envs=(0, 1), differences=("torch 2.9",))


TAKEN = WeightsTaken(source="pong-1", checkpoint="best", path="p", step=1_234_567, sha256="0", taken=5, anew=0)
PARTLY_TAKEN = msgspec.structs.replace(TAKEN, anew=3, misfits=("policy_head (6 there)", "a (b)"), unused=("log_std",))


@pytest.mark.parametrize(
    ("event", "full", "brief"),
    [
        (TAKEN, *["weights from pong-1, best, step 1.23M: 5 layers and statistics taken"] * 2),
        (
            PARTLY_TAKEN,
            *[
                "weights from pong-1, best, step 1.23M: 5 layers and statistics taken, 3 begin anew: "
                "policy_head (6 there), a (b), 1 more; not used: log_std"
            ]
            * 2,
        ),
        (StateChanged(state=RunState.PAUSED), "paused", "paused"),
        (StateChanged(state=RunState.SAVING, reason="why"), "saving: why", "saving: why"),
        (EDIT, "ppo.clip_range 0.1 → 0.2 (by user) at step 512", "clip range 0.1 → 0.2"),
        (
            msgspec.structs.replace(EDIT, course=Course(kind="cosine", final=0.05, end=100_000)),
            "ppo.clip_range 0.1 → 0.2, then cosine to 0.05 at step 100,000 (by user) at step 512",
            "clip range 0.1 → 0.2, then cosine to 0.05 at step 100,000",
        ),
        (
            SettingChanged(key="ppo.gamma", old=0.9, new=None, by="ctl", step=1024, update=2, cause=Cause.UNDO),
            "undo: ppo.gamma 0.9 → off (by ctl) at step 1,024",
            "undo: gamma 0.9 → off (by ctl)",
        ),
        (CommandRefused(message="no"), "refused: no", "refused: no"),
        (
            CheckpointSaved(path="p", step=2048, update=2, reason="manual", seconds=0.214),
            "checkpoint at step 2,048 (manual, 0.21s): p",
            "checkpoint 2,048 (manual)",
        ),
        (
            Evaluated(path="p", step=2048, update=2, metrics=METRICS, best=True, seconds=1.0),
            "evaluated step 2,048: return 487.25 [471.10, 499.00] over 20 episodes, the best so far",
            "evaluated step 2,048: return 487.25 [471.10, 499.00] over 20 episodes, the best so far",
        ),
        (
            Evaluated(
                path="p",
                step=2048,
                update=2,
                metrics={**METRICS, "eval/ep_rew_low": None, "eval/ep_rew_high": None, "eval/episodes": 1},
                best=False,
                seconds=1.0,
            ),
            "evaluated step 2,048: return 487.25 over 1 episode",
            "evaluated step 2,048: return 487.25 over 1 episode",
        ),
        (
            RESUMED,
            "resumed at step 2,048 (update 2) from p: bit for bit as if it had never stopped",
            "resumed at step 2,048: bit for bit as if it had never stopped",
        ),
        (
            PARTLY,
            "resumed at step 2,048 (update 2) from p; not bit for bit: torch 2.9; 2 environments begin new episodes",
            "resumed at step 2,048; not bit for bit: torch 2.9; 2 environments begin new episodes",
        ),
        (
            Rewound(path="p", step=2048, update=2),
            "back at step 2,048 (update 2): p",
            "back at step 2,048 (update 2)",
        ),
        (
            Alarm(level=Level.WARNING, message="slow", suggestion="set ppo.gamma 0.9"),
            "WARNING: slow; try: set ppo.gamma 0.9",
            "slow; try: set ppo.gamma 0.9",
        ),
        (
            RunFinished(state=RunState.STOPPED, exit_code=0, reason="by you", step=2048, update=2, elapsed=200.0),
            "stopped at step 2,048 after 3m 20s: by you",
            "stopped: by you",
        ),
        (EpisodeFinished(env=0, episode_return=1.0, length=1, step=1), None, None),
    ],
)
def test_every_event_has_one_wording(event, full, brief):
    assert (describe(event), describe(event, brief=True)) == (full, brief)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_metric_without_a_number_is_a_dash(missing):
    metrics = {"time/fps_update": 1.0, "train/explained_variance": missing, "train/value_loss": 0.5}
    words = describe(UpdateFinished(update=1, step=64, metrics=metrics))
    assert f"explained variance {NOTHING}" in words
    assert "value loss 0.5" in words


def test_the_end_of_a_run_names_what_comes_next():
    named = describe_next("pole", RunState.FINISHED, 9)
    assert named == "next: ppo-tui watch pole · ppo-tui eval pole · ppo-tui report pole"
    assert describe_next("a b", RunState.STOPPED, 9).startswith("next: ppo-tui resume 'a b' · ")
    assert describe_next("pole", RunState.FAILED, 9) == "next: ppo-tui resume pole · ppo-tui replay pole"
    assert describe_next("pole", RunState.STOPPED, 0) == "", "there is nothing to go back to"
