"""Prints a program as C++: the loop over time around one step, over lanes of neurons, over threads."""

from collections.abc import Mapping, Sequence
from importlib.resources import files

from qlifq.neurons.kernels.graph import SIGNS, Graph, Operand
from qlifq.neurons.kernels.program import Derivative, Program, Shape, arrays

__all__ = ["source"]

_CALLS = {
    "abs": "std::fabs",
    "sign": "sign_of",
    "exp": "exp_",
    "log": "log_",
    "sqrt": "std::sqrt",
    "sin": "sin_",
    "cos": "cos_",
    "tanh": "tanh_",
    "sigmoid": "sigmoid_",
    "asin": "std::asin",
    "atan": "std::atan",
    "erf": "std::erf",
    "min": "least",
    "max": "greatest",
    "lerp": "lerp_",
}


def source(program: Program, shape: Shape) -> str:
    """The text of a shared library with the function `forward` and, if the program has gradients, `backward`."""
    printer = _Printer(program, shape)
    prelude = files("qlifq.neurons.kernels").joinpath("prelude.h").read_text(encoding="utf-8")
    parts = [f"typedef {shape.dtype} real;", prelude, _CALL, printer.forward()]
    if program.derivative is not None:
        parts.append(printer.backward(program.derivative))
    return "\n".join(parts)


#: Sizes and places of a call; the arrays stand in `arrays`, in an order that printer and caller share.
_CALL = """
struct Call {
    void **arrays;
    const int64_t *strides;
    int64_t steps, elements, neurons, interval, threads;
    uint64_t key, place, position;
};
#define ARRAY(index) ((real *)call->arrays[index])
"""


