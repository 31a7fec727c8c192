"""A table of hostile inputs: files, names, numbers and run directories of strangers, over all commands.

Each row is a command line in a world of its own. Whatever it is, the command ends in time with a documented exit code,
prints no traceback and no control character, changes no file that is not its own, and leaves no process behind.
``python -m tests.faults.hostile`` prints the table.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

CODES = {0, 2, 3, 4, 130, 143}
"""The documented exit codes."""

ESCAPES = "\x1b]0;PWN\x07\x1b[2J\x9b31m\u202e\u2066\x7f\x1b]52;c;UFdO\x1b\\"
"""A title, a cleared screen, C1, bidi, DEL, and the clipboard."""

Spoil = Callable[[Path], object]


class Row(NamedTuple):
    """One row.

    Attributes:
        name: unique, of inputs and command.
        argv: what follows ``ppo-tui``.
        prepare: changes the world first; called with its directory.
        heavy: whether it loads PyTorch or starts processes.
    """

    name: str
    argv: list[str]
    prepare: Spoil = lambda world: None
    heavy: bool = False


# ── Words on the command line ───────────────────────────────────────────────────────────────────────────────

WORDS = {
    "escapes": ESCAPES,
    "markup": '[/] [ "',
    "surrogate": "torn\udc80\udcff",
    "nothing": "",
    "dot": ".",
    "dots": "../../..",
    "long": "x" * 5_000,
    "deep": "a/" * 3_000,
    "device": "/dev/zero",
    "full": "/dev/full",
    "pipe": "fifo",
    "loop": "loop",
    "folder": "folder",
    "nobody": "~nosuchuser/x",
    "formula": "=cmd|' /C calc'!A0",
    "format": "%s%n{0}{x}$(touch PWNED)",
    "lines": "one\ntwo\r\nthree",
    "null": "nul\0byte",
    "number": "9" * 5_000,
    "infinity": "1e999",
    "victim": "victim/precious",
}

_TRAIN = ["--preset", "cartpole", "--headless", "--total-steps", "256"]

PLACES: dict[str, Callable[[str], list[str]]] = {
    "preset": lambda word: ["--preset", word, "--headless"],
    "presets": lambda word: ["presets", word],
    "name": lambda word: [*_TRAIN, "--name", f"{word}/"],
    "device": lambda word: [*_TRAIN, "--device", f"{word} "],
    "theme": lambda word: ["--preset", "cartpole", "--theme", word],
    "log-format": lambda word: [*_TRAIN, "--log-format", word or "x"],
    "resume-mode": lambda word: [*_TRAIN, "--resume", word],
    "seed": lambda word: [*_TRAIN, "--seed", word or "x", "--set", "workers.count=0"],
    "workers": lambda word: [*_TRAIN, "--workers", f"{word},"],
    "set": lambda word: [*_TRAIN, "--set", word],
    "set-key": lambda word: [*_TRAIN, "--set", f"{word}=1"],
    "set-env": lambda word: [*_TRAIN, "--set", f"env.id={json.dumps(word)}"],
    "set-kwargs": lambda word: [*_TRAIN, "--set", f"env.kwargs.x={json.dumps(word)}"],
    "set-hidden": lambda word: [*_TRAIN, "--set", f"policy.hidden=[{word}]"],
    "set-network": lambda word: [*_TRAIN, "--set", f"policy.network={word}"],
    "option": lambda word: [f"--{word}"],
    "command": lambda word: [word],
    "resume": lambda word: ["resume", word, "--headless"],
    "attach": lambda word: ["attach", word],
    "replay": lambda word: ["replay", word],
    "ctl-run": lambda word: ["ctl", word, "status"],
    "ctl-action": lambda word: ["ctl", "ok", word],
    "ctl-step": lambda word: ["ctl", "ok", "step", word],
    "ctl-set": lambda word: ["ctl", "ok", "set", word, word],
    "ctl-rewind": lambda word: ["ctl", "ok", "rewind", word],
    "eval": lambda word: ["eval", word],
    "eval-checkpoint": lambda word: ["eval", "ok", "--checkpoint", word],
    "watch": lambda word: ["watch", word],
    "export": lambda word: ["export", word],
    "export-format": lambda word: ["export", "ok", "--format", word],
    "compare": lambda word: ["compare", word],
    "compare-metric": lambda word: ["compare", "ok", "--metric", word],
    "compare-by": lambda word: ["compare", "ok", "--by", word],
    "compare-csv": lambda word: ["compare", "ok", "--csv", f"nowhere/{word}"],
    "compare-plot": lambda word: ["compare", "ok", "--plot", f"nowhere/{word}"],
    "report": lambda word: ["report", word],
    "report-output": lambda word: ["report", "ok", "--no-game", "--output", f"nowhere/{word}"],
    "import": lambda word: ["import", word, "--preset", "cartpole"],
    "sweep-search": lambda word: ["sweep", "--preset", "cartpole", "--search", word],
    "sweep-seeds": lambda word: ["sweep", "--preset", "cartpole", "--seeds", f"{word},"],
    "sweep-preset": lambda word: ["sweep", "--preset", word],
    "bench": lambda word: ["bench", "--preset", word],
    "serve": lambda word: ["serve", word],
}
"""Where a word may stand."""

NUMBERS = ("-1", "0", "1e308", "nan", "inf", "9" * 400, "0x" + "f" * 200, "true", "[1]", "{a = 1}", "''", "1979-05-27")

SETTINGS = (
    "workers.count", "rollout.num_envs", "rollout.steps", "ppo.minibatches", "ppo.epochs", "policy.hidden",
    "policy.recurrent_size", "run.torch_threads", "run.seed", "run.total_steps", "run.max_episodes",
    "workers.step_timeout", "env.frame_stack", "env.hide", "eval.every", "run.keep_checkpoints",
)  # fmt: skip

LARGE = (
    ["--envs", "65536", "--set", "rollout.steps=1000000", "--set", "ppo.minibatches=1"],
    ["--set", "policy.hidden=[65536,65536,65536]"],
    ["--set", "policy.hidden=[4611686018427387904]"],
    ["--set", "run.torch_threads=1099511627776"],
    ["--set", "run.torch_threads=1000000"],
    ["--device", "cuda:999"],
    ["--device", "cuda:128"],
    ["--device", "cuda:99999999999999999999"],
    ["--envs", "65536", "--workers", "4096"],
    ["--set", "env.kwargs." + "a." * 10_000 + "a=1"],
    ["--set", "env.kwargs={" + "a." * 50_000 + "a=1}"],
    ["--set", "env.kwargs.x=" + "[" * 50_000],
    ["--set", "env.kwargs.x=" + "{a=" * 50_000],
)


def words() -> Iterator[Row]:
    """Rows of hostile words, numbers and sizes."""
    for place, argv in PLACES.items():
        for word, text in WORDS.items():
            yield Row(f"{place} {word}", argv(text))
    for key in SETTINGS:
        for number in NUMBERS:
            # The second setting is refused: no row of these trains.
            yield Row(f"{key} {number[:20]}", [*_TRAIN, "--set", f"{key}={number}", "--device", "cuda:99"])
    for number, argv in enumerate(LARGE):
        yield Row(f"large {number}", [*_TRAIN, *argv])


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────

_ENV = b"[env]\nid = 'CartPole-v1'\n"

FILES: dict[str, bytes | Spoil] = {
    "empty": b"",
    "binary": b"\x7fELF\0\0",
    "latin-1": "# año\n".encode("latin-1"),
    "utf-16": "[env]\nid = 'x'\n".encode("utf-16"),
    "escapes": f"# {ESCAPES}\n[env]\nid = 'CartPole-v1'\n".encode(),
    "escapes-in-id": f"[env]\nid = {json.dumps(ESCAPES)}\n".encode(),
    "escapes-in-key": f"[env]\nid = 'CartPole-v1'\n{json.dumps(ESCAPES)} = 1\n".encode(),
    "dotted": b"a." * 100_000 + b"a = 1\n",
    "dotted-header": _ENV + b"[env.kwargs." + b"a." * 3_000 + b"a]\n",
    "dotted-inline": b"x = {" + b"a." * 100_000 + b"a = 1}\n",
    "lists": b"x = " + b"[" * 100_000,
    "tables": b"x = " + b"{a = " * 100_000,
    "deep-kwargs": _ENV + b"[env.kwargs]\nx = " + b"[" * 60 + b"]" * 60 + b"\ny = " + b"{a = " * 60 + b"1" + b"}" * 60,
    "digits": _ENV + b"[run]\nseed = " + b"9" * 5_000,
    "hexadecimal": _ENV + b"[run]\nseed = 0x" + b"f" * 5_000,
    "huge": b"#" * 2_000_000,
    "many-lines": b"\n" * 900_000 + b"x",
    "long-word": b"a" * 900_000,
    "not-a-number": _ENV + b"[optim]\nlearning_rate = nan\n",
    "date": _ENV + b"[run]\nseed = 1979-05-27\n",
    "code": b"[env]\nid = 'antigravity:Env-v0'\n",
    "command": _ENV + b"[notify]\ncommand = 'touch PWNED'\n",
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path.name),
    "nowhere": lambda path: path.symlink_to("gone"),
    "memory": lambda path: path.symlink_to("/proc/self/mem"),
    "secret": lambda path: (path.write_bytes(_ENV), path.chmod(0)),
    "sparse": lambda path: (path.touch(), os.truncate(path, 2**40)),
}

_FILE_COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "train": lambda path: ["--preset", path, "--headless", "--device", "cuda:99"],
    "presets": lambda path: ["presets", path],
    "sweep": lambda path: ["sweep", "--preset", path, "--set", "run.device=cuda:99", "--search", "x=1..2"],
    "bench": lambda path: ["bench", "--preset", path, "--set", "run.device=cuda:99"],
    "import": lambda path: ["import", path, "--preset", "cartpole"],
}


def make(path: Path, content: bytes | Spoil) -> None:
    """Make a file of `FILES`."""
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)


def files() -> Iterator[Row]:
    """Rows of hostile presets, given to every command that reads a file; and the user's own keys."""
    for name, content in FILES.items():
        for command, argv in _FILE_COMMANDS.items():
            path = f"{name}.toml"
            yield Row(f"file {name} {command}", argv(path), lambda world, p=path, c=content: make(world / p, c))

        def keys(world: Path, content: bytes | Spoil = content) -> None:
            (world / "config" / "ppo-tui").mkdir(parents=True)
            make(world / "config" / "ppo-tui" / "keys.toml", content)

        yield Row(f"keys {name}", ["--preset", "cartpole", "--device", "cuda:99"], keys)


