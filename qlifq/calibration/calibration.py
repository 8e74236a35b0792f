"""A calibration: the data, what they say, and what follows for a layer."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._transforms import cached
from qlifq.backends import Backend, DeviceNoise
from qlifq.backends.mitigation import ReadoutMitigated
from qlifq.calibration.analysis import Analysis, analyse
from qlifq.calibration.closed_form import solve
from qlifq.calibration.correction import Correction, Target, at_a_point, numbers_through, over_a_range
from qlifq.calibration.likelihood import chi_squared_tail
from qlifq.calibration.measurement import Measurement, json_values
from qlifq.calibration.models import NEURON, RESPONSE
from qlifq.calibration.site_table import aligned, least_p_value, p_text, sites_of, table_of
from qlifq.circuits import RYSpike, SinusoidalResponse, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError
from qlifq.neurons.mapping import MAPPINGS

__all__ = ["Calibration", "Layer"]

_ALARM = 1e-3


class Settings(Protocol):
    """The settings of a layer that matter here."""

    @property
    def quantum_wire(self) -> int:
        """Sites per neuron."""


class Layer(Protocol):
    """What a correction is applied to: a `qlifq.QLIF`, as far as it matters here."""

    num_neurons: int
    backend: Backend

    @property
    def settings(self) -> Settings:
        """The neuron's parameters."""

    @property
    def circuit(self) -> SpikeCircuit:
        """What a spike decision runs."""

    @property
    def mapping(self) -> str:
        """The name of the mapping."""

    @property
    def q_scale(self) -> Tensor:
        """`(num_neurons,)`."""

    @property
    def q_bias(self) -> Tensor:
        """`(num_neurons,)`."""

    def shared(self, name: str) -> float:
        """A number that all neurons share, or the reason why there is none."""

    def assign(self, **values: Tensor) -> None:
        """Set values per neuron."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was measured of a backend, site by site, and what follows from it.

    It is also a model of the backend: `qlifq.backends.get("twin", record=calibration)`.

    Args:
        measurement: the data.
    """

    measurement: Measurement

    @cached_property
    @cached()
    def analysis(self) -> Analysis:
        """The fits and the tests of all sites."""
        return analyse(self.measurement)

    @property
    def sites(self) -> int:
        """How many sites were measured."""
        return self.measurement.sites

    @property
    def source(self) -> str:
        """A description of what was measured, see `Measurement.source`."""
        return self.measurement.source

    @property
    def circuit(self) -> SpikeCircuit:
        """The circuit that was measured."""
        return self.measurement.design.circuit

    @property
    def response(self) -> SinusoidalResponse:
        """The response P(1) = a + b cos θ + c sin θ of every site as measured, float64, `(sites,)`."""
        return SinusoidalResponse(*self.analysis.response.value.unbind(-1))

    def unidentified_reason(self, parameter: str, site: int) -> str | None:
        """One sentence on why a parameter of a site has no estimate; None where it has one.

        Args:
            parameter: "a", "b", "c", "q_scale", "q_bias", "readout_p01" or "readout_p10".
            site: from 0.

        Raises:
            ArgumentError: for another parameter or site.
            DtypeError: if the site is not an integer.
        """
        check.choice("parameter", parameter, (*RESPONSE, *NEURON))
        check.integer("site", site, at_least=0, at_most=self.sites - 1)
        fit, names = (self.analysis.response, RESPONSE) if parameter in RESPONSE else (self.analysis.neuron, NEURON)
        if not bool(fit.value[site, names.index(parameter)].isnan()):
            return None
        if parameter in NEURON[:2] and not len(self.measurement.design.gaps):
            return f"{parameter} of site {site} cannot be identified: no gap was measured, only angles that were set directly"
        if not bool(fit.converged[site]):
            return f"{parameter} of site {site} cannot be identified: the likelihood has no maximum near what was programmed"
        condition = float(fit.condition[site])
        if condition > 1e10:
            return f"{parameter} of site {site} cannot be identified: the angles are too similar to separate it from the others"
        return f"{parameter} of site {site} cannot be identified: {self.measurement.data.describe()} are too few"

    @torch.inference_mode(False)  # a correction is made of derivatives
    def correct(
        self,
        *,
        p0: float | None = None,
        slope: float | None = None,
        q_scale: Tensor | None = None,
        q_bias: Tensor | None = None,
        span: tuple[float, float] | None = None,
        wires: int = 1,
    ) -> Correction:
        """The q_scale and q_bias of every neuron with which its qubits respond as the target does.

        The target is the response of a qubit without errors: with a baseline `p0` and a `slope` at gap 0, or with the
        given `q_scale` and `q_bias`, or else with those that were programmed. Without `span` the baseline and the slope at
        gap 0 are met; with it, the mean square over that range of gaps is least.

        Args:
            p0: target P(1) at gap 0, strictly between 0 and 1.
            slope: target dP(1)/dΔ at gap 0; goes with `p0`.
            q_scale: target numbers, `(neurons,)`.
            q_bias: go with `q_scale`, same shape.
            span: lowest and highest gap of the range.
            wires: how many neighbouring sites a neuron pools, as the layer's `quantum_wire`.

        Returns:
            A `Correction` with one row per neuron.

        Raises:
            QLIFError: if an argument cannot be used or goes with another that is not given, or a response was not identified.
        """
        design = self.measurement.design
        response, covariance = self._pooled(check.integer("wires", wires, at_least=1))
        neurons = len(response.a)
        if (p0 is None) != (slope is None) or (q_scale is None) != (q_bias is None) or (p0 is not None and q_scale is not None):
            raise ArgumentError("The target must be given as `p0` and `slope`, or as `q_scale` and `q_bias`, or not at all.")
        if p0 is not None and slope is not None:
            scale, offset = self._designed(p0, slope, neurons)
        elif q_scale is not None and q_bias is not None:
            for name, value in (("q_scale", q_scale), ("q_bias", q_bias)):
                check.shape_of(name, check.finite(name, check.tensor(name, value)), (neurons,))
            scale, offset = (value.detach().to("cpu", torch.float64) for value in (q_scale, q_bias))
            offset = offset - design.quantum_leak
        else:
            scale, offset = design.q_scale[::wires], design.q_bias[::wires] - design.quantum_leak
        target = Target(design.mapping, scale.clone(), offset.clone(), design.theta_max, design.ideal)
        if span is None:
            return at_a_point(target, response, covariance, design.quantum_leak)._replace(source=self.source)
        low, high = (check.real("span", end) for end in span)
        if low >= high:
            raise ArgumentError(f"Argument `span` must be a lower and a higher gap, but is ({low:g}, {high:g}).")
        return over_a_range(target, response, covariance, design.quantum_leak, (low, high))._replace(source=self.source)

    def apply_to(
        self,
        layer: Layer,
        *,
        p0: float | None = None,
        slope: float | None = None,
        span: tuple[float, float] | None = None,
        unreachable: str = "refuse",
    ) -> Correction:
        """Set the q_scale and q_bias of a layer so that on this backend it answers as it was designed to.

        The target is the response that the layer's own numbers have on a qubit without errors, or `p0` and `slope`. So this
        is done once, on the layer as designed: a second call would correct what is corrected already.

        Args:
            layer: a `qlifq.QLIF` on the backend that was calibrated, or on its twin.
            p0: as for `correct`.
            slope: as for `correct`.
            span: as for `correct`.
            unreachable: what becomes of neurons that cannot reach the target at gap 0: "refuse" corrects none, "keep" leaves
                these as they are and corrects the others.

        Returns:
            The correction that was applied, NaN for a neuron that was left as it is.

        Raises:
            QLIFError: if the layer does not match the calibration, or a neuron cannot reach the target. Nothing is changed.
        """
        check.choice("unreachable", unreachable, ("refuse", "keep"))
        design, settings = self.measurement.design, layer.settings
        required: dict[str, tuple[object, object]] = {
            "mapping": (layer.mapping, design.mapping),
            "quantum_leak": (layer.shared("quantum_leak"), design.quantum_leak),
            "circuit": (layer.circuit.draw(), self.circuit.draw()),
        }
        for name, needed in MAPPINGS[design.mapping].own(design).items():
            required[name] = (layer.shared(name), needed)
        for name, (have, need) in required.items():
            if have != need:
                raise UnsupportedError(f"The calibration was made with {name} {need!r}, but the layer has {have!r}.")
        if layer.num_neurons * settings.quantum_wire != self.sites:
            raise ShapeError(
                f"The calibration has {self.sites} sites, but the layer has {layer.num_neurons} neurons "
                f"of {settings.quantum_wire} wires."
            )
        if not layer.backend.capabilities.record:
            self.check_backend(layer.backend)
        programmed = {"q_scale": layer.q_scale.flatten(), "q_bias": layer.q_bias.flatten()}
        own = programmed if p0 is None else {}
        found = self.correct(p0=p0, slope=slope, span=span, wires=settings.quantum_wire, **own)
        lost = found.q_scale.isnan().nonzero()
        if len(lost) and unreachable == "refuse":
            worst = int(lost[0])
            raise ArgumentError(
                f"{len(lost)} of {layer.num_neurons} neurons cannot reach the target at gap 0: neuron {worst} answers from "
                f"{float(found.floor[worst]):.3f} to {float(found.ceiling[worst]):.3f}; give a `span`, another `p0`, "
                "or unreachable='keep'."
            )
        kept = found.q_scale.isnan()
        numbers = {"q_scale": (found.q_scale, programmed["q_scale"]), "q_bias": (found.q_bias, programmed["q_bias"])}
        corrected = {name: torch.where(kept.to(own.device), own, new.to(own)) for name, (new, own) in numbers.items()}
        layer.assign(**{name: value.reshape(layer.q_scale.shape) for name, value in corrected.items()})
        return found

    def check_backend(self, backend: Backend) -> None:
        """Refuse a backend that is another than was calibrated, stands on other qubits or has another noise; runs nothing.

        A record of an earlier qlifq does not state its noise; it is not compared then. The data of somebody else name no
        backend: which one they describe is for the user to know, and every backend passes.
        """
        if not isinstance(backend, Backend):
            raise DtypeError(f"Argument `backend` must be a Backend, but is {type(backend).__name__}.")
        if self.measurement.backend is None:
            return
        if backend.name != self.measurement.backend:
            raise UnsupportedError(f"The calibration is of backend {self.measurement.backend}, but this is {backend.name}.")
        reported = backend.run(self.circuit, torch.zeros(0, self.sites, 1), shots=1, seed=0).metadata
        for name, now in json_values(reported).items():
            then = self.measurement.details.get(name)
            if then != now and not (name == "noise" and then is None):
                raise UnsupportedError(f"The calibration is of {name} {then}, but this backend has {now}.")

    def device_noise(self) -> DeviceNoise:
        """The response of every site as readout errors of a `DeviceNoise`, where the data allow it.

        P(1) of |0⟩ is a + b and that of |1⟩ is a − b. For one circuit, relaxation and gate errors cannot be distinguished from
        readout errors, so all are in these two numbers. What is left is c, which no readout error can give.

        Raises:
            QLIFError: if the circuit is not `RYSpike`, a site's response was not identified, its counts do not follow one, or
                c is not 0 within its error.
        """
        if self.circuit.gates != RYSpike().gates:
            raise UnsupportedError(
                f"The readout errors follow from {RYSpike().draw()} alone, but this is {self.circuit.draw()}."
            )
        response, _ = self._pooled(1)
        skewed = chi_squared_tail((response.c / self.analysis.response.standard_error[:, 2]).square(), 1)
        for p_value, why in ((self.analysis.p_value, "does not follow a + b cos θ + c sin θ"), (skewed, "has a part in sin θ")):
            site = int(p_value.nan_to_num(1.0).argmin())
            if float(p_value[site]) * self.sites < _ALARM:
                raise UnsupportedError(
                    f"The response of site {site} {why} (p = {float(p_value[site]):.1e}), so no readout errors describe it."
                )
        zero, one = (response.a + response.b).clamp(0.0, 1.0), (response.a - response.b).clamp(0.0, 1.0)
        return DeviceNoise(readout_p01=zero.tolist(), readout_p10=(1 - one).tolist())

    def mitigate(self, backend: Backend) -> ReadoutMitigated:
        """A backend whose estimates of P(1) have the measured readout errors taken off; see `ReadoutMitigated`.

        Raises:
            QLIFError: if a readout error of a site was not identified, or this is another backend than was calibrated.
        """
        self.check_backend(backend)
        for name in ("readout_p01", "readout_p10"):
            for site in range(self.sites):
                if (reason := self.unidentified_reason(name, site)) is not None:
                    raise UnsupportedError(f"{reason}.")
        readout_p01, readout_p10 = self.analysis.neuron.value[:, 2:].unbind(-1)
        return ReadoutMitigated(backend, readout_p01.tolist(), readout_p10.tolist())

    def table(self) -> list[tuple[str, ...]]:
        """A header and one row per site, or the least, the median and the most where there are too many sites to read."""
        return table_of(self.analysis)

    def facts(self) -> dict[str, object]:
        """What `str` prints, as numbers and text, of every site however many there are; NaN for what is not known."""
        return {
            "source": self.source,
            "mapping": self.measurement.design.mapping,
            "rounds": self.measurement.data.rounds,
            "time_utc": self.measurement.time_utc,
            "sites": sites_of(self.analysis),
            "least_p_value": self._least_p_values(),
        }

    def _least_p_values(self) -> dict[str, float]:
        tests = (self.analysis.p_value, self.analysis.drift_p_value, self.analysis.crosstalk_p_value)
        return {name: least_p_value(test) for name, test in zip(("fit", "drift", "crosstalk"), tests, strict=True)}

    def __str__(self) -> str:
        measured = self.measurement
        worst = " · ".join(f"{name} {p_text(value)}" for name, value in self._least_p_values().items())
        head = (
            f"calibration of {self.source} · {_counted(self.sites, 'site')} · mapping {measured.design.mapping} · "
            f"{measured.data.describe()} in {_counted(measured.data.rounds, 'round')} · {measured.time_utc}"
        )
        return "\n".join([head, *aligned(self.table()), f"least p-value over all sites, Bonferroni: {worst}"])

    def _designed(self, p0: float, slope: float, neurons: int) -> tuple[Tensor, Tensor]:
        """The q_scale and offset with which the circuit without errors has this P(1) and slope at gap 0."""
        design = self.measurement.design
        if self.circuit.gates == RYSpike().gates:
            numbers = torch.tensor(
                solve(design.mapping, p0, slope, **MAPPINGS[design.mapping].own(design)), dtype=torch.float64
            )
        else:
            floor, ceiling = (float(end) for end in design.ideal.extremes())
            given = torch.tensor(
                [check.real("p0", p0, above=floor, below=ceiling), check.real("slope", slope)], dtype=torch.float64
            )
            numbers = torch.stack(numbers_through(design.mapping, design.ideal, given[0], given[1], design.theta_max))
            if not bool(numbers.isfinite().all()):
                raise ArgumentError(f"Argument `p0` must be within reach of mapping {design.mapping!r}, but is {p0:g}.")
        return numbers[0].expand(neurons), numbers[1].expand(neurons)

    def _pooled(self, wires: int) -> tuple[SinusoidalResponse, Tensor]:
        """The response of each neuron, the mean over its wires, and its covariance."""
        if self.sites % wires:
            raise ShapeError(f"Argument `wires` must divide the {self.sites} sites, but is {wires}.")
        for site, name in self.analysis.response.value.isnan().nonzero().tolist():
            raise UnsupportedError(f"{self.unidentified_reason(RESPONSE[name], site)}.")
        value = self.analysis.response.value.reshape(-1, wires, len(RESPONSE)).mean(1)
        covariance = self.analysis.response.covariance.reshape(-1, wires, len(RESPONSE), len(RESPONSE)).sum(1) / wires**2
        return SinusoidalResponse(*value.unbind(-1)), covariance


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
