"""How the screen looks, to the cell. `python -m pytest tests/tui --snapshot-update` accepts a new look."""

from __future__ import annotations

import pytest

from ppo_tui.tui.app import PpoTuiApp

from .desk import DONE, FAILURE
from .fake import FakeSession, recorded


def frozen(*events) -> PpoTuiApp:
    return PpoTuiApp(FakeSession(events), clock=lambda: 0.0)


async def settle(pilot) -> None:
    pilot.app.tick()
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
class TestLook:
    def test_training(self, snap_compare, size):
        assert snap_compare(frozen(*recorded(600)), terminal_size=size, run_before=settle)

    def test_pending_value(self, snap_compare, size):
        async def nudge(pilot):
            await settle(pilot)
            await pilot.press("plus", "enter")

        assert snap_compare(frozen(*recorded(600)), terminal_size=size, run_before=nudge)

    def test_failed(self, snap_compare, size):
        assert snap_compare(frozen(*recorded(60), FAILURE), terminal_size=size, run_before=settle)

    def test_finished(self, snap_compare, size):
        assert snap_compare(frozen(*recorded(9766), DONE), terminal_size=size, run_before=settle)
