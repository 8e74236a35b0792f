"""Data that somebody else measured give what `fit` gives, with honest intervals; a damaged table is refused by its line.

A test that can fail by chance does so with at most 1e-9, by the exact distribution of what it counts.
"""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binom, binomtest, chi2, kstest
from torch import Tensor

import qlifq
from qlifq.backends import DeviceNoise, get
from qlifq.backends.sampling import draw
from qlifq.calibration import fit, from_counts, from_probabilities, load, save
from qlifq.calibration.design import CORNERS, CalibrationDesign
from qlifq.calibration.given import parse_counts
from qlifq.calibration.models import NEURON
from qlifq.circuits import Gate, LeakySpike, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, FileFormatError, QLIFError, ShapeError, UnsupportedError
from qlifq.neurons.mapping import MAPPINGS

DEVICE = get("analytic", noise=DeviceNoise(readout_p01=(0.02, 0.06, 0.0), readout_p10=(0.05, 0.1, 0.02)))
TURNED = SpikeCircuit("Turned", (Gate("RY", 0.3), Gate("RX", 0.4), Gate("RY", Slot(0)), Gate("RX", 0.5)))
FALSE_FAIL = 1e-9


def exact(values: Tensor) -> str:
    """Every digit of numbers, NaN included."""
    return repr(values.tolist())


@pytest.mark.parametrize("mapping", sorted(MAPPINGS))
def test_the_estimate_is_that_of_fit_bit_for_bit(mapping: str, tmp_path: Path) -> None:
    # From the highest gap down, so that a table which sorts them is not bit for bit the same.
    gaps = CalibrationDesign(mapping, 3).gaps.flip(0)
    fitted = fit(DEVICE, neurons=3, mapping=mapping, gaps=gaps, quantum_leak=0.1, shots=3001, rounds=3, seed=3)
    design, counts = fitted.measurement.design, fitted.measurement.counts
    numbers: dict[str, Any] = {"mapping": mapping, "quantum_leak": 0.1, "measured_by": "a lab"}
    lines = ["site,angle,gap,round,shots,ones"]
    for turn, cell, site in np.ndindex(*counts.ones.shape):
        place = f"{design.angles[cell, site].item()!r}," if cell < 2 else f",{design.gaps[cell - 2, site].item()!r}"
        lines.append(f"{site},{place},{turn},{counts.shots[turn, cell, site]},{counts.ones[turn, cell, site]}")
    (tmp_path / "lab.csv").write_text("\n".join(lines))
    frame = pd.read_csv(tmp_path / "lab.csv")
    arrays = (counts.ones.numpy(), counts.shots.numpy())
    for same in (
        from_counts(CORNERS, counts.ones, counts.shots, gaps=design.gaps, order=counts.order, **numbers),
        from_counts(CORNERS.numpy(), *arrays, gaps=design.gaps.numpy(), **numbers),
        from_counts(tmp_path / "lab.csv", **numbers),
        from_counts(frame, **numbers),
    ):
        for ours, theirs in (
            (same.analysis.response, fitted.analysis.response),
            (same.analysis.neuron, fitted.analysis.neuron),
        ):
            assert all(exact(one) == exact(other) for one, other in zip(ours, theirs, strict=True))
        for name in ("p_value", "neuron_p_value", "drift_p_value", "small_counts"):
            assert exact(getattr(same.analysis, name)) == exact(getattr(fitted.analysis, name)), name
        known = same.measurement.counts.order is not None
        assert exact(same.analysis.crosstalk_p_value) == exact(
            fitted.analysis.crosstalk_p_value if known else torch.full((3,), torch.nan)
        )
        assert same.source == "data measured by a lab"
    # What is summed in another order differs by its rounding.
    mixed = random.Random(1).sample(lines[1:], len(lines) - 1)
    (tmp_path / "lab.csv").write_text("\n".join([lines[0], *mixed]))
    other = from_counts(tmp_path / "lab.csv", **numbers).analysis.neuron.value
    torch.testing.assert_close(other, fitted.analysis.neuron.value, rtol=1e-6, atol=1e-7)


