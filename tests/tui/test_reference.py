"""The reference on the screen: behind the return, here, attached and replayed."""

from __future__ import annotations

import msgspec
import pytest

from ppo_tui.protocol import TRANSIENT, RunFinished, RunStarted, RunState, SettingChanged, encode
from ppo_tui.tui.controller import Controller
from ppo_tui.tui.session import AttachedSession, ReplaySession, Session
from ppo_tui.tui.widgets.chart import Chart
from ppo_tui.tui.widgets.header import Header
from tests.references import breakout_reference, with_reference
from tests.runs.conftest import served  # noqa: F401
from tests.tui.desk import desk
from tests.tui.fake import recorded
from tests.waiting import wait_until

REFERENCE = breakout_reference()
EDIT = SettingChanged(key="ppo.gamma", old=0.99, new=0.9, by="user", step=61_440, update=60)


def unedited(updates: int) -> list:
    """The fake run without its edit, with the reference."""
    events = (event for event in recorded(updates) if not isinstance(event, SettingChanged))
    return list(with_reference(events, REFERENCE))


def drawn(chart: Chart) -> set[str]:
    """The styles of the dots of a chart."""
    return {line.style for line in chart.lines(200, (0.0, 1e9)) if len(line.x)}


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_reference_lies_behind_the_return_and_the_head_has_the_next_milestone(size):
    async with desk(*unedited(60), size=size) as it:
        charts = {chart.spec.id: chart for chart in it.app.screen.query(Chart)}
        assert "reference" in drawn(charts["return"])
        assert all("reference" not in drawn(chart) for name, chart in charts.items() if name != "return")
        first = it.text(Header).splitlines()[0]
        assert "return 10 in about " in first
        assert ("if it goes as before" in first) == (size[0] >= 150)
        assert len(first) == size[0] - 2
        assert any("breakout" in row and "mean of 100 games" in row for row in it.picture.splitlines())
        before = first.index("breakout-7")
        it.now += 1.0  # the charts are due again
        await it.say(EDIT)
        first = it.text(Header).splitlines()[0]
        assert "in about" not in first
        assert first.index("breakout-7") == before
        assert it.app.controller.view.standing.label == "breakout as shipped"
        assert "reference" in drawn(charts["return"])
        assert ("breakout as shipped" if size[0] == 200 else "as shipped") in it.picture


async def test_a_run_without_a_reference_looks_as_ever():
    damaged = [
        msgspec.structs.replace(event, reference={"preset": "\x1b[2J"}) if isinstance(event, RunStarted) else event
        for event in recorded(30)
    ]
    async with desk(*recorded(30), size=(80, 24)) as without, desk(*damaged, size=(80, 24)) as other:
        assert "reference" not in drawn(without.app.screen.query_one("#chart-return", Chart))
        assert without.picture == other.picture


def test_attached_and_replayed_the_reference_is_that_of_the_run(served):  # noqa: F811
    for event in unedited(30):
        served.emit(event)
    attached = AttachedSession(served.directory)
    there = Controller(attached, clock=lambda: 0.0)
    attached.start()

    def has_all() -> bool:
        there.poll()
        return there.view.update == 30 and there.view.rollout is not None

    wait_until(has_all)
    attached.close(1)
    assert there.view.standing.reference == REFERENCE
    assert there.view.forecast is not None
    now = 0.0
    replay = ReplaySession(served.directory.path / "events.jsonl", clock=lambda: now)
    again = Controller(replay, clock=lambda: now)
    replay.start()
    now = 1e6
    again.poll()
    assert again.view.standing.reference == REFERENCE
    assert again.view.forecast is not None
    assert again.view.forecast.milestone == there.view.forecast.milestone == 10


def test_a_run_at_its_end_expects_nothing():
    class Ended(Session):
        live = False

        def poll(self) -> list:
            done = RunFinished(state=RunState.FINISHED, exit_code=0, reason="", step=30_720, update=30)
            return [*(event for event in unedited(30) if not isinstance(event, TRANSIENT)), done]

    controller = Controller(Ended(), clock=lambda: 0.0)
    controller.poll()
    assert controller.view.standing.expects
    assert controller.view.forecast is None
    assert len(encode(controller.view.started)) < 16_000
