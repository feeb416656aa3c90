"""Structural similarity of pictures: a figure of merit, and differentiable, so a loss too."""

import torch

from geometry.errors import InputError
from geometry.shapes import Float


def ssim(a: Float[torch.Tensor, "*b c h w"], b: Float[torch.Tensor, "*b c h w"]) -> Float[torch.Tensor, "*b"]:
    """Structural similarity of each picture, for values in 0..1 (Wang et al. 2004, eq. 13, K1 = 0.01, K2 = 0.03).

    Statistics are weighted by an 11 x 11 Gaussian of 1.5 pixels; only windows that lie in the picture count, and
    channels are averaged. Raises InputError for pictures smaller than a window.
    """
    if min(a.shape[-2:]) < 11:
        raise InputError(f"SSIM of pictures of {a.shape[-1]}x{a.shape[-2]} pixels; expected at least 11x11")
    taps = torch.exp(-((torch.arange(-5, 6, dtype=a.dtype, device=a.device) / 1.5) ** 2) / 2)
    taps = taps / taps.sum()

    def local_mean(picture: torch.Tensor) -> torch.Tensor:
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
