"""The door for files from outside: regular, bounded, never waited for."""

import os
from pathlib import Path

import pytest

from ppo_tui.errors import UsageError
from ppo_tui.files import RefusedFileError, check_output, open_regular, parse_json, read_file


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedFileError, match="not a regular file"):
        open_regular(tmp_path / "pipe")


def test_a_device_is_refused():
    with pytest.raises(RefusedFileError, match="not a regular file"):
        read_file("/dev/zero", 10)


def test_a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_refused(tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    assert read_file(file, 10) == b"x" * 10
    with pytest.raises(RefusedFileError, match="larger than 9 bytes"):
        read_file(file, 9)


def test_a_link_is_followed_only_where_that_is_allowed(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", 10) == b"x"
    with pytest.raises(OSError, match="symbolic links"):
        read_file(tmp_path / "link", 10, follow=False)


def test_a_file_is_read_relative_to_an_open_directory(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"x")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    tmp_path.rename(tmp_path.with_name("moved"))
    assert read_file("file", 10, dir_fd=descriptor) == b"x"
    os.close(descriptor)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{", b"\xff", b"1" * 5_000, b'{"a": ' * 100_000], ids=lambda content: content[:4]
)
def test_json_of_any_shape_is_parsed_or_refused(content: bytes):
    with pytest.raises(RefusedFileError):
        parse_json(content, "run.json")


def test_a_link_is_no_file_to_write_a_result_into(tmp_path: Path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link").symlink_to("victim")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling"):
        with pytest.raises(UsageError, match="symbolic link"):
            check_output("--output", tmp_path / name)
    for name in (".", "missing/file", "victim/file", "n" * 300, "nul\0"):
        with pytest.raises(UsageError):
            check_output("--output", tmp_path / name)
    for path in (tmp_path / "new", tmp_path / "victim", Path("/dev/stdout"), Path("/dev/null")):
        check_output("--output", path)
