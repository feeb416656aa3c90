"""`ConvVAE`: a convolutional autoencoder of images and videos with depth."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.core.modalities import MODALITIES
from worldgen.models.codec.causal_layers import FrameConv, MergeFrames, Past, ResBlock, SplitFrames
from worldgen.models.codec.protocol import whole_blocks

TAPS = 3  # frames a temporal convolution spans, where frames are merged


@dataclass(frozen=True)
class BranchConfig:
    """The autoencoder of one modality.

    latents          channels of a latent frame
    widths           channels at each resolution, from fine to coarse, each half the one before
    encoder, decoder residual blocks at each resolution, in the order of widths
    """

    latents: int
    widths: tuple[int, ...]
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]


@dataclass(frozen=True)
class ConvVAEConfig:
    """A codec's shape.

    block  pixels per latent on a side; the images are folded by block / 2^(levels - 1) first
    group  frames per latent frame after a video's first, which is alone; 1 = images, no frame depends on another
    """

    block: int = 8
    group: int = 1
    rgb: BranchConfig = field(default_factory=lambda: BranchConfig(16, (48, 128), (1, 2), (2, 3)))
    depth: BranchConfig = field(default_factory=lambda: BranchConfig(8, (32, 64), (1, 1), (1, 2)))

    def __post_init__(self) -> None:
        if self.group < 1:
            raise InputError(f"group {self.group}; expected 1 frame or more per latent frame")
        for name, branch in (("rgb", self.rgb), ("depth", self.depth)):
            levels = len(branch.widths)
            if not (levels and levels == len(branch.encoder) == len(branch.decoder)):
                raise InputError(
                    f"{name}: {levels} widths, blocks at {len(branch.encoder)} and {len(branch.decoder)} resolutions; "
                    "expected one number a resolution, at least one"
                )
            if self.block < 1 or self.block % 2 ** (levels - 1):
                raise InputError(f"block {self.block} with {levels} widths; expected a multiple of {2 ** (levels - 1)}")
            if min(branch.latents, *branch.widths) < 1 or min(*branch.encoder, *branch.decoder) < 0:
                raise InputError(f"{name}: {branch}; expected channels of 1 or more and blocks of 0 or more")


class Encoder(nn.Module):
    """Images to the means and log variances of their latents. With all residual branches at 0 it is linear."""

    def __init__(self, channels: int, config: ConvVAEConfig, branch: BranchConfig):
        super().__init__()
        widths, taps = branch.widths, 1 if config.group == 1 else TAPS
        self.patch = config.block // 2 ** (len(widths) - 1)
        self.inward = FrameConv(channels * self.patch**2, widths[0], 1)
        self.levels = nn.ModuleList(
            nn.ModuleList(ResBlock(width, taps) for _ in range(count)) for width, count in zip(widths, branch.encoder)
        )
        self.shrink = nn.ModuleList(FrameConv(4 * fine, coarse, 1) for fine, coarse in itertools.pairwise(widths))
        self.merge = MergeFrames(widths[-1], config.group) if config.group > 1 else None
        self.outward = FrameConv(widths[-1], 2 * branch.latents, 3)

    def forward(
        self, image: Float[Tensor, "b f c h w"], past: Past
    ) -> tuple[Float[Tensor, "b g l y x"], Float[Tensor, "b g l y x"]]:
        x = self.inward(fold(image, self.patch))
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.shrink[level - 1](fold(x, 2))
            if level == len(self.levels) - 1 and self.merge is not None:
                x = self.merge(x, past)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, past)
        mean, log_variance = self.outward(x).float().chunk(2, 2)
        return mean, log_variance.clamp(-20, 10)


class Decoder(nn.Module):
    """Latents to images, the encoder's mirror."""

    def __init__(self, channels: int, config: ConvVAEConfig, branch: BranchConfig):
        super().__init__()
        widths, taps = branch.widths[::-1], 1 if config.group == 1 else TAPS
        counts = branch.decoder[::-1]
        self.patch = config.block // 2 ** (len(widths) - 1)
        self.inward = FrameConv(branch.latents, widths[0], 3)
        self.levels = nn.ModuleList(
            nn.ModuleList(ResBlock(width, taps) for _ in range(count)) for width, count in zip(widths, counts)
        )
        self.split = SplitFrames(widths[0], config.group) if config.group > 1 else None
        self.grow = nn.ModuleList(FrameConv(coarse, 4 * fine, 1) for coarse, fine in itertools.pairwise(widths))
        self.outward = FrameConv(widths[-1], channels * self.patch**2, 3)
        # Latents away that a 3 x 3 convolution at each resolution reaches, summed.
        self.reach = math.ceil(1 + sum(n / 2**i for i, n in enumerate(counts)) + 0.5 ** (len(widths) - 1))

    def forward(self, latent: Float[Tensor, "b g l y x"], past: Past) -> Float[Tensor, "b f c h w"]:
        x = self.inward(latent)
        for level, blocks in enumerate(self.levels):
            if level:
                x = unfold(self.grow[level - 1](x), 2)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, past)
            if level == 0 and self.split is not None:
                x = self.split(x, past)
        return unfold(self.outward(x), self.patch).float()


