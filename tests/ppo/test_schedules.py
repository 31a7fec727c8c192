"""Schedules against references, and live edits in the midst of them."""

import dataclasses
import json
import math

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, LRScheduler

from ppo_tui.ppo import Schedule

STEPS = 1_000
KINDS = ["constant", "linear", "cosine", "exponential"]
ANNEALING = KINDS[1:]

steps = st.integers(0, STEPS)
values = st.floats(1e-9, 1e3)
kinds = st.sampled_from(KINDS)


@st.composite
def schedules(draw: st.DrawFn, kinds: st.SearchStrategy[str] = kinds) -> Schedule:
    return Schedule(
        value=draw(values),
        kind=draw(kinds),  # pyright: ignore[reportArgumentType]
        final=draw(values),
        warmup_steps=draw(st.integers(0, STEPS - 1)),
        steps=STEPS,
    )


def pytorch(kind: str, value: float, final: float, count: int) -> list[float]:
    """The learning rates of PyTorch's own scheduler, before each step and after the last."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=value)
    scheduler: LRScheduler = {
        "linear": lambda: LinearLR(optimizer, start_factor=1.0, end_factor=final / value, total_iters=count),
        "cosine": lambda: CosineAnnealingLR(optimizer, T_max=count, eta_min=final),
        "exponential": lambda: ExponentialLR(optimizer, gamma=(final / value) ** (1 / count)),
    }[kind]()
    rates = []
    for _ in range(count + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("kind", ANNEALING)
def test_each_kind_is_that_of_pytorch(kind):
    schedule = Schedule(value=7e-4, kind=kind, final=2e-5, steps=50)
    assert [schedule.at(step) for step in range(51)] == pytest.approx(pytorch(kind, 7e-4, 2e-5, 50), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_up_rises_from_zero_and_takes_its_steps_from_the_schedule(kind):
    """LinearLR's rise, then PyTorch's own schedule over the 40 other steps."""
    schedule = Schedule(value=7e-4, kind=kind, final=2e-5, steps=50, warmup_steps=10)
    rest = [7e-4] * 41 if kind == "constant" else pytorch(kind, 7e-4, 2e-5, 40)
    expected = [7e-4 * step / 10 for step in range(10)] + rest
    assert [schedule.at(step) for step in range(51)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_without_a_final_value_it_ends_at_zero(kind):
    schedule = Schedule(value=0.1, kind=kind, steps=4)
    expected = {
        "linear": [0.1, 0.075, 0.05, 0.025],
        "cosine": [0.05 * (1 + math.cos(math.pi * u / 4)) for u in range(4)],
    }
    assert [schedule.at(step) for step in range(4)] == pytest.approx(expected[kind])
    assert [schedule.at(step) for step in (4, 5, 10**9)] == [0.0, 0.0, 0.0]


@hypothesis.given(value=values, start=steps, step=steps)
def test_linear_to_zero_has_the_bits_of_the_formula(value, start, step):
    """Presets and checkpoints of before go on with the same bits."""
    edited = Schedule(value=0.5, kind="linear", steps=STEPS).edited(value, start)
    if start < step:
        assert edited.at(step) == value * (max(1.0 - step / STEPS, 0.0) / (1.0 - start / STEPS))


@hypothesis.given(value=values, step=steps)
def test_constant_never_changes(value, step):
    assert Schedule(value=value).at(step) == value


def test_off_stays_off():
    assert Schedule(value=None).at(3) is None


@hypothesis.given(schedule=schedules(), value=values, step=st.integers(1, 2 * STEPS))
def test_an_edit_holds_exactly_from_its_moment(schedule, value, step):
    assert schedule.edited(value, step).at(step) == value


@hypothesis.given(schedule=schedules(), step=st.integers(0, 2 * STEPS))
def test_no_value_lies_outside_the_two_ends(schedule, step):
    low, high = sorted([schedule.value, schedule.final])
    if step < schedule.warmup_steps:
        low = 0.0
    assert low * (1 - 1e-12) <= schedule.at(step) <= high * (1 + 1e-12)


@hypothesis.given(
    schedule=schedules(st.sampled_from(ANNEALING)), value=values, start=steps, step=st.integers(STEPS, 10**9)
)
def test_an_edit_changes_neither_the_final_value_nor_its_step(schedule, value, start, step):
    edited = schedule.edited(value, start) if 0 < start < STEPS else schedule
    assert edited.at(step) == schedule.final


@hypothesis.given(schedule=schedules(), value=values, start=st.integers(1, STEPS), step=steps)
def test_after_an_edit_the_value_never_jumps(schedule, value, start, step):
    """A step of the schedule is at most a few times the mean one."""
    edited = schedule.edited(value, start)
    ahead = STEPS - max(start, schedule.warmup_steps)
    if step <= start or ahead <= 0:
        return
    moved = abs(edited.at(step) - edited.at(step - 1))
    steepest = abs(math.log(edited.final / value)) * max(edited.final, value) if edited.kind == "exponential" else 0.0
    assert moved <= 1.01 * (steepest + 2 * math.pi * abs(edited.final - value)) / ahead + 1e-12 * max(
        value, edited.final
    )


@hypothesis.given(schedule=schedules(), factor=st.floats(0.01, 100), start=st.integers(1, STEPS), step=steps)
def test_an_edit_rescales_what_remains(schedule, factor, start, step):
    """The way to the final value keeps its shape: its logarithm does, where the schedule multiplies."""
    if not schedule.warmup_steps <= start < step:
        return
    before, after = schedule, schedule.edited(schedule.at(start) * factor, start)
    if schedule.kind == "exponential":
        share = math.log(before.at(step) / before.final), math.log(before.at(start) / before.final)
        other = math.log(after.at(step) / after.final), math.log(after.at(start) / after.final)
    else:
        share = before.at(step) - before.final, before.at(start) - before.final
        other = after.at(step) - after.final, after.at(start) - after.final
    scale = max(map(abs, (*share, *other, 1e-12))) ** 2
    assert share[0] * other[1] == pytest.approx(share[1] * other[0], rel=1e-6, abs=1e-9 * scale)


def test_an_edit_during_the_warm_up_ends_it():
    schedule = Schedule(value=1.0, kind="linear", warmup_steps=10, steps=20)
    assert schedule.at(4) == pytest.approx(0.4)
    edited = schedule.edited(0.2, 4)
    assert [edited.at(step) for step in (4, 7, 10, 15, 20)] == pytest.approx([0.2, 0.2, 0.2, 0.1, 0.0])


def test_an_edit_after_the_end_stays():
    edited = Schedule(value=1.0, kind="cosine", final=0.1, steps=20).edited(0.5, 20)
    assert [edited.at(step) for step in (20, 21, 1000)] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("kind", ANNEALING)
def test_a_warm_up_longer_than_the_run_is_cut_off(kind):
    schedule = Schedule(value=1.0, kind=kind, final=0.1, warmup_steps=40, steps=20)
    assert [schedule.at(step) for step in (0, 10, 20)] == [0.0, 0.25, 0.5]


def test_survives_json():
    schedule = Schedule(value=2.5e-4, kind="cosine", final=1e-5, steps=100).edited(1e-4, 30)
    assert Schedule(**json.loads(json.dumps(dataclasses.asdict(schedule)))) == schedule
