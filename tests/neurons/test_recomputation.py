"""What is checkpointed is run again with the noise of its first run."""

import gc
import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import checkpoint as torch_checkpoint
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from qlifq import QLIF, BrandPetruccione, SpikingSequential, simulate
from qlifq.backends import DeviceNoise, get
from qlifq.errors import UnsupportedError
from qlifq.neurons import SeedStream
from qlifq.random.recomputation import surrounding_regions

NEURONS = 3
#: `use_reentrant` and `preserve_rng_state`.
WAYS = list(itertools.product((False, True), repeat=2))

#: In the first run of a region with `use_reentrant=True` nothing has a gradient, whatever is in it.
WITHOUT_GRADIENT = "ignore:None of the inputs have requires_grad=True:UserWarning"

LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "trained": {"learnable_tau": True, "learnable_qscale": True},
    "membrane noise": {"noise_std": 0.4, "reset": "soft"},
    "shots": {"shots": 5, "decision": "threshold"},
    "wires": {"shots": 2, "quantum_wire": 2},
    "aer": {"backend": "aer", "shots": 3},
    "lightning": {"backend": "lightning", "shots": 4, "gradient_shots": 2},
    "parameter-shift": {"shots": 2, "gradient": "parameter-shift"},
    "classic": {"quantum_mode": False, "stochastic": True},
}


def current(steps: int = 12, seed: int = 0) -> Tensor:
    return 12 * torch.rand(steps, 2, NEURONS, generator=torch.Generator().manual_seed(seed))


