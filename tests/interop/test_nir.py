"""Networks as files of NIR: they come back equal, run in snnTorch and Norse, and nothing foreign is guessed at."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, LeakyIntegrator, Readout, Recurrent, SpikingSequential, simulate
from qlifq.errors import DtypeError, FileFormatError, ShapeError, UnsupportedError
from qlifq.interop import from_nir, read_nir, to_nir, write_nir

nir: Any = pytest.importorskip("nir", reason="files of NIR need the extra nir")
REASON = "files of NIR are run in it where it is installed"


def network() -> SpikingSequential:
    torch.manual_seed(0)
    hidden = QLIF(
        6,
        tau=torch.linspace(2.0, 9.0, 6),
        V_rest=0.1,
        R=1.5,
        V_reset=-0.2,
        mapping="tanh",
        theta_max=2.0,
        q_scale=torch.linspace(1.0, 3.0, 6),
        learnable=("tau", "q_bias"),
        seed=1,
    )
    maps = QLIF((2, 4, 4), decay_input=False, tau=torch.tensor([3.0, 7.0]).reshape(2, 1, 1), dt=0.5, decision="threshold")
    return SpikingSequential(
        {
            "convolution": nn.Conv2d(1, 2, 3, padding=1, bias=False),
            "maps": maps,
            "pool": nn.AvgPool2d(2),
            "flat": nn.Flatten(),
            "weights": nn.Linear(8, 6),
            "hidden": hidden,
            "loop": Recurrent(QLIF(6, decay_input=False, tau=4.0, seed=2), nn.Linear(6, 6, bias=False)),
            "synapse": LeakyIntegrator(6, tau=3.0, decay_input=False),
            "classes": nn.Linear(6, 3, bias=False),
            "readout": Readout(3, over_time="max", tau=5.0, learnable=("tau",)),
        }
    )


def signal() -> Tensor:
    return 3 * torch.rand(10, 2, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_a_network_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "network.nir"
    write_nir(path, network(), input_shape=(1, 4, 4))
    found, expected = read_nir(path), network()
    assert [type(part) for part in found] == [type(part) for part in expected]
    assert found["hidden"].settings.mapping == "tanh"  # type: ignore[union-attr]
    assert {name for name, _ in found.named_parameters()} == {name for name, _ in expected.named_parameters()}
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    for name in ("maps", "hidden"):
        for constant in ("tau", "V_th", "V_rest", "R", "V_reset", "q_scale", "q_bias"):
            one, other = getattr(found[name], constant), getattr(expected[name], constant)
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    for loops in (found, expected):
        for layer, seed in ((loops["maps"], 3), (loops["hidden"], 1), (loops["loop"].layer, 2)):
            layer.seeds = type(layer.seeds)(seed)  # type: ignore[union-attr]
    torch.testing.assert_close(found(signal())[0], expected(signal())[0], rtol=1e-5, atol=1e-6)


def test_options_override_what_a_file_says(tmp_path: Path) -> None:
    write_nir(tmp_path / "one.nir", QLIF(3, decision="threshold"))
    (layer,) = read_nir(tmp_path / "one.nir", backend="aer", shots=5, seed=1)
    assert isinstance(layer, QLIF)
    assert (layer.backend.name, layer.shots, layer.settings.decision) == ("aer", 5, "threshold")


def test_current_based_neurons_of_a_file_are_a_synapse_and_a_neuron() -> None:
    ones = np.ones(3)
    node = nir.CubaLIF(tau_syn=5e-4 * ones, tau_mem=1e-3 * ones, r=2 * ones, v_leak=0 * ones, v_threshold=ones, w_in=0.5 * ones)
    graph = nir.NIRGraph(
        {"input": nir.Input(np.array([3])), "cuba": node, "output": nir.Output(np.array([3]))},
        [("input", "cuba"), ("cuba", "output")],
    )
    found = from_nir(graph, quantum_mode=False).double()
    given = torch.rand(50, 1, 3, dtype=torch.float64)
    synapse = potential = torch.zeros(1, 3, dtype=torch.float64)
    expected = []
    for now in given:
        synapse = synapse + 0.2 * (0.5 * now - synapse)
        potential = potential + 0.1 * (2 * synapse - potential)
        expected.append(potential)
    recording = simulate(found["cuba_neuron"], found["cuba_synapse"](given)[0], "potential")  # type: ignore[arg-type]
    torch.testing.assert_close(recording["potential"], torch.stack(expected))


# In the libraries -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:nirtorch")
def test_a_file_runs_in_snntorch_with_the_same_membrane(tmp_path: Path) -> None:
    pytest.importorskip("snntorch", reason=REASON)
    from snntorch.import_nir import import_from_nir

    torch.manual_seed(1)
    ours = SpikingSequential(nn.Linear(4, 5), QLIF(5, tau=8.0, decay_input=False, quantum_mode=False, V_th=0.8))
    write_nir(tmp_path / "ours.nir", ours, dt=1e-4)
    theirs = import_from_nir(nir.read(tmp_path / "ours.nir"))
    neuron = next(module for module in theirs.modules() if type(module).__name__ == "Leaky")
    linear = next(module for module in theirs.modules() if isinstance(module, nn.Linear))
    neuron.reset_mem()
    given, expected = torch.rand(200, 2, 4), []
    with torch.no_grad():
        for now in given:
            output = neuron(linear(now))
            expected.append((output[0] if isinstance(output, tuple) else output, neuron.mem))
        recording = simulate(ours[1], ours[0](given), "voltage")  # type: ignore[arg-type]
    assert 0.01 < recording.spikes.mean() < 0.9
    torch.testing.assert_close(recording["voltage"], torch.stack([each for _, each in expected]), rtol=0, atol=1e-6)
    assert torch.equal(recording.spikes, torch.stack([each for each, _ in expected]))


@pytest.mark.filterwarnings("ignore:nirtorch")
def test_a_file_runs_in_norse_with_the_same_membrane(tmp_path: Path) -> None:
    norse = pytest.importorskip("norse.torch", reason=REASON)
    torch.manual_seed(1)
    ours = SpikingSequential(nn.Linear(4, 5), QLIF(5, tau=8.0, quantum_mode=False, V_th=0.3, V_rest=0.1))
    write_nir(tmp_path / "ours.nir", ours, dt=1e-3)
    theirs = norse.from_nir(nir.read(tmp_path / "ours.nir"), dt=1e-3)
    neuron = next(module for module in theirs.modules() if type(module).__name__ == "LIFBoxCell")
    linear = next(module for module in theirs.modules() if isinstance(module, nn.Linear))
    given, state, expected = 2 * torch.rand(200, 2, 4), None, []
    with torch.no_grad():
        for now in given:
            spikes, state = neuron(linear(now), state)
            expected.append((spikes, state.v))
        recording = simulate(ours[1], ours[0](given), "voltage")  # type: ignore[arg-type]
    assert 0.01 < recording.spikes.mean() < 0.9
    torch.testing.assert_close(recording["voltage"], torch.stack([each for _, each in expected]), rtol=0, atol=1e-6)
    assert torch.equal(recording.spikes, torch.stack([each for each, _ in expected]))


def test_a_file_of_snntorch_is_followed(tmp_path: Path) -> None:
    snntorch = pytest.importorskip("snntorch", reason=REASON)
    torch.manual_seed(2)
    beta, threshold = torch.full((5,), 0.9), torch.ones(5)
    ones = np.ones(5)
    tau = 1e-4 / (1 - beta.double().numpy())
    node = nir.LIF(tau=tau, r=tau / 1e-4, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones)
    graph = nir.NIRGraph(
        {"i": nir.Input(np.array([5])), "lif": node, "o": nir.Output(np.array([5]))}, [("i", "lif"), ("lif", "o")]
    )
    nir.write(tmp_path / "theirs.nir", graph)
    neuron = snntorch.Leaky(beta=beta, threshold=threshold, reset_mechanism="zero", reset_delay=False)
    given, memory, expected = 0.4 * torch.rand(200, 1, 5), neuron.reset_mem(), []
    for now in given:
        _, memory = neuron(now, memory)
        expected.append(memory)
    (layer,) = read_nir(tmp_path / "theirs.nir", quantum_mode=False)
    assert isinstance(layer, QLIF)
    assert not layer.settings.decay_input
    torch.testing.assert_close(simulate(layer, given, "voltage")["voltage"], torch.stack(expected), rtol=0, atol=1e-6)


# Refusals ---------------------------------------------------------------------------------------------------------------------


def graph_of(**nodes: Any) -> Any:
    names = ["input", *nodes, "output"]
    sized = {"input": nir.Input(np.array([2])), **nodes, "output": nir.Output(np.array([2]))}
    return nir.NIRGraph(sized, list(itertools.pairwise(names)), type_check=False)


ONES = np.ones(2)


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        (nir.Delay(ONES), "Delay"),
        (nir.Threshold(ONES), "Threshold"),
        (nir.Scale(ONES), "Scale"),
        (nir.I(ONES), "I"),
        (nir.SumPool2d(ONES, ONES, 0 * ONES), "SumPool2d"),
    ],
)
def test_a_node_without_an_equal_is_refused_by_name(node: Any, kind: str) -> None:
    with pytest.raises(UnsupportedError, match=f"Node `odd` of the graph is a {kind}, which has no equal here"):
        from_nir(graph_of(odd=node))


def lif(**numbers: Any) -> Any:
    return nir.LIF(**{"tau": 1e-3 * ONES, "r": ONES, "v_leak": 0 * ONES, "v_threshold": ONES, **numbers})


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (graph_of(), "must have a node between its input and its output, but has none"),
        (
            graph_of(a=lif(tau=1e-5 * ONES)),
            "Node `a` of the graph, a LIF, cannot be .*: .*`tau` must be at least dt",
        ),
        (graph_of(a=nir.Linear(np.ones((2, 2, 2)))), "Node `a` .*its weight has 3 dimensions"),
        (graph_of(a=lif(metadata={"qlifq": "{"})), "Node `a` .*its metadata `qlifq` is not JSON"),
        (graph_of(a=lif(metadata={"qlifq": '{"format": 9}'})), "Node `a` .*its metadata `qlifq` is not of format 1"),
        (graph_of(a=graph_of(b=lif(), c=lif())), "Node `a` .* must be one LIF or IF with a recurrent map, but has LIF, LIF"),
        (
            nir.NIRGraph({"i": nir.Input(ONES), "a": lif(), "o": nir.Output(ONES)}, [("i", "a"), ("a", "a")], type_check=False),
            "must lead from input to output in one chain, but `i`, a Input, does not",
        ),
    ],
)
def test_a_graph_that_is_no_chain_of_known_nodes_is_refused(graph: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        from_nir(graph)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.BatchNorm1d(2), "must not hold BatchNorm1d, which NIR has no equal for"),
        (QLIF(2, use_ahp=True), "`use_ahp`, which has no equal in NIR"),
        (QLIF(2, reset="soft"), "neurons with a hard reset for NIR, but one has 'soft'"),
        (Recurrent(QLIF(2), nn.Sequential(nn.Linear(2, 2))), "must have a QLIF and an nn.Linear in a Recurrent"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "must pad with zeros for NIR, but pads 'reflect'"),
        (nn.AvgPool2d(2, ceil_mode=True), "without ceil_mode"),
        (nn.Flatten(0), "must not flatten the batch"),
    ],
)
def test_a_module_without_an_equal_is_refused_by_name(module: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        to_nir(SpikingSequential(module), input_shape=(1, 8, 8) if isinstance(module, nn.Conv2d | nn.AvgPool2d) else (2,))


def test_shapes_that_are_open_or_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="`input_shape` must be given, since the first module, Conv2d, takes any"):
        to_nir(nn.Conv2d(1, 1, 3))
    with pytest.raises(ShapeError, match=r"Linear cannot take \(3,\), which comes before it"):
        to_nir(nn.Linear(2, 2), input_shape=(3,))
    with pytest.raises(ShapeError, match=r"QLIF takes \(3,\), but what comes before it gives \(2,\)"):
        to_nir(SpikingSequential(nn.Linear(2, 2), QLIF(3)))


def test_what_is_no_file_of_nir_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.nir"
    path.write_bytes(b"nothing")
    for each in (path, tmp_path / "missing.nir"):
        with pytest.raises(FileFormatError, match=re.escape(f"{each} cannot be read as a file of NIR")):
            read_nir(each)
    with pytest.raises(DtypeError, match=r"`graph` must be a nir.NIRGraph, but is int"):
        from_nir(3)
    with pytest.raises(DtypeError, match="`network` must be a torch module, but is int"):
        to_nir(3)  # type: ignore[arg-type]
