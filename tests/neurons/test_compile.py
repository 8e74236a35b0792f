"""A compiled layer does what the other one does."""

import shutil

import pytest
import torch
from torch import Tensor

from qlifq import QLIF
from qlifq.errors import DtypeError, MissingPackageError
from qlifq.neurons import step_functions as fused

COMPILERS = ("c++", "g++", "clang++")
EVERYTHING: dict[str, object] = {
    "tau": 4.0,
    "use_adaptive_threshold": True,
    "homeostasis_enabled": True,
    "spike_increase": 0.3,
    "use_ahp": True,
    "depression_rate": 0.3,
    "allow_dynamic_spike_probability": True,
    "noise_std": 0.2,
    "refractory_period": 1,
    "learnable_threshold": True,
    "learnable_tau": True,
    "learnable_qscale": True,
}


def results(compiled: bool) -> list[Tensor]:
    layer = QLIF(3, seed=1, compile=compiled, **EVERYTHING).double()  # type: ignore[arg-type]
    current = (1.5 + torch.rand(20, 2, 3, generator=torch.Generator().manual_seed(2)).double()).requires_grad_()
    modulation = torch.rand(20, 1, 1, generator=torch.Generator().manual_seed(3)).double()
    spikes, state = layer(current, modulation=modulation)
    (spikes * torch.arange(20)[:, None, None]).sum().backward()
    assert current.grad is not None
    gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
    assert len(gradients) == 3
    return [spikes.detach(), *(value.detach() for value in state), current.grad, *gradients]


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # torch.compile looks at it
def test_a_compiled_layer_agrees_with_the_other_one_to_rounding() -> None:
    plain, compiled = results(False), results(True)
    assert torch.equal(plain[0], compiled[0])
    assert 0 < plain[0].mean() < 1
    for expected, value in zip(plain, compiled, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


def test_compiling_without_a_compiler_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fused._compiled.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPackageError, match=r"`compile` must be False here: .* c\+\+, g\+\+ and clang\+\+ are not found"):
        QLIF(3, compile=True)


def test_compile_is_a_flag() -> None:
    with pytest.raises(DtypeError, match="`compile` must be True or False, but is 'yes'"):
        QLIF(3, compile="yes")  # type: ignore[arg-type]
