"""Backends by name, those of other packages too."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from qiskit_aer.noise import NoiseModel

import qlifq.backends
from qlifq._packages import load
from qlifq.backends import registry
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.reference import ReferenceBackend
from qlifq.errors import ArgumentError, DtypeError, MissingPackageError, QLIFError

Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Registers entry points, as installing a package does."""

    def install(**values: str | list[str]) -> None:
        points = [
            EntryPoint(name, value, registry.GROUP)
            for name, several in values.items()
            for value in ([several] if isinstance(several, str) else several)
        ]

        def entry_points(*, group: str) -> list[EntryPoint]:
            return points if group == registry.GROUP else []

        monkeypatch.setattr(registry, "entry_points", entry_points)

    return install


def test_the_names_of_qlifq_come_first(register: Register) -> None:
    register(zeta="a:B", alpha="a:B", analytic="somebody:Else")
    assert qlifq.backends.names()[: len(registry.BUILT_IN)] == tuple(registry.BUILT_IN)
    assert qlifq.backends.names()[len(registry.BUILT_IN) :] == ("alpha", "zeta")
    # Nobody replaces a backend of qlifq.
    assert isinstance(qlifq.backends.get("analytic"), AnalyticBackend)


def test_a_backend_of_another_package_is_found_by_name(register: Register) -> None:
    register(mine="qlifq.backends.reference:ReferenceBackend")
    assert isinstance(qlifq.backends.get("mine"), ReferenceBackend)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            {"mine": "no_such_package:Backend"},
            MissingPackageError,
            "Backend mine, registered as no_such_package:Backend, cannot be",
        ),
        ({"mine": ["a:B", "c:D"]}, ArgumentError, "Backend mine is registered more than once, by a:B, c:D."),
        ({"mine": "math:pi"}, DtypeError, "Backend mine must be a subclass of qlifq.backends.Backend, but is 3.14"),
        (
            {"mine": "pathlib:Path"},
            DtypeError,
            "Backend mine must be a subclass of qlifq.backends.Backend, but is <class 'pathlib",
        ),
        ({"other": "a:B"}, ArgumentError, "Unknown backend `mine`: it must be one of analytic, "),
    ],
)
def test_a_bad_registration_is_named(register: Register, values: dict[str, str], error: type[QLIFError], message: str) -> None:
    register(**values)
    with pytest.raises(error, match=re.escape(message)):
        qlifq.backends.get("mine")


def test_an_entry_point_without_that_attribute_is_named(register: Register) -> None:
    register(mine="qlifq.backends.reference:Nothing")
    with pytest.raises(MissingPackageError, match=r"Backend mine, registered as qlifq\.backends\.reference:Nothing, cannot be"):
        qlifq.backends.get("mine")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match=r"Unknown backend `analitic`: it must be one of analytic, .*reference"):
        qlifq.backends.get("analitic")
    with pytest.raises(DtypeError, match=r"`backend` must be a name, .* or PennyLane, but is 3"):
        qlifq.backends.get(3)
    with pytest.raises(DtypeError, match=r" A noise model goes into get\('aer', noise=\.\.\.\)"):
        qlifq.backends.get(NoiseModel())


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match="Backend analytic has no option `shots`: its options are noise"):
        qlifq.backends.get("analytic", shots=5)


