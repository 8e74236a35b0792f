"""Membranes of snnTorch, Norse and SpikingJelly, followed by a QLIF in float64 over 200 steps, resets included.

Runs where the libraries are installed; they are no dependency of qlifq.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, SpikingSequential, simulate
from qlifq.errors import DtypeError, UnsupportedError
from qlifq.interop import from_norse, from_snntorch, from_spikingjelly, to_norse, to_snntorch, to_spikingjelly

STEPS, BATCH, NEURONS = 200, 4, 6
REASON = "its neurons are compared where it is installed"


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def uniform(seed: int, low: float, high: float, *sizes: int) -> Tensor:
    return low + (high - low) * torch.rand(*sizes, generator=torch.Generator().manual_seed(seed))


def current(seed: int, high: float = 1.0) -> Tensor:
    return uniform(1000 + seed, -0.3 * high, high, STEPS, BATCH, NEURONS)


def follows(layer: QLIF, given: Tensor, spikes: Tensor, membrane: Tensor, name: str) -> None:
    """The spikes are those of the library, and so is the membrane; there are both spikes and silence."""
    recording = simulate(layer.double(), given, (name,))
    assert 0.02 < spikes.mean() < 0.95
    torch.testing.assert_close(recording[name], membrane, rtol=0, atol=1e-6)
    assert torch.equal(recording.spikes, spikes)


# snnTorch ---------------------------------------------------------------------------------------------------------------------


def run_snntorch(neuron: nn.Module, given: Tensor) -> tuple[Tensor, Tensor]:
    found, memory = [], cast_any(neuron).reset_mem()
    for now in given:
        spikes, memory = neuron(now, memory)
        found.append((spikes, memory))
    return torch.stack([one for one, _ in found]).detach(), torch.stack([other for _, other in found]).detach()


def cast_any(value: object) -> Any:
    return value


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reset", ["subtract", "zero", "zero at once", "none"])
def test_a_leaky_of_snntorch_is_followed_and_comes_back(reset: str, seed: int) -> None:
    snntorch = pytest.importorskip("snntorch", reason=REASON)
    neuron = snntorch.Leaky(
        beta=uniform(seed, 0.3, 0.98, NEURONS) if seed else 0.9,
        threshold=uniform(seed + 10, 0.5, 1.5, NEURONS),
        reset_mechanism=reset.split(maxsplit=1)[0],
        reset_delay=not reset.endswith("at once"),
    ).double()
    given = current(seed, 0.6)
    layer = from_snntorch(neuron, NEURONS, quantum_mode=False)
    membrane = "voltage" if reset.endswith("at once") else "potential"
    follows(layer, given, *run_snntorch(neuron, given), membrane)
    again = run_snntorch(to_snntorch(layer).double(), given)
    if not reset.endswith("at once"):
        torch.testing.assert_close(again[1], run_snntorch(neuron, given)[1], rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Inhibition")
def test_options_of_snntorch_without_an_equal_are_refused() -> None:
    snntorch = pytest.importorskip("snntorch", reason=REASON)
    cases: list[tuple[nn.Module, str]] = [
        (snntorch.Leaky(0.9, inhibition=True), "`inhibition`"),
        (snntorch.Leaky(0.9, graded_spikes_factor=2.0), "`graded_spikes_factor`"),
        (snntorch.Leaky(0.9, reset_delay=False), "`reset_delay=False with reset_mechanism='subtract'`"),
        (snntorch.Leaky(0.0), "`beta` above 0"),
        (snntorch.Synaptic(0.9, 0.8), "must be one of Leaky of snntorch, but is Synaptic"),
    ]
    for neuron, message in cases:
        with pytest.raises(UnsupportedError, match=message):
            from_snntorch(neuron, 2)
    for layer in (QLIF(2), QLIF(2, decay_input=False, reset="soft"), QLIF(2, decay_input=False, V_reset=-0.1)):
        with pytest.raises(UnsupportedError, match="for snnTorch"):
            to_snntorch(layer)
    trained = from_snntorch(snntorch.Leaky(0.9, learn_beta=True, learn_threshold=True), 2)
    assert trained.settings.trained == ("V_th", "tau")


# Norse ------------------------------------------------------------------------------------------------------------------------


def run_norse(neuron: nn.Module, given: Tensor) -> tuple[Tensor, Tensor]:
    found, state = [], None
    with torch.no_grad():
        for now in given:
            spikes, state = neuron(now, state)
            found.append((spikes, cast_any(state).v))
    return torch.stack([one for one, _ in found]), torch.stack([other for _, other in found])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["LIF", "LIFBox", "LIFBox, soft"])
def test_a_neuron_of_norse_is_followed_and_comes_back(kind: str, seed: int) -> None:
    norse = pytest.importorskip("norse.torch", reason=REASON)
    numbers = {
        "tau_mem_inv": uniform(seed, 50.0, 500.0, NEURONS),
        "v_leak": uniform(seed + 1, -0.2, 0.2, NEURONS),
        "v_th": uniform(seed + 2, 0.5, 1.2, NEURONS),
        "v_reset": uniform(seed + 3, -0.3, 0.1, NEURONS),
    }
    given, neuron = current(seed, 3.0), None
    if kind == "LIF":
        neuron = norse.LIFCell(norse.LIFParameters(tau_syn_inv=uniform(seed + 4, 100.0, 800.0, NEURONS), **numbers))
        given = 0.4 * given
    else:
        import norse.torch.functional.reset as resets

        method = resets.reset_subtract if kind.endswith("soft") else resets.reset_value
        neuron = norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=method, **numbers))
    expected = run_norse(neuron, given)
    found = from_norse(neuron, NEURONS, quantum_mode=False)
    driven = given
    if isinstance(found, SpikingSequential):
        driven = found["synapse"].double()(given)[0]
        layer = found["neuron"]
        assert torch.equal(found.double()(given)[0], expected[0])
    else:
        layer = found
    assert isinstance(layer, QLIF)
    follows(layer, driven, *expected, "voltage")
    again = run_norse(to_norse(found), given)
    torch.testing.assert_close(again[1], expected[1], rtol=0, atol=1e-6)


def test_neurons_of_norse_without_an_equal_are_refused() -> None:
    norse = pytest.importorskip("norse.torch", reason=REASON)
    with pytest.raises(UnsupportedError, match="must be one of LIF, LIFCell, LIFBoxCell of norse, but is LIFRecurrentCell"):
        from_norse(norse.LIFRecurrentCell(2, 2), 2)
    for layer in (QLIF(2, R=2.0), QLIF(2, reset="soft", reset_scale=0.5), SpikingSequential(nn.Identity(), QLIF(2))):
        with pytest.raises(UnsupportedError, match="for Norse"):
            to_norse(layer)


# SpikingJelly -----------------------------------------------------------------------------------------------------------------


def run_spikingjelly(neuron: nn.Module, given: Tensor) -> tuple[Tensor, Tensor]:
    cast_any(neuron).reset()
    found = []
    with torch.no_grad():
        for now in given:
            found.append((neuron(now), cast_any(neuron).v.clone()))
    return torch.stack([one for one, _ in found]), torch.stack([other for _, other in found])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("v_reset", [0.0, -0.2, None])
@pytest.mark.parametrize("kind", ["LIFNode", "LIFNode, input as it is", "IFNode", "ParametricLIFNode"])
def test_a_neuron_of_spikingjelly_is_followed_and_comes_back(kind: str, v_reset: float | None, seed: int) -> None:
    neurons = pytest.importorskip("spikingjelly.activation_based.neuron", reason=REASON)
    tau, threshold = 1.5 + 4 * seed, 0.7 + 0.2 * seed
    options: dict[str, Any] = {"v_threshold": threshold, "v_reset": v_reset}
    if kind == "ParametricLIFNode":
        options["init_tau"] = tau
    elif kind != "IFNode":
        options |= {"tau": tau, "decay_input": kind == "LIFNode"}
    neuron = getattr(neurons, kind.split(",", maxsplit=1)[0])(**options)
    given = current(seed, {"IFNode": 0.5, "LIFNode, input as it is": 1.0}.get(kind, 1.0 + tau * threshold))
    expected = run_spikingjelly(neuron, given)
    layer = from_spikingjelly(neuron, NEURONS, quantum_mode=False)
    follows(layer, given, *expected, "voltage")
    assert bool(list(layer.parameters())) == (kind == "ParametricLIFNode")
    again = run_spikingjelly(to_spikingjelly(layer), given)
    torch.testing.assert_close(again[1], expected[1], rtol=0, atol=1e-6)


def test_neurons_of_spikingjelly_without_an_equal_are_refused() -> None:
    neurons = pytest.importorskip("spikingjelly.activation_based.neuron", reason=REASON)
    with pytest.raises(UnsupportedError, match=r"must be one of IFNode, LIFNode, ParametricLIFNode .* but is QIFNode"):
        from_spikingjelly(neurons.QIFNode(), 2)
    for layer in (QLIF(2, R=2.0), QLIF(2, V_rest=0.2), QLIF(2, tau=(3.0, 4.0)), QLIF(2, tau=1.0)):
        with pytest.raises(UnsupportedError, match="for SpikingJelly"):
            to_spikingjelly(layer)


# All --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [from_snntorch, from_norse, from_spikingjelly])
def test_what_is_no_neuron_of_the_library_is_refused(convert: Callable[..., object]) -> None:
    with pytest.raises(DtypeError, match=r"`neuron` must be a neuron of (snntorch|norse|spikingjelly), but is Linear"):
        convert(nn.Linear(2, 2), 2)
    with pytest.raises(DtypeError, match="but is int"):
        convert(3, 2)


@pytest.mark.parametrize("convert", [to_snntorch, to_norse, to_spikingjelly])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (QLIF(2, use_ahp=True), "`use_ahp`, which has no equal"),
        (QLIF(2, refractory_period=2), "`refractory_period`, which has no equal"),
        (QLIF(2, membrane="quadratic"), "the membrane 'leaky', but has 'quadratic'"),
        (QLIF(2, reset="partial"), "reset='partial'"),
    ],
)
def test_a_mechanism_without_an_equal_is_refused_by_its_name(convert: Callable[..., object], layer: QLIF, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        convert(layer)
