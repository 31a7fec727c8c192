"""The cached screen against one computed whole each time, as in Gymnasium."""

from __future__ import annotations

import ale_py
import cv2
import numpy as np
import pytest
from ale_py import roms
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ppo_tui.envs.screen import PooledScreen


class WholeScreen:
    """`PooledScreen` without a cache: every pixel converted, pooled and resized."""

    def __init__(self, ale: ale_py.ALEInterface, size: int, *, pooled: bool) -> None:
        self._ale, self._size, self._pools = ale, size, pooled
        self._newest, self._older = (np.zeros(ale.getScreenDims(), np.uint8) for _ in range(2))

    def show_newest(self) -> None:
        self._ale.getScreenGrayscale(self._newest)
        self._older.fill(0)

    def read_older(self) -> None:
        self._ale.getScreenGrayscale(self._older)

    def read_newest(self) -> None:
        self._ale.getScreenGrayscale(self._newest)

    def pool(self) -> None:
        if self._pools:
            np.maximum(self._newest, self._older, out=self._newest)

    def resized(self) -> np.ndarray:
        return cv2.resize(self._newest, (self._size, self._size), interpolation=cv2.INTER_AREA)


def loaded(game: str) -> ale_py.ALEInterface:
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 1)
    ale.loadROM(str(roms.get_rom_path(game)))
    return ale


CALLS = st.lists(st.sampled_from(["act", "read_older", "read_newest", "pool", "show_newest"]), max_size=60)


@example("enduro", 84, True, ["act"] * 20 + ["read_newest", "pool", "read_older", "act", "read_newest"])
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["breakout", "enduro", "seaquest"]), st.sampled_from([36, 64, 84, 105]), st.booleans(), CALLS)
def test_any_order_of_calls_shows_what_the_whole_screen_shows(
    game: str, size: int, pooled: bool, calls: list[str]
) -> None:
    ale = loaded(game)
    screen, whole = PooledScreen(ale, size, pooled=pooled), WholeScreen(ale, size, pooled=pooled)
    for view in (screen, whole):
        view.show_newest()
    actions = ale.getMinimalActionSet()
    for number, call in enumerate([*calls, "pool"]):
        if call == "act":
            for _ in range(7):
                ale.act(actions[number % len(actions)])
            continue
        for view in (screen, whole):
            getattr(view, call)()
        if call == "pool":
            np.testing.assert_array_equal(screen.resized(), whole.resized())


@pytest.mark.parametrize("game", ["breakout", "pong"])
def test_a_restored_screen_goes_on_as_the_saved_one(game: str) -> None:
    ale = loaded(game)
    screen = PooledScreen(ale, 84, pooled=True)
    screen.show_newest()
    for _ in range(40):
        ale.act(ale_py.Action.FIRE)
    screen.read_older()
    screen.pool()
    other = PooledScreen(ale, 84, pooled=True)
    other.restore(*screen.frames())
    np.testing.assert_array_equal(other.resized(), screen.resized())
    for _ in range(3):
        ale.act(ale_py.Action.RIGHT)
        for view in (screen, other):
            view.read_newest()
            view.pool()
        np.testing.assert_array_equal(other.resized(), screen.resized())


def test_what_is_handed_out_is_the_callers_own() -> None:
    ale = loaded("breakout")
    screen = PooledScreen(ale, 84, pooled=True)
    screen.show_newest()
    first = screen.resized()
    kept = first.copy()
    first.fill(7)
    np.testing.assert_array_equal(screen.resized(), kept)
