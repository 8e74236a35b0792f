"""The command line: what it prints and writes, and one sentence for everything it cannot do."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import qlifq
from qlifq.backends import registry
from qlifq.circuits import CIRCUITS
from qlifq.cli import main
from qlifq.training import digits, poisson
from tests.cli.harness import Captured, refuse, succeed

SMALL = ["simulate", "--samples", "2", "--steps", "20"]
COMMAND = [sys.executable, "-c", "import sys; from qlifq.cli import main; sys.exit(main())"]


def test_simulate_prints_a_summary_and_writes_a_run(capsys: Captured) -> None:
    out = succeed(capsys, *SMALL, "--out", "run", "--seed", "5")
    assert [line[:13].strip() for line in out.splitlines()] == [
        "input",
        "backend",
        "neurons",
        "steps",
        "firing rate",
        "evaluations",
        "time",
        "written to",
    ]
    assert "steps        20 × 2 samples\n" in out
    assert "evaluations  2,560\n" in out
    assert sorted(os.listdir("run")) == ["config.toml", "figure.pdf", "figure.png", "spikes.npz", "summary.json"]
    assert Path("run/figure.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads(Path("run/summary.json").read_bytes())
    facts = {
        "format": "qlifq run",
        "format_version": 1,
        "qlifq_version": qlifq.__version__,
        "command": "qlifq simulate --samples 2 --steps 20 --out run --seed 5",
        "backend": "analytic",
        "shots": None,
        "seed": 5,
        "evaluations": 2560,
    }
    assert {name: summary[name] for name in facts} == facts
    assert summary["settings"]["tau"] == 20.0
    with np.load("run/spikes.npz") as arrays:
        assert sorted(arrays) == ["potential", "probability", "spikes", "threshold"]
        assert {str(arrays[name].dtype) for name in arrays} == {"float32", "bool"}
        assert arrays["spikes"].shape == (20, 2, 64)
        assert arrays["spikes"].mean() == pytest.approx(summary["firing_rate"])


def test_the_command_and_python_give_the_same_spikes(capsys: Captured) -> None:
    succeed(capsys, *SMALL, "--out", "run", "--seed", "3", "--gain", "12", "--param", "tau=10")
    current = poisson(digits().images[:2], 20, gain=12.0, seed=3)
    spikes, _ = qlifq.QLIF(64, seed=3, tau=10.0)(current)
    with np.load("run/spikes.npz") as arrays:
        assert np.array_equal(arrays["spikes"], spikes.detach().numpy())
        assert arrays["spikes"].any()


def test_the_same_seed_gives_the_same_arrays(capsys: Captured) -> None:
    arrays = []
    for folder, seed in [("a", "1"), ("b", "1"), ("c", "2")]:
        succeed(capsys, *SMALL, "--gain", "15", "--shots", "2", "--out", folder, "--seed", seed)
        with np.load(f"{folder}/spikes.npz") as loaded:
            arrays.append(dict(loaded))
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    assert not np.array_equal(arrays[0]["spikes"], arrays[2]["spikes"])


def test_the_options_reach_the_layer_and_the_backend(capsys: Captured) -> None:
    chosen = [
        "--backend",
        "reference",
        "--shots",
        "3",
        "--decision",
        "threshold",
        "--mapping",
        "tanh",
        "--membrane",
        "quadratic",
    ]
    parameters = ["refractory_period=2", "use_ahp=TRUE", "reset=soft", "learnable=tau,g_ahp", "V_th=" + ",".join(["1.5"] * 64)]
    given = [part for item in parameters for part in ("--param", item)]
    succeed(capsys, *SMALL, "--encoding", "current", *chosen, *given, "--noise", "readout_p01=1, readout_p10=0", "--out", "run")
    summary = json.loads(Path("run/summary.json").read_bytes())
    assert (summary["backend"], summary["shots"], summary["noise"]) == ("reference", 3, "readout_p01=1, readout_p10=0")
    settings = {name: summary["settings"][name] for name in ("decision", "mapping", "membrane", "reset", "use_ahp")}
    assert list(settings.values()) == ["threshold", "tanh", "quadratic", "soft", True]
    assert summary["settings"]["refractory_period"] == 2
    assert summary["settings"]["V_th"] == [1.5] * 64
    with np.load("run/spikes.npz") as arrays:
        # A readout that always says 1 makes every neuron spike at every decision.
        assert arrays["spikes"][0].all()
        assert not arrays["spikes"][1:3].any()


def test_a_file_of_currents_is_an_input(capsys: Captured) -> None:
    np.save("currents.npy", np.full((30, 1, 3), 2.0))
    out = succeed(capsys, "simulate", "--input", "currents.npy", "--decision", "expectation", "--out", "run")
    assert "steps        30 × 1 sample\n" in out
    with np.load("run/spikes.npz") as arrays:
        assert arrays["spikes"].dtype == np.float32
        assert np.array_equal(arrays["spikes"], arrays["probability"])


def test_without_a_folder_the_run_is_named_by_its_time(capsys: Captured) -> None:
    out = succeed(capsys, *SMALL)
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ", folder.name)
    assert out.endswith(f"written to   {folder}\n")


def test_an_earlier_run_is_overwritten_only_by_force(capsys: Captured) -> None:
    succeed(capsys, *SMALL, "--out", "run")
    assert "Folder run cannot be written: it holds an earlier run" in refuse(capsys, *SMALL, "--out", "run")
    succeed(capsys, *SMALL, "--out", "run", "--force", "--seed", "9")
    assert json.loads(Path("run/summary.json").read_bytes())["seed"] == 9


def test_a_dry_run_prints_the_plan_and_writes_nothing(capsys: Captured) -> None:
    out = succeed(capsys, *SMALL, "--out", "run", "--dry-run")
    assert "one step     evaluations 128 · " in out
    assert "all 20       evaluations 2,560 · " in out
    assert "no circuit runs" in succeed(capsys, *SMALL, "--dry-run", "--param", "quantum_mode=false")
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--samples x", "Invalid value for '--samples'"),
        ("--samples 0", "Argument `samples` must be at least 1 and at most 1797, but is 0."),
        ("--steps 0", "Argument `steps` must be at least 1, but is 0."),
        ("--steps 1000000000000", "The run does not fit into memory"),
        ("--gain nan", "Argument `gain` must be finite, but is nan."),
        ("--encoding latency", "Argument `encoding` must be one of current, poisson, but is 'latency'."),
        ("--backend nope", "Unknown backend `nope`: it must be one of analytic, "),
        ("--shots 0", "Argument `shots` must be at least 1, but is 0."),
        ("--seed -1", "Argument `seed` must be at least 0 and at most "),
        ("--decision foo", "Argument `decision` must be one of sample, threshold, expectation, but is 'foo'."),
        ("--mapping foo", "Argument `mapping` must be one of sigmoid, linear, tanh, but is 'foo'."),
        ("--membrane foo", "Argument `membrane` must be one of leaky, quadratic, but is 'foo'."),
        ("--noise fake_torino", "Argument `noise` must be numbers for backend analytic, a DeviceNoise, but is 'fake_torino':"),
        ("--noise t1=abc", "Option --noise t1 must be a number, but is 'abc'."),
        ("--noise t3=1", "Unknown noise `t3`: it must be one of t1, t2, "),
        ("--noise t1=1e-6,", "Option --noise must be NAME=VALUE, but is ''."),
        ("--noise t1=1e-6,t2=5e-6", "Argument `t2` must be at most 2 t1, but is 5e-06 s with t1 = 1e-06 s at site 0."),
        ("--sampling law", "Backend analytic has no option `sampling`: its options are noise."),
        ("--param tau", "Option --param must be NAME=VALUE, but is 'tau'."),
        ("--param =3", "Option --param must be NAME=VALUE, but is '=3'."),
        ("--param tau=x", "Option --param tau must be a number, but is 'x'."),
        ("--param tau=-1", "Argument `tau` must be above 0, but is -1."),
        ("--param tau=1 --param tau=2", "Option --param must give `tau` once, but gives it again as '2'."),
        ("--param foo=1", "Unknown parameter `foo`: it must be one of V_th, "),
        ("--param use_ahp=1", "Option --param use_ahp must be true or false, but is '1'."),
        ("--param refractory_period=1.5", "Option --param refractory_period must be an integer, but is '1.5'."),
        ("--param neuromod_transform=abs", "Parameter `neuromod_transform` is a function: it can be given from Python alone."),
        ("--param mapping=tanh", "Parameter `mapping` must be given as --mapping tanh."),
        ("--param base_alpha=3", "Argument `base_alpha` would be ignored: it needs quantum_mode=False"),
        ("--param V_th=1,2", "Argument `V_th` must be one number or 64, one per neuron, but has 2."),
        ("--param V_th=1,x", "Option --param V_th must be a number, but is 'x'."),
        ("--input none.npy", "File none.npy cannot be read: no such file or directory."),
        ("--input text.npy", "File text.npy must be a .npy file of plain numbers, but is not: "),
        ("--input flat.npy", "File flat.npy must hold an array of shape (time, batch, neurons) with at least one element"),
        ("--input good.npy --gain 2", "Option --gain would be ignored: it needs --input digits, but the input is good.npy."),
        ("--input good.npy --encoding current", "Option --encoding would be ignored"),
        ("--input good.npy --steps 5", "Option --steps would be ignored"),
        ("--input good.npy --samples 5", "Option --samples would be ignored"),
        ("--out text.npy", "Folder text.npy cannot be written: it is a file."),
        ("--out text.npy/run", "Folder text.npy/run cannot be made: "),
        ("--out full", "Folder full cannot be written: it holds files that are not of a run."),
        ("--out full --force", "Folder full cannot be written: it holds files that are not of a run."),
        (f"--out {'x' * 300}", "cannot be written: file name too long."),
        ("--frob", "No such option: --frob"),
        ("--shots", "Option '--shots' requires an argument."),
        ("extra", "Got unexpected extra argument(s) (extra)"),
    ],
)
def test_what_simulate_cannot_do_is_one_sentence(capsys: Captured, arguments: str, message: str) -> None:
    Path("text.npy").write_text("hello")
    np.save("flat.npy", np.zeros(3))
    np.save("good.npy", np.zeros((2, 1, 3)))
    Path("full").mkdir()
    Path("full/summary.json").write_text('{"format": "something else"}')
    assert message in refuse(capsys, "simulate", *arguments.split())


def test_an_error_leaves_no_traceback_in_a_real_process() -> None:
    done = subprocess.run([*COMMAND, "simulate", "--shots", "0"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "Error: Argument `shots` must be at least 1, but is 0.\n")


def test_circuits_are_drawn_with_their_formula(capsys: Captured) -> None:
    lines = succeed(capsys, "circuits").splitlines()
    assert len(lines) == len(CIRCUITS)
    for line, (name, circuit) in zip(lines, CIRCUITS.items(), strict=True):
        assert re.split(r"\s{2,}", line) == [name, circuit.build().draw(), circuit.formula]
    assert succeed(capsys, "circuits", "RYSpike") == "RYSpike  |0⟩ ──RY(θ0)──M  P(1) = sin²(θ0/2)\n"
    assert succeed(capsys, "circuits", "LeakySpike", "--openqasm") == CIRCUITS["LeakySpike"].build().to_openqasm()
    assert "Unknown circuit `Foo`: it must be one of RYSpike, " in refuse(capsys, "circuits", "Foo")
    assert "Option --openqasm needs the name of one circuit: RYSpike, " in refuse(capsys, "circuits", "--openqasm")


def test_backends_lists_what_each_can_do_and_why_one_is_missing(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = registry.BuiltIn("no_such_module", "Nothing", "no_such_package", "no-such-package")
    monkeypatch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, "absent": absent})
    out = succeed(capsys, "backends")
    assert re.search(r"^backend +exact +shots +noise +autograd +remote +sites$", out, re.MULTILINE)
    assert re.search(r"^analytic +yes +yes +yes +yes +no +any$", out, re.MULTILINE)
    assert re.search(
        r"^absent +Backend absent needs the package `no_such_package`, which is not installed: ", out, re.MULTILINE
    )


def test_the_package_runs_as_a_module() -> None:
    shown = subprocess.run([sys.executable, "-m", "qlifq", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"qlifq {qlifq.__version__}\n"
    refused = subprocess.run(
        [sys.executable, "-m", "qlifq", "simulate", "--shots", "0"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr == "Error: Argument `shots` must be at least 1, but is 0.\n"


def test_help_and_version(capsys: Captured) -> None:
    assert succeed(capsys, "--version") == f"qlifq {qlifq.__version__}\n"
    assert "Usage: qlifq" in succeed(capsys)
    assert "--dry-run" in succeed(capsys, "simulate", "--help")
    assert "No such command 'foo'." in refuse(capsys, "foo")


def test_an_interrupt_ends_the_run_without_a_folder(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qlifq.studies.run_simulation", interrupted)
    assert main([*SMALL, "--out", "run"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not Path("run").exists()


def test_an_error_of_qlifq_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("qlifq.studies.run_simulation", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(SMALL)


def test_a_reader_that_leaves_and_a_console_without_greek_are_no_errors() -> None:
    piped = subprocess.run(f"{sys.executable} -c '{COMMAND[2]}' circuits | true", shell=True, capture_output=True, check=False)
    assert piped.stderr == b""
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "circuits"], capture_output=True, env=ascii_only, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"|0? ??RY(?0)??M" in done.stdout


def test_a_long_run_shows_progress_on_a_terminal() -> None:
    # Any run is a long one here, so that the test need not wait.
    script = "import sys; from qlifq.cli import main, progress; progress.AFTER_SECONDS = 0.0; sys.exit(main(sys.argv[1:]))"
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script, *SMALL, "--json", "--out", "run"], stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = io.BytesIO()
        try:
            while chunk := os.read(ours, 4096):
                shown.write(chunk)
        except OSError:
            # What Linux answers when the other end has gone.
            pass
        os.close(ours)
        assert process.stdout is not None
        summary = process.stdout.read()
    text = shown.getvalue().decode()
    assert process.returncode == 0
    assert re.search(r"20/20", text)
    # The bar is on stderr: what another program reads is the object alone.
    assert json.loads(summary)["written_to"] == "run"


def test_no_progress_is_shown_without_a_terminal(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qlifq.cli.progress.AFTER_SECONDS", 0.0)
    assert "/20" not in succeed(capsys, *SMALL, "--out", "run")


def test_the_thread_count_does_not_change_the_spikes(capsys: Captured) -> None:
    torch.set_num_threads(2)
    try:
        succeed(capsys, *SMALL, "--out", "two")
    finally:
        torch.set_num_threads(1)
    succeed(capsys, *SMALL, "--out", "one")
    with np.load("one/spikes.npz") as one, np.load("two/spikes.npz") as two:
        assert all(np.array_equal(one[name], two[name]) for name in one)
