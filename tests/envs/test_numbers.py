"""The numbers in an info find their columns, whatever else is in it."""

from __future__ import annotations

import enum
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui.envs.numbers import (
    MOST_ENTRIES,
    MOST_NUMBERS,
    NAME_BYTES,
    NumberTable,
    clean_name,
    read_names,
    write_names,
)
from tests.training.hostile_infos import HOSTILE


class Status(enum.IntEnum):
    DONE = 2


class Columns:
    """A table in memory of its own."""

    def __init__(self) -> None:
        self.names = np.zeros(MOST_NUMBERS + 1, f"S{NAME_BYTES}")
        self.table = NumberTable(self.names)

    def read(self, info: dict[Any, Any]) -> dict[str, float]:
        row = np.full(MOST_NUMBERS, np.nan)
        self.table.write(info, row)
        numbers = zip(read_names(self.names), row.tolist(), strict=False)
        return {name: number for name, number in numbers if not math.isnan(number)}


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (1.5, {"x": 1.5}),
        (3, {"x": 3.0}),
        (True, {"x": 1.0}),
        (np.float32(0.5), {"x": 0.5}),
        (np.float16(0.5), {"x": 0.5}),
        (np.uint8(7), {"x": 7.0}),
        (np.bool_(False), {"x": 0.0}),
        (Status.DONE, {"x": 2.0}),
        (np.array(4), {"x": 4.0}),
        (np.array([[4.0]]), {"x": 4.0}),
        (np.array([1.0, 2.0]), {"x/0": 1.0, "x/1": 2.0}),
        ((1, 2.5), {"x/0": 1.0, "x/1": 2.5}),
        ({"a": 1, "b": {"c": 2}}, {"x/a": 1.0, "x/b/c": 2.0}),
        ({"a": {"b": {"c": {"d": 1}}}}, {}),  # too deep
        (np.zeros(5), {}),
        (np.zeros((2, 2)), {}),
        ([1, "one"], {}),
        ("1.5", {}),
        (None, {}),
        (1j, {}),
        (np.complex64(1), {}),
        (math.nan, {}),
        (10**400, {}),
        (np.array(["a"]), {}),
        (object(), {}),
    ],
)
def test_what_is_a_number(value: Any, numbers: dict[str, float]):
    assert Columns().read({"x": value}) == numbers


@pytest.mark.parametrize(
    "key",
    ["episode", "lives", "frame_number", "episode_frame_number", "seed", "seeds", "action_mask", "final_info", "_x",
     "final_obs", "TimeLimit.truncated", "terminal_observation", "ppo_tui.failures", 7, None],
)  # fmt: skip
def test_bookkeeping_is_left_out(key: Any):
    assert Columns().read({key: 1, "x": 1, "reward": {key: 2}}) == {"x": 1.0}
    assert Columns().read({key: {"r": 1.0}, "x": 1}) == {"x": 1.0}


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
def test_no_method_of_an_environments_own_class_runs(key: Any):
    value, numbers = HOSTILE[key]
    columns = Columns()
    assert columns.read({key: value}) == columns.read({key: value}) == numbers


def test_long_keys_and_tables_of_many_entries_take_little():
    columns = Columns()
    assert len(columns.read({f"{index}{'x' * 500_000}": index for index in range(40)})) == MOST_NUMBERS
    assert len(pickle.dumps(columns.table)) < 100_000
    many = dict.fromkeys(range(10 * MOST_ENTRIES), 1.0) | {"late": 1.0}
    assert Columns().read({"x": 1, "many": many, **dict.fromkeys(range(MOST_ENTRIES), 1)}) == {"x": 1.0}


def test_a_number_that_does_not_come_is_none():
    columns = Columns()
    assert columns.read({"a": 1, "b": 2}) == {"a": 1.0, "b": 2.0}
    assert columns.read({"b": 3}) == {"b": 3.0}
    assert columns.read({"b": "text"}) == {}
    assert columns.read({}) == {}


def test_the_first_numbers_have_columns_and_the_first_other_name_is_known():
    columns = Columns()
    numbers = columns.read({f"n{index}": index for index in range(MOST_NUMBERS + 5)})
    assert list(numbers) == [f"n{index}" for index in range(MOST_NUMBERS)]
    assert columns.names[-1] == f"n{MOST_NUMBERS}".encode()


def test_a_new_worker_takes_over_the_columns_of_the_last_one():
    columns = Columns()
    columns.read({"a": 1, "b": 2})
    columns.table = NumberTable(columns.names)
    assert columns.read({"b": 2, "c": 3}) == {"b": 2.0, "c": 3.0}
    write_names(columns.names[None], ["c"])
    columns.table.reload()
    assert columns.read({"b": 2, "c": 3}) == {"c": 3.0, "b": 2.0}
    assert read_names(columns.names) == ["c", "b"]


def test_keys_made_anew_in_every_step_fill_nothing():
    columns = Columns()
    columns.read({"kept": 1})
    for step in range(3000):
        columns.read({f"step {step}": step})
    assert columns.read({"kept": 2}) == {"kept": 2.0}
    assert len(read_names(columns.names)) == MOST_NUMBERS


def test_two_keys_never_share_a_column():
    assert Columns().read({"a b": 1, "a_b": 2}) == {"a_b": 1.0}


def test_a_name_of_the_ends_of_episodes_is_nobody_elses():
    assert clean_name("end/x") == "end.x"


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=90), st.floats(width=64), max_size=5))
def test_any_key_becomes_a_plain_name(info: dict[str, float]):
    for name in Columns().read(info):
        assert 0 < len(name.encode()) <= NAME_BYTES
        assert clean_name(name) == name
        assert name.isprintable()
        assert not set(name) & set(" []=<>,;\"'\\\n\t|:")
