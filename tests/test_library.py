"""The library as its users have it: examples of the pages, `open_run`, progress, interrupts, notebooks."""

from __future__ import annotations

import code
import io
import re
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from rich.console import Console

import ppo_tui
from ppo_tui import Trainer, load_policy, load_preset, open_run
from ppo_tui.errors import ConfigError, DamagedRunError, UsageError
from ppo_tui.protocol import EpisodeFinished, Rewound, RunFinished, RunState, UpdateFinished, encode
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.entries import CHECKPOINTS
from ppo_tui.sinks import EventLog
from ppo_tui.training.hub import FunctionSink
from ppo_tui.training.progress import TerminalProgress, progress_sink
from tests.conftest import ROOT

SMALL = ("run.seed=3", "rollout.num_envs=2", "rollout.steps=64", "workers.count=1", "run.total_steps=512")

EXAMPLE = re.compile(r"(?:<!-- not run: (?P<why>[^\n]+?) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)

PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "```python" in page.read_text("utf-8")
]


def write_run(directory: RunDirectory, config: Any) -> RunDirectory:
    """Train in a run directory, as the command line does, and leave it."""
    try:
        record = EventLog(directory)
        trainer = Trainer(config, sinks=[record], checkpoint_dir=directory.held / CHECKPOINTS, name=directory.name)
        assert trainer.run().state is RunState.FINISHED
    finally:
        directory.release()
    return directory


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """The directory of a short run named first."""
    config = load_preset("cartpole", overrides=[*SMALL, "run.checkpoint_seconds=0.001"])
    path = tmp_path_factory.mktemp("runs") / "first"
    return write_run(RunDirectory.create(config, label="cartpole", path=path), config).path


# ── The pages ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_one_after_the_other(page: Path, first: Path, tmp_path: Path, monkeypatch, capfd):
    """As in a script or the cells of a notebook: one namespace a page, named ``__main__``."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(first, tmp_path / "runs" / "first")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    registered = set(gymnasium.registry)
    text = page.read_text("utf-8")
    try:
        for example in EXAMPLE.finditer(text):
            if example["why"] is None:
                line = text.count("\n", 0, example.start("code"))
                exec(compile("\n" * line + example["code"], page.name, "exec", dont_inherit=True), namespace)
    finally:
        for name in set(gymnasium.registry) - registered:
            del gymnasium.registry[name]
    printed = capfd.readouterr()
    assert printed.err == ""
    if page.stem == "extending":
        assert "best episode" in printed.out


def test_the_first_example_takes_ten_lines():
    first_one = EXAMPLE.search((ROOT / "README.md").read_text("utf-8"))
    assert first_one is not None
    assert len(first_one["code"].strip().splitlines()) <= 10


def test_the_help_of_the_package_names_everything_public():
    assert ppo_tui.__doc__ is not None
    assert all(f"`{name}`" in ppo_tui.__doc__ for name in ppo_tui.__all__ if name != "__version__")
    for name in ppo_tui.__all__:
        assert getattr(ppo_tui, name) is not None


# ── A trainer ───────────────────────────────────────────────────────────────────────────────────────────────


REFUSED_PLACES = {
    "work": "holds thesis.txt",
    "work/thesis.txt": "is a file",
    "link": "a symbolic link",
    "run": "holds checkpoints",
    "run/checkpoints/latest": "a symbolic link",
}


def test_a_trainer_runs_once_and_its_checkpoints_replace_no_work_of_others(first: Path, tmp_path: Path):
    thesis = tmp_path / "work" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("42")
    (tmp_path / "link").symlink_to(thesis.parent)
    (tmp_path / "empty").mkdir()
    run = shutil.copytree(first, tmp_path / "run", symlinks=True)
    before = everything_below(tmp_path)
    with Trainer(load_preset("cartpole", overrides=SMALL)) as trainer:
        for place, problem in REFUSED_PLACES.items():
            with pytest.raises(UsageError, match=f"{problem}.*\n.*name a new directory"):
                trainer.save(tmp_path / place)
        assert everything_below(tmp_path) == before
        for place in ("new", "new", "empty"):
            assert load_policy(trainer.save(tmp_path / place)).act(np.zeros(4)) in (0, 1)
        damaged = tmp_path / "new" / "manifest.json"
        damaged.write_text("{")
        with pytest.raises(UsageError, match="of no checkpoint"):
            trainer.save(tmp_path / "new")
    with pytest.raises(UsageError, match="for one run\n.*make another one"):
        trainer.run()
    assert open_run(run).summary.state == "finished"


# ── open_run ────────────────────────────────────────────────────────────────────────────────────────────────


def everything_below(path: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of change of everything in a directory."""
    found = {str(entry): entry.lstat() for entry in [path, *path.rglob("*")]}
    return {name: (facts.st_ino, facts.st_size, facts.st_mtime_ns) for name, facts in found.items()}


