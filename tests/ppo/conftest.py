"""Settings for all tests of the mathematics."""

import hypothesis
import torch

# How long an example takes says nothing about whether it is right.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

torch.set_num_threads(1)
