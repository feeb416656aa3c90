"""`MultiViewUNet`: a convolutional network over a clip's frames that looks up what known frames show of the others.

One pass: features of all frames; a cost volume of every frame over the known ones' features, fused with what is known
of its depth already; a U-Net with attention across views that decides on depth; a finer search around the two likeliest
depths; colors blended from the known frames at that depth, and made up where nothing was seen.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.context_parallel import Context
from worldgen.models.network.dit import level_waves
from worldgen.models.network.protocol import Network
from worldgen.models.network.unet.blending import Blend, Blending
from worldgen.models.network.unet.config import UNetConfig
from worldgen.models.network.unet.inputs import DATA_STD, FrameInputs, Scene
from worldgen.models.network.unet.layers import Residual, TemporalMixing, ViewAttention, conv
from worldgen.models.network.unet.matching import Matching, Prior

_LEVEL_WIDTH = 64
_HYPOTHESES, _STEP = 6, 0.4  # of depth at half and at full resolution; those around the likeliest, in planes


@as_value
@dataclass(frozen=True)
class Details:
    """What the network decided on the way, in its own units.

    logits     [b, f, d, h/4, w/4] of the planes
    inverse    [b, f, 1, h, w] inverse depth
    blend      the colors
    """

    logits: Float[Tensor, "b f d y x"]
    inverse: Float[Tensor, "b f 1 h w"]
    blend: Blend


class MultiViewUNet(Network):
    """The second backbone: known frames are looked up, the rest is generated.

    Args:
        config: The shape.
        checkpointing: Recompute the blocks in the backward pass while training, which saves memory and costs time.
        context: Not available: each process has all frames.
    """

    planes: Tensor  # inverse depth of each

    def __init__(self, config: UNetConfig, checkpointing: bool = False, context: Context | None = None):
        super().__init__()
        if context is not None:
            raise InputError("processes that share a clip's frames (train.context_parallel); expected 1 with a unet")
        self.config, self.checkpointing = config, checkpointing
        full, half, quarter, eighth, last = config.widths
        self.register_buffer("planes", torch.linspace(0, config.nearest, config.planes), persistent=False)
        self.level = nn.Sequential(nn.Linear(2 * 32, _LEVEL_WIDTH), nn.SiLU())
        self.stem = conv(4 + 4 + 1 + 3, half // 2 + 8)
        self.to_half = nn.Sequential(nn.SiLU(), conv(half // 2 + 8, half, stride=2), nn.SiLU())
        self.half_match = conv(half, config.match_channels[1], 1)
        self.to_quarter = conv(half, quarter, stride=2)
        self.encode = nn.ModuleList([Residual(quarter, _LEVEL_WIDTH) for _ in range(2)])
        self.match = conv(quarter, config.match_channels[0], 1)
        self.matching = Matching(config.match_channels[0] + 3, 8)
        self.join = conv(8 * config.planes + quarter + 6, quarter, 1)
        self.at_quarter = nn.ModuleList([Residual(quarter, _LEVEL_WIDTH) for _ in range(2)])
        self.to_eighth = conv(quarter, eighth, stride=2)
        self.at_eighth = nn.ModuleList([Residual(eighth, _LEVEL_WIDTH) for _ in range(2)])
        self.time_eighth = TemporalMixing(eighth)
        self.to_last = conv(eighth, last, stride=2)
        self.at_last = nn.ModuleList([Residual(last, _LEVEL_WIDTH) for _ in range(2)])
        self.time_last = TemporalMixing(last)
        self.views = nn.ModuleList([ViewAttention(last, config.heads, config.text_width) for _ in range(2)])
        self.up_eighth = conv(last + eighth, eighth, 1)
        self.back_eighth = nn.ModuleList([Residual(eighth, _LEVEL_WIDTH) for _ in range(2)])
        self.up_quarter = conv(eighth + quarter, quarter, 1)
        self.back_quarter = nn.ModuleList([Residual(quarter, _LEVEL_WIDTH) for _ in range(2)])
        self.logits = conv(quarter, config.planes)
        self.fine_matching = Matching(config.match_channels[1] + 3, 4, 16)
        self.widened = conv(quarter, 4 * half)
        self.join_half = conv(2 * half + _HYPOTHESES * 5 + 2, half)
        self.at_half = nn.ModuleList([Residual(half, _LEVEL_WIDTH) for _ in range(2)])
        self.to_full = conv(half, 4 * full)
        self.join_full = conv(full + half // 2 + 8, full)
        self.at_full = Residual(full)
        self.choice = conv(full, _HYPOTHESES + 2)
        self.blending = Blending(full)

    @property
    def blocks(self) -> list[nn.Module]:  # type: ignore[override]
        """Its parts, in order."""
        return [*self.at_quarter, *self.at_eighth, *self.at_last, *self.views, *self.back_eighth, *self.back_quarter]

    def forward(
        self,
        x: Float[Tensor, "b f c h w"],
        level: Float[Tensor, "b f m"],
        conditioning: Conditioning,
        tap: int | None = None,
    ) -> Tensor | tuple[Tensor, Details]:
        """The estimate; with any `tap`, what was decided on the way too.

        Raises InputError for shapes that do not fit together, or conditioning the network has no input for.
        """
        self._check(x, level, conditioning)
        hw = (x.shape[-2], x.shape[-1])
        inputs = FrameInputs.of(x, level, conditioning)
        scene = Scene.of(conditioning, inputs, hw, self.config)
        waves = self.level(level_waves(level).flatten(2)).flatten(0, 1)
        stem = self.stem(inputs.stacked().flatten(0, 1))
        half = self.to_half(stem)
        quarter = self._through(self.encode, self.to_quarter(half), waves)

        volume, score = self._volume(quarter, inputs, scene)
        body = self._body(torch.cat([quarter, volume], 1), waves, scene)
        logits = (self.logits(body) + 4 * score).unflatten(0, x.shape[:2])
        found = self._coarse_depth(logits, inputs)
        inverse, full = self._fine_depth(logits, (body, half, stem), waves, inputs, found, scene)
        blend = self._part(self.blending, full, inputs, found, scene.rays[1], inverse[:, :, :1], scene.apart_s)
        out = torch.cat([blend.rgb, inverse[:, :, 1:] - 1], 2) / DATA_STD
        return out if tap is None else (out, Details(logits, inverse[:, :, :1], blend))

    def _volume(self, quarter: Tensor, inputs: FrameInputs, scene: Scene) -> tuple[Tensor, Tensor]:
        """The cost volume of every frame, planes in its channels, and each plane's own score."""
        features = inputs.with_colors(self.match(quarter), 4)
        depth = inputs.depth_at(4)
        b, f, _, h, w = features.shape
        planes = self.planes[:, None].expand(b, f, -1, h * w)
        prior = torch.cat([depth.inverse, depth.known], 2).flatten(3)
        matched, score = self._part(self.matching, features, depth, scene.rays[4], planes, prior, scene.apart_s)
        volume = rearrange(matched, "b f o m (h w) -> (b f) (o m) h w", h=h)
        return volume, rearrange(score, "b f m (h w) -> (b f) m h w", h=h)

    def _body(self, joined: Tensor, waves: Tensor, scene: Scene) -> Tensor:
        """Features at a quarter of the resolution, once frames have seen each other."""
        rays = scene.directions.flatten(0, 1)
        fine = self._through(self.at_quarter, self.join(torch.cat([joined, rays], 1)), waves)
        middle = self._through(self.at_eighth, self.to_eighth(fine), waves)
        middle = self.time_eighth(middle, scene.neighbors)
        last = self._through(self.at_last, self.to_last(middle), waves)
        last = self.time_last(last, scene.neighbors)
        for attend in self.views:
            last = self._part(attend, last, scene.positions, scene.mask, scene.text)
        up = F.interpolate(last, size=middle.shape[-2:], mode="nearest")
        middle = self._through(self.back_eighth, self.up_eighth(torch.cat([up, middle], 1)), waves)
        up = F.interpolate(middle, size=fine.shape[-2:], mode="nearest")
        return self._through(self.back_quarter, self.up_quarter(torch.cat([up, fine], 1)), waves)

    def _coarse_depth(self, logits: Tensor, inputs: FrameInputs) -> Prior:
        """Every frame's expected inverse depth at a quarter of the resolution, sure where its planes are few."""
        share = logits.detach().softmax(2)
        planes = self.planes[:, None, None]
        mean = (share * planes).sum(2, keepdim=True)
        spread = (share * (planes - mean).square()).sum(2, keepdim=True).sqrt()
        given = inputs.depth_at(4)
        certain = inputs.given[:, :, 1:, :1, :1]
        return Prior(torch.lerp(mean, given.inverse, certain), torch.maximum(torch.exp(-4 * spread), certain))

    def _fine_depth(
        self, logits: Tensor, features: tuple[Tensor, Tensor, Tensor], waves: Tensor, inputs: FrameInputs, found: Prior,
        scene: Scene,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Inverse depth at full resolution, for looking up and for the result [b, f, 2, h, w], and features of pixels.

        features  at 1/4, 1/2 and full resolution
        found     the depth of all frames so far
        """
        body, half, stem = features
        b, f = logits.shape[:2]
        modes, share = two_modes(logits.detach(), self.planes)
        hypotheses, share = self._hypotheses(modes, 2), _enlarged(share, 2)
        own = inputs.with_colors(self.half_match(half), 2)
        h = own.shape[-2]
        prior = torch.cat([found.inverse, found.known], 2)
        prior = _enlarged(prior, 2).flatten(3)
        at_half = Prior(*(_enlarged(part, 2) for part in (found.inverse, found.known)))
        matched, score = self._part(
            self.fine_matching, own, at_half, scene.rays[2], hypotheses.flatten(3), prior, scene.apart_s
        )
        matched = rearrange(matched, "b f o m (h w) -> (b f) (o m) h w", h=h)
        score = rearrange(score, "b f m (h w) -> (b f) m h w", h=h)
        widened = F.pixel_shuffle(self.widened(body), 2)
        flat, sure = hypotheses.flatten(0, 1), share.flatten(0, 1)
        joined = torch.cat([widened, half, matched, flat, sure], 1)
        fine = self._through(self.at_half, self.join_half(joined), waves)
        full = self.join_full(torch.cat([F.pixel_shuffle(self.to_full(fine), 2), stem], 1))
        full = self._part(self.at_full, full)
        choice, residual, trust = self.choice(full).split([_HYPOTHESES, 1, 1], 1)
        chosen = (choice + 4 * F.interpolate(score, scale_factor=2, mode="nearest")).softmax(1)
        surface = (chosen * self._hypotheses(modes, 4).flatten(0, 1)).sum(1, keepdim=True)
        surface = (surface + 0.1 * residual).unflatten(0, (b, f)).clamp(0, self.config.nearest + 0.2)
        # The frame's own noised depth, the less noise the more; what is given is what it is.
        trust = (trust.unflatten(0, (b, f)) + inputs.trust[:, :, 1:]).sigmoid()
        result = torch.lerp(surface, inputs.held_inverse, trust)
        return torch.cat([surface, result], 2), full.unflatten(0, (b, f))

    def _through(self, blocks: nn.ModuleList, x: Tensor, waves: Tensor) -> Tensor:
        for block in blocks:
            x = self._part(block, x, waves)
        return x

    def _part(self, part: nn.Module, *arguments: Any) -> Any:
        """The result of one of the parts that hold most memory: while training recomputed if asked."""
        if self.checkpointing and self.training:
            return checkpoint(part, *arguments, use_reentrant=False)
        return part(*arguments)

    def _hypotheses(self, modes: Float[Tensor, "b f 2 y x"], times: int) -> Float[Tensor, "b f 6 h w"]:
        """Inverse depths to choose from, enlarged: smoothly, for surfaces, and pixel by pixel, for edges."""
        smooth = F.interpolate(modes.flatten(0, 1), scale_factor=times, mode="bilinear").unflatten(0, modes.shape[:2])
        step = _STEP * (self.planes[1] - self.planes[0])
        around = [(smooth[:, :, :1] + n * step).clamp_min(0) for n in (-1, 1)]
        return torch.cat([smooth, *around, _enlarged(modes, times)], 2)

    def _check(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> None:
        """Raises InputError for shapes that do not fit together, or conditioning the network has no input for."""
        frames = tuple(conditioning.cameras.shape)
        if x.ndim != 5 or x.shape[2] != 4 or tuple(x.shape[:2]) != frames:
            raise InputError(f"latent {tuple(x.shape)} with cameras {frames}; expected [b, f, 4, h, w]")
        if tuple(level.shape) != (*frames, 2):
            raise InputError(f"levels {tuple(level.shape)}; expected {(*frames, 2)}")
        if min(x.shape[-2:]) < 16 or any(side % 16 for side in x.shape[-2:]):
            raise InputError(f"images of {x.shape[-1]}x{x.shape[-2]} pixels; expected multiples of 16")
        if conditioning.memory is not None:
            raise InputError("a memory; expected none, a coarse clip is this network's input")
        coarse, text = conditioning.coarse, conditioning.text
        if coarse is not None and coarse.shape[2] != 4:
            raise InputError(f"a coarse clip of {coarse.shape[2]} channels; expected 4, rgb and depth")
        if text is not None and text.shape[2] != self.config.text_width:
            raise InputError(f"text tokens of width {text.shape[2]}; expected {self.config.text_width}")


def _enlarged(maps: Float[Tensor, "b f c h w"], times: int) -> Tensor:
    """Every pixel repeated."""
    return maps.repeat_interleave(times, -1).repeat_interleave(times, -2)


def two_modes(
    logits: Float[Tensor, "b f d h w"], planes: Float[Tensor, "d"]
) -> tuple[Float[Tensor, "b f 2 h w"], Float[Tensor, "b f 2 h w"]]:
    """The two likeliest inverse depths that are apart, and how likely each of the two is.

    A pixel at a quarter of the resolution has two depths where an edge passes through it.
    """
    share = logits.softmax(2)
    index = torch.arange(len(planes), device=planes.device)[:, None, None]
    modes, sure = [], []
    for _ in range(2):
        best = share.argmax(2, keepdim=True)
        near = (index - best).abs() <= 1
        mass = torch.where(near, share, 0.0).sum(2, keepdim=True)
        center = torch.where(near, share * planes[:, None, None], 0.0).sum(2, keepdim=True) / mass.clamp_min(1e-6)
        modes.append(center)
        sure.append(mass)
        share = torch.where((index - best).abs() <= 2, 0.0, share)
    return torch.cat(modes, 2), torch.cat(sure, 2)


def same_shape(
    network: MultiViewUNet, config: UNetConfig, checkpointing: bool = False, context: Context | None = None
) -> MultiViewUNet:
    """The network for training on: a copy, since nothing can be added to one.

    Raises InputError for another config.
    """
    if network.config != config:
        raise InputError("a unet of another shape (model.network) to start from; expected the same, it cannot grow")
    copy = MultiViewUNet(config, checkpointing, context)
    copy.load_state_dict(network.state_dict())
    return copy
