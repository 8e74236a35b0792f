"""The folder of a run: a marker first, the results, the pictures, and a way on after every kill."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from qlifq._files import write_bytes
from qlifq.errors import FileError
from qlifq.reporting.run_folder import Contents, check_folder, run_folder

COMMAND = "qlifq measure --shots 7"
FILES = ("a.csv", "b.csv", "c.png")


def contents(text: bytes = b"new") -> Contents:
    write = partial(write_bytes, content=text)
    return Contents({"seed": 4}, {"a.csv": write, "b.csv": write}, {"c.png": write})


def written(folder: Path, text: bytes = b"new", *, command: str = COMMAND, force: bool = False) -> list[str]:
    with run_folder(folder, command=command, files=FILES, force=force) as run:
        return run.write(contents(text))


def marker(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "summary.json").read_bytes()))


def test_the_marker_comes_first_and_says_at_last_that_the_run_is_finished(tmp_path: Path) -> None:
    seen: list[tuple[str, object, object]] = []

    def write(path: Path) -> None:
        seen.append((path.name, marker(path.parent)["finished"], marker(path.parent)["files"]))
        path.write_bytes(b"x")

    def fail(path: Path) -> None:
        write(path)
        path.unlink()
        raise ValueError("no such\n colour")

    names = ["a.csv", "b.png", "c.png"]
    with run_folder(tmp_path / "run", command=COMMAND) as run:
        problems = run.write(Contents({"seed": 4}, {"a.csv": write}, {"b.png": fail, "c.png": write}))
    assert seen == [(name, False, names) for name in names]
    assert problems == [
        f"All results are written, but the picture {tmp_path / 'run' / 'b.png'} is missing: no such colour.",
    ]
    facts = marker(tmp_path / "run")
    assert {name: facts[name] for name in ("format", "format_version", "command", "finished", "files", "seed")} == {
        "format": "qlifq run",
        "format_version": 1,
        "command": COMMAND,
        "finished": True,
        "files": ["a.csv", "c.png"],
        "seed": 4,
    }
    assert {"time_utc", "qlifq_version"} <= set(facts)


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink"])
@pytest.mark.parametrize("earlier", [False, True])
def test_the_same_command_ends_a_run_that_broke_off_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, earlier: bool
) -> None:
    """At every call that changes the folder the process stops, as a kill stops it: not even clearing up is done."""
    inner = getattr(os, call)
    for stop in range(12):
        folder = tmp_path / str(stop)
        if earlier:
            written(folder, b"old", command="qlifq other")
            (folder / "mine.csv").write_bytes(b"mine")
        left = stop

        def stopping(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return inner(*arguments, **options)

        broke_off = True
        with monkeypatch.context() as patch:
            patch.setattr(os, call, stopping)
            try:
                written(folder, force=earlier)
                broke_off = False
            except KeyboardInterrupt:
                pass
        if broke_off:
            # The marker that was there, where nothing was written yet, is still that of the earlier run.
            unfinished = not (folder / "summary.json").exists() or marker(folder)["finished"] is False
            written(folder, force=not unfinished)
        assert sorted(os.listdir(folder)) == sorted([*FILES, "summary.json", *(["mine.csv"] if earlier else [])])
        assert all((folder / name).read_bytes() == b"new" for name in FILES)
        assert marker(folder)["finished"] is True
        if not broke_off:
            return
    pytest.fail("it never came to its end")


def test_a_full_disk_keeps_an_earlier_run_or_leaves_one_that_the_same_command_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [0]

    def full(handle: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, os.strerror(28))

    written(tmp_path / "run", b"old")
    for syncs in range(3):
        room[0] = syncs
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(FileError, match=r"cannot be written: no space left on device\."):
                written(tmp_path / "run", force=True)
        if marker(tmp_path / "run")["finished"]:
            assert (tmp_path / "run" / "a.csv").read_bytes() == b"old"
        else:
            written(tmp_path / "run")
            assert (tmp_path / "run" / "b.csv").read_bytes() == b"new"


def test_only_files_that_a_run_wrote_are_replaced(tmp_path: Path) -> None:
    written(tmp_path / "run", b"old")
    (tmp_path / "run" / "notes.csv").write_bytes(b"mine")
    with run_folder(tmp_path / "run", command=COMMAND, force=True) as run:
        run.write(Contents(results={"other.csv": partial(write_bytes, content=b"new")}))
    # What the earlier run wrote and this one does not is gone, and what no run wrote stays.
    assert sorted(os.listdir(tmp_path / "run")) == ["notes.csv", "other.csv", "summary.json"]
    (tmp_path / "run" / "b.csv").write_bytes(b"mine")
    refused = r"run/b\.csv cannot be written: what is there was written by no run"
    with pytest.raises(FileError, match=refused):
        check_folder(tmp_path / "run", command=COMMAND, files=FILES, force=True)
    # And once more when it is written, where its files were not known before.
    with pytest.raises(FileError, match=refused), run_folder(tmp_path / "run", command=COMMAND, force=True) as run:
        run.write(contents())
    assert (tmp_path / "run" / "b.csv").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["c.png", "summary.json"])
def test_a_link_is_refused_and_what_it_leads_to_is_kept(tmp_path: Path, name: str) -> None:
    written(tmp_path / "run")
    target = tmp_path / "precious"
    (tmp_path / "run" / name).rename(target)
    (tmp_path / "run" / name).symlink_to(target)
    before = target.read_bytes()
    with pytest.raises(FileError, match="it is a link" if name == "c.png" else "not of a run"):
        written(tmp_path / "run", force=True)
    assert target.read_bytes() == before


@pytest.mark.parametrize("name", ["../precious", "/precious", "..", "", "a/b", 7])
def test_a_marker_that_lists_a_file_outside_its_folder_is_none(tmp_path: Path, name: object) -> None:
    written(tmp_path / "run")
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "run" / "summary.json").write_text(
        json.dumps(marker(tmp_path / "run") | {"files": ["a.csv", name]}), encoding="utf-8"
    )
    with pytest.raises(FileError, match="it holds files that are not of a run"):
        written(tmp_path / "run", force=True)
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_an_unfinished_run_of_another_command_gives_way_to_force_alone(tmp_path: Path) -> None:
    with run_folder(tmp_path / "run", command="qlifq train --seed 1") as run:
        run.begin(["network.pt"])
        (run.path / "network.pt").write_bytes(b"hours")
    with pytest.raises(FileError, match="an unfinished run of another command, 'qlifq train --seed 1', which only --force"):
        written(tmp_path / "run")
    written(tmp_path / "run", force=True)
    assert "network.pt" not in os.listdir(tmp_path / "run")


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_folder(tmp_path / "a" / "b", command=COMMAND):
        _ = 1 / 0
    assert os.listdir(tmp_path) == []
    (tmp_path / "empty").mkdir()
    with run_folder(tmp_path / "empty" / "run", command=COMMAND):
        pass
    assert os.listdir(tmp_path) == ["empty"]


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = """
import sys
from qlifq.reporting import run_folder as _run_folder

