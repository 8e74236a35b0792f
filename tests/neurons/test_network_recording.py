"""What is recorded inside a network is what ran in it, once."""

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, BrandPetruccione, Recording, Recurrent, SpikingSequential, detach, record, simulate
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError


class Wrapped(nn.Module):
    """A user's network: layers in a tree of modules, without a chain."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 6)
        self.body = nn.ModuleDict(
            {"hidden": QLIF(6, seed=1, tau=2.0), "maps": QLIF((2, 3), seed=2, tau=2.0, quantum_mode=False)}
        )
        self.weights = nn.Linear(6, 10)
        self.head = BrandPetruccione(5, seed=3)

    def forward(self, signal: Tensor) -> Tensor:
        spikes, _ = self.body["hidden"](3 * self.encoder(signal))
        maps, _ = self.body["maps"](4 * spikes.unflatten(2, (2, 3)))
        rotation, interval = self.weights(maps.flatten(2)).chunk(2, dim=2)
        out, _ = self.head(3 * rotation.abs(), interval.abs(), (rotation > 0).float())
        return out  # type: ignore[no-any-return]


def signal(steps: int = 15) -> Tensor:
    return torch.randn(steps, 3, 4, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kernel", ["auto", "off"])
def test_every_layer_in_a_tree_is_recorded_and_nothing_changes(kernel: str) -> None:
    plain, network = Wrapped(), Wrapped()
    for layer in network.body.values():
        assert isinstance(layer, QLIF)
        layer.kernel = kernel
    with record(network, "voltage", "probability", "angle", "population", "trace") as recordings:
        output = network(signal())
    assert torch.equal(output, plain(signal()))
    assert list(recordings) == ["body.hidden", "body.maps", "head"]
    assert recordings["body.hidden"].names == ("spikes", "voltage", "probability", "angle", "trace")
    assert recordings["body.maps"].names == ("spikes", "voltage", "trace")
    assert recordings["body.maps"]["voltage"].shape == (15, 3, 2, 3)
    assert recordings["head"].names == ("spikes", "probability", "population", "trace")
    assert torch.equal(recordings["head"].spikes, output)
    alone = simulate(QLIF(6, seed=1, tau=2.0), 3 * network.encoder(signal()), ("voltage", "probability", "trace"))
    found = recordings["body.hidden"]
    assert isinstance(found, Recording)
    for name in alone.names:
        torch.testing.assert_close(found[name], alone[name])
    assert (found.evaluations, found.decided_by) == (alone.evaluations, "analytic, exact")
    assert all(layer.recorder is None for layer in (*network.body.values(), network.head))
    # What is recorded carries its gradient, for a loss on it.
    found["voltage"].square().sum().backward()  # type: ignore[no-untyped-call]
    assert network.encoder.weight.grad is not None


def test_populations_and_evaluations_of_brand_and_petruccione() -> None:
    theta, x = torch.full((4, 1, 1), torch.pi), torch.ones(4, 1, 1)
    layer = BrandPetruccione(1)
    with record(layer, "population") as recordings:
        layer(theta, torch.zeros_like(x), x)
    # It spikes at every other step and is reset in between, where no circuit runs.
    torch.testing.assert_close(recordings[""]["population"].flatten(), torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert recordings[""].evaluations == 2


def test_steps_and_chunks_are_one_sequence_and_another_start_begins_anew() -> None:
    network = SpikingSequential({"loop": Recurrent(QLIF(4, seed=1, tau=2.0, refractory_period=2), nn.Linear(4, 4))})
    with record(network, "voltage") as recordings:
        first, states = network(signal())
        second, _ = network(signal(5), detach(states))
        found = recordings["chain.loop.layer"]
        assert torch.equal(found.spikes, torch.cat((first, second)))
        assert found["voltage"].shape == (20, 3, 4)
        assert 0 < found.evaluations < 20 * 3 * 4
        # From an earlier state, and from rest.
        network(signal(6), states)
        assert recordings["chain.loop.layer"].spikes.shape == (6, 3, 4)
        network(signal(7))
    assert recordings["chain.loop.layer"].spikes.shape == (7, 3, 4)


def test_only_the_layers_that_are_named_are_recorded() -> None:
    network = Wrapped()
    with record(network, "voltage", layers=["body.maps"]) as recordings:
        assert len(recordings) == 0
        with pytest.raises(ArgumentError, match=r"Layer `body.maps` was not recorded: it has not run yet"):
            recordings["body.maps"]
        network(signal())
    assert list(recordings) == ["body.maps"]
    assert "head" not in recordings
    with pytest.raises(ArgumentError, match="head"):
        recordings["head"]


def test_shots_are_recorded_as_they_were_counted() -> None:
    layer = QLIF(4, backend="aer", shots=1, seed=1, tau=2.0)
    with record(layer, "probability") as recordings:
        spikes, _ = layer(2 * torch.rand(10, 2, 4))
    assert torch.equal(recordings[""].spikes, spikes)
    # One shot is one spike.
    assert torch.equal(recordings[""]["probability"], spikes)


def test_a_recording_ends_with_its_block_even_in_an_error() -> None:
    layer = QLIF(2)
    with pytest.raises(ValueError, match="mine"), record(layer):
        raise ValueError("mine")
    assert layer.recorder is None


def test_what_cannot_be_recorded_is_refused() -> None:
    network = Wrapped()
    cases: list[tuple[type[Exception], str, tuple[object, ...], dict[str, object]]] = [
        (DtypeError, "`network` must be a torch module, but is int", (3,), {}),
        (ArgumentError, "`network` must have a QLIF or BrandPetruccione layer, but has none", (nn.Linear(2, 2),), {}),
        (ArgumentError, "`names` must be .* but is 'volts'", (network, "volts"), {}),
        (UnsupportedError, "`names` must not hold 'population', which none of the layers has", (QLIF(2), "population"), {}),
        (UnsupportedError, "`names` must not hold 'angle'", (network, "angle"), {"layers": ["head"]}),
        (ArgumentError, "`layers` must be .*, but is 'encoder'", (network,), {"layers": ["encoder"]}),
        (DtypeError, "`layers` must be names of layers, but is 'head'", (network,), {"layers": "head"}),
        (ArgumentError, "`trace_tau` must be above 0, but is 0", (network, "trace"), {"trace_tau": 0.0}),
    ]
    for error, message, arguments, options in cases:
        with pytest.raises(error, match=message), record(*arguments, **options):  # type: ignore[arg-type]
            pass
    refused = pytest.raises(UnsupportedError, match="must not hold 'head', which is being recorded already")
    with record(network), refused, record(network, layers=["head"]):
        pass
