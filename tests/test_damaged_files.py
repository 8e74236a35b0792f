"""Files that were damaged at random, or written by somebody who wants harm: each is read, or refused in one sentence.

Every format gets some thousand damages of its own: flipped bits, cuts, insertions, swaps, and where it is text other
values in place of those that stand there.
"""

import gzip
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qlifq._arrays import parse_npy, parse_npz
from qlifq._files import parse_json, read_bytes, read_json
from qlifq.backends import DeviceNoise, get
from qlifq.calibration import fit, load, save
from qlifq.calibration.record import parse
from qlifq.dashboard.comparisons.view import open_run
from qlifq.errors import FileFormatError, QLIFError
from qlifq.training.data.arrays import parse_current
from qlifq.training.data.datasets import load_dataset
from qlifq.training.data.idx import read_idx
from tests.training.data_files import nmnist, write_spikes

_TELLING = "0123456789(){}[]<>',:.-+eLNaTF \n\\\""


def damaged(rng: random.Random, data: bytes) -> bytes:
    """The bytes with one to four damages."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(found) or 1)
        kind = rng.randrange(6)
        if not found or kind == 0:
            found[place:place] = rng.choice(_TELLING).encode()
        elif kind == 1:
            found[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            found[place] = rng.choice(_TELLING).encode()[0]
        elif kind == 3:
            del found[place : place + rng.choice((1, 2, 5, len(found)))]
        elif kind == 4:
            other = rng.randrange(len(found))
            found[place], found[other] = found[other], found[place]
        else:
            found[place:place] = rng.randbytes(rng.randint(1, 4))
    return bytes(found)


def survey(read: Callable[[bytes], object], good: bytes, *, seed: int, times: int = 2_000, head: int | None = None) -> int:
    """How many damages (of the first `head` bytes) were refused; any exception that is not the library's own ends the test."""
    rng, refused = random.Random(seed), []
    read(good)
    for _ in range(times):
        try:
            read(damaged(rng, good[:head]) + (b"" if head is None else good[head:]))
        except QLIFError as error:
            refused.append(str(error))
    assert not any("\n" in sentence for sentence in refused)
    return len(refused)


def saved(array: object, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), **options)
    return stream.getvalue()


def zipped(compression: int = zipfile.ZIP_DEFLATED, **arrays: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("record") / "record.json"
    noisy = get("analytic", noise=DeviceNoise(readout_p01=0.03, readout_p10=0.06))
    save(fit(noisy, neurons=2, mapping="tanh", theta_max=1.2, shots=60, seed=4), path)
    return path.read_bytes()


def through(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of files as a reader of bytes."""

    def reader(content: bytes) -> object:
        path.write_bytes(content)
        return read(path)

    return reader


def test_arrays() -> None:
    good = saved(np.linspace(0, 1, 24, dtype=np.float32).reshape(6, 2, 2))
    assert survey(lambda content: parse_current(content, "a.npy"), good, seed=71, times=6_000, head=128) > 5_000
    assert survey(lambda content: parse_npy(content, "a.npy"), saved(np.zeros((2, 3))), seed=72) > 1_000


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_of_arrays(compression: int) -> None:
    good = zipped(compression, spikes=saved(np.eye(4, dtype=bool)[:, None]))
    assert survey(lambda content: parse_npz(content, "a.npz", "spikes", most_bytes=10_000), good, seed=73, times=1_000) > 800


def test_idx_files_packed_and_not(tmp_path: Path) -> None:
    good = struct.pack(">BBBBIII", 0, 0, 8, 3, 3, 2, 2) + bytes(range(12))
    for content in (good, gzip.compress(good, mtime=0)):
        read = through(tmp_path / "images", lambda path: read_idx(path, 3))
        assert survey(read, content, seed=74, times=1_000, head=40) > 500


@pytest.mark.parametrize("kind", ["npz", "h5", "bin", "npy"])
def test_files_of_a_user_s_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whatever is read all the same can be read to its end."""
    monkeypatch.setenv("QLIFQ_CACHE_DIR", str(tmp_path / "cache"))
    files: dict[str, tuple[str, Callable[[Path], object]]] = {
        "npz": ("arrays", lambda path: np.savez_compressed(path, x=np.arange(30.0).reshape(10, 3), y=np.arange(10) % 2)),
        "h5": ("shd", lambda path: write_spikes(path, 10, classes=2)),
        "bin": ("nmnist", lambda path: path.write_bytes(nmnist(EVENTS))),
        "npy": ("nmnist", lambda path: np.save(path, EVENTS)),
    }
    name, write = files[kind]
    write(tmp_path / f"good.{kind}")
    good, place = (tmp_path / f"good.{kind}").read_bytes(), tmp_path / f"a.{kind}"
    if name == "nmnist":
        for number in range(10):
            place = tmp_path / f"folder/{number % 2}/{number}.{kind}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(good)

    def read(path: Path) -> None:
        data = load_dataset(name, tmp_path / "folder" if name == "nmnist" else path, steps=2)
        assert all(bool(part.read(slice(None)).isfinite().all()) for part in (data.train, data.test))

    assert survey(through(place, read), good, seed=78, times=500) > 100


EVENTS = np.stack((np.arange(30), np.arange(30), np.arange(30) % 2, 100 * np.arange(30)), axis=1)


def test_records(record: bytes) -> None:
    assert survey(lambda content: parse(content, "record.json"), record, seed=75) > 1_500


VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e-300, 1e300, 10**400, -(10**400), 2**53 - 1, 2**62, 2**70),
    *(float("nan"), float("inf"), float("-inf"), "", "RYSpike", "\ud800", "\x1b[31m", "a" * 10_000),
    *([], {}, [[]], [[[]]], [1], [0.5, 0.5], [[1.0]], [[[1]]], {"a": [0.5], "b": [0.5], "c": [0.5]}, {"": None}),
)


