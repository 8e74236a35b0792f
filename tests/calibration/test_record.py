"""A record comes back as it was; one that is damaged, of a later version or of something else is refused with the reason."""

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import qlifq
from qlifq.backends import DeviceNoise, get
from qlifq.calibration import Calibration, compare, fit, load, save
from qlifq.errors import ArgumentError, DtypeError, FileError, FileFormatError, QLIFError, ShapeError

Content = dict[str, Any]

#: A record as an earlier qlifq wrote it.
OLD = Path(__file__).parents[1] / "data" / "calibration_version_1.json"


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    device = get("analytic", noise=DeviceNoise(readout_p01=(0.02, 0.1, 0.0), readout_p10=(0.05, 0.2, 0.0)))
    return fit(device, neurons=3, mapping="tanh", theta_max=1.4, quantum_leak=0.1, shots=2000, seed=7)


@pytest.fixture
def written(calibration: Calibration, tmp_path: Path) -> Path:
    save(calibration, tmp_path / "cal.json")
    return tmp_path / "cal.json"


def test_a_record_comes_back_as_it_was(calibration: Calibration, written: Path) -> None:
    back = load(written)
    one, other = calibration.measurement, back.measurement
    assert torch.equal(one.counts.ones, other.counts.ones)
    assert torch.equal(one.counts.shots, other.counts.shots)
    assert one.counts.order is not None
    assert other.counts.order is not None
    assert torch.equal(one.counts.order, other.counts.order)
    for name in ("q_scale", "q_bias", "gaps", "angles"):
        assert torch.equal(getattr(one.design, name), getattr(other.design, name)), name
    for name in ("backend", "details", "seed", "time_utc", "versions"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("mapping", "quantum_leak", "theta_max", "neurons"):
        assert getattr(one.design, name) == getattr(other.design, name), name
    assert str(back) == str(calibration)
    assert float(compare(calibration, back).shift.max()) == 0.0


def test_a_record_says_where_it_is_from(written: Path) -> None:
    content = json.loads(written.read_text())
    assert content["format"] == "qlifq.calibration"
    assert content["format_version"] == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", content["time_utc"])
    assert {"qlifq", "torch", "numpy", "qiskit"} <= set(content["versions"])
    assert content["backend"] == "analytic"
    assert content["mapping"] == "tanh"
    assert content["shots"] == [1000, 1000]
    assert set(content["p_values"]) == {"fit", "neuron", "drift", "crosstalk"}


def test_what_was_not_identified_is_null_and_comes_back_as_such(tmp_path: Path) -> None:
    save(fit(get("analytic"), neurons=1, gaps=torch.tensor([9.0, 9.5]), shots=100, seed=1), tmp_path / "cal.json")
    assert json.loads((tmp_path / "cal.json").read_text())["responses"]["c"] == [None]
    assert load(tmp_path / "cal.json").unidentified_reason("c", 0) is not None
    with pytest.raises(ArgumentError, match="`record` must hold the response of every site, but 1 lack theirs, first 0"):
        get("twin", record=tmp_path / "cal.json")


def test_the_qubits_and_the_noise_are_part_of_the_record(tmp_path: Path) -> None:
    device = get("aer", noise="fake_torino", sampling="law", qubits=[5, 2])
    save(fit(device, neurons=2, shots=100, seed=1), tmp_path / "cal.json")
    assert load(tmp_path / "cal.json").measurement.details == {"qubits": [5, 2], "noise": "fake_torino"}
    other = fit(get("aer", noise="fake_torino", sampling="law", qubits=[5, 3]), neurons=2, shots=100, seed=1)
    with pytest.raises(ArgumentError, match=re.escape("`b` must stand on the qubits of `a`, [5, 2], but stands on [5, 3]")):
        compare(load(tmp_path / "cal.json"), other)


def test_a_record_from_before_the_noise_was_recorded_is_read_and_applied(tmp_path: Path) -> None:
    device = get("aer", noise=DeviceNoise(readout_p01=0.02), sampling="law")
    save(fit(device, neurons=2, shots=1000, seed=1), tmp_path / "cal.json")
    content = json.loads((tmp_path / "cal.json").read_text())
    assert content["details"].pop("noise") == "readout_p01=0.02"
    (tmp_path / "cal.json").write_text(json.dumps(content))
    earlier = load(tmp_path / "cal.json")
    layer = qlifq.QLIF(2, backend=device)
    earlier.apply_to(layer)
    assert bool((layer.q_scale != 4).all())


def test_a_record_of_version_1_is_read_and_written_anew(tmp_path: Path) -> None:
    """Written by qlifq 0.1.0 when version 1 called the fields `leak` and `laws`, and the readout errors eps and eta."""
    old = load(OLD)
    assert json.loads(OLD.read_text())["format_version"] == 1
    assert old.measurement.counts.shots[:, 3, 1].tolist() == [1000, 1000]
    assert old.measurement.design.quantum_leak == 0.1
    assert str(old).splitlines()[2].split()[1:12:3] == ["0.4545", "0.3020", "0.0193", "0.0508"]
    save(old, tmp_path / "new.json")
    assert str(load(tmp_path / "new.json")) == str(old)


def put(*path: str | int, value: object) -> Callable[[Content], None]:
    def damage(content: Content) -> None:
        place: Any = content
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return damage


def drop(name: str) -> Callable[[Content], None]:
    return lambda content: content.pop(name)


DAMAGES: list[tuple[Callable[[Content], None], str]] = [
    (
        put("format", value="qlifq run"),
        "must be a calibration record, format 'qlifq.calibration', but its format is 'qlifq run'",
    ),
    (drop("format"), "but its format is None"),
    (put("format_version", value=3), "is a calibration record of version 3, written by a later qlifq than this one"),
    (put("format_version", value=0), "must be a calibration record of version 1 or 2, but its version is 0"),
    (put("format_version", value=True), "must be a calibration record of version 1 or 2, but its version is True"),
    (put("format_version", value="1"), "must be a calibration record of version 1 or 2, but its version is '1'"),
    (put("circuit", value="Nobody"), "`circuit` must be 'RYSpike', or an object of `name` and `gates`, but is 'Nobody'"),
    (
        put("circuit", value="LeakySpike"),
        "`circuit` must be 'RYSpike', or an object of `name` and `gates`, but is 'LeakySpike'",
    ),
    (drop("mapping"), "lacks `mapping`, which must be a text"),
    (put("mapping", value="cubic"), "does not hold a calibration: Argument `mapping` must be one of sigmoid, linear, tanh"),
    (put("mapping", value="sigmoid"), "does not hold a calibration: Argument `theta_max` would be ignored"),
    (put("mapping", value=3), "`mapping` must be a text, but is 3"),
    (put("quantum_leak", value="much"), "`quantum_leak` must be a finite number, but is 'much'"),
    (put("theta_max", value=-1.0), "does not hold a calibration: Argument `theta_max` must be above 0, but is -1"),
    (put("q_scale", value=[]), "`q_scale` must be finite numbers in 1 dimensions, but is []"),
    (put("q_scale", 0, value=0.0), "does not hold a calibration: Argument `q_scale` must not be 0"),
    (put("q_bias", value=[0.1]), "does not hold a calibration: Argument `q_bias` must have shape (3,), but has shape (1,)"),
    (put("gaps", 0, value=[0.1]), "`gaps` must be finite numbers in 2 dimensions of equal length"),
    (put("gaps", 0, 0, value=float("inf")), "`gaps` must be finite numbers in 2 dimensions"),
    (put("shots", value=[1000]), "`ones` must be of shape (1, 12, 3), but is of shape (2, 12, 3)"),
    (put("shots", value=[1000, 0]), "`shots` must be at least 1 everywhere, but is [1000, 0]"),
    (put("shots", value=[1000, 10.5]), "`shots` must be whole numbers in 1 dimensions"),
    (put("ones", 0, 0, 0, value=1001), "`ones` must be between 0 and the shots of its round, but is 0 to 1001"),
    (put("ones", 0, 0, 0, value=-1), "`ones` must be between 0 and the shots of its round, but is -1 to"),
    (put("ones", 0, 0, 0, value=True), "`ones` must be whole numbers in 3 dimensions"),
    (put("ones", 0, 0, 0, value=10**30), "`ones` must be whole numbers in 3 dimensions"),
    (put("ones", 0, 4, 1, value=0), "holds responses that do not follow from its counts: one or the other was changed"),
    (put("order", 0, 0, 0, value=77), "`order` must be a permutation of the angles for every round and site"),
    (drop("ones"), "lacks `ones`, which must be whole numbers in 3 dimensions"),
    (drop("responses"), "must hold `responses` with the lists a, b and c, but holds None"),
    (put("responses", "a", value=[0.5, 0.5]), "must hold in `responses.b` a number from -2 to 2 or null per site"),
    (
        put("responses", "a", 0, value="half"),
        "must hold in `responses.a` a number from -2 to 2 or null per site, but holds ['half'",
    ),
    (put("responses", "a", 0, value=3.0), "must hold in `responses.a` a number from -2 to 2 or null per site"),
    (put("responses", "b", 1, value=-0.4), "holds responses that do not follow from its counts"),
    (put("seed", value=-1), "`seed` must be an integer from 0 to 9223372036854775807, but is -1"),
    (put("time_utc", value="yesterday"), "`time_utc` must be a time such as 2026-01-31T12:00:00Z, but is 'yesterday'"),
    (put("versions", value=[]), "`versions` must be an object, but is []"),
    (put("details", value=None), "`details` must be an object, but is None"),
    (drop("backend"), "lacks `backend`, which must be a text"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_record_is_refused_with_its_reason(written: Path, damage: Callable[[Content], None], message: str) -> None:
    content = json.loads(written.read_text())
    damage(content)
    written.write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match=re.escape(message)) as caught:
        load(written)
    assert str(written) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold JSON, but does not"),
        (b'{"format": "qlifq.calib', "must hold JSON, but does not"),
        (b"[1, 2]", "must hold a JSON object, but holds a list"),
        (b"\xff\xfe", "must hold JSON, but does not"),
    ],
)
def test_half_a_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "cal.json").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        load(tmp_path / "cal.json")
    with pytest.raises(FileFormatError, match=message):
        get("twin", record=tmp_path / "cal.json")


