"""Cameras to and from the conventions of other tools, each by its name: nothing is guessed.

A convention says which way a camera's axes point, which way its pose maps, where pixel (0, 0) has its center, and how
its world lies in ours. `cameras_from("opengl", pose, K, hw)` and `cameras_to("opengl", cameras)` do the rest. Lenses
are no matter of convention: they stay what `Cameras.lens` says. What can only hold pinholes refuses others.
"""

import math
from dataclasses import dataclass

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rays import camera_directions
from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import invert_rigid, rigid
from geometry.shapes import Float

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_PLAIN = 1e-3  # of the focal length: how far a plain lens may be off its middle
_TOLERANCE = 1e-3  # of a rotation's orthogonality: float32 poses of long chains are off by less


@dataclass(frozen=True)
class Convention:
    """How a tool writes cameras.

    right, up, forward  where its camera axes point, as "+x" or "-z"
    pose          "camera_from_world" (extrinsics, w2c) or "world_from_camera" (c2w)
    pixel_center  the coordinate of pixel (0, 0)'s center: 0.5, or 0 where an image's middle is (width - 1) / 2
    mirrored      its world is left-handed: y points the other way than in ours
    metre         how many of its units a metre is
    """

    right: str
    up: str
    forward: str
    pose: str
    pixel_center: float = 0.5
    mirrored: bool = False
    metre: float = 1.0

    def axes(self, like: torch.Tensor) -> Float[torch.Tensor, "3 3"]:
        """Its camera axes from OpenCV's: a point (x right, y down, z forward) in its coordinates."""
        columns = [
            like.new_tensor(_AXES[axis[1]]) * float(axis[0] + "1") for axis in (self.right, self.up, self.forward)
        ]
        return torch.stack([columns[0], -columns[1], columns[2]], -1)

    def world(self, like: torch.Tensor) -> Float[torch.Tensor, "3 3"]:
        """Its world's axes from ours, without units."""
        return torch.diag(like.new_tensor([1.0, -1.0 if self.mirrored else 1.0, 1.0]))


_OPENCV = Convention("+x", "-y", "+z", "camera_from_world", pixel_center=0.0)
_OPENGL = Convention("+x", "+y", "-z", "world_from_camera")
CONVENTIONS: dict[str, Convention] = {
    "worldgen": Convention("+x", "-y", "+z", "world_from_camera"),
    "opencv": _OPENCV,
    "kornia": _OPENCV,
    "ros_optical": Convention("+x", "-y", "+z", "world_from_camera", pixel_center=0.0),
    "colmap": Convention("+x", "-y", "+z", "camera_from_world"),
    "realestate10k": Convention("+x", "-y", "+z", "camera_from_world"),
    "opengl": _OPENGL,
    "blender": _OPENGL,
    "nerfstudio": _OPENGL,
    "pytorch3d": Convention("-x", "+y", "+z", "camera_from_world"),
    "waymo": Convention("-y", "+z", "+x", "world_from_camera"),
    "unreal": Convention("+y", "+z", "+x", "world_from_camera", mirrored=True, metre=100.0),
}


def convention(name: str) -> Convention:
    """A convention by its name. Raises InputError for one that is not known."""
    if name not in CONVENTIONS:
        raise InputError(f"camera convention {name!r}; expected one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def cameras_from(
    name: str, pose: Float[torch.Tensor, "*b 4 4"], K: Float[torch.Tensor, "*b 3 3"], hw: tuple[int, int]
) -> Cameras:
    """Cameras from poses and pixel intrinsics as a convention writes them (`CONVENTIONS`).

    Raises InputError for an unknown convention, and for poses that are no rigid motions: numbers that are not finite,
    rotations that are not orthogonal, mirrors, or a last row other than 0 0 0 1.
    """
    theirs = convention(name)
    check_rigid(pose, f"{name} poses")
    outward = pose if theirs.pose == "world_from_camera" else invert_rigid(pose)
    rotation = theirs.world(pose).T @ outward[..., :3, :3] @ theirs.axes(pose)
    center = outward[..., :3, 3] @ theirs.world(pose) / theirs.metre
    return Cameras(rigid(rotation, center), _moved(K, 0.5 - theirs.pixel_center), hw)


