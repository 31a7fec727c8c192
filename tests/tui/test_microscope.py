"""The microscope: an update in pictures and sentences, at every size, and what it asks the run for."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from textual.geometry import Size

from ppo_tui.config import load_preset
from ppo_tui.explanations import explain
from ppo_tui.plotting.braille import ASCII
from ppo_tui.plotting.samples import Bars, histogram_picture, scatter_picture
from ppo_tui.protocol import (
    WATCH_SECONDS,
    ClipCounts,
    Histogram,
    LayerReading,
    MinibatchColumns,
    Rewound,
    RunState,
    StateChanged,
    StepMinibatches,
    UpdateInspected,
    WatchUpdate,
    encode,
)
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.history import recorded_events, set_aside_after
from ppo_tui.sinks.event_log import MOST_INSPECTIONS, EventLog
from ppo_tui.tui import captions
from ppo_tui.tui.inspections import Inspections
from ppo_tui.tui.screen_options import Look
from ppo_tui.tui.screens.card import CardScreen
from ppo_tui.tui.screens.main import MainScreen
from ppo_tui.tui.screens.microscope import MicroscopeScreen, layout_for
from ppo_tui.tui.session import ReplaySession
from ppo_tui.tui.widgets.inspected import PANES
from tests.tui.desk import DONE, Desk, desk
from tests.tui.fake import recorded, started


def histogram(*counts: int, low=0.4, high=1.6) -> Histogram:
    return Histogram(low=low, high=high, counts=counts)


EVENT = UpdateInspected(
    update=31,
    epoch=2,
    epochs=4,
    minibatch=3,
    minibatches=4,
    done=False,
    surrogate="clip",
    clip_low=0.8,
    clip_high=1.2,
    ratio_up=histogram(0, 3, 40, 50, 5, 2),
    ratio_down=histogram(1, 4, 60, 30, 4, 1),
    clip=ClipCounts(steps=200, outside=12, risen=2, fallen=4, astray=6),
    advantages=histogram(1, 5, 9, 4, low=-2.0, high=2.0),
    advantage_mean=0.1,
    advantage_std=1.25,
    better=0.56,
    log_probs=histogram(2, 8, low=-3.0, high=-0.5),
    log_prob_mean=math.log(0.25),
    values=(1.0, 2.0, 3.0),
    returns=(1.5, 1.0, None),
    explained_variance=0.93,
    choices=((0.7, 0.2, 0.1),),
    action_names=("NOOP", "FIRE", "RIGHT"),
    layers=(LayerReading(name="trunk.0", grad_norm=0.5, dead=3, units=64), LayerReading(name="head", grad_norm=0.1)),
    columns=MinibatchColumns(
        epoch=(1, 1, 2),
        approx_kl=(0.0, 0.004, 0.012),
        clip_fraction=(0.0, 0.02, 0.06),
        policy_loss=(0.0, -0.01, -0.02),
        value_loss=(0.5, 0.4, 0.3),
        entropy=(1.0, 0.99, 0.98),
        grad_norm=(0.5, 0.4, 0.6),
    ),
)


def seen(**changes) -> UpdateInspected:
    return msgspec.structs.replace(EVENT, **changes)


def first_columns(count: int, **changes) -> MinibatchColumns:
    """Those of the first minibatches, with changes."""
    cut = {name: getattr(EVENT.columns, name)[:count] for name in MinibatchColumns.__struct_fields__}
    return MinibatchColumns(**cut | changes)


# ── Sentences ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_sentence_on_clipping_says_who_and_to_which_side():
    assert captions.on_ratios(EVENT) == (
        "6.0 % of 200 steps are outside 0.8–1.2: 3.0 % no longer push (1.0 % likelier, 2.0 % less likely), 3.0 % moved "
        "against their advantage and still push back."
    )
    nobody = seen(clip=ClipCounts(steps=200))
    assert captions.on_ratios(nobody) == "No ratio has left 0.8–1.2: all 200 steps still push the policy."
    all_of_them = seen(clip=ClipCounts(steps=8, outside=8, risen=8))
    assert captions.on_ratios(all_of_them).startswith("100 % of 8 steps are outside 0.8–1.2: 100 % no longer push")
    without_advantage = seen(clip=ClipCounts(steps=4, outside=4))
    assert captions.on_ratios(without_advantage) == "100 % of 4 steps are outside 0.8–1.2, none of which pushes."
    assert [captions.bound(at) for at in (0.8, 1.19935, 0.995, 1.005, 1.00012345, 1.0)] == [
        "0.8", "1.2", "0.995", "1.005", "1.00012", "1",
    ]  # fmt: skip
    assert "are led back by SPO" in captions.on_ratios(seen(surrogate="spo"))
    unbounded = {"clip_low": None, "clip_high": None}
    assert "penalty" in captions.on_ratios(seen(surrogate="kl", **unbounded))
    assert "every ratio is 1" in captions.on_ratios(seen(surrogate="none", **unbounded))


def test_the_other_sentences_tell_their_cases_apart():
    assert captions.on_advantages(EVENT) == "56 % of the steps went better than the critic expected; 0.100 ± 1.25."
    assert captions.on_advantages(seen(better=None)) == "No advantage is a number."
    assert captions.on_advantages(seen(advantage_std=0.0)).startswith("All advantages are equal")
    assert "a probability of 25 %" in captions.on_log_probs(EVENT)
    assert "densities" in captions.on_log_probs(seen(means=(0.1,), stds=(1.0,)))
    assert "explains nearly all" in captions.on_values(EVENT)
    assert "worse than a constant" in captions.on_values(seen(explained_variance=-0.5))
    for nothing in (None, math.nan):
        assert captions.on_values(seen(explained_variance=nothing)).startswith("All returns are equal")
    assert "KL went from 0.00 to 0.0120, clipped from 0 % to 6.0 %" in captions.on_divergence(EVENT)
    one = first_columns(1)
    assert "before the only step" in captions.on_divergence(seen(columns=one, epochs=1, minibatches=1))
    assert "before the first step" in captions.on_divergence(seen(columns=one))
    nothing = {name: (None, None) for name in MinibatchColumns.__struct_fields__ if name != "epoch"}
    skipped = first_columns(2, **nothing | {"approx_kl": (None, math.nan)})
    for caption in (captions.on_divergence, captions.on_losses):
        assert caption(seen(columns=skipped)) == "No minibatch was finite."
    assert "policy loss 0.00 → -0.0200" in captions.on_losses(EVENT)
    assert captions.on_layers(EVENT) == "The gradient is largest in trunk.0; 3 of 64 units are dead."
    assert captions.on_layers(seen(layers=())).startswith("No gradient was finite; dead units are counted for ReLU")
    assert captions.on_actions(EVENT) == "The action taken most is NOOP, in 70 % of the steps."
    assert "hardly any exploration is left" in captions.on_actions(seen(choices=((0.97, 0.03),)))
    assert captions.on_actions(seen(choices=((1.0,),))) == "The action taken most is NOOP, in 100 % of the steps."


# ── Pictures ────────────────────────────────────────────────────────────────────────────────────────────────


def test_bars_grow_from_the_middle_and_the_clipped_ones_are_loose():
    bars = [
        Bars(np.array([0, 4, 0, 2]), "curve-1", np.array([False, False, False, True]), "curve-2"),
        Bars(np.array([0, 4, 0, 0]), "curve-3"),
    ]
    picture = histogram_picture(8, 5, bars, low=0.0, high=4.0, marks=[(3.0, "3")])
    assert picture.text() == ["  ⣿⣿  ┊ ", "  ⣿⣿  ⢕⢕", "  ⣿⣿  ┊ ", "  ⣿⣿  ┊ ", "      3 "]
    plain = histogram_picture(16, 5, bars, low=0.0, high=4.0, glyphs=ASCII)
    assert all(line.isascii() for line in plain.text())
    assert plain.text()[-1].split() == ["0.00", "4.00"]
    empty = histogram_picture(8, 3, [Bars(np.zeros(4, np.int64), "curve-1")], low=0.0, high=1.0)
    assert [line.strip() for line in empty.text()[:2]] == ["", ""]


def test_a_scatter_has_its_diagonal_and_leaves_out_what_is_no_number():
    picture = scatter_picture(20, 8, np.array([0.0, 10.0, math.nan]), np.array([10.0, 10.0, 5.0]))
    styles = [[style for text, style in row if text.strip()] for row in picture.rows()]
    assert any("curve-1" in row for row in styles)
    assert any("shadow" in row for row in styles)
    for x, y in (([], []), ([math.nan], [1.0])):
        assert not "".join(scatter_picture(20, 8, np.array(x), np.array(y)).text()).strip()
    scatter_picture(20, 8, np.array([2.0]), np.array([2.0]))  # a single point has no range


# ── The screen ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("size", "across", "down", "pages"),
    [((200, 57), 3, 3, 1), ((120, 37), 2, 2, 3), ((80, 21), 1, 1, 9), ((60, 13), 1, 1, 9), ((250, 100), 3, 3, 1)],
)
def test_as_many_panes_as_fit(size, across, down, pages):
    layout = layout_for(Size(*size))
    assert layout == (across, down, pages)
    assert layout.on_page * layout.pages >= len(PANES)


def titles(made: Desk) -> list[str]:
    screen = made.app.screen
    return [pane.title.split(" ")[0] for kind in PANES for pane in screen.query(kind) if pane.region.area]


async def test_it_asks_while_it_is_open_shows_all_and_steps():
    async with desk(*recorded(30), StateChanged(state=RunState.PAUSED), size=(200, 60)) as made:
        assert made.session.sent == []
        await made.press("x")
        assert isinstance(made.app.screen, MicroscopeScreen)
        await made.pass_time(0.2)
        assert made.session.sent == [WatchUpdate()]
        assert "n takes one, p goes on" in made.picture
        await made.pass_time(WATCH_SECONDS / 2)
        await made.pass_time(0.1)
        assert made.session.sent == [WatchUpdate()] * 2, "it repeats it in time, and no more often"
        await made.press("n")
        assert made.session.sent[2:] == [StepMinibatches()]
        assert made.app.controller.request == "one minibatch"
        await made.say(EVENT)
        assert made.app.controller.request == ""
        picture = made.picture
        assert "update 31 · epoch 2 of 4 · minibatch 3 of 4 · n next, esc finishes it" in picture
        assert len(titles(made)) == len(PANES)
        assert "NOOP" in picture
        assert "3/64 dead" in picture
        assert "Over all updates" in picture
        await made.press("question_mark")
        await made.pass_time(0.1)
        assert WatchUpdate(open=False) not in made.session.sent, "help above it does not close it"
        await made.press("escape", "escape")
        assert isinstance(made.app.screen, MainScreen)
        await made.pass_time(0.1)
        await made.pass_time(WATCH_SECONDS)
        assert made.session.sent[3:] == [WatchUpdate(open=False)]


@pytest.mark.parametrize("ascii_look", [False, True], ids=["braille", "ascii"])
async def test_pages_of_a_small_terminal(ascii_look):
    async with desk(*recorded(30), EVENT, size=(80, 24), look=Look(ascii=ascii_look)) as made:
        await made.press("x")
        pages = []
        for _ in PANES:
            pages += titles(made)
            if ascii_look:
                assert made.picture.isascii()
            await made.press("right")
        assert pages == [explain(kind.KEY).name.split(" ")[0] for kind in PANES]
        assert titles(made) == pages[:1], "after the last page comes the first"
        await made.press("left", "x")
        assert isinstance(made.app.screen, MainScreen)
        await made.pilot.resize_terminal(60, 16)
        await made.press("x")
        assert "page 9 of 9" in made.picture
        await made.pilot.resize_terminal(120, 40)
        await made.pilot.pause()
        assert "page 3 of 3" in made.picture
        assert titles(made) == ["Gradient", "Actions", "Over"]


async def test_each_picture_has_a_card_that_begins_with_the_one_on_the_page():
    async with desk(*recorded(30), EVENT, size=(80, 24)) as made:
        await made.press("x", "right", "i")
        first = made.app.screen
        assert isinstance(first, CardScreen)
        assert first.topic.key == "microscope/values", "the second page of one picture each"
        assert "worse than a constant guess" in made.picture or "explains" in made.picture, "what it says now"
        for _ in PANES:
            assert "without a description" not in made.picture
            await made.press("right")
        assert first.topic.key == "microscope/values", "around all of them"
        await made.press("escape")
        assert isinstance(made.app.screen, MicroscopeScreen)


async def test_what_cannot_be_seen_is_said():
    a3c = started()
    a3c = msgspec.structs.replace(a3c, config={**a3c.config, "run": {"algorithm": "a3c"}})
    async with desk(a3c, *list(recorded(3))[1:], size=(200, 60)) as made:
        await made.press("x")
        assert "A3C: each worker learns by itself" in made.picture.replace("│", "")
        assert made.app.controller.can_step_minibatches is False
        await made.press("n")
        await made.say(DONE)
        assert not [command for command in made.session.sent if isinstance(command, StepMinibatches)]


async def test_a_replay_shows_what_the_record_has(tmp_path):
    record = tmp_path / "events.jsonl"
    late = seen(done=True, elapsed=3.0)
    events = [event for event in recorded(3) if not type(event).__name__.endswith("Progress")]
    record.write_bytes(b"\n".join(map(encode, [*events, late])))
    now = [0.0]
    session = ReplaySession(record, clock=lambda: now[0])
    async with desk(size=(120, 40)) as made:
        made.app.controller.session = session
        await made.press("x")
        view = made.app.controller.view
        assert view.inspections.newest is None
        assert "Over all updates" in made.picture, "the page that every record has"
        await made.press("right")
        assert "This record has no look at an update" in made.picture.replace("│", "")
        session.start()
        session.seek_to(session.duration)
        await made.say()
        assert view.inspections.newest == late
        assert "6.0 % of 200 steps" in made.picture
        assert made.app.controller.can_step_minibatches is False


def test_the_course_of_the_actions_follows_the_run():
    inspections = Inspections()
    for update in (1, 2, 2, 3):
        inspections.add(seen(update=update))
    assert [update for update, _ in inspections.course] == [1, 2, 3], (
        "a step of the same update replaces the one before"
    )
    inspections.rewind(1)
    assert [update for update, _ in inspections.course] == [1]
    inspections.add(seen(update=2, choices=(), means=(0.5, -0.5), stds=(1.0, 1.0)))
    assert [numbers for _, numbers in inspections.course] == [(0.5, -0.5)], "of another policy"


async def test_a_rewind_is_followed():
    async with desk(*recorded(30), EVENT, seen(update=32)) as made:
        await made.say(Rewound(path="p", step=31 * 1024, update=31))
        assert [update for update, _ in made.app.controller.view.inspections.course] == [31]


def test_a_record_has_some_of_the_updates_that_were_looked_at(tmp_path):
    run = RunDirectory.create(load_preset("cartpole"), label="x", path=tmp_path / "run")
    log = EventLog(run)
    for second in range(25):
        log.emit(seen(done=False, elapsed=float(second)))
        log.emit(seen(done=True, elapsed=float(second)))
    log.close()
    events = list(recorded_events(run))
    assert [event.elapsed for event in events] == [0.0, 10.0, 20.0]
    assert all(event.done for event in events)
    assert set_aside_after(run, 15.0) == 0
    assert [event.elapsed for event in recorded_events(run)] == [0.0, 10.0], "a resume goes back behind the last one"
    log = EventLog(run)
    for second in range(0, 10 * (MOST_INSPECTIONS + 20), 10):
        log.emit(seen(done=True, elapsed=float(second)))
    log.close()
    assert sum(1 for _ in recorded_events(run)) == MOST_INSPECTIONS + 2, "and no more, however long somebody looks"
    run.release()


async def test_layers_and_actions_have_their_whole_names():
    layers = tuple(LayerReading(name=f"{who}_trunk.layers.0", grad_norm=0.1) for who in ("actor", "critic"))
    moves = msgspec.structs.replace(EVENT, choices=((0.4, 0.6),), action_names=(), layers=layers)
    cartpole = msgspec.structs.replace(started(), config={"env": {"id": "CartPole-v1"}})
    async with desk(cartpole, moves, size=(120, 40)) as made:
        await made.press("x", "left")
        assert "critic_trunk.layers.0" in made.picture
        assert " right " in made.picture
        assert "taken most is right" in made.picture


def test_a_policy_at_rest_has_no_divergence_but_rounding():
    said = captions.on_divergence(seen(columns=first_columns(2, approx_kl=(1.6e-15, 0.004))))
    assert "from 0.00 to 0.00400" in said
