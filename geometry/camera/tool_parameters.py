"""Cameras as the numbers that other tools write instead of poses and K.

COLMAP's quaternions, RealEstate10K's rows, PyTorch3D's NDC, Unreal's rotators. Axes, units and pixel centers are those
of `geometry.camera.conversion.CONVENTIONS`.
"""

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_centered, check_square_pixels, check_unskewed
from geometry.camera.conversion import cameras_from, cameras_to
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import rigid
from geometry.shapes import Float


def cameras_from_colmap(
    quaternion_wxyz: Float[torch.Tensor, "*b 4"],
    translation: Float[torch.Tensor, "*b 3"],
    K: Float[torch.Tensor, "*b 3 3"],
    hw: tuple[int, int],
) -> Cameras:
    """Cameras of COLMAP's images.

    Args:
        quaternion_wxyz: The rotation of `camera_from_world` [*b, 4], w first.
        translation: The translation of `camera_from_world` [*b, 3], in the model's unit.
        K: Intrinsics [*b, 3, 3] in pixels.
        hw: Height and width of the images in pixels.

    Returns:
        Pinhole cameras of batch shape b.

    Raises:
        InputError: If a number is NaN or Inf.
    """
    return cameras_from("colmap", rigid(matrix_from_quaternion_wxyz(quaternion_wxyz), translation), K, hw)


def cameras_to_colmap(
    cameras: Cameras,
) -> tuple[Float[torch.Tensor, "*b 4"], Float[torch.Tensor, "*b 3"], Float[torch.Tensor, "*b 3 3"]]:
    """The numbers of COLMAP's images: the inverse of `cameras_from_colmap`.

    Args:
        cameras: Cameras of any batch shape b. Their lenses are left out.

    Returns:
        The rotation [*b, 4] (w, x, y, z with w >= 0) and translation [*b, 3] of `camera_from_world`, and the
        intrinsics [*b, 3, 3].
    """
    pose, K = cameras_to("colmap", cameras)
    return quaternion_wxyz_from_matrix(pose[..., :3, :3]), pose[..., :3, 3], K


def cameras_from_realestate10k(row: Float[torch.Tensor, "*b 18"], hw: tuple[int, int]) -> Cameras:
    """Cameras of RealEstate10K's rows.

    Args:
        row: A row of a camera file without its time [*b, 18]: fx, fy, cx, cy in widths and heights of the image, two
            zeros, and the first three rows of `camera_from_world`.
        hw: Height and width of the images in pixels.

    Returns:
        Pinhole cameras of batch shape b.

    Raises:
        InputError: If a pose is not a rigid motion.
    """
    pose = rigid(row[..., 6:].unflatten(-1, (3, 4))[..., :3], row[..., 6:].unflatten(-1, (3, 4))[..., 3])
    size = row.new_tensor([hw[1], hw[0], hw[1], hw[0]])
    return cameras_from("realestate10k", pose, _intrinsics(row[..., :4] * size), hw)


def cameras_to_realestate10k(cameras: Cameras) -> Float[torch.Tensor, "*b 18"]:
    """The rows of RealEstate10K's camera files, without times: the inverse of `cameras_from_realestate10k`.

    Args:
        cameras: Pinhole cameras of any batch shape b. Skew is left out.

    Returns:
        The rows [*b, 18].

    Raises:
        InputError: If a lens is not a pinhole.
    """
    cameras.check_pinhole("RealEstate10K's cameras")
    pose, K = cameras_to("realestate10k", cameras)
    size = K.new_tensor([cameras.hw[1], cameras.hw[0], cameras.hw[1], cameras.hw[0]])
    lens = torch.stack([K[..., 0, 0], K[..., 1, 1], K[..., 0, 2], K[..., 1, 2]], -1) / size
    return torch.cat([lens, torch.zeros_like(lens[..., :2]), pose[..., :3, :].flatten(-2)], -1)


def cameras_from_pytorch3d(
    R: Float[torch.Tensor, "*b 3 3"],
    T: Float[torch.Tensor, "*b 3"],
    focal_length: Float[torch.Tensor, "*b 2"],
    principal_point: Float[torch.Tensor, "*b 2"],
    hw: tuple[int, int],
    in_ndc: bool = True,
) -> Cameras:
    """Cameras of PyTorch3D's `PerspectiveCameras`.

    Args:
        R: Rotations [*b, 3, 3] of row vectors: a camera's point is X R + T, x to the left and y up.
        T: Translations [*b, 3].
        focal_length: (x, y) [*b, 2].
        principal_point: (x, y) [*b, 2].
        hw: Height and width of the images in pixels.
        in_ndc: Whether the last two are in NDC, whose shorter side spans -1..1 with x to the left and y up; else they
            are in pixels.

    Returns:
        Pinhole cameras of batch shape b.

    Raises:
        InputError: If a pose is not a rigid motion.
    """
    half = min(hw) / 2 if in_ndc else 1.0
    middle = R.new_tensor([hw[1] / 2, hw[0] / 2])
    center = middle - half * principal_point if in_ndc else principal_point
    K = _intrinsics(torch.cat([half * focal_length, center], -1))
    return cameras_from("pytorch3d", rigid(R.transpose(-1, -2), T), K, hw)