def cameras_to(name: str, cameras: Cameras) -> tuple[Float[torch.Tensor, "*b 4 4"], Float[torch.Tensor, "*b 3 3"]]:
    """Poses and pixel intrinsics as a convention writes them; the inverse of `cameras_from`."""
    theirs, ours = convention(name), cameras.world_from_camera
    rotation = theirs.world(ours) @ ours[..., :3, :3] @ theirs.axes(ours).T
    outward = rigid(rotation, cameras.centers @ theirs.world(ours).T * theirs.metre)
    pose = outward if theirs.pose == "world_from_camera" else invert_rigid(outward)
    return pose, _moved(cameras.K, theirs.pixel_center - 0.5)


def cameras_from_colmap(
    quaternion_wxyz: Float[torch.Tensor, "*b 4"],
    translation: Float[torch.Tensor, "*b 3"],
    K: Float[torch.Tensor, "*b 3 3"],
    hw: tuple[int, int],
) -> Cameras:
    """Cameras of COLMAP's images: the rotation and translation of camera_from_world."""
    return cameras_from("colmap", rigid(matrix_from_quaternion_wxyz(quaternion_wxyz), translation), K, hw)


def cameras_to_colmap(
    cameras: Cameras,
) -> tuple[Float[torch.Tensor, "*b 4"], Float[torch.Tensor, "*b 3"], Float[torch.Tensor, "*b 3 3"]]:
    """Quaternion (w, x, y, z), translation and intrinsics as COLMAP writes them."""
    pose, K = cameras_to("colmap", cameras)
    return quaternion_wxyz_from_matrix(pose[..., :3, :3]), pose[..., :3, 3], K


def cameras_from_realestate10k(row: Float[torch.Tensor, "*b 18"], hw: tuple[int, int]) -> Cameras:
    """Cameras of RealEstate10K's lines without their time: fx fy cx cy in widths and heights of the image, two
    zeros, and the 12 numbers of camera_from_world row by row."""
    pose = rigid(row[..., 6:].unflatten(-1, (3, 4))[..., :3], row[..., 6:].unflatten(-1, (3, 4))[..., 3])
    size = row.new_tensor([hw[1], hw[0], hw[1], hw[0]])
    return cameras_from("realestate10k", pose, _intrinsics(row[..., :4] * size), hw)


def cameras_to_realestate10k(cameras: Cameras) -> Float[torch.Tensor, "*b 18"]:
    """The inverse of `cameras_from_realestate10k`. Raises InputError for lenses other than pinholes."""
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
    """Cameras of PyTorch3D's `PerspectiveCameras`, images of any shape.

    R, T              of row vectors: a camera's point is X R + T, x to the left and y up
    focal_length, principal_point  (x, y); in NDC, whose shorter side spans -1..1 with x to the left and y up, or in
                      pixels where `in_ndc` is False
    """
    half = min(hw) / 2 if in_ndc else 1.0
    middle = R.new_tensor([hw[1] / 2, hw[0] / 2])
    center = middle - half * principal_point if in_ndc else principal_point
    K = _intrinsics(torch.cat([half * focal_length, center], -1))
    return cameras_from("pytorch3d", rigid(R.transpose(-1, -2), T), K, hw)


