"""README and guides are true: their blocks run, the table and the figure are what the code makes now."""

import contextlib
import doctest
import io
import re
import runpy
import shlex
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from qlifq.circuits import CIRCUITS
from qlifq.cli import main
from qlifq.neurons import MAPPINGS, MECHANISMS, MEMBRANES, Settings
from qlifq.training import DATASETS, NETWORKS, NEURONS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GUIDES = sorted(path for path in DOCS.glob("*.md") if "```python\n" in path.read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_commands(block: str) -> list[str]:
    """What is wrong in a console block: one complaint for every command whose output differs."""
    wrong = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        command = line
        if line.startswith("make "):
            # What make runs last, once the environment stands.
            recipe = subprocess.run(
                ["make", "--no-print-directory", "--dry-run", line[5:]], cwd=ROOT, capture_output=True, text=True, check=True
            )
            command = recipe.stdout.splitlines()[-1].removeprefix(".venv/bin/")
        program, *arguments = shlex.split(command)
        assert program == "qlifq", f"cannot check {line!r}"
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            code = main(arguments)
        if code or not same(expected, output.getvalue()):
            wrong.append(f"{line}\n{output.getvalue()}")
    return wrong


def same(expected: str, output: str) -> bool:
    """Whether the output is the expected one, where "..." stands for anything."""
    return doctest.OutputChecker().check_output(expected, output, doctest.ELLIPSIS)


def wrong_blocks(text: str) -> list[str]:
    """What is wrong in a page: its python blocks run in order in one namespace, its console blocks in this folder."""
    wrong: list[str] = []
    blocks = BLOCK.findall(text)
    namespace: dict[str, object] = {}
    for (kind, code), (next_kind, next_text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "console":
            wrong += run_commands(code)
        elif kind == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(code, "README.md", "exec"), namespace)
            if not same(next_text if next_kind == "text" else "", output.getvalue()):
                wrong.append(f"{code}\n{output.getvalue()}")
    return wrong


@pytest.fixture(autouse=True)
def _with_its_own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLIFQ_JOURNAL", str(tmp_path / "journal" / "jobs.sqlite"))


@pytest.fixture(autouse=True)
def _with_rows_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page registers goes again: other tests list what qlifq brings."""
    for registry in (CIRCUITS, MAPPINGS, MECHANISMS, MEMBRANES, DATASETS, NETWORKS, NEURONS):
        monkeypatch.setattr(registry, "_rows", dict(registry))
    monkeypatch.setattr(Settings, "__dataclass_fields__", dict(Settings.__dataclass_fields__))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_block_of_a_guide_that_needs_no_account_runs(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = guide.read_text(encoding="utf-8")
    kinds = [kind for kind, _ in BLOCK.findall(text)]
    assert kinds.count("console") + kinds.count("python") > 1
    assert [code for kind, code in BLOCK.findall(text) if kind == "py" and "QiskitRuntimeService" not in code] == []
    assert wrong_blocks(text) == []


def test_every_block_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = [kind for kind, _ in BLOCK.findall(README)]
    assert set(kinds) == {"console", "python", "text", "sh"}
    assert kinds.count("console") >= 4
    assert kinds.count("python") == kinds.count("text") >= 5
    assert wrong_blocks(README) == []


@pytest.mark.parametrize(
    "page",
    [
        "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n",
        "```python\nprint(1 + 1)\n```\n",
        "```python\nx = 1\n```\n\n```text\n1\n```\n",
        "```console\n$ qlifq --version\nqlifq 9.9.9\n```\n",
        "```console\n$ qlifq circuits Foo\n```\n",
        "```console\n$ qlifq --version\nqlifq ...\n$ qlifq circuits RYSpike\nRYSpike\n```\n",
    ],
)
def test_a_page_with_a_wrong_output_is_caught(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(wrong_blocks(page)) == 1


def test_a_command_that_nobody_checks_is_refused() -> None:
    with pytest.raises(AssertionError, match="cannot check 'ls'"):
        wrong_blocks("```console\n$ ls\n```\n")


def test_the_table_of_parameters_is_the_code_s() -> None:
    with_table = runpy.run_path(str(DOCS / "parameter_table.py"))["with_table"]
    page = (DOCS / "neuron.md").read_text(encoding="utf-8")
    assert with_table(page) == page, "run `make readme`"
    assert with_table(page.replace("| `tau` | 20 |", "| `tau` | 21 |")) == page
    with pytest.raises(SystemExit, match="holds them 0 times"):
        with_table("no table")


def test_the_readme_is_short_and_installs_from_the_source_with_extras_that_exist() -> None:
    assert len(README.split()) <= 2200
    (installs,) = (code for kind, code in BLOCK.findall(README) if kind == "sh")
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])
    named = set(re.findall(r"pip install '\.\[(\w+)\]'", installs))
    assert named == extras - {"dev", "docs"}
    # No index has a package of this name.
    assert "pip install 'qlifq" not in README


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert {f"docs/{guide.name}" for guide in GUIDES} < set(links)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_page_of_the_site_is_in_its_contents() -> None:
    pages = {path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
    listed = {
        (Path(page).parent / entry).as_posix()
        for page, text in pages.items()
        for contents in re.findall(r"^```{toctree}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for entry in re.findall(r"^[\w/-]+$", contents, re.MULTILINE)
    }
    assert listed == set(pages) - {"index"}


def test_the_rooms_of_the_layout_are_those_that_exist() -> None:
    architecture = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = set(re.findall(r"`(qlifq/[^`]+|[a-z]+/)`", f"{README.partition('## Layout')[2]}{architecture}"))
    assert [room for room in rooms if not (ROOT / room).exists()] == []
    names = {path.parent.name for path in ROOT.glob("qlifq/*/__init__.py")}
    assert {f"qlifq/{name}/" for name in names} <= rooms
    assert names <= set(re.findall(r"`([a-z]+)`", README.partition("## Layout")[2]))


def test_the_figure_is_that_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn again it is the same picture; a run with another seed, the planted fault, is another one."""
    from matplotlib.image import imread

    monkeypatch.chdir(tmp_path)
    for folder, arguments in [("same", ()), ("other", ("--seed", "1"))]:
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["simulate", "--out", folder, *arguments]) == 0
    committed, same_seed, other_seed = (
        np.asarray(imread(path)) for path in (DOCS / "simulate.png", "same/figure.png", "other/figure.png")
    )
    assert committed.shape[:2] == (1181, 1440)
    # A kernel that another compiler rounded otherwise may move a line by a part of a pixel's shade: at most one of 255 levels.
    assert np.abs(committed - same_seed).max() < 1.5 / 255
    assert np.abs(committed - other_seed).max() > 0.5