def planted(draws: int) -> tuple[Tensor, Tensor, CalibrationDesign]:
    """Three sites, each `draws` times: q_scale, q_bias and readout errors, and shots that differ from cell to cell."""
    truth = torch.tensor([[4.3, 0.05, 0.02, 0.05], [3.8, -0.1, 0.06, 0.1], [4.0, 0.0, 0.01, 0.15]], dtype=torch.float64)
    shots = torch.tensor([4000, 1500, 800])[None, :] + 250 * torch.arange(12)[:, None]
    return truth.repeat(draws, 1), shots.repeat(1, draws), CalibrationDesign("sigmoid", 3 * draws)


def test_planted_numbers_are_found_with_honest_intervals_from_unequal_shots() -> None:
    draws = 2000
    truth, shots, design = planted(draws)
    q_scale, q_bias, p01, p10 = truth.unbind(-1)
    turned = MAPPINGS["sigmoid"].angle(design.gaps, q_scale, q_bias, design.theta_max)
    angles = torch.cat((design.set_angles, turned))
    chance = p01 + (1 - p01 - p10) * (angles / 2).sin().square()
    ones = torch.binomial(shots.double(), chance, generator=torch.Generator().manual_seed(5)).long()
    found = from_counts(CORNERS, ones, shots, gaps=design.gaps, measured_by="the test").analysis
    assert bool(found.neuron.converged.all())
    # 6,000 intervals for each parameter: the bounds are wide enough for a false-fail rate of 1e-9 over all four.
    trials = 3 * draws
    assert binom.cdf(0.93 * trials, trials, 0.95) + binom.sf(0.97 * trials - 1, trials, 0.95) < FALSE_FAIL / len(NEURON)
    score = (found.neuron.value - truth) / found.neuron.standard_error
    for place, name in enumerate(NEURON):
        assert 0.93 * trials < int((score[:, place].abs() < 1.959964).sum()) < 0.97 * trials, name
    assert kstest(found.neuron_p_value.numpy(), "uniform").pvalue > FALSE_FAIL


