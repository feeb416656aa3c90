"""What PSNR does not say, since it likes blur: whether an image is as sharp as the truth, and FLIP.

Read sharpness beside PSNR: it counts detail whether right or wrong, so noise and jagged edges have more than enough.
"""

import importlib.util

import torch
from torch import Tensor

from geometry.image.coercion import MapsLike, as_maps
from geometry.optional import from_extra, load_optional
from geometry.shapes import Bool, Float
from worldgen.evaluation.metrics.pose import blurred

DETAIL = 1 / 64  # of the height: standard deviation of the blur that leaves no detail
_FLAT = 1e-3  # root mean square of the detail of an image without any, a quarter of a step of its bytes


def sharpness(pred: MapsLike, true: MapsLike, mask: Bool[Tensor, "*b f 1 h w"] | None = None) -> Float[Tensor, "*b"]:
    """The energy of the fine detail of a scene's images over that of the truth's: 1 = as sharp, less = blurred.

    Fine detail is an image minus itself under a Gaussian of 1/64 of its height, at least 1 px: one picture has
    one sharpness at any size from 64 px. Energy is the sum of squares, over all images of the scene. A 64 px image
    enlarged to 128 or 256 px has about 0.6 or 0.5 of the energy. What stands outside the mask, or within a pixel of
    its border, makes no difference: the Gaussian's mean is taken over the remaining pixels alone.

    Args:
        pred: Images [*b, f, c, h, w] in 0..1.
        true: The true images [*b, f, c, h, w].
        mask: Pixels [*b, f, 1, h, w] that count; None for all.

    Returns:
        The ratio [*b], NaN where the truth has no detail (RMS up to 0.001).
    """
    pred, true = as_maps(pred, "sharpness: pred"), as_maps(true, "sharpness: true")
    if mask is None:
        mask = torch.ones_like(true[..., :1, :, :], dtype=torch.bool)
    unseen = (~mask).to(true.dtype).flatten(0, -4)
    inner = (torch.nn.functional.max_pool2d(unseen, 3, 1, 1) == 0).view(mask.shape)
    energy, wanted = _detail_energy(pred, inner), _detail_energy(true, inner)
    least = _FLAT**2 * true.shape[-3] * inner.sum((-4, -3, -2, -1))
    return torch.where(wanted > least, energy / wanted, torch.nan)


def _detail_energy(images: Tensor, mask: Tensor) -> Tensor:
    """Sums of squares [*b] of the fine detail of images [*b, f, c, h, w] over a mask."""
    sigma_px = max(1.0, DETAIL * images.shape[-2])
    kept = torch.where(mask, images, 0.0)
    mean = blurred(kept, sigma_px) / blurred(mask.to(images), sigma_px).clamp_min(1e-12)
    return torch.where(mask, kept - mean, 0.0).square().sum((-4, -3, -2, -1))


def has_flip() -> bool:
    """Whether FLIP's own implementation (the `[evaluate]` extra) is installed."""
    return importlib.util.find_spec("flip_evaluator") is not None


def flip_error(pred: MapsLike, true: MapsLike) -> Float[Tensor, "*b"]:
    """The mean LDR-FLIP error of each image (Andersson et al. 2020), by its authors' implementation.

    How different two images look to a person who flips between them at the default 67 pixels a degree of visual angle.

    Args:
        pred: sRGB images [*b, 3, h, w] in 0..1; values outside are clamped.
        true: The true images [*b, 3, h, w].

    Returns:
        The errors [*b]: 0 for equal images, 1 at most.

    Raises:
        InputError: `flip-evaluator` is not installed.
    """
    evaluator = load_optional("flip_evaluator", "FLIP", from_extra("evaluate"))
    pred, true = as_maps(pred, "FLIP: pred"), as_maps(true, "FLIP: true")
    arrays = [
        images.detach().cpu().float().clamp(0, 1).reshape(-1, *images.shape[-3:]).movedim(1, -1).contiguous().numpy()
        for images in (true, pred)
    ]
    errors = [evaluator.evaluate(*pair, "LDR", applyMagma=False)[1] for pair in zip(*arrays)]
    return torch.tensor(errors).view(true.shape[:-3])