real = _run_folder.datetime

class Clock(real):
    now = classmethod(lambda cls, zone: real(2030, 1, 2, tzinfo=zone))

_run_folder.datetime = Clock
sys.stdin.readline()
for number in range(20):
    with _run_folder.run_folder(None, command="qlifq measure") as run:
        run.write(_run_folder.Contents({"who": sys.argv[1], "number": number}))
"""
    others = [
        subprocess.Popen([sys.executable, "-c", script, name], stdin=subprocess.PIPE, cwd=tmp_path) for name in ("one", "two")
    ]
    for other in others:
        assert other.stdin is not None
        other.stdin.write(b"\n")
        other.stdin.flush()
    for other in others:
        other.communicate()
        assert other.returncode == 0
    folders = [marker(folder) for folder in Path("runs").iterdir()]
    assert len({(facts["who"], facts["number"]) for facts in folders}) == len(folders) == 40
    assert {"2030-01-02T00-00-00Z", "2030-01-02T00-00-00Z-2"} <= set(os.listdir("runs"))


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    taken: Callable[[], list[str]] = partial(written, tmp_path / "run")
    with (
        run_folder(tmp_path / "run", command=COMMAND),
        pytest.raises(FileError, match=r"another run is being written to it; wait until it ends\."),
    ):
        taken()
    assert taken() == []


def test_where_folders_cannot_be_locked_runs_are_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def unsupported(handle: int, operation: int) -> None:
        raise OSError(9, os.strerror(9))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert written(tmp_path / "run") == []


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "none")
    with pytest.raises(FileError, match="it is a link that leads nowhere"):
        check_folder(tmp_path / "run")
