"""A3C: workers that learn on shared weights, each by itself, and an engine that steers them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
import torch

from ppo_tui import Trainer, load_policy, load_preset
from ppo_tui.config import OptimConfig
from ppo_tui.config.live import LIVE_FIELDS
from ppo_tui.config.stopping import is_rule
from ppo_tui.envs import make_env
from ppo_tui.errors import ConfigError
from ppo_tui.explanations import absence
from ppo_tui.ppo import Hyperparameters, build_policy
from ppo_tui.ppo.optimizers import make_optimizer
from ppo_tui.ppo.recurrent import RecurrentContext
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    CommandRefused,
    EpisodeFinished,
    GameClip,
    Pause,
    Resume,
    RunResumed,
    RunStarted,
    RunState,
    SettingChanged,
    SetValue,
    StateChanged,
    Stop,
    UpdateFinished,
    WatchGame,
    WorkersStatus,
)
from ppo_tui.training import examine
from ppo_tui.training.a3c import A3CEngine
from ppo_tui.training.a3c.own_envs import OwnEnvs
from ppo_tui.training.a3c.shared import LIVE, SharedLayout, SharedMemory, SharedOptimizer
from ppo_tui.training.a3c.worker import A3CSetup, ActorLearner
from ppo_tui.training.checkpoint.resume import ResumePoint
from ppo_tui.training.checkpoint.snapshot import read_checkpoint
from ppo_tui.training.ppo_engine import PPOEngine
from ppo_tui.training.start import boot_workers
from ppo_tui.workers import by_value
from ppo_tui.workers.process import kill_fork_server
from ppo_tui.workers.shared_memory import allocate_private
from tests.faults.conftest import FAULTY
from tests.processes import can_be_starved, starved
from tests.training.test_trainer import Recorder


def test_settings_without_a_use_are_those_that_its_workers_do_not_read():
    class Run:
        def configured(self, name):
            return {"run.algorithm": "a3c", "ppo.surrogate": "none"}.get(name)

        setting = configured

    used = {key for key in LIVE_FIELDS if not absence(key, Run()) and not is_rule(key)}
    assert {key.rpartition(".")[2] for key in used} == set(LIVE)


@pytest.fixture(scope="module", autouse=True)
def fork_server_with_torch() -> Iterator[None]:
    """Workers are forked with PyTorch loaded, as by a process that trains with A3C alone.

    The state of an environment has PyTorch's generator where it is loaded: those of other tests get a server without.
    """
    kill_fork_server()
    boot_workers(cartpole())
    yield
    kill_fork_server()


SMALL = ["rollout.num_envs=2", "policy.hidden=[16]", "rollout.steps=8"]


def cartpole(*overrides: str, steps: int = 320):
    return load_preset("a3c-cartpole", overrides=[*SMALL, f"run.total_steps={steps}", *overrides])


def run(config, react=lambda trainer, event: None, **arguments):
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(config, sinks=[recorder], **arguments)
    return trainer, trainer.run(), recorder


def shared_memory(num_parameters: int, optimizer: str) -> SharedMemory:
    layout = SharedLayout(num_workers=2, num_parameters=num_parameters, optimizer=optimizer)
    return SharedMemory(layout, allocate_private(layout))


class TestSharedOptimizer:
    @pytest.mark.parametrize("name", ["adam", "adamw", "radam", "rmsprop", "rmsprop-tf"])
    def test_two_that_take_turns_are_as_one(self, name):
        """Weights and statistics are shared: alternating gradients lead where a single optimiser gets with all."""
        optim = OptimConfig(name=name)
        shared = shared_memory(5, name)
        one, other = SharedOptimizer(shared, optim), SharedOptimizer(shared, optim)
        one.reset()
        shared.weights.copy_(torch.arange(5))
        single = torch.nn.Parameter(torch.arange(5).float())
        reference = make_optimizer([single], optim)
        for index, gradient in enumerate(torch.randn(6, 5, generator=torch.Generator().manual_seed(0))):
            norm, finite = (one, other)[index % 2].step(gradient.clone(), learning_rate=0.1, max_grad_norm=1.0)
            assert norm == pytest.approx(gradient.norm().item())
            assert finite
            single.grad = gradient * min(1.0, 1.0 / gradient.norm().item())
            reference.param_groups[0]["lr"] = 0.1
            reference.step()
        torch.testing.assert_close(shared.weights, single.detach())

    @pytest.mark.parametrize("name", ["adam", "adamw", "radam", "rmsprop"])
    def test_a_gradient_that_is_not_finite_changes_nothing(self, name):
        shared = shared_memory(3, name)
        optimizer = SharedOptimizer(shared, OptimConfig(name=name))
        optimizer.step(torch.ones(3), learning_rate=0.1, max_grad_norm=1.0)
        before = [
            shared.weights.clone(),
            *(tensor.clone() for tensor in shared.statistics.values()),
            shared.step.clone(),
        ]
        norm, finite = optimizer.step(torch.tensor([1.0, np.nan, 1.0]), learning_rate=0.1, max_grad_norm=1.0)
        assert np.isnan(norm)
        assert not finite
        for old, new in zip(before, [shared.weights, *shared.statistics.values(), shared.step], strict=True):
            assert old.equal(new)


class TestActorLearner:
    def learner(self, *overrides: str) -> tuple[ActorLearner, SharedMemory]:
        """One of them in this process, with weights of its own choice."""
        config = cartpole(*overrides)
        info = examine(config)
        ours, theirs = multiprocessing.Pipe()
        self.parent = ours  # whose end would close the pipe
        env_fn = by_value.dumps(functools.partial(make_env, config.env))
        layout = SharedLayout(num_workers=2, num_parameters=self.count(config, info), optimizer=config.optim.name)
        shared = SharedMemory(layout, allocate_private(layout))
        learner = ActorLearner(A3CSetup(1, 0, config, info, env_fn, layout, None), shared, theirs)
        shared.weights.copy_(torch.randn(len(shared.weights), generator=torch.Generator().manual_seed(0)) / 4)
        learner._weights.copy_(shared.weights)
        learner._collector.reset()
        return learner, shared

    @staticmethod
    def count(config, info) -> int:
        policy = build_policy(info.observation_space, info.action_space, config.policy, frame_stack=1)
        return sum(parameter.numel() for parameter in policy.parameters())

    @pytest.mark.parametrize("recurrent", ["none", "lstm"])
    def test_its_gradient_is_that_of_algorithm_s3(self, recurrent):
        """R ← r + γ R backwards from V(s) or 0; the gradients of log π (R − V), (R − V)² and the entropy, summed."""
        learner, _ = self.learner(f"policy.recurrent={recurrent}", "policy.recurrent_size=4", "ppo.gae_lambda=1.0")
        hyper = Hyperparameters.from_config(cartpole())
        for _ in range(6):
            experience = learner._play()
            policy = learner._policy
            bootstrap = 0.0 if experience.terminations[-1] else experience.last_values.item()
            states = None if experience.states is None else experience.states[0]
            returns, running = [], bootstrap
            for reward in reversed(experience.rewards[:, 0].tolist()):
                running = reward + hyper.gamma * running
                returns.insert(0, running)
            total = torch.zeros(())
            for t, target in enumerate(returns):
                context = None if states is None else RecurrentContext(states)
                distribution, value = policy(experience.observation(t), None, context)
                states = policy.evaluate(experience.observation(t), context).states
                log_prob = distribution.log_prob(experience.actions[t])[0]
                total = total - log_prob * (target - value.detach()[0])
                total = total + hyper.value_coef * 0.5 * (target - value[0]) ** 2
                total = total - hyper.entropy_coef * distribution.entropy()[0]
            expected = torch.cat([g.flatten() for g in torch.autograd.grad(total, list(policy.parameters()))])
            learner._improve(experience, hyper)
            scale = min(1.0, hyper.max_grad_norm / expected.norm().item())
            torch.testing.assert_close(learner._gradients, expected * scale, rtol=1e-3, atol=1e-4)
            experience.carry_over()

    def test_a_rollout_ends_with_its_episode_and_no_later(self):
        learner, _ = self.learner("rollout.steps=50")
        lengths = []
        for _ in range(8):
            experience = learner._play()
            ended = experience.terminations | experience.truncations
            assert not ended[:-1].any()
            assert ended[-1].item() or experience.num_steps == 50
            lengths.append(experience.num_steps)
            experience.carry_over()
        assert len(set(lengths)) > 2


class TestOwnEnvs:
    def test_pytorchs_settings_of_the_environment_are_not_the_learners(self):
        config = cartpole("env.id=tests.workers.guests:Guest-v0", "env.kwargs.what=PyTorch", "env.kwargs.when=made")

        def settings():
            return torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device()

        before = settings()

        class Watching(gymnasium.Wrapper):
            def step(self, action):
                observation, _, *rest = self.env.step(action)
                settings = torch.get_default_dtype(), torch.is_grad_enabled()
                return observation, float(settings == (torch.float64, False)), *rest

        envs = OwnEnvs(lambda: Watching(make_env(config.env)), examine(config), slots=2, seed=1)
        envs.reset_into(0, [1])
        envs.send_step(0, np.array([1]), slot=1)
        envs.close()
        assert envs.shared.rewards[1, 0] == 1.0, "the environment keeps its own"
        assert settings() == before


class TestRun:
    def test_workers_share_weights_and_statistics_and_every_gradient_counts(self, tmp_path):
        _, result, record = run(cartpole(steps=640), checkpoint_dir=tmp_path / "checkpoints")
        result.raise_if_failed()
        (started,) = record.of(RunStarted)
        assert (started.num_workers, started.env_slices) == (2, ((0, 1), (1, 2)))
        metrics = record.of(UpdateFinished)[-1].metrics
        assert metrics["train/nonfinite"] == 0
        assert {event.env for event in record.of(EpisodeFinished)} == {0, 1}
        state = read_checkpoint(ResumePoint.newest(tmp_path / "checkpoints").path)
        # Two processes that count at the same moment may lose one, and some gradients are done after the last word.
        assert state.optimizer["adam/step"].item() > 0.9 * metrics["train/n_updates"]
        assert state.optimizer["adam/exp_avg_sq"].count_nonzero() > 0
        policy = load_policy(tmp_path)
        assert all(torch.equal(value, state.policy[name]) for name, value in policy.state_dict().items())

    def test_it_goes_on_from_a_checkpoint_and_says_that_it_is_not_exact(self, tmp_path):
        def stop(trainer, event):
            if isinstance(event, UpdateFinished) and event.update == 5:
                trainer.send(Stop(exit_code=143))

        _, stopped, _ = run(cartpole(steps=100_000), stop, checkpoint_dir=tmp_path)
        assert (stopped.state, stopped.exit_code) == (RunState.STOPPED, 143)
        point = ResumePoint.newest(tmp_path)
        saved = read_checkpoint(point.path)
        assert point.state.step == stopped.step >= 80

        def compare(trainer, event):
            if isinstance(event, RunResumed):
                assert trainer.policy.state_dict().keys() == saved.policy.keys()
                assert all(torch.equal(v, saved.policy[n]) for n, v in trainer.policy.state_dict().items())
                assert trainer.engine.learner.state_dict()["adam/step"] == saved.optimizer["adam/step"]

        config = point.config(overrides=[f"run.total_steps={stopped.step + 160}"])
        _, resumed, record = run(config, compare, resume_from=point.path)
        resumed.raise_if_failed()
        (event,) = record.of(RunResumed)
        assert not event.exact
        assert "timing" in event.differences[-1]
        assert record.of(UpdateFinished)[0].step > stopped.step

    @pytest.mark.parametrize(
        "number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.faults)], ids=["killed", "stopped"]
    )
    def test_a_lost_worker_is_replaced_and_learns_on_with_episodes_of_its_own(self, number):
        def react(trainer, event):
            if isinstance(event, UpdateFinished) and event.update == 3:
                trainer.send(WatchGame(env=1, fps=15.0))
                before.append(trainer.engine.pool.shared.weights.clone())
                os.kill(trainer.engine.pool.workers[1].process.pid, number)
            if isinstance(event, Alarm):
                replaced.append(len(record.of(EpisodeFinished)))
            if replaced and isinstance(event, GameClip):
                trainer.send(Stop())

        before, replaced = [], []
        record = Recorder(lambda event: react(trainer, event))
        config = cartpole("workers.step_timeout=2", steps=10_000_000)
        trainer = Trainer(config, sinks=[record])
        result = trainer.run()
        assert result.state is RunState.STOPPED, result.reason
        (alarm,) = record.of(Alarm)
        cause = r"\(pid \d+, environments 1 to 1\) was killed by SIGKILL|\(pid \d+\) for 2 s"
        assert re.search(rf"worker 1 ({cause}), restarted 1/5, in a new episode", alarm.message), alarm.message
        assert record.of(GameClip)[-1].env == 1, "whom one watched one watches still"
        assert [worker.restarts for worker in record.of(WorkersStatus)[-1].workers] == [0, 1]
        seeds = {
            dataclasses.replace(trainer.engine.pool._setup, index=i, restarts=n).seed for i in (0, 1) for n in (0, 1, 2)
        }
        assert len(seeds) == 6
        assert not before[0].equal(trainer.engine.pool.shared.weights)

    @pytest.mark.faults
    @can_be_starved
    def test_a_worker_without_a_core_to_run_on_does_not_hang(self):
        timeout = 1.5

        def react(trainer, event):
            if not isinstance(event, UpdateFinished):
                return
            if event.update == 3:
                shortage.enter_context(starved(trainer.engine.pool.workers[1].process.pid))
                began.append(time.monotonic())
            elif began and time.monotonic() - began[0] > 3 * timeout:
                trainer.send(Stop())

        began = []
        with contextlib.ExitStack() as shortage:
            config = cartpole(f"workers.step_timeout={timeout}", steps=10_000_000)
            _, result, record = run(config, react)
        assert result.state is RunState.STOPPED, result.reason
        assert not record.of(Alarm)

    def test_a_worker_lost_too_often_ends_the_run_and_what_was_learnt_is_kept(self, tmp_path):
        def kill(trainer, event):
            if (isinstance(event, UpdateFinished) and event.update == 3) or isinstance(event, Alarm):
                trainer.engine.pool.workers[1].process.kill()

        config = cartpole("workers.max_restarts=2", steps=10_000_000)
        _, result, record = run(config, kill, checkpoint_dir=tmp_path)
        assert (result.state, result.exit_code) == (RunState.FAILED, 3)
        assert "worker 1" in result.reason
        assert "was killed by SIGKILL, after 2 restarts without a whole round between" in result.reason
        assert [re.search(r"restarted \S+", alarm.message)[0] for alarm in record.of(Alarm)] == [
            "restarted 1/2,", "restarted 2/2,"
        ]  # fmt: skip
        assert record.of(CheckpointSaved)[-1].reason == "failure"
        assert ResumePoint.newest(tmp_path).state.update >= 3

    @pytest.mark.faults
    def test_with_no_restarts_allowed_the_run_ends(self):
        def kill(trainer, event):
            if isinstance(event, UpdateFinished) and event.update == 3:
                trainer.engine.pool.workers[1].process.kill()

        _, result, record = run(cartpole("workers.max_restarts=0", steps=10_000_000), kill)
        assert (result.state, result.exit_code) == (RunState.FAILED, 3)
        assert re.search(r"worker 1 .* was killed by SIGKILL\n", result.reason)
        assert not record.of(Alarm)

    @pytest.mark.faults
    def test_restarts_count_anew_after_the_steps_of_a_whole_round(self):
        def kill(trainer, event):
            if isinstance(event, UpdateFinished) and event.update == 1:
                trainer.engine.pool.workers[1].process.kill()
            if isinstance(event, EpisodeFinished) and event.env == 1 and len(record.of(Alarm)) == 1:
                taken[0] += event.length
                if taken[0] >= trainer.config.batch_size + trainer.config.rollout.steps:
                    trainer.engine.pool.workers[1].process.kill()
            if isinstance(event, Alarm) and "1/1" in event.message and len(record.of(Alarm)) == 2:
                trainer.send(Stop())

        taken = [0]
        record = Recorder(lambda event: kill(trainer, event))
        trainer = Trainer(cartpole("workers.max_restarts=1", steps=10_000_000), sinks=[record])
        assert trainer.run().state is RunState.STOPPED

    def test_an_environment_that_cannot_go_on_is_reported_with_its_error(self):
        config = cartpole("env.id=tests.training.misbehaving:Raising-v0", "workers.max_restarts=1", steps=1_000_000)
        _, result, record = run(config)
        assert (result.state, result.exit_code) == (RunState.FAILED, 3)
        assert "in environment" in result.reason
        assert "the ball left the table" in result.reason
        assert "the ball left the table" in record.of(Alarm)[0].message
        assert "Traceback" in record.of(Alarm)[0].details

    def test_a_child_that_an_environment_forks_neither_learns_nor_reports(self):
        child = [f"env.id={FAULTY}", "env.kwargs.what='child raises'", "env.kwargs.at=45"]
        _, result, record = run(cartpole(*child))
        assert (result.state, record.of(Alarm)) == (RunState.FINISHED, [])

    def test_it_is_paused_and_steered_like_any_run(self):
        def react(trainer, event):
            if isinstance(event, UpdateFinished) and event.update == 2:
                trainer.send(Pause())
                trainer.send(SetValue(key="optim.learning_rate", value=5e-4))
                trainer.send(SetValue(key="ppo.epochs", value=3))
            if isinstance(event, StateChanged) and event.state is RunState.PAUSED:
                held.append(trainer.engine.pool.shared.paused)
                threading.Thread(target=lambda: trainer.send(Resume())).start()

        held: list[bool] = []
        trainer, result, record = run(cartpole(), react)
        result.raise_if_failed()
        assert held == [True]
        (change,) = record.of(SettingChanged)
        assert (change.key, change.new) == ("optim.learning_rate", 5e-4)
        assert record.of(UpdateFinished)[-1].metrics["train/learning_rate"] <= 5e-4
        assert trainer.engine.pool.shared.read_hyperparameters()["learning_rate"] <= 5e-4
        assert "ppo.epochs" in record.of(CommandRefused)[0].message

    def test_the_game_of_any_worker_can_be_watched(self):
        def react(trainer, event):
            if isinstance(event, RunStarted):
                trainer.send(WatchGame(env=7))
            if isinstance(event, RunStarted | UpdateFinished):
                trainer.send(WatchGame(env=1, fps=15.0))
            if isinstance(event, GameClip):
                trainer.send(Stop(save=False))

        _, _, record = run(cartpole(steps=1_000_000), react)
        clip = record.of(GameClip)[-1]
        assert clip.env == 1
        assert len(clip.frames) > 5
        assert "envs are 0 to 1" in record.of(CommandRefused)[0].message

    def test_pong_with_the_networks_of_the_original(self):
        config = load_preset("a3c-pong", overrides=["rollout.num_envs=2", "run.total_steps=120"])
        trainer, result, record = run(config)
        result.raise_if_failed()
        names = [name for name, _ in trainer.policy.named_parameters()]
        assert sum("convolutions" in name for name in names) == 8
        assert trainer.policy.actor_memory.layer.hidden_size == 256
        assert trainer.policy.actor_trunk.num_features == 3 * 3 * 32
        assert record.of(UpdateFinished)[-1].metrics["train/nonfinite"] == 0

    @pytest.mark.slow
    def test_cartpole_is_learnt(self):
        """Random play lasts for 22 steps."""
        _, result, record = run(load_preset("a3c-cartpole", overrides=["run.total_steps=12_000"]))
        result.raise_if_failed()
        returns = [event.episode_return for event in record.of(EpisodeFinished)]
        assert np.mean(returns[:20]) < 60
        assert np.mean(returns[-20:]) > 90


class TestConfiguration:
    @pytest.mark.parametrize(
        "override",
        [
            "ppo.epochs=2",
            "ppo.surrogate=clip",
            "ppo.normalize_advantage=true",
            "ppo.normalize_values=true",
            "ppo.target_kl=0.1",
            "policy.normalize_observations=true",
            "optim.learning_rate_schedule=kl-adaptive",
            "optim.name=muon",
            "optim.critic_learning_rate=0.001",
            "run.device=cuda",
            "workers.count=1",
        ],
    )
    def test_what_a3c_does_not_have_is_refused(self, override):
        key, _, value = override.partition("=")
        with pytest.raises(ConfigError, match=f"{key} = '?{value}'?: with run.algorithm = 'a3c' it must be") as refusal:
            cartpole(override)
        assert "a3c-cartpole" in refusal.value.hint

    def test_each_algorithm_has_its_engine(self):
        for config, engine in ((cartpole(), A3CEngine), (load_preset("cartpole"), PPOEngine)):
            with Trainer(config) as trainer:
                assert isinstance(trainer.engine, engine)
