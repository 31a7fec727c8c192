"""A run beside its reference: milestones reached, and the time to the next."""

from __future__ import annotations

import io
import shutil

import msgspec
import pytest
from rich.console import Console

from ppo_tui import Trainer, load_preset
from ppo_tui.config import build_config, to_tables
from ppo_tui.expectations import Reference, Standing, curve_path, format_curve
from ppo_tui.launch import TrainRequest, prepare
from ppo_tui.plotting.formats import about
from ppo_tui.protocol import (
    Alarm,
    EpisodeFinished,
    Event,
    Level,
    Rewound,
    RolloutProgress,
    RunResumed,
    SettingChanged,
    UpdateFinished,
    decode_event,
    encode,
)
from ppo_tui.sinks.console import PlainConsole, ProgressConsole
from ppo_tui.training.inbox import Inbox
from ppo_tui.training.milestones import MilestoneNews, find_reference
from tests.references import breakout_reference, with_reference
from tests.tui.fake import started

REFERENCE = breakout_reference()


def start(reference: Reference = REFERENCE) -> Event:
    (event,) = with_reference([started()], reference)
    return decode_event(encode(event))


def update(number: int, score: float | None) -> UpdateFinished:
    return UpdateFinished(update=number, step=number * 100_000, metrics={"rollout/ep_rew_mean": score}, elapsed=60.0)


def edit(number: int, old: float, new: float) -> SettingChanged:
    return SettingChanged(key="ppo.gamma", old=old, new=new, by="user", step=0, update=number)


def folded(*events: Event) -> Standing:
    standing = Standing()
    for event in events:
        standing.apply(event)
    return standing


def test_a_run_at_the_pace_of_the_reference_gets_its_time():
    step = REFERENCE.steps[20]
    standing = folded(
        start(), UpdateFinished(update=1, step=int(step), metrics={"rollout/ep_rew_mean": REFERENCE.mean[20]})
    )
    assert [milestone for milestone, _ in standing.reached] == [10, 30]
    forecast = standing.forecast(500.0)
    assert forecast is not None
    assert forecast.milestone == 100
    assert forecast.seconds == pytest.approx((REFERENCE.reached(100) - step) / 500, rel=1e-3)


def test_nothing_is_said_without_a_reference_a_score_or_a_speed_nor_beyond_the_last_milestone():
    assert folded(started(), update(1, 5.0)).forecast(500.0) is None
    assert folded(start()).forecast(500.0) is None
    assert folded(start(), update(1, None)).forecast(500.0) is None
    assert folded(start(), update(1, 5.0)).forecast(0.0) is None
    assert folded(start(), update(1, 5.0)).forecast(float("nan")) is None
    done = folded(start(), update(1, 405.0))
    assert done.forecast(500.0) is None
    assert not done.expects
    # The milestone lies ahead, but the reference never came so far.
    beyond = msgspec.structs.replace(REFERENCE, milestones=(10.0, 900.0))
    assert folded(start(beyond), update(1, 300.0)).forecast(500.0) is None


def test_other_settings_give_no_time_until_they_are_undone():
    assert folded(start(msgspec.structs.replace(REFERENCE, same=False)), update(1, 5.0)).forecast(500.0) is None
    edited = folded(start(), update(1, 5.0), edit(1, 0.99, 0.9))
    assert edited.forecast(500.0) is None
    assert edited.label == "breakout as shipped"
    edited.apply(edit(2, 0.9, 0.99))
    assert edited.forecast(500.0) is not None
    assert edited.label == "breakout"
    edited.apply(edit(3, 0.99, 0.9))
    edited.apply(Rewound(path="", step=200_000, update=2))
    edited.apply(update(3, 5.0))
    assert edited.forecast(500.0) is not None


def test_a_return_that_falls_gets_no_time_until_it_is_back():
    standing = folded(start(), *games(100), update(3, 26.0))
    assert standing.forecast(500.0) is not None
    standing.apply(update(4, 22.0))  # an ordinary dip
    assert standing.forecast(500.0) is not None
    standing.apply(update(5, 13.0))
    assert standing.forecast(500.0) is None
    standing.apply(update(6, 25.0))
    assert standing.forecast(500.0) is not None


