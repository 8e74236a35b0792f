"""`qlifq kernels`: what runs kernels on this machine, what was built, and a cache that is emptied of that alone."""

import os
import re
import time
from pathlib import Path

import pytest
import torch

import qlifq
from qlifq.neurons.kernels import build, inventory
from tests.cli.harness import Captured, succeed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    monkeypatch.setenv("QLIFQ_CACHE_DIR", str(place))
    return place


def planted(folder: Path) -> tuple[Path, Path]:
    """Two files as builds leave them."""
    folder.mkdir(mode=0o700, exist_ok=True)
    library, module = folder / f"{'0a' * 16}.so", folder / f"{'1b' * 16}.py"
    library.write_bytes(bytes(1_200_000))
    module.write_bytes(bytes(300_000))
    return library, module


@pytest.mark.skipif(build.compiler() is None, reason="needs a C++ compiler")
def test_a_kernel_that_was_built_is_counted(folder: Path, capsys: Captured) -> None:
    tool = build.compiler()
    assert tool is not None
    assert inventory()[2:4] == (0, 0)
    build.library.cache_clear()
    built = build.library('extern "C" int answer() { return 42; }\n')
    assert built is not None
    assert built.answer() == 42
    found = inventory()
    assert found.kernels == 1
    assert found.size_bytes == sum(path.stat().st_size for path in folder.glob("*.so"))
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in succeed(capsys, "kernels").splitlines())
    assert rows["compiler"] == f"{tool.path}: {tool.version}"
    assert rows["flags"].split(" ") == list(tool.flags)
    assert rows["folder"] == str(folder)
    assert rows["built"].startswith("1 kernels, ")


def test_what_is_missing_is_said(folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "compiler", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    planted(folder)
    out = succeed(capsys, "kernels")
    assert "compiler  none: neurons run step by step on CPUs\n" in out
    assert "built     2 kernels, 1.5 MB\n" in out
    assert out.endswith("GPU       none\n")


def test_gpus_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"Card {place}")
    assert inventory().gpus == ("Card 0", "Card 1")


def test_a_folder_that_others_can_write_is_neither_counted_nor_emptied(folder: Path, capsys: Captured) -> None:
    library, module = planted(folder)
    folder.chmod(0o777)
    assert "folder    none is private to this user: every process builds its own\n" in succeed(capsys, "kernels")
    assert succeed(capsys, "kernels", "--clear") == "Kernels deleted: 0.\n"
    assert library.exists()
    assert module.exists()


def test_only_kernels_are_deleted(folder: Path, capsys: Captured) -> None:
    planted(folder)
    other = folder / "notes.txt"
    near = folder / f"{'0a' * 16}.so.old"
    link = folder / f"{'2c' * 16}.so"
    compiled = folder / "__pycache__" / f"{'1b' * 16}.cpython-311.pyc"
    compiled.parent.mkdir()
    for path in (other, near, compiled):
        path.write_text("x")
    link.symlink_to(other)
    abandoned, running = folder / f"{build.BUILDING}old", folder / f"{build.BUILDING}new"
    abandoned.mkdir()
    running.mkdir()
    long_ago = time.time() - build.TIMEOUT_SECONDS - 10
    os.utime(abandoned, (long_ago, long_ago))
    assert succeed(capsys, "kernels", "--clear") == "Kernels deleted: 2.\n"
    left = {path.name for path in folder.iterdir()}
    assert left == {other.name, near.name, link.name, running.name, "__pycache__"}
    assert not compiled.exists()
    assert other.read_text() == "x"
    assert inventory().kernels == 0


@pytest.mark.skipif(build.compiler() is None, reason="needs a C++ compiler")
def test_a_layer_goes_on_after_its_kernel_was_deleted(folder: Path, capsys: Captured) -> None:
    layer, again = (qlifq.QLIF(3, seed=4) for _ in range(2))
    current = torch.full((5, 2, 3), 1.5)
    before, _ = layer(current)
    succeed(capsys, "kernels", "--clear")
    after, _ = again(current)
    assert torch.equal(before, after)
