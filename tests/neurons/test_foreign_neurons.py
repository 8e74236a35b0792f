"""Neurons of other libraries in a chain: the real ones where they are installed, and stand-ins that follow their protocols."""

import copy
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, SpikingSequential
from qlifq.errors import DtypeError, ShapeError, UnsupportedError

Loop = Callable[[Any, Tensor], Tensor]


class SpikingNeuron(nn.Module):
    """A stand-in for snnTorch's: the state in attributes that `forward` can be given, and a reset of them."""

    __module__ = "snntorch._neurons.neurons"
    syn: Tensor
    mem: Tensor

    def __init__(self, *, init_hidden: bool = False, output: bool = False) -> None:
        super().__init__()
        self.init_hidden, self.output = init_hidden, output
        self.register_buffer("syn", torch.zeros(0), False)
        self.register_buffer("mem", torch.zeros(0), False)

    def reset_mem(self) -> tuple[Tensor, Tensor]:
        self.syn, self.mem = torch.zeros_like(self.syn), torch.zeros_like(self.mem)
        return self.syn, self.mem


class Synaptic(SpikingNeuron):
    __module__ = "snntorch._neurons.synaptic"

    def forward(self, input_: Tensor, syn: Tensor | None = None, mem: Tensor | None = None) -> Any:
        self.syn = self.syn if syn is None else syn
        self.mem = self.mem if mem is None else mem
        if self.init_hidden and mem is not None:
            raise TypeError("one argument is expected")
        if self.mem.shape != input_.shape:
            self.syn, self.mem = torch.zeros_like(input_), torch.zeros_like(input_)
        self.syn = 0.8 * self.syn + input_
        self.mem = 0.9 * self.mem + self.syn - (self.mem > 1).to(input_)
        spikes = self.mem - (self.mem - (self.mem > 1).to(input_)).detach()
        return spikes if self.init_hidden and not self.output else (spikes, self.syn, self.mem)


class Subclass(Synaptic):
    """A user's variation of a neuron of snnTorch."""

    __module__ = "tests.user"

    def forward(self, *values: Any) -> Any:
        return super().forward(0.9 * values[0], *values[1:])


class Unknown(SpikingNeuron):
    __module__ = "snntorch._neurons.unknown"

    def forward(self, input_: Tensor) -> Tensor:
        return input_


class SNNCell(nn.Module):
    """A stand-in for Norse's: `cell(input, state)` gives the output and the state."""

    __module__ = "norse.torch.module.snn"

    def forward(self, input_tensor: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor]]:
        voltage = 0.9 * (torch.zeros_like(input_tensor) if state is None else state[0]) + input_tensor
        spikes = (voltage > 1).to(voltage)
        return voltage - (voltage - spikes).detach(), (voltage * (1 - spikes),)


class SNN(nn.Module):
    """A stand-in for Norse's layers over time."""

    __module__ = "norse.torch.module.snn"

    def __init__(self, record_states: bool = False) -> None:
        super().__init__()
        self.cell, self.record_states = SNNCell(), record_states

    def forward(self, input_tensor: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        outputs = []
        for now in input_tensor:
            output, state = self.cell(now, state)
            outputs.append(output)
        return torch.stack(outputs), state


class SequentialState(nn.Sequential):
    """A stand-in for Norse's chain; what it does by itself is not called."""

    __module__ = "norse.torch.module.sequential"
    return_hidden = False

    def forward(self, input_tensor: Tensor, state: Any = None) -> Any:
        state = [None] * len(self) if state is None else state
        for place, module in enumerate(self):
            if isinstance(module, SNNCell):
                input_tensor, state[place] = module(input_tensor, state[place])
            else:
                input_tensor = module(input_tensor)
        return input_tensor, state


class Lift(nn.Module):
    """A stand-in for what Norse wraps round a module without time."""

    __module__ = "norse.torch.module.lift"

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.lifted_module = module

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.lifted_module(now) for now in x])


class StepModule:
    """A stand-in for SpikingJelly's: it takes one step, or with step mode "m" all."""

    __module__ = "spikingjelly.activation_based.base"
    step_mode = "s"

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("s", "m")