def test_a_run_far_behind_the_slowest_measured_one_gets_no_time():
    early, score = REFERENCE.steps[9], REFERENCE.low[20]  # the slowest run has this score at the 21st step
    on_time, slow, lost = REFERENCE.steps[20], 1.9 * REFERENCE.steps[20], 2.1 * REFERENCE.steps[20]
    for step, said in ((early, True), (on_time, True), (slow, True), (lost, False)):
        standing = folded(start(), UpdateFinished(update=1, step=int(step), metrics={"rollout/ep_rew_mean": score}))
        assert (standing.forecast(500.0) is not None) is said, step
    chance = UpdateFinished(update=1, step=900_000, metrics={"rollout/ep_rew_mean": 5.0})
    assert folded(start(), chance).forecast(500.0) is not None  # the first tenth is too early to tell


def test_a_rewind_takes_milestones_back():
    standing = folded(start(), update(1, 12.0), update(2, 40.0), update(3, 3.0))
    assert standing.reached == [(10.0, 100_000), (30.0, 200_000)]  # a drop takes nothing back
    standing.apply(Rewound(path="", step=150_000, update=1))
    assert standing.reached == [(10.0, 100_000)]


# ── The threshold ───────────────────────────────────────────────────────────────────────────────────────────


def begun(threshold: float | None, reference: Reference = REFERENCE) -> Event:
    return decode_event(encode(msgspec.structs.replace(start(reference), reward_threshold=threshold)))


def games(count: int, step: int = 0) -> list[Event]:
    return [EpisodeFinished(env=0, episode_return=1.0, length=9, step=step) for _ in range(count)]


def test_a_run_has_solved_its_environment_by_a_hundred_games_and_not_by_luck():
    lucky = folded(begun(0.7), *games(99), update(1, 1.0))
    assert lucky.threshold == 0.7
    assert lucky.solved is lucky.best is None
    for event in (*games(1), update(2, 0.6), update(3, 0.71), update(4, 0.9), update(5, 0.2)):
        lucky.apply(event)
    assert lucky.solved == 300_000
    assert lucky.best == (0.9, 400_000)
    lucky.apply(Rewound(path="", step=200_000, update=2))
    assert lucky.solved is None
    assert lucky.best == (0.6, 200_000)


def test_games_of_an_abandoned_branch_count_no_more():
    standing = folded(begun(0.7), *games(60, 100), *games(60, 300_000), Rewound(path="", step=200_000, update=2))
    for event in (*games(39, 250_000), update(3, 1.0)):
        standing.apply(event)
    assert standing.solved is None


def test_the_time_to_the_threshold_is_that_of_the_reference():
    standing = folded(begun(30.0), update(1, 12.0))
    forecast = standing.solving(500.0)
    assert forecast is not None
    assert forecast == standing.forecast(500.0)  # 30 is the next milestone too
    assert folded(begun(None), update(1, 12.0)).solving(500.0) is None
    assert folded(begun(30.0), *games(100), update(1, 31.0)).solving(500.0) is None
    other = msgspec.structs.replace(REFERENCE, same=False)
    assert folded(begun(30.0, other), update(1, 12.0)).solving(500.0) is None


def test_a_record_without_a_threshold_is_still_read():
    line = msgspec.json.decode(encode(started()))
    del line["reward_threshold"]
    assert folded(decode_event(msgspec.json.encode(line))).threshold is None


# ── News ────────────────────────────────────────────────────────────────────────────────────────────────────


def news(*events: Event, past: dict[str, float | None] | None = None) -> list[str]:
    published: list[Event] = []
    sink = MilestoneNews(published.append, past)
    for event in events:
        sink.emit(event)
    assert all(isinstance(event, Alarm) and event.level is Level.INFO for event in published)
    return [event.message for event in published if isinstance(event, Alarm)]


def test_a_milestone_is_news_once_and_the_highest_of_several():
    (first, second) = news(start(), update(1, 12.0), update(2, 11.0), update(3, 150.0))
    assert first.startswith("reached 10 at 100K steps, 60 s; reference ")
    assert second.startswith("reached 100 at 300K steps")
    (other,) = news(start(msgspec.structs.replace(REFERENCE, same=False)), update(1, 12.0))
    assert "reference (breakout as shipped) " in other


