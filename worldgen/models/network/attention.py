"""Multi-view attention: every token of every frame, told apart by its camera, its place in the image and its time.

Half of each head is transformed by its frame's camera so that attention depends on relative projective geometry only
(PRoPE; Li et al. 2025, "Cameras as Relative Positional Encoding", eq. 8-10); the other half is rotated by the token's
x, y and time (rotary position, Su et al. 2021).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.shapes import Bool, Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.context_parallel import Context
from worldgen.models.network.gradients import as_multiplied, encoded, rms_norm

KeysValues = tuple[Tensor, Tensor]  # [b, heads, k, d] each
Text = tuple[Float[Tensor, "b t e"], Bool[Tensor, "b t"]]  # tokens, and which of them are not padding


@as_value
@dataclass(frozen=True)
class Positions:
    """Where tokens are, for heads of d channels: the first half projective, the second rotary.

    project   [b, f, d/2, d/2] block-diagonal copies of each frame's 4x4 projection (identity where a clip's cameras are
              unknown); None = the first half encodes no position
    inverse   its inverse
    cosine, sine  [b, f, n, d/4] of the rotary angles
    """

    project: Tensor | None
    inverse: Tensor | None
    cosine: Tensor
    sine: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Positions":
        """A function of every tensor."""
        project, inverse = (None if t is None else function(t) for t in (self.project, self.inverse))
        return Positions(project, inverse, function(self.cosine), function(self.sine))


def token_positions(conditioning: Conditioning, hw: tuple[int, int], head_width: int, projective: bool) -> Positions:
    """The positions of an h x w grid of tokens in every frame."""
    cameras = conditioning.cameras
    half = head_width // 2
    angle = _rotary_angles(cameras.time_s, hw, half // 2)
    if not projective:
        return Positions(None, None, angle.cos(), angle.sin())
    identity = torch.eye(4, dtype=cameras.K.dtype, device=cameras.K.device).expand(*cameras.shape, 4, 4)
    lens = identity.clone()  # the pinhole of the same K, whatever lens there is: the rays carry that
    size = cameras.K.new_tensor([cameras.hw[1], cameras.hw[0], 1.0])
    lens[..., :3, :3] = cameras.K / size[:, None]
    lens[..., :2, 2] -= 0.5  # the image spans -0.5..0.5, which keeps the matrix well conditioned
    known = conditioning.cameras_known[:, None, None, None]
    project = torch.where(known, lens @ cameras.camera_from_world, identity)
    inverse = torch.where(known, cameras.world_from_camera @ torch.linalg.inv(lens), identity)
    copies = torch.eye(half // 4, dtype=identity.dtype, device=identity.device)
    block = [
        rearrange(torch.einsum("mn,bfij->bfminj", copies, p), "b f m i n j -> b f (m i) (n j)")
        for p in (project, inverse)
    ]
    return Positions(block[0], block[1], angle.cos(), angle.sin())


def _rotary_angles(time_s: Float[Tensor, "b f"], hw: tuple[int, int], pairs: int) -> Float[Tensor, "b f n p"]:
    """Angles of each token: three eighths of the pairs each for x and y (0..1 over the image), the rest for time."""
    spatial = pairs * 3 // 8
    device, dtype = time_s.device, time_s.dtype
    y, x = torch.meshgrid(
        (torch.arange(hw[0], device=device, dtype=dtype) + 0.5) / hw[0],
        (torch.arange(hw[1], device=device, dtype=dtype) + 0.5) / hw[1],
        indexing="ij",
    )
    per_image = math.pi * 2 ** torch.linspace(-1, 3, spatial, device=device, dtype=dtype)
    per_second = math.pi * 2 ** torch.linspace(-4, 2, pairs - 2 * spatial, device=device, dtype=dtype)
    place = torch.cat([x.flatten()[:, None] * per_image, y.flatten()[:, None] * per_image], -1)
    when = time_s[..., None, None] * per_second
    n = place.shape[0]
    return torch.cat([place.expand(*time_s.shape, -1, -1), when.expand(-1, -1, n, -1)], -1)


def _normed(x: Tensor, norm: nn.RMSNorm) -> Tensor:
    """A norm in its input's type, which is what the fused kernels take; they add up in float32."""
    return rms_norm(x, norm.weight[None], eps=norm.eps or 1e-6)


