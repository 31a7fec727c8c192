"""The pictures of a clip arrive as they were taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.pictures import PictureDecoder, PictureEncoder


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 12), st.sampled_from([1, 3]))
def test_every_picture_comes_back_with_the_rows_that_changed(seed, height, width, channels):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    encoder, decoder = PictureEncoder(), PictureDecoder(height, width, channels)
    before = np.zeros_like(picture)
    for _ in range(5):
        changed = decoder.decode(encoder.encode(picture))
        assert (decoder.picture == picture).all()
        assert (changed == (picture != before).any(axis=(1, 2))).all()
        before = picture.copy()
        picture[rng.random(height) < 0.3] ^= 7


@pytest.mark.parametrize("kind", ["noise", "one colour", "stripes"])
def test_a_large_picture_comes_back(kind):
    picture = np.full((210, 320, 3), 200, np.uint8)
    if kind == "noise":
        picture[:] = np.random.default_rng(0).integers(0, 256, picture.shape)
    elif kind == "stripes":
        picture[::3, ::7] = 9
    encoder, decoder = PictureEncoder(), PictureDecoder(*picture.shape)
    for _ in range(3):
        decoder.decode(encoder.encode(picture))
        assert (decoder.picture == picture).all()
        picture[50:] += 3


def test_bytes_after_a_picture_are_an_error():
    more = PictureEncoder().encode(np.ones((5, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="more than"):
        PictureDecoder(5, 3, 3).decode(more)


def test_a_picture_that_stays_costs_a_few_bytes():
    encoder = PictureEncoder()
    noise = np.random.default_rng(0).integers(0, 256, (210, 160, 3), dtype=np.uint8)
    encoder.encode(noise)
    assert len(encoder.encode(noise)) < 20


@pytest.mark.parametrize("damage", [b"", b"\x00", b"nonsense"])
def test_damage_is_an_error_and_not_a_picture(damage):
    with pytest.raises(ValueError, match=r"picture"):
        PictureDecoder(4, 4, 3).decode(damage)


def test_a_bomb_is_not_unpacked():
    bomb = PictureEncoder().encode(np.ones((2000, 2000, 3), np.uint8))
    with pytest.raises(ValueError, match="rows"):
        PictureDecoder(4, 4, 3).decode(bomb)
    with pytest.raises(ValueError, match="without rows"):
        PictureDecoder(0, 0, 1).decode(bomb)


def test_pictures_of_one_clip_have_one_size():
    encoder = PictureEncoder()
    encoder.encode(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"\(5, 4, 3\)"):
        encoder.encode(np.zeros((5, 4, 3), np.uint8))
