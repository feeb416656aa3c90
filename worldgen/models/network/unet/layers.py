"""Parts of `MultiViewUNet`: convolutions within frames, mixing along time, attention across views."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.camera.cameras import Cameras
from geometry.shapes import Float
from worldgen.models.network.attention import MultiViewAttention, Positions, Text


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, zero: bool = False) -> nn.Conv2d:
    """A convolution that keeps the size, or divides it by the stride; of zeros where asked."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2)
    if zero:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Residual(nn.Module):
    """Two convolutions added to their input, normed and modulated per frame; the identity at initialization."""

    def __init__(self, width: int, level_width: int = 0):
        super().__init__()
        self.norm = nn.GroupNorm(max(width // 8, 1), width)
        self.first, self.second = conv(width, width), conv(width, width, zero=True)
        self.modulation = nn.Linear(level_width, 2 * width) if level_width else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Float[Tensor, "n c h w"], level: Float[Tensor, "n d"] | None = None) -> Tensor:
        """level  features of the frames' levels"""
        h = self.norm(x)
        if self.modulation is not None and level is not None:
            scale, shift = self.modulation(level)[..., None, None].chunk(2, 1)
            h = torch.addcmul(shift, h, 1 + scale)
        return x + self.second(F.silu(self.first(F.silu(h))))


class TemporalMixing(nn.Module):
    """The temporal half of a pseudo-3D convolution: frames take up those before and after them of the same camera.

    Adds nothing at initialization, and nothing to frames that have no neighbor in time (Singer et al. 2022,
    "Make-A-Video", section 3.2).
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(max(width // 8, 1), width)
        self.before, self.after = conv(width, width, 1, zero=True), conv(width, width, 1, zero=True)

    def forward(self, x: Float[Tensor, "n c h w"], neighbors: Float[Tensor, "b 2 f f"]) -> Tensor:
        """x          of all frames, clip by clip
        neighbors  from `neighbors_in_time`"""
        h = F.silu(self.norm(x)).unflatten(0, (len(neighbors), -1))
        before, after = torch.einsum("bsfg,bgchw->sbfchw", neighbors.to(h), h)
        mixed = self.before(before.flatten(0, 1)) + self.after(after.flatten(0, 1))
        there = neighbors.sum((1, 3)).flatten()[:, None, None, None] > 0
        return x + torch.where(there, mixed, 0.0)


def neighbors_in_time(cameras: Cameras, order: Tensor | None) -> Float[Tensor, "b 2 f f"]:
    """Which frame is the last before, and which the first after each frame, of the same physical camera.

    order  `Conditioning.order`: later chunks are no neighbors
    """
    time, view = cameras.time_s, cameras.view
    later = time[:, None] - time[:, :, None]  # of frame j after frame i
    usable = view[:, None] == view[:, :, None]
    if order is not None:
        usable = usable & (order[:, None] <= order[:, :, None])
    found = []
    for gap in (-later, later):
        gap = torch.where(usable & (gap > 0), gap, torch.inf)
        nearest = F.one_hot(gap.argmin(-1), gap.shape[-1])
        found.append(nearest * gap.amin(-1, keepdim=True).isfinite())
    return torch.stack(found, 1).to(time.dtype)


class ViewAttention(nn.Module):
    """Attention of all frames' pixels to each other, and to text, at a coarse level; the identity at initialization."""

    def __init__(self, width: int, heads: int, text_width: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.attention = MultiViewAttention(width, heads, False, text_width)
        self.gain = nn.Parameter(torch.zeros(width))
        self.mlp_norm = nn.RMSNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(
        self, x: Float[Tensor, "n c h w"], positions: Positions, mask: Tensor | None, text: Text | None
    ) -> Tensor:
        """x     of all frames, clip by clip
        mask  which tokens each attends to, None = all"""
        tokens = rearrange(x, "(b f) c h w -> b f (h w) c", b=len(positions.cosine))
        tokens = tokens + self.gain * self.attention(self.norm(tokens), positions, mask, text)[0]
        tokens = tokens + self.down(F.silu(self.up(self.mlp_norm(tokens))))
        return rearrange(tokens, "b f (h w) c -> (b f) c h w", h=x.shape[-2])
