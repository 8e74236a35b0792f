"""What `import qlifq` offers, without any other import."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import qlifq
import qlifq.studies

ROOMS = ("backends", "calibration", "circuits", "neurons", "random", "reporting", "studies", "training")


def test_every_room_is_found_without_importing_it() -> None:
    script = f"import qlifq\nfor room in {ROOMS!r}:\n    assert room in dir(qlifq); print(getattr(qlifq, room).__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"qlifq.{room}" for room in ROOMS]


@pytest.mark.parametrize("package", [qlifq, qlifq.studies])
def test_every_public_name_is_there_and_listed(package: object) -> None:
    public = package.__all__  # type: ignore[attr-defined]
    assert set(public) <= set(dir(package))
    for name in public:
        assert getattr(package, name) is not None


def test_the_pure_functions_have_their_arguments_beside_them() -> None:
    from qlifq.neurons import dynamics, parameters

    assert (qlifq.Settings, qlifq.Dynamics) == (parameters.Settings, dynamics.Dynamics)
    assert {"run_shot_noise", "run_brand_petruccione", "run_simulation", "run_replay"} <= set(dir(qlifq.studies))


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'qlifq' has no attribute 'backend'"):
        qlifq.backend  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=re.escape("module 'qlifq.studies' has no attribute 'run_all'")):
        qlifq.studies.run_all  # type: ignore[attr-defined]  # noqa: B018


def test_the_version_stands_in_one_place() -> None:
    root = Path(qlifq.__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "qlifq._version.__version__"}
    holders = [path.name for path in (root / "qlifq").rglob("*.py") if qlifq.__version__ in path.read_text(encoding="utf-8")]
    assert holders == ["_version.py"]
