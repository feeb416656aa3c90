"""`MultiViewDiT`: a diffusion transformer over the frames of a clip, steered by their cameras."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from geometry.camera.cameras import Cameras
from geometry.camera.rays import plucker
from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.attention import KeysValues, MultiViewAttention, Positions, Text, token_positions
from worldgen.models.network.context_parallel import Context
from worldgen.models.network.gradients import as_multiplied, gated, rms_norm, swiglu
from worldgen.models.network.masks import MODES, token_mask
from worldgen.models.network.protocol import Network

_LEVEL_WAVES = 16


@dataclass(frozen=True)
class DiTConfig:
    """The network's shape.

    modalities       channels of each modality of a latent frame, in the order they are stacked
    attention        one entry per block, of `worldgen.models.network.masks.MODES`: which frames a frame attends to. All
                     but "frame" have the same weights and can be exchanged
    plucker          add the Plücker embedding of each token's ray before every block's attention
    prope            transform half of each head by the cameras' poses and K; a lens is in the rays alone
    memory_channels  latent channels of what the 3D memory shows; 0 = the network has no such input
    text_width       width of the text tokens; 0 = the network has no such input
    neighbors        how many other frames a frame attends to in mode "neighbors"
    epipolar_band    half width, in tokens, of what is attended to around an epipolar line in mode "epipolar"
    """

    modalities: dict[str, int] = field(default_factory=lambda: {"rgb": 192, "depth": 64})
    width: int = 256
    heads: int = 4
    mlp_width: int = 640
    modulation_width: int = 64
    attention: tuple[str, ...] = ("full",) * 6
    plucker: bool = True
    prope: bool = True
    memory_channels: int = 0
    text_width: int = 0
    neighbors: int = 2
    epipolar_band: float = 1.5

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width < 1 or self.width % self.heads or (self.width // self.heads) % 8:
            raise InputError(f"width {self.width} with {self.heads} heads; expected heads of a multiple of 8 channels")
        wrong = sorted(set(self.attention) - set(MODES))
        if wrong or not self.attention:
            raise InputError(f"attention {wrong or 'of no blocks'}; expected a list of {', '.join(MODES)}")
        if min(self.memory_channels, self.text_width, self.neighbors) < 0 or not self.epipolar_band > 0:
            raise InputError("memory_channels, text_width, neighbors: expected 0 or more; epipolar_band more than 0")
        if not self.modalities or min(self.modalities.values()) < 1:
            raise InputError(f"modalities {self.modalities}; expected at least one, each of 1 channel or more")


@as_value
@dataclass(frozen=True)
class Cache:
    """Finished frames, as later ones attend to them: written by `MultiViewDiT.append_to_cache`, at level 0.

    conditioning  of those frames; later ones keep the same reference camera and scale
    rays          [b, g, n, 6]
    keys_values   of every block (None of those within frames): [b, heads, g n, d] each
    """

    conditioning: Conditioning
    rays: Float[Tensor, "b g n 6"]
    keys_values: tuple[KeysValues | None, ...]


class Block(nn.Module):
    """Attention and a gated MLP, each modulated per frame; the identity at initialization (adaLN-zero, DiT)."""

    def __init__(self, config: DiTConfig, mode: str, context: Context | None = None):
        super().__init__()
        self.attention = MultiViewAttention(config.width, config.heads, mode == "frame", config.text_width, context)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=False)
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)
        self.modulation = nn.Parameter(torch.zeros(6, config.width))
        self.rays = nn.Linear(6, config.width, bias=False) if config.plucker else None
        if self.rays is not None:
            nn.init.zeros_(self.rays.weight)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        rays: Tensor,
        positions: Positions,
        mask: Tensor | None = None,
        text: Text | None = None,
        past: KeysValues | None = None,
    ) -> tuple[Tensor, KeysValues | None]:
        """x [b, f, n, c]; rays [b, f, n, 6]; modulation [b, f, 6, c] of all blocks, to which each adds its own; the
        rest as in `MultiViewAttention`. Also returns the keys and values of all frames."""
        scale1, shift1, gate1, scale2, shift2, gate2 = (modulation + self.modulation)[..., None, :].unbind(2)
        h = _modulated(x, scale1, shift1)
        if self.rays is not None:
            h = h + self.rays(rays)
        attended, keys_values = self.attention(h, positions, mask, text, past)
        x = gated(x, gate1, attended)
        h = as_multiplied(_modulated(x, scale2, shift2))
        return gated(x, gate2, self.down(swiglu(self.gate(h), self.up(h)))), keys_values


@dataclass(frozen=True)
class _Views:
    """What the blocks need of the frames' cameras.

    rays       [b, f, n, 6] of the tokens
    positions  of the tokens
    masks      of each attention mode, [b, 1, q, k]; None = every token attends to all
    keys, key_rays  conditioning and rays [b, g, n, 6] of all frames that are attended to
    """

    rays: Tensor
    positions: Positions
    masks: Mapping[str, Tensor | None]
    keys: Conditioning
    key_rays: Tensor

    def of_own_frames(self, context: Context) -> "_Views":
        """The queries' part of them that this process has."""
        masks = {mode: None if mask is None else context.own(mask, 2) for mode, mask in self.masks.items()}
        positions = self.positions.map(lambda t: context.own(t, 1))
        return replace(self, rays=context.own(self.rays, 1), positions=positions, masks=masks)


