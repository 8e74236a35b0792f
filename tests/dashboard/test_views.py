"""Controls, addresses and presets, without a browser."""

from dataclasses import replace

import pytest
import torch

from qlifq.dashboard.backends.view import BackendsView
from qlifq.dashboard.calibration.view import CalibrationView
from qlifq.dashboard.circuit.view import CircuitView
from qlifq.dashboard.controls import Value, parameter_controls, relevant
from qlifq.dashboard.labels import LABELS, label_of
from qlifq.dashboard.neuron.run import run_neuron
from qlifq.dashboard.neuron.view import AS_SET, PRESETS, NeuronView, preset_of
from qlifq.dashboard.trains.view import TrainsView
from qlifq.dashboard.view import View, from_address, to_address
from qlifq.errors import ArgumentError
from qlifq.neurons import Settings
from qlifq.neurons.parameters import spec_of
from tests.dashboard.harness import STATES

VIEWS: list[type[View]] = [NeuronView, CircuitView, TrainsView, BackendsView, CalibrationView]


def test_every_parameter_of_the_neuron_is_a_control() -> None:
    assert {item.name for item in parameter_controls()} == set(Settings.__dataclass_fields__) - {"learnable", "V_min"}
    assert {item.name for item in parameter_controls()} < {item.name for item in NeuronView.controls()}


@pytest.mark.parametrize("view", VIEWS)
def test_a_slider_holds_its_default_and_every_value_that_an_address_can_give(view: type[View]) -> None:
    values = view.defaults()
    for item in view.controls():
        if item.kind not in {"real", "integer"}:
            continue
        default = float(item.default_among(values))
        low, high, step = item.slider(default, default)
        assert low <= default <= high
        assert step > 0
        for value in (low, high):
            item.checked(int(value) if item.kind == "integer" else value)
        if "at_most" not in item.bounds and "below" not in item.bounds:
            assert item.slider(1e6, default)[1] == 1e6


@pytest.mark.parametrize("view", VIEWS)
def test_defaults_need_no_address_and_give_a_view(view: type[View]) -> None:
    assert to_address(view, {}) == {}
    assert from_address(view, {}) == ({}, [])
    assert view.of({}) == view.of(view.defaults())


@pytest.mark.parametrize("values", STATES)
def test_an_address_gives_back_what_was_shown(values: dict[str, Value]) -> None:
    address = to_address(NeuronView, values)
    back, wrong = from_address(NeuronView, address)
    assert wrong == []
    assert NeuronView.of(back) == NeuronView.of(values)
    assert sum(map(len, address.values())) < 120


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"v": "2", "tau": "5"}, "must have v=1"),
        ({"tau": "5"}, "must have v=1"),
        ({"v": "1", "tau": "nan"}, "`tau` must be finite, but is nan"),
        ({"v": "1", "tau": "1e999"}, "`tau` must be finite, but is inf"),
        ({"v": "1", "tau": "__import__('os')"}, "`tau` must be a number, but is"),
        ({"v": "1", "tau": "9" * 100}, "at most 40 characters, but has 100"),
        ({"v": "1", "tau": "-1"}, "`tau` must be above 0 and at most 1e+06, but is -1"),
        ({"v": "1", "neurons": "100000"}, "`neurons` must be at least 1 and at most 64, but is 100000"),
        ({"v": "1", "steps": "2.5"}, "`steps` must be an integer, but is '2.5'"),
        ({"v": "1", "use_ahp": "yes"}, "`use_ahp` must be True or False, but is 'yes'"),
        ({"v": "1", "mapping": "<script>"}, "`mapping` must be one of sigmoid, linear, tanh, but is '<script>'"),
        ({"v": "1", "noise_std": "1e39"}, "`noise_std` must be at least 0 and at most 1e+06, but is 1e+39"),
        ({"v": "1", "V_reset": "-1e300"}, "`V_reset` must be at least -1e+06 and at most 1e+06, but is -1e+300"),
        ({"v": "1", "refractory_period": "9" * 20}, "must be at least 0 and at most 1000000, but is 99999999999999999999"),
        ({"v": "1", "quantum_wire": "1000"}, "`quantum_wire` must be at least 1 and at most 20, but is 1000"),
        ({"v": "1", "neuromod_mode": "off"}, "must be one of gain, threshold, prob_slope, but is 'off'"),
        ({"v": "1", "decision": "threshold", "seed": "1"}, "`seed` would be ignored: it needs decision='sample', finite shots"),
        ({"v": "1", "<b>": "1"}, "names of controls, but holds '<b>'"),
        ({"v": "1", "eta": "0.2"}, "`eta` would be ignored: it needs use_adaptive_threshold=True"),
        ({"v": "1", "V_th": "-1"}, "`V_th` must be above V_reset = 0, but is -1"),
    ],
)
def test_a_bad_address_gives_a_sentence_and_the_defaults(address: dict[str, str], sentence: str) -> None:
    values, wrong = from_address(NeuronView, address)
    assert values == ({"decision": "threshold"} if "decision" in address else {})
    assert len(wrong) == 1
    assert sentence in wrong[0]


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("True", True), ("0", False), ("FALSE", False)])
def test_a_switch_of_an_address_that_is_written_by_hand(text: str, value: bool) -> None:
    assert from_address(NeuronView, {"v": "1", "use_ahp": text}) == ({"use_ahp": value}, [])