def weights(like: Tensor) -> Tensor:
    """Different for every spike, so that no two of them can be mistaken."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(9))


def results(run: Callable[[Tensor], Any], modules: nn.Module, given: Tensor) -> list[Tensor]:
    """What comes out, every gradient, and where the streams stand."""
    given = given.clone().requires_grad_()
    modules.zero_grad()
    out = run(given)
    torch.autograd.backward((out * weights(out)).sum())
    assert given.grad is not None
    assert given.grad.abs().mean() > 1e-4
    gradients = [parameter.grad for parameter in modules.parameters() if parameter.grad is not None]
    streams = [module.seeds for module in modules.modules() if isinstance(module, QLIF | BrandPetruccione)]
    positions = [torch.tensor(stream.position) for stream in streams]
    return [out.detach(), given.grad, *gradients, *positions]


#: A function of the input and of a place for `checkpoint`, and what it is made of.
Built = tuple[Callable[..., Any], nn.Module]


def assert_replayed(build: Callable[[], Built], way: tuple[bool, bool], tolerance: float = 0.0) -> None:
    """What is built gives the same with `checkpoint` and without."""
    reentrant, preserve = way

    def checkpointed(function: Callable[..., Any], *values: Any, use_reentrant: bool = reentrant) -> Any:
        return checkpoint(function, *values, use_reentrant=use_reentrant, preserve_rng_state=preserve)

    def plainly(function: Callable[..., Any], *values: Any, **_: bool) -> Any:
        return function(*values)

    found = []
    for place in (checkpointed, plainly):
        run, modules = build()
        found.append(results(partial(run, place=place), modules, current()))
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_replayed(name: str, way: tuple[bool, bool]) -> None:
    def build() -> Built:
        layer = QLIF(NEURONS, seed=4, tau=3.0, **LAYERS[name])

        def run(x: Tensor, place: Callable[..., Any]) -> Any:
            return place(layer, x)[0]

        return run, layer

    assert_replayed(build, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options",
    [
        {"shots": 6},
        {"shots": 6, "gradient": "published", "leak": "published"},
        {"backend": "aer", "shots": 6},
        {"shots": 6, "delay_t1": 1e-4, "backend": "noisy"},
        # In one operation where no gradient is needed, and else in steps: the same to rounding.
        {"gradient": "published", "leak": "published"},
    ],
)
def test_a_layer_of_brand_and_petruccione_is_replayed(options: dict[str, Any], way: tuple[bool, bool]) -> None:
    if options.get("backend") == "noisy":
        options = {**options, "backend": get("analytic", noise=DeviceNoise(t1=1e-4))}

    def build() -> Built:
        layer = BrandPetruccione(NEURONS, seed=4, **options)

        def run(x: Tensor, place: Callable[..., Any]) -> Any:
            driven = (current(seed=1) > 6).to(x.dtype)
            populations, spikes, _ = place(lambda x: layer.run(x / 12, current(seed=2), driven), x)
            return torch.cat((populations, spikes))

        return run, layer

    assert_replayed(build, way, 0.0 if "shots" in options else 1e-5)


@pytest.mark.filterwarnings(WITHOUT_GRADIENT)
@pytest.mark.parametrize("way", WAYS)
def test_many_calls_in_many_nested_regions_are_replayed(way: tuple[bool, bool]) -> None:
    """Calls before, between and after regions, several in one with equal input, a region in a region, and regions in a row."""

    def build() -> Built:
        torch.manual_seed(0)
        one, two = QLIF(NEURONS, seed=6, tau=2.0), QLIF(NEURONS, seed=7, tau=2.0, noise_std=0.3)
        linear = nn.Linear(NEURONS, NEURONS)

        def run(x: Tensor, place: Callable[..., Any]) -> Any:
            def inner(x: Tensor, gain: float) -> Any:
                first, state = two(x)
                return x + (first + gain * one(linear(first) + x, state)[0] * two(x)[0]) * x.cos()

            def outer(x: Tensor) -> Any:
                x = x * (1 + one(x)[0] * one(x)[0])
                x = place(inner, x, 2.0) + linear(x).sin() * place(inner, x, 3.0).cos()
                # Saves what comes after the inner regions, so that all of this is run again to the end.
                return 9 + 5 * (x + one(x)[0]).sin()

            x = x + one(x)[0]
            for _ in range(3):
                x = place(outer, x) + two(x)[0]
            return x + place(inner, x, 1.0)

        return run, nn.ModuleList((one, two, linear))

    # With `use_reentrant=True` torch sums gradients in another order.
    assert_replayed(build, way, 1e-4)


@pytest.mark.filterwarnings(WITHOUT_GRADIENT)
@pytest.mark.parametrize(("outside", "inside"), WAYS)
def test_regions_of_either_kind_nest(outside: bool, inside: bool) -> None:
    def build() -> Built:
        layer = QLIF(NEURONS, seed=8, tau=2.0)

        def run(x: Tensor, place: Callable[..., Any]) -> Any:
            def around(x: Tensor) -> Any:
                x = x + layer(x)[0]
                x = place(lambda x: layer(x)[0] * x, x, use_reentrant=inside)
                return layer(x)[0] * x.square() / 9

            return place(around, x)

        return run, layer

    assert_replayed(build, (outside, True))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("stop", [False, True])
def test_early_stop_and_more_backward_passes(stop: bool, reentrant: bool) -> None:
    layer, other = (QLIF(NEURONS, seed=11, noise_std=0.2) for _ in range(2))
    mine, its = (current().requires_grad_() for _ in range(2))
    with torch_checkpoint.set_checkpoint_early_stop(stop):
        out = checkpoint(lambda x: layer(x.square())[0] * x, mine, use_reentrant=reentrant)
    expected = other(its.square())[0] * its
    for _ in range(3):
        for y in (out, expected):
            torch.autograd.backward((y * weights(y)).sum(), retain_graph=True)
        assert mine.grad is not None
        assert its.grad is not None
        assert torch.equal(mine.grad, its.grad)
    assert layer.seeds.position == other.seeds.position == 4 * 12


def test_reading_what_is_saved_and_a_gradient_within_the_region_are_replays_too() -> None:
    layer, other = (QLIF(NEURONS, seed=12, tau=2.0) for _ in range(2))
    given = current().requires_grad_()

    def score(layer: QLIF, x: Tensor) -> Any:
        spikes = layer(x)[0]
        (grad,) = torch.autograd.grad((spikes * x).sum(), x, retain_graph=True)
        return (spikes + layer(x)[0]) * x * grad.detach()

    out, expected = checkpoint(lambda x: score(layer, x), given, use_reentrant=False), score(other, given)
    assert torch.equal(out, expected)
    for _ in range(2):
        assert torch.equal(out.grad_fn._saved_other, expected.grad_fn._saved_other)
        inner, its = (value.grad_fn.next_functions[0][0]._saved_self for value in (out, expected))
        assert torch.equal(inner, its)
    assert torch.equal(*(torch.autograd.grad(y, given, weights(y))[0] for y in (out, expected)))
    assert layer.seeds.position == other.seeds.position


@pytest.mark.parametrize("way", WAYS)
def test_a_recording_and_a_chain_are_replayed(way: tuple[bool, bool]) -> None:
    """Without a gradient a recording is made in one operation, and in the second run in steps."""

    def build() -> Built:
        torch.manual_seed(1)
        chain = SpikingSequential(nn.Linear(NEURONS, 4), QLIF(4, seed=1, tau=2.0), nn.Linear(4, NEURONS), nn.Dropout(0.0))
        layer = QLIF(NEURONS, seed=2, tau=2.0)

        def run(x: Tensor, place: Callable[..., Any]) -> Any:
            x = place(lambda x: chain(x)[0], x)
            return place(lambda x: simulate(layer, x).spikes + layer(x)[0], x)

        return run, nn.ModuleList((chain, layer))

    assert_replayed(build, way)


def test_checkpoint_sequential_is_replayed() -> None:
    class Spikes(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.layer = QLIF(NEURONS, seed=seed, tau=2.0)

        def forward(self, x: Tensor) -> Any:
            return 5 * x * self.layer(x)[0] + x

    found = []
    for segments in (1, 3):
        chain = nn.Sequential(*map(Spikes, range(5)))
        found.append(results(partial(checkpoint_sequential, chain, segments, use_reentrant=False), chain, current()))
    for mine, its in zip(*found, strict=True):
        assert torch.equal(mine, its)


def test_a_call_in_a_backward_pass_that_runs_nothing_again_is_a_call() -> None:
    layer = QLIF(NEURONS, seed=5)
    x = current().requires_grad_()
    x.register_hook(lambda grad: grad + layer(current())[0])  # type: ignore[no-untyped-call]
    torch.autograd.backward(checkpoint(lambda x: layer(x)[0], x, use_reentrant=False).sum())
    assert layer.seeds.position == 2 * 4 * 12


def test_two_threads_that_checkpoint_one_layer_replay_their_own_noise() -> None:
    layer = QLIF(NEURONS, seed=3, noise_std=0.1)
    turn = threading.Barrier(2, timeout=20)
    runs: list[list[Tensor]] = [[], []]

    def function(x: Tensor, mine: list[Tensor]) -> Tensor:
        steps = []
        for step in layer.steps(x):
            steps.append(step.spikes)
            if not mine:
                # At first the two take a step each in turn.
                turn.wait()
        mine.append(torch.stack(steps))
        # Saved after the last step, so that the second run comes this far.
        return mine[-1] * x

    def work(mine: list[Tensor]) -> None:
        x = current().requires_grad_()
        torch.autograd.backward(checkpoint(function, x, mine, use_reentrant=False).sum())

    threads = [threading.Thread(target=work, args=(mine,)) for mine in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(first, again) for first, again in runs)
    assert not torch.equal(runs[0][0], runs[1][0])
    assert layer.seeds.position == 2 * 4 * 12


@pytest.mark.parametrize("reentrant", [False, True])
def test_another_stream_before_the_backward_pass_is_refused(reentrant: bool) -> None:
    layer = QLIF(NEURONS, seed=5, noise_std=0.1)
    x = current(7).requires_grad_()
    out = checkpoint(lambda x: layer(x)[0], x, use_reentrant=reentrant)
    layer.seeds = SeedStream(77)
    # Seven steps at once, each with four seeds.
    message = r"of SeedStream\(root=77, position=0\) it used 0 at first and requests 28: give a layer other `seeds` after"
    with pytest.raises(UnsupportedError, match=message):
        torch.autograd.backward(out.sum())


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_a_region_was_given_is_forgotten_with_its_graph(reentrant: bool) -> None:
    layer = QLIF(NEURONS, seed=5)
    out = checkpoint(layer, current().requires_grad_(), use_reentrant=reentrant)
    assert len(layer.seeds._regions) == 1
    torch.autograd.backward(out[0].sum())
    del out
    gc.collect()
    assert not layer.seeds._regions


def test_outside_of_a_region_there_is_none() -> None:
    assert surrounding_regions() == ([], None)