def test_options_that_are_missing_or_open_are_distinguished(
    register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_backends.py").write_text(
        "from qlifq.backends.reference import ReferenceBackend\n"
        "from qlifq.backends import Backend\n"
        "class Base(Backend):\n"
        "    name = 'their'\n"
        "    capabilities = ReferenceBackend.capabilities\n"
        "    _execute = plan = lambda *args, **kwargs: None\n"
        "class Needy(Base):\n"
        "    def __init__(self, token): self.token = token\n"
        "class Open(Base):\n"
        "    def __init__(self, **options): self.options = options\n"
        "class Bare(Base): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    register(needy="their_backends:Needy", open="their_backends:Open", bare="their_backends:Bare")
    assert vars(qlifq.backends.get("open", anything=3)) == {"options": {"anything": 3}}
    assert vars(qlifq.backends.get("needy", token=3)) == {"token": 3}
    with pytest.raises(ArgumentError, match=r"Backend needy cannot be built: .*token"):
        qlifq.backends.get("needy")
    with pytest.raises(ArgumentError, match="Backend bare has no option `noise`: its options are none"):
        qlifq.backends.get("bare", noise=None)


def test_a_backend_whose_package_is_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = registry.BuiltIn("qlifq.backends.absent", "Absent", package="no_such_vendor", install="'qlifq[vendor]'")
    monkeypatch.setattr(registry, "BUILT_IN", {"absent": absent})
    message = "Backend absent needs the package `no_such_vendor`, which is not installed: pip install 'qlifq[vendor]'"
    with pytest.raises(MissingPackageError, match=re.escape(message)):
        qlifq.backends.get("absent")


def test_a_broken_package_is_not_called_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_vendor.py").write_text("raise ImportError('libvendor.so not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = "Drawing needs the package `broken_vendor`, which is installed but cannot be imported: libvendor.so not found"
    with pytest.raises(MissingPackageError, match=message):
        load("broken_vendor", package="broken_vendor", feature="Drawing", install="vendor")
    assert "broken_vendor" not in sys.modules


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_a_backend_of_qlifq_bears_the_name_it_is_registered_under(name: str) -> None:
    assert registry._factory(name).name == name


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_the_table_of_the_backends_says_what_their_classes_declare(name: str) -> None:
    declared = qlifq.backends.capabilities(name)
    assert registry.summary(name)._asdict() == {field: getattr(declared, field) for field in registry.Summary._fields}


def test_the_table_says_what_a_backend_of_another_package_declares(register: Register) -> None:
    register(mine="qlifq.backends.lightning:LightningBackend")
    assert registry.summary("mine") == registry.BUILT_IN["lightning"].summary
    register()
    with pytest.raises(ArgumentError, match="Unknown backend `mine`"):
        registry.summary("mine")


def test_what_the_fronts_need_of_a_backend_is_known_without_its_vendor() -> None:
    rows = {name: entry.summary for name, entry in registry.BUILT_IN.items()}
    assert [name for name in rows if rows[name].device] == ["ibm"]
    assert [name for name in rows if rows[name].record] == ["twin"]
    assert [name for name in rows if rows[name].snapshots] == ["aer", "distributed"]
    offering = {name: row.sampling for name, row in rows.items() if row.sampling}
    assert offering == {"aer": ("shots", "law"), "distributed": ("shots", "law")}


def test_a_backend_of_another_package_is_on_every_front(tmp_path: Path) -> None:
    """One file and its entry point: nothing of qlifq changes."""
    (tmp_path / "mine.py").write_text(
        "from qlifq.backends import Backend, Call, Capabilities, Outcome\n"
        "class Mine(Backend):\n"
        "    name = 'mine'\n"
        "    capabilities = Capabilities(exact=True, shots=False, noisy=False, differentiable=True, ideal=True, max_sites=43)\n"
        "    def _execute(self, call: Call) -> Outcome:\n"
        "        return Outcome(call.circuit.probability(call.angles))\n"
    )
    package = tmp_path / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[qlifq.backends]\nmine = mine:Mine\n")
    fronts = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import torch, qlifq\n"
        "from qlifq.backends import names\n"
        "from qlifq.cli.listing import backends\n"
        "from qlifq.dashboard.backends.view import BackendsView\n"
        "from qlifq.dashboard.controls import controls_of\n"
        "print(names()[-1]); backends()\n"
        "print('mine' in next(c for c in controls_of(BackendsView) if c.name == 'first_backend').options)\n"
        "print(qlifq.QLIF(43, backend='mine', seed=1)(torch.ones(2, 1, 43))[0].shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", fronts, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "mine"
    assert ["mine", "yes", "no", "no", "yes", "no", "43"] in [line.split() for line in lines]
    assert lines[-2:] == ["True", "torch.Size([2, 1, 43])"]
