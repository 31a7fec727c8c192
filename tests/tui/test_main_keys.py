"""Keys of the main screen that mean something in one panel, and those that nothing obeys."""

from __future__ import annotations

from textual.widgets._toast import Toast

from ppo_tui.protocol import SetValue, WorkerInfo, WorkersStatus, WorkerState
from ppo_tui.tui.controller import Controller
from ppo_tui.tui.screens.edit import EditScreen
from ppo_tui.tui.screens.help import help_text
from ppo_tui.tui.widgets.events import Events
from ppo_tui.tui.widgets.header import Header
from ppo_tui.tui.widgets.metrics_table import MetricsTable
from ppo_tui.tui.widgets.workers import Workers
from tests.tui.desk import DONE, Desk, desk
from tests.tui.fake import FakeSession, recorded


def toasts(it: Desk) -> list[str]:
    return [str(toast.render()) for toast in it.app.screen.query(Toast)]


async def test_plus_and_minus_zoom_the_charts_change_the_setting_and_do_nothing_elsewhere():
    async with desk() as it:
        whole = it.app.main.charts.chart_view.span
        await it.press("plus")
        zoomed = it.app.main.charts.chart_view.span
        assert zoomed != whole
        await it.press("minus")
        assert it.app.main.charts.chart_view.span != zoomed
        for panel in "245":
            span = it.app.main.charts.chart_view.span
            await it.press(panel, "plus", "minus")
            assert it.app.main.charts.chart_view.span == span
        assert it.session.sent == []
        await it.press("3", "plus")
        assert it.session.sent == [SetValue(key="optim.learning_rate", value=0.000312)]


async def test_slash_filters_the_metrics_in_their_panel_and_the_events_elsewhere():
    async with desk(size=(80, 24)) as it:
        await it.press("5", "slash", *"kl")
        table = it.text(MetricsTable)
        assert "train/approx_kl" in table
        assert "rollout" not in table
        assert not it.app.main.query_one(Events).filter
        await it.press(*"nothing")
        assert "no metric has 'klnothing'" in it.text(MetricsTable)
        await it.press("escape")
        assert "rollout/ep_rew_mean" in it.text(MetricsTable)
        await it.press("slash", *"kl", "enter", "1", "slash", *"training")
        assert it.app.main.query_one(Events).filter == "training"
        await it.press("escape", "5")
        assert "rollout/ep_rew_mean" in it.text(MetricsTable), "one filter at a time"


async def test_a_screen_that_only_watches_says_so_once():
    async with desk(notifications=True) as it:
        it.app.NOTIFICATION_TIMEOUT = 600.0
        it.session.can_steer, it.session.only_watches, it.session.owns_run = False, True, False
        await it.press("p", "c", "s", "u")
        await it.press("3", "plus")
        assert it.session.sent == []
        assert toasts(it) == ["read-only: this screen only watches"]
        await it.press("e", "plus", "enter", "a")
        assert "read-only: this screen only watches" in it.said("#preview")
        assert not it.app.controller.editor.drafts
        assert it.session.sent == []


class Second(FakeSession):
    """The second screen of a run."""

    status = "read-only"

    def __init__(self) -> None:
        super().__init__(recorded(1))
        self.can_steer, self.can_detach = False, True


def test_the_second_screen_of_a_run_says_how_to_steer_it():
    assert "T takes the control" in Controller(Second(), lambda: 0.0).unsteerable
    connecting = FakeSession()
    connecting.can_steer, connecting.can_detach = False, True
    assert not Controller(connecting, lambda: 0.0).unsteerable


async def test_a_message_goes_with_its_screen_and_hides_no_axis():
    async with desk(notifications=True) as it:
        it.app.notify("a word", timeout=600)
        await it.pilot.pause()
        assert toasts(it) == ["a word"]
        assert it.app.screen.query_one(Toast).region.y == 39, "over the keys"
        await it.press("A")
        assert toasts(it) == []
        await it.press("escape")
        assert toasts(it) == []


async def test_the_settings_of_a_run_that_has_ended_say_at_once_that_nothing_can_be_applied():
    async with desk(*recorded(3), DONE) as it:
        await it.press("e")
        assert "the run has ended: nothing can be applied" in it.said("#preview")
        assert "allowed range" in it.picture
        await it.press("plus", "enter", "a")
        assert isinstance(it.app.screen, EditScreen)
        assert not it.app.controller.editor.drafts
        assert "the run has ended: nothing can be applied" in it.said("#preview")


async def test_workers_are_busy_by_their_share_and_their_paces_add_up_to_the_heads():
    infos = tuple(
        WorkerInfo(
            index=index,
            pid=index,
            state=WorkerState.WAITING,
            num_envs=1,
            steps_per_second=4_000.0,
            wait_share=0.88,
            answer_share=0.12,
        )
        for index in range(4)
    )
    async with desk(*recorded(30), WorkersStatus(workers=infos)) as it:
        text = it.text(Workers)
        assert "busy" in text
        assert "waiting 88" not in text
        assert text.count(" 12%") == 4
        paces = [int(line.split()[3]) for line in text.splitlines()[1:5]]
        assert abs(sum(paces) - it.app.controller.view.fps) <= 2
        assert f"{round(it.app.controller.view.fps)} steps/s" in it.text(Header)
        drawn = it.app.main.query_one(Workers).draw(60, 9)
        loud = [span for span in drawn.spans if "warning" in str(span.style)]
        assert not "".join(drawn.plain[span.start : span.end] for span in loud).strip(), "nobody holds the others up"


def test_the_help_is_searched_by_words_and_long_sentences_go_on_below_their_beginning():
    text = help_text({}, 60).plain
    assert all(line.startswith((" " * 12, "  ")) or not line.startswith(" ") for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 60
    assert any(line.startswith(" " * 12) for line in text.splitlines()), "wrapped below the sentence"
    found = help_text({}, 90, "undo").plain
    assert "Undo the newest change" in found
    assert "Pause" not in found
    assert "no key has 'xyzzy'" in help_text({}, 90, "xyzzy").plain


async def test_the_help_is_searched_on_its_screen_until_escape():
    async with desk(size=(80, 24)) as it:
        await it.press("question_mark", "slash", *"checkpoint")
        assert "Save a checkpoint" in it.said("#help-text")
        assert "Undo" not in it.said("#help-text")
        await it.press("escape")
        assert "Undo" in it.said("#help-text")
        await it.press("end")
        assert it.app.screen.query_one("VerticalScroll").scroll_y > 0
        await it.press("q")
        assert it.app.screen is it.app.main
        assert it.session.sent == []