def test_a_resumed_run_repeats_no_news():
    resumed = RunResumed(path="", step=400_000, update=4)
    (line,) = news(start(), resumed, update(5, 31.0), update(6, 120.0), past={"rollout/ep_rew_mean": 35.0})
    assert line.startswith("reached 100 at 600K")


@pytest.fixture(scope="module")
def trained() -> list[Event]:
    """The events of a short run with a reference of low milestones."""

    class Recorder:
        def __init__(self) -> None:
            self.events: list[Event] = []

        def emit(self, event: Event) -> None:
            self.events.append(event)

    recorder = Recorder()
    low = msgspec.structs.replace(REFERENCE, preset="cartpole", milestones=(5.0, 1e6))
    config = load_preset("cartpole", overrides=["run.total_steps=512", "ppo.epochs=1"])
    Trainer(config, sinks=[recorder], reference=low).run()
    return recorder.events


def test_a_trainer_tells_its_reference_first_and_news_after_the_update(trained):
    first = decode_event(encode(trained[0]))
    assert folded(first).reference == msgspec.structs.replace(REFERENCE, preset="cartpole", milestones=(5.0, 1e6))
    kinds = [type(event) for event in trained if isinstance(event, UpdateFinished | Alarm)]
    assert kinds == [UpdateFinished, Alarm, UpdateFinished]


# ── Headless lines ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reference", [REFERENCE, None], ids=["with", "without"])
def test_lines_end_with_the_next_milestone(reference):
    begin = started() if reference is None else start(reference)
    progress = RolloutProgress(step=100_000, update=1, t=1, length=1, fps=500.0)
    for make, width in ((PlainConsole, 80), (ProgressConsole, 140)):
        stream = io.StringIO()
        sink = make(Console(file=stream, force_terminal=make is ProgressConsole, width=width, color_system=None))
        for event in (begin, progress, update(1, 5.0)):
            sink.emit(event)
        sink.close()
        assert (" 10 in about " in stream.getvalue()) == (reference is not None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "10 s"), (10, "10 s"), (11, "20 s"), (90, "90 s"), (91, "2 min"), (5400, "90 min"), (5401, "2 h"),
     (129_600, "36 h"), (129_601, "2 d"), (None, "–"), (float("inf"), "–")],
)  # fmt: skip
def test_a_guess_has_one_unit(seconds, text):
    assert about(seconds) == text


# ── Which runs have one ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("overrides", "same"),
    [
        ([], True),
        (["run.seed=9", "workers.count=1", "run.device=cpu", "run.diagnostics=false"], True),
        (["optim.learning_rate=1e-4"], False),
        (["run.total_steps=50000"], False),  # what is annealed ends sooner
        (["rollout.num_envs=4"], False),
        (["env.id=Acrobot-v1"], None),
        (["env.kwargs.sutton_barto_reward=true"], None),
    ],
)
def test_a_run_has_the_reference_of_its_preset_and_environment(overrides, same):
    reference = find_reference("cartpole", load_preset("cartpole", overrides=overrides))
    assert (reference.same if reference else None) == same
    config = build_config(to_tables(load_preset("cartpole")))
    assert find_reference("mine", config) is None
    assert find_reference("../presets/cartpole", config) is None


def test_a_damaged_curve_is_said_and_ignored(tmp_path, monkeypatch):
    shutil.copytree(curve_path("x").parents[1], tmp_path / "presets")
    damaged = tmp_path / "presets" / "curves" / "cartpole.csv"
    damaged.write_text(format_curve(REFERENCE).replace("# seeds: 3", "# seeds: many"))
    monkeypatch.setattr("ppo_tui.expectations.curves.presets_dir", lambda: tmp_path / "presets")
    config = load_preset("cartpole", overrides=["run.total_steps=256", "ppo.epochs=1"])
    prepared = prepare(TrainRequest(config, label="cartpole", run_dir=tmp_path / "run"))
    try:
        assert prepared.trainer([], Inbox()).run().exit_code == 0
    finally:
        prepared.close()
    assert "WARNING: the run has no reference" in (tmp_path / "run" / "run.log").read_text()
    assert "seeds: 'many' is not a number" in (tmp_path / "run" / "run.log").read_text()
