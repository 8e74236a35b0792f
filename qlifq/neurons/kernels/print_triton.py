"""Prints a program as Triton: one lane per neuron, its state in registers over all time."""

from collections.abc import Mapping, Sequence

from qlifq.neurons.kernels.graph import SIGNS, Graph, Operand
from qlifq.neurons.kernels.program import Derivative, Program, Shape, arrays

__all__ = ["NUMBERS", "source"]

#: The numbers that a kernel is given after its arrays and the strides of its inputs.
NUMBERS = ("T", "M", "N", "K", "key", "place", "position")

_CALLS = {
    "abs": "tl.abs",
    "exp": "tl.exp",
    "log": "tl.log",
    "sqrt": "tl.sqrt",
    "sin": "sine",
    "cos": "cosine",
    "where": "tl.where",
}

#: The functions that Triton has not, or has slower. The bound of `least` and `greatest` stands first, so that a NaN passes.
#: Sine and cosine in float32 subtract multiples of π by three constants whose products are exact and take a polynomial, as on
#: CPUs: those of CUDA keep a way for arguments of any size, which costs registers and a stack. Philox multiplies 32 bits by 32
#: in one instruction where the two halves of the product would take one each.
_PRELUDE = """
import triton
import triton.language as tl


@triton.jit
def least(x, y):
    return tl.where(y < x, y, x)


@triton.jit
def greatest(x, y):
    return tl.where(y > x, y, x)


@triton.jit
def lerp(a, b, w):
    return tl.where(w < 0.5, a + w * (b - a), b - (b - a) * (1.0 - w))


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x):
    e = tl.exp(-2.0 * tl.abs(x))
    y = (1.0 - e) / (1.0 + e)
    return tl.where(x < 0.0, -y, y)


@triton.jit
def sign(x):
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, 0.0))


@triton.jit
def sine_of_turns(x, turns):
    r = ((x - turns * 3.140625) - turns * 9.675025939941406e-4) - turns * 1.5099067240953445e-7
    s = r * r
    y = 2.6083159809786593541503e-6
    y = y * s - 1.981069071916863322258e-4
    y = y * s + 8.33307858556509017944336e-3
    y = y * s - 1.66666597127914428710938e-1
    return r + r * s * y


@triton.jit
def sine(x):
    if x.dtype == tl.float32:
        turns = tl.floor(x * 0.3183098861837907 + 0.5)
        value = sine_of_turns(x, turns)
        return tl.where((turns.to(tl.int32) & 1) == 1, -value, value)
    else:
        return tl.sin(x)


@triton.jit
def cosine(x):
    if x.dtype == tl.float32:
        turns = tl.floor(x * 0.3183098861837907)
        value = sine_of_turns(x, turns + 0.5)
        return tl.where((turns.to(tl.int32) & 1) == 1, value, -value)
    else:
        return tl.cos(x)


@triton.jit
def halves(x, FACTOR: tl.constexpr):
    product = x.to(tl.uint64) * FACTOR
    return (product >> 32).to(tl.uint32), product.to(tl.uint32)


@triton.jit
def draws(key, at, block, KIND: tl.constexpr):
    # The interpreter gives numbers no more bits than they need.
    wide, key = block.to(tl.uint64), key.to(tl.uint64)
    c0, c1 = at.to(tl.uint32), (at >> 32).to(tl.uint32)
    c2, c3 = wide.to(tl.uint32), (wide >> 32).to(tl.uint32) ^ (KIND << 24)
    k0, k1 = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    for _ in tl.static_range(10):
        high0, low0 = halves(c0, 0xD2511F53)
        high1, low1 = halves(c2, 0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + 0x9E3779B9, k1 + 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def unit(word, SINGLE: tl.constexpr):
    if SINGLE:
        return (word >> 8).to(tl.float32) * 5.9604644775390625e-08
    else:
        return word.to(tl.float64) * 2.3283064365386963e-10


@triton.jit
def normal(first, second, SINGLE: tl.constexpr, SINE: tl.constexpr):
    if SINGLE:
        u = ((first >> 8).to(tl.float32) + 0.5) * 5.9604644775390625e-08
    else:
        u = (first.to(tl.float64) + 0.5) * 2.3283064365386963e-10
    radius = tl.sqrt(-2.0 * tl.log(u))
    angle = unit(second, SINGLE) * 6.283185307179586
    if SINE:
        return radius * sine(angle)
    else:
        return radius * cosine(angle)
"""


def source(program: Program, shape: Shape) -> str:
    """The text of a module with the kernel `forward` and, if the program has gradients, `backward`."""
    printer = _Printer(program, shape)
    parts = [_PRELUDE, printer.forward()]
    if program.derivative is not None:
        parts.append(printer.backward(program.derivative))
    return "\n\n".join(parts)


