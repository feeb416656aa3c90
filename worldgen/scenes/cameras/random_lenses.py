"""Lenses other than pinholes for clips, drawn at random: half wide fisheyes, half barrels and pincushions."""

from dataclasses import replace

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from worldgen.runtime.rng import Stream, stream


def with_lenses(cameras: Cameras, seed: int, numbers: list[int], share: float) -> Cameras:
    """Give a share of clips a lens other than a pinhole, one for all frames of a clip.

    A function of (seed, number) for each clip, independent of the batch.

    Args:
        cameras: Batch shape [b, f].
        seed: Of the series of scenes.
        numbers: The clips' numbers in it.
        share: Chance of a clip to get a lens.

    Returns:
        The cameras, with the same poses.
    """
    clips, changed = [], False
    for row, number in enumerate(numbers):
        clip, rng = cameras[row], stream(Stream.TRAINING, seed, number, 0, 8)
        if rng.random() < share:
            clip, changed = (fisheye if rng.random() < 0.5 else bulged)(rng, clip), True
        clips.append(clip)
    return Cameras.cat(clips).reshape(*cameras.shape) if changed else cameras


def fisheye(rng: np.random.Generator, cameras: Cameras) -> Cameras:
    """The cameras [f] with one Kannala-Brandt fisheye of U(100, 180) degrees over the shorter side.

    k1 U(-0.02, 0.08), k2 U(0, 0.005): from near the equisolid projection (-0.042) past the equidistant (0) to the
    stereographic one (0.083), such that every pixel of a square image is within the lens's reach.
    """
    fov_deg, coefficients = rng.uniform(100, 180), [rng.uniform(-0.02, 0.08), rng.uniform(0, 0.005)]
    lens = Lens.of(LensKind.FISHEYE, torch.tensor(coefficients, dtype=cameras.K.dtype).expand(len(cameras), 2))
    K = Cameras.from_fov(cameras.world_from_camera, fov_deg, cameras.hw, lens).K
    return replace(cameras, K=K, lens=lens)


def bulged(rng: np.random.Generator, cameras: Cameras) -> Cameras:
    """The cameras [f] with one OpenCV distortion that moves the corners by U(-20, 20)% towards the middle (barrel) or
    away from it (pincushion), with some k2 and decentring, and K such that the corners still show what they did."""
    height, width = cameras.hw
    corner = float(torch.tensor([width / 2, height / 2]).div(cameras.K[0, [0, 1], [0, 1]].cpu()).norm())
    first, second, p1, p2 = rng.uniform((-0.2, -0.03, -0.01, -0.01), (0.2, 0.03, 0.01, 0.01))
    values = [first / corner**2, second / corner**4, p1 / corner, p2 / corner]
    lens = Lens.of(LensKind.OPENCV, torch.tensor(values, dtype=cameras.K.dtype).expand(len(cameras), 4))
    K = cameras.K.clone()
    K[:, [0, 1], [0, 1]] /= 1 + first + second
    return replace(cameras, K=K, lens=lens)
