"""Cameras to and from the conventions of other tools, each by its name: nothing is guessed.

A convention says which way a camera's axes point, which way its pose maps, where pixel (0, 0) has its center, and how
its world lies in ours. `cameras_from("opengl", pose, K, hw)` and `cameras_to("opengl", cameras)` do the rest, for every
entry of `CONVENTIONS`, those that you add too. Lenses are not part of a convention: they stay in `Cameras.lens`.
`geometry.camera.tool_parameters` has the tools that write cameras as other numbers than poses and K.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_rigid
from geometry.errors import InputError
from geometry.rotation.transforms import invert_rigid, rigid
from geometry.shapes import Float

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


@dataclass(frozen=True)
class Convention:
    """How a tool writes cameras.

    Attributes:
        right: Where the right of the image points in its camera axes, as "+x" or "-z".
        up: Where the top of the image points in its camera axes.
        forward: Where it looks in its camera axes.
        pose: What its pose takes to what: "camera_from_world" (extrinsics, w2c) or "world_from_camera" (c2w).
        pixel_center: The coordinate of pixel (0, 0)'s center: 0.5, or 0 where an image's middle is (width - 1) / 2.
        mirrored: Whether its world is left-handed: y points the other way than in ours.
        metre: How many of its units a metre is.
    """

    right: str
    up: str
    forward: str
    pose: Literal["camera_from_world", "world_from_camera"]
    pixel_center: float = 0.5
    mirrored: bool = False
    metre: float = 1.0

    def axes(self, like: torch.Tensor) -> Float[torch.Tensor, "3 3"]:
        """Its camera axes from OpenCV's: takes a point (x right, y down, z forward) to its coordinates."""
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
    """Cameras from poses and intrinsics as a convention writes them.

    Args:
        name: The convention, a key of `CONVENTIONS`.
        pose: Rigid motions [*b, 4, 4] in the convention's axes, direction and units.
        K: Intrinsics [*b, 3, 3] in pixels, counted as the convention does.
        hw: Height and width of the images in pixels.

    Returns:
        Pinhole cameras of batch shape b in our convention (`geometry.conventions`).

    Raises:
        InputError: If the convention is not known or a pose is not a rigid motion: NaN or Inf, axes that are not
            orthogonal, a mirror, or a last row other than 0 0 0 1.
    """
    theirs = convention(name)
    check_rigid(pose, f"{name} poses")
    outward = pose if theirs.pose == "world_from_camera" else invert_rigid(pose)
    rotation = theirs.world(pose).T @ outward[..., :3, :3] @ theirs.axes(pose)
    center = outward[..., :3, 3] @ theirs.world(pose) / theirs.metre
    return Cameras(rigid(rotation, center), _shifted(K, 0.5 - theirs.pixel_center), hw)


def cameras_to(name: str, cameras: Cameras) -> tuple[Float[torch.Tensor, "*b 4 4"], Float[torch.Tensor, "*b 3 3"]]:
    """Poses and intrinsics as a convention writes them: the inverse of `cameras_from`.

    Args:
        name: The convention, a key of `CONVENTIONS`.
        cameras: Cameras of any batch shape b. Their lenses, times and views are left out.

    Returns:
        The poses [*b, 4, 4] and the intrinsics [*b, 3, 3].

    Raises:
        InputError: If the convention is not known.
    """
    theirs, ours = convention(name), cameras.world_from_camera
    rotation = theirs.world(ours) @ ours[..., :3, :3] @ theirs.axes(ours).T
    outward = rigid(rotation, cameras.centers @ theirs.world(ours).T * theirs.metre)
    pose = outward if theirs.pose == "world_from_camera" else invert_rigid(outward)
    return pose, _shifted(cameras.K, theirs.pixel_center - 0.5)


def _shifted(K: torch.Tensor, pixels: float) -> torch.Tensor:
    """Intrinsics whose pixel positions are larger by `pixels`."""
    if pixels == 0:
        return K
    shift = K.new_tensor([[0.0, 0.0, pixels], [0.0, 0.0, pixels], [0.0, 0.0, 0.0]])
    return K + shift * K[..., 2:, 2:]