def cameras_to_pytorch3d(cameras: Cameras, in_ndc: bool = True) -> dict[str, torch.Tensor]:
    """Arguments of PyTorch3D's `PerspectiveCameras`: the inverse of `cameras_from_pytorch3d`.

    Args:
        cameras: Pinhole cameras of any batch shape b.
        in_ndc: Whether focal lengths and principal points are in NDC; else they are in pixels.

    Returns:
        `R` [*b, 3, 3], `T` [*b, 3], `focal_length` [*b, 2] and `principal_point` [*b, 2]. Its `image_size` is
        `cameras.hw`.

    Raises:
        InputError: If pixels are skewed or a lens is not a pinhole.
    """
    check_unskewed("PyTorch3D's cameras", cameras)
    pose, K = cameras_to("pytorch3d", cameras)
    half = min(cameras.hw) / 2 if in_ndc else 1.0
    middle = K.new_tensor([cameras.hw[1] / 2, cameras.hw[0] / 2])
    center = (middle - K[..., :2, 2]) / half if in_ndc else K[..., :2, 2]
    focal = torch.stack([K[..., 0, 0], K[..., 1, 1]], -1) / half
    return {
        "R": pose[..., :3, :3].transpose(-1, -2), "T": pose[..., :3, 3],
        "focal_length": focal, "principal_point": center,
    }  # fmt: skip


def cameras_from_unreal(
    location_cm: Float[torch.Tensor, "*b 3"],
    rotator_deg: Float[torch.Tensor, "*b 3"],
    fov_deg: Float[torch.Tensor, "*b"],
    hw: tuple[int, int],
) -> Cameras:
    """Cameras of Unreal Engine's actors: x forward, y right, z up in a left-handed world of centimetres.

    Args:
        location_cm: Positions [*b, 3] in centimetres.
        rotator_deg: (pitch, yaw, roll) [*b, 3] in degrees: pitch lifts the view, yaw turns it to the right, roll tilts
            it clockwise.
        fov_deg: Horizontal fields of view [*b] in degrees.
        hw: Height and width of the images in pixels.

    Returns:
        Pinhole cameras of batch shape b, in metres.

    Raises:
        InputError: If a number is NaN or Inf.
    """
    cp, cy, cr = torch.deg2rad(rotator_deg).cos().unbind(-1)
    sp, sy, sr = torch.deg2rad(rotator_deg).sin().unbind(-1)
    rows = [
        cp * cy, sr * sp * cy - cr * sy, -(cr * sp * cy + sr * sy),
        cp * sy, sr * sp * sy + cr * cy, cy * sr - cr * sp * sy,
        sp, -sr * cp, cr * cp,
    ]  # fmt: skip
    focal = hw[1] / 2 / torch.tan(torch.deg2rad(fov_deg) / 2)
    middle = torch.stack([torch.full_like(focal, hw[1] / 2), torch.full_like(focal, hw[0] / 2)], -1)
    K = _intrinsics(torch.cat([focal[..., None], focal[..., None], middle], -1))
    return cameras_from("unreal", rigid(torch.stack(rows, -1).unflatten(-1, (3, 3)), location_cm), K, hw)


def cameras_to_unreal(
    cameras: Cameras,
) -> tuple[Float[torch.Tensor, "*b 3"], Float[torch.Tensor, "*b 3"], Float[torch.Tensor, "*b"]]:
    """The numbers of Unreal Engine's camera actors: the inverse of `cameras_from_unreal`.

    Args:
        cameras: Pinhole cameras of any batch shape b, in metres.

    Returns:
        Locations [*b, 3] in centimetres, rotators (pitch, yaw, roll) [*b, 3] and horizontal fields of view [*b], both
        in degrees.

    Raises:
        InputError: If pixels are skewed or not square, a principal point is not the image's middle, or a lens is not a
            pinhole: Unreal's cameras have none of these.
    """
    check_centered("Unreal's cameras", cameras)
    check_square_pixels("Unreal's cameras", cameras)
    pose, K = cameras_to("unreal", cameras)
    forward, right, up = pose[..., :3, :3].unbind(-1)
    pitch = torch.atan2(forward[..., 2], torch.hypot(forward[..., 0], forward[..., 1]))
    yaw = torch.atan2(forward[..., 1], forward[..., 0])
    level = torch.stack([-yaw.sin(), yaw.cos(), torch.zeros_like(yaw)], -1)  # what is right of it without roll
    roll = torch.atan2((up * level).sum(-1), (right * level).sum(-1))
    fov = 2 * torch.atan(cameras.hw[1] / 2 / K[..., 0, 0])
    return pose[..., :3, 3], torch.rad2deg(torch.stack([pitch, yaw, roll], -1)), torch.rad2deg(fov)


def _intrinsics(values: torch.Tensor) -> torch.Tensor:
    """K of (fx, fy, cx, cy)."""
    fx, fy, cx, cy = values.unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    return torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], -1).unflatten(-1, (3, 3))