def test_unequal_shots_and_missing_cells_weigh_as_the_likelihood_says() -> None:
    """Against a minimiser of SciPy's that knows nothing of cells and shares, on a site that lacks an angle."""
    angles = torch.tensor([0.1, 0.9, 1.6, 2.2, 3.0], dtype=torch.float64)
    shots = torch.tensor([[900, 40], [30, 700], [2000, 0], [10, 333], [70, 512]])
    ones = torch.tensor([[30, 3], [7, 160], [1030, 0], [8, 243], [66, 480]])
    found = from_counts(angles, ones, shots, measured_by="a lab")
    for site in range(2):
        ran = shots[:, site] > 0
        theta, n, k = (values[ran].numpy() for values in (angles, shots[:, site], ones[:, site]))

        def cost(x: Any, theta: Any = theta, n: Any = n, k: Any = k) -> float:
            p = np.clip(x[0] + x[1] * np.cos(theta) + x[2] * np.sin(theta), 1e-9, 1 - 1e-9)
            return float(-(k * np.log(p) + (n - k) * np.log(1 - p)).sum())

        best = minimize(
            cost, [0.5, -0.45, 0.0], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 9999}
        )
        response = found.analysis.response
        np.testing.assert_allclose(response.value[site].numpy(), best.x, atol=1e-3 * float(response.standard_error[site].min()))
    # Four cells and three numbers leave one degree of freedom, five leave two.
    assert found.analysis.p_value.isfinite().all()
    alone = from_counts(angles[[0, 1, 3, 4]], ones[[0, 1, 3, 4], 1:], shots[[0, 1, 3, 4], 1:], measured_by="a lab")
    torch.testing.assert_close(alone.analysis.response.value[0], found.analysis.response.value[1], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(alone.analysis.p_value[0], found.analysis.p_value[1], rtol=1e-6, atol=0)


def test_angles_alone_give_the_response_and_the_readout_errors_and_say_what_they_do_not_give() -> None:
    angles = torch.linspace(0, torch.pi, 9, dtype=torch.float64)
    outcome = DEVICE.run(qlifq.circuits.RYSpike(), angles[:, None, None].expand(-1, 3, -1), shots=40_000, seed=4)
    assert outcome.ones is not None
    found = from_counts(angles, outcome.ones, 40_000, measured_by="a lab")
    truth = torch.tensor([[0.02, 0.05], [0.06, 0.1], [0.0, 0.02]], dtype=torch.float64)
    # Six standard errors leave 2e-9 to chance; that of a readout error of 0 is half a shot wide.
    assert bool(((found.analysis.neuron.value[:, 2:] - truth).abs() < 6 * found.analysis.neuron.standard_error[:, 2:]).all())
    assert bool(found.analysis.neuron.value[:, :2].isnan().all())
    assert found.unidentified_reason("q_scale", 1) == (
        "q_scale of site 1 cannot be identified: no gap was measured, only angles that were set directly"
    )
    # Nine angles and two numbers.
    expected = chi2.sf(found.analysis.neuron.deviance.numpy(), 7)
    np.testing.assert_allclose(found.analysis.neuron_p_value.numpy(), expected, rtol=1e-9)
    assert float(found.analysis.neuron_p_value.min()) > FALSE_FAIL
    # A correction needs the response and no gaps.
    layer = qlifq.QLIF(3, backend=DEVICE)
    found.apply_to(layer)
    assert bool((layer.q_scale != 4).all())


def test_a_table_of_rounds_shows_drift() -> None:
    chance = 0.03 + 0.9 * (torch.linspace(0, torch.pi, 6, dtype=torch.float64) / 2).sin().square()
    both = torch.stack([chance[:, None].expand(-1, 2), chance[:, None] * torch.tensor([1.0, 0.93], dtype=torch.float64)])
    ones = draw(both, 8000, 6).ones
    assert ones is not None
    lines = ["round,ones,shots,angle,site"]
    for turn, cell, site in np.ndindex(2, 6, 2):
        lines.append(f"{turn + 1},{ones[turn, cell, site]},8000,{cell * torch.pi / 5!r},{site}")
    found = parse_counts("\n".join(lines).encode(), "lab.csv", measured_by="a lab").analysis
    assert float(found.drift_p_value[0]) > FALSE_FAIL
    assert float(found.drift_p_value[1]) < 1e-6
    # An angle that ran in one round alone says nothing of drift.
    more = [*lines, "1,4000,8000,2.5,0"]
    other = parse_counts("\n".join(more).encode(), "lab.csv", measured_by="a lab").analysis
    torch.testing.assert_close(other.drift_p_value, found.drift_p_value, rtol=1e-9, atol=0)


def test_probabilities_with_errors_are_weighted_least_squares() -> None:
    theta = np.linspace(0.2, 3.0, 7)
    p = np.array([0.01, 0.08, 0.24, 0.49, 0.71, 0.93, 1.02])
    error = np.array([0.02, 0.01, 0.03, 0.02, 0.015, 0.02, 0.03])
    found = from_probabilities(theta, p[:, None], error[:, None], measured_by="a lab")
    design = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    covariance = np.linalg.inv(design.T @ (design / error[:, None] ** 2))
    value = covariance @ design.T @ (p / error**2)
    # The scoring ends within 1e-4 of the standard errors.
    close = 1e-4 * float(found.analysis.response.standard_error.min())
    np.testing.assert_allclose(found.analysis.response.value[0], value, rtol=0, atol=close)
    np.testing.assert_allclose(found.analysis.response.covariance[0], covariance, rtol=1e-9)
    deviance = (((p - design @ value) / error) ** 2).sum()
    assert float(found.analysis.response.deviance[0]) == pytest.approx(deviance, rel=1e-6)
    assert bool(found.analysis.drift_p_value.isnan().all())
    assert "P(1) with standard errors from 0.01 to 0.03" in str(found)
    frame = pd.DataFrame({"site": 0, "angle": theta, "probability": p, "standard_error": error})
    again = from_probabilities(frame, measured_by="a lab")
    assert exact(again.analysis.response.value) == exact(found.analysis.response.value)
    one = from_probabilities(theta, p[:, None], 0.02, measured_by="a lab").analysis.response
    np.testing.assert_allclose(one.value[0], np.linalg.lstsq(design, p, rcond=None)[0], atol=close)
    # Counts of many shots and their p̂ ± σ say the same.
    shots, angles = 10**7, torch.linspace(0.3, 2.8, 8, dtype=torch.float64)
    chance = 0.03 + 0.9 * (angles / 2).sin().square()
    ones = draw(chance[:, None], shots, 8).ones
    assert ones is not None
    share = ones / shots
    counted = from_counts(angles, ones, shots, measured_by="a lab").analysis.neuron
    estimated = from_probabilities(angles, share, (share * (1 - share) / shots).sqrt(), measured_by="a lab").analysis.neuron
    # Their weights differ by 1/√shots of themselves, and so do their estimates by 1/√shots of their errors.
    slack = 1e-2 * counted.standard_error[0, 2:]
    assert bool(((counted.value - estimated.value)[0, 2:].abs() < slack).all())


@pytest.mark.parametrize("circuit", [LeakySpike(0.7), TURNED], ids=lambda circuit: circuit.name)
def test_any_circuit_of_one_angle_is_calibrated(circuit: SpikeCircuit, tmp_path: Path) -> None:
    found = fit(DEVICE, neurons=3, shots=60_000, seed=5, circuit=circuit)
    truth = torch.tensor([[4.0, 0.0, 0.02, 0.05], [4.0, 0.0, 0.06, 0.1], [4.0, 0.0, 0.0, 0.02]], dtype=torch.float64)
    assert bool(((found.analysis.neuron.value - truth).abs() < 6.5 * found.analysis.neuron.standard_error).all())
    for test in (found.analysis.p_value, found.analysis.neuron_p_value, found.analysis.crosstalk_p_value):
        assert float(test.min()) > FALSE_FAIL
    save(found, tmp_path / "cal.json")
    again = load(tmp_path / "cal.json")
    assert again.circuit == circuit
    assert str(again) == str(found)
    # The corrected layer has on this device, at gap 0 and beside it, what a device without errors has.
    layer, ideal = (qlifq.QLIF(3, backend=backend, circuit=circuit) for backend in (DEVICE, "analytic"))
    again.apply_to(layer)
    for gap in (0.0, 0.02):
        angle = [MAPPINGS["sigmoid"].angle(torch.full((3,), gap), each.q_scale, each.q_bias, 1.0) for each in (layer, ideal)]
        p = [
            each.backend.run(circuit, at.detach()[None, :, None], shots=None, seed=None).probability
            for each, at in zip((layer, ideal), angle, strict=True)
        ]
        torch.testing.assert_close(p[0], p[1], rtol=0, atol=0.01)
    with pytest.raises(UnsupportedError, match=r"made with circuit .*, but the layer has '\|0⟩ ──RY\(θ0\)──M'"):
        again.apply_to(qlifq.QLIF(3, backend=DEVICE))
    with pytest.raises(UnsupportedError, match="The readout errors follow from"):
        again.device_noise()
    design = found.measurement.design
    low, high = (float(end) for end in design.ideal.extremes())
    # The readout corners are where the circuit is least and most excited.
    corners = circuit.probability(design.set_angles[:, :1])
    assert corners.tolist() == pytest.approx([low, high])
    middle = found.correct(p0=(low + high) / 2, slope=0.5)
    assert float(middle.target.at_threshold()[0][0]) == pytest.approx((low + high) / 2)
    assert float(middle.target.at_threshold()[1][0]) == pytest.approx(0.5)
    with pytest.raises(ArgumentError, match="`p0` must be above"):
        found.correct(p0=low / 2, slope=0.5)


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (SpikeCircuit("Twice", (Gate("RY", Slot(0)), Gate("RY", Slot(0)))), "must have one angle, in one rotation"),
        (LeakySpike(), "must have one angle, in one rotation"),
        (LeakySpike(torch.pi / 2), "must have a P(1) that depends on its angle"),
        (SpikeCircuit("Still", (Gate("RZ", Slot(0)),)), "must have a P(1) that depends on its angle"),
        ("RYSpike", "must be a SpikeCircuit, but is str"),
    ],
)
def test_a_circuit_without_such_a_response_is_refused(circuit: Any, message: str) -> None:
    with pytest.raises(QLIFError, match=re.escape(f"Argument `circuit` {message}")):
        fit(DEVICE, neurons=1, circuit=circuit)


