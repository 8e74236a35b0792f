"""The pictures of a recording show its numbers."""

import numpy as np
import pytest
import torch

import qlifq
from qlifq import QLIF, BrandPetruccione, Recording, plot, record, simulate
from qlifq.circuits import LeakySpike
from qlifq.errors import ArgumentError, DtypeError
from tests.figure_checks import figure_flaws, ticks_of

EVERYTHING = ("voltage", "potential", "threshold", "gap", "probability")


def recording(*names: str, shape: int | tuple[int, ...] = (2, 3), **parameters: object) -> Recording:
    layer = QLIF(shape, seed=1, tau=2.0, **parameters)  # type: ignore[arg-type]
    current = 2 * torch.rand(30, 4, *layer.shape, generator=torch.Generator().manual_seed(1))
    return simulate(layer, current.requires_grad_(), names)


def test_a_raster_has_a_mark_for_every_spike_of_the_sample() -> None:
    kept = recording()
    axes = plot.raster(kept, sample=2)
    spikes = kept.spikes[:, 2].flatten(1)
    assert sorted(ticks_of(axes)) == sorted(map(tuple, spikes.nonzero().tolist()))
    assert axes.get_ylim() == (-0.5, 5.5)
    assert len(spikes.nonzero()) > 10


def test_the_membrane_is_that_of_the_neuron_with_its_threshold_and_spikes() -> None:
    kept = recording(*EVERYTHING)
    axes = plot.membrane(kept, sample=1, neuron=4)
    potential, threshold, spikes = (np.asarray(line.get_xydata()) for line in axes.lines)
    np.testing.assert_allclose(potential[:, 1], kept["potential"][:, 1, 1, 1].detach())
    np.testing.assert_allclose(threshold[:, 1], kept["threshold"][:, 1, 1, 1].detach())
    assert spikes[:, 0].tolist() == kept.spikes[:, 1, 1, 1].nonzero().flatten().tolist()
    only = recording("voltage")
    most = int(only.spikes[:, 0].flatten(1).mean(dim=0).argmax())
    assert plot.membrane(only).get_title(loc="left") == f"Membrane potential of neuron {most}"


def test_the_response_is_probability_against_gap() -> None:
    for names in (("gap", "probability"), ("potential", "threshold", "probability")):
        kept = recording(*names)
        points = np.asarray(plot.response(kept, sample=3).lines[0].get_xydata())
        expected = np.sin(np.pi / 2 / (1 + np.exp(-4 * points[:, 0]))) ** 2
        assert len(points) == 30 * 6
        np.testing.assert_allclose(points[:, 1], expected, atol=1e-5)


def test_outcomes_of_one_shot_stand_beside_the_closed_form() -> None:
    kept = recording("gap", "angle", "probability", backend="reference", shots=1)
    axes = plot.response(kept)
    assert axes.get_title(loc="left") == "Outcome of one shot, all neurons"
    outcomes, closed = (np.asarray(line.get_ydata()) for line in axes.lines)
    np.testing.assert_array_equal(outcomes, kept["probability"][:, 0].detach().flatten())
    np.testing.assert_allclose(closed, (kept["angle"][:, 0].detach() / 2).sin().square().flatten(), atol=1e-6)
    # That of another circuit is its own.
    tilted = np.asarray(plot.response(kept, circuit=LeakySpike(0.8)).lines[1].get_ydata(), dtype=np.float64)
    np.testing.assert_allclose(tilted, (1 - kept["angle"][:, 0].detach().cos() * np.cos(0.8)).flatten() / 2, atol=1e-6)


def test_every_picture_can_be_read() -> None:
    for kept in (recording(*EVERYTHING), recording("angle", *EVERYTHING, backend="reference", shots=1)):
        for draw in (plot.raster, plot.membrane, plot.response, plot.rates):
            assert figure_flaws(draw(kept).get_figure(root=True)) == []  # type: ignore[arg-type]


def test_the_rates_are_means_over_time_and_batch() -> None:
    kept = recording(decision="expectation")
    heights = [bar.get_height() for bar in plot.rates(kept).patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights, kept.spikes.detach().mean(dim=(0, 1)).flatten(), rtol=1e-5)


def test_axes_that_are_given_are_drawn_into_and_returned() -> None:
    from matplotlib.figure import Figure

    kept, figure = recording(*EVERYTHING), Figure()
    for place, draw in enumerate((plot.raster, plot.membrane, plot.response, plot.rates), start=1):
        axes = figure.add_subplot(2, 2, place)
        assert draw(kept, axes) is axes
    assert plot.raster(kept).figure is not figure
    assert not plot.raster(kept).spines["top"].get_visible()


def test_the_population_of_a_layer_in_a_network_is_drawn() -> None:
    layer = BrandPetruccione(2)
    with record(layer, "population") as recordings:
        layer(torch.full((5, 1, 2), 2.0), torch.zeros(5, 1, 2), torch.ones(5, 1, 2))
    assert plot.membrane(recordings[""]).get_ylabel().startswith("α")


def test_bad_pictures_are_refused() -> None:
    kept = recording()
    with pytest.raises(ArgumentError, match="`recording` must hold 'potential', 'voltage' or 'population'"):
        qlifq.plot.membrane(kept)
    with pytest.raises(ArgumentError, match="Trace `probability` was not recorded"):
        plot.response(kept)
    with pytest.raises(ArgumentError, match=r"`sample` must be .* but is 4"):
        plot.raster(kept, sample=4)
    with pytest.raises(ArgumentError, match=r"`neuron` must be .* but is 6"):
        plot.membrane(recording("voltage"), neuron=6)
    with pytest.raises(DtypeError, match="`recording` must be a Recording, but is Tensor"):
        plot.rates(kept.spikes)  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="`axes` must be matplotlib axes or None, but is int"):
        plot.rates(kept, 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="must have at least one step, but has none"):
        plot.raster(simulate(QLIF(2), torch.zeros(0, 1, 2)))
