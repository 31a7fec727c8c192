"""Charts, driven by keys and the mouse."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import OptionList

from ppo_tui.plotting import formats
from ppo_tui.plotting.series import Series, read_metrics, smoothed
from ppo_tui.protocol import CheckpointSaved, Event, Rewound, RunStarted, SettingChanged, UpdateFinished
from ppo_tui.tui.chart_view import ChartView
from ppo_tui.tui.metrics import MOST_ENVIRONMENT_CHARTS, SMOOTHINGS, Metric
from ppo_tui.tui.screen_options import Look
from ppo_tui.tui.screens.charts import ChartScreen, MetricPicker, Readings
from ppo_tui.tui.widgets.chart import Chart
from ppo_tui.tui.widgets.chart_grid import ChartGrid
from ppo_tui.tui.widgets.direct_painting import PaintedSpans
from ppo_tui.tui.widgets.key_line import KeyLine
from ppo_tui.tui.widgets.overlay import Overlay, RunCurves
from tests.tui.desk import DONE, Desk, desk
from tests.tui.fake import BATCH, recorded


def pictures(it: Desk) -> dict[str, list[str]]:
    """What stands on each chart that is to be seen."""
    charts = it.app.screen.query(Chart)
    return {chart.spec.id: chart.picture.text() for chart in charts if chart.region.area and chart.picture}


def view_of(it: Desk) -> ChartView:
    return it.app.screen_stack[0].query_one(ChartGrid).chart_view


def updates(*numbers: int, **metrics: float) -> list[UpdateFinished]:
    return [UpdateFinished(update=n, step=n * BATCH, metrics=metrics) for n in numbers]


# ── The cursor ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_cursor_stands_in_every_chart_and_values_carry_its_sign():
    async with desk(*recorded(30)) as it:
        await it.press("right", "left", "left")
        view = it.app.controller.view
        step = view_of(it).cursor
        assert step in view.series["train/approx_kl"].steps
        shown = pictures(it)
        assert len(shown) == 5
        for chart, key, sign in (("entropy", "train/entropy_loss", -1), ("fps", "time/fps", 1)):
            series = view.series[key]
            at, drawn = smoothed(series.steps, sign * series.values, 200, SMOOTHINGS[0])
            value = float(drawn[at == step][0])
            assert value != sign * series.at(step)
            assert f"━●{formats.number(value)} " in shown[chart][0]
            assert "●" in "".join(shown[chart][1:])
        assert f"step {step:,.0f}" in shown["return"][-1]
        await it.press("0")
        assert view_of(it).cursor is None
        assert "●" not in "".join(map("".join, pictures(it).values()))


async def test_the_cursor_tells_what_happened_near_it():
    change = SettingChanged(key="ppo.gamma", old=0.99, new=0.995, by="user", step=30 * BATCH, update=30)
    saved = CheckpointSaved(path="p", step=5 * BATCH, update=5, reason="manual", seconds=0.1)
    async with desk(*recorded(30), change, saved) as it:
        await it.press("right")
        assert "gamma 0.99 → 0.995" in pictures(it)["return"][-1]
        await it.press("m", "k", "k", "k")
        assert view_of(it).cursor == 5 * BATCH
        assert "checkpoint (manual)" in pictures(it)["return"][-1]
        assert any("▴" in row for row in pictures(it)["return"])
        assert any("┊" in row for row in pictures(it)["return"])


async def test_a_click_puts_the_cursor_and_chooses_the_chart():
    async with desk(*recorded(30)) as it:
        await it.pilot.click("#chart-fps", offset=(20, 4))
        await it.pilot.pause()
        assert view_of(it).cursor is not None
        assert "step" in pictures(it)["fps"][-1]
        assert "●" in "".join(pictures(it)["kl"])


# ── Zoom and pan ────────────────────────────────────────────────────────────────────────────────────────────


async def test_zoom_and_pan_move_all_charts_together():
    async with desk(*recorded(200)) as it:
        whole = pictures(it)
        await it.press("z", "z")
        assert all("×4" in rows[-1] for rows in pictures(it).values())
        labels = {name: rows[-2] for name, rows in pictures(it).items()}
        await it.press("less_than_sign")
        assert all(pictures(it)[name][-2] != labels[name] for name in labels)
        await it.press("Z", "Z", "Z")
        assert pictures(it) == whole


async def test_a_zoomed_window_shows_new_points_unless_it_was_moved_away():
    async with desk(*recorded(200)) as it:
        await it.press("z")
        following = pictures(it)["entropy"]
        await it.say(*updates(*range(201, 221), **{"train/entropy_loss": -1.0}))
        await it.pass_time(1.0)
        await it.say(*updates(221, **{"train/entropy_loss": -1.0}))
        assert pictures(it)["entropy"] != following
        await it.press("less_than_sign", "less_than_sign")
        moved = pictures(it)["entropy"][1:-1]
        await it.pass_time(1.0)
        await it.say(*updates(222, **{"train/entropy_loss": -1.0}))
        assert pictures(it)["entropy"][1:-1] == moved


async def test_smoothing_can_be_changed_chart_by_chart():
    async with desk(*recorded(200)) as it:
        before = pictures(it)
        await it.press("down", "down", "down", "o")
        assert "avg 15%" in pictures(it)["entropy"][-1]
        assert pictures(it)["fps"] == before["fps"]
        await it.press("o")
        assert "raw" in pictures(it)["entropy"][-1]
        await it.press("o", "down", "down")
        assert pictures(it)["entropy"] == before["entropy"]


async def test_the_mouse_wheel_zooms_about_the_pointer():
    async with desk(*recorded(200)) as it:
        chart = it.app.screen.query_one("#chart-fps", Chart)
        x = chart.region.x + chart.plotted.left + 1
        about = chart.plotted.position(chart.plotted.left)
        offset = (x, chart.region.y + 3)
        await it.pilot._post_mouse_events([events.MouseScrollUp], offset=offset)
        await it.pilot.pause()
        left, right = chart.chart_view.window(chart.extent(), grows=False)
        assert right < chart.extent()[1]
        assert left <= about <= right


# ── A chart's own screen ────────────────────────────────────────────────────────────────────────────────────


async def test_a_chart_has_a_screen_of_its_own_that_goes_on():
    async with desk(*recorded(200)) as it:
        await it.press("down", "down", "m")
        assert isinstance(it.app.screen, ChartScreen)
        assert list(pictures(it)) == ["kl"]
        assert it.app.screen.query_one(Chart).region.width == 120
        before = pictures(it)["kl"]
        await it.say(*updates(201, **{"train/approx_kl": 0.5}))
        await it.pass_time(1.0)
        assert pictures(it)["kl"] != before
        await it.press("tab")
        assert list(pictures(it)) == ["entropy"]
        await it.press("escape")
        assert len(it.charts_shown()) == 5
        assert it.app.screen.query_one(ChartGrid).chosen.spec.id == "entropy"


async def test_the_keys_of_its_screen_are_told_apart():
    async with desk(*recorded(30)) as it:
        await it.press("m")
        keys = it.app.screen.query_one(KeyLine).render().plain
        for entry in ("esc Back", "← → Move", "+- Zoom", "< > Pan", "y Log", "o Smooth", "0 All", "tab Next"):
            assert entry in keys
        assert "⏎" not in keys
        await it.press("enter")
        assert not isinstance(it.app.screen, ChartScreen)
        keys = it.app.screen.query_one(KeyLine).render().plain
        assert "← → Move" not in keys
        assert "Log" not in keys


async def test_what_is_set_on_its_screen_stays_set():
    async with desk(*recorded(200)) as it:
        await it.press("up", "m", "y", "o", "plus", "left", "escape")
        chart = it.app.screen.query_one("#chart-fps", Chart)
        assert chart.options.log_axis
        foot = pictures(it)["fps"][-1]
        assert "log · ×2 · avg 15%" in foot
        assert "step 204,800" in foot


@pytest.mark.parametrize(("left", "right"), [("h", "l"), ("left", "right"), ("H", "L"), ("shift+left", "shift+right")])
async def test_letters_and_arrows_move_the_cursor_and_change_no_setting(left, right):
    async with desk(*recorded(200)) as it:
        await it.press("m", right, left, left)
        near = view_of(it).cursor
        assert near < 200 * BATCH
        await it.press(right)
        assert view_of(it).cursor > near
        await it.press("j", "k", "up", "down", "plus", "minus")
        assert it.session.sent == []


async def test_the_range_within_the_window_is_told():
    async with desk(*recorded(3), *updates(4, 5, 6, **{"time/fps": 100.0}), *updates(7, **{"time/fps": 400.0})) as it:
        await it.press("up", "m", "right")
        text = it.app.screen.query_one(Readings).render().plain
        assert "lowest 100 " in text
        assert "here 400.00   raw 400.00" in text


async def test_a_chart_s_screen_at_any_size():
    async with desk(*recorded(40)) as it:
        await it.press("m", "left", "z")
        for size in [(1, 1), (7, 3), (300, 100), (20, 5), (80, 24)]:
            await it.pilot.resize_terminal(*size)
            await it.press("tab", "y", "o", "l")
        assert "step" in "".join(next(iter(pictures(it).values())))


# ── Any metric ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_any_metric_of_the_stream_can_have_a_chart():
    async with desk(*recorded(30), *updates(31, **{"extra/temperature": 3.5})) as it:
        await it.press("a", *"temp")
        assert isinstance(it.app.screen, MetricPicker)
        names = [option.id for option in it.app.screen.query_one(OptionList).options]
        assert names == ["extra/temperature"]
        await it.press("enter")
        assert "metric:extra/temperature" in it.charts_shown()
        assert "extra/temperature" in pictures(it)["metric:extra/temperature"][0]
        assert "3.50" in pictures(it)["metric:extra/temperature"][0]
        await it.press("a", *"temp", "enter")
        assert "metric:extra/temperature" not in it.charts_shown()
        assert len(it.charts_shown()) == 5


async def test_numbers_of_the_environment_have_charts_by_themselves():
    """The ends of episodes join below, once there are any; a chart taken away stays away."""
    async with desk(*recorded(30)) as it:
        await it.pilot.resize_terminal(200, 60)
        await it.say(*updates(31, **{"env/reward/ctrl": -0.25}))
        await it.pass_time(1.0)
        await it.pilot.pause()
        assert "-0.250" in pictures(it)["metric:env/reward/ctrl"][0]
        success = {"env/reward/ctrl": -0.5, "env/end/reward/ctrl": -7.0, "env/end/is_success": 0.5}
        await it.pass_time(1.0)
        await it.say(*updates(32, **success))
        await it.pilot.pause()
        shown = pictures(it)
        assert "-7.00" in shown["metric:env/reward/ctrl"][0]
        assert "is_success" in shown["metric:env/is_success"][0]
        await it.press("a", *"end/is_suc", "enter")
        assert "metric:env/is_success" not in it.charts_shown()
        await it.pass_time(1.0)
        await it.say(*updates(33, **success))
        await it.pilot.pause()
        assert "metric:env/is_success" not in it.charts_shown()


@pytest.mark.parametrize("size", [(120, 40), (100, 30), (80, 24)])
async def test_a_narrow_chart_of_the_environment_says_which_curve_is_which(size):
    """Values are left out before the names of the curves, and of a long title its end."""
    names = ("reward/ctrl", "reward_linup", "reward_of_a_very_long_name_indeed")
    numbers = {f"env/{end}{name}": -0.254 for name in names for end in ("", "end/")}
    async with desk(*recorded(30), *updates(31, **numbers), size=size) as it:
        seen = {}
        for _ in range(12):
            seen |= {name: rows[0] for name, rows in pictures(it).items() if name.startswith("metric:env/")}
            await it.press("down")
        assert len(seen) == len(names)
        for name, head in seen.items():
            assert "mean" in head, head
            assert "ends" in head, head
            assert name.removeprefix("metric:env/")[:8] in head


async def test_only_the_first_numbers_have_charts_by_themselves():
    numbers = {f"env/n{index}": float(index) for index in range(MOST_ENVIRONMENT_CHARTS + 5)}
    async with desk(*recorded(30), *updates(31, **numbers)) as it:
        added = it.app.screen.query_one(ChartGrid).added
        assert added == [f"env/n{index}" for index in range(MOST_ENVIRONMENT_CHARTS)]


async def test_more_charts_than_there_is_room_for_come_page_by_page_beside_the_return():
    async with desk(*recorded(30)) as it:
        for key in ("train/clip_range", "train/learning_rate", "rollout/ep_len_mean"):
            it.app.screen.query_one(ChartGrid).toggle_metric(key)
        await it.pilot.pause()
        pages = {}
        for _ in range(8):
            await it.press("down")
            shown = it.charts_shown()
            assert shown[0] == "return"
            ends = {name: rows[-1] for name, rows in pictures(it).items() if "page" in rows[-1]}
            assert list(ends) == [shown[-1]]
            pages[ends[shown[-1]].partition("page ")[2][:6]] = shown
        assert [*sorted(pages)] == ["1/2 ↑↓", "2/2 ↑↓"]
        assert len({chart for shown in pages.values() for chart in shown}) == 8
        await it.pilot.resize_terminal(80, 24)
        await it.press("down")
        (alone,) = pictures(it).values()
        grid = it.app.screen.query_one(ChartGrid)
        assert f"page {grid.charts.index(grid.chosen) + 1}/8 ↑↓" in alone[-1]


# ── The return ──────────────────────────────────────────────────────────────────────────────────────────────


def solving(updates: int, threshold: float) -> list[Event]:
    """A run of an environment that counts as solved at `threshold`."""
    events = recorded(updates)
    return [replace(e, reward_threshold=threshold) if isinstance(e, RunStarted) else e for e in events]


@pytest.mark.parametrize("ascii", [False, True], ids=["braille", "ascii"])
async def test_the_return_tells_when_the_environment_was_solved(ascii):
    async with desk(*solving(300, 8.0), look=Look(ascii=ascii)) as it:
        standing = it.app.controller.view.standing
        (score, step), glyphs = standing.best, it.app.screen.query_one(Chart).glyphs
        rows = pictures(it)["return"]
        star = glyphs.plain("★")
        assert f" {star} solved at {formats.count(standing.solved)} " in rows[-1]
        assert f"best {formats.number(score)} at {formats.count(step)}" in rows[-1]
        assert any(star in row for row in rows[1:-2])
        assert rows[-2].rstrip("│┃|# ").endswith("steps")
        for sample, label in (("━", "mean of 100 games"), ("╍", "solved 8"), ("⢌", "games")):
            sign = {"━": "---", "╍": "-- ", "⢌": ". ."}[sample] if ascii else sample
            assert f"{sign} {label}" in rows[0]
        chart = it.app.screen.query_one("#chart-return", Chart)
        assert [line.points for line in chart.lines(100, (0.0, 1e6)) if line.style == "shadow"] == [True]


async def test_a_return_far_from_the_threshold_keeps_its_axis():
    async with desk(*solving(30, 475.0)) as far, desk(*recorded(30)) as without:
        assert "solved 475" in pictures(far)["return"][0]
        assert "★" not in "".join(pictures(far)["return"])
        assert pictures(far)["return"][1:] == pictures(without)["return"][1:]


async def test_a_filter_that_finds_nothing_says_so():
    async with desk() as it:
        await it.press("a", *"zzz", "enter", "down", "escape")
        assert len(it.charts_shown()) == 5


# ── Painting ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_point_paints_a_few_cells_and_nothing_is_painted_twice(monkeypatch):
    async with desk(*recorded(600)) as it:
        chart = it.app.screen.query_one("#chart-return", Chart)
        painted: list[PaintedSpans] = []
        monkeypatch.setattr(it.app, "_display", lambda _, update: painted.append(update))
        chart.renew()
        assert painted == []
        it.app.controller.view.apply(updates(601, **{"rollout/ep_rew_mean": 11.0})[0])
        chart.renew()
        (spans,) = painted
        assert 0 < sum(strip.cell_length for _, _, strip in spans._spans) < chart.region.area / 20


async def test_all_steps_are_shown_to_the_edge_once_the_run_has_ended():
    async with desk(*recorded(600)) as it:
        chart = it.app.screen.query_one("#chart-return", Chart)
        assert chart.plotted.x_range[1] > 600 * BATCH
        await it.say(DONE)
        assert chart.plotted.x_range[1] == 600 * BATCH


async def test_an_abandoned_branch_stays_as_a_shadow():
    async with desk(*recorded(200)) as it:
        await it.say(Rewound(path="p", step=100 * BATCH, update=100), *updates(101, **{"train/entropy_loss": -1.3}))
        await it.pass_time(1.0)
        chart = it.app.screen.query_one("#chart-entropy", Chart)
        styles = {style for row in chart.picture.rows() for _, style in row}
        assert "abandoned" in styles
        assert any("↶" in row for row in chart.picture.text())
        assert chart.plotted.x_range[1] >= 200 * BATCH


async def test_plain_characters_on_request():
    async with desk(*recorded(200), look=Look(ascii=True)) as it:
        await it.press("left", "left", "down", "y", "z")
        await it.pilot.pause()
        for rows in pictures(it).values():
            assert "".join(rows).isascii()
        await it.press("m")
        assert "".join(pictures(it)["loss"]).isascii()


# ── Several runs in one chart ───────────────────────────────────────────────────────────────────────────────


def run_of(values: np.ndarray) -> dict[str, Series]:
    series = Series()
    for index, value in enumerate(values.tolist()):
        series.append(index * BATCH, value)
    return {"rollout/ep_rew_mean": series}


class OverlayApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Overlay(ChartView())

    def get_css_variables(self) -> dict[str, str]:
        from ppo_tui.tui.theme import with_own_colours

        return with_own_colours(super().get_css_variables(), ansi=False)


async def test_several_runs_are_told_apart_by_letters_and_patterns(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [{"time/total_timesteps": n * BATCH, "rollout/ep_rew_mean": 50.0 - n} for n in range(20)]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    runs = [
        RunCurves("first", run_of(np.arange(30.0)), "A"),
        RunCurves("second", read_metrics(file), "B"),
        RunCurves("empty", {}, "C"),
    ]
    async with OverlayApp().run_test(size=(100, 20)) as pilot:
        overlay = pilot.app.query_one(Overlay)
        overlay.renew()
        assert "no data yet" in "".join(overlay.picture.text())
        overlay.show(runs)
        rows = overlay.picture.text()
        assert "A first 29.0" in rows[0]
        assert "B second 31.0" in rows[0]
        assert "C empty –" in rows[0]
        assert all(any(letter in row for row in rows[1:-1]) for letter in "AB")
        overlay.move_cursor(-1)
        overlay.options.next_smoothing()
        overlay.renew()
        assert f"step {29 * BATCH:,}" in overlay.picture.text()[-1]
        overlay.show(runs, Metric("unheard", "unheard"))
        assert "no data yet" in "".join(overlay.picture.text())


async def test_the_last_news_before_a_silence_reach_the_charts():
    first, *others = recorded(30)
    async with desk(first) as it:
        await it.say(*others)
        await it.pass_time(1.0)
        assert "mean of 100 games –" not in it.picture
