"""What `import qlifq` offers, without any other import."""

import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import qlifq
import qlifq.studies
from qlifq import errors

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


LAYER = qlifq.QLIF(2, seed=0, neuromod_mode="off")
CHAIN = qlifq.SpikingSequential(LAYER)
POPULATION = qlifq.BrandPetruccione(2)
#: A call for each error that a docstring names, but those of a package that is missing and of a backend that fails.
REFUSED: dict[Callable[..., object], dict[str, Callable[[], object]]] = {
    qlifq.QLIF: {
        "ArgumentError": lambda: qlifq.QLIF(0),
        "DtypeError": lambda: qlifq.QLIF(2.5),  # type: ignore[arg-type]
        "ShapeError": lambda: qlifq.QLIF(2, tau=(10.0, 11.0, 12.0)),
        "UnsupportedError": lambda: qlifq.QLIF(2, quantum_mode=False, backend="aer"),
    },
    qlifq.QLIF.forward: {
        "ShapeError": lambda: LAYER(torch.ones(4, 1, 3)),
        "DtypeError": lambda: LAYER(torch.ones(4, 1, 2, dtype=torch.float64)),
        "ArgumentError": lambda: LAYER(torch.full((4, 1, 2), torch.nan)),
        "UnsupportedError": lambda: LAYER(torch.ones(4, 1, 2), modulation=torch.ones(4, 1, 1)),
    },
    qlifq.QLIF.assign: {
        "ArgumentError": lambda: LAYER.assign(gain=torch.ones(2)),
        "ShapeError": lambda: LAYER.assign(tau=torch.ones(3)),
        "DtypeError": lambda: LAYER.assign(tau=torch.ones(2, dtype=torch.int64)),
    },
    qlifq.Settings: {
        "ArgumentError": lambda: qlifq.Settings(dt=-2.0),
        "DtypeError": lambda: qlifq.Settings(dt="1"),  # type: ignore[arg-type]
        "ShapeError": lambda: qlifq.Settings(tau=()),
        "UnsupportedError": lambda: qlifq.Settings(ahp_jump=0.77),
    },
    qlifq.simulate: {
        "ArgumentError": lambda: qlifq.simulate(LAYER, torch.ones(4, 1, 2), record=("charge",)),
        "UnsupportedError": lambda: qlifq.simulate(qlifq.QLIF(2, quantum_mode=False), torch.ones(4, 1, 2), record=("angle",)),
        "ShapeError": lambda: qlifq.simulate(LAYER, torch.ones(4, 1, 3)),
        "DtypeError": lambda: qlifq.simulate(LAYER, [1.0]),  # type: ignore[arg-type]
    },
    qlifq.SpikingSequential: {
        "ArgumentError": qlifq.SpikingSequential,
        "DtypeError": lambda: qlifq.SpikingSequential(3),  # type: ignore[arg-type]
        "UnsupportedError": lambda: qlifq.SpikingSequential(torch.nn.MultiheadAttention(2, 1)),
    },
    qlifq.SpikingSequential.forward: {
        "ShapeError": lambda: CHAIN(torch.ones(4)),
        "DtypeError": lambda: CHAIN(torch.ones(4, 1, 2), (3,)),
    },
    qlifq.BrandPetruccione: {
        "ArgumentError": lambda: qlifq.BrandPetruccione(2, threshold=1.5),
        "DtypeError": lambda: qlifq.BrandPetruccione("2"),  # type: ignore[arg-type]
        "UnsupportedError": lambda: qlifq.BrandPetruccione(2, leak="published", delay_t1=1e-4),
    },
    qlifq.BrandPetruccione.forward: {
        "ShapeError": lambda: POPULATION(*[torch.ones(3, 1, 4)] * 3),
        "DtypeError": lambda: POPULATION(*[torch.ones(3, 1, 2, dtype=torch.int64)] * 3),
        "ArgumentError": lambda: POPULATION(torch.ones(3, 1, 2), torch.full((3, 1, 2), -1.0), torch.ones(3, 1, 2)),
    },
}


@pytest.mark.parametrize("called", REFUSED, ids=lambda called: called.__qualname__)
def test_a_docstring_names_the_error_that_is_raised(called: Callable[..., object]) -> None:
    documented = set(re.findall(r"^\s+(\w+Error): ", inspect.getdoc(called) or "", re.MULTILINE))
    assert "QLIFError" not in documented
    assert set(REFUSED[called]) <= documented <= set(vars(errors))
    for name, call in REFUSED[called].items():
        with pytest.raises(errors.QLIFError) as raised:
            call()
        assert type(raised.value).__name__ == name
