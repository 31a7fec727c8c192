"""What the screen shows before the first update is over, and clocks that agree."""

from __future__ import annotations

from ppo_tui.expectations import MEAN_RETURN
from ppo_tui.protocol import (
    EpisodeFinished,
    InterimMetrics,
    RolloutProgress,
    RunFinished,
    RunState,
    StartProgress,
    StateChanged,
    UpdateFinished,
    UpdateProgress,
)
from ppo_tui.training import metrics
from ppo_tui.tui.view import MEAN_LENGTH
from ppo_tui.tui.widgets.header import Header
from ppo_tui.tui.widgets.tiles import Tiles
from tests.training.test_trainer import Recorder
from tests.tui.desk import desk
from tests.tui.fake import started
from tests.tui.test_view import view_of

TRAINING = StateChanged(state=RunState.TRAINING, elapsed=2.0, time=2.0)
ROLLOUT = RolloutProgress(step=512, update=1, t=64, length=128, fps=0.0, elapsed=6.0)
EPISODES = [
    EpisodeFinished(env=0, episode_return=3.0, length=20, step=80, elapsed=3.0),
    EpisodeFinished(env=1, episode_return=5.0, length=40, step=400, elapsed=5.0),
]


def test_returns_length_pace_and_time_left_come_from_the_rollout_under_way():
    view = view_of(started(), TRAINING, *EPISODES, ROLLOUT, InterimMetrics(metrics={"time/cpu_percent": 87.0}))
    assert (view.series[MEAN_RETURN].last, view.series[MEAN_LENGTH].last) == (4.0, 30.0)
    assert view.series["time/cpu_percent"].last == 87.0
    assert view.fps == 512 / 4.0
    assert view.eta == (view.total_steps - 512) / 128
    assert view.first_update_left == 512 / 128
    view.apply(UpdateProgress(update=1, epoch=1, epochs=4, minibatch=1, minibatches=4, elapsed=10.0))
    view.apply(UpdateProgress(update=1, epoch=1, epochs=4, minibatch=3, minibatches=4, elapsed=12.0))
    assert view.first_update_left == 13.0
    view.apply(UpdateFinished(update=1, step=1024, metrics={MEAN_RETURN: 4.5, "time/cpu_percent": 90.0}, elapsed=25.0))
    assert view.series[MEAN_RETURN].values.tolist() == [4.5], (
        "the update's own value takes the place of the provisional"
    )
    assert view.first_update_left is None


def test_updates_that_end_in_a_burst_do_not_make_the_pace():
    """Those of A3C do on a busy machine: a hundred in some milliseconds, then none for a while."""
    view = view_of(started(), TRAINING)
    paces = []
    for number in range(1, 601):
        seconds = 4.0 + 2.0 * ((number - 1) // 100) + 1e-4 * number  # a burst of 100 updates every two seconds
        view.apply(UpdateFinished(update=number, step=20 * number, metrics={}, elapsed=seconds))
        paces.append(view.fps)
    assert 0 < max(paces) < 2_100, "1,000 a second"
    assert min(paces[300:]) > 500


def test_a_record_alone_shows_the_first_minute_too():
    view = view_of(started(), TRAINING, *EPISODES)
    assert (view.series[MEAN_RETURN].last, view.step) == (4.0, 400)
    assert view.fps == 400 / 3.0


def test_a_stop_shows_the_steps_of_the_policy_that_is_left():
    view = view_of(started(), TRAINING, ROLLOUT)
    view.apply(RunFinished(state=RunState.STOPPED, exit_code=0, reason="", step=256, update=0, elapsed=7.0))
    assert view.step == 256


def test_a_run_that_another_process_takes_over_is_starting_and_not_stopped():
    stopped = RunFinished(state=RunState.STOPPED, exit_code=0, reason="", step=0, update=0, time=5.0)
    progress = StartProgress(doing="loading PyTorch", workers=2, ready=1, time=6.0)
    view = view_of(started(), TRAINING, stopped, progress)
    assert (view.state, view.finished) == (RunState.STARTING, None)
    view.apply(StateChanged(state=RunState.TRAINING, time=8.0))
    view.apply(progress)  # late: a transient event comes after the durable ones
    assert view.state is RunState.TRAINING


async def test_the_screen_of_the_first_minute_is_live_and_calm():
    async with desk(started()) as it:
        await it.say(StartProgress(doing="loading PyTorch", workers=4, ready=2, time=1.0))
        assert "STARTING · loading PyTorch … · starting 4 workers (2 ready)" in it.text(Header)
        await it.say(TRAINING, *EPISODES, ROLLOUT)
        assert "after the first update, its rollout takes about 10 s more" in it.text(Header)
        assert "128 steps/s" in it.text(Header)
        tiles = it.app.main.query_one(Tiles).tiles
        assert "4.00" in tiles[0].draw(*tiles[0].content_size).plain
        assert "no data yet" not in it.picture


async def test_the_clock_of_a_paused_run_stands_still_where_it_was_paused():
    async with desk(started(), TRAINING) as it:
        await it.pass_time(10.0)
        await it.say(StateChanged(state=RunState.PAUSED, elapsed=9.0, time=9.0))
        await it.pass_time(16.0)
        assert it.app.controller.elapsed == 9.0
        await it.say(StateChanged(state=RunState.TRAINING, elapsed=9.0, time=25.0))
        await it.pass_time(3.0)
        assert it.app.controller.elapsed == 12.0


def test_news_from_the_middle_of_a_rollout_change_no_bit(monkeypatch):
    from ppo_tui import Trainer, load_preset

    def run(seconds: float):
        monkeypatch.setattr(metrics, "INTERIM_SECONDS", seconds)
        small = ["rollout.steps=64", "rollout.num_envs=4", "run.total_steps=512", "ppo.epochs=1", "workers.count=2"]
        trainer = Trainer(load_preset("cartpole", overrides=small), sinks=[recorder := Recorder()])
        trainer.run().raise_if_failed()
        return recorder, trainer.policy.state_dict()

    often, weights = run(0.0)
    never, same = run(1e9)
    assert all((weights[name] == same[name]).all() for name in weights)
    assert [(e.env, e.step, e.length) for e in often.of(EpisodeFinished)] == [
        (e.env, e.step, e.length) for e in never.of(EpisodeFinished)
    ]
    events = often.events
    first = next(index for index, event in enumerate(events) if isinstance(event, EpisodeFinished))
    end = next(i for i, event in enumerate(events) if isinstance(event, RolloutProgress) and event.t == event.length)
    assert first < end, "during the rollout, not after it"
    assert any(event.metrics["time/cpu_percent"] is not None for event in often.of(InterimMetrics))
