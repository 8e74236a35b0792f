"""The training loop learns, stops where it should, and goes on from anywhere as if nothing had happened."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qlifq.errors import ArgumentError, FileError, FileFormatError, QLIFError, UnsupportedError
from qlifq.training import Dataset, Design, Epoch, LabelledImages, TrainingSettings, evaluate, resolve_recipe, train
from qlifq.training.checkpoint import load_checkpoint, save_checkpoint
from qlifq.training.events import event_log
from qlifq.training.loop import split_validation

State = dict[str, Tensor]


class KilledError(Exception):
    """Stands for the moment at which a process is killed."""


def weights(network: torch.nn.Module) -> State:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def after(steps: int) -> Callable[[int, int], None]:
    """A progress function that ends the training after this many steps of the optimiser."""

    def progress(done: int, total: int) -> None:
        if done == steps:
            raise KilledError

    return progress


def test_it_learns_and_says_how_it_went(data: Dataset, design: Design, settings: TrainingSettings) -> None:
    reported: list[Epoch] = []
    seen: list[tuple[int, int]] = []
    trained = train(
        design,
        data,
        replace(settings, epochs=12, validation=0.1, learning_rate=3e-2),
        after_epoch=reported.append,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert list(trained.history) == reported
    assert [epoch.number for epoch in reported] == list(range(1, 13))
    assert reported[-1].loss < 0.4 * reported[0].loss
    assert reported[-1].validation_accuracy is not None
    assert reported[-1].validation_accuracy > 0.7
    assert seen == [(step, 60) for step in range(1, 61)]
    tested = evaluate(trained.network, design, data.test)
    assert tested.accuracy > 0.75
    assert tested.confusion(10).sum() == 100
    assert tested.confusion(10).diagonal().sum() == tested.correct.sum()
    assert 0 < tested.rates[0] < 1


def test_the_same_seed_gives_the_same_weights(data: Dataset, design: Design, settings: TrainingSettings) -> None:
    first, again, other = (train(design, data, replace(settings, seed=seed)) for seed in (1, 1, 2))
    assert same(weights(first.network), weights(again.network))
    assert [epoch.loss for epoch in first.history] == [epoch.loss for epoch in again.history]
    assert not same(weights(first.network), weights(other.network))


@pytest.mark.parametrize("encoding", ["current", "poisson"])
@pytest.mark.parametrize("steps", [1, 4, 5, 8, 11])
def test_a_training_that_ends_anywhere_goes_on_to_the_same_weights(
    tmp_path: Path, data: Dataset, design: Design, settings: TrainingSettings, steps: int, encoding: str
) -> None:
    design = replace(design, encoding=encoding, rate=0.5)
    settings = replace(settings, validation=0.2, patience=3)
    undisturbed = train(design, data, settings)
    place = tmp_path / "network.pt"
    with pytest.raises(KilledError):
        train(design, data, settings, checkpoint=place, checkpoint_seconds=0, progress=after(steps))
    # One that is interrupted again after one step, and then left to itself.
    with pytest.raises(KilledError):
        train(design, data, settings, checkpoint=place, checkpoint_seconds=0, progress=after(min(steps + 1, 12)))
    continued = train(design, data, settings, checkpoint=place)
    assert same(weights(undisturbed.network), weights(continued.network))
    for one, other in zip(undisturbed.history, continued.history, strict=True):
        assert replace(one, seconds=0.0) == replace(other, seconds=0.0)
    assert load_checkpoint(place)["finished"] is True
    # A finished one is taken as it is.
    again = train(design, data, settings, checkpoint=place, progress=after(1))
    assert same(weights(undisturbed.network), weights(again.network))


KILLED = """
import sys
from pathlib import Path
import torch
from qlifq.training import Design, TrainingSettings, load_dataset, train
torch.set_num_threads(1)
place = Path(sys.argv[1])
design = Design(network="mlp", picture=(8, 8), classes=10, hidden=(24,), steps=5, encoding="poisson", rate=0.5, gain=4.0)
settings = TrainingSettings(epochs=3, batch=16, learning_rate=1e-2, schedule="one-cycle", seed=3)
print("started", flush=True)
trained = train(design, load_dataset("digits").first(480), settings, checkpoint=place, checkpoint_seconds=0)
torch.save(trained.network.state_dict(), place.with_suffix(".weights"))
"""


def killed_run(place: Path) -> subprocess.Popen[str]:
    started = subprocess.Popen([sys.executable, "-c", KILLED, str(place)], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "started\n"
    return started


def test_a_process_that_is_killed_again_and_again_ends_with_the_weights_of_one_that_is_not(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed.pt", tmp_path / "disturbed.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["killed", str(undisturbed)])
        exec(KILLED, {})
    kills = 0
    for wait in (0.05, 0.2):
        with killed_run(disturbed) as process:
            # From the first checkpoint on, at a moment that nothing in the process knows of.
            while not disturbed.exists() and process.poll() is None:
                time.sleep(0.01)
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
            kills += process.wait(timeout=60) == -signal.SIGKILL
    assert kills >= 1
    with killed_run(disturbed) as process:
        assert process.wait(timeout=120) == 0
    expected, found = (torch.load(place.with_suffix(".weights"), weights_only=True) for place in (undisturbed, disturbed))
    assert same(expected, found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 32}, "batch was 64 and is 32"),
        ({"seed": 8}, "seed was 7 and is 8"),
        ({"epochs": 4}, "epochs was 3 and is 4"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(
    tmp_path: Path, data: Dataset, design: Design, settings: TrainingSettings, changes: dict[str, Any], words: str
) -> None:
    place = tmp_path / "network.pt"
    with pytest.raises(KilledError):
        train(design, data, settings, checkpoint=place, checkpoint_seconds=0, progress=after(2))
    with pytest.raises(FileError, match=re.escape(f"it is of another training, whose {words}")):
        train(design, data, replace(settings, **changes), checkpoint=place)
    with pytest.raises(FileError, match="another training, whose design was"):
        train(replace(design, steps=6), data, settings, checkpoint=place)
    changed = data._replace(test=LabelledImages(data.test.read(slice(None)), data.test.labels.flip(0)))
    with pytest.raises(FileError, match="another training, whose fingerprint was"):
        train(design, changed, settings, checkpoint=place)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "a.pt"
    with pytest.raises(FileFormatError, match="cannot be read: there is none"):
        load_checkpoint(place)
    save_checkpoint(place, {}, {"batch": 1})
    assert load_checkpoint(place)["batch"] == 1
    whole = place.read_bytes()
    for content in (b"", b"no", whole[: len(whole) // 2]):
        place.write_bytes(content)
        with pytest.raises(FileFormatError, match="must be a checkpoint of qlifq, but cannot be read as one"):
            load_checkpoint(place)
    torch.save({"format": "another"}, place)
    with pytest.raises(FileFormatError, match="must be a checkpoint of qlifq, but is none"):
        load_checkpoint(place)
    torch.save({"format": "qlifq checkpoint", "format_version": 9}, place)
    with pytest.raises(FileFormatError, match="must be a checkpoint of version 1 to 3, but is of version 9"):
        load_checkpoint(place)


def test_one_flipped_bit_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "a.pt"
    save_checkpoint(place, {"seed": 3}, {"network": {"weight": torch.linspace(-1, 1, 700)}, "batch": 5})
    whole = place.read_bytes()
    # Evenly through the archive, and every byte of the checksum and of what goes before it.
    for number in (*range(0, len(whole), 37), *range(len(whole) - 100, len(whole))):
        damaged = bytearray(whole)
        damaged[number] ^= 1 << number % 8
        place.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=re.escape(f"File {place} must be")):
            load_checkpoint(place)
    # Cut off in the checksum the archive is whole, but nothing says so.
    for length in range(len(whole) - 78, len(whole)):
        place.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="checksum does not hold: delete it, and this network is trained anew, or"):
            load_checkpoint(place)
    # A file of the version before has none.
    place.write_bytes(whole)
    torch.save(load_checkpoint(place) | {"format_version": 1}, place)
    assert load_checkpoint(place)["batch"] == 5


def test_a_disk_that_fills_up_while_a_checkpoint_is_written_keeps_the_old_one(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    place = tmp_path / "a.pt"
    content = {"network": {"weight": torch.linspace(-1, 1, 20_000)}, "batch": 5}
    save_checkpoint(place, {"seed": 3}, content)
    size = len(place.read_bytes())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # Wherever the room ends: at the first byte, within the archive, within the checksum, at the last byte.
        for room in (*range(0, size, size // 23), size - 60, size - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
            with pytest.raises(FileError, match=rf"{place.name} cannot be written: file too large\."):
                save_checkpoint(place, {"seed": 3}, content | {"batch": 6})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert load_checkpoint(place)["batch"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_disk_that_takes_no_events_does_not_end_a_training(
    tmp_path: Path, design: Design, capfd: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    pytest.importorskip("tensorboard")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    capfd.readouterr()
    try:
        with event_log(tmp_path) as log:
            assert log is not None
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
            for number in range(1, 30):
                log(design, Epoch(number, 0.5, 0.5, None, None, 1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert capfd.readouterr() == ("", "")


def test_it_stops_early_with_the_best_weights(data: Dataset, design: Design, settings: TrainingSettings) -> None:
    # A rate this high unlearns again.
    settings = replace(settings, epochs=40, validation=0.3, patience=2, learning_rate=0.3, schedule="constant")
    trained = train(design, data, settings)
    assert len(trained.history) < 40
    losses = [epoch.validation_loss for epoch in trained.history]
    assert None not in losses
    best = losses.index(min(losses))  # type: ignore[type-var]
    assert best == len(losses) - 3
    # Trained for as long as the best took, the weights are those that were kept.
    short = train(design, data, replace(settings, epochs=best + 1, patience=None))
    assert same(weights(short.network), weights(trained.network))


def test_validation_images_are_spread_evenly() -> None:
    images = LabelledImages(torch.arange(10.0)[:, None], torch.arange(10))
    learn, rest = split_validation(images, 0.3)
    assert rest.labels.tolist() == [3, 6, 9]
    assert learn.labels.tolist() == [0, 1, 2, 4, 5, 7, 8]
    learn, rest = split_validation(images, 0.0)
    assert (len(learn), len(rest)) == (10, 0)
    assert len(split_validation(images, 0.1)[1]) == 1


@pytest.mark.parametrize("patience", [None, 2])
def test_a_fraction_that_holds_back_no_image_is_refused(
    data: Dataset, design: Design, settings: TrainingSettings, patience: int | None
) -> None:
    message = "Argument `validation` must leave at least 1 of 300 samples for validation, but is 0.003, which leaves none"
    with pytest.raises(ArgumentError, match=re.escape(message)):
        train(design, data, replace(settings, validation=0.003, patience=patience))


def test_schedules() -> None:
    given: dict[str, Any] = {"epochs": 1, "batch": 1, "learning_rate": 2.0}
    constant, cosine, cycle = (TrainingSettings(schedule=name, **given) for name in ("constant", "cosine", "one-cycle"))
    assert {constant.rate_at(step, 10) for step in range(10)} == {2.0}
    assert [cosine.rate_at(step, 10) for step in (0, 5, 10)] == pytest.approx([2.0, 1.0, 0.0])
    assert [cycle.rate_at(step, 10) for step in (0, 3, 10)] == pytest.approx([0.08, 2.0, 0.0])
    rates = [cycle.rate_at(step, 100) for step in range(101)]
    assert rates == sorted(rates[:31]) + sorted(rates[31:], reverse=True)


def test_mixed_precision_trains_and_what_a_cpu_has_not_is_refused(
    data: Dataset, design: Design, settings: TrainingSettings
) -> None:
    half = train(design, data, replace(settings, precision="bfloat16", epochs=12, learning_rate=3e-2))
    whole = train(design, data, replace(settings, epochs=12, learning_rate=3e-2))
    # The weights stay in float32, and differ from those that were trained in it.
    assert {value.dtype for value in half.network.state_dict().values()} == {torch.float32}
    assert not same(weights(half.network), weights(whole.network))
    assert half.history[-1].loss < 0.4 * half.history[0].loss
    with pytest.raises(UnsupportedError, match="must be float32 or bfloat16 on cpu, but is 'float16'"):
        train(design, data, replace(settings, precision="float16"))


@pytest.mark.parametrize(("network", "hidden"), [("paper", (24,)), ("paper-conv", (2, 2))])
def test_mixed_precision_trains_the_paper_s_networks(data: Dataset, network: str, hidden: tuple[int, ...]) -> None:
    data = data.first(64)
    if network == "paper-conv":
        learn, test = (LabelledImages(part.read(slice(None)).repeat(1, 4), part.labels) for part in (data.train, data.test))
        data = data._replace(train=learn, test=test, picture=(16, 16))
    trained = {"epochs": 8, "batch": 16, "learning_rate": 1e-2, "schedule": "constant", "precision": "bfloat16"}
    design, settings = resolve_recipe(network, data, {"hidden": hidden, "steps": 4}, trained)
    history = train(design, data, settings).history
    assert history[-1].loss < 0.98 * history[0].loss


def test_a_loss_that_is_no_number_ends_the_training(data: Dataset, design: Design, settings: TrainingSettings) -> None:
    # Once where a layer refuses what the weights have become, and once where the loss alone shows it.
    for rate, decay in ((1e25, 1e10), (1e30, 0.9e8)):
        with pytest.raises(
            ArgumentError, match=r"`learning_rate` must be lower: in epoch \d the loss is no longer .* it is 1e\+"
        ):
            train(design, data, replace(settings, learning_rate=rate, weight_decay=decay))


def test_weights_that_the_last_step_spoiled_are_not_kept(
    tmp_path: Path, data: Dataset, design: Design, settings: TrainingSettings
) -> None:
    # One step: its loss is taken before, and is finite.
    settings = replace(settings, epochs=1, batch=300, schedule="constant", learning_rate=1e38, weight_decay=1e3)
    place = tmp_path / "network.pt"
    with pytest.raises(ArgumentError, match="`learning_rate` must be lower: in epoch 1"):
        train(design, data, settings, checkpoint=place)
    assert not place.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "Argument `epochs` must be at least 1, but is 0"),
        ({"batch": 0}, "Argument `batch` must be at least 1, but is 0"),
        ({"learning_rate": 0.0}, "Argument `learning_rate` must be above 0, but is 0.0"),
        ({"schedule": "step"}, "Argument `schedule` must be one of constant, cosine, one-cycle, but is 'step'"),
        ({"weight_decay": -1.0}, "Argument `weight_decay` must be at least 0, but is -1.0"),
        ({"validation": 0.6}, "Argument `validation` must be at least 0 and at most 0.5, but is 0.6"),
        ({"patience": 2}, "Argument `patience` would be ignored: it needs validation above 0, but is 2"),
        ({"precision": "float8"}, "Argument `precision` must be one of float32, bfloat16, float16, but is 'float8'"),
        ({"seed": -1}, "Argument `seed` must be at least 0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: TrainingSettings, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(QLIFError, match=re.escape(message)):
        replace(settings, **changes)