def test_an_opened_run_gives_its_record_and_touches_nothing(first: Path):
    before = everything_below(first)
    run = open_run("first", runs_dir=first.parent)
    assert run.path == open_run(first).path == open_run("latest", runs_dir=str(first.parent)).path
    assert repr(run) == "Run('first', finished, 512 steps of CartPole-v1)"
    steps, returns = run.metrics["rollout/ep_rew_mean"]
    assert steps.tolist() == [128.0, 256.0, 384.0, 512.0]
    assert returns.dtype == np.float64
    assert np.isfinite(returns[-1])
    assert run.metrics["train/value_loss"].values.shape == (4,)
    episodes = run.episodes
    assert len(episodes.returns) == len(list(run.events(EpisodeFinished))) > 10
    np.testing.assert_array_equal(episodes.returns, episodes.lengths)  # a CartPole's reward is 1
    assert set(episodes.envs.tolist()) == {0, 1}
    assert run.config.run.total_steps == 512
    assert run.facts["preset"] == "cartpole"
    newest, *_ = run.checkpoints
    assert newest.step == 512
    assert isinstance([*run.events()][-1], RunFinished)
    observation = np.ones(4, np.float32)
    assert run.policy().act(observation) == run.policy(newest.name).act(observation)
    assert run.policy("latest").act(observation) == load_policy(first).act(observation)
    assert everything_below(first) == before


def test_an_opened_run_is_read_while_it_is_trained(tmp_path: Path):
    """Each access sees more."""
    config = load_preset("cartpole", overrides=[*SMALL, "run.total_steps=256"])
    directory = RunDirectory.create(config, label="cartpole", path=tmp_path / "live")
    seen: list[tuple[int, int, str]] = []
    run = open_run(tmp_path / "live")
    assert len(run.metrics) == len(run.episodes.steps) == len(run.checkpoints) == 0

    def look(event: Any) -> None:
        if isinstance(event, UpdateFinished):
            seen.append((len(run.metrics["time/fps"].steps), run.summary.step, run.summary.state))

    try:
        record = EventLog(directory)
        Trainer(config, sinks=[record, FunctionSink(look)], checkpoint_dir=directory.held / CHECKPOINTS).run()
    finally:
        directory.release()
    assert seen == [(1, 128, "running"), (2, 256, "running")]


def test_what_is_left_of_a_damaged_run_is_given(first: Path, tmp_path: Path):
    path = shutil.copytree(first, tmp_path / "damaged")
    (path / "run.json").write_text('{"name": 7')
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"time/total_timesteps": 640, "rol')
    with (path / "events.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\n")
        file.write(encode(Rewound(path="step-000000000128", step=128, update=1)) + b"\n")
    run = open_run(path)
    assert run.summary.state == "damaged"
    assert run.summary.problem
    assert run.metrics["time/fps"].steps[-1] == 512
    assert 0 < run.episodes.steps[-1] <= 128
    assert run.config.env.id == "CartPole-v1"
    (path / "config.toml").unlink()
    assert run.config.env.id == "CartPole-v1"
    shutil.rmtree(path / "checkpoints")
    assert run.checkpoints == ()
    with pytest.raises(DamagedRunError, match="damaged is damaged"):
        assert run.config
    shutil.rmtree(path)
    with pytest.raises(DamagedRunError):
        assert run.summary


