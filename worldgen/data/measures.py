"""What curation measures: of an image alone, and of two neighbors whose cameras say how they moved.

Everything is measured on a gray copy whose longer side is 256 pixels (smaller images stay as they are), so that
limits mean the same for every capture.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.image.epipolar import fundamental, symmetric_epipolar_distance
from geometry.shapes import Bool, Float
from geometry.values import as_value

SIDE_PX = 256
_RATIO = 0.8  # a match's descriptor distance over the second best's, at most (Lowe 2004, section 7.1)
_FEW = 16  # matches, at least, to check poses with


@as_value
@dataclass(frozen=True)
class ImageMeasures:
    """What is measured of one image.

    camera       at the measured size, float64
    thumbnail    [3, 16, 16] of the whole image
    keypoints    [n, 2] pixels (u, v)
    descriptors  [n, 128] (SIFT)
    blur         0 (sharp) to 1 (Crete et al. 2007)
    brightness, contrast  mean and standard deviation of the luminance
    """

    camera: Cameras
    thumbnail: Tensor
    keypoints: np.ndarray
    descriptors: np.ndarray
    blur: float
    brightness: float
    contrast: float

    @staticmethod
    def of(rgb: Float[Tensor, "3 h w"], camera: Cameras) -> "ImageMeasures":
        """Measure one image without lens distortion, and its camera of batch shape []."""
        from skimage.measure import blur_effect

        scale = min(1.0, SIDE_PX / max(rgb.shape[-2:]))
        hw = (max(1, round(rgb.shape[-2] * scale)), max(1, round(rgb.shape[-1] * scale)))
        small = _resized(rgb, hw)
        gray = torch.einsum("chw,c->hw", small, small.new_tensor([0.2126, 0.7152, 0.0722])).double().numpy()
        contrast = float(gray.std())
        keypoints, descriptors = _features(gray)
        return ImageMeasures(
            camera.to(torch.float64).resized(hw), _resized(rgb, (16, 16)), keypoints, descriptors,
            blur=float(np.mean(blur_effect(gray))) if contrast > 1e-3 else 1.0,
            brightness=float(gray.mean()), contrast=contrast,
        )  # fmt: skip


@dataclass(frozen=True)
class PairMeasures:
    """What is measured of two neighboring images.

    likeness     correlation of the thumbnails' colors, -1..1
    matches      number of features found in both
    motion       median distance by which matches move, in shares of the longer side; None with too few matches
    residual_px  median symmetric epipolar distance, under the cameras, of the matches that some epipolar geometry
                 explains, or their distance under rotation alone where that is less (without a baseline no epipolar
                 line is fixed); None where fewer than 16 matches, or less than half, have such a geometry
    baseline     distance of the cameras' centers
    """

    likeness: float
    matches: int
    motion: float | None
    residual_px: float | None
    baseline: float

    @staticmethod
    def between(a: ImageMeasures, b: ImageMeasures) -> "PairMeasures":
        """Measure two images of one capture."""
        likeness = float(torch.corrcoef(torch.stack([a.thumbnail.flatten(), b.thumbnail.flatten()]))[0, 1])
        baseline = float((a.camera.centers - b.camera.centers).norm())
        uv_a, uv_b = matches(a, b)
        motion = residual = None
        if len(uv_a) >= _FEW:
            motion = float((uv_a - uv_b).norm(dim=-1).median()) / max(a.camera.hw)
            agree = _one_geometry(uv_a, uv_b)
            if int(agree.sum()) >= max(_FEW, len(uv_a) / 2):
                residual = float(pose_residuals(a.camera, b.camera, uv_a[agree], uv_b[agree]).median())
        return PairMeasures(likeness if likeness == likeness else 0.0, len(uv_a), motion, residual, baseline)


def pose_residuals(a: Cameras, b: Cameras, uv_a: Float[Tensor, "n 2"], uv_b: Float[Tensor, "n 2"]) -> Tensor:
    """How far matches are from where two cameras of batch shape [] put them, in pixels [n].

    The symmetric epipolar distance, or the distance from where rotation alone takes the first pixel, whichever has the
    smaller median.
    """
    epipolar = symmetric_epipolar_distance(fundamental(a, b), uv_a, uv_b)
    turn = b.K @ b.world_from_camera[:3, :3].mT @ a.world_from_camera[:3, :3] @ torch.linalg.inv(a.K)
    turned = torch.cat([uv_a, torch.ones_like(uv_a[:, :1])], -1) @ turn.mT
    ahead = turned[:, 2:] > 1e-9
    distance = torch.where(ahead, turned[:, :2] / turned[:, 2:].clamp_min(1e-9) - uv_b, torch.inf).norm(dim=-1)
    still = bool((a.centers - b.centers).norm() == 0)
    return distance if still or float(distance.median()) < float(epipolar.median()) else epipolar


def _one_geometry(uv_a: Float[Tensor, "n 2"], uv_b: Float[Tensor, "n 2"]) -> Bool[Tensor, "n"]:
    """Which matches the best fundamental matrix explains to a pixel, independently of the cameras (RANSAC; Fischler
    and Bolles 1981)."""
    from skimage.measure import ransac
    from skimage.transform import FundamentalMatrixTransform

    pairs = (uv_a.numpy(), uv_b.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about samples without a solution
        _, agree = ransac(pairs, FundamentalMatrixTransform, 8, residual_threshold=1.0, max_trials=300, rng=0)
    return torch.zeros(len(uv_a), dtype=torch.bool) if agree is None else torch.from_numpy(agree)


def _resized(rgb: Float[Tensor, "3 h w"], hw: tuple[int, int]) -> Float[Tensor, "3 h2 w2"]:
    return torch.nn.functional.interpolate(rgb[None].float(), hw, mode="bilinear", antialias=True)[0]


def _features(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SIFT keypoints [n, 2] (u, v) with pixel centers at +0.5, and their descriptors [n, 128]; n may be 0."""
    from skimage.feature import SIFT

    sift = SIFT(upsampling=1)
    try:
        sift.detect_and_extract(gray)
    except (RuntimeError, ValueError, IndexError):  # no features, or too small an image
        return np.zeros((0, 2)), np.zeros((0, 128))
    return np.asarray(sift.keypoints)[:, ::-1] + 0.5, np.asarray(sift.descriptors)


def matches(a: ImageMeasures, b: ImageMeasures) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    """Pixels (u, v), in the images as measured, of features that match each other best, and clearly better than the
    second best."""
    from skimage.feature import match_descriptors

    if min(len(a.keypoints), len(b.keypoints)) < 2:
        return torch.zeros(0, 2, dtype=torch.float64), torch.zeros(0, 2, dtype=torch.float64)
    pairs = match_descriptors(a.descriptors, b.descriptors, max_ratio=_RATIO, cross_check=True)
    uv_a, uv_b = a.keypoints[pairs[:, 0]], b.keypoints[pairs[:, 1]]
    return torch.from_numpy(uv_a.astype(np.float64)), torch.from_numpy(uv_b.astype(np.float64))