class _Printer:
    """Prints the functions of one program.

    Names in the text: `x_` what a graph reads, `o_` a row of outputs, `b_` a state of every lane, `s_` the states of the steps
    between two that were kept and `p_` one of them, `g_` a row of gradients of outputs, `gs_` the gradient of a state, `gi_` of
    an input, `gc_` and `a_` of a constant for a thread and for a chunk, `k_` and `u_` a constant per neuron and for all.
    """

    def __init__(self, program: Program, shape: Shape) -> None:
        self.program, self.shape = program, shape
        formula = program.formula
        used = {name for graph in program.graphs for name in graph.inputs}
        self.inputs = formula.inputs
        self.constants = tuple(name for name in formula.constants if name in used)
        self.places = {name: place for place, name in enumerate(arrays(program))}
        #: Those whose gradient is the sum over the steps: inputs that are the same at every step, and constants.
        self.summed_inputs = [name for name in self.inputs if name in program.gradients and name in shape.repeated]
        self.summed_constants = [name for name in self.constants if name in program.gradients]

    def forward(self) -> str:
        """All steps of a chunk of lanes, chunk after chunk: its states stay in the nearest cache meanwhile."""
        graph, formula, states = self.program.forward, self.program.formula, self.program.states
        lanes = [
            *self._loads(graph, {name: f"b_{name}[i]" for name in states}),
            *self._body(graph),
            *(f"o_{name}[i] = {_text(graph.outputs['out_' + name])};" for name in formula.outputs),
            *(f"b_{name}[i] = {_text(graph.outputs['next_' + name])};" for name in states),
            # 0 times what is infinite or no number is no number, and stays one.
            *([f"sound[i] += real(0) * {_text(graph.outputs['checked'])};"] if formula.checked else []),
        ]
        step = [
            *_block("if (kept && t && t % K == 0)", *(_copy(self._kept(name, "t"), f"b_{name}") for name in states)),
            *self._draws(random=formula.random, noisy=formula.noisy, begins="t == 0"),
            *(["const real *noise_row = normal[word];"] if formula.noisy else []),
            *self._input_rows(),
            *(f"real *o_{name} = {self._at('out_' + name)} + t * M + c;" for name in formula.outputs),
            *_over_lanes(*lanes),
        ]
        chunk = [
            *self._chunk(),
            *(line for name in states for line in _buffer(f"b_{name}", f"{self._at(name)} + c")),
            *(["real sound[LANES] = {};"] if formula.checked else []),
            *_block("for (int64_t t = 0; t < T; t++)", *step),
            *(self._lost() if formula.checked else []),
            *(_copy(f"{self._at('next_' + name)} + c", f"b_{name}") for name in states),
        ]
        function = [
            *self._header(),
            f"real *kept = {self._at('kept')};",
            "#pragma omp parallel for schedule(static) num_threads(call->threads) if (call->threads > 1)",
            *_block("for (int64_t c = 0; c < M; c += LANES)", *chunk),
        ]
        return "\n".join(_block('extern "C" void forward(const Call *call)', *function))

    def backward(self, derivative: Derivative) -> str:
        """From the last step to the first, in stretches of K: states are computed again from the last that was kept."""
        program, states, carried = self.program, self.program.states, derivative.carried
        stretch = [
            "first = (last - 1) / K * K;",
            *(_copy(f"s_{name}[0]", f"(first ? {self._kept(name, 'first')} : {self._at(name)} + c)") for name in states),
            *_block("for (int64_t t = first; t < last; t++)", *self._replayed(derivative.replay)),
            *_block("for (int64_t t = last - 1; t >= first; t--)", *self._pulled(derivative)),
        ]
        chunk = [
            *self._chunk(),
            *(line for name in carried for line in _buffer(f"gs_{name}", f"{self._at('grad_next_' + name)} + c")),
            *(f"real a_{name}[LANES] = {{}};" for name in (*self.summed_inputs, *self.summed_constants)),
            *_block("for (int64_t last = T, first; last > 0; last = first)", *stretch),
            *(_copy(f"{self._at('grad_' + name)} + c", f"gs_{name}") for name in program.first),
            *(_copy(f"{self._at('grad_' + name)} + c", f"a_{name}") for name in self.summed_inputs),
            *(self._summed(name) for name in self.summed_constants),
        ]
        buffers = [*(f"s_{name}" for name in states), "noises"]
        thread = [
            *(f"real *gc_{name} = {self._of_thread(name)};" for name in self.summed_constants),
            *(f"real (*{name})[LANES] = (real (*)[LANES])std::malloc(K * LANES * sizeof(real));" for name in buffers),
            "#pragma omp for schedule(static)",
            *_block("for (int64_t c = 0; c < M; c += LANES)", *chunk),
            *(f"std::free({name});" for name in buffers),
        ]
        function = [
            *self._header(),
            f"const real *kept = {self._at('kept')};",
            "#pragma omp parallel num_threads(call->threads) if (call->threads > 1)",
            *_block("", *thread),
        ]
        return "\n".join(_block('extern "C" void backward(const Call *call)', *function))

    def _replayed(self, replay: Graph) -> list[str]:
        """Step t once more: its noise, and the states after it."""
        formula = self.program.formula
        return [
            *self._draws(random=False, noisy=formula.noisy, begins="t == first"),
            *([_copy("noises[t - first]", "normal[word]")] if formula.noisy else []),
            # The last step needs its draws, but no state after it.
            "if (t == last - 1) break;",
            *self._stretch_rows(),
            *_over_lanes(
                *self._loads(replay, self._cells()),
                *self._body(replay),
                *(f"p_{name}[i + LANES] = {_text(replay.outputs['next_' + name])};" for name in self.program.states),
            ),
        ]

    def _pulled(self, derivative: Derivative) -> list[str]:
        """The gradients before step t from those after it: g_before = (∂ step / ∂ before)ᵀ g_after."""
        backward, carried, formula = derivative.backward, derivative.carried, self.program.formula
        inputs = [name for name in formula.inputs if name in self.program.gradients and name not in self.summed_inputs]
        cotangents = {f"grad_out_{name}": f"g_{name}[i]" for name in formula.outputs}
        cotangents |= {f"grad_next_{name}": f"gs_{name}[i]" for name in carried}
        found = {name.removeprefix("grad_"): _text(item) for name, item in backward.outputs.items()}
        return [
            *self._stretch_rows(),
            *(
                f"const real *g_{name} = {self._at('grad_out_' + name)} + t * {self._grad_stride(name)} + c;"
                for name in formula.outputs
            ),
            *(f"real *gi_{name} = {self._at('grad_' + name)} + t * M + c;" for name in inputs),
            *_over_lanes(
                *self._loads(backward, {**self._cells(), **cotangents}),
                *self._body(backward),
                *(f"gs_{name}[i] = {found[name]};" for name in carried),
                *(f"gi_{name}[i] = {found[name]};" for name in inputs),
                *(f"a_{name}[i] += {found[name]};" for name in (*self.summed_inputs, *self.summed_constants)),
            ),
        ]

    def _cells(self) -> dict[str, str]:
        """Where a lane of the backward pass finds the states before step t, its spike and its noise."""
        return {name: f"p_{name}[i]" for name in self.program.states} | {"drawn": "drawn_row[i]", "noise": "noise_row[i]"}

    def _stretch_rows(self) -> list[str]:
        """Pointers to what `_cells` reads, and to the inputs."""
        formula = self.program.formula
        return [
            *self._input_rows(),
            *(f"real *p_{name} = s_{name}[t - first];" for name in self.program.states),
            *([f"const real *drawn_row = {self._at('out_spikes')} + t * M + c;"] if formula.binary else []),
            *(["const real *noise_row = noises[t - first];"] if formula.noisy else []),
        ]

    def _lost(self) -> list[str]:
        """Counts the lanes in which the checked value was infinite or no number."""
        return [
            "int lost = 0;",
            "for (int i = 0; i < n; i++) lost += sound[i] != 0;",
            f"real *lost_in_all = {self._at('lost')};",
            "#pragma omp atomic",
            "lost_in_all[0] += real(lost);",
        ]

    def _of_thread(self, name: str) -> str:
        """Where a thread adds up its gradient of a constant."""
        return f"{self._at('grad_' + name)} + thread_number() * {'1' if name in self.shape.shared else 'N'}"

    def _summed(self, name: str) -> str:
        """A chunk's gradient of a constant, added to that of its thread."""
        if name in self.shape.shared:
            return f"for (int i = 0; i < n; i++) gc_{name}[0] += a_{name}[i];"
        return f"collect(a_{name}, c, N, gc_{name}, n);"

    def _kept(self, name: str, step: str) -> str:
        """Where the state before a step is kept; the first one is given."""
        states = self.program.states
        return f"kept + (({step} / K - 1) * {len(states)} + {states.index(name)}) * M + c"

    def _header(self) -> list[str]:
        return [
            "const int64_t T = call->steps, M = call->elements, N = call->neurons, K = call->interval;",
            "const uint64_t key = call->key, place = call->place, position = call->position;",
            *(f"const real u_{name} = {self._at(name)}[0];" for name in self.constants if name in self.shape.shared),
            "(void)N; (void)K; (void)key; (void)place; (void)position;",
        ]

    def _chunk(self) -> list[str]:
        """What is worked out once for a chunk: its size, constants per neuron, and where strided inputs lie."""
        formula = self.program.formula
        per_neuron = [name for name in self.constants if name not in self.shape.shared]
        strided = [name for name in self.inputs if name in self.shape.strided]
        return [
            "const int n = int(M - c < LANES ? M - c : LANES);",
            *(f"real k_{name}[LANES];" for name in per_neuron),
            *(f"spread({self._at(name)}, c, N, k_{name}, n);" for name in per_neuron),
            *(f"int64_t f_{name}[LANES];" for name in strided),
            *(f"offsets(c, N, {self._stride(name, 1)}, {self._stride(name, 2)}, f_{name}, n);" for name in strided),
            *(["real uniforms[4][LANES];", "(void)uniforms;"] if formula.random else []),
            *(["real normal[4][LANES];"] if formula.noisy else []),
        ]

    def _input_rows(self) -> list[str]:
        """Pointers to the inputs of step t."""
        places = {name: "" if name in self.shape.strided else " + c" for name in self.inputs}
        return [
            f"const real *i_{name} = {self._at(name)} + t * {self._stride(name, 0)}{place};" for name, place in places.items()
        ]

    def _draws(self, *, random: bool, noisy: bool, begins: str) -> list[str]:
        """The draws of step t, made for four steps at once: at the first of them, and at the step where a loop begins."""
        if not (random or noisy):
            return []
        return [
            "const uint64_t at = position + uint64_t(t);",
            "const int word = int(at & 3);",
            *([f"if ({begins} || word == 0) uniform_block(place + c, at >> 2, key, uniforms, n);"] if random else []),
            *(["const real *uniform_row = uniforms[word];"] if random else []),
            *([f"if ({begins} || word == 0) normal_block(place + c, at >> 2, key, normal, n);"] if noisy else []),
        ]

    def _loads(self, graph: Graph, where: Mapping[str, str]) -> list[str]:
        """Reads the inputs of a graph into local variables."""
        known = {"uniform": "uniform_row[i]", "noise": "noise_row[i]", **where}
        known |= {name: f"i_{name}[{'f_' + name + '[i]' if name in self.shape.strided else 'i'}]" for name in self.inputs}
        known |= {name: f"u_{name}" if name in self.shape.shared else f"k_{name}[i]" for name in self.constants}
        return [f"const real x_{name} = {known[name]};" for name in graph.inputs]

    def _body(self, graph: Graph) -> list[str]:
        """The operations of a graph, each the definition of a local variable."""
        return [
            f"const {'bool' if each.is_truth else 'real'} {each.name} = "
            f"{_expression(each.kind, [_text(item) for item in each.operands])};"
            for each in graph.operations
        ]

    def _at(self, name: str) -> str:
        return f"ARRAY({self.places[name]})"

    def _stride(self, name: str, dimension: int) -> str:
        return f"call->strides[{3 * self.inputs.index(name) + dimension}]"

    def _grad_stride(self, name: str) -> str:
        """That in time of the gradient of an output."""
        return f"call->strides[{3 * len(self.inputs) + self.program.formula.outputs.index(name)}]"


