"""How kernels are compiled: what the cache trusts, and what happens without a compiler."""

import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from qlifq import QLIF, BrandPetruccione
from qlifq.neurons.kernels import build, run, targets

TEXT = 'extern "C" int answer() { return 42; }'
PLANTED = 'extern "C" int answer() { return 13; }'


def forget() -> None:
    """Forget everything that a process keeps, as a new one would."""
    for kept in (build.compiler, build.library, build.module, build.warn_once, targets._CPUTarget._library):
        kept.cache_clear()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the test's own, private to the user."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("QLIFQ_CACHE_DIR", str(folder))
    forget()
    yield folder
    forget()


#: By its path, so that a process need not wait for torch.
PROGRAM = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("build", sys.argv[1])
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)
os.getuid = lambda mine=os.getuid(): mine + int(sys.argv[3])
print(build.library(sys.argv[2]).answer())
"""


def process(text: str = TEXT, *, another_user: bool = False) -> "subprocess.Popen[str]":
    """A new process, which has loaded no library yet, on its way to say what a library answers."""
    command = [sys.executable, "-c", PROGRAM, build.__file__, text, str(int(another_user))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer(text: str = TEXT, *, another_user: bool = False) -> int:
    """What a library answers in a new process."""
    return int(process(text, another_user=another_user).communicate(timeout=60)[0])


def libraries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so"))


def compiled(text: str, to: Path) -> None:
    """A library that somebody else put there."""
    source = to.with_suffix(".cpp")
    source.write_text(text)
    compiler = build.compiler()
    assert compiler is not None
    subprocess.run([compiler.path, "-shared", "-fPIC", "-o", str(to), str(source)], check=True)
    source.unlink()


def test_a_text_is_compiled_once_and_kept_for_this_user_alone(cache: Path) -> None:
    assert answer() == 42
    (library,) = libraries(cache)
    assert stat.S_IMODE(library.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    built = library.stat().st_mtime_ns
    assert answer() == 42
    assert library.stat().st_mtime_ns == built
    assert list(cache.iterdir()) == [library]


def test_another_text_other_flags_and_another_compiler_are_other_libraries(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer()
    assert answer(PLANTED) == 13
    monkeypatch.setenv("QLIFQ_CXXFLAGS", "-O0")
    answer()
    forget()
    found = build.compiler()
    assert found is not None
    wrapper = tmp_path / "compiler"
    wrapper.write_text(f'#!/bin/sh\nexec {found.path} "$@"\n')
    wrapper.chmod(0o700)
    monkeypatch.setenv("CXX", str(wrapper))
    answer()
    assert len(libraries(cache)) == 4


@pytest.mark.parametrize("planted", ["group", "others", "link"])
def test_a_library_that_another_could_have_written_is_never_loaded(cache: Path, tmp_path: Path, planted: str) -> None:
    answer()
    (library,) = libraries(cache)
    outside = tmp_path / "planted.so"
    compiled(PLANTED, outside)
    library.unlink()
    if planted == "link":
        library.symlink_to(outside)
    else:
        shutil.copy(outside, library)
        library.chmod(0o620 if planted == "group" else 0o602)
    assert answer() == 42
    assert not library.is_symlink()
    assert stat.S_IMODE(library.stat().st_mode) == 0o600


def test_a_library_of_another_user_is_never_loaded(cache: Path) -> None:
    answer()
    (library,) = libraries(cache)
    library.unlink()
    compiled(PLANTED, library)
    library.chmod(0o600)
    # Without it the file would be loaded: what is seen below is the owner.
    assert answer() == 13
    assert answer(another_user=True) == 42


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_is_left_alone(cache: Path, mode: int) -> None:
    answer()
    (library,) = libraries(cache)
    library.unlink()
    compiled(PLANTED, library)
    library.chmod(0o600)
    cache.chmod(mode)
    assert build.cache_folder() is None
    assert answer() == 42
    # What this process built for itself lies in a folder of its own.
    assert libraries(cache) == [library]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QLIFQ_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert build.cache_folder() is None
    assert answer() == 42


def spikes(kernel: str = "auto") -> torch.Tensor:
    found: torch.Tensor = QLIF(5, seed=2, kernel=kernel)(torch.full((6, 2, 5), 1.2))[0]
    return found


@pytest.mark.parametrize("problem", ["none", "failing"])
def test_without_a_working_compiler_the_step_loop_runs_after_one_warning(
    problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = spikes(kernel="off")
    if problem == "none":
        monkeypatch.setattr(shutil, "which", lambda name: None)
        words = "no C\\+\\+ compiler was found"
    else:
        broken = tmp_path / "broken"
        broken.write_text('#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0 && exit 0\necho "it is broken" >&2\nexit 1\n')
        broken.chmod(0o700)
        monkeypatch.setenv("CXX", str(broken))
        words = "broken failed: it is broken"
    with pytest.warns(RuntimeWarning, match=f"step by step, without a compiled kernel: .*{words}"):
        assert torch.equal(spikes(), expected)
    # A second warning would be an error.
    assert torch.equal(spikes(), expected)


def test_a_compiler_that_leaves_nothing_behind_is_one_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = tmp_path / "idle"
    idle.write_text("#!/bin/sh\necho idle 1.0\n")
    idle.chmod(0o700)
    monkeypatch.setenv("CXX", str(idle))
    with pytest.warns(RuntimeWarning, match="without a compiled kernel"):
        spikes()


def test_two_processes_that_build_the_same_at_once_do_not_disturb_each_other(cache: Path) -> None:
    running = [process() for _ in range(3)]
    assert [each.communicate(timeout=60)[0] for each in running] == ["42\n"] * 3
    assert list(cache.iterdir()) == libraries(cache)
    assert len(libraries(cache)) == 1


def test_nothing_is_traced_or_compiled_before_a_sequence_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"called with {arguments}")

    monkeypatch.setattr(build, "_built", refuse)
    monkeypatch.setattr(run, "derive", refuse)
    layer = QLIF(3, seed=1, noise_std=0.1, learnable_tau=True)
    repr(layer), layer.plan(2), layer.why_stepwise(), layer.initial_state(2), layer.state_dict()
    repr(BrandPetruccione(3))
    layer(torch.zeros(0, 2, 3))


def test_the_library_stands_on_a_text_that_is_packaged() -> None:
    """`prelude.h` is no module: without its entry it would be missing where the package is installed."""
    project = Path(__file__).parents[3] / "pyproject.toml"
    assert "neurons/kernels/prelude.h" in project.read_text(encoding="utf-8")
    assert Path(build.__file__).with_name("prelude.h").is_file()
