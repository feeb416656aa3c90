"""Gradients written out: those of the same operations by torch, on numbers that are the same forward."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.models.tiny import awake, posed, shown, tiny_config
from worldgen.models.network import attention, dit, gradients
from worldgen.models.network.dit import MultiViewDiT
from worldgen.models.network.gradients import encoded, gated, rms_norm, swiglu

TOKENS, HEADS = (2, 3, 5, 16), (2, 3, 5, 2, 16)
FRAMES = (2, 3, 1, 16)
MATRIX, ANGLES = (2, 3, 8, 8), (2, 3, 5, 4)
CASES: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "modulated norm": (rms_norm, (TOKENS, FRAMES, FRAMES)),
    "norm of heads": (rms_norm, (HEADS, (1, 16))),
    "gate": (gated, (TOKENS, FRAMES, TOKENS)),
    "gated MLP": (swiglu, (TOKENS, TOKENS)),
    "projection": (encoded, (HEADS, MATRIX)),
    "projection and rotation": (encoded, (HEADS, MATRIX, ANGLES, ANGLES)),
    "rotation": (lambda x, cosine, sine: encoded(x, None, cosine, sine), (HEADS, ANGLES, ANGLES)),
}


def inputs(case: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Random ones, those of positions without gradients."""
    shapes = CASES[case][1]
    values = [torch.randn(shape, dtype=dtype) for shape in shapes]
    return [value.requires_grad_(shape not in (MATRIX, ANGLES)) for value, shape in zip(values, shapes)]


def by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "_by_hand", lambda *_: False)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_finite_differences(case: str) -> None:
    assert torch.autograd.gradcheck(CASES[case][0], inputs(case, torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_the_same_bit_for_bit_and_the_gradients_but_for_rounding(
    case: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    (function, _), values = CASES[case], inputs(case, dtype)
    learned = [value for value in values if value.requires_grad]
    out = function(*values)
    assert "Backward" in type(out.grad_fn).__name__ and type(out.grad_fn).__name__.startswith("_")
    weight = torch.randn_like(out)
    by_hand = torch.autograd.grad(out, learned, weight)
    by_torch(monkeypatch)
    expected = function(*values)
    assert torch.equal(out, expected) and out.dtype == expected.dtype
    close = 1e-5 if dtype == torch.float32 else 0.05
    for ours, theirs in zip(by_hand, torch.autograd.grad(expected, learned, weight)):
        assert ours.dtype == theirs.dtype and torch.allclose(ours, theirs, rtol=close, atol=close * 4)


def test_torch_s_own_operations_are_used_where_nothing_is_trained() -> None:
    for case, (function, _) in CASES.items():
        values = inputs(case)
        with torch.no_grad():
            assert function(*values).grad_fn is None
        assert function(*(value.detach() for value in values)).grad_fn is None
    turned = inputs("rotation")
    cameras = encoded(turned[0], None, turned[1].requires_grad_(), turned[2])
    cameras.sum().backward()
    assert turned[1].grad is not None, "positions that are optimized have gradients, by torch"


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("modes", [("full", "frame"), ("time", "full")])
def test_a_network_learns_what_it_would_with_torch_s_gradients(
    half: bool, modes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = awake(MultiViewDiT(tiny_config(attention=modes))).requires_grad_()
    (x, level), conditioning, found = shown(2, 3), posed(2, 3), []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = model(x, level, conditioning)
        names, parameters = zip(*model.named_parameters())
        made = torch.autograd.grad((out - x).square().mean(), parameters, allow_unused=True)
        found.append((out, dict(zip(names, made))))
        by_torch(monkeypatch)
    (out, ours), (expected, theirs) = found
    assert torch.equal(out, expected)
    for name, gradient in theirs.items():
        assert (gradient is None) == (ours[name] is None)
        if gradient is not None:
            error = (ours[name] - gradient).norm() / gradient.norm().clamp_min(1e-12)
            assert error < (0.03 if half else 1e-4), name


def test_converting_tokens_once_for_several_products_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, level), conditioning = awake(MultiViewDiT(tiny_config())), shown(2, 3), posed(2, 3)
    assert gradients.as_multiplied(x) is x
    with torch.autocast("cpu", torch.bfloat16):
        assert gradients.as_multiplied(x).dtype == torch.bfloat16
        once = model(x, level, conditioning)
        for module in (attention, dit):
            monkeypatch.setattr(module, "as_multiplied", lambda tokens: tokens)
        assert torch.equal(once, model(x, level, conditioning))