def test_every_cut_of_a_record_is_refused(written: Path) -> None:
    whole = written.read_bytes()
    for length in range(0, len(whole) - 2, len(whole) // 40):
        written.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            load(written)


def test_any_field_of_another_type_is_refused_by_name(written: Path) -> None:
    whole = json.loads(written.read_text())
    derived = {"responses_covariance", "neurons", "neurons_standard_error", "p_values"}
    for name in set(whole) - derived:
        content = copy.deepcopy(whole)
        content[name] = {"not": "this"} if name not in {"versions", "details"} else "not this"
        written.write_text(json.dumps(content))
        with pytest.raises(FileFormatError):
            load(written)


def test_no_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="cannot be read: no such file or directory"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda cal, folder: save(cal, folder / "no" / "cal.json"), FileError, "does not exist"),
        (lambda cal, folder: save("cal", folder / "cal.json"), DtypeError, "`calibration` must be a Calibration, but is str"),  # type: ignore[arg-type]
        (lambda cal, folder: load(3), DtypeError, "must be a path, but is 3"),  # type: ignore[arg-type]
        (lambda cal, folder: compare(cal, 3), DtypeError, "`b` must be a Calibration, but is int"),  # type: ignore[call-overload]
        (lambda cal, folder: compare(3, cal), DtypeError, "`a` must be a Calibration, but is int"),  # type: ignore[call-overload]
        (
            lambda cal, folder: compare(cal, fit(get("analytic"), neurons=2, shots=10, seed=1)),
            ShapeError,
            "`b` must have the 3 sites of `a`, but has 2",
        ),
        (lambda cal, folder: compare(cal, cal).drifted(0.0), ArgumentError, "`level` must be above 0 and below 1, but is 0"),
    ],
)
def test_bad_arguments_are_refused(
    calibration: Calibration,
    tmp_path: Path,
    act: Callable[[Calibration, Path], object],
    error: type[QLIFError],
    message: str,
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        act(calibration, tmp_path)


def test_a_failure_while_writing_keeps_the_old_record(
    calibration: Calibration, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()

    def refuse(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(FileError, match="no space left on device"):
        save(calibration, written)
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == ["cal.json"]
