"""What one evaluation costs on each backend, next to the ways other projects run the same circuits.

    python -m benchmarks.backends [--quick] [--out runs/bench]

All contenders of a group take turns in one process, after one call that is not counted; the figures are medians over the
rounds. Opponents are built as their users build them, each call from the angles to the numbers. On a machine that does
other work trust the ratios only.
"""

import argparse
import io
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
import torch
from matplotlib.figure import Figure
from pennylane.tape import QuantumScript
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2

from qlifq._files import stamp, write_bytes, write_json
from qlifq.backends import Backend, DeviceNoise, get
from qlifq.backends.snapshots import load_backend
from qlifq.circuits import RYSpike

#: A snapshot of 133 qubits.
SNAPSHOT = "fake_torino"
NOISE = DeviceNoise(t1=100e-6, t2=80e-6, gate_time=60e-9, gate_error=1e-3, readout_p01=0.01, readout_p10=0.02)
Angles = np.ndarray[Any, np.dtype[np.float64]]
Contender = Callable[[Angles], object]


class Group(NamedTuple):
    """Contenders that answer one question, the first of them ours, for calls of these sizes.

    Args:
        title: the question.
        contenders: by name, each from angles to numbers.
        sizes: evaluations in a call.
        targets: by opponent, how many times faster ours should be at the largest size.
    """

    title: str
    contenders: dict[str, Contender]
    sizes: Sequence[int]
    targets: dict[str, float]


class Row(NamedTuple):
    """One line of the table."""

    group: str
    contender: str
    evaluations: int
    seconds: float

    @property
    def microseconds(self) -> float:
        """Per evaluation."""
        return self.seconds / self.evaluations * 1e6


def ours(backend: Backend, shots: int | None) -> Contender:
    """A backend of qlifq."""
    return lambda angles: backend.run(RYSpike(), torch.from_numpy(angles)[None, :, None], shots=shots, seed=None)


def qnode(*, broadcast: bool = True, torch_angles: bool = False, expval: bool = False) -> Contender:
    """PennyLane: one wire, called once per angle or with all at once.

    As most people write it: `probs` and the default gradient method. `expval` with `diff_method=None` is the fastest where
    OMP_NUM_THREADS is 1, and slow where Lightning's threads wait for cores.
    """
    device = qml.device("lightning.qubit", wires=1)

    def circuit(theta: Any) -> Any:
        qml.RY(theta, wires=0)
        return qml.expval(qml.Z(0)) if expval else qml.probs(wires=0)

    decide = qml.QNode(circuit, device, diff_method=None) if expval else qml.QNode(circuit, device)
    if not broadcast:
        return lambda angles: [decide(theta) for theta in angles]
    return lambda angles: decide(torch.from_numpy(angles) if torch_angles else angles)


