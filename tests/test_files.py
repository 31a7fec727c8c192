"""The door for files from outside: regular, bounded, never waited for."""

import contextlib
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.errors import UsageError
from ppo_tui.files import (
    MOST_LINE_BYTES,
    RefusedFileError,
    check_output,
    decoded,
    open_regular,
    parse_json,
    parse_toml,
    read_file,
    read_lines,
    read_text,
    write_file,
)


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
    assert list(read_lines(tmp_path / "link")) == [b"x"]
    with pytest.raises(OSError, match="symbolic links"):
        list(read_lines(tmp_path / "link", follow=False))


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{", b"\xff", b"1" * 5_000, b'{"a": ' * 100_000], ids=lambda content: content[:4]
)
def test_json_of_any_shape_is_parsed_or_refused(content: bytes):
    with pytest.raises(RefusedFileError):
        parse_json(content, "run.json")


DEEP = {
    "a key of 100,000 parts": "a." * 100_000 + "a = 1",
    "a key with spaces and quotes": " . ".join(['"a"'] * 40) + " = 1",
    "a header of 3,000 parts": "[" + "a." * 3_000 + "a]",
    "a key in an inline table": "x = {" + "a." * 50_000 + "a = 1}",
    "many keys just below the limit of time": "\n".join(f"b{n}." + "a." * 40 + "a = 1" for n in range(100)),
    "lists of 100,000 levels": "x = " + "[" * 100_000,
    "lists of 70 levels": "x = " + "[" * 70 + "]" * 70,
    "tables of 70 levels": "[a" + ".a" * 30 + "]\nx" + ".b" * 30 + " = {c = {d = {e = {f = {g = 1}}}}}",
    "an integer of 5,000 digits": "x = " + "9" * 5_000,
    "an integer of 5,000 hexadecimal digits": "x = 0x" + "f" * 5_000,
    "no TOML": "x = ",
    "a word of a megabyte": "a" * 1_000_000,
}


@pytest.mark.parametrize("name", DEEP)
def test_toml_beyond_the_limits_is_refused_at_once(name: str):
    with pytest.raises(RefusedFileError) as caught:
        parse_toml(DEEP[name], "mine.toml")
    assert "mine.toml" in str(caught.value)
    assert len(str(caught.value)) < 1_200


def test_toml_within_the_limits_is_parsed():
    text = 'a.b.c = 1\n"1.2.3" = "x.y.z"\nx = 0xffff_ffff_ffff\n[t.u]\nlist = [[[1]]]\n# … . . . .\n'
    assert parse_toml(text, "x") == {
        "a": {"b": {"c": 1}},
        "1.2.3": "x.y.z",
        "x": 0xFFFF_FFFF_FFFF,
        "t": {"u": {"list": [[[1]]]}},
    }


@given(st.text(st.sampled_from("ab.=\"'[]{}\n #1é"), max_size=200))
def test_any_text_is_parsed_or_refused(text: str):
    with contextlib.suppress(RefusedFileError):
        assert isinstance(parse_toml(text, "x"), dict)


@pytest.mark.parametrize(
    ("content", "words"), [(b"a\0b", "binary"), (b"a\n\xff", "line 2: byte 0xff is not UTF-8"), (b"xxxx", "larger")]
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RefusedFileError, match=words):
        read_text(tmp_path / "file", 3)


def test_odd_paths_are_refused_or_errors_of_the_system(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RefusedFileError, match="null byte"):
        read_file("nul\0byte", 10)
    with pytest.raises(RefusedFileError, match="is a directory"):
        read_file(tmp_path, 10)
    for path in (tmp_path / "loop", tmp_path / ("a" * 300), tmp_path / "gone"):
        with pytest.raises(OSError, match="loop|gone|aaa"):
            read_file(path, 10)


def test_a_file_is_written_whole_and_a_pipe_without_a_reader_is_not_waited_for(tmp_path: Path):
    write_file(tmp_path / "file", b"first and long")
    write_file(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"second"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        write_file(tmp_path / "pipe", b"x")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", b"x")
    assert os.read(reader, 10) == b"x"
    os.close(reader)


def test_lines_of_a_record_are_bounded_and_the_others_are_whole(tmp_path: Path):
    long = b"x" * (3 * MOST_LINE_BYTES)
    (tmp_path / "file").write_bytes(b"a\n" + long + b"\nb\n" + b"y" * (MOST_LINE_BYTES - 1) + b"\nend")
    lines = list(read_lines(tmp_path / "file"))
    assert [len(line) for line in lines] == [2, 2, MOST_LINE_BYTES, 3]
    assert lines[-1] == b"end"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedFileError):
        next(read_lines(tmp_path / "pipe"))


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


def test_a_sparse_record_ends_soon(tmp_path: Path):
    """However large it pretends to be."""
    record = tmp_path / "metrics.jsonl"
    record.write_bytes(b"one\n")
    os.truncate(record, 2**42)
    assert list(read_lines(record)) == [b"one\n"]


@pytest.mark.parametrize("line", [b"{", b"[" * 100_000, b'{"a": "\xff"}', b"[1]", b"\xff"])
def test_a_damaged_line_is_one_kind_of_error(line: bytes):
    with pytest.raises(msgspec.DecodeError):
        decoded(msgspec.json.Decoder(dict[str, object]), line)
