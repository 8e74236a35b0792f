"""Recurrence: the spikes of the last step fed back into a layer."""

from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from qlifq._transforms import uncompiled
from qlifq.errors import DtypeError, ShapeError
from qlifq.neurons.sequential import Chain, check_chain
from qlifq.neurons.temporal import TemporalModule

__all__ = ["Recurrent", "RecurrentState"]


class RecurrentState(NamedTuple):
    """What a recurrent layer carries from one step to the next.

    Args:
        output: the spikes of the last step, `(batch, ...)`.
        layer: the states of the layer.
        connection: the states of the connection; None before it has run.
    """

    output: Tensor
    layer: tuple[Any, ...]
    connection: tuple[Any, ...] | None


torch.serialization.add_safe_globals([RecurrentState])


@final
class Recurrent(TemporalModule):
    """A layer whose spikes of the last step are fed back through a connection: I[t] + connection(s[t − 1]).

    Nothing is fed back to the first step.

    Args:
        layer: what spikes: `QLIF`, `BrandPetruccione`, or whatever a `SpikingSequential` runs with a state.
        connection: any module from spikes, `(batch, ...)`, to what is added to the layer's input; one with a state carries it.

    Raises:
        DtypeError: if either is no module.
        UnsupportedError: if either cannot be run in a chain.

    Example:
        >>> from qlifq.neurons import QLIF
        >>> spikes, state = Recurrent(QLIF(4, seed=0), nn.Linear(4, 4))(torch.rand(10, 3, 4))
        >>> spikes.shape, torch.equal(state.output, spikes[-1])
        (torch.Size([10, 3, 4]), True)
    """

    def __init__(self, layer: nn.Module, connection: nn.Module) -> None:
        super().__init__()
        for name, module in (("layer", layer), ("connection", connection)):
            if not isinstance(module, nn.Module):
                raise DtypeError(f"Argument `{name}` must be a torch module, but is {type(module).__name__}.")
        self.layer, self.connection = layer, connection
        # Neither may end in a readout, which is allowed only last.
        check_chain([layer, connection, layer])

    @uncompiled
    def forward(self, sequence: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """Run a sequence, step by step.

        Args:
            sequence: the input of the layer, `(time, batch, ...)`, at least one step.
            state: the state to start from; None starts at rest.

        Returns:
            The spikes, `(time, batch, ...)`, and the state after the last step.

        Raises:
            ShapeError: for a sequence without steps, or what is fed back has another shape than the input.
            DtypeError: for a state of another kind.
        """
        if state is not None and not isinstance(state, RecurrentState):
            raise DtypeError(f"Argument `state` must be a RecurrentState or None, but is {type(state).__name__}.")
        if not len(sequence):
            raise ShapeError("Argument `sequence` must have at least one step for a recurrent layer, but has none.")
        layer, connection = Chain.of([self.layer]), Chain.of([self.connection])
        of_layer, of_connection = (None, None) if state is None else (state.layer, state.connection)
        output = None if state is None else state.output.unsqueeze(0)
        outputs = []
        for step in range(len(sequence)):
            now = driven = sequence[step : step + 1]
            if output is not None:
                fed_back, of_connection = connection.run(output, of_connection)
                if fed_back.shape != now.shape:
                    needed, found = tuple(now.shape[1:]), tuple(fed_back.shape[1:])
                    raise ShapeError(f"Argument `connection` must return {needed} like the input, but returned {found}.")
                driven = now + fed_back
            output, of_layer = layer.run(driven, of_layer)
            outputs.append(output)
        return torch.cat(outputs), RecurrentState(outputs[-1][0], of_layer or (), of_connection)