def _zip(**members: bytes) -> Spoil:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name.replace("policy_pth", "policy.pth"), content)

    return write


ZIPS: dict[str, Spoil] = {
    "nothing": _zip(),
    "no-policy": _zip(data=b"{}"),
    "deep-data": _zip(data=b"[" * 100_000, policy_pth=b""),
    "pickle": _zip(data=b"{}", policy_pth=b"cos\nsystem\n(S'touch PWNED'\ntR."),
    "escapes": _zip(data=json.dumps({"policy_class": {"__module__": ESCAPES}}).encode(), policy_pth=ESCAPES.encode()),
    "bomb": _zip(data=b"{}", policy_pth=b"\0" * 50_000_000),
    "digits": _zip(data=b'{"num_timesteps": ' + b"9" * 5_000 + b"}", policy_pth=b""),
}


def zips() -> Iterator[Row]:
    """Rows of zips that are no models, by hostile names."""
    for name, write in ZIPS.items():
        for file in (f"{name}.zip", f"{name}-\x1b[31m\u202e.zip", f"{name}-torn\udc80.zip"):
            yield Row(
                f"zip {file}",
                ["import", file, "--preset", "cartpole"],
                lambda world, f=file, w=write: w(world / f),
                True,
            )


# ── Run directories of strangers ────────────────────────────────────────────────────────────────────────────


