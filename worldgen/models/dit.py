"""`MultiViewDiT`: a diffusion transformer over the frames of a clip, steered by their cameras."""

import math
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.errors import InputError
from geometry.rays import plucker
from geometry.shapes import Float
from worldgen.conditioning import Conditioning
from worldgen.models.attention import MultiViewAttention, Positions, positions

_LEVEL_WAVES = 16


@dataclass(frozen=True)
class DiTConfig:
    """The network's shape.

    modalities  channels of each modality of a latent frame, in the order they are stacked
    attention   one entry a block: "full" attends across all frames of a clip, "frame" within each
    plucker     add the Plücker embedding of each token's ray before every block's attention
    prope       transform half of each head by the cameras
    """

    modalities: dict[str, int] = field(default_factory=lambda: {"rgb": 192, "depth": 64})
    width: int = 256
    heads: int = 4
    mlp_width: int = 640
    modulation_width: int = 64
    attention: tuple[str, ...] = ("full",) * 6
    plucker: bool = True
    prope: bool = True

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width < 1 or self.width % self.heads or (self.width // self.heads) % 8:
            raise InputError(f"width {self.width} with {self.heads} heads; expected heads of a multiple of 8 channels")
        wrong = sorted(set(self.attention) - {"full", "frame"})
        if wrong or not self.attention:
            raise InputError(f"attention {wrong or 'of no blocks'}; expected a list of full and frame")


class Block(nn.Module):
    """Attention and a gated MLP, each modulated per frame; the identity at initialisation (adaLN-zero, DiT)."""

    def __init__(self, config: DiTConfig, across: bool):
        super().__init__()
        self.attention = MultiViewAttention(config.width, config.heads, across)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=False)
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)
        self.modulation = nn.Parameter(torch.zeros(6, config.width))
        self.rays = nn.Linear(6, config.width, bias=False) if config.plucker else None
        if self.rays is not None:
            nn.init.zeros_(self.rays.weight)

    def forward(self, x: Tensor, modulation: Tensor, rays: Tensor, where: Positions) -> Tensor:
        """x [b, f, n, c]; rays [b, f, n, 6]; modulation [b, f, 6, c] of all blocks, to which each adds its own."""
        scale1, shift1, gate1, scale2, shift2, gate2 = (modulation + self.modulation)[..., None, :].unbind(2)
        h = _norm(x) * (1 + scale1) + shift1
        if self.rays is not None:
            h = h + self.rays(rays)
        x = x + gate1 * self.attention(h, where)
        h = _norm(x) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.silu(self.gate(h)) * self.up(h))


class MultiViewDiT(nn.Module):
    """(x [b f c h w], level [b f m], conditioning) -> an estimate [b f c h w], one token per latent pixel.

    Each modality has one patch embedding, one level embedding and one head; embeddings are summed, so a modality can
    be added to a checkpoint without changing what it does.
    """

    def __init__(self, config: DiTConfig):
        super().__init__()
        self.config = config
        width, hidden = config.width, config.modulation_width
        self.embed = nn.ModuleDict({name: nn.Linear(c, width) for name, c in config.modalities.items()})
        self.level = nn.ModuleDict({name: nn.Linear(2 * _LEVEL_WAVES, hidden) for name in config.modalities})
        self.modulate = nn.Linear(hidden, 6 * width)
        self.blocks = nn.ModuleList(Block(config, across=mode == "full") for mode in config.attention)
        self.final = nn.Linear(hidden, 2 * width)
        self.head = nn.ModuleDict({name: nn.Linear(width, c) for name, c in config.modalities.items()})
        for layer in (self.modulate, self.final, self.head):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, x: Float[Tensor, "b f c h w"], level: Float[Tensor, "b f m"], conditioning: Conditioning
    ) -> Float[Tensor, "b f c h w"]:
        """The network's estimate; what it estimates is the process's business."""
        hw = (x.shape[-2], x.shape[-1])
        parts = rearrange(x, "b f c h w -> b f (h w) c").split(list(self.config.modalities.values()), -1)
        tokens = torch.stack([embed(part) for embed, part in zip(self.embed.values(), parts)]).sum(0)
        waves = level_waves(level)
        hidden = F.silu(torch.stack([embed(waves[:, :, m]) for m, embed in enumerate(self.level.values())]).sum(0))
        modulation = self.modulate(hidden).unflatten(-1, (6, self.config.width))
        with torch.autocast(x.device.type, enabled=False):  # poses need their digits
            rays = plucker(conditioning.cameras.resized(hw))
            rays = torch.where(conditioning.cameras_known[:, None, None, None, None], rays, 0.0)
            rays = rearrange(rays, "b f c h w -> b f (h w) c")
            where = positions(conditioning, hw, self.config.width // self.config.heads, self.config.prope)
        for block in self.blocks:
            tokens = block(tokens, modulation, rays, where)
        scale, shift = self.final(hidden)[..., None, :].chunk(2, -1)
        tokens = _norm(tokens) * (1 + scale) + shift
        out = torch.cat([head(tokens) for head in self.head.values()], -1)
        return rearrange(out, "b f (h w) c -> b f c h w", h=hw[0]).to(x.dtype)


def _norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def level_waves(level: Float[Tensor, "b f m"]) -> Float[Tensor, "b f m e"]:
    """Fourier features of levels in [0, 1]."""
    rate = math.pi / 2 * 2 ** torch.linspace(0, 5, _LEVEL_WAVES, device=level.device, dtype=level.dtype)
    angle = level[..., None] * rate
    return torch.cat([angle.cos(), angle.sin()], -1)
