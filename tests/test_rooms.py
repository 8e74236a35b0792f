"""Who may import whom, read off the source: the rooms of the package and the packages of vendors."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import qlifq

ROOT = Path(qlifq.__file__).parent

#: The ground, which everybody may use.
GROUND = (
    "errors",
    "_transforms",
    "_validation",
    "_packages",
    "_files",
    "_text",
    "_arrays",
    "_registry",
    "_proportions",
    "_version",
    "_lazy",
)
#: The interface of the backends, as the neuron sees it: no backend by itself, no noise, no conformance checks.
INTERFACE = ("backends.interface", "backends.registry", "backends.gradients", "backends.sampling", "backends")
#: What each room may import beside itself. A trailing star stands for all modules of a room.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "_transforms": ("errors",),
    "_validation": ("errors", "_transforms", "_text"),
    "_packages": ("errors",),
    "_text": (),
    "_files": ("errors", "_version"),
    "_lazy": (),
    "_version": (),
    "_arrays": ("errors",),
    "_registry": ("errors",),
    "_proportions": (),
    "random": GROUND,
    "reporting": GROUND,
    "circuits": GROUND,
    "backends": (*GROUND, "circuits*", "random*"),
    "neurons": (*GROUND, "circuits*", "random*", *INTERFACE),
    "calibration": (
        *GROUND,
        "circuits*",
        "random*",
        *INTERFACE,
        "backends.mitigation",
        "neurons.mapping",
    ),
    "training": (*GROUND, "random*", "neurons*", "calibration*", "reporting*", *INTERFACE),
    "interop": (*GROUND, "neurons*"),
    # Pictures of a recording, for anybody.
    "plot": (*GROUND, "circuits*", "neurons*", "reporting*"),
    # A sibling of training, of which it may use the networks and the data.
    "studies": (
        *GROUND,
        "circuits*",
        "random*",
        "backends*",
        "neurons*",
        "calibration*",
        "reporting*",
        "training.networks*",
        "training.data*",
    ),
    # The fronts may import anything but each other; nobody else imports them.
    "cli": ("*",),
    "dashboard": ("*",),
    # What a user finds from `import qlifq` alone; the fronts are no part of it.
    "__init__": ("*",),
    # `python -m qlifq`, the command line under another name.
    "__main__": ("cli",),
}
FRONTS = ("cli", "dashboard")

#: What every room may use, beside the standard library.
CORE = ("torch", "numpy", "scipy")
#: The modules that may import another package, at their top or in a function.
VENDORS: dict[str, tuple[str, ...]] = {
    "pennylane": ("circuits.to_pennylane", "backends.lightning*", "backends.pennylane*"),
    "pennylane_lightning": ("backends.lightning*",),
    "qiskit": (
        "circuits.to_qiskit",
        "circuits.trains.to_qiskit",
        "backends.aer*",
        "backends.ibm*",
        "backends.qiskit*",
        "backends.resources",
        "backends.snapshot*",
        "backends.translation",
    ),
    "qiskit_aer": ("backends.aer*", "backends.ibm*", "backends.qiskit*", "backends.snapshots"),
    "qiskit_ibm_runtime": ("backends.ibm*", "backends.snapshots"),
    "cloudpickle": ("backends.distributed*",),
    "dask": ("backends.distributed*",),
    "distributed": ("backends.distributed*",),
    "sklearn": ("training.*",),
    "matplotlib": ("plot", "reporting.*", "studies.*", "training.*"),
    "pandas": ("calibration.table", "reporting.*", "studies.*", "training.*", "dashboard*"),
    "tomlkit": ("reporting.config",),
    "typer": ("cli*",),
    "rich": ("cli.progress", "cli.tables"),
    "streamlit": ("dashboard*",),
    # All three come with Streamlit.
    "starlette": ("dashboard.__main__",),
    "pyarrow": ("dashboard.widgets",),
    "nir": ("interop.nir*",),
    "h5py": ("training.data.spike_files",),
    "snntorch": ("interop.snntorch",),
    "norse": ("interop.norse",),
    "spikingjelly": ("interop.spikingjelly",),
    "PIL": ("dashboard.comparisons.view",),
}
#: Libraries whose neurons are converted, and which their users bring with them.
BROUGHT = ("snntorch", "norse", "spikingjelly")


def imported(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Every import that runs: line and dotted name. What stands under `if TYPE_CHECKING` does not run."""
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imported(node.orelse)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "qlifq" or node.level:
                yield from ((node.lineno, "." * node.level + f"{node.module or ''}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, str(node.module)
        else:
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "id", getattr(called, "attr", ""))
            if isinstance(node, ast.Call) and name in {"load", "import_module", "__import__"} and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield node.lineno, first.value
            if isinstance(node, ast.Call) and name == "lazy":
                values = [value for argument in node.args if isinstance(argument, ast.Dict) for value in argument.values]
                yield from ((value.lineno, str(ast.literal_eval(value))) for value in values)
            yield from imported(ast.iter_child_nodes(node))


def violations(module: str, source: str) -> list[str]:
    """What a module of the package, such as "circuits.sinusoidal", imports and must not."""
    room = module.partition(".")[0]
    if room not in MAY_IMPORT:
        return [f"{module} is in no room"]
    found = []
    for line, name in imported(ast.parse(source).body):
        top, _, rest = name.partition(".")
        if not top:
            found.append(f"{module}:{line} imports {name} by a relative name")
        elif top == "qlifq":
            into = rest.split(".")[0]
            own = into == room or (room, into) == ("__main__", "cli")
            if not own and (into in FRONTS or not any(fnmatch(rest or "__init__", pattern) for pattern in MAY_IMPORT[room])):
                found.append(f"{module}:{line} imports {name}")
        elif top in CORE or top in sys.stdlib_module_names:
            continue
        elif not any(fnmatch(module, pattern) for pattern in VENDORS.get(top, ())):
            found.append(f"{module}:{line} imports {name}")
    return found


def modules() -> dict[str, Path]:
    """The modules of the package by their dotted name under it."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(ROOT.rglob("*.py"))
    }


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    assert violations(module, modules()[module].read_text(encoding="utf-8")) == []


def test_every_room_of_the_package_is_checked() -> None:
    seen = {name.split(".")[0] for name in modules()}
    assert {"errors", "random", "reporting", "circuits", "backends", "neurons"} <= seen
    assert seen <= set(MAY_IMPORT)
    assert len(modules()) > 30


@pytest.mark.parametrize("package", [*CORE, *(name for name in VENDORS if name not in BROUGHT)])
def test_a_package_that_is_imported_is_declared(package: str) -> None:
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [
        *project["dependencies"],
        *extras["ibm"],
        *extras["dashboard"],
        *extras["distributed"],
        *extras["nir"],
        *extras["events"],
    ]
    name = {"sklearn": "scikit-learn", "PIL": "pillow"}.get(package, package.replace("_", "-"))
    assert name in {re.split("[^a-z0-9-]", requirement)[0] for requirement in declared}


def test_the_table_of_the_guide_is_that_of_the_imports() -> None:
    guide = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `qlifq/(\w+)(?:/|\.py)` \|[^|]*\|([^|]*)\|$", guide, re.MULTILINE)
    table = {room: set(re.findall(r"`(\w+)`", cell)) for room, cell in rows}
    allowed = {
        room: {name.partition(".")[0].rstrip("*") for name in names} - set(GROUND)
        for room, names in MAY_IMPORT.items()
        if room not in {*GROUND, *FRONTS, "__init__", "__main__"}
    }
    assert table == allowed


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("errors", "import qlifq._validation", "errors:1 imports qlifq._validation"),
        ("_files", "from qlifq.circuits import RYSpike", "_files:1 imports qlifq.circuits"),
        ("_validation", "from qlifq import backends", "_validation:1 imports qlifq.backends"),
        (
            "circuits.sinusoidal",
            "import math\nfrom qlifq.backends import DeviceNoise",
            "circuits.sinusoidal:2 imports qlifq.backends",
        ),
        ("circuits.sinusoidal", "def f():\n    import pennylane as qml", "circuits.sinusoidal:2 imports pennylane"),
        ("circuits.to_qiskit", "from qiskit_aer import AerSimulator", "circuits.to_qiskit:1 imports qiskit_aer"),
        ("backends.analytic", "from qlifq.neurons import QLIF", "backends.analytic:1 imports qlifq.neurons"),
        ("backends.analytic", "from qlifq import QLIF", "backends.analytic:1 imports qlifq.QLIF"),
        ("backends.analytic", "import qlifq", "backends.analytic:1 imports qlifq"),
        ("backends.lightning", "import qiskit.circuit", "backends.lightning:1 imports qiskit.circuit"),
        ("backends.registry", "load('pennylane.tape', feature='x')", "backends.registry:1 imports pennylane.tape"),
        ("backends.registry", "importlib.import_module('qiskit')", "backends.registry:1 imports qiskit"),
        (
            "neurons.qlif",
            "from qlifq.backends.analytic import AnalyticBackend",
            "neurons.qlif:1 imports qlifq.backends.analytic",
        ),
        ("neurons.qlif", "from qlifq.backends.conformance import check", "neurons.qlif:1 imports qlifq.backends.conformance"),
        ("neurons.qlif", "from qlifq.studies import x", "neurons.qlif:1 imports qlifq.studies"),
        ("calibration.fit", "from qlifq.neurons.qlif import QLIF", "calibration.fit:1 imports qlifq.neurons.qlif"),
        ("studies.compare", "from qlifq.training import train", "studies.compare:1 imports qlifq.training"),
        (
            "studies.compare",
            "from qlifq.training.report import training_report",
            "studies.compare:1 imports qlifq.training.report",
        ),
        ("training.loop", "from qlifq.studies import simulation", "training.loop:1 imports qlifq.studies"),
        ("reporting.report", "from qlifq.backends import Plan", "reporting.report:1 imports qlifq.backends"),
        ("random.philox", "from qlifq.circuits import RYSpike", "random.philox:1 imports qlifq.circuits"),
        ("reporting.report", "from qlifq.random import SeedStream", "reporting.report:1 imports qlifq.random"),
        # Kernels are Triton's where it is installed: the text that imports it is generated, no module of the package.
        ("neurons.kernels.targets", "import triton", "neurons.kernels.targets:1 imports triton"),
        ("studies.compare", "from qlifq.cli import main", "studies.compare:1 imports qlifq.cli"),
        ("calibration.fit", "from qlifq.training import train", "calibration.fit:1 imports qlifq.training"),
        (
            "training.loop",
            "from qlifq.backends.aer.backend import AerBackend",
            "training.loop:1 imports qlifq.backends.aer.backend",
        ),
        ("dashboard.app", "from qlifq.cli import main", "dashboard.app:1 imports qlifq.cli"),
        ("cli", "import streamlit", "cli:1 imports streamlit"),
        ("studies.compare", "import undeclared", "studies.compare:1 imports undeclared"),
        ("__init__", "from qlifq.cli import main", "__init__:1 imports qlifq.cli"),
        ("__init__", "lazy(__name__, {'main': 'qlifq.cli'})", "__init__:1 imports qlifq.cli"),
        (
            "circuits.sinusoidal",
            "from ..backends import noise",
            "circuits.sinusoidal:1 imports ..backends.noise by a relative name",
        ),
        ("extras.thing", "", "extras.thing is in no room"),
        (
            "circuits.sinusoidal",
            "if TYPE_CHECKING:\n    import qiskit\nelse:\n    import qiskit_aer",
            "circuits.sinusoidal:4 imports qiskit_aer",
        ),
    ],
)
def test_a_planted_import_is_found(module: str, source: str, found: str) -> None:
    assert violations(module, source) == [found]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("circuits.circuit", "if TYPE_CHECKING:\n    from qiskit import QuantumCircuit"),
        ("circuits.to_qiskit", "def f():\n    from qiskit import QuantumCircuit"),
        ("backends.aer.backend", "from qiskit_aer import AerSimulator\nfrom qlifq.circuits import Packing"),
        ("neurons.qlif", "from qlifq.backends import Backend, get\nfrom qlifq.neurons.state import QLIFState\nimport torch"),
        ("_files", "from qlifq._version import __version__"),
        ("studies.compare", "from qlifq.training.networks import build"),
        ("cli", "from qlifq.cli.options import parse_noise\nfrom qlifq.studies import simulation"),
    ],
)
def test_what_a_room_may_import_is_let_through(module: str, source: str) -> None:
    assert violations(module, source) == []
