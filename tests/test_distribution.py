"""The metadata are true; and, by `make dist-check`, the wheel and the sdist hold what they must.

The wheel is installed into an environment that is empty but for it: first alone, then with the packages of this one beside it,
since installing torch anew takes minutes and a network.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml

import qlifq

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == qlifq.__version__
    assert cited["title"] == PROJECT["name"]
    assert cited["license"] == PROJECT["license"]
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_the_changelog_has_this_version_and_what_comes_next_in_that_order() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[:2] == ["Unreleased", qlifq.__version__]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds


def test_every_command_and_link_of_the_contributing_page_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it, without a network."""
    folder, source = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("tree") / "qlifq"
    # A copy without what an earlier build left: setuptools packs every file again that it finds listed there.
    left = shutil.ignore_patterns(
        "*.egg-info", "build", "dist", "runs", ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, source, ignore=left)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def run(python: Path, *arguments: str, folder: Path, variables: Mapping[str, str] = MappingProxyType({})) -> str:
    """What a Python prints, which knows nothing of the working copy."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    command = [str(python), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**environment, **variables}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.dist
def test_the_wheel_works_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", str(wheel), folder=tmp_path)
    where = "import qlifq, pathlib; print(pathlib.Path(qlifq.__file__).parent)"
    package = Path(run(python, "-c", where, folder=tmp_path).strip())
    assert package.is_relative_to(tmp_path / "env")
    # Alone it can be imported, says what there is, and names the package that a command needs.
    assert run(python, "-c", "import qlifq; print(*qlifq.backends.names())", folder=tmp_path).startswith("analytic ")
    names = {path.relative_to(package) for path in package.rglob("*") if path.suffix not in {".py", ".pyc"} and path.is_file()}
    assert {Path("py.typed"), Path("neurons/kernels/prelude.h")} <= names
    # And with its requirements, whose folder becomes a second place to import from.
    site = Path(sysconfig.get_path("purelib"))
    inner = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=tmp_path).strip())
    (inner / "requirements.pth").write_text(f"{site}\n")
    command = str(tmp_path / "env" / "bin" / "qlifq")
    assert run(Path(command), "--version", folder=tmp_path) == f"qlifq {qlifq.__version__}\n"
    # A kernel is compiled from the header that the wheel brought.
    fresh = {"QLIFQ_CACHE_DIR": str(tmp_path / "kernels")}
    said = run(
        Path(command), "simulate", "--samples", "1", "--steps", "9", "--json", "--out", "run", folder=tmp_path, variables=fresh
    )
    assert json.loads(said)["steps"] == 9
    assert Path(run(python, "-c", where, folder=tmp_path).strip()) == package
    counted = json.loads(run(Path(command), "kernels", "--json", folder=tmp_path, variables=fresh))
    assert counted["kernels"] >= 1 or counted["compiler"] is None


@pytest.mark.dist
def test_the_metadata_of_the_wheel_say_what_the_project_is(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = files.read(metadata).decode()
    assert f"Version: {qlifq.__version__}\n" in text
    assert "Author: The qlifq developers\n" in text
    assert "Classifier: Programming Language :: Python :: 3.13\n" in text
    # Nothing but the package: no tests, benchmarks or docs beside it.
    assert {name.split("/")[0] for name in names} == {"qlifq", metadata.split("/")[0]}


@pytest.mark.dist
def test_the_sdist_holds_what_its_tests_need(built: Path, tmp_path: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        missing = [name for name in listed.stdout.splitlines() if not (source / name).exists() and (ROOT / name).exists()]
        assert missing == [".gitignore"]
    # Every test is found there, and those that read files of the project pass.
    tests = ["tests/test_distribution.py", "tests/test_rooms.py", "tests/test_readme.py", "-k", "not block and not figure"]
    run(Path(sys.executable), "-m", "pytest", "--collect-only", "-q", "tests", folder=source)
    said = run(Path(sys.executable), "-m", "pytest", "-q", *tests, folder=source)
    assert re.search(r"\d{2,} passed", said) or "100%" in said
