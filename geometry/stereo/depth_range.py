"""How near a scene comes, found from posed images alone, so that a sweep's planes are not wasted."""

import math

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.coercion import FramesLike
from geometry.stereo.sweep import SweepSettings, sweep_costs
from geometry.stereo.warping import frames_of

_PLANES = 48
_NEAREST, _FURTHEST = 0.3, 60.0  # in spreads of the cameras
_APART = 4  # planes from the best at which a cost is another depth's
_SURE, _QUANTILE = 0.25, 0.02


def nearest_depth(
    images: FramesLike,
    cameras: Cameras,
    settings: SweepSettings = SweepSettings(),  # noqa: B008  # frozen
) -> float:
    """The depth beyond which nearly everything lies that posed images show.

    Each image is swept against the others over planes from 0.3 to 60 times the spread of the cameras (the RMS distance
    of their centers from the mean). Of the quarter of all pixels whose depth stands out most, by how much worse any
    other depth is, 2% are nearer.

    Args:
        images: sRGB [k, 3, h, w] in 0..1, two or more.
        cameras: Cameras [k].
        settings: How images are compared.

    Returns:
        z in metres.

    Raises:
        InputError: If shapes disagree, or all cameras are in one place.
    """
    images = frames_of(images, cameras)
    centers = cameras.centers
    spread = float((centers - centers.mean(0)).square().sum(-1).mean().sqrt())
    if len(images) < 2 or not spread > 0:
        raise InputError(f"depth from {len(images)} images whose cameras are {spread:g} m apart; expected a baseline")
    depths = spread * torch.logspace(math.log10(_FURTHEST), math.log10(_NEAREST), _PLANES).to(images)
    found, sure = [], []
    for i in range(len(images)):
        others = [j for j in range(len(images)) if j != i]
        costs = sweep_costs(images[others], cameras[others], cameras[i], 1 / depths, settings, images[i])
        best = costs.argmin(0, keepdim=True)
        least = costs.amin(0)
        index = torch.arange(_PLANES, device=costs.device)[:, None, None]
        other = costs.masked_fill((index - best).abs() <= _APART, torch.inf).amin(0)
        found.append(depths[best].flatten())
        sure.append(((other - least) / (least + 0.02)).flatten())
    confidence = torch.cat(sure)
    kept = torch.cat(found)[confidence >= confidence.sort().values[int((1 - _SURE) * (len(confidence) - 1))]]
    return float(kept.sort().values[int(_QUANTILE * (len(kept) - 1))])