class MultiViewAttention(nn.Module):
    """Self-attention over tokens [b, f, n, width]: within each frame, or across the frames of a clip.

    text_width  width of text tokens, 0 = none. The same queries attend to them with keys and values of their own
                (Ye et al. 2023, "IP-Adapter", eq. 5); their values start at zero, so text can be added later.
    context     other processes have the other frames, which are attended to as well; None = all frames are here
    """

    def __init__(self, width: int, heads: int, within: bool, text_width: int = 0, context: Context | None = None):
        super().__init__()
        self.heads, self.within, self.context = heads, within, context
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.query_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.key_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.text_key = nn.Linear(text_width, width, bias=False) if text_width else None
        self.text_value = nn.Linear(text_width, width, bias=False) if text_width else None
        if self.text_value is not None:
            nn.init.zeros_(self.text_value.weight)

    def forward(
        self,
        x: Float[Tensor, "b f n c"],
        positions: Positions,
        mask: Bool[Tensor, "b 1 q k"] | None = None,
        text: Text | None = None,
        past: KeysValues | None = None,
    ) -> tuple[Float[Tensor, "b f n c"], KeysValues | None]:
        """Attend; values are carried from their own camera into the query's.

        mask  which of the (earlier and present) tokens each attends to, None = all; without effect within frames
        past  keys and values [b, heads, k, d] of finished frames, which come before the present ones

        Also returns the keys and values of all frames, for a next call's `past`; None within frames.
        """
        split, x = "b f n (h d) -> b f n h d", as_multiplied(x)
        v = rearrange(self.value(x), split, h=self.heads)
        query = _normed(rearrange(self.query(x), split, h=self.heads), self.query_norm)
        k = _normed(rearrange(self.key(x), split, h=self.heads), self.key_norm)
        turn = positions.cosine, positions.sine
        q = encoded(query, None if positions.project is None else positions.project.mT, *turn)
        k, v = encoded(k, positions.inverse, *turn), encoded(v, positions.inverse)
        kept = None
        if self.within:
            q, k, v = (rearrange(t, "b f n h d -> (b f) h n d") for t in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v)
            out = rearrange(out, "(b f) h n d -> b f n h d", b=x.shape[0])
        else:
            q, k, v = (rearrange(t, "b f n h d -> b h (f n) d") for t in (q, k, v))
            if self.context is not None:
                k, v = self.context.gather(k, 2), self.context.gather(v, 2)
            if past is not None:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            kept = (k, v)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            out = rearrange(out, "b h (f n) d -> b f n h d", f=x.shape[1])
        out = encoded(out, positions.project)
        if text is not None and self.text_key is not None:
            out = out + self._attend_to_text(query, *text)
        return self.out(out.flatten(-2)), kept

    def _attend_to_text(self, query: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """What the text adds to every token; nothing where a clip's text is dropped."""
        assert self.text_key is not None and self.text_value is not None
        frames, text = query.shape[1], text.to(query.dtype)
        split = "b t (h d) -> b h t d"
        k = _normed(rearrange(self.text_key(text), split, h=self.heads), self.key_norm).to(query.dtype)
        v = rearrange(self.text_value(text), split, h=self.heads).to(query.dtype)
        given = mask.any(-1)[:, None]
        v = torch.where(given[..., None, None], v, 0.0)
        q = rearrange(query, "b f n h d -> b h (f n) d")
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=(mask | ~given)[:, None, None])
        return rearrange(out, "b h (f n) d -> b f n h d", f=frames)
