"""Networks: their sizes, real spikes, gradients that reach every layer, and nothing computed twice or in vain."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, BrandPetruccione, Readout, SpikingSequential, simulate
from qlifq.backends import Backend, get
from qlifq.errors import ArgumentError, QLIFError, ShapeError, UnsupportedError
from qlifq.random import BatchShard
from qlifq.training import NETWORKS, NEURONS, Design, build, load_dataset, matched, resolve_recipe
from qlifq.training.networks.layers import PooledConvolution
from qlifq.training.networks.neurons import parameters_for

SMALL: dict[str, Any] = {"picture": (8, 8), "classes": 10, "hidden": (20, 12), "steps": 6, "gain": 3.0}
MLP = Design(network="mlp", parameters={"tau": 1.5}, **SMALL)
PAPER: dict[str, Any] = {"picture": (28, 28), "classes": 10, "steps": 3}
DESIGNS = {
    "mlp": MLP,
    "conv": replace(MLP, network="conv", hidden=(3, 5)),
    "autoencoder": replace(MLP, network="autoencoder", hidden=(9,)),
    "mlp of Brand and Petruccione": replace(MLP, neuron="brand-petruccione", parameters={}),
    "paper": replace(MLP, network="paper", neuron="brand-petruccione", parameters={}),
    "paper-conv, currents pooled": replace(
        MLP,
        network="paper-conv",
        neuron="brand-petruccione",
        parameters={},
        hidden=(2, 3),
        picture=(16, 16),
        pooling="currents",
        scale=2.0,
    ),
    "paper-conv": replace(
        MLP, network="paper-conv", neuron="brand-petruccione", parameters={}, hidden=(2, 3), picture=(16, 16)
    ),
}


def example(design: Design, samples: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, BatchShard]:
    """Images, their labels, and the share that is all of them."""
    source = torch.Generator().manual_seed(seed)
    images = torch.rand(samples, design.pixels, generator=source)
    return images, torch.arange(samples) % design.classes, BatchShard(0, samples)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_hidden_layers_pass_real_spikes_and_gradients_reach_every_layer(design: Design) -> None:
    network = build(design, seed=1)
    images, labels, shard = example(design)
    network.reseed(3, shard)
    run = network.run(design.encode(images, 4, shard))
    for spikes in run.spikes:
        assert set(spikes.unique().tolist()) == {0.0, 1.0}  # type: ignore[no-untyped-call]
    losses = design.losses(run.answer, images, labels)
    assert losses.shape == labels.shape
    torch.autograd.backward(losses.mean())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name
    # Every one of them, and not just some: cut one layer's spikes off, and what is before it gets none.
    cut = build(design, seed=1)
    cut.reseed(3, shard)
    cut.layers[-1].register_forward_hook(lambda module, inputs, output: (output[0].detach(), output[1]))
    torch.autograd.backward(design.losses(cut(design.encode(images, 4, shard)), images, labels).mean())
    assert all(parameter.grad is None for parameter in cut.layers.parameters())


@pytest.mark.parametrize("neuron", [name for name in NEURONS if not NEURONS[name].rotated])
def test_every_neuron_fits_into_the_slot_of_a_layer_with_weights(neuron: str) -> None:
    design = replace(MLP, neuron=neuron, parameters={"tau": 1.5})
    network = build(design, seed=0)
    assert network.parameter_count() == build(MLP, seed=0).parameter_count()
    images, _, shard = example(design)
    answer = network(design.encode(images, 0, shard))
    assert answer.trace.shape == (1, 5, 10)
    layers = list(network.neurons())
    assert all(isinstance(layer, QLIF) for layer in layers)
    assert [layer.num_neurons for layer in layers] == [20, 12]


def test_the_paper_s_networks_have_its_sizes() -> None:
    connected = Design(network="paper", neuron="brand-petruccione-published", hidden=(1000,), **PAPER)
    assert build(connected, seed=0).parameter_count() == 1_590_020
    convolutional = Design(network="paper-conv", neuron="brand-petruccione", hidden=(12, 64), **PAPER)
    network = build(convolutional, seed=0)
    assert [layer.num_neurons for layer in network.neurons()] == [12 * 24 * 24, 64 * 8 * 8, 10]
    weights = 12 * 25 + 12 + 64 * 12 * 25 + 64 + 1024 * 10 + 10
    assert network.parameter_count() == 2 * weights
    images, _, shard = example(convolutional, samples=2)
    answer = network(convolutional.encode(images, 0, shard))
    assert answer.trace.shape == (3, 2, 10)
    # A prediction counts spikes, and orders equal counts by the populations; as published it does not.
    assert torch.allclose(answer.scores - answer.scores.floor(), answer.trace.mean(dim=0), atol=1e-6)
    published = replace(convolutional, neuron="brand-petruccione-published")
    answer = build(published, seed=0)(published.encode(images, 0, shard))
    assert torch.equal(answer.scores, answer.scores.round())


def test_pooled_currents_leave_a_quarter_of_the_neurons_and_are_those_of_a_convolution_and_an_average() -> None:
    design = Design(network="paper-conv", neuron="brand-petruccione", hidden=(12, 64), pooling="currents", scale=2.0, **PAPER)
    network = build(design, seed=0)
    assert [layer.num_neurons for layer in network.neurons()] == [12 * 12 * 12, 64 * 4 * 4, 10]
    published = build(replace(design, pooling="spikes", scale=1.0), seed=0)
    assert network.parameter_count() == published.parameter_count()
    for side in (14, 15):
        torch.manual_seed(0)
        pooled = PooledConvolution(3, 4, 5)
        images = torch.randn(2, 3, side, side)
        direct = nn.functional.conv2d(images, pooled.weight, pooled.bias)
        assert torch.allclose(pooled(images), nn.functional.avg_pool2d(direct, 2), atol=1e-5)


def test_first_weights_are_scaled_and_first_biases_shifted_for_the_rotation_alone() -> None:
    design = DESIGNS["paper"]
    direct, changed = (build(each, seed=0).layers[0] for each in (design, replace(design, scale=3.0, bias=-0.5)))
    (weight, bias), (scaled, shifted) = ([value.detach() for value in each.parameters()] for each in (direct, changed))
    assert torch.equal(scaled[:20], 3 * weight[:20])
    assert torch.equal(shifted[:20], bias[:20] - 0.5)
    assert torch.equal(scaled[20:], weight[20:])
    assert torch.equal(shifted[20:], bias[20:])


def test_a_rotated_layer_drives_its_neurons_as_the_paper_says() -> None:
    torch.manual_seed(0)
    rotation, interval = nn.Linear(4, 3), nn.Linear(4, 3)
    together = nn.Linear(4, 6)
    with torch.no_grad():
        together.weight.copy_(torch.cat((rotation.weight, interval.weight)))
        together.bias.copy_(torch.cat((rotation.bias, interval.bias)))
    signal = torch.randn(7, 2, 4)
    (spikes, state) = SpikingSequential(together, BrandPetruccione(3))(signal)
    weighted = rotation(signal)
    theta, tau, x = torch.pi * weighted.abs(), 200 * interval(signal).abs(), (weighted > 0).to(torch.float32)
    expected, fired, _ = BrandPetruccione(3).run(theta, tau, x)
    assert torch.allclose(state[0].population, expected[-1], atol=1e-5)
    assert torch.equal(spikes, fired)


def test_the_intervals_of_a_layer_have_an_effect_where_its_input_changes_alone() -> None:
    gradients = {}
    for encoding in ("current", "poisson"):
        design = replace(DESIGNS["paper"], encoding=encoding, hidden=(20,))
        network = build(design, seed=0)
        answer = network(design.encode(torch.rand(4, 64, generator=torch.Generator().manual_seed(1)), 2, BatchShard(0, 4)))
        torch.autograd.backward(design.losses(answer, torch.rand(4, 64), torch.tensor([0, 1, 2, 3])).sum())
        weights = network.get_parameter("layers.0.chain.weights.weight").grad
        assert weights is not None
        gradients[encoding] = [float(half.abs().max()) for half in weights.chunk(2)]
    assert gradients["current"][0] > 0
    assert gradients["current"][1] == 0
    assert min(gradients["poisson"]) > 0


def test_as_published_the_hidden_layers_are_not_trained_and_no_gradient_is_computed_for_them() -> None:
    design = replace(DESIGNS["paper"], neuron="brand-petruccione-published")
    network = build(design, seed=0)
    images, labels, shard = example(design)
    run = network.run(design.encode(images, 0, shard))
    assert not any(spikes.requires_grad for spikes in run.spikes)
    torch.autograd.backward(design.losses(run.answer, images, labels).sum())
    trained = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert trained == {"readout.layer.chain.weights.0.weight", "readout.layer.chain.weights.0.bias"}
    # It is so by the definition of that gradient, and not by a choice: where it is computed, it is zero.
    network.layers.requires_grad_(True)
    network.zero_grad()
    torch.autograd.backward(design.losses(network(design.encode(images, 0, shard)), images, labels).sum())
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in network.layers.parameters())


@pytest.mark.parametrize("name", ["conv", "paper", "paper-conv, currents pooled"])
def test_a_constant_image_is_weighted_once(name: str) -> None:
    design = DESIGNS[name]
    network = build(design, seed=0)
    images, _, shard = example(design)
    rows = []
    weights = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for module in weights:
        module.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    signal = design.encode(images, 0, shard)
    network.reseed(3, shard)
    once = network.run(signal)
    assert rows[0] == 5
    assert rows[1] == 5 * 6
    network.reseed(3, shard)
    every = network.run(signal.clone())
    assert rows[len(weights)] == 5 * 6
    assert torch.allclose(once.answer.scores, every.answer.scores, atol=1e-5)


def test_a_network_consists_of_public_modules() -> None:
    network = build(DESIGNS["conv"], seed=0)
    first, second = network.layers
    assert isinstance(first, SpikingSequential)
    assert isinstance(second, SpikingSequential)
    neurons = first["neurons"]
    assert isinstance(neurons, QLIF)
    assert neurons.shape == (3, 4, 4)
    readout = next(module for module in network.readout.modules() if isinstance(module, Readout))
    assert readout.shape == (5, 2, 2)
    # The public chain of both layers has the spikes of the network.
    images, _, shard = example(DESIGNS["conv"])
    signal = DESIGNS["conv"].encode(images, 0, shard)
    network.reseed(3, shard)
    spikes = network.run(signal).spikes[1]
    network.reseed(3, shard)
    assert torch.equal(SpikingSequential(first, second)(signal)[0], spikes)


def test_numbers_in_a_row_reach_the_neurons_of_maps() -> None:
    thresholds = tuple(0.5 + 0.01 * place for place in range(48))
    design = replace(DESIGNS["conv"], parameters={"V_th": thresholds}, hidden=(3, 3), picture=(8, 8))
    with pytest.raises(ShapeError):
        build(design, seed=0)
    layer = next(build(replace(design, hidden=(3, 12)), seed=0).neurons())
    assert isinstance(layer, QLIF)
    assert torch.allclose(layer.V_th.flatten(), torch.tensor(thresholds))


def test_the_loss_of_the_paper_is_summed_over_the_steps_and_that_of_an_autoencoder_is_over_pixels() -> None:
    design = DESIGNS["paper"]
    images, labels, shard = example(design)
    answer = build(design, seed=0)(design.encode(images, 0, shard))
    expected = sum(nn.functional.cross_entropy(each, labels) for each in answer.trace)
    assert torch.allclose(design.losses(answer, images, labels).mean(), torch.as_tensor(expected))
    design = DESIGNS["autoencoder"]
    answer = build(design, seed=0)(design.encode(images, 0, shard))
    expected = nn.functional.binary_cross_entropy(answer.scores.sigmoid(), images)
    assert torch.allclose(design.losses(answer, images, labels).mean(), expected)


def test_the_readout_averages_before_it_weighs() -> None:
    network = build(MLP, seed=0)
    images, _, shard = example(MLP)
    run = network.run(MLP.encode(images, 0, shard))
    weights = network.readout.weights
    assert isinstance(weights, nn.Module)
    assert torch.allclose(weights(run.spikes[-1]).mean(dim=0), run.answer.scores, atol=1e-6)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("neuron", ["classical", "classical-stochastic"])
def test_the_classical_network_has_the_nearest_number_of_parameters(design: Design, neuron: str) -> None:
    expected = build(design, seed=0).parameter_count()
    other = matched(design, neuron)
    counts = {
        width: build(replace(other, hidden=(*other.hidden[:-1], width)), seed=0).parameter_count()
        for width in (other.hidden[-1] - 1, other.hidden[-1], other.hidden[-1] + 1)
        if width
    }
    assert min(counts, key=lambda width: abs(counts[width] - expected)) == other.hidden[-1]
    if not NEURONS[design.neuron].rotated:
        assert other.hidden == design.hidden
        assert counts[other.hidden[-1]] == expected


def test_what_belongs_to_a_quantum_decision_alone_falls_away_for_a_classical_neuron() -> None:
    given = {"tau": 2.0, "q_scale": 3.0, "learnable_tau": True, "learnable_qscale": True, "use_ahp": True, "quantum_wire": 1}
    assert parameters_for("classical", given) == {"tau": 2.0, "learnable_tau": True, "use_ahp": True}
    assert parameters_for("classical-stochastic", given) == {"tau": 2.0, "learnable_tau": True, "use_ahp": True}
    assert parameters_for("qlif-tanh", given) == given
    assert parameters_for("classical", {"learnable": ("tau", "q_scale"), "q_scale": 3.0}) == {"learnable": ("tau",)}
    assert parameters_for("brand-petruccione", given) == {}


@pytest.mark.parametrize(
    ("given", "deterministic", "stochastic"),
    [
        ({"V_th": (1.0,) * 16}, {"V_th": (1.0,) * 16}, {"V_th": (1.0,) * 16}),
        ({"q_scale": (3.0,) * 16, "learnable_qscale": True}, {}, {}),
        ({"neuromod_mode": "prob_slope"}, {}, {"neuromod_mode": "prob_slope"}),
        (
            {"allow_dynamic_spike_probability": True, "tau_adapt": 3.0},
            {},
            {"allow_dynamic_spike_probability": True, "tau_adapt": 3.0},
        ),
        ({"quantum_mode": True, "mapping": "tanh", "theta_max": 3.0}, {}, {}),
        ({"use_ahp": True, "g_ahp": 0.3}, {"use_ahp": True, "g_ahp": 0.3}, {"use_ahp": True, "g_ahp": 0.3}),
    ],
)
def test_every_neuron_has_classical_ones_beside_it_that_can_be_built(
    given: dict[str, object], deterministic: dict[str, object], stochastic: dict[str, object]
) -> None:
    design = replace(MLP, hidden=(16,), parameters=given)
    build(design, seed=0)
    for neuron, kept in (("classical", deterministic), ("classical-stochastic", stochastic)):
        other = matched(design, neuron)
        assert (dict(other.parameters), other.hidden) == (kept, (16,))
        build(other, seed=0)


def test_what_shapes_a_parabola_falls_away_with_it() -> None:
    design = replace(MLP, neuron="quadratic", parameters={"V_c": 0.7, "tau": 2.0})
    build(design, seed=0)
    assert parameters_for("classical", design.parameters) == {"tau": 2.0}


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_s_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (build(MLP, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.0.chain.weights.weight"], other["layers.0.chain.weights.weight"])


@pytest.mark.parametrize("neuron", ["qlif", "classical-stochastic"])
def test_a_share_of_a_batch_has_the_spikes_that_it_has_in_the_whole(neuron: str) -> None:
    design = replace(MLP, neuron=neuron, encoding="poisson", rate=0.7, parameters={"tau": 1.5, "noise_std": 0.2})
    network = build(design, seed=0)
    images, _, shard = example(design, samples=6)

    def spikes(first: int, last: int) -> list[Tensor]:
        part = BatchShard(first, shard.total)
        network.reseed(9, part)
        return list(network.run(design.encode(images[first:last], 8, part)).spikes)

    whole = spikes(0, 6)
    for first, last in ((0, 3), (3, 6), (1, 2), (4, 4)):
        for mine, all_of_them in zip(spikes(first, last), whole, strict=True):
            assert torch.equal(mine, all_of_them[:, first:last])
    network.reseed(10, shard)
    assert not torch.equal(network.run(design.encode(images, 8, shard)).spikes[0], whole[0])


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_every_layer_of_neurons_runs_on_its_backend(design: Design) -> None:
    here = list(build(design, seed=0).neurons())
    assert len(here) == design.neuron_layers
    each = [get("analytic") for _ in here]
    assert [layer.backend for layer in build(design, backend=each, seed=0).neurons()] == each
    with pytest.raises(
        ShapeError, match=f"one backend or {len(here)}, one for each layer of neurons, but holds {len(here) + 1}"
    ):
        build(design, backend=[*each, each[0]], seed=0)


def test_a_design_survives_json_values() -> None:
    design = replace(MLP, parameters={"tau": (1.0,) * 20, "reset": "soft"}, encoding="latency")
    assert Design.from_dict(design.to_dict()) == design


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"network": "rnn"}, ArgumentError, "Argument `network` must be one of mlp, conv, autoencoder, paper, paper-conv"),
        ({"neuron": "lif"}, ArgumentError, "Argument `neuron` must be one of qlif, "),
        (
            {"encoding": "rank"},
            ArgumentError,
            "Argument `encoding` must be one of current, poisson, latency, delta, phase, but is 'rank'",
        ),
        ({"hidden": ()}, ArgumentError, "Argument `hidden` must hold the size of at least one layer, but is empty"),
        ({"hidden": (4, 0)}, ArgumentError, "Argument `hidden` must be at least 1, but is 0"),
        ({"steps": 0}, ArgumentError, "Argument `steps` must be at least 1, but is 0"),
        ({"network": "conv", "hidden": (4,)}, ArgumentError, "must hold the channels of 2 layers, but holds 1"),
        ({"network": "autoencoder"}, ArgumentError, "must hold the size of 1 layer, but holds 2"),
        ({"spike_loss": 1.0}, UnsupportedError, "`spike_loss` would be ignored: network mlp is not read out by neurons"),
        ({"pooling": "currents"}, UnsupportedError, "`pooling` would be ignored: it is for network paper-conv"),
        ({"network": "paper"}, UnsupportedError, "must be a Brand and Petruccione neuron for network paper, but is 'qlif'"),
        (
            {"network": "paper-conv", "neuron": "brand-petruccione"},
            ArgumentError,
            "must have at least 16 rows and columns for network paper-conv, but is 8 × 8",
        ),
    ],
)
def test_a_design_that_cannot_be_built_is_refused(changes: dict[str, Any], error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        replace(MLP, **changes)


def test_what_a_neuron_does_not_have_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="`tau` would be ignored: neuron brand-petruccione has threshold, t1 and delay"):
        build(replace(MLP, neuron="brand-petruccione"), seed=0)
    with pytest.raises(UnsupportedError, match="Argument `backend` would be ignored"):
        build(replace(MLP, neuron="classical"), backend="aer", seed=0)


@pytest.mark.parametrize("backend", ["analytic", "aer"])
def test_the_same_weights_run_on_another_backend(backend: str) -> None:
    """The spikes of the first step against their exact probabilities: 6.6 σ on 20 neurons, false-fail rate below 1e-9.

    2,000 images and 20 neurons show a bias of 0.015 in the mean probability of a neuron's spikes.
    """
    made: Backend = get(backend)
    trained, on_backend = build(MLP, seed=0), build(MLP, backend=made, shots=1, seed=1)
    on_backend.load_state_dict(trained.state_dict())
    images, _, shard = example(MLP, samples=2000)
    on_backend.reseed(1, shard)
    with torch.no_grad():
        signal = MLP.encode(images, 2, shard)[:1]
        layer = trained.layers[0]
        assert isinstance(layer, SpikingSequential)
        neurons = layer["neurons"]
        assert isinstance(neurons, QLIF)
        p = simulate(neurons, layer["weights"](signal[0])[None], ["probability"])["probability"]
        ones = on_backend.run(signal).spikes[0]
    deviation = (ones - p).sum(dim=(0, 1)) / (p * (1 - p)).sum(dim=(0, 1)).sqrt()
    assert float(deviation.abs().max()) < 6.6
    assert [plan.evaluations for plan in on_backend.plans(24)] == [24 * 20, 24 * 12]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_recipe_of_every_network_has_a_classical_one_beside_it(network: str) -> None:
    data = load_dataset("digits")._replace(picture=(28, 28))
    design, _ = resolve_recipe(network, data)
    assert build(matched(design, "classical"), seed=0).parameter_count() == pytest.approx(
        build(design, seed=0).parameter_count(), rel=0.02
    )


def test_networks_that_threads_build_at_once_are_those_that_are_built_alone() -> None:
    design = Design(network="mlp", picture=(8, 8), classes=10, hidden=(40,), steps=2)
    alone = [build(design, seed=seed).state_dict() for seed in range(60)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda seed: build(design, seed=seed).state_dict(), range(60)))
    for one, other in zip(alone, at_once, strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())