class MemoryModule(nn.Module, StepModule):
    """A stand-in for SpikingJelly's: memories by name, hidden in the module, the reset of a tensor in place."""

    __module__ = "spikingjelly.activation_based.base"

    def __init__(self, step_mode: str = "s") -> None:
        super().__init__()
        self.step_mode = step_mode
        self.v: Any = 0.0

    def named_memories(self) -> Any:
        yield "v", self.v

    def reset(self) -> None:
        self.v = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.step_mode == "s":
            return self._step(x)
        return torch.stack([self._step(now) for now in x])

    def _step(self, x: Tensor) -> Tensor:
        if isinstance(self.v, float) or self.v.shape != x.shape:
            self.v = torch.zeros_like(x)
        charged: Tensor = self.v + (x - self.v) / 1.5
        spikes = (charged > 1).to(x)
        self.v = charged * (1 - spikes)
        return charged - (charged - spikes).detach()


class Layer(nn.Linear, StepModule):
    """A stand-in for a weight of SpikingJelly, which knows no time with step mode "s"."""

    __module__ = "spikingjelly.activation_based.layer"

    def forward(self, input: Tensor) -> Tensor:
        assert input.ndim == (2 if self.step_mode == "s" else 3)
        return super().forward(input)


class Timeless(nn.Module, StepModule):
    __module__ = "spikingjelly.activation_based.neuron.psn"
    step_mode = "m"


class TLastContainer(nn.Sequential, StepModule):
    __module__ = "spikingjelly.activation_based.layer"
    step_mode = "m"

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


TLastContainer.__name__ = "TLastSeqToANNContainer"


class Block(nn.Module):
    """A stand-in for a model of SpikingJelly, which has no step mode of its own."""

    __module__ = "spikingjelly.activation_based.model"

    def __init__(self, *modes: str) -> None:
        super().__init__()
        self.nodes = nn.ModuleList([MemoryModule(mode) for mode in modes])

    def forward(self, x: Tensor) -> Tensor:
        for node in self.nodes:
            x = node(2 * x)
        return x


def by_arguments(neuron: Any, current: Tensor) -> Tensor:
    """snnTorch's loop without `init_hidden`."""
    outputs, state = [], neuron.reset_mem()
    state = state if isinstance(state, tuple) else (state,)
    for now in current:
        answer = neuron(now, *state)
        outputs.append(answer[0])
        # Recurrent ones return their spikes once, as output and as state.
        state = answer[-len(state) :]
    neuron.reset_mem()
    return torch.stack(outputs)


def hidden(neuron: Any, current: Tensor) -> Tensor:
    """snnTorch's loop with `init_hidden`, where a neuron with `output` returns its state too."""
    neuron.reset_mem()
    outputs = [answer[0] if isinstance(answer, tuple) else answer for answer in map(neuron, current)]
    neuron.reset_mem()
    return torch.stack(outputs)


def with_state(cell: Any, current: Tensor) -> Tensor:
    """Norse's loop, and torch's for its cells."""
    outputs, state = [], None
    for now in current:
        answer = cell(now, state)
        if isinstance(cell, nn.RNNCellBase):
            state = answer
            outputs.append(answer[0] if isinstance(answer, tuple) else answer)
        else:
            outputs.append(answer[0])
            state = answer[1]
    return torch.stack(outputs)


def whole(layer: Any, current: Tensor) -> Tensor:
    """A layer that takes a sequence and gives a state."""
    turned = getattr(layer, "batch_first", False)
    output: Tensor = layer(current.transpose(0, 1) if turned else current)[0]
    return output.transpose(0, 1) if turned else output


def memorised(module: Any, current: Tensor) -> Tensor:
    """SpikingJelly's loop, or its one call."""
    nodes = [part for part in module.modules() if hasattr(part, "reset")]
    for part in nodes:
        part.reset()
    together = all(part.step_mode == "m" for part in nodes)
    output = module(current) if together else torch.stack([module(now) for now in current])
    for part in nodes:
        part.reset()
    return output


