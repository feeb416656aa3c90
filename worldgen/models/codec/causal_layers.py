"""Layers of video networks that never look ahead: a frame's output depends on it and on earlier frames only.

A video can come in chunks: what a layer needs of earlier frames is kept in a `Past`, so that chunk after chunk
gives what the whole video gives.
"""

from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value


@as_value
@dataclass(frozen=True)
class Past:
    """What layers need of the frames so far. A video starts with an empty one."""

    tails: dict[nn.Module, Tensor] = field(default_factory=dict)
    begun: set[nn.Module] = field(default_factory=set)

    def before(self, layer: nn.Module, x: Float[Tensor, "b f c h w"], count: int) -> Float[Tensor, "b g c h w"]:
        """The frames with the `count` frames before them (zeros before the video), whose last are kept for next
        time."""
        tail = self.tails.get(layer)
        if tail is None:
            tail = x.new_zeros(x.shape[0], count, *x.shape[2:])
        joined = torch.cat([tail, x], 1)
        self.tails[layer] = joined[:, -count:].clone()
        return joined

    def begins(self, layer: nn.Module) -> bool:
        """Whether this is the layer's first call in the video; later calls are not."""
        first = layer not in self.begun
        self.begun.add(layer)
        return first


class PixelNorm(nn.Module):
    """RMS norm over the channels of each pixel (Zhang & Sennrich 2019): no frame or place learns of another."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        size = x.float().square().mean(1, keepdim=True)
        return x * (torch.rsqrt(size + 1e-6) * self.gain[:, None, None]).to(x.dtype)


class FrameConv(nn.Module):
    """A 2D convolution in each frame, the (1, k, k) half of a pseudo-3D one (Qiu et al. 2017, P3D)."""

    def __init__(self, channels: int, out: int, size: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, size, padding=size // 2)

    def forward(self, x: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f d h w"]:
        return self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class TimeConv(nn.Module):
    """A causal convolution over time at each pixel, the (k, 1, 1) half."""

    def __init__(self, channels: int, out: int, taps: int):
        super().__init__()
        self.taps, self.conv = taps, nn.Conv2d(taps * channels, out, 1)

    def forward(self, x: Float[Tensor, "b f c h w"], past: Past) -> Float[Tensor, "b f d h w"]:
        batch, frames = x.shape[:2]
        if self.taps > 1:
            joined = past.before(self, x, self.taps - 1)
            x = torch.cat([joined[:, tap : tap + frames] for tap in range(self.taps)], 2)
        return self.conv(x.flatten(0, 1)).unflatten(0, (batch, frames))


class ResBlock(nn.Module):
    """x + time(silu(space(norm(x)))): the identity at initialization."""

    def __init__(self, channels: int, taps: int):
        super().__init__()
        self.norm, self.space = PixelNorm(channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.time = TimeConv(channels, channels, taps)
        nn.init.zeros_(self.time.conv.weight)
        nn.init.zeros_(self.time.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "b f c h w"], past: Past) -> Float[Tensor, "b f c h w"]:
        inner = F.silu(self.space(self.norm(x.flatten(0, 1))))
        return x + self.time(inner.unflatten(0, x.shape[:2]), past)


class MergeFrames(nn.Module):
    """1 + n k frames to 1 + n: the first alone (as a group of its copies), then every k. The mean at initialization."""

    def __init__(self, channels: int, group: int):
        super().__init__()
        self.group, self.conv = group, nn.Conv2d(group * channels, channels, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(channels).repeat(1, group)[..., None, None] / group)

    def forward(self, x: Float[Tensor, "b f c h w"], past: Past) -> Float[Tensor, "b g c h w"]:
        grouped = self.grouped(x, past)
        return self.conv(grouped.flatten(0, 1)).unflatten(0, grouped.shape[:2])

    def grouped(self, x: Float[Tensor, "b f c h w"], past: Past) -> Float[Tensor, "b g d h w"]:
        """The frames of each group stacked. Raises InputError when they don't fill their groups."""
        first = past.begins(self)
        if (x.shape[1] - first) % self.group or x.shape[1] == 0:
            expected = f"1 + a multiple of {self.group}" if first else f"a multiple of {self.group}"
            raise InputError(f"{x.shape[1]} frames; expected {expected} (the first frame is alone, then groups)")
        if first:
            x = torch.cat([x[:, :1].expand(-1, self.group - 1, -1, -1, -1), x], 1)
        return rearrange(x, "b (g k) c h w -> b g (k c) h w", k=self.group)


class SplitFrames(nn.Module):
    """1 + n latent frames to 1 + n k. Copies at initialization."""

    def __init__(self, channels: int, group: int):
        super().__init__()
        self.group, self.conv = group, nn.Conv2d(channels, group * channels, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(channels).repeat(group, 1)[..., None, None])

    def forward(self, x: Float[Tensor, "b g c h w"], past: Past) -> Float[Tensor, "b f c h w"]:
        split = self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        split = rearrange(split, "b g (k c) h w -> b (g k) c h w", k=self.group)
        return split[:, self.group - 1 :] if past.begins(self) else split
