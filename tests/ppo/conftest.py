"""Settings for all tests of the mathematics."""

import hypothesis
import pytest
import torch

# The duration of an example says nothing about its result.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Undo the thread count of a trainer in an earlier test.

    The last bits of sums depend on it.
    """
    torch.set_num_threads(1)
