"""State and noise over time: carried, loaded, replayed, never shared."""

import copy
import io
import itertools

import pytest
import torch
from torch import Tensor

from qlifq import QLIF, QLIFState, simulate

NEURONS, BATCH, STEPS = 5, 4, 30
EVERYTHING: dict[str, object] = {
    "tau": 4.0,
    "use_adaptive_threshold": True,
    "homeostasis_enabled": True,
    "spike_increase": 0.3,
    "use_ahp": True,
    "depression_rate": 0.3,
    "neuromod_strength": 0.5,
}
DYNAMIC: dict[str, object] = {"allow_dynamic_spike_probability": True}
REFRACTORY: dict[str, object] = {"refractory_period": 2}
CLASSIC: dict[str, object] = {"quantum_mode": False}
DRAWN: dict[str, dict[str, object]] = {
    "sample": {**DYNAMIC, **REFRACTORY},
    "one shot": {"shots": 1, **DYNAMIC, **REFRACTORY},
    "nine shots": {"shots": 9, **DYNAMIC, **REFRACTORY},
    "threshold of shots": {"decision": "threshold", "shots": 9, "quantum_wire": 2, **DYNAMIC, **REFRACTORY},
    "expectation of shots": {"decision": "expectation", "shots": 9, **DYNAMIC},
    "stochastic": {**CLASSIC, "stochastic": True, **DYNAMIC, **REFRACTORY},
    "reference": {"backend": "reference", "shots": 3},
}
EXACT: dict[str, dict[str, object]] = {
    "threshold": {"decision": "threshold", **DYNAMIC, **REFRACTORY},
    "expectation": {"decision": "expectation", **DYNAMIC},
    "deterministic": {**CLASSIC, **REFRACTORY},
}
MODES = {**DRAWN, **EXACT}


def layer_of(mode: dict[str, object], **more: object) -> QLIF:
    return QLIF(NEURONS, **{"seed": 1, **EVERYTHING, **mode, **more})  # type: ignore[arg-type]


