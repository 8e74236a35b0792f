"""The routes of a sequence, of which all give the same neuron.

    a kernel                 all steps as one compiled operation, where the decision has a closed form
    step by step, exact      the formula that kernels are made of, in torch
    step by step, measured   a backend decides at every step
    loop in the circuit      a backend draws whole trains first, and the steps follow the spikes that it drew

Each takes its random numbers from a place in the layer's stream, which a sequence moves on by one for each of its steps.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from qlifq import _validation as check
from qlifq._transforms import constant
from qlifq.errors import ArgumentError, UnsupportedError
from qlifq.neurons import kernels
from qlifq.neurons.closed_form import ClosedForm
from qlifq.neurons.decision import QuantumDecision
from qlifq.neurons.dynamics import Dynamics, integrate, settle, threshold
from qlifq.neurons.formula import angle_of, formula_of
from qlifq.neurons.inputs import checked_end
from qlifq.neurons.parameters import Settings
from qlifq.neurons.state import QLIFState
from qlifq.neurons.steps import Given, Sequence, Step
from qlifq.neurons.trains.compiler import Neuron
from qlifq.neurons.trains.loop import DrawnTrains, drawn_trains
from qlifq.random import MAX_SEED, SeedStream, Steps, philox

__all__ = ["Moment", "OneStep", "draw_trains", "exact_step", "in_one", "measured_step", "step_by_step"]


class Moment(NamedTuple):
    """What one step is made of, beside the state before it.

    Args:
        time: which step of the sequence.
        current: input I, `(batch, num_neurons)`.
        modulation: `(1 or batch, 1 or num_neurons)`, or None.
        noise: of the membrane, standard normal, `(batch, num_neurons)`, or None.
        place: of its random numbers.
        steps: its seeds.
    """

    time: int
    current: Tensor
    modulation: Tensor | None
    noise: Tensor | None
    place: philox.Place
    steps: Steps


#: One step from the state before it.
OneStep = Callable[[QLIFState, Moment], Step]


def in_one(given: Given, form: ClosedForm, seeds: SeedStream, outputs: tuple[str, ...]) -> Sequence | None:
    """Run a sequence by a kernel and keep the named outputs; None, and nothing is done, where no kernel can be built."""
    current, state, modulation = given
    formula = formula_of(form.structure(modulated=modulation is not None, outputs=outputs))
    inputs = {"current": current} if modulation is None else {"current": current, "modulation": modulation}
    prepared = kernels.prepare(formula, state._asdict(), inputs, form.constants, len(current))
    if prepared is None:
        return None
    kept, after, lost = prepared.run(_place(seeds.next_steps(len(current)), current))
    last = checked_end(type(state)(**after))
    if lost:
        neurons = current[0].numel()
        raise ArgumentError(
            f"Argument `angles` must be finite, but of {lost} of the {neurons} neurons they became NaN or infinite."
        )
    return Sequence(kept, last)


def step_by_step(
    given: Given, one_step: OneStep, settings: Settings, seeds: SeedStream, *, drawn: DrawnTrains | None
) -> Iterator[Step]:
    """Run a sequence and yield every step; `drawn` are its spikes where they were decided before."""
    state, draws = given.state, philox.Draws()
    noisy = any(row.noisy for row in settings.mechanisms)
    for time, now in enumerate(given.current):
        modulation = None if given.modulation is None else given.modulation[time]
        steps = seeds.next_steps(1)
        place = _place(steps, given.current, draws)
        noise = constant(now, place.normal) if noisy else None
        step = one_step(state, Moment(time, now, modulation, noise, place, steps))
        state = step.state
        if drawn is not None and settings.refractory_period:
            # A spike that was read wrongly within the period begins it again.
            state = state._replace(refractory=state.refractory.clamp(max=settings.refractory_period))
            step = step._replace(state=state)
        yield step
    checked_end(state)


def exact_step(form: ClosedForm, drawn: DrawnTrains | None) -> OneStep:
    """Steps by the formula that kernels are made of, in torch; `drawn` are the spikes where they were decided before."""

    def one_step(state: QLIFState, at: Moment) -> Step:
        formula = formula_of(form.structure(modulated=at.modulation is not None, outputs=()))
        values = {**state._asdict(), **form.constants, "current": at.current}
        if at.modulation is not None:
            values["modulation"] = at.modulation.expand_as(at.current)
        if at.noise is not None:
            values["noise"] = at.noise
        if drawn is not None:
            values["drawn"] = drawn.spikes[at.time]
        elif formula.random:
            values["uniform"] = constant(at.current, at.place.uniform)
        found = formula.step(values)
        angle = found.get("angle")
        if angle is not None and angle.device.type == "cpu":
            check.finite("angles", angle)
        return Step(
            type(state)(*(found[name] for name in state._fields)),
            found["spikes"],
            found["gap"],
            found["potential"],
            found["threshold"],
            angle,
            found.get("probability"),
            found.get("active"),
        )

    return one_step


def measured_step(decision: QuantumDecision, values: Callable[[], Mapping[str, Tensor]], drawn: DrawnTrains | None) -> OneStep:
    """Steps whose decisions a backend makes.

    Args:
        decision: how the qubits are evaluated.
        values: gives the constants per neuron as they are now, `(num_neurons,)` each.
        drawn: the spikes where they were decided before.
    """
    settings = decision.settings

    def one_step(state: QLIFState, at: Moment) -> Step:
        now = values()
        dynamics = Dynamics.of(settings, now)
        active = state.refractory == 0 if settings.refractory_period else None
        state, gap = integrate(state, at.current, dynamics, modulation=at.modulation, noise=at.noise)
        angle = angle_of(settings, now, state, gap, dynamics, at.modulation)
        if drawn is None:
            spikes, probability = decision.decide(angle, active, at.steps.seeds(0)[:2], at.place.uniform)
        else:
            spikes, probability = drawn.decide(at.time, angle, active)
        after = settle(state, spikes, dynamics, modulation=at.modulation)
        compared = threshold(state, dynamics, at.modulation)
        return Step(after, spikes, gap, state.voltage, compared, angle, probability, active)

    return one_step


def draw_trains(
    given: Given,
    decision: QuantumDecision,
    neuron: Neuron,
    seeds: SeedStream,
    *,
    tolerance: float,
    parameters: Iterable[Tensor],
) -> DrawnTrains:
    """The trains of a sequence, drawn in one call of the backend.

    Args:
        given: what is run.
        decision: how the qubits are evaluated.
        neuron: the neurons, which `check_trainable` lets pass.
        seeds: the layer's noise.
        tolerance: the largest error of an angle, radians.
        parameters: what the layer trains.

    Raises:
        UnsupportedError: where derivatives go forward through the input or a parameter.
    """
    if given.transformed(parameters):
        raise UnsupportedError(
            "Argument `loop` must be 'host' under forward-mode differentiation and torch.func: call `backward` or "
            "`torch.autograd.grad`."
        )
    steps = seeds.next_steps(1)
    seed, gradient_seed, *_ = steps.seeds(0)
    # The rows of another process have noise of their own.
    seed = (seed + steps.first_row * 0x9E3779B97F4A7C15) % (MAX_SEED + 1)
    spikes = drawn_trains(decision.backend, neuron, *given, tolerance=tolerance, seed=seed)
    return DrawnTrains(decision, spikes, gradient_seed)


def _place(steps: Steps, current: Tensor, draws: philox.Draws | None = None) -> philox.Place:
    """Where the random numbers of steps begin, for a layer of as many neurons as the current has."""
    return philox.Place(steps.key, steps.position, steps.first_row * current.shape[-1], draws)