def test_records_that_were_edited_by_hand(record: bytes, tmp_path: Path) -> None:
    """The twin and `load` take and refuse the same, with the same sentence."""
    rng, refused = random.Random(76), 0
    path = tmp_path / "record.json"
    for _ in range(300):
        content = json.loads(record)
        for _ in range(rng.randint(1, 2)):
            place: Any = content
            key: Any = rng.choice(sorted(content))
            while isinstance(place[key], list | dict) and place[key] and rng.random() < 0.7:
                place = place[key]
                key = rng.randrange(len(place)) if isinstance(place, list) else rng.choice(sorted(place))
            if rng.random() < 0.1:
                del place[key]
                break
            place[key] = rng.choice(VALUES)
        path.write_text(json.dumps(content))
        outcomes = []
        for read in (load, lambda path: get("twin", record=path)):
            try:
                read(path)
                outcomes.append("read")
            except QLIFError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1] or "must hold the response of every site" in outcomes[1]
        refused += outcomes[0] != "read"
    assert refused > 150


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("quantum_leak", 10**400, "`quantum_leak` must be a finite number, but is 1000"),
        ("theta_max", -(10**309), "`theta_max` must be a finite number, but is -1000"),
        ("seed", 2**63, "`seed` must be an integer from 0 to 9223372036854775807, but is 9223372036854775808"),
        ("seed", True, "`seed` must be an integer from 0 to"),
        ("responses", {"a": [0.5], "b": [-0.5], "c": [0.0]}, "holds responses that do not follow from its counts"),
        ("responses", {"a": [0.5, True], "b": [0.5, 0.5], "c": [0.0, 0.0]}, "must hold in `responses.a` a number from -2 to 2"),
        ("backend", "\udcff", "must hold JSON, but does not: 'utf-8' codec can't encode"),
        ("details", {"noise": "\ud83d"}, "must hold JSON, but does not: 'utf-8' codec can't encode"),
    ],
)
def test_a_record_that_no_measurement_gives_is_refused_by_the_twin_too(
    record: bytes, tmp_path: Path, field: str, value: object, message: str
) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**json.loads(record), field: value}))
    for read in (load, lambda path: get("twin", record=path)):
        with pytest.raises(FileFormatError) as caught:
            read(path)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1, "b": {"c": 1, "d": 2, "c": 3}}', "File a.json must hold JSON, but does not: the name 'c' stands twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "must hold JSON, but does not: Exceeds the limit"),
        (b'{"a":' * 100_000, "must hold JSON, but does not"),
        (b'{"a": "\\ud800"}', "must hold JSON, but does not: 'utf-8' codec can't encode"),
        (b'{"\\udfff": 1}', "must hold JSON, but does not: 'utf-8' codec can't encode"),
        (b'{"a": "\xed\xa0\x80"}', "must hold JSON, but does not"),
        (b'{"a": 1}\x00', "must hold JSON, but does not: Extra data"),
        (b"\x00" * 64, "must hold JSON, but does not"),
    ],
)
def test_planted_damages_of_json(content: bytes, message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        parse_json(content, "a.json")
    assert message in str(caught.value)


def test_a_pair_of_surrogates_is_a_letter() -> None:
    assert parse_json(b'{"a": "\\ud83d\\ude00", "b": "\\\\ud800"}', "a.json") == {"a": "\N{GRINNING FACE}", "b": "\\ud800"}


def header(text: str, version: int = 1) -> bytes:
    """A `.npy` file of this header and eight bytes."""
    size = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode("latin1") + b"\n" + bytes(8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1}"), "its header cannot be read"),
        (header("{'descr': '<f8',B'fortran_order': False, 'shape': (1, 1, 1), }"), "its header cannot be read"),
        (header("{'descr': ',f8', 'fortran_order': False, 'shape': (1, 1, 1), }"), "plain numbers, but is not"),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "(" * 5000 + "1, 1, 1), }"),
            "plain numbers, but is not",
        ),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (7000000, 900000, 4), }", 2),
            "its shape (7000000, 900000, 4) of float64 takes 201,600,000,000,000 bytes, but 8 follow the header",
        ),
        (header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**30}, 1, 1), }}"), "but 8 follow the header"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1, 1), }"), "with at least one element"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1, 1), }"), "Object arrays cannot be read"),
        (header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1, 1, 1), }"), "Object arrays cannot be read"),
        (
            header("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1, 1, 1), }"),
            "must hold real numbers, but holds datetime64",
        ),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1), }", 3), "its header cannot be read"),
        (saved(np.array([{"a": 1}], dtype=object), allow_pickle=True), "Object arrays cannot be read"),
        (pickle.dumps({"a": 1}), "plain numbers, but is not"),
    ],
)
def test_planted_damages_of_arrays(content: bytes, message: str) -> None:
    for read in (
        lambda: parse_current(content, "a.npy"),
        lambda: parse_npz(zipped(spikes=content), "a.npz", "spikes", most_bytes=1_000_000),
    ):
        with pytest.raises(FileFormatError) as caught:
            read()
        assert message in str(caught.value)
        assert str(caught.value).startswith("File a.np")