def _block(head: str, *lines: str) -> list[str]:
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]


def _over_lanes(*lines: str) -> list[str]:
    """What is done in every lane, side by side: no lane reads what another writes."""
    return ["#pragma GCC ivdep", *_block("for (int i = 0; i < n; i++)", *lines)]


def _copy(to: str, of: str) -> str:
    """Copies a chunk."""
    return f"std::memcpy({to}, {of}, n * sizeof(real));"


def _buffer(name: str, of: str) -> list[str]:
    """A new buffer of a chunk, filled."""
    return [f"real {name}[LANES];", _copy(name, of)]


def _text(item: Operand) -> str:
    """An operand as C++: a number to its last bit, an input by its prefix."""
    if isinstance(item, float):
        return "real(INFINITY)" if item == float("inf") else f"real({item.hex()})"
    return item if item.startswith("v") and item[1:].isdigit() else f"x_{item}"


def _expression(kind: str, operands: Sequence[str]) -> str:
    if kind in SIGNS:
        return f"{operands[0]} {SIGNS[kind]} {operands[1]}"
    if kind == "neg":
        return f"-{operands[0]}"
    if kind == "number":
        # As a choice: a conversion of truth values keeps GCC from vectorising.
        return f"{operands[0]} ? real(1) : real(0)"
    if kind == "not":
        return f"!{operands[0]}"
    if kind == "where":
        return f"{operands[0]} ? {operands[1]} : {operands[2]}"
    return f"{_CALLS[kind]}({', '.join(operands)})"
