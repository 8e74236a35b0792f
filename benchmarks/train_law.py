"""Whether trains of the circuit loop follow the law of the host loop, on digits, and what noise and calibration do to them.

    python -m benchmarks.train_law [--quick]

The default neuron sees an image of the bundled digits, a pixel each. Both loops draw as many trains; rate, intervals between
spikes and autocovariance are compared by exact permutation tests, each with its p-value, and with the exact law. Then the
qubits of a snapshot bring their noise: exact rates of neurons as designed and as calibrated, and trains of Aer against
their law.
"""

import argparse

import numpy as np
import torch
from scipy import stats
from torch import Tensor

import qlifq
from qlifq.backends import DeviceNoise, get
from qlifq.backends.snapshots import load_snapshot
from qlifq.calibration import fit
from qlifq.studies.same_law import measured, p_values
from qlifq.training import digits

SNAPSHOT = "fake_torino"
NEURONS = 64
LAGS = (1, 2, 4, 8, 16)


def image(steps: int) -> Tensor:
    """One digit as a constant current, `(time, 1, 64)`."""
    return (4 * digits().images[3]).expand(steps, 1, -1)


def loops(backend: str, steps: int, trains: int) -> None:
    """Host loop and circuit loop on a backend, one table."""
    current, rng = image(steps), np.random.default_rng(1)
    layer = qlifq.QLIF(NEURONS, backend=backend, shots=1, seed=1, gradient="none")
    train = layer.train_circuit(current)
    with torch.no_grad():
        host = layer(current.expand(-1, trains, -1))[0].transpose(0, 1).bool().numpy()
    circuit = layer.backend.run_train(train, shots=trains, seed=2).spikes[:, :, 0].numpy()
    lags = [lag for lag in LAGS if lag < steps]
    law = train.moments(max(lags))
    exact = {"rate": float(law.rate.mean()), **{f"autocovariance {lag}": float(law.covariances[lag].mean()) for lag in lags}}
    print(f"\ndigits on {backend}, {steps} steps, {NEURONS} neurons, {trains} trains, angles within {train.error:.1g}")
    print("| quantity | host loop | circuit loop | circuit less host | exact |\n| --- | --- | --- | --- | --- |")
    first, second = (measured(each, lags, rng) for each in (host, circuit))
    for name, found in second.items():
        row = (name, first[name].interval, found.interval, found.less(first[name]), exact.get(name, ""))
        print("|", " | ".join(f"{each:.5f}" if isinstance(each, float) else str(each) for each in row), "|")
    for name, (_, p) in p_values(host, circuit, lags, rng).items():
        print(f"{name}: permutation test, p = {p:.3g}")
    each_rate = circuit.mean(axis=(0, 1)) - law.rate[:, 0].mean(0).numpy()
    error = circuit.mean(axis=1).std(axis=0, ddof=1) / trains**0.5
    largest = np.abs(each_rate[error > 0] / error[error > 0]).max()
    bound = float(stats.norm.isf(0.005 / NEURONS))
    print(f"rate of a neuron less the exact one: at most {largest:.2f} standard errors, 99 % bound {bound:.2f}", flush=True)


def noisy(steps: int, trains: int) -> None:
    """The noise of a snapshot's qubits: exact rates before and after calibration, and Aer's trains against their exact law."""
    # Best first: the better half is left out, so that there is something to correct, and the qubits without a readout.
    noise = DeviceNoise.from_snapshot(SNAPSHOT, list(load_snapshot(SNAPSHOT))[60 : 60 + NEURONS])
    known = noise.of_trains(torch.float64, torch.device("cpu"))
    phase = torch.arange(NEURONS)
    current = 1.8 + 0.4 * torch.sin(torch.arange(steps)[:, None, None] / 5 + phase)
    backend = get("aer", noise=noise)
    layer = qlifq.QLIF(NEURONS, backend=backend, shots=1, tau=4.0, q_scale=1.0, seed=1, gradient="none")
    target = layer.train_circuit(current).moments().rate.mean(0)
    before = layer.train_circuit(current).moments(0, known).rate.mean(0)
    fit(backend, neurons=NEURONS, q_scale=1.0, shots=50_000, seed=1).apply_to(layer, span=(-1.0, 1.0))
    train = layer.train_circuit(current)
    law = train.moments(0, known).rate.mean(0)
    print(f"\n{SNAPSHOT}, {steps} steps, {NEURONS} neurons on as many qubits, mean over neurons of |rate − ideal| / ideal")
    for title, rate in {"as designed": before, "calibrated": law}.items():
        print(f"{title:12s} {float(((rate - target).abs() / target).mean()):.2%}")
    spikes = backend.run_train(train, shots=trains, seed=2).spikes[:, :, 0].double().mean(1)
    away = (spikes.mean(0) - law[0]) / (spikes.std(0) / trains**0.5)
    bound = float(stats.norm.isf(0.005 / NEURONS))
    relative = float(((spikes.mean(0) - law[0]).abs() / law[0]).mean())
    print(f"{trains} trains of Aer less their exact law: mean over neurons of |rate − exact| / exact {relative:.2%},")
    print(f"at most {float(away.abs().max()):.2f} standard errors of a neuron, 99 % bound {bound:.2f}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see whether it runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    loops("analytic", 20 if quick else 200, 100 if quick else 200)
    loops("aer", 10 if quick else 40, 100 if quick else 500)
    noisy(10 if quick else 40, 100 if quick else 2_000)


if __name__ == "__main__":
    main()
