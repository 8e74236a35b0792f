"""Recordings keep what `record` names, and nothing else."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from qlifq import QLIF, QLIFState, simulate
from qlifq.errors import ArgumentError, DtypeError, QLIFError, UnsupportedError
from qlifq.neurons import RECORDABLE

EVERYTHING: dict[str, object] = {
    "tau": 4.0,
    "use_adaptive_threshold": True,
    "homeostasis_enabled": True,
    "spike_increase": 0.3,
    "use_ahp": True,
    "depression_rate": 0.3,
    "refractory_period": 1,
}
DYNAMIC: dict[str, object] = {"allow_dynamic_spike_probability": True}


def layer_of(**more: object) -> QLIF:
    return QLIF(3, **{"seed": 1, **EVERYTHING, **more})  # type: ignore[arg-type]


def drive() -> Tensor:
    return 1.5 + torch.rand(20, 2, 3, generator=torch.Generator().manual_seed(1))


def test_what_can_be_recorded() -> None:
    decision = ("potential", "threshold", "gap", "angle", "probability", "trace")
    assert list(RECORDABLE) == [*QLIFState._fields, *decision]


@pytest.mark.parametrize("name", RECORDABLE)
def test_every_name_gives_a_trace_of_the_right_shape_that_moves(name: str) -> None:
    recording = simulate(layer_of(**DYNAMIC), drive(), name)
    assert recording.names == ("spikes", name)
    assert recording[name].shape == (20, 2, 3)
    assert (recording[name].diff(dim=0) != 0).any()


def test_everything_together_agrees_with_the_layer_itself() -> None:
    recording = simulate(layer_of(**DYNAMIC), drive(), RECORDABLE)
    assert recording.names == ("spikes", *RECORDABLE)
    spikes, state = layer_of(**DYNAMIC)(drive())
    assert torch.equal(recording.spikes, spikes)
    assert torch.equal(recording["spikes"], spikes)
    for name, value in zip(state._fields, state, strict=True):
        assert torch.equal(recording[name][-1], value)
        assert torch.equal(getattr(recording.state, name), value)
    torch.testing.assert_close(recording["gap"], recording["potential"] - recording["threshold"])


def test_nothing_is_kept_without_record() -> None:
    recording = simulate(layer_of(), drive())
    assert recording.names == ("spikes",)
    assert not recording.traces
    with pytest.raises(ArgumentError, match="Trace `voltage` was not recorded: recorded are spikes"):
        recording["voltage"]


def test_a_name_given_twice_is_recorded_once() -> None:
    recording = simulate(layer_of(), drive(), ("voltage", "voltage"))
    assert recording.names == ("spikes", "voltage")
    assert recording["voltage"].shape == (20, 2, 3)


@pytest.mark.parametrize("dt", [1.0, 0.5])
@pytest.mark.parametrize("tau", [20.0, 3.0])
def test_the_trace_decays_and_rises_by_one_at_a_spike(tau: float, dt: float) -> None:
    recording = simulate(layer_of(dt=dt), drive(), "trace", trace_tau=tau)
    expected = torch.zeros(2, 3)
    for time in range(20):
        expected = expected * math.exp(-dt / tau) + recording.spikes[time]
        torch.testing.assert_close(recording["trace"][time], expected)
    assert recording.spikes.sum() > 0


def test_progress_is_reported_after_every_step() -> None:
    calls: list[tuple[int, int]] = []
    simulate(layer_of(), drive(), progress=lambda done, steps: calls.append((done, steps)))
    assert calls == [(done, 20) for done in range(1, 21)]


def test_evaluations_count_the_runs_of_a_qubit() -> None:
    assert simulate(layer_of(refractory_period=0), drive()).evaluations == 20 * 2 * 3
    assert simulate(layer_of(refractory_period=0, shots=2, quantum_wire=4), drive()).evaluations == 20 * 2 * 3 * 4
    assert simulate(layer_of(quantum_mode=False), drive()).evaluations == 0
    refractory = simulate(layer_of(refractory_period=2), drive(), "refractory")
    before = torch.cat((torch.zeros(1, 2, 3), refractory["refractory"][:-1]))
    assert refractory.evaluations == int((before == 0).sum())


def test_a_recording_continues_from_a_state() -> None:
    whole, cut = layer_of(), layer_of()
    expected = simulate(whole, drive(), "voltage")
    first = simulate(cut, drive()[:8], "voltage")
    second = simulate(cut, drive()[8:], "voltage", state=first.state)
    assert torch.equal(torch.cat((first["voltage"], second["voltage"])), expected["voltage"])


def test_a_recording_prints_itself() -> None:
    recording = simulate(layer_of(refractory_period=0), drive(), "voltage")
    rate = float(recording.spikes.mean())
    settings = f"steps 20 · batch 2 · neurons 3 · analytic, exact · spikes per step {rate:.4f}"
    assert str(recording) == f"{settings} · evaluations 120 · kept spikes, voltage"


@pytest.mark.parametrize("steps", [0, 20])
def test_what_a_mode_does_not_have_is_refused_before_anything_runs(steps: int) -> None:
    called: list[int] = []
    deterministic = layer_of(quantum_mode=False)
    with pytest.raises(UnsupportedError, match="'probability' for the classic deterministic decision"):
        simulate(deterministic, drive()[:steps], "probability", progress=lambda done, _: called.append(done))
    for more in ({}, {"stochastic": True}):
        with pytest.raises(UnsupportedError, match="'angle' without quantum_mode"):
            simulate(layer_of(quantum_mode=False, **more), drive()[:steps], ("voltage", "angle"))
    assert not called
    # Refused means untouched: the stream of noise stands where it stood.
    assert deterministic.seeds.position == 0


def test_bad_arguments_are_refused() -> None:
    layer = layer_of()
    with pytest.raises(ArgumentError, match=r"`record` must be one of voltage, .*trace, but is 'Voltage'"):
        simulate(layer, drive(), "Voltage")
    with pytest.raises(ArgumentError, match=r"`record` must be one of .*, but is 3"):
        simulate(layer, drive(), ("voltage", 3))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="`trace_tau` must be above 0, but is -1"):
        simulate(layer, drive(), "trace", trace_tau=-1.0)
    with pytest.raises(DtypeError, match="`trace_tau` must be a number, but is '20'"):
        simulate(layer, drive(), "trace", trace_tau="20")  # type: ignore[arg-type]


@pytest.mark.parametrize("current", [np.ones((2, 1, 3), dtype=np.float32), [[[1.0, 1.0, 1.0]]], None])
def test_an_input_that_is_no_tensor_is_refused(current: object) -> None:
    with pytest.raises(DtypeError, match=f"`current` must be a torch tensor, but is {type(current).__name__}"):
        simulate(layer_of(), current)  # type: ignore[arg-type]


@pytest.mark.parametrize("record", [3, None])
def test_record_must_be_names(record: object) -> None:
    with pytest.raises(QLIFError, match=f"`record` must .*{record}"):
        simulate(layer_of(), drive(), record)  # type: ignore[arg-type]
