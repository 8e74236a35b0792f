"""The page of the comparisons, without a browser: run folders, whole and broken."""

import io
import json
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qlifq._files import write_json
from qlifq.dashboard.comparisons.view import code, find_runs, open_run
from qlifq.errors import FileFormatError
from qlifq.studies import read_run
from tests.dashboard.harness import executed


def test_runs_are_found_and_read_under_the_folder_alone(runs: Path) -> None:
    assert find_runs(runs) == ["digits-a", "digits-b", "report"]
    simulated, report = open_run(runs, "digits-a"), open_run(runs, "report")
    assert simulated.spikes is not None
    assert simulated.spikes.shape == (40, 2, 64)
    assert set(report.tables) == {"one", "two"}
    assert ("picture", "curve") in report.text
    for found in (simulated, report):
        _, printed = executed(code(found))
        assert str(found.summary["command"]) in printed
    assert f"{simulated.spikes.mean()}" in executed(code(simulated))[1]
    for name in ("..", "../..", "/etc", "/", "", ".", "report/..", "no-such", "sur\udcff"):
        with pytest.raises(FileFormatError, match=r"must be under|must hold the summary\.json"):
            open_run(runs, name)
    for name in ("a\0b", "x" * 5000, "x/" * 3000 + "x"):
        with pytest.raises(FileFormatError, match="must be the name of a folder under"):
            open_run(runs, name)


def test_a_link_out_of_the_folder_is_not_followed(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(runs / "report")
    assert find_runs(tmp_path) == []
    with pytest.raises(FileFormatError, match="must be under"):
        open_run(tmp_path, "link")


def test_summaries_behind_a_link_or_too_many_are_no_run(runs: Path, tmp_path: Path) -> None:
    for name in ("link", "long"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / "summary.json").symlink_to(runs / "report" / "summary.json")
    facts = (runs / "report" / "summary.json").read_text(encoding="utf-8")
    (tmp_path / "long" / "summary.json").write_text(facts + " " * 1_000_000, encoding="utf-8")
    assert find_runs(tmp_path) == []
    with pytest.raises(FileFormatError, match="must hold the summary"):
        open_run(tmp_path, "link")


def test_a_run_of_files_whose_names_are_no_text_is_found_and_read(runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "digits-a", tmp_path / "run")
    facts = json.loads((run / "summary.json").read_bytes())
    name = "current-\udcff.npy"
    write_json(run / "summary.json", {**facts, "command": f"qlifq simulate --input {name}", "decided_by": name})
    assert find_runs(tmp_path) == ["run"]
    found = open_run(tmp_path, "run")
    for shown in (found.command, found.source, code(found)):
        assert "current-.npy" in shown
        shown.encode()
    assert read_run(run).command == f"qlifq simulate --input {name}"


def test_files_of_a_run_that_are_broken_give_a_sentence(runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "digits-a", tmp_path / "run")
    whole = (run / "spikes.npz").read_bytes()
    array = io.BytesIO()
    np.save(array, np.zeros((2, 2, 2)))
    damaged = bytearray(whole)
    damaged[100 : len(whole) // 2] = b"\xff" * (len(whole) // 2 - 100)
    for content in (whole[: len(whole) // 2], array.getvalue(), bytes(damaged), b"", b"PK"):
        (run / "spikes.npz").write_bytes(content)
        with pytest.raises(FileFormatError, match="must hold the array `spikes`, but does not"):
            open_run(tmp_path, "run")
    with zipfile.ZipFile(run / "spikes.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("spikes.npy", b"short")
        # What the directory of the archive says, which is all that is read before it is unpacked.
        archive.filelist[0].file_size = 501_000_000
    with pytest.raises(FileFormatError, match="must unpack to at most 500,000,000 bytes to be read, but says 501,000,000"):
        open_run(tmp_path, "run")
    (run / "spikes.npz").unlink()
    picture = next(run.glob("*.png"))
    whole = picture.read_bytes()
    # A profile of no length, its check sum in order, before the end.
    profile = whole[:-12] + bytes(4) + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big") + whole[-12:]
    for content in (whole[: len(whole) // 2], b"", b"<svg/>", whole[:60] + bytes(len(whole) - 60), profile):
        picture.write_bytes(content)
        with pytest.raises(FileFormatError, match="must be a picture in PNG, but cannot be read as such"):
            open_run(tmp_path, "run")
    Image.new("1", (8000, 5001)).save(picture)
    with pytest.raises(FileFormatError, match="must have at most 40,000,000 pixels to be shown, but has 40,008,000"):
        open_run(tmp_path, "run")
    picture.write_bytes(whole)
    (run / "report.md").write_bytes(b"caf\xe9")
    with pytest.raises(FileFormatError, match=r"report\.md must be text in UTF-8"):
        open_run(tmp_path, "run")
    (run / "report.md").write_text("# Title\n```\n# a comment\n```\n## Part", encoding="utf-8")
    assert open_run(tmp_path, "run").text == [("text", "### Title\n```\n# a comment\n```\n#### Part")]
    (run / "report.md").write_text("!![x](http://other/a.png) ![y](b.png)", encoding="utf-8")
    assert open_run(tmp_path, "run").text == [("text", "[x](http://other/a.png) [y](b.png)")]
