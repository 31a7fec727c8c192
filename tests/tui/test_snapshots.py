"""The look of the screen, to the cell.

`python -m pytest tests/tui --snapshot-update` accepts a new look.
"""

from __future__ import annotations

import pytest

from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.screen_options import Look
from tests.tui.desk import DONE, FAILURE
from tests.tui.fake import FakeSession, recorded


def frozen(*events, **options) -> PpoTuiApp:
    return PpoTuiApp(FakeSession(events), clock=lambda: 0.0, **options)


async def settle(pilot) -> None:
    pilot.app.tick()
    await pilot.pause()


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
class TestLook:
    def test_training(self, snap_compare, size):
        assert snap_compare(frozen(*recorded(200)), terminal_size=size, run_before=settle)

    def test_settings(self, snap_compare, size):
        async def draft(pilot):
            await settle(pilot)
            await pilot.press("e", "plus", "down", "enter")

        assert snap_compare(frozen(*recorded(60)), terminal_size=size, run_before=draft)

    def test_failed(self, snap_compare, size):
        assert snap_compare(frozen(*recorded(60), FAILURE), terminal_size=size, run_before=settle)

    def test_finished(self, snap_compare, size):
        assert snap_compare(frozen(*recorded(300), DONE), terminal_size=size, run_before=settle)


@pytest.mark.parametrize("look", [Look("light"), Look("ansi"), Look(ascii=True)], ids=["light", "ansi", "ascii"])
def test_other_looks(snap_compare, look):
    assert snap_compare(frozen(*recorded(60), look=look), terminal_size=(80, 24), run_before=settle)


@pytest.mark.parametrize("key", ["A", "C", "question_mark", "q"], ids=["changes", "checkpoints", "help", "leave"])
def test_other_screens(snap_compare, key):
    async def go(pilot):
        await settle(pilot)
        await pilot.press(key)

    assert snap_compare(frozen(*recorded(60)), terminal_size=(100, 30), run_before=go)
