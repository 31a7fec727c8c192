"""The view of a run, folded from events."""

from __future__ import annotations

import math

import pytest

from ppo_tui.config import SCHEDULED
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    EpisodeFinished,
    Evaluated,
    Event,
    Level,
    Rewound,
    RolloutProgress,
    RunFinished,
    RunState,
    SettingChanged,
    StateChanged,
    UpdateFinished,
    UpdateProgress,
    decode_event,
    encode,
)
from ppo_tui.tui.log_entries import Kind
from ppo_tui.tui.view import EPISODE_RETURNS, RunView
from ppo_tui.tui.widgets.events import event_line
from tests.tui.fake import BATCH, TOTAL, recorded, started


def view_of(*events: Event) -> RunView:
    view = RunView()
    for event in events:
        view.apply(event)
    return view


def update(number: int, elapsed: float, **metrics: float | None) -> UpdateFinished:
    return UpdateFinished(update=number, step=number * BATCH, metrics=metrics, elapsed=elapsed)


def test_a_recorded_run_reads_the_same_from_its_file():
    live, replayed = RunView(), RunView()
    for event in recorded(50):
        live.apply(event)
        replayed.apply(decode_event(encode(event)))
    assert replayed.step == live.step > 50 * BATCH
    assert replayed.settings == live.settings
    assert list(replayed.log) == list(live.log)
    assert replayed.series["train/approx_kl"].values.tolist() == live.series["train/approx_kl"].values.tolist()


def test_progress_and_time_left_follow_the_pace_of_recent_updates():
    view = view_of(started(), *(update(n, 2.0 * n) for n in range(1, 11)))
    assert view.fps == pytest.approx(BATCH / 2)
    assert view.eta == pytest.approx((TOTAL - 10 * BATCH) / (BATCH / 2))


def test_a_pause_does_not_slow_the_pace():
    view = view_of(
        started(),
        update(1, 2.0),
        StateChanged(state=RunState.PAUSED, elapsed=3.0),
        StateChanged(state=RunState.TRAINING, elapsed=1003.0),
        update(2, 1004.0),
    )
    assert view.fps == pytest.approx(BATCH / 2)


def test_before_two_updates_the_pace_is_what_the_engine_says():
    assert view_of(started()).eta is None
    view = view_of(started(), RolloutProgress(step=8, update=1, t=1, length=128, fps=500.0))
    assert view.fps == 500.0


def test_progress_that_comes_late_changes_nothing():
    progress = UpdateProgress(update=2, epoch=1, epochs=4, minibatch=1, minibatches=4)
    rollout = RolloutProgress(step=2 * BATCH - 8, update=2, t=127, length=128, fps=1.0)
    view = view_of(started(), update(2, 4.0), rollout, progress)
    assert view.step == 2 * BATCH
    assert view.rollout is None
    assert view.learning is None


def test_the_last_minibatch_may_come_after_the_end_of_its_update():
    parts = [UpdateProgress(update=1, epoch=epoch, epochs=20, minibatch=4, minibatches=4) for epoch in (15, 20)]
    view = view_of(started(), parts[0], update(1, 1.0), parts[1])
    assert view.learning is parts[1], "not 15 of 20, until the next rollout or for good"


def test_a_new_rollout_clears_the_bar_of_the_last_update():
    view = view_of(
        started(),
        UpdateProgress(update=1, epoch=4, epochs=4, minibatch=4, minibatches=4),
        update(1, 1.0),
        RolloutProgress(step=BATCH + 8, update=2, t=1, length=128, fps=1.0),
    )
    assert view.learning is None


def test_a_rollout_that_is_collected_meanwhile_leaves_the_bar_of_the_update():
    learning = UpdateProgress(update=1, epoch=2, epochs=4, minibatch=1, minibatches=4)
    rollout = RolloutProgress(step=BATCH + 8, update=2, t=1, length=128, fps=1.0)
    view = view_of(started(), learning, rollout)
    assert (view.learning, view.rollout) == (learning, rollout)


def test_missing_metrics_are_gaps():
    view = view_of(started(), update(1, 1.0, **{"rollout/ep_rew_mean": None}), update(2, 2.0))
    assert math.isnan(view.series["rollout/ep_rew_mean"].last)


def test_settings_show_what_is_in_force():
    view = view_of(started())
    assert view.settings["optim.learning_rate"] == 2.5e-4
    view.apply(update(1, 1.0, **{"train/learning_rate": 2e-4}))
    assert view.settings["optim.learning_rate"] == 2e-4
    view.apply(SettingChanged(key="ppo.gamma", old=0.99, new=0.995, by="ctl", step=1, update=1))
    assert view.settings["ppo.gamma"] == 0.995
    assert view.log[-1].text == "gamma 0.99 → 0.995 (by ctl)"


