"""Conformance checks of what a backend answers: probabilities, counts, their order, their gradient."""

import math

import torch

from qlifq.backends.conformance.harness import CHECKED_CIRCUITS, RY, TOLERANCE, Harness, counts, inside, near
from qlifq.backends.gradients import parameter_shift
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ConformanceError, UnsupportedError

__all__ = ["counts_agree", "equal_angles", "gradient", "ideal", "order", "probabilities", "response", "where"]

#: How far an autograd derivative may be from parameter shift.
GRADIENT_TOLERANCE = 1e-8
#: Full, half and quarter turns, both ways.
TURNS = (0.0, math.pi / 2, math.pi, 2 * math.pi, -math.pi / 2, -math.pi)


def probabilities(circuit: SpikeCircuit, harness: Harness) -> str:
    """Exact P(1) at random angles and at the boundaries, where it must stay within [0, 1] to the last bit."""
    agreed = harness.agree_exactly(circuit, harness.angles(circuit, 4, harness.sites(2), all_at=TURNS))
    slots = [slot for slot in range(circuit.num_angles) if slot not in circuit.delay_slots]
    for dtype in (torch.float32, torch.float64):
        for turn in TURNS:
            # Rotations that add up to half turns, where rounding leads out: the arcsine of √P(1) is NaN from an ulp on.
            angles = harness.angles(circuit, 24, harness.sites(2))
            angles[..., slots[-1]] = turn - angles[..., slots[:-1]].sum(-1)
            inside(harness.run(angles.to(dtype), None, circuit=circuit).probability, angles)
    return f"{agreed}, within [0, 1]"


def counts_agree(circuit: SpikeCircuit, harness: Harness) -> str:
    """The law of the counts at random angles and, where P(1) is 0 or 1 without noise, at the boundaries."""
    turns = (0.0, math.pi) if circuit == RY else ()
    return harness.agree_in_law(circuit, harness.angles(circuit, 2, harness.sites(2), all_at=turns), harness.bias)


def order(axis: str, harness: Harness) -> str:
    """Angles that differ along one axis alone, over more places than one circuit of a packing backend has.

    P(1) of neighbours differs by 0.02 at the ends of the ladder and by 0.07 in its middle.
    """
    places = harness.sites(19) if axis == "site" else 19
    ladder = torch.linspace(0.3, 2.8, places, dtype=torch.float64, device=harness.device)
    angles = ladder[None, :, None] if axis == "site" else ladder[:, None, None].expand(-1, harness.sites(1), -1)
    return harness.agree(RY, angles, 0.05)


def equal_angles(harness: Harness) -> str:
    """Equal angles at every site, so that only the noise of the sites differs."""
    return harness.agree(RY, harness.angles(RY, 0, harness.sites(3), all_at=(math.pi, 0.0)), harness.bias)


def where(harness: Harness) -> str:
    """Some, none and all of the evaluations are selected."""
    angles = harness.angles(RY, 4, harness.sites(2))
    truth = harness.truth(RY, angles)
    some = torch.zeros(truth.shape, dtype=torch.bool, device=harness.device)
    some[1:3] = True
    some[1, 0] = False
    for selected in (some, torch.zeros_like(some), torch.ones_like(some)):
        for shots in harness.modes:
            outcome = harness.run(angles, shots, where=selected)
            if bool((outcome.probability[~selected] != 0).any()):
                raise ConformanceError("an evaluation that is not selected has a probability other than 0")
            if shots is None:
                near((outcome.probability - truth).abs() * selected, angles, TOLERANCE)
            else:
                harness.plausible(counts(outcome), shots, truth * selected, angles)
    return "unwanted evaluations are 0, the others as without it"


def gradient(circuit: SpikeCircuit, harness: Harness) -> str:
    """The derivative of a differentiable backend; the others must carry no graph that leads nowhere."""
    angles = harness.angles(circuit, 3, harness.sites(2)).requires_grad_()
    for shots in harness.modes:
        probability = harness.run(angles, shots, circuit=circuit).probability
        if probability.requires_grad != harness.can.differentiable:
            carries = "carries a graph" if probability.requires_grad else "carries no graph"
            raise ConformanceError(f"it declares differentiable={harness.can.differentiable}, but the probability {carries}")
        if probability.requires_grad:
            (derivative,) = torch.autograd.grad(probability.sum(), angles)
            shifted = parameter_shift(harness.oracle, circuit, angles.detach(), shots=None, seed=None)
            near((derivative - shifted).abs().amax(-1), angles.detach(), GRADIENT_TOLERANCE, "∂P(1)/∂θ")
    return "autograd equals parameter shift" if harness.can.differentiable else "no graph"


def ideal(harness: Harness) -> str:
    """`ideal` is declared if, and only if, exact probabilities and gradients are those of the closed form without noise."""
    wrong = _wrong_against_closed_form(harness) if harness.can.exact and harness.can.differentiable else "no exact gradient"
    if harness.can.ideal and wrong:
        raise ConformanceError(f"it declares ideal=True, but has {wrong}")
    # A noise can be given that does nothing; a backend need not detect that.
    if not harness.can.ideal and not wrong and getattr(harness.backend, "noise", None) is None:
        raise ConformanceError("it declares ideal=False, but its probabilities and gradients are those of the closed form")
    return "as the closed form" if harness.can.ideal else wrong or "a noise that does nothing"


def _wrong_against_closed_form(harness: Harness) -> str:
    """The first difference from the closed form; empty where there is none."""
    for name in ("RYSpike", "RY-RZ-RX"):
        circuit = CHECKED_CIRCUITS[name]
        angles = harness.angles(circuit, 3, harness.sites(2)).requires_grad_()
        try:
            probability = harness.run(angles, None, circuit=circuit).probability
        except UnsupportedError:
            continue
        closed_form = circuit.probability(angles)
        if (error := float((probability - closed_form).detach().abs().max())) > TOLERANCE:
            return f"a P(1) of {name} that differs from the closed form by {error:.2g}"
        derivatives = [torch.autograd.grad(each.sum(), angles)[0] for each in (probability, closed_form)]
        if (error := float((derivatives[0] - derivatives[1]).abs().max())) > GRADIENT_TOLERANCE:
            return f"a ∂P(1)/∂θ of {name} that differs from the closed form by {error:.2g}"
    return ""


def response(harness: Harness) -> str:
    """The closed form of P(1) that a backend reports for one angle is the truth."""
    sites = harness.sites(2)
    law = harness.backend.response(RY, sites)
    if law is None:
        return "not known"
    angles = harness.angles(RY, 4, sites, all_at=TURNS)
    near((law.probability(angles[..., 0]) - harness.truth(RY, angles)).abs(), angles, TOLERANCE, "the P(1) of `response`")
    return f"{angles[..., 0].numel()} evaluations"