def test_wrong_names_are_answered_with_the_nearest(first: Path):
    run = open_run(first)
    with pytest.raises(UsageError, match="did you mean 'first'"):
        open_run("frist", runs_dir=first.parent)
    with pytest.raises(KeyError, match="did you mean 'rollout/ep_rew_mean'"):
        run.metrics["rolout/ep_rew_mean"]
    assert run.metrics.get("nothing") is None
    with pytest.raises(UsageError, match="no such checkpoint"):
        run.policy("step-1")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(first: Path, device: str):
    for load in (load_policy, lambda path, device: open_run(path).policy(device=device)):
        with pytest.raises(ConfigError, match=f"run.device = '{device}'"):
            load(first, device=device)


def test_metrics_become_a_data_frame_where_pandas_is(first: Path):
    metrics = open_run(first).metrics
    try:
        import pandas
    except ImportError:
        with pytest.raises(UsageError, match="pip install pandas"):
            metrics.to_pandas()
        return
    frame = metrics.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == [128, 256, 384, 512]
    assert set(frame.columns) == set(metrics)


# ── Progress, interrupts, notebooks ─────────────────────────────────────────────────────────────────────────


def test_the_line_of_progress_shows_return_speed_and_time_left():
    text = io.StringIO()
    line = TerminalProgress(Console(file=text, force_terminal=True, width=120))
    trainer = Trainer(load_preset("cartpole", overrides=SMALL), sinks=[line])
    result = trainer.run()
    line.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
    assert f"512/512 return {result.metrics['rollout/ep_rew_mean']:.1f}" in shown
    assert re.search(r"finished .* [\d,]+ steps/s 0:0", shown)


def test_progress_is_quiet_where_nobody_sees_it(capsys):
    assert progress_sink() is None
    trainer = Trainer(load_preset("cartpole", overrides=[*SMALL, "run.total_steps=128"]))
    assert trainer.run(progress=True).state is RunState.FINISHED
    assert capsys.readouterr() == ("", "")


def interrupting(times: int) -> Any:
    """A sink that interrupts this thread so often at its first update."""
    left = [times]

    def emit(event: Any) -> None:
        if isinstance(event, UpdateFinished) and left:
            for _ in range(left.pop()):
                signal.raise_signal(signal.SIGINT)

    return FunctionSink(emit)


def test_an_interrupt_stops_in_good_order_and_gives_the_result(tmp_path: Path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    config = load_preset("cartpole", overrides=SMALL)
    try:
        result = Trainer(config, sinks=[interrupting(1)], checkpoint_dir=tmp_path).run()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt):
            Trainer(config, sinks=[interrupting(2)]).run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.state, result.exit_code, result.step) == (RunState.STOPPED, 130, 128)
    assert load_policy(tmp_path / "latest").act(np.zeros(4)) in (0, 1)


CELLS = """
import asyncio, gc, weakref
import gymnasium, numpy
from ppo_tui import Trainer, load_preset

class Mine(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(3)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return numpy.zeros(2, numpy.float32), {}
    def step(self, action):
        return numpy.zeros(2, numpy.float32), float(action), bool(self.np_random.random() < 0.2), False, {}

gymnasium.register("Mine-v0", Mine)
config = load_preset("cartpole", overrides=["env.id=Mine-v0", *SMALL])
trainer = Trainer(config)
first = trainer.run()
gone = weakref.ref(trainer.policy)
del trainer

async def cell():
    trainer = Trainer(config)
    beside = asyncio.create_task(asyncio.sleep(0))
    second = trainer.run(progress=True)
    await beside
    return second, await asyncio.to_thread(Trainer(config).run)

second, third = asyncio.run(cell())
gc.collect()
"""


def test_cells_of_a_notebook_train_one_after_the_other():
    """A ``__main__`` without a file, an environment of its own, a running loop; all is freed afterwards."""
    threads = set(threading.enumerate())
    console = code.InteractiveInterpreter({"__name__": "__main__", "SMALL": SMALL})
    registered = set(gymnasium.registry)
    try:
        console.runsource(CELLS, "<cell>", "exec")
    finally:
        for name in set(gymnasium.registry) - registered:
            del gymnasium.registry[name]
    results = [console.locals[name] for name in ("first", "second", "third")]
    assert [result.state for result in results] == [RunState.FINISHED] * 3
    assert len({result.metrics["rollout/ep_rew_mean"] for result in results}) == 1
    assert console.locals["gone"]() is None
    assert {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")} <= threads
