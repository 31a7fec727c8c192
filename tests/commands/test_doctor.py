"""`ppo-tui doctor`: findings here, remedies for problems, exit codes."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from ppo_tui.checkup import CHECKS, Finding, Status, examine_machine
from ppo_tui.checkup.installation import check_extras, within
from ppo_tui.checkup.machine import check_disk, check_sockets, check_torch
from ppo_tui.checkup.terminal import describe_terminal
from ppo_tui.commands.doctor import print_findings
from tests.conftest import linux_alone


def test_this_machine_can_train(ppo_tui):
    """The tests run here, so no check may fail."""
    done = ppo_tui("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert list(findings) == list(CHECKS)
    assert "makes Breakout" in findings["Atari"]["found"]
    assert "workers in" in findings["cores"]["found"]
    assert all(finding["status"] in ("ok", "warn") for finding in findings.values())


def test_an_extra_is_there_only_with_the_packages_of_the_extras_that_it_names(monkeypatch):
    """Box2D is no requirement of this package, but of ``gymnasium[box2d]``."""
    version = metadata.version

    def without_box2d(name: str) -> str:
        if name.lower().startswith("box2d"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_box2d)
    _, _, absent = check_extras().found.partition("not installed: ")
    assert "box2d" in absent.split(", ")


@linux_alone
def test_a_directory_that_cannot_be_written_fails_with_a_remedy_and_code_3(ppo_tui, tmp_path):
    (tmp_path / "runs").symlink_to("/proc")
    done = ppo_tui("doctor")
    assert done.returncode == 3, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert "disk" in line
    assert "/proc cannot be written" in line
    assert "--run-dir DIR" in done.stdout
    assert "1 failed" in done.stdout


@pytest.mark.parametrize(
    ("version", "ranges", "expected"),
    [
        ("2.6.0", "<3,>=2.6", True),
        ("2.13.0+cpu", "<3,>=2.6", True),
        ("2.14.0.dev20260101+cpu", "<3,>=2.6", True),
        ("3.0.0rc1", "<3,>=2.6", False),
        ("2.5.9", "<3,>=2.6", False),
        ("3.0", "<3,>=2.6", False),
        ("0.12.1", "<0.13,>=0.11", True),
        ("0.13.0", "<0.13,>=0.11", False),
        ("3.11", ">=3.11", True),
        ("1.10", ">=1.9", True),
        ("7.0", "", True),
        ("not a version", ">=1", False),
    ],
)
def test_versions_are_compared_as_installers_compare_them(version: str, ranges: str, expected: bool):
    assert within(version, ranges) is expected


@pytest.mark.parametrize(
    ("size", "environment", "plain", "words"),
    [
        ((120, 40), {"TERM": "xterm-256color", "COLORTERM": "truecolor"}, False, ["16 million", "braille"]),
        ((120, 40), {"TERM": "xterm-256color"}, False, ["256 colours"]),
        ((120, 40), {"TERM": "xterm", "NO_COLOR": "1"}, False, ["no colours"]),
        ((58, 12), {"TERM": "xterm-256color"}, False, ["58×12", "one status line", "enlarge"]),
        ((120, 40), {"TERM": "dumb"}, False, ["dumb", "set TERM", "--headless"]),
        ((120, 40), {}, False, ["no TERM", "set TERM"]),
        ((120, 40), {"TERM": "xterm"}, False, ["16 colours", "--theme ansi"]),
        ((120, 40), {"TERM": "xterm-256color"}, True, ["ASCII", "LC_ALL"]),
    ],
)
def test_a_terminal_is_described_with_what_would_make_it_better(size, environment, plain, words):
    finding = describe_terminal(size, environment, plain=plain, pixels="no pixels (the connection is ssh)")
    for word in (*words, "no pixels (the connection is ssh)"):
        assert word in f"{finding.found} {finding.remedy}"
    assert (finding.status is Status.OK) == (not finding.remedy)


def test_a_check_that_breaks_down_has_failed_and_the_others_go_on(capsys):
    def broken() -> Finding:
        raise ValueError("no such thing\nat all")

    checks = {"one": broken, "two": lambda: Finding(Status.OK, "[red]fine")}
    assert print_findings(examine_machine(checks), as_json=False) is False
    out = capsys.readouterr().out
    assert "ValueError: no such thing" in out
    assert "[red]fine" in out, "what is found is never markup"


def test_checks_that_break_down_in_odd_ways_have_failed_each_with_its_remedy():
    def exiting() -> Finding:
        raise SystemExit("no such driver")

    def refused() -> Finding:
        raise PermissionError(13, "Permission denied", "/runs")

    checks = {"exit": exiting, "refused": refused, "long": lambda: Finding(Status.OK, "x" * 100_000)}
    found = dict(examine_machine(checks))
    assert [finding.status for finding in found.values()] == [Status.FAIL, Status.FAIL, Status.OK]
    assert "no such driver" in found["exit"].found
    assert found["refused"].found == "/runs: Permission denied"
    assert "reinstall" not in found["refused"].remedy
    assert len(found["long"].found) < 2_000


@pytest.mark.parametrize("threads", ["²", "9" * 5_000, "4,2", "", "-1"])
def test_odd_numbers_of_threads_are_pytorch_s_own_affair(threads: str, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert check_torch().status is Status.OK


def test_a_link_in_the_place_of_the_runs_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for target in ("runs", "nowhere"):
        (tmp_path / "runs").symlink_to(target)
        finding = check_disk()
        assert (finding.status, finding.found) == (Status.FAIL, "runs is not a directory")
        (tmp_path / "runs").unlink()


def test_a_temporary_directory_of_a_long_path_is_no_failure(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert check_sockets().status is Status.OK