class ConvVAE(nn.Module):
    """A codec with weights: each modality has an autoencoder and latent channels of its own, so each its own level.

    Causal in time: with `group` k > 1 the f = 1 + n k frames of a call become 1 + n latent frames, the first of the
    first frame alone, the others of k frames each and of what came before. All frames of a call are of one camera in
    the order of time; `worldgen.models.codec.grouping` cuts clips of several cameras. With k = 1 frames are
    independent, so frames of any cameras may come together. Latents are normalized channel by channel to mean 0 and
    variance 1 over the images it was trained on.
    """

    def __init__(self, config: ConvVAEConfig):
        super().__init__()
        self.config = config
        branches = {"rgb": config.rgb, "depth": config.depth}
        sizes = {name: MODALITIES[name].channels for name in branches}
        self.encoders = nn.ModuleDict({name: Encoder(sizes[name], config, one) for name, one in branches.items()})
        self.decoders = nn.ModuleDict({name: Decoder(sizes[name], config, one) for name, one in branches.items()})
        channels = sum(self.modalities().values())
        self.register_buffer("latent_mean", torch.zeros(channels))
        self.register_buffer("latent_std", torch.ones(channels))

    @property
    def block(self) -> int:
        """Pixels per latent on a side."""
        return self.config.block

    @property
    def group(self) -> int:
        """Frames per latent frame."""
        return self.config.group

    @property
    def halo(self) -> int:
        """Latents away from a pixel's own that its decoded value depends on, at most."""
        return max(decoder.reach for decoder in self.decoders.values())  # type: ignore[attr-defined]

    def modalities(self) -> dict[str, int]:
        """Latent channels of each modality, in their order."""
        return {"rgb": self.config.rgb.latents, "depth": self.config.depth.latents}

    def posterior(
        self, signals: Mapping[str, Float[Tensor, "b f _ h w"]], past: Past | None = None
    ) -> tuple[Float[Tensor, "b g c y x"], Float[Tensor, "b g c y x"]]:
        """Means and log variances of the latents as the encoders give them, not normalized."""
        past = Past() if past is None else past
        parts = [encoder(MODALITIES[name].signed(signals[name]), past) for name, encoder in self.encoders.items()]
        mean, log_variance = (torch.cat(part, 2) for part in zip(*parts))
        return mean, log_variance

    def reconstruct(self, latent: Float[Tensor, "b g c y x"], past: Past | None = None) -> dict[str, Tensor]:
        """rgb and depth signal of latents that are not normalized."""
        past = Past() if past is None else past
        parts = latent.split(list(self.modalities().values()), 2)
        decoders = zip(self.decoders.items(), parts)
        return {name: MODALITIES[name].unsigned(decoder(part, past)) for (name, decoder), part in decoders}

    def encode(
        self, signals: Mapping[str, Float[Tensor, "*b f _ h w"]], past: Past | None = None
    ) -> Float[Tensor, "*b g c y x"]:
        """Latent frames of rgb and depth signal: the posterior's means, normalized.

        past  of the same video's earlier chunks, updated; the first chunk has 1 + n k frames, later ones n k

        Raises InputError when a side is no multiple of the block, or the frames don't fill their groups.
        """
        *batch, _frames, _channels, height, width = signals["rgb"].shape
        if height % self.block or width % self.block or 0 in (height, width):
            raise InputError(f"images of {width}x{height} pixels; expected sides that are multiples of {self.block}")
        mean, _ = self.posterior({name: x.reshape(-1, *x.shape[-4:]) for name, x in signals.items()}, past)
        mean = (mean - self._of("latent_mean")) / self._of("latent_std")
        return mean.reshape(*batch, *mean.shape[1:])

    def decode(self, latent: Float[Tensor, "*b g c y x"], past: Past | None = None) -> dict[str, Tensor]:
        """rgb [*b, f, 3, h, w] (not clamped) and depth signal [*b, f, 1, h, w].

        past  of the same video's earlier latent frames, updated
        """
        batch = latent.shape[:-4]
        flat = latent.reshape(-1, *latent.shape[-4:]) * self._of("latent_std") + self._of("latent_mean")
        return {name: x.reshape(*batch, *x.shape[1:]) for name, x in self.reconstruct(flat, past).items()}

    def encode_known(self, known: Mapping[str, Float[Tensor, "*b f 1 h w"]]) -> Float[Tensor, "*b g c y x"]:
        """Which latents are known (`worldgen.models.codec.protocol.whole_blocks`)."""
        return whole_blocks(self, known)

    def decode_tiled(
        self, latent: Float[Tensor, "*b g c y x"], tile: int = 32, chunk: int = 4, halo: int | None = None
    ) -> dict[str, Tensor]:
        """`decode` in squares of `tile` latents and `chunk` latent frames at a time, which bounds the work's memory.

        halo  latents around each tile that are decoded with it and thrown away. By default as many as the decoder
              reaches (`ConvVAE.halo`), which makes this equal to `decode`; fewer are quicker and leave seams.

        Raises InputError for tiles or chunks of less than 1, or a halo below 0.
        """
        halo = self.halo if halo is None else halo
        if min(tile, chunk) < 1 or halo < 0:
            raise InputError(f"tile {tile}, chunk {chunk}, halo {halo}; expected 1 or more, 1 or more, 0 or more")
        frames, (rows, columns) = latent.shape[-4], latent.shape[-2:]
        count, side = 1 + (frames - 1) * self.group, self.block
        outputs = {
            name: latent.new_empty(*latent.shape[:-4], count, c, rows * side, columns * side, dtype=torch.float32)
            for name, c in ((name, MODALITIES[name].channels) for name in self.modalities())
        }
        for top in range(0, rows, tile):
            for left in range(0, columns, tile):
                down, across = _Span.of(top, tile, halo, rows), _Span.of(left, tile, halo, columns)
                window, past, done = latent[..., down.outer, across.outer], Past(), 0
                for start in range(0, frames, chunk):
                    pieces = self.decode(window[..., start : start + chunk, :, :, :], past)
                    new = pieces["rgb"].shape[-4]
                    for name, piece in pieces.items():
                        kept = piece[..., down.kept(side), across.kept(side)]
                        outputs[name][..., done : done + new, :, down.pixels(side), across.pixels(side)] = kept
                    done += new
        return outputs

    def _of(self, buffer: str) -> Float[Tensor, "c 1 1"]:
        return self.get_buffer(buffer)[:, None, None]


@dataclass(frozen=True)
class _Span:
    """A tile along one side: its own latents from `start` to `stop`, decoded within those of `outer`."""

    start: int
    stop: int
    outer: slice

    @staticmethod
    def of(start: int, tile: int, halo: int, size: int) -> "_Span":
        stop = min(start + tile, size)
        return _Span(start, stop, slice(max(start - halo, 0), min(stop + halo, size)))

    def pixels(self, side: int) -> slice:
        """Where the tile goes in the image."""
        return slice(self.start * side, self.stop * side)

    def kept(self, side: int) -> slice:
        """Where the tile is in what was decoded."""
        return slice((self.start - self.outer.start) * side, (self.stop - self.outer.start) * side)


def fold(image: Float[Tensor, "b f c h w"], size: int) -> Float[Tensor, "b f d y x"]:
    """Squares of pixels to channels."""
    return rearrange(image, "b f c (y p) (x q) -> b f (c p q) y x", p=size, q=size)


def unfold(image: Float[Tensor, "b f d y x"], size: int) -> Float[Tensor, "b f c h w"]:
    """The inverse of `fold`."""
    return rearrange(image, "b f (c p q) y x -> b f c (y p) (x q)", p=size, q=size)
