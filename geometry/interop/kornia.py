"""Cameras to and from kornia's `PinholeCamera`, which counts pixels from the first one's center."""

from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.conversion import cameras_from, cameras_to
from geometry.interop.sizes import one_size
from geometry.rotation.transforms import rigid


def to_kornia_cameras(cameras: Cameras) -> Any:
    """Convert cameras to kornia's `PinholeCamera`.

    Args:
        cameras: pinhole cameras of batch shape b.

    Returns:
        A `PinholeCamera` whose one batch axis is b flattened.

    Raises:
        InputError: a lens other than a pinhole.
    """
    from kornia.geometry.camera import PinholeCamera

    cameras.check_pinhole("kornia's cameras")
    flat = cameras.reshape(cameras.shape.numel())
    pose, K = cameras_to("kornia", flat)
    height, width = (torch.full_like(flat.time_s, side) for side in cameras.hw)
    return PinholeCamera(rigid(K, torch.zeros_like(K[..., 0])), pose, height, width)


def from_kornia_cameras(camera: Any) -> Cameras:
    """Convert cameras from kornia's `PinholeCamera`.

    Args:
        camera: a `PinholeCamera` of n cameras.

    Returns:
        Cameras of batch shape [n].

    Raises:
        InputError: images of several sizes, or poses that are not rigid.
    """
    sizes = zip(camera.height.tolist(), camera.width.tolist())
    return cameras_from("kornia", camera.extrinsics, camera.intrinsics[:, :3, :3], one_size("kornia's cameras", sizes))