def _facts(**changes: object) -> Spoil:
    def change(run: Path) -> None:
        facts = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(facts | changes))

    return change


def _content(name: str, content: bytes | Spoil) -> Spoil:
    def change(run: Path) -> None:
        path = run / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path, content)

    return change


def _append(name: str, *lines: object) -> Spoil:
    def change(run: Path) -> None:
        with (run / name).open("ab") as file:
            for line in lines:
                file.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")

    return change


def _replaced(name: str, old: str, new: str) -> Spoil:
    def change(run: Path) -> None:
        text = (run / name).read_text()
        (run / name).write_text(text.replace(old, new))

    return change


def _newest(run: Path) -> Path:
    return (run / "checkpoints" / "latest").resolve()


def _to_victim(name: str, target: str = "precious") -> Spoil:
    def change(run: Path) -> None:
        path = run / name
        path.unlink(missing_ok=True)
        path.symlink_to(run.parents[1] / "victim" / target)

    return change


_EVENT = {"time": 1.7e9, "event": "alarm", "level": "warn"}

RUNS: dict[str, Spoil] = {
    "facts-escapes": _facts(name=ESCAPES, env=ESCAPES, preset=ESCAPES, status=ESCAPES, reason=ESCAPES, git=ESCAPES,
                            device=ESCAPES, versions={ESCAPES: ESCAPES}),
    "facts-formula": _facts(name="=cmd|' /C calc'!A0", preset="=cmd|' /C calc'!A0"),
    "facts-tex": _facts(name="$\\frac{$", preset="$\\frac{$"),
    "facts-surrogate": _facts(name="a\ud800b", preset="a\ud800b", reason="\udfff"),
    "facts-markup": _facts(name="[/] [bold", preset="[/]"),
    "facts-long": _facts(name="x" * 100_000),
    "facts-lists": _facts(name=[], env={}, versions=["torch"], status=[1], seed="one", total_steps="many", started=[]),
    "facts-null": _facts(name=None, env=None, versions=None, status=None, seed=None, total_steps=None, started=None),
    "facts-numbers": _facts(total_steps=10**400, seed=-(10**400)),
    "facts-late": _facts(started=1e300, ended=1e300),
    "facts-early": _facts(started=-1e300),
    "facts-endless": _facts(started=10**400),
    "facts-infinite": _facts(started=float("inf"), total_steps=float("nan")),
    "facts-running": _facts(status="running", pid=1),
    "json-empty": _content("run.json", b""),
    "json-nested": _content("run.json", b"[" * 100_000),
    "json-list": _content("run.json", b"[1]"),
    "json-digits": _content("run.json", b'{"started": ' + b"9" * 5_000 + b"}"),
    "json-pipe": _content("run.json", os.mkfifo),
    "json-device": _content("run.json", FILES["device"]),
    "json-folder": _content("run.json", Path.mkdir),
    "config-empty": _content("config.toml", b""),
    "config-escapes": _content("config.toml", FILES["escapes-in-id"]),
    "config-dotted": _content("config.toml", FILES["dotted"]),
    "config-pipe": _content("config.toml", os.mkfifo),
    "config-device": _content("config.toml", FILES["device"]),
    "config-code": _content("config.toml", FILES["code"]),
    "config-command": _append("config.toml", b"[notify]\ncommand = 'touch PWNED'"),
    "config-wide": _replaced("config.toml", "hidden = [", "hidden = [ 1099511627776,"),
    "metrics-nested": _append("metrics.jsonl", b"[" * 100_000, b'{"a": ' * 100_000),
    "metrics-escapes": _append("metrics.jsonl",
                               {"time/total_timesteps": 300, ESCAPES: 1.0, "rollout/ep_rew_mean": 1.0}),
    "metrics-huge": _append("metrics.jsonl", {"time/total_timesteps": 10**300, "rollout/ep_rew_mean": 1e300},
                            {"time/total_timesteps": 1e308, "rollout/ep_rew_mean": -1e308}),
    "metrics-back": _append("metrics.jsonl", {"time/total_timesteps": -1e300, "rollout/ep_rew_mean": 1.0}),
    "metrics-null": _append("metrics.jsonl", {"time/total_timesteps": None}, b"null", b"\xff\xfe", b"{"),
    "metrics-line": _append("metrics.jsonl", b"x" * 5_000_000),
    "metrics-pipe": _content("metrics.jsonl", os.mkfifo),
    "metrics-device": _content("metrics.jsonl", FILES["device"]),
    "metrics-folder": _content("metrics.jsonl", Path.mkdir),
    "metrics-gone": _content("metrics.jsonl", Path.touch),
    "events-escapes": _append("events.jsonl", _EVENT | {"message": ESCAPES, "text": ESCAPES},
                              {"event": "setting", "key": ESCAPES, "old": ESCAPES, "new": ESCAPES, "by": ESCAPES,
                               "step": 1, "update": 1}),
    "events-start": _append("events.jsonl", {
        "event": "run-started", "run": "x", "config": {}, "seed": 1, "total_steps": 1, "num_envs": 1, "num_workers": 1,
        "rollout_steps": 1, "env_slices": [[0, 1]], "device": "cpu", "parameters": 1, "versions": {}}),
    "events-evaluated": _append("events.jsonl", {"event": "evaluated", "step": 1, "update": 1, "metrics": {},
                                                 "best": True, "checkpoint": "x", "path": "x"}),
    "events-update": _append("events.jsonl", {"event": "update", "step": 1, "update": 1, "metrics": {}}),
    "events-times": _append("events.jsonl", *({"event": "state", "state": "paused", "time": time, "elapsed": time}
                                              for time in (1e300, -1e300, 0, 1e18))),
    "events-nested": _append("events.jsonl", b"[" * 100_000),
    "events-line": _append("events.jsonl", b"x" * 5_000_000),
    "events-pipe": _content("events.jsonl", os.mkfifo),
    "events-device": _content("events.jsonl", FILES["device"]),
    "lock-pipe": _content("run.lock", os.mkfifo),
    "lock-folder": _content("run.lock", Path.mkdir),
    "lock-victim": _to_victim("run.lock"),
    "events-victim": _to_victim("events.jsonl"),
    "metrics-victim": _to_victim("metrics.jsonl"),
    "log-victim": _to_victim("run.log"),
    "workers-log-victim": _to_victim("workers.log"),
    "config-victim": _to_victim("config.toml"),
    "json-temporary-victim": _to_victim(".run.json.tmp"),
    "config-temporary-victim": _to_victim(".config.toml.tmp"),
    "tensorboard-victim": lambda run: (shutil.rmtree(run / "tensorboard", ignore_errors=True),
                                       _to_victim("tensorboard", ".")(run)),
    "socket-file": _content("control.sock", b"precious"),
    "manifest-pipe": lambda run: _content("manifest.json", os.mkfifo)(_newest(run)),
    "manifest-device": lambda run: _content("manifest.json", FILES["device"])(_newest(run)),
    "manifest-nested": lambda run: _content("manifest.json", b"[" * 100_000)(_newest(run)),
    "state-empty": lambda run: _content("state.json", b"")(_newest(run)),
    "policy-empty": lambda run: _content("policy.safetensors", b"")(_newest(run)),
    "policy-device": lambda run: _content("policy.safetensors", FILES["device"])(_newest(run)),
    "checkpoints-gone": lambda run: shutil.rmtree(run / "checkpoints"),
    "checkpoints-file": _content("checkpoints", b""),
    "checkpoints-escapes": lambda run: (run / "checkpoints" / "step-\x1b[31m\u202e").mkdir(),
    "latest-loop": _content("checkpoints/latest", FILES["loop"]),
    "latest-outside": lambda run: ((run / "checkpoints" / "latest").unlink(),
                                   (run / "checkpoints" / "latest").symlink_to("/")),
    "nothing-left": lambda run: [path.unlink() for path in run.iterdir()
                                 if path.name != "run.json" and not path.is_dir()],
}  # fmt: skip
"""What is wrong with the run ``bad``: name → how it is made so."""