class _Printer:
    """Prints the kernels of one program."""

    def __init__(self, program: Program, shape: Shape) -> None:
        self.program, self.shape, self.formula = program, shape, program.formula
        self.single = shape.dtype == "float"
        strides = [f"s_{name}_{place}" for name in self.formula.inputs for place in range(3)]
        numbers = [*strides, *(f"s_grad_{name}" for name in self.formula.outputs), *NUMBERS]
        self.arguments = ", ".join([*(f"p_{name}" for name in arrays(program)), *numbers, "LANES: tl.constexpr"])
        # Triton gives a number 32 bits where they suffice for it; 100 steps of 30 million neurons need more in their product.
        self.widened = [f"{name} = {name}.to(tl.int64)" for name in numbers if name != "key"]
        # Else another kernel would be compiled for every number that 16 divides.
        self.decorator = f"@triton.jit(do_not_specialize={numbers!r})"

    def forward(self) -> str:
        """All steps, four at a time.

        One call of the generator serves four steps, and their inputs are loaded together, so that the steps, each of which
        waits for the one before, do not wait for the memory as well.
        """
        program, formula, states = self.program, self.formula, self.program.states
        read = [name for name in formula.inputs if name in program.forward.inputs]
        body = [
            "if (t % K == 0) & (t > 0) & KEEP:",
            *(
                f"    tl.store(p_kept + ((t // K - 1) * {len(states)} + {place}) * M + i, b_{name}, mask=m)"
                for place, name in enumerate(states)
            ),
            *(f"x_{name} = {_word(f'l_{name}_', 'j')}" for name in read),
            *self._renamed(program.forward, {name: f"b_{name}" for name in states}),
            *self._body(program.forward),
            *(self._stored(f"p_out_{name} + t * M + i", program.forward.outputs[f"out_{name}"]) for name in formula.outputs),
            *(f"n_{name} = {self._text(program.forward.outputs['next_' + name])} + zero" for name in states),
            *(f"b_{name} = n_{name}" for name in states),
        ]
        lines = [
            *self._begin(program.forward),
            *(f"b_{name} = {self._loaded(f'p_{name} + i')}" for name in states),
            "for block in range(position // 4, (position + T + 3) // 4):",
            "    start = block * 4 - position",
            *_indented(
                [
                    # A block begins before the first step, or ends after the last: what is loaded for those is not used.
                    f"l_{name}_{j} = {self._input(name, f'tl.minimum(tl.maximum(start + {j}, 0), T - 1)')}"
                    for j in range(4)
                    for name in read
                ]
            ),
            *_indented(self._block_draws("(position + start) // 4", formula.random, formula.noisy)),
            "    for j in tl.static_range(4):",
            "        t = start + j",
            "        if (t >= 0) & (t < T):",
            *_indented([*self._drawn(formula.random, formula.noisy), *body], 3),
            *(self._stored(f"p_next_{name} + i", f"b_{name}", text=True) for name in states),
        ]
        keep = "True" if program.derivative is not None else "False"
        return (
            f"{self.decorator}\ndef forward({self.arguments}):\n    KEEP: tl.constexpr = {keep}\n"
            + "\n".join(_indented(lines))
            + "\n"
        )

    def backward(self, derivative: Derivative) -> str:
        """From the last step to the first: the state before each is computed again from the last that was kept."""
        replay, backward, carried = derivative
        program, formula, states = self.program, self.formula, self.program.states
        inputs = [name for name in formula.inputs if name in program.gradients and name not in self.shape.repeated]
        # What does not depend on the step is added up over the steps.
        constants = [name for name in (*formula.inputs, *formula.constants) if name in program.gradients and name not in inputs]
        own = {name: f"b_{name}" for name in states}
        drawn = ["x_drawn = " + self._loaded("p_out_spikes + t * M + i")] if formula.binary else []
        noise = [*self._block_draws("(position + t) // 4", False, formula.noisy), *self._any_word()] if formula.noisy else []
        again = [
            *drawn,
            *noise,
            *self._input_loads(replay),
            *self._renamed(replay, own),
            *self._body(replay),
            *(f"n_{name} = {self._text(replay.outputs['next_' + name])} + zero" for name in states),
            *(f"b_{name} = n_{name}" for name in states),
        ]
        pull = [
            *drawn,
            *noise,
            *(f"x_grad_out_{name} = {self._loaded(f'p_grad_out_{name} + t * s_grad_{name} + i')}" for name in formula.outputs),
            *self._input_loads(backward),
            *self._renamed(backward, {**own, **{f"grad_next_{name}": f"g_{name}" for name in carried}}),
            *self._body(backward),
            *(f"n_{name} = {self._text(backward.outputs['grad_' + name])} + zero" for name in carried),
            *(f"g_{name} = n_{name}" for name in carried),
            *(self._stored(f"p_grad_{name} + t * M + i", backward.outputs[f"grad_{name}"]) for name in inputs),
            *(f"a_{name} += {self._text(backward.outputs['grad_' + name])} + zero" for name in constants),
        ]
        lines = [
            *self._begin(replay, backward),
            *(f"g_{name} = {self._loaded(f'p_grad_next_{name} + i')}" for name in carried),
            *(f"a_{name} = zero" for name in constants),
            "for back in range(T):",
            "    last = T - 1 - back",
            "    first = last // K * K",
            *_indented([f"b_{name} = {self._loaded(f'p_{name} + i')}" for name in states]),
            "    if first > 0:",
            *_indented(
                [
                    f"b_{name} = {self._loaded(f'p_kept + ((first // K - 1) * {len(states)} + {place}) * M + i')}"
                    for place, name in enumerate(states)
                ],
                2,
            ),
            "    for t in range(first, last):",
            *_indented(again, 2),
            "    t = last",
            *_indented(pull),
            *(self._stored(f"p_grad_{name} + i", f"g_{name}", text=True) for name in program.first),
            *(self._stored(f"p_grad_{name} + i", f"a_{name}", text=True) for name in constants),
        ]
        return f"{self.decorator}\ndef backward({self.arguments}):\n" + "\n".join(_indented(lines)) + "\n"

    def _begin(self, *graphs: Graph) -> list[str]:
        """Which lanes there are, and the constants that the graphs read."""
        read = {name for graph in graphs for name in graph.inputs}
        float_ = "tl.float32" if self.single else "tl.float64"
        return [
            *self.widened,
            "i = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)",
            "m = i < M",
            "row = i // N",
            "column = i % N",
            f"zero = tl.zeros([LANES], dtype={float_})",
            *(
                f"x_{name} = "
                + (f"tl.load(p_{name}).to({float_})" if name in self.shape.shared else self._loaded(f"p_{name} + column"))
                for name in self.formula.constants
                if name in read
            ),
        ]

    def _block_draws(self, block: str, random: bool, noisy: bool) -> list[str]:
        lines = [f"u0, u1, u2, u3 = draws(key, place + i, {block}, 0)"] if random else []
        lines += [f"w0, w1, w2, w3 = draws(key, place + i, {block}, 1)"] if noisy else []
        return lines

    def _drawn(self, random: bool, noisy: bool) -> list[str]:
        """The draws of step j of a block, where j is known when the kernel is compiled."""
        lines = [f"x_uniform = unit({_word('u', 'j')}, {self.single})"] if random else []
        if noisy:
            lines.append(f"x_noise = normal(w0 if j < 2 else w2, w1 if j < 2 else w3, {self.single}, j % 2 == 1)")
        return lines

    def _any_word(self) -> list[str]:
        """The normal draws of a step that is known only when the kernel runs."""
        return [
            "late = (position + t) % 4 >= 2",
            "first_word, second_word = tl.where(late, w2, w0), tl.where(late, w3, w1)",
            f"x_noise = tl.where((position + t) % 2 == 1, normal(first_word, second_word, {self.single}, True), "
            f"normal(first_word, second_word, {self.single}, False))",
        ]

    def _input_loads(self, graph: Graph) -> list[str]:
        return [f"x_{name} = {self._input(name, 't')}" for name in self.formula.inputs if name in graph.inputs]

    def _input(self, name: str, time: str) -> str:
        return self._loaded(f"p_{name} + row * s_{name}_1 + column * s_{name}_2 + {time} * s_{name}_0")

    def _renamed(self, graph: Graph, where: Mapping[str, str]) -> list[str]:
        return [f"x_{name} = {where[name]}" for name in graph.inputs if name in where]

    def _body(self, graph: Graph) -> list[str]:
        return [
            f"{each.name} = {self._expression(each.kind, [self._text(item) for item in each.operands])}"
            for each in graph.operations
        ]

    def _expression(self, kind: str, operands: Sequence[str]) -> str:
        if kind in SIGNS:
            return f"{operands[0]} {SIGNS[kind]} {operands[1]}"
        if kind == "neg":
            return f"-{operands[0]}"
        if kind == "not":
            return f"{operands[0]} == 0"
        if kind == "number":
            return f"tl.where({operands[0]}, 1.0, 0.0)"
        name = _CALLS.get(kind, {"min": "least", "max": "greatest"}.get(kind, kind))
        return f"{name}({', '.join(operands)})"

    def _text(self, item: Operand) -> str:
        """An operand as Triton: a number in full, an input by its prefix."""
        if isinstance(item, float):
            return 'float("inf")' if item == float("inf") else repr(item)
        return item if item.startswith("v") and item[1:].isdigit() else f"x_{item}"

    def _loaded(self, place: str) -> str:
        """Computed in float32 at least, whatever the memory holds."""
        return f"tl.load({place}, mask=m, other=0.0).to({'tl.float32' if self.single else 'tl.float64'})"

    def _stored(self, place: str, value: Operand, *, text: bool = False) -> str:
        return f"tl.store({place}, ({value if text else self._text(value)}) + zero, mask=m)"


def _word(name: str, j: str) -> str:
    """That of four variables whose number is j."""
    return f"{name}0 if {j} == 0 else ({name}1 if {j} == 1 else ({name}2 if {j} == 2 else {name}3))"


def _indented(lines: Sequence[str], times: int = 1) -> list[str]:
    return ["    " * times + line for line in lines]
