"""Cards, verdicts, the alarm line, and algorithms without some of it."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from ppo_tui.config.presets import load_preset
from ppo_tui.explanations import ALARMS, METRICS, absence, explain, find, groups
from ppo_tui.plotting import formats
from ppo_tui.protocol import (
    Alarm,
    Level,
    Recovered,
    Rewound,
    RunStarted,
    SettingChanged,
    SetValue,
    StateChanged,
    SuggestedEdit,
    UpdateFinished,
)
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.metrics import TILES
from ppo_tui.tui.screen_options import Look
from ppo_tui.tui.screens.card import CardScreen
from ppo_tui.tui.screens.edit import EditScreen
from ppo_tui.tui.topics import Topic, value_of
from ppo_tui.tui.widgets.alarm_line import AlarmLine
from ppo_tui.tui.widgets.metrics_table import MetricsTable
from ppo_tui.tui.widgets.settings import Settings
from ppo_tui.tui.widgets.tiles import Tile
from ppo_tui.tui.widgets.workers import Workers
from tests.tui.desk import DONE, Desk, desk
from tests.tui.fake import BATCH, metrics, recorded, started

DEAD = Alarm(
    level=Level.WARNING,
    name="dead-units",
    message="85% of the network's units are dead: zero (ReLU) or saturated (tanh) on whole minibatches, so no gradient "
    "passes them; optim.learning_rate is 0.001",
    suggestion="set optim.learning_rate 0.0003",
    value=0.85,
    edit=SuggestedEdit(key="optim.learning_rate", value=3e-4),
)
KL = Alarm(
    level=Level.WARNING,
    name="kl-spike",
    message="the policy moved too far in one update: KL 1.4",
    suggestion="set optim.learning_rate 3e-05",
    value=1.4,
    edit=SuggestedEdit(key="optim.learning_rate", value=3e-5),
)
SLOW = Alarm(level=Level.WARNING, name="slow-worker", message="worker 3 holds up the others", value=5.0)


def run_of(preset: str) -> list[RunStarted | StateChanged | UpdateFinished]:
    """The first events of a run of a preset."""
    config = msgspec.to_builtins(load_preset(preset))
    line = dict.fromkeys(("rollout/ep_rew_mean", "train/entropy_loss", "train/approx_kl", "train/clip_fraction"), 0.0)
    return [
        msgspec.structs.replace(started(), config=config),
        UpdateFinished(update=1, step=BATCH, metrics=line, elapsed=2.0),
    ]


def card_of(made: Desk) -> str:
    """The title and the text of the card on the screen."""
    assert isinstance(made.app.screen, CardScreen)
    return f"{made.app.screen.topic.key}\n{made.said('#card')}"


def alarm_line(made: Desk) -> str:
    widget = made.app.main.query_one(AlarmLine)
    return widget.draw(*widget.content_size).plain.rstrip() if widget.display else ""


def test_every_explanation_says_all_that_a_card_shows():
    every = [each for group in groups().values() for each in group]
    assert len({each.key for each in every}) == len(every) > 180
    for each in every:
        assert all((each.name, each.text, each.link.partition("#")[0].endswith(".md"))), each.key
        assert each.text.isprintable()
        assert each.formula.isprintable()
    assert all(METRICS[key].range for key in METRICS), "a range, or what is usual"
    for text in ALARMS.values():
        assert explain(f"alarm/{text.name}").advice == f"{text.remedy}."
    assert next(each.key for each in find("clip fraction")) == "train/clip_fraction"


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("train/approx_kl", 0.0045, "ok"),
        ("train/approx_kl", 0.05, "high"),
        ("train/approx_kl", 0.3, "too high"),
        ("train/approx_kl", 0.0002, "low"),
        ("train/clip_fraction", 0.4, "high"),
        ("train/explained_variance", -0.1, "too low"),
        ("train/entropy_loss", -0.01, "too low"),
        ("train/entropy_loss", -1.0, "ok"),
        ("train/nonfinite", 1.0, "too high"),
        ("train/dead_units", float("nan"), None),
        ("rollout/ep_rew_mean", 3.0, None),
    ],
)
def test_verdicts_come_from_the_healthy_range_and_the_limits_of_the_alarms(key, value, word):
    class Run:
        def configured(self, name):
            return {"ppo.minibatches": 4, "run.algorithm": "ppo", "optim.learning_rate": 1e-3}.get(name)

        def setting(self, name):
            return {"ppo.epochs": 4, "optim.learning_rate": 1e-3}.get(name)

        def first(self, name):
            return {"train/entropy_loss": -1.386}.get(name)

    verdict = explain(key).judge(value, Run())
    assert (verdict and verdict.word) == word


async def test_the_card_of_everything_on_the_main_screen():
    async with desk(*recorded(30), DEAD) as made:
        await made.press("i")
        assert card_of(made).startswith("rollout/ep_rew_mean"), "the charts have the keys, the return is chosen"
        assert "now      6.4" in card_of(made)
        await made.press("escape", "down", "down", "i")
        first = card_of(made)
        assert "train/approx_kl" in first
        assert "✓ ok: within the healthy range" in first
        assert "0.001 to 0.02" in first
        assert "r = π_new(a|s) / π_old(a|s)" in first
        assert "docs/diagnostics.md" in first
        await made.press("right")
        assert card_of(made).startswith("train/clip_fraction"), "the neighbour in the chart"

        seen = set()
        for _ in range(len(made.app.screen.topics)):  # the whole screen, once around
            text = card_of(made)
            seen.add(text.partition("\n")[0])
            assert "without a description" not in text, text
            await made.app.screen.run_action("go(1)")
        shown = {f"panel/{name}" for name in ("workers",)} | set(made.app.controller.editor.keys)
        shown |= set(made.app.controller.view.series) | {tile.key for tile in TILES if tile.label != "GPU %"}
        shown |= {each.key for name in ("header", "workers") for each in groups()[name]} | {"alarm/dead-units"}
        assert shown <= seen

        await made.press("slash", *"gae")
        assert card_of(made).startswith("ppo.gae_lambda")
        assert "0.95" in card_of(made)
        await made.press("enter", "right")
        assert explain(made.app.screen.topic.key), "neighbours of what was found"
        await made.press("escape")
        assert made.app.screen is made.app.main


async def test_rows_tiles_and_fields_are_explained_where_they_are_clicked():
    async with desk(*recorded(30)) as made:
        (kl,) = (tile for tile in made.app.main.query(Tile) if tile.metric.label == "approx KL")
        await made.click(kl)
        assert card_of(made).startswith("train/approx_kl")
        await made.press("escape")
        await made.click("#header", offset=(100, 1))
        assert card_of(made).startswith(("header/elapsed", "header/left"))
        await made.press("escape")
        await made.click(Workers, offset=(5, 4))
        await made.press("i")
        assert "2: waiting" in card_of(made), "the row of worker 2"
        await made.press("escape")
        await made.click(Settings, offset=(5, 3))
        await made.press("i")
        assert card_of(made).startswith("ppo.gamma")
        assert "1 / (1 − γ)" in card_of(made)
        await made.press("escape", "4", "i")
        assert "event/" in card_of(made)
        assert "says" in card_of(made)
        await made.press("escape", "5", "down", "down")
        assert "▸ rollout/ep_rew_mean" in made.text(MetricsTable)
        await made.press("i")
        assert card_of(made).startswith("rollout/ep_rew_mean")
        await made.press("escape", "e", "down", "i")
        assert card_of(made).startswith("optim.max_grad_norm")
        await made.press("escape", "escape", "1", "home")
        for screen, key in (("C", "panel/checkpoints"), ("A", "panel/changes")):
            await made.press(screen, "i")
            assert card_of(made).startswith(key)
            await made.press("escape", "escape")
        made.app.main.charts.chart_view.look_at(20 * BATCH, (0.0, 30.0 * BATCH))  # of the edit
        made.app.main.charts.renew()
        await made.press("i")
        assert "entropy coef 0.01 → 0.012" in card_of(made)
        assert "mark/edit" in card_of(made)


async def test_a_card_before_the_first_update_and_one_of_every_setting():
    async with desk(started()) as made:
        await made.press("i")
        assert "now      not known yet" in card_of(made)
        await made.say(*list(recorded(3))[1:])
        assert "not known yet" not in card_of(made), "it is kept up to date"
        for each in groups()["settings"]:
            assert value_of(Topic(each.key), made.app.controller), each.key
        assert value_of(Topic("env.atari.frame_skip"), made.app.controller) == "4"


async def test_tiles_keep_value_verdict_and_trend_apart_and_in_place():
    line = metrics(0.5, 30.0, np.random.default_rng(0))
    values = (0.000109, 0.00451, 0.05, 0.3, 0.999)
    async with desk(*recorded(3)) as made:
        for size in ((120, 40), (80, 24), (60, 16)):
            await made.pilot.resize_terminal(*size)
            await made.press()
            (tile,) = (tile for tile in made.app.main.query(Tile) if tile.metric.label == "approx KL")
            columns = set()
            for number, value in enumerate(values, start=4):
                await made.say(
                    UpdateFinished(update=number, step=number * BATCH, metrics=line | {"train/approx_kl": value})
                )
                lines = tile.draw(*tile.content_size).plain.split("\n")
                row = next(line for line in lines if re.search("[✓▲▼]", line))
                digits = 3 if size[0] >= 80 else 2
                assert re.match(rf"{re.escape(formats.number(value, digits))} +[✓▲▼] ?[↗↘─]", row), row
                columns.add(re.search("[✓▲▼]", row).start())
            assert len(columns) == 1, "the sign stands still"
    async with desk(*recorded(3), look=Look(ascii=True), size=(110, 34)) as made:
        assert re.search(r"0\.\d+ +\+ *[/\\-]", made.picture), "the sign without Unicode"
        await made.say(UpdateFinished(update=4, step=4 * BATCH, metrics=line | {"train/clip_fraction": 0.9}))
        assert re.search(r"0\.900 +\^ *[/\\-]", made.picture)
        assert "- too high -" in made.picture, "in words too"


async def test_the_pinned_alarm_and_the_edit_that_it_advises():
    async with desk(*recorded(30), size=(80, 24)) as made:
        assert alarm_line(made) == ""
        await made.say(DEAD)
        assert re.fullmatch(r"! much of .* dead: dead units 85 % · F: lr 2\.49e-4 → 3e-4 · ⏎ why", alarm_line(made))
        await made.press("enter")
        assert "alarm/dead-units" in card_of(made)
        assert "optim.learning_rate is 0.001" in card_of(made), "in full"
        assert "now      dead units 85 %" in card_of(made)
        assert "F: lr 2.49e-4 → 3e-4" in card_of(made)
        await made.press("escape")
        assert "why" not in alarm_line(made), "read: enter zooms again"
        await made.press("4", "i", "F")
        assert isinstance(made.app.screen, EditScreen)
        assert made.app.controller.editor.drafts == {"optim.learning_rate": 3e-4}
        assert "→ 3e-4" in made.picture
        assert not made.session.sent, "drafted, and not yet asked for"
        await made.press("a", "escape")
        assert made.session.sent == [SetValue(key="optim.learning_rate", value=3e-4)]
        assert "lr → 3e-4 at the next update" in alarm_line(made)
        edit = SettingChanged(key="optim.learning_rate", old=2.49e-4, new=3e-4, by="user", step=31 * BATCH, update=31)
        await made.say(edit)
        assert "lr is 3e-4 now" in alarm_line(made)

        await made.say(SLOW, KL)
        assert alarm_line(made).startswith("! approx KL 1.40 · F: lr 3e-4 → 3e-5 · ⏎ why")
        assert alarm_line(made).endswith("1 of 3")
        await made.pilot.resize_terminal(50, 12)
        assert made.app.main.query_one(AlarmLine).region.height == 1, "in a terminal of two lines too"
        await made.say(Recovered(name="kl-spike", message="over"), Recovered(name="dead-units", message="over"))
        assert alarm_line(made).startswith("! step time × 5.00")
        assert "F:" not in alarm_line(made), "no setting helps: the card says what does"
        await made.say(Rewound(path="step", step=BATCH, update=1))
        assert alarm_line(made) == ""


async def test_an_alarm_of_a_run_that_cannot_be_steered_advises_without_a_key():
    async with desk(*recorded(3), DEAD) as made:
        made.session.closed = True
        await made.say(DONE)
        assert alarm_line(made) == ""
        assert not made.app.check_action("draft_advice", ())


@pytest.mark.parametrize(
    ("preset", "tiles", "charts", "settings"),
    [
        ("a3c-cartpole", {"approx KL", "clipped"}, {"kl"}, {"ppo.epochs", "ppo.clip_range", "ppo.target_kl"}),
        ("a2c-cartpole", {"approx KL", "clipped"}, {"kl"}, {"ppo.clip_range", "ppo.clip_range_upper"}),
    ],
)
async def test_what_an_algorithm_has_not_is_not_shown(preset, tiles, charts, settings):
    async with desk(*run_of(preset), size=(120, 40)) as made:
        hidden = {tile.metric.label for tile in made.app.main.query(Tile) if not tile.display}
        assert hidden - {"GPU %"} == tiles
        assert {"return", "loss", "kl", "entropy", "fps"} - set(made.charts_shown()) == charts
        keys = set(made.app.controller.editor.keys)
        assert not settings & keys
        assert {"optim.learning_rate", "ppo.gamma"} <= keys
        await made.press("i", "slash", *"approx kl", "enter")
        if preset == "a3c-cartpole":
            assert "A3C has none" in card_of(made)
        await made.press("escape", "escape", "a", *"grad")  # charts of any metric still come and go


def test_neighbours_of_an_algorithm_have_their_own_absences():
    def absent(**settings):
        class Run:
            def configured(self, name):
                return ({"ppo.minibatches": 4, "run.algorithm": "ppo"} | settings).get(name)

            def setting(self, name):
                return settings.get(name, 4 if name == "ppo.epochs" else None)

        return {
            key
            for key in ("train/approx_kl", "train/clip_fraction", "ppo.clip_range", "ppo.clip_range_upper")
            if absence(key, Run())
        }

    assert absent(**{"ppo.surrogate": "clip"}) == set()
    assert absent(**{"ppo.surrogate": "spo"}) == {"ppo.clip_range_upper"}
    assert absent(**{"ppo.surrogate": "kl"}) == {"train/clip_fraction", "ppo.clip_range", "ppo.clip_range_upper"}
    assert absent(**{"ppo.surrogate": "kl", "ppo.clip_value_loss": True}) == {
        "train/clip_fraction",
        "ppo.clip_range_upper",
    }
    assert absent(**{"ppo.surrogate": "none", "ppo.epochs": 2}) >= {"ppo.clip_range"}


def test_the_app_declares_both_keys():
    assert {"draft_advice", "explain"} <= {
        binding.action for binding in PpoTuiApp.BINDINGS if hasattr(binding, "action")
    }
