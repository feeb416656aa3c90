"""Lens distortion: Brown-Conrady, as OpenCV and nerfstudio parametrise it."""

import math

import numpy as np
import torch

from geometry.errors import InputError
from geometry.rays import camera_directions, pixel_centres
from geometry.shapes import Bool, Float


def distort(
    xy: Float[torch.Tensor, "*b n 2"], coefficients: Float[torch.Tensor, "*b 5"]
) -> Float[torch.Tensor, "*b n 2"]:
    """Where a lens puts points of the plane z = 1 (pinhole position x/z, y/z, no units).

    coefficients  k1 k2 p1 p2 k3: three radial, two tangential (Brown 1966; OpenCV's order)

    With r^2 = x^2 + y^2 and s = 1 + k1 r^2 + k2 r^4 + k3 r^6:
    x' = s x + 2 p1 x y + p2 (r^2 + 2 x^2),  y' = s y + p1 (r^2 + 2 y^2) + 2 p2 x y.
    """
    k1, k2, p1, p2, k3 = (c[..., None] for c in coefficients.unbind(-1))
    x, y = xy.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        [
            radial * x + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            radial * y + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def fold_radius(coefficients: Float[torch.Tensor, "5"]) -> float:
    """The radius on z = 1 where the radial part stops growing; the model means nothing from there on. inf if never."""
    k1, k2, _, _, k3 = coefficients.double().tolist()
    roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1])  # d(r s(r)) / dr as a polynomial in r^2
    real = roots.real[(abs(roots.imag) < 1e-9 * np.maximum(1, abs(roots.real))) & (roots.real > 0)]
    return math.sqrt(real.min()) if len(real) else math.inf


def undistort(
    rgb: Float[torch.Tensor, "c h w"], K: Float[torch.Tensor, "3 3"], coefficients: Float[torch.Tensor, "5"]
) -> tuple[Float[torch.Tensor, "c h w"], Float[torch.Tensor, "3 3"], Bool[torch.Tensor, "1 h w"]]:
    """The picture a pinhole camera with the same `K` (pixels) would have taken, K itself, and which pixels are known.

    Bilinear, pixel centres at +0.5. A pixel is unknown (and 0) when the lens did not show its direction: outside the
    distorted picture, or beyond `fold_radius`. Zero coefficients return the picture unchanged.
    Raises InputError for coefficients that are not finite.
    """
    if not bool(coefficients.isfinite().all()):
        raise InputError(f"lens coefficients {coefficients.tolist()}; expected finite numbers")
    height, width = rgb.shape[-2:]
    if not bool(coefficients.any()):
        return rgb, K, torch.ones_like(rgb[:1], dtype=torch.bool)
    K64 = K.double()
    xy = camera_directions(K64, pixel_centres((height, width), K.device, K64.dtype))[..., :2]
    seen = distort(xy.flatten(0, 1), coefficients.to(K64)).view(height, width, 2)
    uv = torch.cat([seen, torch.ones_like(seen[..., :1])], -1) @ K64.T
    grid = uv[..., :2] / uv.new_tensor([width, height])  # 0..1 from edge to edge
    known = ((grid >= 0) & (grid <= 1)).all(-1) & (xy.norm(dim=-1) < fold_radius(coefficients))
    sampled = torch.nn.functional.grid_sample(
        rgb[None].double(), (2 * grid - 1)[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]
    return torch.where(known, sampled, torch.zeros_like(sampled)).to(rgb.dtype), K, known[None]