def test_a_parameter_goes_by_words_its_keyword_and_its_unit() -> None:
    labels = {item.name: item.label for item in parameter_controls()}
    assert LABELS.keys() == labels.keys()
    assert len(set(labels.values())) == len(labels)
    assert labels["tau"] == "Membrane time constant τ (tau, unit of dt)"
    assert labels["use_ahp"] == "After-hyperpolarisation H (use_ahp)"


def test_a_parameter_without_a_row_of_words_goes_by_what_it_does() -> None:
    assert label_of("new", spec_of(Settings.__dataclass_fields__["eta"])) == "Rise of the threshold at a spike (new)"


@pytest.mark.parametrize("view", VIEWS)
def test_no_control_goes_by_an_identifier(view: type[View]) -> None:
    for item in view.controls():
        assert item.label[0].isupper()
        assert "_" not in item.label.partition(" (")[0].replace("θ_max", "")


def test_an_integer_of_every_page_has_an_end() -> None:
    for view in VIEWS:
        for item in view.controls():
            if item.kind in {"integer", "real"}:
                with pytest.raises(ArgumentError, match=f"`{item.name}` must be .*at most|below"):
                    item.parsed("9" * 20)


def test_a_value_without_effect_counts_neither_for_what_follows_from_it_nor_for_the_rest() -> None:
    # The slope of tanh is another than that of sigmoid; without a qubit neither matters.
    classic: dict[str, Value] = {**NeuronView.defaults(), "mapping": "tanh", "q_scale": 2.5, "quantum_mode": False}
    assert NeuronView.of(classic).settings == Settings(quantum_mode=False)
    values, wrong = from_address(BackendsView, {"v": "1", "second_backend": "analytic", "readout_p01": "0.3"})
    assert values == {"second_backend": "analytic"}
    assert wrong == ["Argument `readout_p01` would be ignored: it needs noise='numbers'."]


@pytest.mark.parametrize(
    ("view", "values", "drawn"),
    [
        (NeuronView, {}, True),
        (NeuronView, {"decision": "threshold"}, False),
        (NeuronView, {"decision": "threshold", "shots": "10"}, True),
        (NeuronView, {"decision": "threshold", "noise_std": 0.1}, True),
        (NeuronView, {"quantum_mode": False, "gain": 2.0}, False),
        (NeuronView, {"quantum_mode": False, "gain": 2.0, "shots": "10"}, False),
        (NeuronView, {"quantum_mode": False, "stochastic": True}, True),
        (NeuronView, {"decision": "threshold", "source": "poisson"}, True),
        (BackendsView, {"decision": "threshold", "second_shots": "10"}, True),
        (BackendsView, {"decision": "threshold", "second_shots": "exact"}, False),
    ],
)
def test_a_seed_is_shown_where_it_changes_the_numbers(view: type[View], values: dict[str, Value], drawn: bool) -> None:
    small: dict[str, Value] = {"neurons": 3, "steps": 80}
    if view is BackendsView:
        small |= {"repeats": 3, "second_backend": "analytic"}
    views = [view.of({**small, **values, "seed": seed}) for seed in (0, 1)]
    assert (views[0] != views[1]) is drawn
    if isinstance(views[0], NeuronView):
        first, second = (run_neuron(replace(views[0], seed=seed)).recording["potential"] for seed in (0, 1))
        assert (not torch.equal(first, second)) is drawn


def test_the_preset_that_is_named_is_the_one_that_is_shown() -> None:
    for name, (_, values) in PRESETS.items():
        assert preset_of({**NeuronView.defaults(), **values}) == name
    assert preset_of({"tau": 7.0}) == AS_SET


def test_many_bad_values_give_few_sentences() -> None:
    _, wrong = from_address(NeuronView, {"v": "1", **{f"x{n}": "1" for n in range(100)}})
    assert len(wrong) == 6
    assert wrong[-1] == "95 more values of the address are not used."


def test_a_good_value_beside_a_bad_one_is_used() -> None:
    values, wrong = from_address(NeuronView, {"v": "1", "tau": "nan", "gain": "2"})
    assert values == {"gain": 2.0}
    assert len(wrong) == 1


def test_a_control_that_would_have_no_effect_is_hidden() -> None:
    by_name = {item.name: item for item in NeuronView.controls()}
    values = NeuronView.defaults()
    assert not relevant(by_name["tau_ahp"], values)
    assert relevant(by_name["tau_ahp"], {**values, "use_ahp": True})
    assert not relevant(by_name["neuromod_strength"], values)
