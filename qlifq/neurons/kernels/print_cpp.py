"""Prints a program as C++: the loop over time around one step, over lanes of neurons, over threads."""

from collections.abc import Mapping, Sequence
from importlib.resources import files

from qlifq.neurons.kernels.graph import Graph, Operand
from qlifq.neurons.kernels.program import Program, Shape, arrays

__all__ = ["source"]

_CALLS = {
    "abs": "std::fabs", "sign": "sign_of", "exp": "exp_", "log": "log_", "sqrt": "std::sqrt", "sin": "sin_", "cos": "cos_", "tanh": "tanh_",
    "sigmoid": "sigmoid_", "asin": "std::asin", "atan": "std::atan", "erf": "std::erf", "min": "least", "max": "greatest", "lerp": "lerp_",
}  # fmt: skip
_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "and": "&", "or": "|",
}  # fmt: skip


def source(program: Program, shape: Shape) -> str:
    """The text of a shared library with the function `forward` and, if the program has gradients, `backward`."""
    printer = _Printer(program, shape)
    prelude = files("qlifq.neurons.kernels").joinpath("prelude.h").read_text(encoding="utf-8")
    parts = [f"typedef {shape.dtype} real;", prelude, _CALL, printer.forward()]
    if program.backward is not None:
        parts.append(printer.backward())
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
    """Prints the functions of one program."""

    def __init__(self, program: Program, shape: Shape) -> None:
        self.program, self.shape = program, shape
        formula = program.formula
        used = {
            name for graph in (program.forward, program.replay, program.backward) if graph is not None for name in graph.inputs
        }
        self.inputs = formula.inputs
        self.constants = tuple(name for name in formula.constants if name in used)
        self.places = {name: place for place, name in enumerate(arrays(program))}

    def forward(self) -> str:
        program, formula = self.program, self.program.formula
        states = program.states
        outputs = [f"real *o_{name} = {self._at('out_' + name)} + t * M + c;" for name in formula.outputs]
        keep = "".join(
            f"std::memcpy(kept + ((t / K) * {len(states)} + {place}) * M + c, b_{name}, n * sizeof(real));"
            for place, name in enumerate(states)
        )
        return f"""
extern "C" void forward(const Call *call) {{
{self._header()}
    real *kept = {self._at("kept")};
    #pragma omp parallel for schedule(static) num_threads(call->threads) if (call->threads > 1)
    for (int64_t c = 0; c < M; c += LANES) {{
        const int n = int(M - c < LANES ? M - c : LANES);
{self._chunk()}
{"".join(f"        real b_{name}[LANES]; std::memcpy(b_{name}, {self._at(name)} + c, n * sizeof(real));" for name in states)}
        {"real sound[LANES] = {};" if formula.checked else ""}
        for (int64_t t = 0; t < T; t++) {{
            if (kept && t % K == 0) {{ {keep} }}
            {self._draws(formula.random, formula.noisy)}
            {self._input_rows()}
            {" ".join(outputs)}
            #pragma GCC ivdep
            for (int i = 0; i < n; i++) {{
                {self._loads(program.forward, {name: f"b_{name}[i]" for name in states})}
                {self._body(program.forward)}
                {" ".join(f"o_{name}[i] = {_text(program.forward.outputs['out_' + name])};" for name in formula.outputs)}
                {" ".join(f"b_{name}[i] = {_text(program.forward.outputs['next_' + name])};" for name in states)}
                {f"sound[i] += real(0) * {_text(program.forward.outputs['checked'])};" if formula.checked else ""}
            }}
        }}
        {self._lost() if formula.checked else ""}
{"".join(f"        std::memcpy({self._at('next_' + name)} + c, b_{name}, n * sizeof(real));" for name in states)}
    }}
}}
"""

    def backward(self) -> str:
        program, formula = self.program, self.program.formula
        assert program.replay is not None and program.backward is not None
        replay, backward, states = program.replay, program.backward, program.states
        inputs = [name for name in formula.inputs if name in program.gradients and name not in self.shape.held]
        held = [name for name in formula.inputs if name in program.gradients and name in self.shape.held]
        constants = [name for name in self.constants if name in program.gradients]
        cells = {name: f"p_{name}[i]" for name in states} | {"drawn": "drawn_row[i]", "noise": "noise_row[i]"}
        stored = [f"real *p_{name} = s_{name}[t - first];" for name in states]
        stored += ["const real *noise_row = noises[t - first];"] if formula.noisy else []
        draw = self._draws(random=False, noisy=formula.noisy, row="noises[t - first]")
        rows = [f"const real *drawn_row = {self._at('out_spikes')} + t * M + c;"] if formula.binary else []
        rows += [f"const real *g_{name} = {self._at('grad_out_' + name)} + t * M + c;" for name in formula.outputs]
        rows += [f"real *gi_{name} = {self._at('grad_' + name)} + t * M + c;" for name in inputs]
        cotangents = {f"grad_out_{name}": f"g_{name}[i]" for name in formula.outputs}
        cotangents |= {f"grad_next_{name}": f"gs_{name}[i]" for name in states}
        return f"""
extern "C" void backward(const Call *call) {{
{self._header()}
    const real *kept = {self._at("kept")};
    #pragma omp parallel num_threads(call->threads) if (call->threads > 1)
    {{
    const int64_t thread = thread_number();
{"".join(f"    real *gc_{name} = {self._at('grad_' + name)} + thread * {'1' if name in self.shape.shared else 'N'};" for name in constants)}
{"".join(f"    real (*s_{name})[LANES] = (real (*)[LANES])std::malloc(K * LANES * sizeof(real));" for name in states)}
    real (*noises)[LANES] = (real (*)[LANES])std::malloc(K * LANES * sizeof(real));
    #pragma omp for schedule(static)
    for (int64_t c = 0; c < M; c += LANES) {{
        const int n = int(M - c < LANES ? M - c : LANES);
{self._chunk()}
{"".join(f"        real gs_{name}[LANES]; std::memcpy(gs_{name}, {self._at('grad_next_' + name)} + c, n * sizeof(real));" for name in states)}
{"".join(f"        real a_{name}[LANES]; std::memset(a_{name}, 0, sizeof a_{name});" for name in (*held, *constants))}
        for (int64_t last = T, first; last > 0; last = first) {{
            first = (last - 1) / K * K;
{"".join(f"            std::memcpy(s_{name}[0], kept + ((first / K) * {len(states)} + {place}) * M + c, n * sizeof(real));" for place, name in enumerate(states))}
            for (int64_t t = first; t < last; t++) {{
                {draw}
                if (t == last - 1) break;
                {self._input_rows()}
                {f"const real *drawn_row = {self._at('out_spikes')} + t * M + c;" if formula.binary else ""} {" ".join(stored)}
                #pragma GCC ivdep
                for (int i = 0; i < n; i++) {{
                    {self._loads(replay, cells)}
                    {self._body(replay)}
                    {" ".join(f"p_{name}[i + LANES] = {_text(replay.outputs['next_' + name])};" for name in states)}
                }}
            }}
            for (int64_t t = last - 1; t >= first; t--) {{
                {self._input_rows()}
                {" ".join([*rows, *stored])}
                #pragma GCC ivdep
                for (int i = 0; i < n; i++) {{
                    {self._loads(backward, {**cells, **cotangents})}
                    {self._body(backward)}
                    {" ".join(f"gs_{name}[i] = {_text(backward.outputs['grad_' + name])};" for name in states)}
                    {" ".join(f"gi_{name}[i] = {_text(backward.outputs['grad_' + name])};" for name in inputs)}
                    {" ".join(f"a_{name}[i] += {_text(backward.outputs['grad_' + name])};" for name in (*held, *constants))}
                }}
            }}
        }}
{"".join(f"        std::memcpy({self._at('grad_first_' + name)} + c, gs_{name}, n * sizeof(real));" for name in states)}
{"".join(f"        std::memcpy({self._at('grad_' + name)} + c, a_{name}, n * sizeof(real));" for name in held)}
{"".join(self._summed(name) for name in constants)}
    }}
{"".join(f"    std::free(s_{name});" for name in states)}
    std::free(noises);
    }}
}}
"""

    def _lost(self) -> str:
        """Counts the lanes in which the checked value was infinite or no number: 0 times such a value is no number."""
        return (
            "int lost = 0; for (int i = 0; i < n; i++) lost += sound[i] != 0;\n"
            f"        if (lost) {{ real *all = {self._at('lost')};\n        #pragma omp atomic\n        all[0] += real(lost); }}"
        )

    def _summed(self, name: str) -> str:
        """A chunk's gradient of a constant, added to that of its thread."""
        if name in self.shape.shared:
            return f"        for (int i = 0; i < n; i++) gc_{name}[0] += a_{name}[i];\n"
        return f"        collect(a_{name}, c, N, gc_{name}, n);\n"

    def _header(self) -> str:
        return (
            "    const int64_t T = call->steps, M = call->elements, N = call->neurons, K = call->interval;\n"
            "    const uint64_t key = call->key, place = call->place, position = call->position;\n"
            + "".join(
                f"    const real u_{name} = {self._at(name)}[0];\n" for name in self.constants if name in self.shape.shared
            )
            + "    (void)N; (void)K; (void)key; (void)place; (void)position;"
        )

    def _chunk(self) -> str:
        """What is worked out once for a chunk: constants per neuron, and where strided inputs lie."""
        lines = [
            f"        real k_{name}[LANES]; spread({self._at(name)}, c, N, k_{name}, n);"
            for name in self.constants
            if name not in self.shape.shared
        ]
        lines += [
            f"        int64_t f_{name}[LANES]; offsets(c, N, {self._stride(name, 1)}, {self._stride(name, 2)}, f_{name}, n);"
            for name in self.inputs
            if name in self.shape.strided
        ]
        if self.program.formula.random:
            lines.append("        real uniforms[4][LANES]; (void)uniforms;")
        if self.program.formula.noisy:
            lines.append("        real normal[4][LANES];")
        return "\n".join(lines)

    def _input_rows(self) -> str:
        """Pointers to the inputs of step t."""
        return " ".join(
            f"const real *i_{name} = {self._at(name)} + t * {self._stride(name, 0)}{'' if name in self.shape.strided else ' + c'};"
            for name in self.inputs
        )

    def _draws(self, random: bool, noisy: bool, row: str | None = None) -> str:
        """The draws of step t, made for four steps at once."""
        lines = ["const uint64_t at = position + uint64_t(t); const int word = int(at & 3); (void)word;"]
        begins = "t == 0 || word == 0" if row is None else "t == first || word == 0"
        if random:
            lines.append(f"if ({begins}) uniform_block(place + c, at >> 2, key, uniforms, n);")
            lines.append("const real *uniform_row = uniforms[word];")
        if noisy:
            lines.append(f"if ({begins}) normal_block(place + c, at >> 2, key, normal, n);")
            lines.append(
                "const real *noise_row = normal[word];"
                if row is None
                else f"std::memcpy({row}, normal[word], n * sizeof(real));"
            )
        return "\n            ".join(lines) if random or noisy else ""

    def _loads(self, graph: Graph, where: Mapping[str, str]) -> str:
        """Reads the inputs of a graph into local variables."""
        known = {"uniform": "uniform_row[i]", "noise": "noise_row[i]", **where}
        known |= {name: f"i_{name}[{'f_' + name + '[i]' if name in self.shape.strided else 'i'}]" for name in self.inputs}
        known |= {name: f"u_{name}" if name in self.shape.shared else f"k_{name}[i]" for name in self.constants}
        return " ".join(f"const real x_{name} = {known[name]};" for name in graph.inputs)

    def _body(self, graph: Graph) -> str:
        lines = []
        for operation in graph.operations:
            kind = "bool" if operation.is_truth else "real"
            lines.append(
                f"const {kind} {operation.name} = {_expression(operation.kind, [_text(item) for item in operation.operands])};"
            )
        return "\n                ".join(lines)

    def _at(self, name: str) -> str:
        return f"ARRAY({self.places[name]})"

    def _stride(self, name: str, dimension: int) -> str:
        return f"call->strides[{3 * self.inputs.index(name) + dimension}]"


def _text(item: Operand) -> str:
    """An operand as C++: a number to its last bit, an input by its prefix."""
    if isinstance(item, float):
        return "real(INFINITY)" if item == float("inf") else f"real({item.hex()})"
    return item if item.startswith("v") and item[1:].isdigit() else f"x_{item}"


def _expression(kind: str, operands: Sequence[str]) -> str:
    if kind in _SIGNS:
        return f"{operands[0]} {_SIGNS[kind]} {operands[1]}"
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
