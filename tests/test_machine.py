"""Cores and memory under limits of control groups: on trees of files like the kernel's, and on the kernel's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.machine import GROUPS, available_cores, available_memory, cpu_quota, memory_limit
from ppo_tui.workers import resolve_workers
from tests.conftest import ROOT, linux_alone

TOTAL = psutil.virtual_memory().total

V1 = "4:memory:/a/b\n1:cpu,cpuacct:/a/b\n0::/\n"
V2 = "0::/a/b\n"


@pytest.fixture(autouse=True)
def sixty_four_cores(monkeypatch):
    """A large machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


def tree(root: Path, own: str | bytes, files: dict[str, str | bytes]) -> tuple[Path, Path]:
    """A file with the groups of the process, and the root of a tree with these files."""
    (root / "own").write_bytes(own.encode() if isinstance(own, str) else own)
    for path, content in files.items():
        file = root / "fs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return root / "own", root / "fs"


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        # Version 2.
        (V2, {"a/b/cpu.max": "50000 100000\n"}, 1),
        (V2, {"a/b/cpu.max": "250000 100000\n"}, 2),
        (V2, {"a/b/cpu.max": "400000 100000\n"}, 4),
        (V2, {"a/b/cpu.max": "40000 10000\n"}, 4),
        (V2, {"a/b/cpu.max": "400000\n"}, 4),
        (V2, {"a/b/cpu.max": "max 100000\n"}, 64),
        (V2, {"a/b/cpu.max": "99900000 100000\n"}, 64),
        # The smallest of all groups above counts.
        (V2, {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        (V2, {"a/cpu.max": "300000 100000", "a/b/cpu.max": "800000 100000"}, 3),
        (V2, {"a/cpu.max": "max 100000", "a/b/cpu.max": "800000 100000"}, 8),
        (V2, {"cpu.max": "200000 100000", "a/b/cpu.max": "800000 100000"}, 2),
        (V2, {"a/c/cpu.max": "100000 100000", "a/b/cpu.max": "800000 100000"}, 8),
        # In a container, whose root is the group named otherwise outside.
        ("0::/\n", {"cpu.max": "150000 100000"}, 1),
        ("0::/docker/0123abc\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/../../other\n", {"cpu.max": "300000 100000"}, 3),
        # Both versions side by side, the second in its own place.
        (V1 + "0::/c\n", {"unified/c/cpu.max": "500000 100000"}, 5),
        # Version 1, mounted under one controller's name or both.
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "50000\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 1),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "150000", "cpu,cpuacct/a/b/cpu.cfs_period_us": "50000"}, 3),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "-1\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 64),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_quota_us": "700000"}, 7),
        ("3:cpuset:/a\n2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "600000"}, 6),
        ("3:cpuset:/a\n", {"cpu/cpu.cfs_quota_us": "600000"}, 64),
        # A name with a colon, and one that is not UTF-8.
        ("0::/a:b\n", {"a:b/cpu.max": "200000 100000"}, 2),
        (b"0::/\xff\n", {os.fsdecode(b"\xff/cpu.max"): "200000 100000"}, 2),
        # Malformed files limit nothing.
        (V2, {"a/b/cpu.max": ""}, 64),
        (V2, {"a/b/cpu.max": "many 100000"}, 64),
        (V2, {"a/b/cpu.max": b"\xff\0 100000"}, 64),
        (V2, {"a/b/cpu.max": "0 100000"}, 64),
        (V2, {"a/b/cpu.max": "-5 100000"}, 64),
        (V2, {"a/b/cpu.max": "300000 0"}, 3),
        (V2, {"a/b/cpu.max": "9" * 5_000}, 64),
        (V2, {"a/b/cpu.max/directory": ""}, 64),
        ("", {"cpu.max": "100000 100000"}, 64),
        ("garbage", {"cpu.max": "100000 100000"}, 64),
    ],
)
def test_quotas_count_as_cores(own, files, cores, tmp_path):
    assert available_cores(*tree(tmp_path, own, files)) == cores


def test_without_control_groups_the_affinity_counts(tmp_path):
    nothing = (tmp_path / "missing", tmp_path / "missing")
    assert (available_cores(*nothing), cpu_quota(*nothing), memory_limit(*nothing)) == (64, None, None)
    assert available_memory(*nothing) == TOTAL


def test_the_affinity_counts_where_it_is_smaller_than_the_quota(tmp_path, monkeypatch):
    places = tree(tmp_path, V2, {"a/b/cpu.max": "800000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert available_cores(*places) == 2


def test_workers_follow_the_quota(tmp_path):
    """A worker per core of a container of four on a machine of 64."""
    cores = available_cores(*tree(tmp_path, V2, {"a/b/cpu.max": "400000 100000"}))
    assert resolve_workers("auto", "auto", 64, cores) == (4, 2)


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        (V2, {"a/b/memory.max": "1073741824\n"}, 2**30),
        (V2, {"a/b/memory.max": "max\n"}, None),
        (V2, {"a/memory.max": "536870912", "a/b/memory.max": "1073741824"}, 2**29),
        ("0::/\n", {"memory.max": "1048576"}, 2**20),
        (V1, {"memory/a/b/memory.limit_in_bytes": "1073741824\n"}, 2**30),
        (V1, {"memory/a/b/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        (
            V1,
            {"memory/a/memory.limit_in_bytes": "1048576", "memory/memory.limit_in_bytes": "9223372036854771712"},
            2**20,
        ),
        (V2, {"a/b/memory.max": "a lot"}, None),
        (V2, {"a/b/memory.max": b"\xff"}, None),
    ],
)
def test_limits_of_memory_count(own, files, limit, tmp_path):
    places = tree(tmp_path, own, files)
    assert memory_limit(*places) == limit
    assert available_memory(*places) == (limit or TOTAL)


def test_a_limit_above_the_machines_memory_is_none(tmp_path):
    assert available_memory(*tree(tmp_path, V2, {"a/b/memory.max": str(TOTAL * 2)})) == TOTAL


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_no_content_of_these_files_is_an_error(tmp_path_factory, own, cpu, memory):
    places = tree(tmp_path_factory.mktemp("groups"), own, {"cpu.max": cpu, "memory.max": memory})
    assert 1 <= available_cores(*places) <= 64
    assert 1 <= available_memory(*places) <= TOTAL


# ── The kernel's own ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def half_a_core() -> Iterator[Path]:
    """A group below the root with a quota of half a core."""
    version_1 = (GROUPS / "cpu").is_dir()
    group = (GROUPS / "cpu" if version_1 else GROUPS) / f"ppo-tui-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            if version_1:
                (group / "cpu.cfs_quota_us").write_text("50000")
            else:
                (group / "cpu.max").write_text("50000 100000")
        except OSError as error:
            pytest.skip(f"no quota can be set here: {error}")
        yield group
    finally:
        group.rmdir()


@linux_alone
def test_doctor_tells_of_the_quota(half_a_core):
    enter = f"echo $$ > {half_a_core}/cgroup.procs && exec {sys.executable} -c"
    code = "from ppo_tui.checkup.machine import check_cores; print(check_cores().found)"
    done = subprocess.run(["sh", "-c", f"{enter} '{code}'"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1 of ")
    assert "grants 0.5" in done.stdout
    assert "breakout gets 1 worker" in done.stdout
