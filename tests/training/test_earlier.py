"""Runs that version 2 wrote, whose networks were built of other modules, are read, continued and evaluated.

Each folder of `tests/data/training_version_2` holds a finished run on 64 digits (`network.pt`, `networks.csv`) and the
checkpoint of the same training after two of its four steps (`unfinished.pt`), all as version 2 wrote them on one thread. The
results are compared to the rounding of float32, which another compiler does otherwise; with the compiler and the flags of those
files they are the same bit for bit.
"""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from qlifq.training import evaluate, evaluate_run, load_run, train
from qlifq.training.checkpoint import VERSION, load_checkpoint

EARLIER = Path(__file__).parent.parent / "data" / "training_version_2"
#: With τ and V_th of every neuron trained, in maps; and with populations as readout.
RUNS = ("conv", "paper")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", RUNS)
def test_a_finished_run_is_tested_with_the_loss_that_it_had(name: str) -> None:
    assert load_checkpoint(EARLIER / name / "network.pt")["format_version"] == 2
    run = load_run(EARLIER / name)
    tested = evaluate(run.network(), run.design, run.data().test, seed=1)
    with (EARLIER / name / "networks.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert tested.loss == pytest.approx(float(row["loss"]), rel=1e-6)
    assert tested.accuracy == float(row["accuracy"])


@pytest.mark.parametrize("name", RUNS)
def test_an_unfinished_training_goes_on_to_the_weights_that_it_would_have_had(name: str, tmp_path: Path) -> None:
    run = load_run(EARLIER / name)
    place = tmp_path / "network.pt"
    shutil.copyfile(EARLIER / name / "unfinished.pt", place)
    steps: list[int] = []
    trained = train(run.design, run.data(), run.settings, checkpoint=place, progress=lambda done, _: steps.append(done))
    assert steps == [3, 4]
    state = trained.network.state_dict()
    assert state.keys() == run.weights.keys()
    # Without the moments of Adam the two steps would differ by about their learning rates, 0.005 and 0.0015.
    for each, value in run.weights.items():
        assert torch.allclose(state[each], value, rtol=0, atol=1e-5), each
    content = load_checkpoint(place)
    assert content["format_version"] == VERSION
    parameters = list(trained.network.parameters())
    for number, moments in content["optimiser"]["state"].items():
        assert moments["exp_avg"].shape == parameters[number].shape


def test_a_finished_run_is_evaluated_on_another_backend() -> None:
    result = evaluate_run(EARLIER / "conv", "reference", samples=20)
    here, there = result.answers
    assert torch.equal(here.tested.predicted, there.tested.predicted)