def test_a_record_keeps_whose_data_it_is_and_is_a_twin(tmp_path: Path) -> None:
    angles = torch.linspace(0, torch.pi, 5, dtype=torch.float64)
    shots = torch.tensor([[100, 900], [300, 0], [500, 700], [200, 100], [100, 100]])
    ones = (shots * (angles[:, None] / 2).sin().square()).long()
    records = (
        from_counts(angles, ones, shots, measured_by=" Lab A,\n\x1b[31mchip 7 ", time_utc="2026-02-03T04:05:06Z"),
        from_probabilities(angles, ones / shots.clamp_min(1), torch.where(shots > 0, 0.02, 0.0), measured_by="Lab A, chip 7"),
    )
    for record in records:
        save(record, tmp_path / "lab.json")
        content = json.loads((tmp_path / "lab.json").read_text())
        assert (content["backend"], content["details"], content["seed"]) == (None, {"measured_by": "Lab A, chip 7"}, None)
        again = load(tmp_path / "lab.json")
        assert str(again) == str(record)
        assert str(again).startswith("calibration of data measured by Lab A, chip 7 · 2 sites")
        twin = get("twin", record=tmp_path / "lab.json")
        outcome = twin.run(record.circuit, torch.zeros(1, 2, 1), shots=None, seed=None)
        assert outcome.metadata["twin_of"] == "data measured by Lab A, chip 7"
    assert "100 to 900 shots per angle" in str(records[0])
    assert "2026-02-03T04:05:06Z" in str(records[0])
    # Nobody but the user knows what these qubits are, so any backend passes.
    records[0].check_backend(get("reference"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content["shots"][0][0].__setitem__(0, -1), "`shots` must be at least 0, and above it on every site"),
        (lambda content: content["ones"][0][0].__setitem__(0, 101), "`ones` must be between 0 and the shots of its round"),
        (lambda content: content.pop("order"), "lacks `order`"),
        (lambda content: content.update(set_angles=[[0.1, 0.2]]), "`ones` must be of shape"),
        (lambda content: content.update(set_angles=[]), "`ones` must be of shape"),
        (lambda content: content.update(set_angles="no"), "`set_angles` must be finite numbers in 2 dimensions"),
        (lambda content: content.update(circuit={"name": "X", "gates": [["RQ", None]]}), "refused: Argument `name` of a gate"),
        (lambda content: content.update(circuit={"name": "X", "gates": [["RY"]]}), "`circuit` must be 'RYSpike', or an object"),
        (lambda content: content.update(circuit={"name": "X", "gates": [["RZ", None]]}), "depends on its angle"),
        (lambda content: content.update(backend=3), "`backend` must be a text"),
        (lambda content: content.update(seed="x", backend="aer"), "`seed` must be an integer"),
        (lambda content: content.update(probability=[[0.5, 0.5]]), "lacks `standard_error`"),
        (
            lambda content: content.update(probability=[[0.5, 0.5]], standard_error=[[0.1, 0.1]]),
            "`probability` must be of shape",
        ),
    ],
)
def test_a_damaged_record_of_given_data_is_refused(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    shots = torch.tensor([[100, 900], [300, 50], [500, 700], [200, 0]])
    angles = torch.linspace(0, torch.pi, 4, dtype=torch.float64)
    save(from_counts(angles, shots // 2, shots, measured_by="Lab A"), tmp_path / "lab.json")
    content = json.loads((tmp_path / "lab.json").read_text())
    damage(content)
    (tmp_path / "lab.json").write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match=re.escape(message)):
        load(tmp_path / "lab.json")


GOOD = """site,angle,shots,ones
0,0.0,100,2
0,1.5,400,180
0,3.0,100,96
1,0.0,100,4

1,1.5,50,22
1,3.0,100,91
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("site,angle", "place,angle", "line 1: the columns must be site, angle or gap or both, shots, ones"),
        ("angle,shots", "angle,mood,shots", "line 1: the columns must be"),
        ("angle,shots", "shots,shots", "line 1: the columns must be"),
        ("site,angle,shots,ones", "site,shots,ones", "line 1: the columns must be"),
        ("0,1.5,400,180", "0,1.5,400", "line 3: it must have 4 columns as line 1, but has 3"),
        ("0,1.5,400,180", "0,1.5,400,180,7", "line 3: it must have 4 columns as line 1, but has 5"),
        ("0,1.5,400,180", "0,1.5,400,many", "line 3: `ones` must be a whole number from 0 to 4,294,967,296, but is 'many'"),
        ("0,1.5,400,180", "0,1.5,400,", "line 3: `ones` must be a whole number from 0 to 4,294,967,296, but is ''"),
        ("0,1.5,400,180", "0,1.5,400,nan", "line 3: `ones` must be a whole number"),
        ("0,1.5,400,180", "0,1.5,400,1_8", "line 3: `ones` must be a whole number"),
        ("0,1.5,400,180", "0,1.5,400,18.5", "line 3: `ones` must be a whole number"),
        ("0,1.5,400,180", "0,1.5,400,-180", "line 3: `ones` must be a whole number"),
        ("0,1.5,400,180", "0,1.5,400,401", "line 3: `ones` must be at most its 400 shots, but is 401"),
        ("0,1.5,400,180", "0,1.5,0,0", "line 3: `shots` must be a whole number from 1 to 4,294,967,296, but is '0'"),
        ("0,1.5,400,180", "0,1.5,9999999999,1", "line 3: `shots` must be a whole number"),
        ("0,1.5,400,180", "0,NaN,400,180", "line 3: `angle` must be a number of radians of at most a million, but is 'NaN'"),
        ("0,1.5,400,180", "0,1e9,400,180", "line 3: `angle` must be a number of radians of at most a million"),
        ("0,1.5,400,180", "0,,400,180", "line 3: it must have an angle or a gap, but has neither"),
        ("0,1.5,400,180", "-1,1.5,400,180", "line 3: `site` must be a whole number from 0"),
        ("1,0.0,100,4", "0,0.0,100,4", "line 5: it repeats line 2, site 0 at angle 0"),
        ("1,0.0,100,4", "0,-0.0,100,4", "line 5: it repeats line 2, site 0 at angle 0"),
        ("1,3.0,100,91", "1,1.5,9,9", "line 8: it repeats line 7, site 1 at angle 1.5"),
        ("1,", "2,", "must have rows of every site from 0 to 2, but has none of site 1"),
        ("0,3.0,100,96\n", "", "Site 0 must have at least 3 different angles, but has 2"),
        ("1,3.0,100,91", f"1,{1.5 + 2 * torch.pi},100,91", "Site 1 must have at least 3 different angles, but has 2"),
        ("0,1.5,400,180", '0,"1.5,400,180', "it must be CSV, but is not: unexpected end of data"),
        (GOOD, "", "must have a header and rows, but has nothing"),
        (GOOD, "site,angle,shots,ones\n", "must have a header and rows, but has no row"),
        ("0,1.5", "0,\udcff", "must be text in UTF-8, but is not"),
    ],
)
def test_a_damaged_table_is_refused_by_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    (tmp_path / "lab.csv").write_bytes(GOOD.replace(old, new).encode(errors="surrogateescape"))
    with pytest.raises(QLIFError, match=re.escape(message)) as caught:
        from_counts(tmp_path / "lab.csv", measured_by="a lab")
    assert "\n" not in str(caught.value)
    assert "lab.csv" in str(caught.value) or message.startswith("Site")


def test_a_table_that_is_as_it_must_be_is_taken_with_its_empty_line_and_its_mark_of_encoding() -> None:
    found = parse_counts(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(), "lab.csv", measured_by="a lab")
    assert found.measurement.counts.total_shots.T.tolist() == [[100, 400, 100], [100, 50, 100]]
    both = "site,angle,gap,shots,ones\n0,0,,100,2\n0,,0.1,100,52\n0,,-0.2,100,33\n0,3.14,,50,49\n"
    found = parse_counts(both.encode(), "lab.csv", measured_by="a lab")
    assert found.measurement.design.set_angles.T.tolist() == [[0, 3.14]]
    assert found.measurement.design.gaps.T.tolist() == [[0.1, -0.2]]
    assert found.measurement.counts.ones[0, :, 0].tolist() == [2, 49, 52, 33]
    with pytest.raises(FileFormatError, match="line 3: it must have an angle or a gap, but has both"):
        parse_counts(both.replace("0,,0.1", "0,2,0.1").encode(), "lab.csv", measured_by="a lab")


PIECES = ["", ",", "\n", '"', "nan", "-", "1e308", "1e400", "0", "9" * 30, "site", "\x00", "é", ".", "\r", "1", "\ufeff", "_"]


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 6), st.sampled_from(PIECES)), min_size=1, max_size=4))
def test_any_damage_of_a_table_gives_a_calibration_or_one_sentence(cuts: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for place, length, piece in cuts:
        text = text[:place] + piece + text[place + length :]
    try:
        found = parse_counts(text.encode(), "lab.csv", measured_by="a lab", mapping="linear")
    except QLIFError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    str(found)
    assert found.sites >= 1


ANGLES = torch.linspace(0, 3, 4, dtype=torch.float64)
ONES = torch.tensor([[1, 2], [40, 30], [60, 70], [95, 99]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"measured_by": " "}, ArgumentError, "`measured_by` must say whose data these are, but is ' '"),
        ({"angles": [0.1]}, DtypeError, "`angles` must be a torch tensor or a NumPy array of numbers, but is list"),
        ({"angles": torch.full((4,), torch.nan)}, ArgumentError, "`angles` must be finite"),
        ({"angles": torch.full((4,), 2e6)}, ArgumentError, "`angles` must give angles of at most 1,000,000 radians"),
        ({"angles": torch.zeros(4)}, ArgumentError, "Site 0 must have at least 3 different angles, but has 1"),
        ({"angles": torch.zeros(4, 3)}, ShapeError, "`angles` must have shape (points,) or (points, 2), but has shape (4, 3)"),
        ({"ones": None}, DtypeError, "`ones` must be a torch tensor or a NumPy array of numbers, but is NoneType"),
        ({"ones": ONES[:3]}, ShapeError, "`ones` must have shape (4, sites) or (rounds, 4, sites)"),
        ({"ones": ONES + 0.5}, ArgumentError, "`ones` must hold whole numbers, but holds others"),
        ({"ones": ONES + 5}, ArgumentError, "`ones` must be from 0 to its 100 shots, but is 104 at angle 3 of site 1"),
        ({"ones": ONES - 2}, ArgumentError, "`ones` must be from 0 to its 100 shots, but is -1 at angle 0 of site 0"),
        (
            {"ones": ONES > 0},
            DtypeError,
            "`ones` must be a torch tensor or a NumPy array of numbers, but is of dtype torch.bool",
        ),
        ({"shots": None}, DtypeError, "`shots` must be a torch tensor"),
        ({"shots": 0}, ArgumentError, "`shots` must be at least 1"),
        ({"shots": torch.full((4, 3), 100)}, ShapeError, "`shots` must have shape (1, 4, 2), but has shape (1, 4, 3)"),
        (
            {"shots": torch.full((4, 2), -1)},
            ArgumentError,
            "`shots` must be from 0 to 4,294,967,296 everywhere, but is -1 to -1",
        ),
        ({"order": torch.zeros(4, 2)}, ArgumentError, "`order` must hold each of 0 to 3 once for every round and site"),
        (
            {"gaps": torch.full((4,), 1e9), "angles": torch.empty(0), "mapping": "linear"},
            ArgumentError,
            "`gaps` must give angles",
        ),
        ({"time_utc": "today"}, ArgumentError, "`time_utc` must be a time such as 2026-01-31T12:00:00Z, but is 'today'"),
        ({"mapping": "cubic"}, ArgumentError, "`mapping` must be one of"),
    ],
)
def test_bad_arrays_are_refused(change: dict[str, Any], error: type[QLIFError], message: str) -> None:
    arguments: dict[str, Any] = {"angles": ANGLES, "ones": ONES, "shots": 100, "measured_by": "a lab"} | change
    with pytest.raises(error, match=re.escape(message)):
        from_counts(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": ONES / 30}, "`probability` must be from -1 to 2 everywhere, but is 0.0333333 to 3.3"),
        ({"standard_error": 0.0}, "`standard_error` must be above 0"),
        ({"standard_error": 1e-300}, "`standard_error` must be 0 or from 1e-09 to 1 everywhere, but is 1e-300 to 1e-300"),
        (
            {"standard_error": torch.full((4, 2), 3.0)},
            "`standard_error` must be 0 or from 1e-09 to 1 everywhere, but is 3 to 3",
        ),
        ({"probability": ONES[:3] / 100}, "`probability` must have shape (4, sites), a row for every angle and gap"),
    ],
)
def test_bad_probabilities_are_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "angles": ANGLES,
        "probability": ONES / 100,
        "standard_error": 0.01,
        "measured_by": "a lab",
    } | change
    with pytest.raises(QLIFError, match=re.escape(message)):
        from_probabilities(**arguments)


def test_what_a_table_holds_already_is_refused_beside_it(tmp_path: Path) -> None:
    (tmp_path / "lab.csv").write_text(GOOD)
    with pytest.raises(ArgumentError, match="`shots` would be ignored: a table in `angles` holds it"):
        from_counts(tmp_path / "lab.csv", shots=100, measured_by="a lab")
    with pytest.raises(
        FileFormatError, match="line 1: the columns must be site, angle or gap or both, probability, standard_error"
    ):
        from_probabilities(tmp_path / "lab.csv", measured_by="a lab")
    rows = "site,angle,round,probability,standard_error\n0,0,0,0.1,0.1\n0,1,0,0.1,0.1\n0,2,1,0.5,0.1\n"
    (tmp_path / "lab.csv").write_text(rows)
    with pytest.raises(ArgumentError, match="A table of probabilities must have one round, but has 2"):
        from_probabilities(tmp_path / "lab.csv", measured_by="a lab")


def test_each_cell_has_its_own_estimate_and_interval() -> None:
    shots = torch.tensor([[100, 900], [300, 50], [500, 0], [200, 40]])
    ones = torch.tensor([[0, 30], [90, 20], [300, 0], [200, 33]])
    counted = from_counts(ANGLES, torch.stack([ones, ones]), torch.stack([shots, shots]), measured_by="a lab").measurement.data
    np.testing.assert_array_equal(counted.estimate.numpy(), (ones / shots).numpy())
    low, high = counted.interval(0.95)
    for cell, site in np.ndindex(4, 2):
        k, n = 2 * int(ones[cell, site]), 2 * int(shots[cell, site])
        if not n:
            assert bool(torch.stack([low, high])[:, cell, site].isnan().all())
            continue
        exact_ends = binomtest(k, n).proportion_ci(0.95, method="exact")
        assert (float(low[cell, site]), float(high[cell, site])) == pytest.approx((exact_ends.low, exact_ends.high))
    estimated = from_probabilities(ANGLES, ONES / 100, 0.01, measured_by="a lab").measurement.data
    low, high = estimated.interval(0.95)
    np.testing.assert_allclose(low.numpy(), ONES.numpy() / 100 - 0.0195996, atol=1e-6)
    np.testing.assert_allclose(high.numpy(), ONES.numpy() / 100 + 0.0195996, atol=1e-6)
