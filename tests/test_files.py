"""Writing is atomic: whatever fails, the old file stays and nothing else is left behind."""

import errno
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import qlifq
from qlifq._files import as_path, atomic_write, read_json, stamp, write_json
from qlifq.errors import ArgumentError, DtypeError, FileError, FileFormatError, QLIFError


def test_a_new_file_holds_what_was_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"new")
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("failure", [RuntimeError("boom"), KeyboardInterrupt()])
def test_a_failure_in_the_block_keeps_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write() -> None:
        with atomic_write(target) as file:
            file.write(b"half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    script = (
        "import os, sys; from qlifq._files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert done.returncode == -9
    assert target.read_bytes() == b"old"


def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = re.escape(f"File {target} cannot be written: no space left on device.")
    with pytest.raises(FileError, match=message), atomic_write(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_read_only_folder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The superuser may write anywhere, so the refusal is raised where the system would raise it.
    def denied(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source))

    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(FileError, match=r"a\.bin cannot be written: permission denied"), atomic_write(tmp_path / "a.bin"):
        pass
    assert os.listdir(tmp_path) == []


def test_an_error_about_another_file_is_not_renamed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), atomic_write(tmp_path / "a.bin"):
        (tmp_path / "missing").read_bytes()


def test_the_folder_must_exist_and_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, message in [
        (tmp_path / "none" / "a", f"{tmp_path / 'none'} does not exist"),
        (tmp_path / "file" / "a", f"{tmp_path / 'file'} is not a folder"),
        (tmp_path, f"File {tmp_path} cannot be written: it is a folder"),
    ]:
        with pytest.raises(FileError, match=re.escape(message)), atomic_write(path):
            pytest.fail("the block must not run")
    assert issubclass(FileError, QLIFError)
    assert issubclass(FileError, OSError)


def test_a_link_is_followed_and_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert (tmp_path / "real").stat().st_mode == ordinary.stat().st_mode


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"rows": [0] * 1000})
    stop = threading.Event()
    broken: list[str] = []

    def read() -> None:
        while not stop.is_set():
            try:
                assert len(json.loads(target.read_bytes())["rows"]) == 1000
            except (AssertionError, ValueError, OSError) as error:
                broken.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    for index in range(100):
        write_json(target, {"rows": [index] * 1000})
    stop.set()
    reader.join()
    assert broken == []


@pytest.mark.parametrize(
    ("value", "error"), [(3, DtypeError), (None, DtypeError), ("", ArgumentError), ("a\0b", ArgumentError)]
)
def test_what_is_no_path_is_named(value: object, error: type[QLIFError]) -> None:
    with pytest.raises(error, match=re.escape(f"Argument `out` must be a path, but is {value!r}.")):
        as_path("out", value)


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    content: dict[str, object] = {"θ": [1, 0.1, None, "x"], "nested": {"a": True}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert "θ" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [({"a": float("nan")}, "Out of range float values"), ({"a": {1}}, "set is not JSON serializable")],
)
def test_what_json_cannot_hold_is_refused(tmp_path: Path, content: dict[str, object], message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        write_json(tmp_path / "a.json", content)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must hold JSON, but does not: Expecting value"),
        (b"\xff\xfe\xfd", "must hold JSON, but does not"),
        (b"[" * 100_000, "must hold JSON, but does not"),
        (b"[1]", "must hold a JSON object, but holds a list"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(FileFormatError, match=f"a.json {message}"):
        read_json(tmp_path / "a.json")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"none\.json cannot be read: no such file or directory"):
        read_json(tmp_path / "none.json")
    with pytest.raises(FileFormatError, match="cannot be read: is a directory"):
        read_json(tmp_path)


def test_the_stamp_gives_utc_time_and_version() -> None:
    facts = stamp()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", facts["time_utc"])
    assert facts["qlifq_version"] == qlifq.__version__