def test_a_streak_of_best_episodes_is_one_line():
    episodes = [EpisodeFinished(env=0, episode_return=r, length=9, step=9) for r in (1.0, 5.0, 3.0, 8.0)]
    view = view_of(started(), *episodes)
    assert [entry.text for entry in view.log] == ["best episode 8.00, env 0"]
    assert view.episodes == 4
    assert view.series[EPISODE_RETURNS].values.tolist() == [1.0, 5.0, 3.0, 8.0]


def test_the_log_forgets_the_oldest_first():
    view = view_of(*(Alarm(level=Level.WARNING, message=f"alarm {n}") for n in range(1500)))
    assert len(view.log) == 1000
    assert view.log[-1].text == "alarm 1499"


def test_the_end_stands():
    end = RunFinished(state=RunState.FAILED, exit_code=3, reason="worker 2 died", step=99, update=1, details="trace")
    view = view_of(started(), end)
    assert view.finished is end
    assert view.state is RunState.FAILED
    assert view.log[-1].kind is Kind.ERROR
    assert view.eta is None


def test_an_evaluation_is_a_point_of_its_own_curve_and_a_line_of_the_log():
    saved = CheckpointSaved(path="p", step=BATCH, update=1, reason="evaluation", seconds=0.1)
    metrics = {"eval/ep_rew_mean": 471.5, "eval/episodes": 20}
    view = view_of(
        started(),
        saved,
        update(2, 2.0),
        Evaluated(path="p", step=BATCH, update=1, metrics=metrics, best=True, seconds=3.0),
    )
    series = view.series["eval/ep_rew_mean"]
    assert (series.steps.tolist(), series.values.tolist()) == ([BATCH], [471.5])
    assert view.checkpoints[-1].evaluated == 471.5
    assert (view.log[-1].kind, view.log[-1].text) == (
        Kind.EVALUATION,
        f"evaluated step {BATCH:,}: return 471.50 over 20 episodes, the best so far",
    )
    view.apply(Rewound(path="q", step=BATCH - 1, update=0))
    assert not len(series), "what was evaluated is abandoned with its branch"


def test_edits_and_checkpoints_mark_the_curves():
    view = view_of(
        started(),
        CheckpointSaved(path="p", step=BATCH, update=1, reason="manual", seconds=0.1),
        SettingChanged(key="ppo.gamma", old=0.99, new=0.995, by="user", step=BATCH, update=1),
    )
    assert [(mark.step, mark.text) for mark in view.marks] == [
        (BATCH, "checkpoint (manual)"),
        (BATCH, "gamma 0.99 → 0.995"),
    ]


def test_a_rewind_goes_back_on_every_curve():
    episodes = EpisodeFinished(env=0, episode_return=7.0, length=9, step=3 * BATCH - 5)
    view = view_of(started(), *(update(n, 2.0 * n, loss=float(n)) for n in (1, 2, 3)), episodes)
    view.apply(Rewound(path="p", step=BATCH, update=1))
    assert (view.step, view.update) == (BATCH, 1)
    assert view.series["loss"].values.tolist() == [1.0]
    assert [values.tolist() for _, values in view.series["loss"].branches] == [[1.0, 2.0, 3.0]]
    assert len(view.series[EPISODE_RETURNS]) == 0
    assert view.marks[-1].text == "rewound from 3,072"
    view.apply(update(2, 9.0, loss=20.0))
    assert view.series["loss"].values.tolist() == [1.0, 20.0]
    assert view.step == 2 * BATCH


def test_events_of_a_newer_protocol_are_let_pass():
    class Unheard(Event, frozen=True, tag="unheard"):
        pass

    assert view_of(started(), Unheard(elapsed=7.0)).elapsed == 7.0


def test_a_setting_of_no_known_value_has_no_course():
    """Before the run begins, or in the record of a version without it."""
    assert [RunView().course(key) for key in SCHEDULED] == [None] * len(SCHEDULED)


def test_the_runs_own_checkpoints_take_one_line_each_and_a_rewind_has_its_own_sign():
    def saved(step: int, reason: str) -> CheckpointSaved:
        return CheckpointSaved(path=f"{step}-{reason}", step=step, update=1, reason=reason, seconds=0.1)

    alarm = Alarm(level=Level.WARNING, message="dead units")
    reasons = ["best", "periodic", "manual", "best", "manual", "periodic", "best"]
    view = view_of(started(), alarm, *(saved(100 * n, reason) for n, reason in enumerate(reasons, start=1)))
    lines = [entry.text for entry in view.log]
    assert lines[0] == "dead units"
    assert [text.partition("(")[2][:4] for text in lines[1:]] == ["manu", "manu", "peri", "best"]
    assert "700" in lines[-1]
    assert len(view.checkpoints) == 7, "all of them are in the list"
    view.apply(Rewound(path="q", step=1, update=0))
    assert view.log[-1].kind is Kind.REWIND
    assert event_line(view.log[-1]).plain.split()[1] == "↶"
