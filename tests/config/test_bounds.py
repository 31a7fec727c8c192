"""Every number, text and list of the schema has an upper bound."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Meta

from ppo_tui.config import load_preset
from ppo_tui.config.schema import all_settings
from ppo_tui.errors import UsageError


def unbounded(declared: Any, limits: dict[str, Any]) -> Iterator[str]:
    """The parts of a type without an upper bound, `limits` being those around it."""
    if hasattr(declared, "__metadata__"):
        for meta in declared.__metadata__:
            if isinstance(meta, Meta):
                limits = limits | {
                    name: value for name in ("le", "lt", "max_length") if (value := getattr(meta, name)) is not None
                }
        yield from unbounded(declared.__origin__, limits)
    elif isinstance(declared, types.UnionType) or typing.get_origin(declared) is typing.Union:
        for option in typing.get_args(declared):
            yield from unbounded(option, limits)
    elif declared in (int, float):
        if not {"le", "lt"} & limits.keys():
            yield declared.__name__
    elif declared is str or typing.get_origin(declared) in (tuple, list, dict) or declared is Any:
        if declared is not Any and "max_length" not in limits:
            yield str(declared)
        for inner in typing.get_args(declared):
            if inner is not Ellipsis and typing.get_origin(declared) is not dict:
                yield from unbounded(inner, {})


def test_the_walk_finds_what_has_no_bound():
    assert list(unbounded(int, {})) == ["int"]
    assert list(unbounded(typing.Annotated[tuple[int, ...], Meta(max_length=3)], {})) == ["int"]
    assert list(unbounded(typing.Annotated[int, Meta(le=3)] | None, {})) == []


@pytest.mark.parametrize("key", all_settings())
def test_every_setting_is_bounded(key: str):
    assert list(unbounded(all_settings()[key].type, {})) == []


@pytest.mark.parametrize("number", ["9" * 400, "-1e308", "nan"])
@pytest.mark.parametrize("key", [key for key in all_settings() if not key.startswith("env.")])
def test_a_number_of_any_size_is_taken_or_refused_in_words(key: str, number: str):
    try:
        load_preset("cartpole", overrides=[f"{key}={number}"])
    except UsageError as error:
        assert key.rpartition(".")[2] in str(error)  # noqa: PT017
        assert len(str(error)) < 1_000  # noqa: PT017
