"""A mechanism that somebody registers in one file is one as those that qlifq brings: everywhere, without another line."""

import copy
import pickle
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qlifq import QLIF, QLIFState, SpikingSequential, integrate, record, settle, simulate
from qlifq.cli import main
from qlifq.cli.options import parse_parameters
from qlifq.errors import ArgumentError, DtypeError, MissingConstantError, QLIFError, UnsupportedError
from qlifq.interop import to_nir
from qlifq.neurons import (
    MECHANISMS,
    RECORDABLE,
    Mechanism,
    Need,
    PerNeuron,
    Rule,
    Settings,
    parameter,
    parameter_group,
    positive,
    value_gradients,
)
from qlifq.neurons.formula import angle_of
from qlifq.neurons.parameter_table import formulas, markdown_table
from tests.neurons.test_spike_train_circuits import trains

ON = Need("facilitation above 0", lambda s: positive(s.facilitation))


@parameter_group("facilitation")
class FacilitationParameters:
    facilitation: PerNeuron = parameter("rise of U at a spike", default=0.0, at_least=0.0, below=1.0)
    tau_facilitation: PerNeuron = parameter("time constant of U", default=50.0, need=ON, not_below_dt=True, above=0.0)


#: Each spike makes the input stronger for a while.
FACILITATION = Mechanism(
    group="facilitation",
    formula=("I ← I (1 + U)", "U ← U e^(−dt/tau_facilitation) + facilitation (1 − U) s"),
    on=ON,
    parameters=FacilitationParameters,
    states={"facilitated": 0.0},
    constants=lambda p: {"facilitation": p.facilitation, "facilitation_decay": p.decay(p.tau_facilitation)},
    input=lambda current, state, d, drive: current * (1 + state.facilitated),
    settle=lambda state, spikes, d: {
        "facilitated": state.facilitated * d.facilitation_decay + d.facilitation * (1 - state.facilitated) * spikes
    },
)
OPTIONS: dict[str, Any] = {"facilitation": (0.3, 0.1, 0.6), "tau_facilitation": 9.0, "tau": 4.0}