class Case(NamedTuple):
    make: Callable[[], nn.Module]
    loop: Loop


def real(path: str, loop: Loop, *arguments: object, **options: object) -> Case:
    """A neuron of a library, by its dotted name; skipped where the library is not installed."""

    def make() -> nn.Module:
        package, _, name = path.rpartition(".")
        pytest.importorskip(package.partition(".")[0], reason=f"{package.partition('.')[0]} is not installed")
        return getattr(importlib.import_module(package), name)(*arguments, **options)  # type: ignore[no-any-return]

    return Case(make, loop)


SNN_KINDS: dict[str, dict[str, Any]] = {
    "Leaky": {"beta": 0.9},
    "Synaptic": {"alpha": 0.8, "beta": 0.9},
    "Alpha": {"alpha": 0.9, "beta": 0.8},
    "Lapicque": {"beta": 0.9, "threshold": 0.05},
    "RLeaky": {"beta": 0.9, "linear_features": 4},
    "RSynaptic": {"alpha": 0.8, "beta": 0.9, "linear_features": 4},
    "SLSTM": {"input_size": 4, "hidden_size": 4, "threshold": 0.01},
}
NORSE_CELLS: dict[str, tuple[Any, ...]] = {
    "LIFCell": (),
    "LICell": (),
    "LIFRecurrentCell": (4, 5),
    "LIFAdExCell": (),
    "LSNNCell": (),
    "LIFRefracCell": (),
    "IAFCell": (),
}
JELLY = "spikingjelly.activation_based.neuron."

