"""Principal components: the best linear codec of patches, and where a convolutional one starts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.modalities import MODALITIES
from worldgen.models.codec.causal_layers import FrameConv, Past
from worldgen.models.codec.vae import ConvVAE, Decoder, Encoder, fold

_LOG_VARIANCE = -6.0  # of the posterior at the start: a noise of 0.05 on numbers of about 0.5 to 5


@as_value
@dataclass(frozen=True)
class Components:
    """A linear codec of vectors of d numbers: their mean [d] and orthonormal directions [n, d]."""

    mean: Float[Tensor, "d"]
    directions: Float[Tensor, "n d"]

    @staticmethod
    def of(vectors: Float[Tensor, "p d"], count: int) -> "Components":
        """The `count` directions of most variance, the largest first; all d where there are fewer."""
        mean = vectors.mean(0)
        covariance = ((vectors - mean).T @ (vectors - mean)).double() / len(vectors)
        return Components(mean, torch.linalg.eigh(covariance)[1].flip(1)[:, :count].T.to(vectors.dtype))

    def through(self, vectors: Float[Tensor, "p d"]) -> Float[Tensor, "p d"]:
        """What is left of vectors after projection on the directions."""
        return (vectors - self.mean) @ self.directions.T @ self.directions + self.mean


@torch.no_grad()
def start_from_components(vae: ConvVAE, videos: list[dict[str, Tensor]]) -> None:
    """Set a fresh codec's linear path to principal components, layer by layer; its residual branches are still at 0.

    So training starts at about the best linear codec of patches instead of on its way there.
    videos  signals [b, f, ...] of videos, as in training
    """
    for name in vae.modalities():
        images = [MODALITIES[name].signed(video[name]) for video in videos]
        encoder, decoder = vae.encoders[name], vae.decoders[name]
        assert isinstance(encoder, Encoder) and isinstance(decoder, Decoder)
        _start(encoder, decoder, images)


def _start(encoder: Encoder, decoder: Decoder, images: list[Tensor]) -> None:
    x = [fold(image, encoder.patch) for image in images]
    x = _mirror(encoder.inward, decoder.outward, x)
    for down, up in zip(encoder.shrink, reversed(decoder.grow)):
        assert isinstance(down, FrameConv) and isinstance(up, FrameConv)
        x = _mirror(down, up, [fold(part, 2) for part in x])
    if encoder.merge is not None and decoder.split is not None:
        merge = encoder.merge
        grouped = [merge.grouped(part, Past()) for part in x]
        _set(merge.conv, decoder.split.conv, grouped)
        x = [merge(part, Past()) for part in x]
    _mirror(encoder.outward, decoder.inward, x)
    bias = encoder.outward.conv.bias
    assert bias is not None
    bias[len(bias) // 2 :] = _LOG_VARIANCE


def _mirror(down: FrameConv, up: FrameConv, x: list[Tensor]) -> list[Tensor]:
    _set(down.conv, up.conv, x)
    return [down(part) for part in x]


def _set(down: nn.Conv2d, up: nn.Conv2d, x: list[Tensor]) -> None:
    """Project on components going down, and the transpose going up, in the middle taps of the kernels."""
    vectors = torch.cat([rearrange(part, "b f c y x -> (b f y x) c") for part in x])
    found = Components.of(vectors, min(down.out_channels, up.in_channels))
    count = len(found.directions)
    assert down.bias is not None and up.bias is not None
    for parameter in (down.weight, down.bias, up.weight, up.bias):
        parameter.zero_()
    _middle(down)[:count] = found.directions
    down.bias[:count] = -found.directions @ found.mean
    _middle(up)[:, :count] = found.directions.T
    up.bias.copy_(found.mean)


def _middle(conv: nn.Conv2d) -> Tensor:
    return conv.weight[:, :, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2]


Method = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


def patch_components(codec: ConvVAE, videos: list[dict[str, Tensor]]) -> Method:
    """The linear codec of patches at a codec's numbers, as a function of videos' signals.

    Fitted on first frames by themselves and on the patches of whole groups after them.
    """
    block, group = codec.block, codec.group
    fitted: dict[str, list[Components]] = {}
    for name, count in codec.modalities().items():
        first, later = [], []
        for video in videos:
            head, *tail = _cut(video[name], group)
            first.append(_patches(head, block))
            later += [_patches(part, block) for part in tail]
        if group == 1:  # every frame is alone
            first = later = first + later
        fitted[name] = [Components.of(torch.cat(some), count) for some in (first, later)]

    def one(video: Tensor, by: list[Components]) -> Tensor:
        parts = []
        for n, part in enumerate(_cut(video, group)):
            b, f, c, h, w = part.shape
            flat = by[min(n, 1)].through(_patches(part, block))
            back = "(b y x) (f c p q) -> b f c (y p) (x q)"
            parts.append(rearrange(flat, back, b=b, f=f, c=c, y=h // block, x=w // block, p=block, q=block))
        return torch.cat(parts, 1)

    return lambda signals: {name: one(signals[name], by) for name, by in fitted.items()}


def _patches(frames: Tensor, block: int) -> Tensor:
    return rearrange(frames, "b f c (y p) (x q) -> (b y x) (f c p q)", p=block, q=block)


def _cut(video: Tensor, group: int) -> list[Tensor]:
    """The first frame, and each group after it."""
    return [video[:, :1], *video[:, 1:].split(group, 1)]
