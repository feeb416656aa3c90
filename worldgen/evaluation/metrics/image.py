"""Images and depth maps against the truth. No learned features anywhere: every number is a formula over pixels."""

import torch
from torch import Tensor

from geometry.image.coercion import MapsLike, as_maps
from geometry.image.structural_similarity import ssim
from geometry.shapes import Bool, Float

__all__ = ["FAR_M", "depth_errors", "psnr", "ssim"]

# Beyond it, depth is not compared: on ground seen from 1.5 m above, a pixel of 1/70 rad is already a fifth of 20 m.
FAR_M = 20.0


def psnr(a: MapsLike, b: MapsLike, mask: Bool[Tensor, "*b 1 h w"] | None = None) -> Float[Tensor, "*b"]:
    """Peak signal-to-noise ratio of each image: -10 log10 of the mean squared error.

    Args:
        a: Images [*b, c, h, w] in 0..1.
        b: Images [*b, c, h, w] in 0..1 to compare them with.
        mask: Pixels [*b, 1, h, w] to average over, in all channels; None for all.

    Returns:
        PSNR [*b] in dB: inf for equal images, NaN for an empty mask.
    """
    a, b = as_maps(a, "PSNR: a"), as_maps(b, "PSNR: b")  # differences of bytes would wrap around
    squared = (a - b).square()
    if mask is None:
        return -10 * squared.mean((-3, -2, -1)).log10()
    total = torch.where(mask, squared, 0.0).sum((-3, -2, -1))
    return -10 * (total / (a.shape[-3] * mask.sum((-3, -2, -1)))).log10()


def depth_errors(
    pred: Float[Tensor, "*b 1 h w"], true: Float[Tensor, "*b 1 h w"], far_m: float = FAR_M
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """AbsRel and delta < 1.25 of each z-depth map (Eigen et al. 2014, section 4.1), without any alignment.

    AbsRel is the mean of |pred - true| / true with `pred` clamped to `far_m`, so that predicted sky is as wrong as the
    far limit. Delta is the share of pixels with max(pred / true, true / pred) < 1.25, where predicted sky (inf) and
    unknown (0) are misses.

    Args:
        pred: Predicted z-depth [*b, 1, h, w] in metres; inf is sky, 0 unknown.
        true: True z-depth [*b, 1, h, w] in metres; inf is sky, 0 unknown.
        far_m: Metres up to which true depth counts; pixels farther away or unknown are left out.

    Returns:
        AbsRel [*b] and delta [*b], both NaN for a map without such pixels.
    """
    judged = (true > 0) & (true <= far_m)
    safe = torch.where(judged, true, 1.0)
    relative = (pred.clamp(max=far_m) - safe).abs() / safe
    ratio = torch.maximum(pred / safe, safe / pred)
    count = judged.sum((-3, -2, -1))

    def mean(values: Tensor) -> Tensor:
        return torch.where(judged, values, 0.0).sum((-3, -2, -1)) / count

    return mean(relative), mean((ratio < 1.25).to(pred.dtype))