def test_an_archive_that_lies_about_its_size_is_read_no_further_than_it_may() -> None:
    content = zipped(spikes=bytes(50_000))
    lying = content.replace(struct.pack("<I", 50_000), struct.pack("<I", 60))
    assert lying != content
    for each, message in ((content, "at most 4,000 bytes to be read, but says 50,000"), (lying, "a.npz")):
        with pytest.raises(FileFormatError, match=message):
            parse_npz(each, "a.npz", "spikes", most_bytes=4_000)


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(FileFormatError, match=f"File {path} cannot be read: it is a device, a pipe or a socket"):
            read_bytes(path)
        with pytest.raises(FileFormatError, match="it is a device, a pipe or a socket"):
            load(path)
        with pytest.raises(FileFormatError, match="it is a device, a pipe or a socket"):
            read_idx(path, 3)
    (tmp_path / "long.json").write_bytes(b" " * 33)
    with pytest.raises(FileFormatError, match=r"long\.json must have at most 32 bytes, but has 33"):
        read_json(tmp_path / "long.json", at_most=32)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    facts = {"format": "qlifq run", "format_version": 1, "command": "qlifq simulate", "backend": "aer", "shots": 3}
    (folder / "summary.json").write_text(json.dumps(facts))
    (folder / "report.md").write_text("# Title\n\n![what it shows](curve.png)\n")
    (folder / "rows.csv").write_text('shots,error,name\n1,0.5,"a, b"\n10,0.2,c\n')
    (folder / "spikes.npz").write_bytes(zipped(spikes=saved(np.eye(5, dtype=bool)[:, None])))
    picture = io.BytesIO()
    Image.effect_noise((9, 7), 40).save(picture, "png")
    (folder / "curve.png").write_bytes(picture.getvalue())
    return folder


@pytest.mark.parametrize(
    ("name", "times"),
    [("summary.json", 2_000), ("report.md", 500), ("rows.csv", 1_000), ("spikes.npz", 300), ("curve.png", 2_000)],
)
def test_the_files_of_a_run(run_folder: Path, tmp_path: Path, name: str, times: int) -> None:
    (tmp_path / "run").mkdir()
    for needed in ("summary.json", name):
        (tmp_path / "run" / needed).write_bytes((run_folder / needed).read_bytes())
    read = through(tmp_path / "run" / name, lambda path: open_run(tmp_path, "run"))
    survey(read, (run_folder / name).read_bytes(), seed=77, times=times)


def test_a_run_whose_name_is_no_text_is_left_out(run_folder: Path, tmp_path: Path) -> None:
    from qlifq.dashboard.comparisons.view import find_runs

    odd = os.fsencode(tmp_path) + b"/run-\xff"
    os.mkdir(odd)
    for item in run_folder.iterdir():
        with open(odd + b"/" + os.fsencode(item.name), "wb") as file:
            file.write(item.read_bytes())
    assert find_runs(tmp_path) == []
    with open(os.fsencode(run_folder) + b"/curve-\xfe.png", "wb") as file:
        file.write((run_folder / "curve.png").read_bytes())
    assert set(open_run(run_folder.parent, "run").pictures) == {"curve"}
