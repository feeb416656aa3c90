"""Operations on all tokens whose gradients are written out: the same numbers forward, fewer passes backward.

Torch's own gradients of these take up to ten passes, each as long as a tenth of a matrix product. They are used where a
CPU trains: a GPU has fused kernels for norms, a compiler makes its own, and without gradients there is nothing to save.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def rms_norm(x: Tensor, scale: Tensor, shift: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of mean square 1, scaled and shifted, in their type; sums are in float32.

    Args:
        x: [*, n, c].
        scale: [*, 1, c], of as many dimensions or fewer.
        shift: As scale; None = none.
        eps: Added to the mean square.
    """
    if _by_hand(x, scale, shift):
        return _Norm.apply(x, scale, shift, eps)  # type: ignore[no-any-return]
    if shift is None:
        return F.rms_norm(x, x.shape[-1:], scale.reshape(-1).to(x.dtype), eps)
    return torch.addcmul(shift, F.rms_norm(x, x.shape[-1:], eps=eps), scale)


def as_multiplied(x: Tensor) -> Tensor:
    """Tokens in the type of matrix products: for several products of the same ones, which would convert them anew."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def gated(x: Tensor, gate: Tensor, change: Tensor) -> Tensor:
    """x + gate * change, the gate [*, 1, c] shared by the tokens [*, n, c]."""
    if _by_hand(x, gate, change):
        return _Gated.apply(x, gate, change)  # type: ignore[no-any-return]
    return torch.addcmul(x, gate, change)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020), of which silu is computed again for the gradient: less memory, and sooner."""
    return _SwiGLU.apply(gate, up) if _by_hand(gate, up) else F.silu(gate) * up  # type: ignore[no-any-return]


def encoded(x: Tensor, matrix: Tensor | None, cosine: Tensor | None = None, sine: Tensor | None = None) -> Tensor:
    """Head channels whose first half is multiplied by one matrix per frame, and whose second is rotated.

    Args:
        x: [b, f, n, heads, d].
        matrix: [b, f, d/2, d/2]; None = the first half stays.
        cosine: [b, f, n, d/4] of the angles; None = the second half stays.
        sine: Of the same angles.
    """
    positions = (matrix, cosine, sine)
    if _by_hand(x) and not any(part is not None and part.requires_grad for part in positions):
        return _Encoded.apply(x, *positions)  # type: ignore[no-any-return]
    return _encode(x, *positions)


def _by_hand(*values: Tensor | None) -> bool:
    known = [value for value in values if value is not None]
    trains = torch.is_grad_enabled() and any(value.requires_grad for value in known)
    return trains and known[0].device.type == "cpu" and not torch.compiler.is_compiling()


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor | None, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        factor = wide.pow(2).mean(-1, keepdim=True).add_(eps).rsqrt_()
        normed = wide * factor
        ctx.save_for_backward(normed, factor, scale)
        ctx.types = x.dtype, None if shift is None else (shift.shape, shift.dtype)
        if shift is None:
            return (normed * scale.to(x.dtype)).to(x.dtype)
        return torch.addcmul(shift, normed.to(x.dtype), scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:  # type: ignore[override]
        (normed, factor, scale), (own, shifted) = ctx.saved_tensors, ctx.types
        product, wide = gradient * normed, scale.to(normed.dtype)
        with torch.autocast(gradient.device.type, enabled=False):
            along = (product @ wide.mT).div_(-normed.shape[-1])
        of_x = (gradient * wide).addcmul_(normed, along).mul_(factor).to(own)
        of_shift = None if shifted is None else gradient.sum_to_size(shifted[0]).to(shifted[1])
        return of_x, product.sum_to_size(scale.shape).to(scale.dtype), of_shift, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor, change: Tensor) -> Tensor:
        ctx.save_for_backward(gate, change)
        ctx.own = x.dtype
        return torch.addcmul(x, gate, change)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        gate, change = ctx.saved_tensors
        of_gate = (gradient * change).sum_to_size(gate.shape).to(gate.dtype)
        return gradient.to(ctx.own), of_gate, (gradient * gate).to(change.dtype)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        gate, up = ctx.saved_tensors
        inner = gradient * up
        of_gate = torch.ops.aten.silu_backward.grad_input(inner, gate, grad_input=inner)
        return of_gate, F.silu(gate).mul_(gradient)


class _Encoded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor | None, cosine: Tensor | None, sine: Tensor | None) -> Tensor:
        ctx.save_for_backward(matrix, cosine, sine)
        return _encode(x, matrix, cosine, sine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        """The transposed map: the matrices transposed, the rotations turned back."""
        matrix, cosine, sine = ctx.saved_tensors
        back = None if matrix is None else matrix.mT, cosine, None if sine is None else -sine
        return _encode(gradient, *back), None, None, None


def _encode(x: Tensor, matrix: Tensor | None, cosine: Tensor | None, sine: Tensor | None) -> Tensor:
    if matrix is None and cosine is None:
        return x
    half = x.shape[-1] // 2
    first, second = x.split(half, -1)
    first = first if matrix is None else (first.flatten(2, 3) @ matrix.to(x.dtype).mT).view(first.shape)
    if cosine is None or sine is None:
        return torch.cat([first, second], -1)
    a, b = second.split(half // 2, -1)
    cosine, sine = cosine[:, :, :, None].to(x.dtype), sine[:, :, :, None].to(x.dtype)
    return torch.cat([first, torch.addcmul(a * cosine, b, sine, value=-1), torch.addcmul(a * sine, b, cosine)], -1)