CASES: dict[str, Case] = {
    "RNN": Case(lambda: nn.RNN(4, 5, 2), whole),
    "GRU batch first": Case(lambda: nn.GRU(4, 5, batch_first=True), whole),
    "LSTM": Case(lambda: nn.LSTM(4, 5, 2), whole),
    "RNNCell": Case(lambda: nn.RNNCell(4, 5), with_state),
    "GRUCell": Case(lambda: nn.GRUCell(4, 5), with_state),
    "LSTMCell": Case(lambda: nn.LSTMCell(4, 5), with_state),
    "snnTorch stand-in": Case(Synaptic, by_arguments),
    "snnTorch stand-in, hidden": Case(lambda: Synaptic(init_hidden=True), hidden),
    "snnTorch stand-in, hidden, output": Case(lambda: Synaptic(init_hidden=True, output=True), hidden),
    "snnTorch stand-in, a user's": Case(Subclass, by_arguments),
    "Norse stand-in, cell": Case(SNNCell, with_state),
    "Norse stand-in, layer": Case(SNN, whole),
    "Norse stand-in, chain": Case(lambda: SequentialState(nn.Linear(4, 4), SNNCell()), with_state),
    "SpikingJelly stand-in, s": Case(MemoryModule, memorised),
    "SpikingJelly stand-in, m": Case(lambda: MemoryModule("m"), memorised),
    "SpikingJelly stand-in, within": Case(lambda: nn.Sequential(MemoryModule(), nn.Sequential(Block("s"))), memorised),
    "SpikingJelly stand-in, model": Case(lambda: Block("m", "m"), memorised),
    **{f"snntorch.{kind}": real(f"snntorch.{kind}", by_arguments, **given) for kind, given in SNN_KINDS.items()},
    **{
        f"snntorch.{kind}, hidden": real(f"snntorch.{kind}", hidden, **given, init_hidden=True, output=kind == "Alpha")
        for kind, given in SNN_KINDS.items()
    },
    **{f"norse.{kind}": real(f"norse.torch.{kind}", with_state, *given) for kind, given in NORSE_CELLS.items()},
    **{f"norse.{kind}": real(f"norse.torch.{kind}", whole) for kind in ("LIF", "LI", "LSNN", "LIFEx")},
    **{
        f"spikingjelly.{kind}, {mode}": real(f"{JELLY}{kind}", memorised, step_mode=mode)
        for kind in ("IFNode", "LIFNode", "ParametricLIFNode", "IzhikevichNode", "KLIFNode")
        for mode in "sm"
    },
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def sequence(steps: int = 11, batch: int = 3) -> Tensor:
    return 2 * torch.rand(steps, batch, 4, generator=torch.Generator().manual_seed(3))


def made(case: Case) -> nn.Module:
    torch.manual_seed(5)
    return case.make()


def test_a_neuron_does_in_a_chain_what_it_does_in_its_own_loop(case: Case) -> None:
    module = made(case)
    network = SpikingSequential(nn.Identity(), module)
    network(5 * sequence(4, 2))
    # What was left in the module by a use outside of the chain does not enter either.
    modes = {part.step_mode for part in module.modules() if hasattr(part, "named_memories")}
    module(sequence(4) / 4 if case.loop is whole or modes == {"m"} else sequence(4)[0] / 4)
    inputs, same = sequence().requires_grad_(), sequence().requires_grad_()
    output, states = network(inputs)
    expected = case.loop(module, same)
    torch.testing.assert_close(output, expected, rtol=1e-6, atol=1e-6)
    assert output.abs().sum() > 0
    assert len(states) == 1
    weights = torch.linspace(0.5, 1, len(output))[:, None, None]
    for value, given in ((output, inputs), (expected, same)):
        (weights * value).sum().backward()  # type: ignore[no-untyped-call]
        assert given.grad is not None
    torch.testing.assert_close(inputs.grad, same.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cut", [1, 6])
def test_a_sequence_cut_in_two_equals_the_whole(case: Case, cut: int) -> None:
    network = SpikingSequential(made(case))
    expected, _ = network(sequence())
    first, states = network(sequence()[:cut])
    network(3 * sequence())
    second, _ = network(sequence()[cut:], states)
    torch.testing.assert_close(torch.cat((first, second)), expected, rtol=1e-6, atol=1e-6)


def test_states_of_another_batch_or_kind_are_refused(case: Case) -> None:
    network = SpikingSequential(made(case))
    _, states = network(sequence(3, 2))
    with pytest.raises(ShapeError, match=r"must hold a batch of 3 for .*, but holds one of 2"):
        network(sequence(3, 3), states)
    with pytest.raises(DtypeError, match=r"must (hold a|be a) .*, but (holds|is) int"):
        network(sequence(3, 2), (5,))


def test_a_sequence_without_steps_is_refused(case: Case) -> None:
    with pytest.raises(ShapeError, match=r"must have at least one step for .*, but has none"):
        SpikingSequential(made(case))(sequence(0))


def test_a_chain_of_all_kinds_is_copied_and_trained() -> None:
    torch.manual_seed(7)
    network = SpikingSequential(
        nn.Linear(4, 6),
        QLIF(6, seed=1, tau=2.0),
        nn.GRU(6, 4),
        nn.BatchNorm1d(4),
        nn.Sequential(nn.Linear(4, 4), Synaptic(init_hidden=True), nn.Dropout(0.1)),
        Lift(nn.Linear(4, 4)),
        SNNCell(),
        Layer(4, 4),
        MemoryModule("m"),
        nn.Linear(4, 2),
    )
    output, states = network(sequence())
    assert output.shape == (11, 3, 2)
    assert [type(state).__name__ for state in states] == ["QLIFState", "Tensor", "tuple", "tuple", "tuple", "dict"]
    output.square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())
    twin = copy.deepcopy(network).eval()
    assert torch.equal(twin(sequence())[0], copy.deepcopy(twin)(sequence())[0]) or any(
        isinstance(m, QLIF) for m in twin.modules()
    )


def test_a_state_of_another_shape_is_refused_and_not_dropped() -> None:
    for module, state in (
        (Synaptic(), (torch.zeros(3, 5), torch.zeros(3, 5))),
        (Synaptic(init_hidden=True), (torch.zeros(3, 5), torch.zeros(3, 5))),
        (MemoryModule(), {"v": torch.zeros(3, 5)}),
    ):
        with pytest.raises(
            ShapeError, match=r"must hold a `(syn|v)` of shape \(3, 4\) for .*, but holds one of shape \(3, 5\)"
        ):
            SpikingSequential(module)(sequence(), (state,))
    with pytest.raises(ShapeError, match="must hold syn, mem for Synaptic, but holds a tuple of 1"):
        SpikingSequential(Synaptic())(sequence(), ((torch.zeros(3, 4),),))
    with pytest.raises(ShapeError, match="must hold v for MemoryModule, but holds u"):
        SpikingSequential(MemoryModule())(sequence(), ({"u": torch.zeros(3, 4)},))


class Wrapped(nn.Module):
    """A user's module with a neuron in it."""

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.weights, self.neuron = nn.Linear(4, 4), neuron

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(self.weights(x))  # type: ignore[no-any-return]


class Own(nn.Module):
    """A user's neuron, by the protocol of Norse's cells."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x, x


class Sinabs(nn.Module):
    __module__ = "sinabs.layers"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Wrapped(Synaptic(init_hidden=True)), "Wrapped of tests: its `neuron` is Synaptic of snntorch, whose state"),
        (lambda: Wrapped(QLIF(4)), "Wrapped of tests: its `neuron` is QLIF of qlifq, whose state"),
        (lambda: Wrapped(MemoryModule()), "its `neuron` is MemoryModule of spikingjelly, whose state"),
        (lambda: nn.Sequential(Wrapped(SNNCell())), "Sequential of torch: its `0.neuron` is SNNCell of norse, whose state"),
        (lambda: nn.Sequential(QLIF(4), Wrapped(SNNCell())), "Wrapped of tests: its `neuron` is SNNCell of norse, whose state"),
        (Unknown, "Unknown of snntorch: its state can be neither given nor read"),
        (lambda: SNN(record_states=True), "SNN of norse: with record_states=True it returns"),
        (lambda: nn.LSTM(4, 4, bidirectional=True), "LSTM of torch: it reads a sequence backwards too"),
        (lambda: nn.TransformerEncoderLayer(4, 2), "TransformerEncoderLayer of torch: it mixes what it takes for a sequence"),
        (Timeless, "Timeless of spikingjelly: its state over time can be neither given nor read"),
        (TLastContainer, "its time is the last dimension"),
        (lambda: Block("s", "m"), "its parts differ in step_mode"),
        (Sinabs, "Sinabs of sinabs: how it carries its state over time is not known here"),
        (Own, "Own of tests: its forward takes a state"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(UnsupportedError, match="Argument `modules` must not hold ") as caught:
        SpikingSequential(nn.Linear(4, 4), make())
    assert words in str(caught.value)
    network = SpikingSequential(nn.Linear(4, 4))
    network.chain.append(make())
    with pytest.raises(UnsupportedError, match="Argument `modules` must not hold "):
        network(sequence())


def test_a_step_mode_that_changes_later_is_followed() -> None:
    module = MemoryModule()
    network = SpikingSequential(module)
    expected, _ = network(sequence())
    module.step_mode = "m"
    torch.testing.assert_close(network(sequence())[0], expected)


def test_what_is_no_output_of_a_module_without_a_state_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=0)

    with pytest.raises(ShapeError, match="Pair must return a tensor of time · batch = 33 rows in a chain, but returned tuple"):
        SpikingSequential(Pair())(sequence())
    with pytest.raises(ShapeError, match=r"Mean must return .* = 33 rows in a chain, but returned one of shape \(4,\)"):
        SpikingSequential(Mean())(sequence())


def test_an_lstm_within_a_module_without_time_begins_anew_with_every_call() -> None:
    class Rows(nn.Module):
        """Reads the columns of one image after the other."""

        def __init__(self) -> None:
            super().__init__()
            self.reader = nn.LSTM(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.reader(x)[0][:, -1]  # type: ignore[no-any-return]

    torch.manual_seed(1)
    images, rows = torch.rand(5, 3, 6, 4), Rows()
    output, states = SpikingSequential(rows)(images)
    assert states == ()
    torch.testing.assert_close(output[2], rows(images[2]))
