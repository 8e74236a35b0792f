"""What a whole spike train in one circuit costs: on Aer next to the host loop, under a snapshot's noise, and on a device.

    python -m benchmarks.trains [--quick]

Contenders take turns in one process; the figures are medians over the rounds, and the ratios can be compared between machines.
Every contender draws as many trains of as many neurons. The plan of the device spends nothing.
"""

import argparse
import math
import statistics
from collections.abc import Callable

import torch
from qiskit import transpile
from qiskit_aer import AerSimulator
from torch import Tensor

import qlifq
from benchmarks._turns import show, take_turns
from qlifq.backends import DeviceNoise, get
from qlifq.backends.snapshots import load_backend

SNAPSHOT = "fake_torino"
NOISE = DeviceNoise(t1=100e-6, t2=80e-6, gate_time=60e-9, gate_error=1e-3, readout_p01=0.01, readout_p10=0.02)
#: The two kinds of neurons whose loop one circuit holds.
NEURONS = {"default": {}, "soft reset, linear": {"reset": "soft", "mapping": "linear"}}


def current(steps: int, neurons: int) -> Tensor:
    """A current under which neurons spike now and then."""
    phase = torch.arange(neurons) / max(neurons, 2)
    return 1.2 + 0.5 * torch.sin(torch.arange(steps)[:, None, None] / 5 + 2 * math.pi * phase)


def decisions(quick: bool) -> None:
    """The time of a decision on Aer, in the circuit and in the host loop, whose batch holds the trains."""
    for steps in (10,) if quick else (10, 50):
        for kind, settings in NEURONS.items():
            for noise in (None, NOISE):
                shots, neurons = (20, 4) if quick else (500, 4)
                layer = qlifq.QLIF(neurons, backend=get("aer", noise=noise), shots=1, seed=1, **settings)  # type: ignore[arg-type]
                title = f"{kind}, {steps} steps, {neurons} neurons, {shots} trains{'' if noise is None else ', with noise'}"
                compare(title, layer, current(steps, neurons), shots, rounds=2 if quick else 3)


def compare(title: str, layer: qlifq.QLIF, given: Tensor, shots: int, rounds: int) -> None:
    """One table, from the neurons and their input to as many trains."""
    contenders: dict[str, Callable[[], object]] = {
        "circuit loop": lambda: layer.backend.run_train(layer.train_circuit(given), shots=shots, seed=1),
        "host loop": lambda: layer(given.expand(-1, shots, -1)),
    }
    if layer.backend.facts["noise"] == "none":
        contenders["the same circuit with if_test"] = lambda: as_it_comes(layer.train_circuit(given), shots)
    with torch.no_grad():
        seconds = take_turns(contenders, rounds)
    show(title, seconds, "circuit loop")
    for name, values in seconds.items():
        print(f"{name:34s} {1e6 * statistics.median(values) / (given.numel() * shots):8.2f} µs per decision")
    print(f"conditionals {layer.train_circuit(given).conditionals}", flush=True)


def as_it_comes(train: qlifq.circuits.SpikeTrainCircuit, shots: int) -> object:
    """Qiskit's circuits of the neurons, one by one, on a simulator with one thread."""
    alone = [
        qlifq.circuits.SpikeTrainCircuit(train.base[..., [site]], train.conditions, train.angles[..., [site]])
        for site in range(train.sites)
    ]
    simulator = AerSimulator(max_parallel_threads=1)
    return simulator.run([each.to_qiskit() for each in alone], shots=shots, memory=True).result().get_memory(0)


def snapshot(quick: bool) -> None:
    """One neuron for six steps under the noise of its qubit, and under that of the whole device as Qiskit's user has it."""
    device = load_backend(SNAPSHOT)
    ours, theirs = get("aer", noise=SNAPSHOT), AerSimulator.from_backend(device)
    train = qlifq.QLIF(1).train_circuit(current(6, 1))
    native = transpile(train.to_qiskit(), device, initial_layout=[ours.qubits[0]], optimization_level=1)  # type: ignore[attr-defined]
    contenders = {
        "circuit loop, its qubit's noise": lambda: ours.run_train(train, shots=200, seed=1),
        "AerSimulator.from_backend": lambda: theirs.run(native, shots=200).result().get_counts(),
    }
    show(f"{SNAPSHOT}, 6 steps, 200 trains", take_turns(contenders, 1 if quick else 3), "circuit loop, its qubit's noise")


def plan() -> None:
    """200 steps of 100 neurons and 1,000 trains of each on a device, by the host loop and by the circuit loop."""
    steps, neurons, trains = 200, 100, 1000
    device = get("ibm", device=SNAPSHOT)
    step = device.plan(qlifq.circuits.RYSpike(), 1, neurons, shots=1)
    print(f"\n{steps} steps, {neurons} neurons, {trains:,} trains of each, on the device of {SNAPSHOT}")
    print("| neuron | loop | jobs | executions | conditionals | steps in turn | device seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for title, settings in NEURONS.items():
        whole = qlifq.QLIF(neurons, **settings).train_circuit(current(steps, neurons))  # type: ignore[arg-type]
        rows = {"host": step.times(steps * trains), "circuit": device.plan_train(whole, shots=trains)}
        for loop, each in rows.items():
            turns = steps if loop == "host" else 0
            numbers = (
                f"{number:,.0f}" for number in (each.jobs, each.executions, each.conditionals, turns, each.device_seconds or 0)
            )
            print("|", " | ".join((title, loop, *numbers)), "|")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see whether it runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    plan()
    snapshot(quick)
    decisions(quick)


if __name__ == "__main__":
    main()
