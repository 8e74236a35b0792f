"""The backend of `docs/backends.md` is the one that installs from `examples/backend`, and it conforms."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "backend"
#: What the blocks begin with that show its files.
STARTS = (("python", "from types import"), ("toml", ""))
PROGRAM = """
from qlifq.backends import get, names
from qlifq.backends.conformance import check
assert names()[-1] == "numpy", names()
report = check("numpy")
report.raise_for_failure()
print(type(get("numpy")).__module__, len(report.lines))
"""


def test_the_page_shows_the_files_of_the_example() -> None:
    page = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    code, entry = (re.search(rf"^```{kind}\n({start}.*?)^```$", page, re.MULTILINE | re.DOTALL) for kind, start in STARTS)
    assert code is not None
    assert entry is not None
    assert (EXAMPLE / "qlifq_numpy.py").read_text(encoding="utf-8").endswith("\n\n" + code[1])
    assert entry[1] in (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")


def test_the_example_conforms_through_its_entry_point(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name in ("pyproject.toml", "qlifq_numpy.py"):
        (source / name).write_text((EXAMPLE / name).read_text(encoding="utf-8"), encoding="utf-8")
    # Built in a copy, since setuptools leaves its files beside what it builds.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run([*pip, *offline], check=True, capture_output=True, text=True)
    path = os.pathsep.join((str(target), str(ROOT)))
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split()[0] == "qlifq_numpy"
