"""The network of `mlp.py` on Aer, one shot per decision, with a snapshot's noise, before and after calibration.

    python -m benchmarks.training.device --data-dir DIR [--seeds 3] [--noise fake_torino] [--shots 4096]

Aer's counts are drawn from the law that is read off its density matrix, which is the distribution of its shots. The
calibration measures every neuron's qubit with --shots per angle and corrects its q_scale and q_bias.
"""

from benchmarks.training._rows import Row, arguments, data_set, print_row, trained_row
from qlifq.backends import get
from qlifq.training import Design, Evaluation, Trained, build, evaluate
from qlifq.training.correction import calibrate_layers, correct_layers


def main() -> None:
    given = arguments(
        __doc__,
        noise=(str, "fake_torino", "the snapshot"),
        shots=(int, 4096, "of the calibration, per angle and neuron"),
    )
    data = data_set("mnist", given, 5000)
    backend = get("aer", noise=given.noise, sampling="law")
    rows: dict[str, Row] = {"before calibration": Row([], []), "after calibration": Row([], [])}

    def run_on_device(trained: Trained, design: Design, tested: Evaluation, seed: int) -> None:
        network = build(design, backend=backend, shots=1, seed=0)
        network.load_state_dict(trained.network.state_dict())
        for name, row in rows.items():
            if name == "after calibration":
                for correction in correct_layers(network, calibrate_layers(network, shots=given.shots, seed=seed)):
                    left = int(correction.q_scale.isnan().sum())
                    print(f"    {left} of {len(correction.q_scale)} neurons stand on qubits that no correction helps")
            evaluated = evaluate(network, design, data.test)
            row.figures.append(100 * evaluated.accuracy)
            row.seconds.append(evaluated.seconds)
            print(
                f"    {name}: {row.figures[-1]:.2f} %, {100 * (evaluated.accuracy - tested.accuracy):+.2f} points", flush=True
            )

    trained_row("analytic, exact", "mlp", data, given.seeds, then=run_on_device)
    for name, row in rows.items():
        print_row(f"aer, {given.noise}, 1 shot, {name} (wall time: 10,000 images)", row, "%")


if __name__ == "__main__":
    main()
