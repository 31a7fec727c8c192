"""The fingerprint of code changes with its computation alone."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from ppo_tui.errors import UsageError
from ppo_tui.training.checkpoint import fingerprint
from ppo_tui.training.checkpoint.files import OpenedCheckpoint
from ppo_tui.training.checkpoint.fingerprint import (
    NUMERIC_MODULES,
    SAME_NUMBERS,
    code_fingerprint,
    fingerprint_of,
    numeric_files,
)
from ppo_tui.training.checkpoint.resume import ResumePoint
from tests.training.checkpoint.test_resume import BEFORE_THE_REBUILD

LOSSES = b'''"""Losses."""
from __future__ import annotations
import math
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from torch import Tensor

SCALE: float = 0.5
"""Of the value loss."""

class Moments(NamedTuple):
    """Mean and variance."""
    mean: float
    variance: float = 1.0

def half_square(error: float) -> float:
    """Half of the square."""
    result: float = SCALE * error**2  # of one error
    if not math.isfinite(result):
        raise BadValueError(f"the loss is {result}", hint="none")
    return cast(float, result)
'''
GAE = b"def gae(deltas):\n    return deltas[::-1]\n"


def test_what_decides_no_number_leaves_the_fingerprint_as_it_is():
    plain = b"""class Moments(NamedTuple):
    mean: int
    variance: int = 1.0
SCALE = 0.5
def half_square(error):
    result = SCALE * error**2
    if not math.isfinite(result):
        raise BadValueError("the loss cannot be used")
    return result
"""
    assert fingerprint_of([LOSSES, GAE]) == fingerprint_of([GAE + plain]), "prose, types, messages, imports, places"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"0.5", b"0.25"),
        (b"error**2", b"error**3"),
        (b"variance: float = 1.0", b"variance: float = 2.0"),
        (b"    mean: float\n", b""),
        (b"raise BadValueError", b"raise OverflowError"),
        (b"if not math", b"if math"),
        (b"def half_square", b"def square"),
    ],
)
def test_what_may_decide_a_number_changes_it(before: bytes, after: bytes):
    assert before in LOSSES
    assert fingerprint_of([LOSSES, GAE]) != fingerprint_of([LOSSES.replace(before, after), GAE])


def test_every_numeric_module_is_there():
    files = numeric_files()
    for module in NUMERIC_MODULES:
        assert any(module in file.as_posix() for file in files), f"{module} has moved: NUMERIC_MODULES must follow"


def test_versions_of_the_same_numbers_lead_to_the_present_one():
    code = code_fingerprint()
    assert set(SAME_NUMBERS.values()) <= {code}, (
        f"Numeric code has changed: its fingerprint is {code} now. If the change has been shown to change no bit, give "
        "every entry of SAME_NUMBERS in ppo_tui/training/checkpoint/fingerprint.py this value, and add the fingerprint "
        "of before where it was released. If it changes numbers, empty the table."
    )


def test_other_code_is_refused_by_both_fingerprints(monkeypatch):
    (path,) = (BEFORE_THE_REBUILD / "run" / "checkpoints").iterdir()
    opened = OpenedCheckpoint.open(path)
    point = ResumePoint(opened)
    point.check_code()
    monkeypatch.setattr(fingerprint, "SAME_NUMBERS", {})
    with pytest.raises(UsageError, match=f"code 120c5f020285 → {code_fingerprint()}"):
        point.check_code()
    same = msgspec.structs.replace(point.state.origin, code=code_fingerprint())
    state = msgspec.structs.replace(opened.state, origin=same)
    ResumePoint(replace(opened, state=state)).check_code()
