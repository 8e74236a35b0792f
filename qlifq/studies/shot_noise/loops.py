"""One closed loop, three ways to run it: on the host, in one circuit, and as the replay of a train that is known."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from qlifq.backends import Backend, DeviceNoise, get
from qlifq.circuits import SpikeTrainCircuit
from qlifq.errors import MissingPackageError, UnsupportedError
from qlifq.neurons import QLIF
from qlifq.neurons.parameters import DECISIONS
from qlifq.reporting.intervals import mean
from qlifq.studies.replay import run_replay
from qlifq.studies.same_law import measured, p_values
from qlifq.studies.shot_noise.run import Run
from qlifq.studies.shot_noise.trajectory import driving_current

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["DEVICE", "Loops", "loops"]

#: The device whose costs are planned beside those of the study's backend.
DEVICE = "fake_torino"
_LAGS = (1, 2, 4, 8)


class Loops(NamedTuple):
    """What the ways have in common, and what each costs; the fields are those of a `ShotNoiseStudy`."""

    loop: "DataFrame"
    loop_test: "DataFrame"
    loop_cost: "DataFrame"
    loop_refused: Mapping[str, str]


def loops(run: Run, runs: int, steps: int) -> Loops:
    """Run the neuron of the trajectories with one shot per decision, each way as many trains.

    Args:
        run: the run of the study.
        runs: trains of each way.
        steps: of a train, at least 2.
    """
    from pandas import DataFrame

    current = driving_current(run, runs, steps)
    lags = [lag for lag in _LAGS if lag < steps]
    layer = QLIF(1, backend=run.backend, shots=1, seed=run.seeds.next_seed(), gradient="none")
    with torch.no_grad():
        host = layer(current)[0].transpose(0, 1).bool().numpy()
    found = {"host": measured(host, lags, run.rng)}
    train, refused = _train_circuit(run.backend, layer, current[:, :1], runs)
    tests = []
    exact: dict[str, float] = {}
    if train is not None:
        trains = run.backend.run_train(train, shots=runs, seed=run.seeds.next_seed()).spikes[:, :, 0].numpy()
        found["circuit"] = measured(trains, lags, run.rng)
        exact = _exact(run.backend, train, lags)
        tests = [
            {"quantity": name, "statistic": statistic, "p_value": p}
            for name, (statistic, p) in p_values(host, trains, lags, run.rng).items()
        ]
    values = {way: {name: each.interval for name, each in own.items()} for way, own in found.items()}
    if train is not None:
        values["circuit less host"] = {name: each.less(found["host"][name]) for name, each in found["circuit"].items()}
    # The bits of a replay follow the angles of another train: they have its rate, but no intervals of their own.
    driven = QLIF(1, backend=run.ideal, seed=run.seeds.next_seed(), gradient="none")
    bits = run_replay(driven, current, run.backend, shots=1, seed=run.seeds.next_seed()).measured
    values["replay"] = {"rate": mean(bits.mean(dim=(0, 2)).double().numpy(), run.rng)}
    rows = [
        {
            "way": way,
            "quantity": name,
            **interval.columns("value"),
            "exact": exact.get(name, np.nan) if way != "circuit less host" else np.nan,
        }
        for way, own in values.items()
        for name, interval in own.items()
    ]
    run.tick()
    return Loops(
        DataFrame(rows),
        DataFrame(tests, columns=["quantity", "statistic", "p_value"]),
        DataFrame(_costs(run.backend, train, layer, runs, steps)),
        refused,
    )


def _train_circuit(
    backend: Backend, layer: QLIF, current: torch.Tensor, runs: int
) -> tuple[SpikeTrainCircuit | None, dict[str, str]]:
    """The train in one circuit, if the backend runs any, and for each decision that cannot run so, why."""
    refused = {}
    train = None
    for decision in DECISIONS:
        try:
            found = QLIF(1, backend=backend, shots=1, seed=0, decision=decision, gradient="none").train_circuit(current)
            backend.check_train(found, shots=runs, seed=None)
        except UnsupportedError as error:
            refused[decision] = str(error)
        else:
            if decision == layer.settings.decision:
                train = found
    return train, refused


def _exact(backend: Backend, train: SpikeTrainCircuit, lags: list[int]) -> dict[str, float]:
    """The law of the circuit loop: its moments by recursion, where the noise of the backend is known in numbers."""
    noise = getattr(backend, "noise", "not known")
    if noise is not None and not isinstance(noise, DeviceNoise):
        return {}
    known = None if noise is None else noise.of_trains(train.base.dtype, train.base.device)
    found = train.moments(max(lags), noise=known)
    return {
        "rate": float(found.rate.mean()),
        **{f"autocovariance {lag}": float(found.covariances[lag].mean()) for lag in lags},
    }


def _costs(backend: Backend, train: SpikeTrainCircuit | None, layer: QLIF, runs: int, steps: int) -> list[dict[str, object]]:
    """One row for each way on the study's backend and, where its packages are installed, on a device."""
    places = {backend.name: backend}
    with suppress(MissingPackageError):
        places[DEVICE] = get("ibm", device=DEVICE)
    rows = []
    for place, each in places.items():
        plans = {"host": (each.plan(layer.circuit, runs, 1, shots=1).times(steps), steps)}
        if train is not None:
            plans["circuit"] = (each.plan_train(train, shots=runs), 0)
        plans["replay"] = (each.plan(layer.circuit, runs * steps, 1, shots=1), 0)
        for way, (plan, turns) in plans.items():
            rows.append(
                {
                    "backend": place,
                    "way": way,
                    "jobs": plan.jobs,
                    "executions": plan.executions,
                    "conditionals": plan.conditionals,
                    "steps_in_turn": turns,
                    "device_seconds": np.nan if plan.device_seconds is None else plan.device_seconds,
                }
            )
    return rows
