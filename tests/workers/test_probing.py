"""Environments are examined in a process of their own: whatever they do there stays there."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import warnings

import numpy as np
import psutil
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Text, Tuple

from ppo_tui.config import build_config
from ppo_tui.envs import EnvInfo
from ppo_tui.envs.plain import plain_space, space_of
from ppo_tui.errors import ConfigError, WorkerError
from ppo_tui.system.processes import has_fork_server
from ppo_tui.training import examine
from ppo_tui.workers import WorkerPool
from tests.conftest import ROOT
from tests.waiting import still_running
from tests.workers.envs import Counter
from tests.workers.guests import Guest, OwnSpaces, Parent


def examined(env_id: str = "tests.workers.guests:Guest-v0", start_timeout: float = 60.0, **kwargs) -> EnvInfo:
    env = {"id": env_id, **({"kwargs": kwargs} if kwargs else {})}
    return examine(build_config({"env": env, "workers": {"start_timeout": start_timeout, "step_timeout": 20.0}}))


def refusal(**arguments) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        examined(**arguments)
    return caught.value


def own_state() -> list:
    """What an environment could change in this process."""
    return [
        os.getcwd(),
        dict(os.environ),
        list(sys.path),
        list(warnings.filters),
        [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)],
        random.getstate(),
        np.random.get_state()[1].tolist(),
        np.geterr(),
        threading.active_count(),
        sys.getrecursionlimit(),
    ]


@pytest.mark.parametrize("when", ["made", "reset", "step", "closed"])
def test_an_environment_changes_nothing_outside_its_process(when, capfd):
    before = own_state()
    assert examined(what="change everything", when=when).action_space == Discrete(2)
    assert own_state() == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("when", ["made", "reset"])
def test_a_crash_in_c_is_told_with_the_last_output(when):
    error = refusal(what="crash", when=when)
    assert (
        error.message
        == "env.id = 'tests.workers.guests:Guest-v0': making and resetting it killed its process (SIGSEGV)"
    )
    assert "it printed: loading the simulator / cannot open display �[31m:0" in error.hint


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("abort", r"killed its process \(SIGABRT\)"),
        ("exit", "ended its process: it exited with code 0"),
        ("raise SystemExit", "SystemExit: no licence"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise MemoryError", "MemoryError"),
    ],
)
def test_any_other_end_of_the_process_is_a_sentence(what, words):
    error = refusal(what=what)
    assert error.exit_code == 2
    with pytest.raises(ConfigError, match=words):
        raise error


def test_a_hang_ends_with_the_time_limit_of_a_worker():
    seconds = 2 if has_fork_server() else 20  # a process that is spawned loads Python and its packages first
    error = refusal(what="hang", start_timeout=float(seconds))
    assert f"did not end (no reply for {seconds} s)" in error.message
    assert "workers.start_timeout; it printed: connecting to the simulator" in error.hint


@pytest.mark.parametrize("what", ["hang", "crash", "exit", "raise", "raise SystemExit", "raise KeyboardInterrupt"])
def test_a_close_that_goes_wrong_costs_at_most_two_seconds(what):
    assert examined(what=what, when="closed").num_masked == 0


@pytest.mark.parametrize("what", ["crash", "exit", "raise", "raise SystemExit"])
def test_a_first_step_that_goes_wrong_is_left_to_the_run(what):
    assert examined(what=what, when="step").num_masked == 0


def test_threads_and_processes_of_an_environment_end_with_it():
    before = set(psutil.process_iter())
    examined(what="thread")
    examined(what="processes")
    sleepers = [process for process in set(psutil.process_iter()) - before if _is_sleeper(process)]
    assert not still_running(sleepers, seconds=5)


def _is_sleeper(process: psutil.Process) -> bool:
    try:
        return process.cmdline() == ["sleep", "3600"]
    except psutil.Error:
        return False


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_workers_may_have_processes_which_end_with_them(how):
    pool = WorkerPool([functools.partial(Guest, "processes")] * 2, num_workers=2)
    pool.reset(seed=0)
    families = [psutil.Process(worker.pid).children(recursive=True) for worker in pool.workers]
    assert all(len(family) >= 3 for family in families)
    if how == "killed":
        os.kill(pool.workers[0].pid, signal.SIGKILL)
    pool.close()
    assert not still_running([process for family in families for process in family], seconds=10)


def test_an_environment_can_end_its_own_processes():
    with contextlib.closing(WorkerPool([Parent], num_workers=1)) as pool:
        assert pool.call("end_children") == ([-signal.SIGTERM, -signal.SIGTERM],)
        assert pool.call("fork_and_end_at_once", 5) == ([-signal.SIGTERM] * 5,)


def test_a_pool_learns_the_spaces_of_any_constructor_without_making_it_here():
    before = own_state()
    length = 4
    pool = WorkerPool([lambda: Guest("change everything"), lambda: Counter(length=length)][:1], num_workers=1)
    assert own_state() == before
    assert pool.single_action_space == Discrete(2)
    pool.close()
    with pytest.raises(WorkerError, match="making an environment killed its process"):
        WorkerPool([lambda: Guest("crash")], num_workers=1)
    with pytest.raises(WorkerError, match="RuntimeError: close twice"):
        WorkerPool([lambda: Guest("raise")], num_workers=1)


def test_a_space_of_a_class_of_its_own_arrives_as_its_numbers():
    assert type(examined("tests.workers.guests:OwnSpaces-v0").observation_space) is Box
    pool = WorkerPool([OwnSpaces], num_workers=1)
    assert type(pool.single_observation_space) is Box
    pool.close()


@pytest.mark.parametrize(
    "space",
    [
        Box(0, 255, (8, 6), np.uint8),
        Box(np.float32([-1, -np.inf]), np.float32([np.inf, 2])),
        Box(-1e300, 1e300, (), np.float64),
        Discrete(3, start=-1),
        Discrete(5, dtype=np.int32),
        MultiDiscrete([[2, 3], [4, 5]]),
        MultiDiscrete([2, 3], start=[5, -1]),
        MultiBinary(4),
        MultiBinary([2, 3]),
        Dict(z=Box(0, 1, (2,)), a=Dict(b=Discrete(2))),
        Tuple([Discrete(2), MultiBinary(3)]),
    ],
)
def test_spaces_travel_as_plain_numbers(space):
    arrived = space_of(plain_space(space))
    assert (arrived, repr(arrived), arrived.dtype) == (space, repr(space), space.dtype)


def test_other_spaces_do_not():
    assert plain_space(Dict(a=Text(3))) is None
    assert plain_space(Tuple([Discrete(2), Graph(Box(0, 1, (2,)), None)])) is None


@pytest.mark.parametrize("env_id", ["ALE/Breakout-v5", "CarRacing-v3", "CartPole-v0", "Breakout-v4"])
def test_a_fresh_process_examines_in_silence(env_id):
    code = (
        "from ppo_tui.config import build_config; from ppo_tui.training import examine\n"
        "from ppo_tui.errors import ConfigError\n"
        f"try: examine(build_config({{'env': {{'id': {env_id!r}}}}}))\n"
        "except ConfigError: pass"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (result.stdout, result.stderr) == ("", "")


def test_works_with_closed_standard_streams():
    code = (
        "import os; os.close(1); os.close(2)\n"
        "from ppo_tui.config import build_config; from ppo_tui.training import examine\n"
        "examine(build_config({'env': {'id': 'CartPole-v1'}})); os._exit(0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_a_module_beside_the_shell_is_found_and_shadows_nothing(tmp_path):
    (tmp_path / "mine.py").write_text("import gymnasium\ngymnasium.register('Mine-v0', 'tests.workers.guests:Guest')\n")
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')\n")
    code = (
        f"import sys, os; sys.path[0] = {str(ROOT)!r}; os.chdir({str(tmp_path)!r})\n"
        "from ppo_tui.config import build_config; from ppo_tui.training import examine\n"
        "print(examine(build_config({'env': {'id': 'mine:Mine-v0'}})).action_space)\n"
        "print(any('mine.py' in str(getattr(m, '__file__', '')) for m in list(sys.modules.values())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "Discrete(2)\nFalse\n", done.stderr


PARENT = """
    import functools, time
    import psutil
    from ppo_tui.workers import WorkerPool
    from tests.workers.guests import Guest
    pool = WorkerPool([functools.partial(Guest, "processes")], num_workers=1)
    print(*[process.pid for process in psutil.Process(pool.workers[0].pid).children(recursive=True)], flush=True)
    time.sleep(100)
"""


def test_no_process_of_an_environment_survives_a_killed_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    family = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(family) >= 3
    family[0].parent().suspend()  # a worker that runs would end them itself
    parent.kill()
    parent.wait()
    assert not still_running(family, seconds=10)