@pytest.fixture(autouse=True)
def _with_rows_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers goes with it."""
    monkeypatch.setattr(MECHANISMS, "_rows", dict(MECHANISMS))
    monkeypatch.setattr(Settings, "__dataclass_fields__", dict(Settings.__dataclass_fields__))
    MECHANISMS.register("facilitation", FACILITATION)


def drive(steps: int = 30, neurons: int = 3) -> Tensor:
    return 3 * torch.rand(steps, 2, neurons, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def built(num_neurons: int | tuple[int, ...] = 3, **options: Any) -> QLIF:
    """A layer with parameters that type checkers do not know."""
    return QLIF(num_neurons, **options)


def layer_of(kernel: str = "auto", **options: Any) -> QLIF:
    return built(seed=3, kernel=kernel, **{**OPTIONS, **options}).double()


EVERYTHING: dict[str, Any] = {
    "spike_increase": 0.2,
    "depression_rate": 0.2,
    "use_adaptive_threshold": True,
    "noise_std": 0.2,
    "neuromod_mode": "off",
    "learnable": ("facilitation", "tau_facilitation", "tau"),
}


@pytest.mark.parametrize("options", [{"learnable": ("facilitation",)}, EVERYTHING, {"decision": "expectation", **EVERYTHING}])
def test_the_kernel_and_the_step_loop_are_the_same_neuron(options: dict[str, Any]) -> None:
    found: list[list[Tensor]] = []
    for kernel in ("auto", "off"):
        layer, current = layer_of(kernel, **options), drive().requires_grad_()
        assert layer.why_stepwise() == (None if kernel == "auto" else "kernel='off'")
        names = ("facilitated", "potential", "probability")
        sequence = layer.sequence(current, outputs=names)
        assert (sequence is None) == (kernel == "off")
        if sequence is None:
            recording = simulate(layer, current, names)
            values = [recording.spikes, *recording.traces.values(), *recording.state]
        else:
            values = [*sequence.outputs.values(), *sequence.state]
        loss: Tensor = sum(value.sum() * (1 + place) for place, value in enumerate(values))
        loss.backward()  # type: ignore[no-untyped-call]
        grads = [current.grad, *(each.grad for each in layer.parameters())]
        found.append([*values, *(grad for grad in grads if grad is not None)])
    assert len(found[0]) == len(found[1]) == 4 + 10 + 1 + len(options["learnable"])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    # The spikes, what was kept, its state, and every gradient.
    assert all(bool((value != 0).any()) for value in (*found[0][:4], *found[0][13:]))


def test_its_state_follows_its_equation() -> None:
    """By NumPy, from the spikes that were recorded; and the input is what the equation makes of it."""
    recording = simulate(layer_of(reset="hard"), drive(), ("facilitated", "voltage", "potential"))
    spikes, potential, voltage = (value.numpy() for value in (recording.spikes, recording["potential"], recording["voltage"]))
    before, last = np.zeros((2, 3)), np.zeros((2, 3))
    for step, current in enumerate(drive().numpy()):
        np.testing.assert_allclose(potential[step], last + (current * (1 + before) - last) / 4.0, rtol=1e-6)
        before = before * np.exp(-1 / 9.0) + np.array([0.3, 0.1, 0.6]) * (1 - before) * spikes[step]
        np.testing.assert_allclose(recording["facilitated"][step], before, rtol=1e-6)
        last = voltage[step]
    assert spikes.sum() > 20


@pytest.mark.parametrize("backend", ["analytic", "reference"])
def test_its_parameters_are_trained_with_the_gradient_of_their_finite_differences(backend: str) -> None:
    names = ("facilitation", "tau_facilitation")

    def loss(**changed: Any) -> tuple[QLIF, Tensor]:
        layer = layer_of(decision="expectation", learnable=names, backend=backend)
        layer.assign(**changed)
        return layer, layer(drive(12))[0].square().sum()

    layer, value = loss()
    value.backward()  # type: ignore[no-untyped-call]
    for name, gradient in value_gradients(layer).items():
        at = getattr(layer, name).detach()
        for neuron in range(3):
            step = 1e-5 * torch.eye(3, dtype=torch.float64)[neuron]
            numeric = (loss(**{name: at + step})[1] - loss(**{name: at - step})[1]) / 2e-5
            torch.testing.assert_close(gradient[neuron], numeric, rtol=1e-5, atol=1e-8)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1e6)
    optimiser.step()
    rise, tau = (getattr(layer, name) for name in names)
    assert bool(((rise > 0) & (rise < 1) & (tau > 1)).all())


def test_a_checkpoint_and_a_pickle_hold_it(tmp_path: Path) -> None:
    layer = layer_of(learnable=("facilitation",))
    layer.assign(facilitation=torch.tensor([0.2, 0.4, 0.8], dtype=torch.float64))
    assert {"constants.facilitation.unbounded"} < set(layer.state_dict())
    other = layer_of(learnable=("facilitation",))
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other.facilitation, torch.tensor([0.2, 0.4, 0.8], dtype=torch.float64))
    _, state = layer(drive())
    state = state.detach()
    for copied in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert copied.settings == layer.settings
        assert torch.equal(copied(drive(), state)[0], copy.deepcopy(layer)(drive(), state)[0])
    torch.save(state, tmp_path / "state.pt")
    for kept in (torch.load(tmp_path / "state.pt"), pickle.loads(pickle.dumps(state)), copy.deepcopy(state)):
        assert isinstance(kept, QLIFState)
        assert list(kept._fields) == [*QLIFState._fields, "facilitated"]
        assert all(map(torch.equal, kept, state))
        # A sequence cut in two equals the whole.
        layer(drive(), kept)


def test_settings_of_a_mechanism_that_is_not_registered_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    older, saved = pickle.dumps(Settings(tau=5.0)), pickle.dumps(layer_of().settings)
    assert pickle.loads(saved).facilitation == (0.3, 0.1, 0.6)
    without = {name: item for name, item in Settings.__dataclass_fields__.items() if name != "facilitation"}
    monkeypatch.setattr(Settings, "__dataclass_fields__", without)
    with pytest.raises(ArgumentError, match=r"Saved settings have `facilitation`, .* register it"):
        pickle.loads(saved)
    with pytest.raises(ArgumentError, match="`facilitation`"):
        pickle.loads(older)


def test_settings_that_were_made_before_have_the_default() -> None:
    before = Settings(tau=5.0)
    MECHANISMS.register("late", replace(FACILITATION, **late()))
    assert (before.late, before.mechanisms) == (0.0, Settings().mechanisms)  # type: ignore[attr-defined]
    assert replace(before, tau=6.0) == Settings(tau=6.0)
    assert replace(layer_of().settings, tau=6.0).facilitation == (0.3, 0.1, 0.6)  # type: ignore[attr-defined]
    assert "facilitation=(0.3, 0.1, 0.6)" in repr(layer_of().settings)
    assert "facilitation=(0.3, 0.1, 0.6)" in repr(layer_of())
    assert layer_of().settings != Settings(tau=4.0)


def late(**changed: Any) -> dict[str, Any]:
    """Another mechanism like it."""

    @parameter_group("late")
    class Parameters:
        late: PerNeuron = parameter("rise", default=0.0, at_least=0.0)

    return {
        "parameters": Parameters,
        "on": Need("late above 0", lambda s: positive(s.late)),
        "states": {"lateness": 0.0},
        "constants": lambda p: {"late": p.late},
        "input": lambda current, state, d, drive: current + state.lateness,
        "settle": lambda state, spikes, d: {"lateness": d.late * spikes},
        **changed,
    }


def test_a_layer_without_it_is_as_it_was() -> None:
    layer, current = QLIF(3, seed=3, tau=4.0).double(), drive()
    spikes, state = layer(current)
    assert type(state) is QLIFState
    assert set(layer.state_dict()) == {f"constants.{name}.value" for name in ("V_th", "tau", "q_scale", "q_bias")}
    MECHANISMS._rows.pop("facilitation")
    assert torch.equal(QLIF(3, seed=3, tau=4.0).double()(current)[0], spikes)


def test_recordings_have_its_state() -> None:
    assert "facilitated" not in RECORDABLE
    recording = simulate(layer_of("off"), drive(), (*RECORDABLE, "facilitated"))
    assert recording["facilitated"].shape == (30, 2, 3)
    assert torch.equal(recording["facilitated"][-1], recording.state.facilitated)
    network = SpikingSequential(torch.nn.Linear(3, 3, dtype=torch.float64), layer_of(), QLIF(3).double())
    with record(network, "facilitated") as recordings:
        network(drive())
    assert [each.names for each in recordings.values()] == [("spikes", "facilitated"), ("spikes",)]
    with pytest.raises(ArgumentError, match=r"`record` must be one of .*, facilitated, but is 'facilitatd'"):
        simulate(layer_of(), drive(), ("facilitatd",))
    with pytest.raises(ArgumentError, match="`record`"):
        simulate(QLIF(3), drive().float(), ("facilitated",))


def test_tables_and_the_command_line_have_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = markdown_table().splitlines()
    place = rows.index("| **facilitation** | | | |")
    assert rows[place + 1 :] == [
        "| `facilitation` | 0 | ≥ 0, < 1 | rise of U at a spike |",
        "| `tau_facilitation` | 50 | > 0 | time constant of U; needs facilitation above 0 |",
    ]
    assert formulas("facilitation") == FACILITATION.formula
    assert parse_parameters(["facilitation=0.2", "tau_facilitation=3,4"]) == {
        "facilitation": 0.2,
        "tau_facilitation": (3.0, 4.0),
    }
    command = ["simulate", "--dry-run", "--param"]
    assert main([*command, "facilitation=0.5"]) == 0
    capsys.readouterr()
    assert main([*command, "facilitaton=0.5"]) != 0
    assert "facilitation" in capsys.readouterr().err


REFUSED: dict[str, tuple[dict[str, Any], type[QLIFError], str]] = {
    "a misspelt name": ({"facilitaton": 0.2}, ArgumentError, "facilitaton.*facilitation"),
    "a value out of range": ({"facilitation": 1.0}, ArgumentError, "`facilitation` must be .*, but is 1.0"),
    "a string": ({"facilitation": "much"}, DtypeError, "`facilitation` must be a number"),
    "no effect": ({"facilitation": 0.0}, UnsupportedError, "`tau_facilitation` would be ignored: .* facilitation above 0"),
    "a time below dt": ({"tau_facilitation": 0.5}, ArgumentError, "`tau_facilitation` must be at least dt = 1"),
    "too many numbers": ({"facilitation": (0.1, 0.2)}, QLIFError, "`facilitation`"),
    "a misspelt trained name": ({"learnable": ("facilitate",)}, ArgumentError, "learnable parameter.*facilitation"),
    "trained at a bound": (
        {"facilitation": 0.0, "learnable": ("facilitation",), "tau_facilitation": 50.0},
        ArgumentError,
        "`facilitation` must be above 0 to be learnable",
    ),
    "loop": ({"loop": "circuit"}, UnsupportedError, "without facilitation above 0, whose mechanism does not say"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_it_is_refused_by_name(name: str) -> None:
    options, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words):
        layer_of(**options)


def test_a_state_of_another_layer_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"`state` must hold .*refractory, facilitated, but holds .*refractory"):
        layer_of()(drive(), QLIF(3).double().initial_state(2))
    with pytest.raises(ArgumentError, match="`state` must hold"):
        QLIF(3).double()(drive(), layer_of().initial_state(2))
    with pytest.raises(MissingConstantError, match="no `tau_facilitation`: it needs facilitation above 0"):
        _ = QLIF(3).tau_facilitation
    with pytest.raises(UnsupportedError, match="`facilitation`"):
        to_nir(layer_of())


@dataclass(frozen=True, kw_only=True)
class Plain:
    late: float = 0.0


@parameter_group("late")
class Taken:
    tau: PerNeuron = parameter("a name that is taken", default=0.0)


@parameter_group("late")
class Keyword:
    shots: PerNeuron = parameter("a keyword of the layer", default=0.0)


BAD_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "parameters of another kind": ({"parameters": Plain}, "dataclass of `parameter` fields"),
    "a parameter that is taken": ({"parameters": Taken}, "'tau' is taken"),
    "a keyword of the layer": ({"parameters": Keyword}, "'shots' is taken"),
    "a state that is taken": ({"states": {"voltage": 0.0}}, "'voltage' is taken"),
    "a state of another": ({"states": {"facilitated": 0.0}}, "'facilitated' is taken"),
    "a state that is no name": ({"states": {"late ness": 0.0}}, "'late ness' is taken or no name"),
    "a state that begins with _": ({"states": {"_late": 0.0}}, "'_late' is taken or no name"),
    "a keyword of Python": ({"states": {"lambda": 0.0}}, "'lambda' is taken or no name"),
    "a constant that is taken": ({"constants": lambda p: {"ahp_decay": 1.0}}, "'ahp_decay' is taken"),
    "a state and a constant": ({"constants": lambda p: {"lateness": 1.0}}, "'lateness' is taken"),
    "one that is on": ({"on": Need("always", lambda s: True)}, "must not act at its defaults, but does: always"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_cannot_be_used_is_refused_and_leaves_nothing(name: str) -> None:
    changed, words = BAD_ROWS[name]
    before = [item.name for item in fields(Settings)]
    with pytest.raises(QLIFError, match=words):
        MECHANISMS.register("late", replace(FACILITATION, **late(**changed)))
    assert "late" not in MECHANISMS
    assert [item.name for item in fields(Settings)] == before


def test_a_parameter_of_another_type_or_without_its_declaration_is_refused() -> None:
    for annotation, value in ((list[int], parameter("numbers", default=())), (float, 0.5)):
        body = {"__annotations__": {"late": annotation}, "late": value}
        with pytest.raises(DtypeError, match=r"Parameter `late` must be `parameter\(...\)` and of a type"):
            parameter_group("late")(type("Parameters", (), body))


def test_a_name_that_is_taken_and_what_is_no_mechanism_are_refused() -> None:
    with pytest.raises(ArgumentError, match="there is a mechanism 'facilitation' already"):
        MECHANISMS.register("facilitation", replace(FACILITATION, **late()))
    with pytest.raises(DtypeError, match="`row` must be a Mechanism, but is str"):
        MECHANISMS.register("late", "row")  # type: ignore[arg-type]


def test_every_function_of_a_mechanism_acts_at_its_place() -> None:
    """One that has them all: by hand, from what the other neuron gives."""

    @parameter_group("all")
    class Parameters:
        everything: PerNeuron = parameter("of all functions", default=0.0)
        least: PerNeuron = parameter("of the limit", default=-9.0)

    row = Mechanism(
        group="all",
        formula=(),
        on=Need("everything above 0", lambda s: positive(s.everything)),
        parameters=Parameters,
        states={"passed": 2.0},
        constants=lambda p: {"everything": p.everything, "least": p.least},
        rules=(Rule("least", "below", "everything"),),
        input=lambda current, state, d, drive: current * d.everything,
        current=lambda current, state, d, drive: current - 1,
        voltage=lambda voltage, state, d, drive: voltage + 0.25,
        limit=lambda voltage, state, d, drive: voltage.clamp(max=0.5),
        threshold=lambda threshold, state, d, drive: threshold + state.passed,
        slope=lambda slope, state, d, drive: slope / state.passed,
        settle=lambda state, spikes, d: {"passed": state.passed + spikes},
    )
    MECHANISMS.register("all", row)
    layer = built(1, tau=2.0, everything=3.0, spike_increase=0.5, V_min=-0.125, learnable=("everything",), seed=1).double()
    state = layer.initial_state(1)
    assert [float(value) for value in (state.passed, state.adaptation)] == [2.0, 0.0]  # type: ignore[attr-defined]
    state = state._replace(adaptation=state.adaptation + 0.5)
    for current, potential in ((0.5, 0.25), (9.0, 0.5), (-9.0, 0.5 * (-27.0 - 1.5) + 0.25)):
        # (dt/τ)(3 I − A − 1) + ¼, at most ½, and at least V_min before.
        between, gap = integrate(state, torch.full((1, 1), current, dtype=torch.float64), layer.dynamics())
        expected = min(max(potential, -0.125), 0.5)
        assert between.voltage.item() == expected
        assert gap.item() == expected - 3.0
    angle = angle_of(layer.settings, layer._values(), state, torch.ones_like(gap), layer.dynamics(), None)
    torch.testing.assert_close(angle, torch.pi * torch.tensor([[2.0]], dtype=torch.float64).sigmoid())
    assert float(settle(state, torch.ones_like(gap), layer.dynamics()).passed) == 3.0  # type: ignore[attr-defined]
    with pytest.raises(ArgumentError, match="`least` must be below everything = 3"):
        built(1, everything=3.0, least=4.0)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_mechanism_whose_effect_is_a_sum_over_the_spikes_runs_in_one_circuit(reset: str) -> None:
    """The law of all trains is that of the host loop, with reset="hard" too where it moves the threshold."""
    if reset == "hard":
        changed: dict[str, Any] = {"threshold": lambda at, state, d, drive: at + state.lateness, "summed": ("late",)}
    else:
        changed = {"current": lambda current, state, d, drive: current - state.lateness}
    settled = {"settle": lambda state, spikes, d: {"lateness": 0.5 * state.lateness + d.late * spikes}}
    row = {"input": None, "obstacles": (), **settled}
    MECHANISMS.register("late", replace(FACILITATION, **late(**row, **changed)))
    layer = built(2, seed=1, tau=3.0, reset=reset, mapping="linear", late=(0.4, 0.7)).double()
    steps, current = 4, drive(4, 2)[:, :1]
    circuit = layer.train_circuit(current, tolerance=0.0)
    spikes = trains(steps).expand(-1, -1, 2)
    state, chance = layer.initial_state(2**steps), torch.ones(2**steps, 2, dtype=torch.float64)
    for step in range(steps):
        state, gap = integrate(state, current[step].expand_as(state.voltage), layer.dynamics())
        one = (angle_of(layer.settings, layer._values(), state, gap, layer.dynamics(), None) / 2).sin().square()
        chance = chance * torch.where(spikes[step] > 0, one, 1 - one)
        state = settle(state, spikes[step], layer.dynamics())
    torch.testing.assert_close(circuit.distribution()[:, 0], chance, rtol=0, atol=1e-12)


def test_layers_with_a_shape_have_it() -> None:
    given = torch.tensor([0.3, 0.6])[:, None, None]
    layer = built((2, 2, 2), seed=1, facilitation=given, learnable=("facilitation",))
    spikes, state = layer(torch.full((20, 3, 2, 2, 2), 4.0))
    spikes.sum().backward()
    assert state.facilitated.shape == (3, 2, 2, 2)
    assert value_gradients(layer)["facilitation"].shape == (2, 1, 1)
    assert layer.step(torch.ones(3, 2, 2, 2), state)[1].facilitated.shape == (3, 2, 2, 2)  # type: ignore[attr-defined]