def drive(batch: int = BATCH, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(2)
    return 2 + torch.randn(steps, batch, NEURONS, generator=source), torch.randn(steps, batch, 1, generator=source)


def equal(first: QLIFState, second: QLIFState) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("cut", [0, 1, 13, STEPS])
@pytest.mark.parametrize("membrane", ["leaky", "quadratic"])
@pytest.mark.parametrize("mode", MODES)
def test_a_sequence_cut_in_two_and_carried_over_equals_the_whole(mode: str, membrane: str, cut: int) -> None:
    """Bit for bit, membrane noise and shots included."""
    current, modulation = drive()
    whole, cut_up = (layer_of(MODES[mode], noise_std=0.3, membrane=membrane) for _ in range(2))
    spikes, state = whole(current, modulation=modulation)
    first, between = cut_up(current[:cut], modulation=modulation[:cut])
    second, after = cut_up(current[cut:], between, modulation[cut:])
    assert torch.equal(torch.cat((first, second)), spikes)
    assert equal(after, state)
    assert 0 < spikes.mean() < 1


@pytest.mark.parametrize("mode", MODES)
def test_single_steps_equal_the_sequence(mode: str) -> None:
    current, modulation = drive()
    whole, stepped = (layer_of(MODES[mode], noise_std=0.3) for _ in range(2))
    spikes, state = whole(current, modulation=modulation)
    now: QLIFState | None = None
    for time in range(STEPS):
        spike, now = stepped.step(current[time], now, modulation[time])
        assert torch.equal(spike, spikes[time])
    assert now is not None
    assert equal(now, state)


@pytest.mark.parametrize("mode", EXACT)
def test_a_batch_element_is_the_same_alone_and_in_company(mode: str) -> None:
    """To rounding, which in torch depends on where an element lies in its vector registers; 0 and 1 do not round."""
    layer = layer_of(EXACT[mode]).double()
    current, modulation = (value.double() for value in drive(batch=7))
    spikes, state = layer(current, modulation=modulation)
    for element in range(7):
        alone = slice(element, element + 1)
        spike, after = layer(current[:, alone], modulation=modulation[:, alone])
        if mode != "expectation":
            assert torch.equal(spike, spikes[:, alone])
        torch.testing.assert_close(spike, spikes[:, alone], rtol=1e-12, atol=1e-12)
        for value, expected in zip(after, state, strict=True):
            torch.testing.assert_close(value, expected[alone], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_root_replays_bit_for_bit(mode: str) -> None:
    settings = MODES[mode]
    current, _ = drive()
    first, again, other = (layer_of(settings, noise_std=0.3, seed=seed) for seed in (7, 7, 8))
    spikes, state = first(current)
    spikes_again, state_again = again(current)
    assert torch.equal(spikes, spikes_again)
    assert equal(state, state_again)
    assert not torch.equal(spikes, other(current)[0])
    assert not torch.equal(spikes, first(current)[0])


@pytest.mark.parametrize("mode", ["sample", "nine shots", "threshold of shots", "stochastic"])
def test_a_replay_does_not_depend_on_the_number_of_threads(mode: str) -> None:
    """Large enough that torch splits the work: it does from 2¹⁵ elements on."""
    current = 2 + torch.randn(3, 60, 1024, generator=torch.Generator().manual_seed(2))
    runs = []
    threads = torch.get_num_threads()
    for number in (1, 2):
        torch.set_num_threads(number)
        try:
            runs.append(QLIF(1024, **{"seed": 1, **EVERYTHING, **DRAWN[mode], "noise_std": 0.3})(current))  # type: ignore[arg-type]
        finally:
            torch.set_num_threads(threads)
    assert torch.equal(runs[0][0], runs[1][0])
    assert equal(runs[0][1], runs[1][1])


LEARNED: dict[str, object] = {
    "learnable_threshold": True,
    "learnable_tau": True,
    "learnable_eta": True,
    "learnable_qscale": True,
}


@pytest.mark.parametrize("learned", [{}, LEARNED])
def test_a_checkpoint_loads_into_a_layer_that_runs_another_batch_size(learned: dict[str, object]) -> None:
    trained = layer_of(DRAWN["sample"], **learned, V_th=(0.8, 0.9, 1.0, 1.1, 1.2))
    _, state = trained(drive(batch=3)[0])
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    fresh = layer_of(DRAWN["sample"], **learned)
    fresh.load_state_dict(torch.load(file))
    trained.seeds.position = 0
    current = drive(batch=6)[0]
    assert torch.equal(fresh(current)[0], trained(current)[0])
    names = {name for key in trained.state_dict() for name in key.split(".")}
    assert not names & set(state._fields)
    assert all(value.shape == (NEURONS,) for value in trained.state_dict().values())


def test_a_trained_constant_does_not_load_into_a_fixed_one() -> None:
    """The two are stored differently, so that a silent mix-up would change the value."""
    with pytest.raises(RuntimeError, match="unbounded"):
        layer_of({}).load_state_dict(layer_of({}, learnable_tau=True).state_dict())


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_whole_layer_copies_with_its_place_in_the_noise(how: str) -> None:
    layer = layer_of(DRAWN["nine shots"], noise_std=0.2, neuromod_transform=torch.tanh, **LEARNED)
    current, modulation = drive()
    _, state = layer(current, modulation=modulation)
    if how == "deepcopy":
        twin = copy.deepcopy(layer)
    else:
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    assert twin.settings == layer.settings
    assert torch.equal(twin(current, state, modulation)[0], layer(current, state, modulation)[0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0)])
def test_an_empty_sequence_or_batch_gives_an_empty_answer(steps: int, batch: int, mode: str) -> None:
    layer = layer_of(MODES[mode], noise_std=0.1)
    current, modulation = drive(batch, steps)
    spikes, state = layer(current, modulation=modulation)
    assert spikes.shape == (steps, batch, NEURONS)
    assert equal(state, layer.initial_state(batch))
    recording = simulate(layer, current, ("voltage", "trace"))
    assert recording["voltage"].shape == recording["trace"].shape == (steps, batch, NEURONS)
    assert "spikes per step none" in str(recording)


@pytest.mark.parametrize("mode", MODES)
def test_the_dtype_follows_the_layer(mode: str) -> None:
    layer = layer_of(MODES[mode], noise_std=0.1).double()
    current, modulation = drive()
    spikes, state = layer(current.double(), modulation=modulation.double())
    assert spikes.dtype == torch.float64
    assert all(value.dtype == torch.float64 for value in state)


def test_autocast_gives_the_layer_its_own_dtype() -> None:
    linear, layer = torch.nn.Linear(6, NEURONS), layer_of(DRAWN["sample"])
    inputs = torch.rand(STEPS, BATCH, 6, generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        current = linear(inputs)
        spikes, state = layer(4 * current)
    assert current.dtype == torch.bfloat16
    assert spikes.dtype == state.voltage.dtype == torch.float32
    spikes.sum().backward()
    assert linear.weight.grad is not None
    assert linear.weight.grad.isfinite().all()


RESETS: dict[str, dict[str, object]] = {
    "hard": {"V_reset": -0.3},
    "soft": {"reset": "soft"},
    "partial": {"reset": "partial", "reset_fraction": 0.4, "V_reset": -0.3},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", [{}, {"shots": 9}, {"decision": "threshold"}, CLASSIC, {**CLASSIC, "stochastic": True}])
@pytest.mark.parametrize("membrane", ["leaky", "quadratic"])
@pytest.mark.parametrize("reset", RESETS)
def test_only_the_neurons_that_spiked_are_reset(reset: str, membrane: str, mode: dict[str, object], dtype: torch.dtype) -> None:
    """The others keep their potential bit for bit, also where the spikes carry a gradient."""
    layer = QLIF(50, seed=1, tau=5.0, membrane=membrane, **RESETS[reset], **mode).to(dtype)  # type: ignore[arg-type]
    current = 1 + 2 * torch.randn(40, 3, 50, generator=torch.Generator().manual_seed(4)).to(dtype)
    recording = simulate(layer, current.requires_grad_(), ("potential", "voltage"))
    before, after, spiked = recording["potential"].detach(), recording["voltage"].detach(), recording.spikes.detach() == 1
    assert spiked.any()
    assert not spiked.all()
    assert torch.equal(before[~spiked], after[~spiked])
    expected = {
        "hard": torch.full_like(before, -0.3),
        "soft": before - 1.0,
        "partial": before + 0.4 * (-0.3 - before),
    }[reset]
    torch.testing.assert_close(after[spiked], expected[spiked])


@pytest.mark.parametrize("mode", MODES)
def test_without_modulation_its_mode_changes_nothing(mode: str) -> None:
    settings = MODES[mode]
    current, _ = drive()
    modes = ["gain", "threshold", "off"] + ([] if mode == "deterministic" else ["prob_slope"])
    runs = []
    for neuromod_mode in modes:
        strength: dict[str, object] = {"neuromod_strength": 1.0 if neuromod_mode == "off" else 0.7}
        layer = layer_of(settings, noise_std=0.2, neuromod_mode=neuromod_mode, **strength)
        runs.append(layer(current))
    for spikes, state in runs[1:]:
        assert torch.equal(spikes, runs[0][0])
        assert equal(state, runs[0][1])


@pytest.mark.parametrize(
    ("neuromod_mode", "mode"),
    [
        (neuromod_mode, mode)
        for neuromod_mode, mode in itertools.product(["gain", "threshold", "prob_slope"], MODES)
        # The deterministic decision has no slope, which is refused.
        if (neuromod_mode, mode) != ("prob_slope", "deterministic")
    ],
)
def test_modulation_acts_in_every_mode_and_one_of_0_does_not(neuromod_mode: str, mode: str) -> None:
    settings = MODES[mode]
    current, modulation = drive()
    without, nothing, modulated = (layer_of(settings, neuromod_mode=neuromod_mode) for _ in range(3))
    spikes, _ = without(current)
    assert torch.equal(nothing(current, modulation=0 * modulation)[0], spikes)
    if mode == "threshold" and neuromod_mode == "prob_slope":
        # The slope does not move the gap at which p is ½, unless it turns over.
        modulation = modulation - 3
    assert not torch.equal(modulated(current, modulation=modulation)[0], spikes)


@pytest.mark.parametrize("neuromod_mode", ["gain", "threshold", "prob_slope"])
@pytest.mark.parametrize("batch", [1, BATCH])
@pytest.mark.parametrize("neurons", [1, NEURONS])
def test_modulation_broadcasts_over_batch_and_neurons(neuromod_mode: str, batch: int, neurons: int) -> None:
    current, _ = drive()
    modulation = torch.randn(STEPS, batch, neurons, generator=torch.Generator().manual_seed(5))
    spikes, state = layer_of(DRAWN["sample"], neuromod_mode=neuromod_mode)(current, modulation=modulation)
    full = modulation.expand(STEPS, BATCH, NEURONS).contiguous()
    expected, after = layer_of(DRAWN["sample"], neuromod_mode=neuromod_mode)(current, modulation=full)
    assert torch.equal(spikes, expected)
    assert equal(state, after)
