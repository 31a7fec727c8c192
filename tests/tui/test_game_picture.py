"""Pictures become cells: nothing small is lost, nothing unchanged is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.tui.widgets.game_picture import RAMP, Shrinker, changed_spans, fitted_size, half_block_cells, ramp_cells
from tests.memory import memory_below

HEIGHT, WIDTH = 210, 160


def breakout(ball: tuple[int, int]) -> np.ndarray:
    """Breakout's screen: walls, bricks, a paddle, and the ball with its upper left corner at (row, column)."""
    screen = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    screen[17:32] = screen[32:, :8] = screen[32:, -8:] = 142
    screen[57:93, 8:-8] = [200, 72, 72]
    screen[189:193, 80:96] = [200, 72, 72]
    row, column = ball
    screen[row : row + 4, column : column + 2] = [200, 72, 72]
    return screen


@pytest.mark.parametrize("size", [(12, 6), (20, 9), (28, 19), (40, 21), (80, 24), (116, 36)])
@given(down=st.floats(0, 1), across=st.floats(0, 1))
def test_breakouts_ball_is_seen_at_every_size_and_everywhere(size, down, across):
    """Wherever it is, as long as it shares no pixel of the shrunk picture with a wall, a brick or the paddle."""
    columns, lines = size
    target = fitted_size(HEIGHT, WIDTH, columns, lines, 2)
    high, wide = -(-HEIGHT // target[0]), -(-WIDTH // target[1])
    row = round(93 + high + down * (189 - 93 - 2 * high - 4))
    column = round(8 + wide + across * (152 - 8 - 2 * wide - 2))
    with_ball = Shrinker((HEIGHT, WIDTH), target).shrink(breakout((row, column))).astype(int)
    without = Shrinker((HEIGHT, WIDTH), target).shrink(breakout((189, 80))).astype(int)
    assert (with_ball - without)[..., 0].max() >= 90, "red of 200 on black, or it drowns"


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 320), st.integers(1, 100), st.sampled_from([1, 2]))
def test_a_picture_fits_into_any_room(height, width, columns, lines, rows_per_line):
    rows, shown_columns = fitted_size(height, width, columns, lines, rows_per_line)
    assert 1 <= rows <= lines * rows_per_line
    assert rows % rows_per_line == 0
    assert 1 <= shown_columns <= columns


def test_proportions_are_kept():
    assert fitted_size(210, 160, 120, 38, 2) == (76, 58)
    assert fitted_size(200, 300, 28, 30, 2) == (18, 28)
    assert fitted_size(84, 84, 200, 100, 2) == (168, 168), "enlarged twice, no pixel larger than another"


def test_what_has_one_colour_keeps_it_and_a_pixel_for_a_pixel_changes_nothing():
    plain = np.full((50, 30, 3), [10, 200, 77], np.uint8)
    assert (Shrinker((50, 30), (8, 7)).shrink(plain) == [10, 200, 77]).all()
    noise = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    assert (Shrinker((12, 9), (12, 9)).shrink(noise) == noise).all()
    assert (Shrinker((12, 9), (24, 18)).shrink(noise) == noise.repeat(2, 0).repeat(2, 1)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_changed_rows_alone_give_the_same_as_the_whole(seed, height, width, rows, columns):
    rng = np.random.default_rng(seed)
    before = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    after = before.copy()
    changed = rng.random(height) < 0.2
    after[changed] = 255 - after[changed]
    shrinker = Shrinker((height, width), (rows, columns))
    pixels = shrinker.shrink(before).copy()
    first, last = shrinker.affected(changed)
    if first < last:
        pixels[first:last] = shrinker.shrink(after, first, last)
    assert (pixels == shrinker.shrink(after)).all()


@pytest.mark.parametrize("columns", [12, 44, 118])
@pytest.mark.parametrize("size", [(210, 160), (200, 300), (5, 30_000)])
def test_each_row_of_a_large_picture_is_as_if_shrunk_alone(size, columns):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    shrinker = Shrinker(size, target := fitted_size(*size, columns, 37, 2))
    rows = [shrinker.shrink(picture, row, row + 1) for row in range(target[0])]
    assert (shrinker.shrink(picture) == np.concatenate(rows)).all()


def test_a_picture_becomes_cells_in_little_memory():
    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    shrinker = Shrinker((200, 300), fitted_size(200, 300, 118, 37, 2))
    half_block_cells(shrinker.shrink(picture))
    with memory_below(200_000):
        half_block_cells(shrinker.shrink(picture))


def test_grey_pictures_and_the_ramp():
    grey = np.linspace(0, 255, 10).astype(np.uint8).reshape(1, 10, 1)
    pixels = Shrinker((1, 10), (1, 10)).shrink(grey)
    assert pixels.shape == (1, 10, 3)
    assert "".join(RAMP[int(cell)] for cell in ramp_cells(pixels)[0]) == RAMP


def test_a_cell_is_the_colour_of_its_upper_pixel_and_of_its_lower_one():
    pixels = np.array([[[248, 0, 0]], [[0, 0, 16]]], np.uint8)
    assert half_block_cells(pixels).tolist() == [[0xF80000_000010]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 30))
def test_changed_spans_cover_all_that_changed_and_little_else(seed, lines, columns):
    rng = np.random.default_rng(seed)
    before = np.zeros((lines, columns), np.uint64)
    after = (rng.random((lines, columns)) < 0.2).astype(np.uint64)
    covered = np.zeros_like(before)
    for line, first, last in changed_spans(before, after):
        covered[line, first:last] += np.uint64(1)
        assert after[line, first]
        assert after[line, last - 1]
        run = after[line, first:last].tolist()
        assert "00000" not in "".join(map(str, run)), "a wide gap is cheaper to jump over"
    assert covered.max() <= 1
    assert (covered >= after).all()
