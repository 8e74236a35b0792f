"""A backend is described in one place, and a snapshot never passes for a device."""

import pytest
import torch

from qlifq.backends import Backend, Call, Capabilities, DeviceNoise, Outcome, describe_source, get
from qlifq.backends.conformance import check
from qlifq.backends.mitigation import ReadoutMitigated
from qlifq.calibration import compare, fit, load, save
from qlifq.circuits import RYSpike
from qlifq.neurons import QLIF, BrandPetruccione
from qlifq.neurons.description import describe_decisions

NOISY = DeviceNoise(t1=90e-6, gate_time=3e-8, readout_p10=0.07)


@pytest.mark.parametrize(
    ("name", "options", "shots", "words"),
    [
        ("analytic", {}, None, "analytic, exact"),
        ("analytic", {"noise": NOISY}, 7, "analytic, noise t1=9e-05, t2=0.00018, gate_time=3e-08, readout_p10=0.07, 7 shots"),
        (
            "reference",
            {"noise": NOISY},
            None,
            "reference, noise t1=9e-05, t2=0.00018, gate_time=3e-08, readout_p10=0.07, exact",
        ),
        ("lightning", {}, 2048, "lightning, 2,048 shots"),
        ("aer", {}, 1, "aer, 1 shot"),
        ("aer", {"noise": "fake_manila"}, 1, "aer, noise of the snapshot fake_manila, 1 shot"),
        ("ibm", {"device": "fake_manila"}, 1, "ibm, snapshot fake_manila (no device), 1 shot"),
    ],
)
def test_a_backend_says_where_it_runs_and_with_what_noise(
    name: str, options: dict[str, object], shots: int | None, words: str
) -> None:
    backend = get(name, **options)
    assert backend.describe(shots) == words
    outcome = backend.run(RYSpike(), torch.ones(2, 3, 1), shots=shots, seed=5)
    assert describe_source(name, outcome.metadata) == backend.description
    for words_of_it in words.split(", ")[1:]:
        assert words_of_it in str(outcome)
    assert describe_decisions(QLIF(3, backend=backend, shots=shots)) == words
    assert f"backend={backend.description}, shots=" in repr(QLIF(3, backend=backend, shots=shots))
    assert f"backend={backend.description}, shots=" in repr(BrandPetruccione(3, backend=backend, shots=shots or 4))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "mine, noise not reported"),
        ({"qubits": [1]}, "mine, noise not reported"),
        ({"device": "ibm_kobe"}, "mine, device ibm_kobe"),
        ({"device": "fake_kobe", "noise": "none"}, "mine, snapshot fake_kobe (no device)"),
        ({"noise": "noise model, 12ab"}, "mine, noise noise model, 12ab"),
        ({"twin_of": "ibm, device ibm_kobe"}, "mine of ibm, device ibm_kobe"),
    ],
)
def test_what_metadata_tell_and_what_they_do_not(metadata: dict[str, object], words: str) -> None:
    assert describe_source("mine", metadata) == words


def test_a_calibration_and_all_that_follows_from_it_names_what_was_measured(tmp_path: object) -> None:
    measured = fit(get("aer", noise="fake_manila", sampling="law"), neurons=2, shots=300, seed=3)
    source = "aer, noise of the snapshot fake_manila"
    assert measured.source == source
    assert str(measured).startswith(f"calibration of {source} · 2 sites")
    assert str(measured.correct(span=(-0.2, 0.2))).endswith(f" · on {source}")
    again = fit(
        get("aer", noise="fake_quito", sampling="law", qubits=measured.measurement.details["qubits"]),
        neurons=2,
        shots=300,
        seed=3,
    )
    assert str(compare(measured, measured)).endswith(f" · on {source}")
    assert str(compare(measured, again)).endswith(f" · on {source} against aer, noise of the snapshot fake_quito")
    save(measured, f"{tmp_path}/record.json")
    assert load(f"{tmp_path}/record.json").source == source
    assert get("twin", record=f"{tmp_path}/record.json").describe(None) == f"twin of {source}, exact"
    device = get("analytic", noise=DeviceNoise(readout_p01=0.25))
    assert ReadoutMitigated(device, 0.25, 0.0).description == "mitigated-analytic, noise readout_p01=0.25"


class Forgetful(Backend):
    """Tells a noise of itself that its outcomes do not report."""

    name = "forgetful"
    capabilities = Capabilities(exact=True, shots=False, noisy=False, differentiable=False)

    def __init__(self, reported: str) -> None:
        self.facts = {"noise": "none"}
        self.reported = reported

    def _execute(self, call: Call) -> Outcome:
        found = get("analytic").run(call.circuit, call.angles, shots=None, seed=None, where=call.where)
        return Outcome(found.probability, metadata={"noise": self.reported})


def test_the_conformance_suite_holds_the_facts_against_the_outcomes() -> None:
    oracle = get("reference")
    assert check(Forgetful("none"), oracle=oracle).passed
    (failure,) = check(Forgetful("t1=1"), oracle=oracle).failures
    assert failure.detail == "its `facts` report noise 'none', but the metadata of an outcome 't1=1'"