def lightning_floor() -> Contender:
    """Lightning alone, on scripts that were built before: what no packing of eight wires can beat."""
    device = qml.device("lightning.qubit", wires=8)
    ready: dict[int, list[QuantumScript]] = {}

    def execute(angles: Angles) -> object:
        if len(angles) not in ready:
            ready[len(angles)] = [
                QuantumScript([qml.RY(theta, wires=wire) for wire, theta in enumerate(row)], [qml.probs(wires=range(8))])
                for row in np.resize(angles, (-(-len(angles) // 8), 8))
            ]
        return device.execute(ready[len(angles)])

    return execute


def one_qubit_circuit(theta: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.ry(theta, 0)
    circuit.measure(0, 0)
    return circuit


def aer_list(shots: int, **options: Any) -> Contender:
    """Aer: a list of one-qubit circuits, one per angle."""
    simulator = AerSimulator(**options)

    def run(angles: Angles) -> list[dict[str, int]]:
        result = simulator.run([one_qubit_circuit(theta) for theta in angles], shots=shots).result()
        return [result.get_counts(number) for number in range(len(angles))]

    return run


def aer_sampler(shots: int, **options: Any) -> Contender:
    """Aer's SamplerV2: one circuit with a parameter and all its values."""
    sampler = SamplerV2(options={"backend_options": options})
    circuit = one_qubit_circuit(Parameter("theta"))
    return lambda angles: sampler.run([(circuit, angles[:, None])], shots=shots).result()[0].data.c.array.sum(axis=-2)


def snapshot_as_it_comes(shots: int) -> Contender:
    """Qiskit's fake backend, run directly: it builds its noise model of all qubits for every call."""
    backend = load_backend(SNAPSHOT)
    circuit = transpile(one_qubit_circuit(Parameter("theta")), backend, seed_transpiler=0)

    def run(angles: Angles) -> list[dict[str, int]]:
        result = backend.run([circuit.assign_parameters([theta]) for theta in angles], shots=shots).result()
        return [result.get_counts(number) for number in range(len(angles))]

    return run


def groups() -> list[Group]:
    """Everything that is measured."""
    found = [
        Group(
            "exact probabilities on lightning.qubit",
            {
                "qlifq lightning": ours(get("lightning"), None),
                "QNode, broadcast, torch angles": qnode(torch_angles=True),
                "QNode, broadcast, NumPy angles": qnode(),
                "QNode, broadcast, NumPy, expval, no gradient": qnode(expval=True),
                "QNode per neuron": qnode(broadcast=False),
                "floor: execute of ready scripts": lightning_floor(),
                "qlifq analytic": ours(get("analytic"), None),
            },
            (32, 256, 2048),
            {"QNode, broadcast, torch angles": 12, "QNode per neuron": 50},
        )
    ]
    for shots, target in ((1024, 6.0), (1, 30.0)):
        found.append(
            Group(
                f"{shots:,} shot{'s' * (shots > 1)} without noise, one thread",
                {
                    "qlifq aer": ours(get("aer"), shots),
                    "list of one-qubit circuits": aer_list(shots, max_parallel_threads=1),
                    "qiskit_aer SamplerV2": aer_sampler(shots, max_parallel_threads=1),
                    "qlifq aer by law": ours(get("aer", sampling="law"), shots),
                    "qlifq lightning": ours(get("lightning"), shots),
                },
                (32, 256, 1024),
                {"list of one-qubit circuits": target},
            )
        )
        found.append(
            Group(
                f"{shots:,} shot{'s' * (shots > 1)} without noise, two threads",
                {
                    "qlifq aer, threads=2": ours(get("aer", threads=2), shots),
                    "list of one-qubit circuits, Aer's default": aer_list(shots),
                    "qiskit_aer SamplerV2, Aer's default": aer_sampler(shots),
                },
                (32, 256, 1024),
                {"list of one-qubit circuits, Aer's default": target},
            )
        )
    found.append(
        Group(
            "1,024 shots under a DeviceNoise",
            {
                "qlifq aer": ours(get("aer", noise=NOISE), 1024),
                "qlifq aer by law": ours(get("aer", noise=NOISE, sampling="law"), 1024),
            },
            (32, 256, 1024),
            {},
        )
    )
    for shots in (1024, 1):
        found.append(
            Group(
                f"{shots:,} shot{'s' * (shots > 1)} with the noise of {SNAPSHOT}",
                {
                    "qlifq aer": ours(get("aer", noise=SNAPSHOT), shots),
                    "the snapshot as it comes": snapshot_as_it_comes(shots),
                    "qlifq aer by law": ours(get("aer", noise=SNAPSHOT, sampling="law"), shots),
                },
                (1, 32, 256),
                {"the snapshot as it comes": 100},
            )
        )
    return found


def timed(run: Contender, angles: Angles, times: int = 1) -> float:
    """Seconds of one call, the mean of some."""
    start = time.perf_counter()
    for _ in range(times):
        run(angles)
    return (time.perf_counter() - start) / times


def measure(group: Group, rounds: int) -> list[Row]:
    """Medians, the contenders taking turns: a turn is as many calls as make 30 ms, the first of them not counted."""
    rows = []
    generator = np.random.default_rng(0)
    for size in group.sizes:
        angles = generator.uniform(0, np.pi, size)
        first = {name: timed(run, angles) for name, run in group.contenders.items()}
        turns: dict[str, list[float]] = {name: [] for name in group.contenders}
        for number in range(rounds):
            for name, run in group.contenders.items():
                if first[name] < 2 or number < 2:
                    again = timed(run, angles)
                    more = int(0.03 / again)
                    turns[name].append(timed(run, angles, more) if more else again)
        rows += [Row(group.title, name, size, statistics.median(seconds)) for name, seconds in turns.items()]
    return rows


def table(group: Group, rows: Sequence[Row]) -> str:
    """Microseconds per evaluation by size, then how many times those of ours they are."""
    width = 44
    lines = [f"\n{group.title}", f"{'µs per evaluation, × ours; calls of':{width}s}"]
    lines[-1] += "".join(f"{size:>18,}" for size in group.sizes)
    cells = {(row.contender, row.evaluations): row.microseconds for row in rows}
    first = next(iter(group.contenders))
    for name in group.contenders:
        target = f"   target {group.targets[name]:g} ×" if name in group.targets else ""
        values = [(cells[name, size], cells[name, size] / cells[first, size]) for size in group.sizes]
        lines.append(f"{name:{width}s}" + "".join(f"{value:10.2f} {ratio:6.1f}×" for value, ratio in values) + target)
    return "\n".join(lines)


def figure(found: Sequence[Group], rows: Sequence[Row]) -> Figure:
    """One panel per group: microseconds per evaluation against the size of the call."""
    columns = 3
    picture = Figure(figsize=(5 * columns, 4 * -(-len(found) // columns)), layout="constrained")
    panels = picture.subplots(-(-len(found) // columns), columns, squeeze=False).flatten()
    for panel, group in zip(panels, found, strict=False):
        for name in group.contenders:
            points = [(row.evaluations, row.microseconds) for row in rows if (row.group, row.contender) == (group.title, name)]
            panel.loglog(*zip(*points, strict=True), marker="o", label=name)
        panel.set(title=group.title, xlabel="evaluations in a call", ylabel="µs per evaluation")
        panel.title.set_fontsize(10)
        panel.legend(fontsize=7, frameon=False)
        panel.grid(alpha=0.3)
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    return picture


def main() -> None:
    """Print the tables; write backends.json and backends.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 round instead of 7")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder for the JSON file and the figure")
    options = parser.parse_args()
    rounds = 1 if options.quick else 7
    found, rows = groups(), []
    print(f"RY on {platform.processor() or platform.machine()}, torch {torch.get_num_threads()} threads, median of {rounds}")
    for group in found:
        new = measure(group, rounds)
        print(table(group, new), flush=True)
        rows += new
    options.out.mkdir(parents=True, exist_ok=True)
    content = [row._asdict() | {"microseconds_per_evaluation": row.microseconds} for row in rows]
    write_json(options.out / "backends.json", {**stamp(), "rounds": rounds, "rows": content})
    image = io.BytesIO()
    figure(found, rows).savefig(image, format="png", dpi=150)
    write_bytes(options.out / "backends.png", image.getvalue())
    print(f"\nwritten: {options.out / 'backends.json'}, {options.out / 'backends.png'}")


if __name__ == "__main__":
    main()