RUN_COMMANDS: dict[str, tuple[list[str], bool]] = {
    "runs": (["runs"], False),
    "runs-json": (["runs", "--json"], False),
    "status": (["ctl", "bad", "status"], False),
    "status-json": (["ctl", "bad", "status", "--json"], False),
    "pause": (["ctl", "bad", "pause"], False),
    "latest": (["ctl", "latest", "status"], False),
    "replay": (["replay", "bad"], False),
    "attach": (["attach", "bad"], False),
    "compare": (["compare", "bad", "ok", "--csv", "out.csv", "--plot", "out.svg"], False),
    "report": (["report", "bad", "ok", "--no-game", "--output", "out.html"], False),
    "eval": (["eval", "bad", "--episodes", "1"], True),
    "resume": (["resume", "bad", "--headless", "--quiet", "--total-steps", "512"], True),
    "resume-auto": ([*_TRAIN, "--quiet", "--run-dir", "runs/bad", "--resume", "auto"], True),
}
"""Command → what follows ``ppo-tui``, and whether it is heavy."""


def runs() -> Iterator[Row]:
    """Rows of spoilt run directories, given to every command that reads one."""
    for spoilt, spoil in RUNS.items():
        for command, (argv, heavy) in RUN_COMMANDS.items():

            def prepare(world: Path, spoil: Spoil = spoil) -> None:
                shutil.copytree(world / "runs" / "ok", world / "runs" / "bad", symlinks=True)
                spoil(world / "runs" / "bad")

            yield Row(f"run {spoilt} {command}", argv, prepare, heavy)


# ── Directories that are somebody's ─────────────────────────────────────────────────────────────────────────


def places() -> Iterator[Row]:
    """Rows of run directories that are not the program's to write."""
    for place in ("victim", "victim/precious", "/dev/null", "loop", "fifo", "", "x" * 300, "a/" * 3_000, "\x1b[31mred"):
        for extra in ([], ["--detached"], ["--resume", "auto"]):
            refused = ["--set", "env.id=Nothing-v0"] if place.startswith("\x1b") else []
            yield Row(
                f"run-dir {place[:20]} {' '.join(extra)}", [*_TRAIN, *refused, "--run-dir", place, *extra], heavy=True
            )


def table() -> list[Row]:
    """The whole table."""
    return [*words(), *files(), *zips(), *runs(), *places()]


if __name__ == "__main__":
    rows = table()
    for row in rows:
        print(f"{row.name!r:50}  ppo-tui {' '.join(map(repr, row.argv))[:150]}")
    print(len(rows), "rows")