class MultiViewDiT(Network):
    """A diffusion transformer with one token per latent pixel (Peebles & Xie 2023, DiT), over all frames of a clip.

    Each modality has one patch embedding, one level embedding and one head; embeddings are summed, and memory and text
    start at zero, so each can be added to a checkpoint without changing its output (`grow`).

    Args:
        config: The shape.
        checkpointing: Recompute each block in the backward pass while training, which saves memory and costs time.
        context: This process's place in a group that shares every clip's frames; each process of the group calls the
            network with all frames. None = this process computes all of them.
    """

    config: DiTConfig

    def __init__(self, config: DiTConfig, checkpointing: bool = False, context: Context | None = None):
        super().__init__()
        self.config, self.checkpointing, self.context = config, checkpointing, context
        width, hidden = config.width, config.modulation_width
        self.embed = nn.ModuleDict({name: nn.Linear(c, width) for name, c in config.modalities.items()})
        self.level = nn.ModuleDict({name: nn.Linear(2 * _LEVEL_WAVES, hidden) for name in config.modalities})
        self.modulate = nn.Linear(hidden, 6 * width)
        self.blocks = nn.ModuleList(Block(config, mode, context) for mode in config.attention)
        self.final = nn.Linear(hidden, 2 * width)
        self.head = nn.ModuleDict({name: nn.Linear(width, c) for name, c in config.modalities.items()})
        self.memory = nn.Linear(config.memory_channels, width, bias=False) if config.memory_channels else None
        for layer in (self.modulate, self.final, self.head, self.memory):
            for parameter in () if layer is None else layer.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        x: Float[Tensor, "b f c h w"],
        level: Float[Tensor, "b f m"],
        conditioning: Conditioning,
        past: Cache | None = None,
        tap: int | None = None,
    ) -> Float[Tensor, "b f c h w"] | tuple[Float[Tensor, "b f c h w"], Float[Tensor, "b g n e"]]:
        """The estimate of latent frames x at levels in 0..1; of what, is the process's business.

        past  finished frames before these, which are attended to as well
        tap   number of a block, whose tokens are returned too, those of the g frames this process has

        Raises InputError for shapes that do not fit together, or conditioning the network has no input for.
        """
        self._check(x, level, conditioning)
        tokens, hidden = self._embed(x, conditioning), self._embed_level(level)
        modulation = self._modulation(hidden)
        views = self._views(conditioning, (x.shape[-2], x.shape[-1]), past)
        if self.context is not None:
            assert past is None, "a cache of finished frames cannot be shared over processes"
            tokens, hidden, modulation = (self.context.own(t, 1) for t in (tokens, hidden, modulation))
            views = views.of_own_frames(self.context)
        tapped, blocks = None, self._blocks(tokens, modulation, views, conditioning, past)
        for index, (tokens, _) in enumerate(blocks):
            tapped = tokens if index == tap else tapped
        scale, shift = self.final(hidden)[..., None, :].chunk(2, -1)
        tokens = _modulated(tokens, scale, shift)
        out = torch.cat([head(tokens) for head in self.head.values()], -1)
        out = rearrange(out, "b f (h w) c -> b f c h w", h=x.shape[-2]).to(x.dtype)
        if self.context is not None:
            out = self.context.join(out, 1)
        return out if tapped is None else (out, tapped)

    def append_to_cache(
        self, x: Float[Tensor, "b f c h w"], conditioning: Conditioning, past: Cache | None = None
    ) -> Cache:
        """Finished frames, and those of `past` before them, for later calls: one pass at level 0.

        With frames in causal order (`Conditioning.order`) and one reference camera, a later call with the cache equals
        one call with all frames, the finished ones at level 0.
        """
        assert self.context is None, "a cache of finished frames cannot be shared over processes"
        level = x.new_zeros(*x.shape[:2], len(self.config.modalities))
        self._check(x, level, conditioning)
        tokens, modulation = self._embed(x, conditioning), self._modulation(self._embed_level(level))
        views = self._views(conditioning, (x.shape[-2], x.shape[-1]), past)
        keys_values = tuple(kept for _, kept in self._blocks(tokens, modulation, views, conditioning, past))
        return Cache(views.keys, views.key_rays, keys_values)

    def _embed(self, x: Tensor, conditioning: Conditioning) -> Float[Tensor, "b f n c"]:
        """Tokens of frames and of what the memory shows."""
        parts = rearrange(x, "b f c h w -> b f (h w) c").split(list(self.config.modalities.values()), -1)
        tokens = reduce(torch.add, [embed(part) for embed, part in zip(self.embed.values(), parts)])
        if self.memory is not None and conditioning.memory is not None:
            tokens = tokens + self.memory(rearrange(conditioning.memory, "b f c h w -> b f (h w) c"))
        return tokens

    def _embed_level(self, level: Tensor) -> Float[Tensor, "b f d"]:
        """The levels of each frame as what modulates its tokens."""
        waves = level_waves(level)
        return F.silu(reduce(torch.add, [embed(waves[:, :, m]) for m, embed in enumerate(self.level.values())]))

    def _modulation(self, hidden: Tensor) -> Float[Tensor, "b f 6 c"]:
        return self.modulate(hidden).unflatten(-1, (6, self.config.width))

    def _views(self, conditioning: Conditioning, hw: tuple[int, int], past: Cache | None) -> _Views:
        """Rays, positions and masks of an h x w grid of tokens in every frame, in float32: poses need their digits."""
        config = self.config
        with torch.autocast(conditioning.cameras.K.device.type, enabled=False):
            cameras = conditioning.cameras.resized(hw)
            rays = torch.where(conditioning.cameras_known[:, None, None, None, None], plucker(cameras), 0.0)
            rays = rearrange(rays, "b f c h w -> b f (h w) c")
            positions = token_positions(conditioning, hw, config.width // config.heads, config.prope)
            keys = conditioning if past is None else _after(past.conditioning, conditioning)
            key_rays = rays if past is None else torch.cat([past.rays, rays], 1)
            pitch = 2 / (cameras.K[..., 0, 0] + cameras.K[..., 1, 1])
            both = (rays, key_rays)
            masks = {
                mode: token_mask(mode, conditioning, keys, both, pitch, config.neighbors, config.epipolar_band)
                for mode in sorted(set(config.attention) - {"frame"})
            }
        return _Views(rays, positions, masks, keys, key_rays)

    def _blocks(
        self, tokens: Tensor, modulation: Tensor, views: _Views, conditioning: Conditioning, past: Cache | None
    ) -> Iterator[tuple[Tensor, KeysValues | None]]:
        """The tokens after each block, and the keys and values of all frames in it."""
        tokens_of_text, padding_mask = conditioning.text, conditioning.text_mask
        text = None if tokens_of_text is None or padding_mask is None else (tokens_of_text, padding_mask)
        for index, (mode, block) in enumerate(zip(self.config.attention, self.blocks)):
            earlier = None if past is None else past.keys_values[index]
            arguments = (tokens, modulation, views.rays, views.positions, views.masks.get(mode), text, earlier)
            if self.checkpointing and self.training:
                tokens, keys_values = checkpoint(block, *arguments, use_reentrant=False)  # type: ignore[misc]
            else:
                tokens, keys_values = block(*arguments)
            yield tokens, keys_values

    def _check(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> None:
        """Raises InputError for shapes that do not fit together, or conditioning the network has no input for."""
        channels, frames = sum(self.config.modalities.values()), tuple(conditioning.cameras.shape)
        if x.ndim != 5 or x.shape[2] != channels or tuple(x.shape[:2]) != frames:
            raise InputError(f"latent {tuple(x.shape)} with cameras {frames}; expected [b, f, {channels}, h, w]")
        if tuple(level.shape) != (*frames, len(self.config.modalities)):
            raise InputError(f"levels {tuple(level.shape)}; expected {(*frames, len(self.config.modalities))}")
        memory, text = conditioning.memory, conditioning.text
        if memory is not None and memory.shape[2:] != (self.config.memory_channels, *x.shape[3:]):
            raise InputError(
                f"memory {tuple(memory.shape)}; expected {self.config.memory_channels} channels of {tuple(x.shape[3:])}"
            )
        if text is not None and text.shape[2] != self.config.text_width:
            raise InputError(f"text tokens of width {text.shape[2]}; expected {self.config.text_width}")


def _modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Tokens of mean square 1, scaled and shifted."""
    return rms_norm(x, 1 + scale, shift)


def _after(past: Conditioning, present: Conditioning) -> Conditioning:
    """What decides which frames attend to which, of finished frames and those after them."""
    cameras = Cameras.cat([past.cameras, present.cameras])
    known = past.order is not None and present.order is not None
    order = torch.cat([past.order, present.order], 1) if known else None  # type: ignore[list-item]
    return Conditioning(cameras, present.cameras_known, order)


def level_waves(level: Float[Tensor, "b f m"]) -> Float[Tensor, "b f m e"]:
    """Fourier features of levels in [0, 1]."""
    rate = math.pi / 2 * 2 ** torch.linspace(0, 5, _LEVEL_WAVES, device=level.device, dtype=level.dtype)
    angle = level[..., None] * rate
    return torch.cat([angle.cos(), angle.sin()], -1)


def grow(
    network: MultiViewDiT, config: DiTConfig, checkpointing: bool = False, context: Context | None = None
) -> MultiViewDiT:
    """The network with inputs and outputs added (modalities, memory, text), whose outputs are bit for bit the same.

    Args:
        network: Stays as it is.
        config: Of the larger network.
        checkpointing: As in `MultiViewDiT`.
        context: As in `MultiViewDiT`.

    Returns:
        A new network; what is added learns, but contributes nothing yet.

    Raises:
        InputError: When `config` differs in anything that cannot be added.
    """
    grown = MultiViewDiT(config, checkpointing, context)
    state, old = grown.state_dict(), network.state_dict()
    added = set(config.modalities) - set(network.config.modalities)
    extra = [name for name in state if name not in old]
    wrong = [name for name in old if name not in state or state[name].shape != old[name].shape]
    fits = all(set(name.split(".")) & {*added, "memory", "text_key", "text_value"} for name in extra)
    if wrong or not fits or network.config.attention != config.attention:
        raise InputError(f"a network that differs in {(wrong or extra or ['attention'])[0]}; expected added parts only")
    for name in extra:
        # Keys of text may differ from zero: they have no effect until the values beside them are trained.
        if not name.endswith(("text_key.weight",)):
            state[name].zero_()
    grown.load_state_dict(state | old)
    return grown
