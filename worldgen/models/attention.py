"""Multi-view attention: every token of every frame, told apart by cameras, place in the picture, and time.

Half of each head is transformed by its frame's camera so that attention depends on relative projective geometry only
(PRoPE; Li et al. 2025, "Cameras as Relative Positional Encoding", eq. 8-10); the other half turns by the token's x, y
and time (rotary position, Su et al. 2021).
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.shapes import Float
from worldgen.conditioning import Conditioning


@dataclass(frozen=True)
class Positions:
    """Where tokens are, for heads of d channels: the first half projective, the second rotary.

    project   [b, f, d/2, d/2] block-diagonal copies of each frame's 4x4 projection (identity where unknown)
    inverse   its inverse
    cosine, sine  [b, f, n, d/4] of the rotary angles
    """

    project: Tensor
    inverse: Tensor
    cosine: Tensor
    sine: Tensor


def positions(conditioning: Conditioning, hw: tuple[int, int], head_width: int, projective: bool) -> Positions:
    """The positions of an h x w grid of tokens in every frame."""
    cameras = conditioning.cameras
    half = head_width // 2
    identity = torch.eye(4, dtype=cameras.K.dtype, device=cameras.K.device).expand(*cameras.shape, 4, 4)
    project, inverse = identity, identity
    if projective:
        lens = identity.clone()
        size = cameras.K.new_tensor([cameras.hw[1], cameras.hw[0], 1.0])
        lens[..., :3, :3] = cameras.K / size[:, None]
        lens[..., :2, 2] -= 0.5  # the picture spans -0.5..0.5, which keeps the matrix well conditioned
        known = conditioning.cameras_known[:, None, None, None]
        project = torch.where(known, lens @ cameras.camera_from_world, identity)
        inverse = torch.where(known, cameras.world_from_camera @ torch.linalg.inv(lens), identity)
    angle = _rotary_angles(cameras.time_s, hw, half // 2)
    copies = torch.eye(half // 4, dtype=identity.dtype, device=identity.device)
    block = [rearrange(torch.einsum("mn,bfij->bfminj", copies, p), "b f m i n j -> b f (m i) (n j)")
             for p in (project, inverse)]  # fmt: skip
    return Positions(block[0], block[1], angle.cos(), angle.sin())


def _rotary_angles(time_s: Float[Tensor, "b f"], hw: tuple[int, int], pairs: int) -> Float[Tensor, "b f n p"]:
    """Angles of each token: three eighths of the pairs each for x and y (0..1 over the picture), the rest for time."""
    spatial = pairs * 3 // 8
    device, dtype = time_s.device, time_s.dtype
    y, x = torch.meshgrid(
        (torch.arange(hw[0], device=device, dtype=dtype) + 0.5) / hw[0],
        (torch.arange(hw[1], device=device, dtype=dtype) + 0.5) / hw[1],
        indexing="ij",
    )
    per_picture = math.pi * 2 ** torch.linspace(-1, 3, spatial, device=device, dtype=dtype)
    per_second = math.pi * 2 ** torch.linspace(-4, 2, pairs - 2 * spatial, device=device, dtype=dtype)
    place = torch.cat([x.flatten()[:, None] * per_picture, y.flatten()[:, None] * per_picture], -1)
    when = time_s[..., None, None] * per_second
    n = place.shape[0]
    return torch.cat([place.expand(*time_s.shape, -1, -1), when.expand(-1, -1, n, -1)], -1)


def _place(x: Tensor, matrix: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Transform head channels [b, f, heads, n, d]: first half by a matrix, second half by a rotation."""
    first, second = x.chunk(2, -1)
    first = first @ matrix[:, :, None].transpose(-1, -2)
    a, b = second.chunk(2, -1)
    return torch.cat([first, a * cosine - b * sine, a * sine + b * cosine], -1)


class MultiViewAttention(nn.Module):
    """Self-attention over tokens [b, f, n, width]: within each frame, or across all frames of a clip."""

    def __init__(self, width: int, heads: int, across: bool):
        super().__init__()
        self.heads, self.across = heads, across
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.query_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.key_norm = nn.RMSNorm(width // heads, eps=1e-6)

    def forward(self, x: Float[Tensor, "b f n c"], where: Positions) -> Float[Tensor, "b f n c"]:
        """Attend; what a value says is carried from its own camera into the asking one."""
        split = "b f n (h d) -> b f h n d"
        q = self.query_norm(rearrange(self.query(x), split, h=self.heads))
        k = self.key_norm(rearrange(self.key(x), split, h=self.heads))
        v = rearrange(self.value(x), split, h=self.heads)
        cosine, sine = where.cosine[:, :, None].to(v.dtype), where.sine[:, :, None].to(v.dtype)
        project, inverse = where.project.to(v.dtype), where.inverse.to(v.dtype)
        one, none = torch.ones_like(cosine), torch.zeros_like(sine)
        q = _place(q.to(v.dtype), project.transpose(-1, -2), cosine, sine)
        k = _place(k.to(v.dtype), inverse, cosine, sine)
        v = _place(v, inverse, one, none)
        if self.across:
            frames = x.shape[1]
            q, k, v = (rearrange(t, "b f h n d -> b h (f n) d") for t in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v)
            out = rearrange(out, "b h (f n) d -> b f h n d", f=frames)
        else:
            q, k, v = (t.flatten(0, 1) for t in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v).unflatten(0, x.shape[:2])
        out = _place(out, project, one, none)
        return self.out(rearrange(out, "b f h n d -> b f n (h d)"))
