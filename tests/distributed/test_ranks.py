"""Two ranks with half a rollout each learn like one process."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ppo_tui.config import Config, build_config
from ppo_tui.distributed.ranks import ALONE, ProcessGroup, Ranks
from ppo_tui.errors import RankLostError
from ppo_tui.ppo import ActorCritic, Hyperparameters, Learner, RolloutBuffer
from tests.conftest import ROOT
from tests.ppo.test_learner import CPU, SCREEN, VECTOR, make_policy, make_rollout
from tests.ppo.test_recurrent import played

CASES = {
    "clipped, normalised, two epochs": {"ppo": {"minibatches": 4, "epochs": 2}},
    "minibatches that lie on one rank alone": {"ppo": {"minibatches": 24, "epochs": 1}},
    "a KL penalty and a learning rate that follow the divergence": {
        "ppo": {"surrogate": "kl-adaptive", "minibatches": 3},
        "optim": {"learning_rate_schedule": "kl-adaptive", "learning_rate": 3e-3},
    },
    "Muon, a critic at its own rate, and a learning rate that follows every minibatch": {
        "ppo": {"minibatches": 3, "epochs": 1},
        "optim": {
            "name": "muon",
            "muon_learning_rate": 1e-4,  # it iterates in bfloat16, where the order of sums shows
            "learning_rate": 3e-3,
            "critic_learning_rate": 1e-3,
            "learning_rate_schedule": "kl-adaptive",
            "kl_adaptive_every": "minibatch",
        },
    },
    "an update that ends early": {"ppo": {"target_kl": 1e-4, "epochs": 10}, "optim": {"learning_rate": 1e-2}},
    "running statistics": {
        "ppo": {"normalize_rewards": True, "normalize_values": True},
        "policy": {"normalize_observations": True},
    },
    "A2C by RMSprop": {
        "ppo": {"surrogate": "none", "epochs": 1, "minibatches": 1, "normalize_advantage": False},
        "optim": {"name": "rmsprop"},
    },
    "an LSTM, an environment a minibatch": {"ppo": {"minibatches": 4}, "policy": {"recurrent": "lstm"}},
    "convolutions over stacked frames": {"ppo": {"minibatches": 4, "epochs": 1}, "policy": {"layer_norm": True}},
}


def policy_of(case: str) -> tuple[Config, ActorCritic]:
    config = build_config({"env": {"id": "None-v0"}, "rollout": {"num_envs": 4, "steps": 12}, **CASES[case]})
    convolutional = case.startswith("convolutions")
    return config, make_policy(config, SCREEN if convolutional else VECTOR, frame_stack=4 if convolutional else 1)


def rollout_of(case: str, seed: int) -> RolloutBuffer:
    """The rollout of all environments, bit for bit on every rank.

    The policy that acts is the same everywhere.
    """
    config, policy = policy_of(case)
    if policy.state_size:
        return played(policy, config, VECTOR, seed=seed)
    if case.startswith("convolutions"):
        return make_rollout(policy, config, SCREEN, frame_stack=4, seed=seed)
    return make_rollout(policy, config, seed=seed)


def part_of(rollout: RolloutBuffer, ranks: Ranks) -> RolloutBuffer:
    """The environments of this rank."""
    part, envs = copy.copy(rollout), ranks.share(rollout.num_envs)
    for name, tensor in list(vars(rollout).items()):
        if isinstance(tensor, torch.Tensor):
            vars(part)[name] = (tensor[envs] if name == "last_values" else tensor[:, envs]).contiguous()
    part.num_envs = rollout.num_envs // ranks.size
    return part


def learnt(case: str, ranks: Ranks) -> tuple[dict, list[dict]]:
    """Weights, the learner's state and the metrics of two updates."""
    config, policy = policy_of(case)
    learner = Learner(policy, config, CPU, ranks)
    metrics = []
    for seed in (1, 2):
        rollout = part_of(rollout_of(case, seed), ranks)
        metrics.append(learner.update(rollout, Hyperparameters.from_config(config)))
    return {**policy.state_dict(), **learner.state_dict()}, metrics


def as_rank(rank: int, directory: Path) -> None:
    """The work of each process: all cases, then one leaves."""
    torch.set_num_threads(1)
    where = f"file://{directory}/meeting"
    ranks = ProcessGroup(local_size=2, init_method=where, rank=rank, size=2, timeout=60)
    torch.save({case: learnt(case, ranks) for case in CASES}, directory / f"{rank}.pt")
    values = ranks.agree(lambda: {"nan": float("nan"), "rank": rank}, dict[str, float])
    words = ranks.exchange("word" * (1 + 500 * rank), str)
    gathered = ranks.gather(b"\0" * rank, bytes)
    if rank == 1:
        assert (values["rank"], len(words[1]), gathered) == (0, 2004, [])
        return
    assert (len(words[0]), len(words[1]), gathered) == (4, 2004, [b"", b"\0"])
    with pytest.raises(RankLostError, match="rank 0 has lost the other ranks"):
        while True:
            ranks.add_up(torch.zeros(1))


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory) -> list[dict]:
    """The results of two processes, by rank and case."""
    directory = tmp_path_factory.mktemp("ranks")
    # They end without tearing PyTorch down: gloo's threads, which still hold the lost connection, may abort in that.
    script = (
        "import os, sys, pathlib; from tests.distributed.test_ranks import as_rank; "
        "as_rank(int(sys.argv[1]), pathlib.Path(sys.argv[2])); os._exit(0)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(rank), str(directory)], cwd=ROOT, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    return [torch.load(directory / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_they_learn_what_one_process_learns(case: str, of_ranks):
    state, metrics = learnt(case, ALONE)
    for of_rank in of_ranks:
        ranks_state, ranks_metrics = of_rank[case]
        assert ranks_state.keys() == state.keys()
        for key, value in state.items():
            torch.testing.assert_close(ranks_state[key], value, rtol=1e-5, atol=1e-5, msg=key)
        for ours, theirs in zip(metrics, ranks_metrics, strict=True):
            for each in (ours, theirs):  # each rank looks for dead units in its own part of the minibatch
                each.pop("train/dead_units", None)
            assert theirs == pytest.approx(ours, rel=1e-3, abs=1e-5, nan_ok=True)


def test_all_ranks_have_the_same_weights_to_the_last_bit(of_ranks):
    for case in CASES:
        one, other = (of_rank[case][0] for of_rank in of_ranks)
        for key, value in one.items():
            torch.testing.assert_close(other[key], value, rtol=0, atol=0)