def cameras_to_pytorch3d(cameras: Cameras, in_ndc: bool = True) -> dict[str, torch.Tensor]:
    """Arguments R, T, focal_length and principal_point of PyTorch3D's `PerspectiveCameras`; `image_size` is `hw`.

    Raises InputError for skewed pixels and lenses, which it has no place for.
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

    rotator_deg  (pitch, yaw, roll): pitch lifts the view, yaw turns it to the right, roll tilts it clockwise
    fov_deg      the horizontal field of view
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
    """Location (cm), rotator (pitch, yaw, roll) and horizontal field of view (degrees).

    Raises InputError for lenses that Unreal's cameras do not have: pixels that are not square, or a principal point
    that is not the middle.
    """
    check_plain("Unreal's cameras", cameras)
    if bool(((cameras.K[..., 0, 0] - cameras.K[..., 1, 1]).abs() > _PLAIN * cameras.K[..., 0, 0].abs()).any()):
        raise InputError("Unreal's cameras: pixels that are not square; expected one focal length")
    pose, K = cameras_to("unreal", cameras)
    forward, right, up = pose[..., :3, :3].unbind(-1)
    pitch = torch.atan2(forward[..., 2], torch.hypot(forward[..., 0], forward[..., 1]))
    yaw = torch.atan2(forward[..., 1], forward[..., 0])
    level = torch.stack([-yaw.sin(), yaw.cos(), torch.zeros_like(yaw)], -1)  # what is right of it without roll
    roll = torch.atan2((up * level).sum(-1), (right * level).sum(-1))
    fov = 2 * torch.atan(cameras.hw[1] / 2 / K[..., 0, 0])
    return pose[..., :3, 3], torch.rad2deg(torch.stack([pitch, yaw, roll], -1)), torch.rad2deg(fov)


def check_rigid(pose: Float[torch.Tensor, "*b 4 4"], what: str) -> None:
    """Raises InputError for poses that are no rigid motions, saying which it is and what is wrong with it."""
    flat = pose.reshape(-1, 4, 4).detach().double()
    rotation = flat[:, :3, :3]
    identity = torch.eye(3, dtype=flat.dtype, device=flat.device)
    last = flat.new_tensor([0.0, 0.0, 0.0, 1.0])
    for wrong, message in (
        (~flat.isfinite().flatten(1).all(1), "numbers that are not finite"),
        ((flat[:, 3] - last).abs().amax(1) > 1e-6, "a last row other than 0 0 0 1 (is it transposed?)"),
        (
            (rotation.transpose(1, 2) @ rotation - identity).abs().amax((1, 2)) > _TOLERANCE,
            "axes that are not of unit length and at right angles (a scale? take it out first)",
        ),
        (torch.linalg.det(rotation) < 0, "a mirror, determinant -1; expected a rotation"),
    ):
        if bool(wrong.any()):
            raise InputError(f"{what}: number {int(wrong.nonzero()[0])} has {message}")


def check_unskewed(what: str, cameras: Cameras) -> None:
    """Raise InputError, naming what was asked for, unless all are pinholes without skew."""
    cameras.check_pinhole(what)
    if bool((cameras.K[..., 0, 1] != 0).any()):
        raise InputError(f"{what}: skewed pixels; expected K[0, 1] = 0")


def check_plain(what: str, cameras: Cameras) -> None:
    """Raise InputError, naming what was asked for, unless all are pinholes without skew, centered on their middle."""
    check_unskewed(what, cameras)
    K = cameras.K
    off = torch.stack([K[..., 0, 2] - cameras.hw[1] / 2, K[..., 1, 2] - cameras.hw[0] / 2])
    if bool((off.abs() > _PLAIN * K[..., 0, 0].abs()).any()):
        raise InputError(f"{what}: a principal point off the middle; expected a plain lens")


def _moved(K: torch.Tensor, pixels: float) -> torch.Tensor:
    """Intrinsics whose pixel positions are so much larger."""
    if pixels == 0:
        return K
    shift = K.new_tensor([[0.0, 0.0, pixels], [0.0, 0.0, pixels], [0.0, 0.0, 0.0]])
    return K + shift * K[..., 2:, 2:]


def _intrinsics(lens: torch.Tensor) -> torch.Tensor:
    """K of (fx, fy, cx, cy)."""
    fx, fy, cx, cy = lens.unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    return torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], -1).unflatten(-1, (3, 3))


def fov_deg(cameras: Cameras) -> Float[torch.Tensor, "*b 2"]:
    """Horizontal and vertical field of view through the principal point's row and column, degrees, of any lens."""
    cx, cy = cameras.K[..., 0, 2], cameras.K[..., 1, 2]
    width, height = torch.full_like(cx, cameras.hw[1]), torch.full_like(cx, cameras.hw[0])
    ends = torch.stack([torch.stack([0 * cx, cy, width, cy], -1), torch.stack([cx, 0 * cy, cx, height], -1)], -2)
    rays = camera_directions(cameras, ends.unflatten(-1, (2, 2)))  # [*b, axis, end, 3]
    # An end each side of the principal point: two angles to the axis, which together may be more than 180 degrees.
    aside = torch.stack([rays[..., 0, :, 0], rays[..., 1, :, 1]], -2)
    angles = torch.atan2(aside, rays[..., 2]) * (180 / math.pi)
    return angles[..., 1] - angles[..., 0]
