"""Pictures and depth maps against the truth. No learned features anywhere: every number is a formula over pixels."""

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Bool, Float

# Beyond it, depth is not judged: on ground seen from 1.5 m above, a pixel of 1/70 rad is already a fifth of 20 m.
FAR_M = 20.0


def psnr(
    a: Float[Tensor, "*b c h w"], b: Float[Tensor, "*b c h w"], mask: Bool[Tensor, "*b 1 h w"] | None = None
) -> Float[Tensor, "*b"]:
    """Peak signal-to-noise ratio of each picture in dB, for values in 0..1: -10 log10 of the mean squared error.

    The mean is over all channels of the pixels in `mask`. Equal pictures give inf, an empty mask NaN.
    """
    squared = (a - b).square()
    if mask is None:
        return -10 * squared.mean((-3, -2, -1)).log10()
    total = torch.where(mask, squared, 0.0).sum((-3, -2, -1))
    return -10 * (total / (a.shape[-3] * mask.sum((-3, -2, -1)))).log10()


def ssim(a: Float[Tensor, "*b c h w"], b: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b"]:
    """Structural similarity of each picture, for values in 0..1 (Wang et al. 2004, eq. 13, K1 = 0.01, K2 = 0.03).

    Statistics are weighted by an 11 x 11 Gaussian of 1.5 pixels; only windows that lie in the picture count, and
    channels are averaged. Raises InputError for pictures smaller than a window.
    """
    if min(a.shape[-2:]) < 11:
        raise InputError(f"SSIM of pictures of {a.shape[-1]}x{a.shape[-2]} pixels; expected at least 11x11")
    taps = torch.exp(-((torch.arange(-5, 6, dtype=a.dtype, device=a.device) / 1.5) ** 2) / 2)
    taps = taps / taps.sum()

    def local_mean(picture: Tensor) -> Tensor:
        columns = torch.nn.functional.conv2d(picture.reshape(-1, 1, *picture.shape[-2:]), taps.view(1, 1, 11, 1))
        return torch.nn.functional.conv2d(columns, taps.view(1, 1, 1, 11))

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a = local_mean(a * a) - mean_a.square()
    variance_b = local_mean(b * b) - mean_b.square()
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (luminance * structure).reshape(*a.shape[:-2], -1).mean((-2, -1))


def depth_errors(
    pred: Float[Tensor, "*b 1 h w"], true: Float[Tensor, "*b 1 h w"], far_m: float = FAR_M
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """AbsRel and delta < 1.25 of each z-depth map in metres (Eigen et al. 2014, section 4.1), without any alignment.

    Judged are the pixels whose true depth is known (> 0) and at most `far_m`; a map without any gives NaN.
    AbsRel is the mean of |pred - true| / true with `pred` clamped to `far_m`, so that predicted sky is as wrong as the
    far limit. Delta is the share of pixels with max(pred / true, true / pred) < 1.25, where predicted sky (inf) and
    unknown (0) are misses.
    """
    judged = (true > 0) & (true <= far_m)
    safe = torch.where(judged, true, 1.0)
    relative = (pred.clamp(max=far_m) - safe).abs() / safe
    ratio = torch.maximum(pred / safe, safe / pred)
    count = judged.sum((-3, -2, -1))

    def mean(values: Tensor) -> Tensor:
        return torch.where(judged, values, 0.0).sum((-3, -2, -1)) / count

    return mean(relative), mean((ratio < 1.25).to(pred.dtype))
