"""Structural similarity (SSIM) of images: a metric, and a loss, as it is differentiable."""

import torch

from geometry.errors import InputError
from geometry.image.coercion import MapsLike, as_maps
from geometry.shapes import Float


def ssim(a: MapsLike, b: MapsLike) -> Float[torch.Tensor, "*b"]:
    """Structural similarity of pairs of images (Wang et al. 2004, eq. 13, K1 = 0.01, K2 = 0.03).

    Windows are 11 x 11 Gaussians of 1.5 pixels that lie in the image; channels are averaged.

    Args:
        a: Images [*b, c, h, w] in 0..1.
        b: Images [*b, c, h, w] in 0..1.

    Returns:
        The mean similarity [*b], up to 1.

    Raises:
        InputError: If images are smaller than a window.
    """
    a, b = as_maps(a, "SSIM: a"), as_maps(b, "SSIM: b")
    if a.shape != b.shape:
        raise InputError(f"SSIM of shapes {tuple(a.shape)} and {tuple(b.shape)}; expected the same")
    if min(a.shape[-2:]) < 11:
        raise InputError(f"SSIM of images of {a.shape[-1]}x{a.shape[-2]} pixels; expected at least 11x11")
    offset = torch.arange(-5, 6, dtype=torch.float64) / 1.5
    taps = (torch.exp(-(offset**2) / 2) / torch.exp(-(offset**2) / 2).sum()).tolist()
    first, second = (image.reshape(-1, *image.shape[-3:]) for image in (a, b))
    together = 1 if a.device.type == "cpu" else max(1, len(first))  # one image at a time fits a CPU's cache
    found = [_ssim(*pair, taps) for pair in zip(first.split(together), second.split(together))]
    return torch.cat(found).reshape(a.shape[:-3]) if found else a.new_zeros(a.shape[:-3])


def _ssim(
    a: Float[torch.Tensor, "n c h w"], b: Float[torch.Tensor, "n c h w"], taps: list[float]
) -> Float[torch.Tensor, "n"]:
    """From sum and difference, s = a + b and d = a - b: four local means of them replace five of a and b."""
    total, difference = a + b, a - b
    means = torch.stack([total, difference, total * total, difference * difference])
    total, difference, total_square, difference_square = _weighted(_weighted(means, taps, -2), taps, -1)
    total, difference = total * total, difference * difference
    total_variance, difference_variance = total_square - total, difference_square - difference
    c1, c2 = 2 * 0.01**2, 2 * 0.03**2  # doubled, as all terms are here
    luminance = (total - difference + c1) / (total + difference + c1)
    structure = (total_variance - difference_variance + c2) / (total_variance + difference_variance + c2)
    return (luminance * structure).flatten(1).mean(-1)


def _weighted(values: torch.Tensor, taps: list[float], axis: int) -> torch.Tensor:
    """Weighted sums of 11 neighbors along an axis; both of an equal weight are added first."""
    count, middle = values.shape[axis] - 10, len(taps) // 2
    result = taps[middle] * values.narrow(axis, middle, count)
    for k in range(middle):
        both = values.narrow(axis, k, count) + values.narrow(axis, 10 - k, count)
        result = result.add_(both, alpha=taps[k])
    return result
