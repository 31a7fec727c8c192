"""A run whose learner is compiled: refused in words where that cannot be, and resumable like any other."""

from __future__ import annotations

import pytest

from tests.commands.test_bad_input import assert_refused
from tests.training.checkpoint.test_resume import check_exact, small, stop_at


def test_a_compiler_that_is_not_there(ppo_tui, tmp_path):
    nothing = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = ppo_tui("--preset", "cartpole", "--device", "cpu", "--set", "run.compile=true", **nothing)
    assert_refused(done, tmp_path, "run.compile = true", "no-such-compiler", "a C++ compiler", "leave run.compile out")


@pytest.mark.slow
def test_it_goes_on_bit_for_bit(tmp_path):
    normalized = ["ppo.normalize_values=true", "policy.layer_norm=true"]
    check_exact(small("CartPole-v1", "run.compile=true", *normalized), tmp_path, stop_at(3, 17))
