"""Rigs: cameras fixed to one body, each with a name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens
from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix, slerp
from geometry.rotation.transforms import rigid
from geometry.shapes import Float
from geometry.values import as_value


@as_value
@dataclass(frozen=True)
class RigCamera:
    """One camera of a rig.

    Attributes:
        name: Its name.
        rig_from_camera: A rigid motion [4, 4], metres: OpenCV axes to the rig's (for vehicles x forward, y left, z up).
        K: Intrinsics [3, 3] in pixels.
        hw: Height and width of its images in pixels.
        lens: A lens of batch shape []; None for a pinhole.
        time_offset_s: How many seconds after the rig's own time it takes its images.
    """

    name: str
    rig_from_camera: Float[torch.Tensor, "4 4"]
    K: Float[torch.Tensor, "3 3"]
    hw: tuple[int, int]
    lens: Lens | None = None
    time_offset_s: float = 0.0


@as_value
@dataclass(frozen=True)
class Rig:
    """Cameras that move together: camera n of the rig is `view` n of its `Cameras`.

    Attributes:
        members: The cameras, in order, each with a name of its own.
    """

    members: tuple[RigCamera, ...]

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.members]
        if not names or len(set(names)) != len(names):
            raise InputError(f"a rig of cameras {names}; expected at least one, each with a name of its own")

    def __getitem__(self, name: str) -> RigCamera:
        """The camera with a name. Raises InputError for an unknown name."""
        for camera in self.members:
            if camera.name == name:
                return camera
        raise InputError(f"camera {name!r}; expected one of {', '.join(c.name for c in self.members)}")

    def only(self, names: Sequence[str]) -> "Rig":
        """A rig of some of its cameras, in the order of the names given."""
        return Rig(tuple(self[name] for name in names))

    def resized(self, hw: tuple[int, int]) -> "Rig":
        """The rig with all images resampled to one size; intrinsics scale exactly."""
        members = []
        for member in self.members:
            one = Cameras(member.rig_from_camera, member.K, member.hw, lens=member.lens).resized(hw)
            members.append(replace(member, K=one.K, hw=hw, lens=one.lens))
        return Rig(tuple(members))

    def cameras(
        self,
        world_from_rig: Float[torch.Tensor, "f 4 4"],
        time_s: Float[torch.Tensor, "f"],
        names: Sequence[str] | None = None,
    ) -> Cameras:
        """The rig's cameras along a path, at the times their images are taken.

        A camera with a time offset is where the rig is at that time: between the path's poses it turns and moves
        evenly, and beyond its ends it continues as at the end (`poses_at`).

        Args:
            world_from_rig: Poses of the rig [f, 4, 4], metres.
            time_s: Their times [f] in seconds, rising.
            names: The cameras wanted, in this order; all of them by default.

        Returns:
            Cameras [f * c], those of one pose side by side.

        Raises:
            InputError: If images have several sizes (`resized` makes them one), times do not rise, or a camera has a
                time offset and the path only one pose.
        """
        rig = self if names is None else self.only(names)
        sizes = {member.hw for member in rig.members}
        if len(sizes) > 1:
            raise InputError(f"a rig with images of sizes {sorted(sizes)}; expected one: resize it first")
        if world_from_rig.shape[0] != len(time_s) or not bool((time_s.diff() > 0).all()):
            raise InputError(f"{len(world_from_rig)} poses at {len(time_s)} times; expected as many, and rising times")
        poses, times, views = [], [], []
        for member in rig.members:
            there = time_s + member.time_offset_s
            path = world_from_rig if member.time_offset_s == 0 else poses_at(world_from_rig, time_s, there)
            poses.append(path @ member.rig_from_camera.to(path))
            times.append(there)
            views.append(torch.full((len(there),), self.members.index(member), device=path.device))
        stacked = torch.stack(poses, 1).flatten(0, 1)
        count, size = len(time_s), sizes.pop()
        K = torch.stack([member.K.to(stacked) for member in rig.members]).repeat(count, 1, 1)
        each = [Cameras(m.rig_from_camera, m.K, m.hw, lens=m.lens)[None].to(stacked.dtype) for m in rig.members]
        lens = Cameras.cat(each).lens
        return Cameras(
            stacked, K, size, torch.stack(views, 1).flatten(), torch.stack(times, 1).flatten(),
            None if lens is None else lens[torch.arange(len(rig.members)).repeat(count)],
        )  # fmt: skip


def poses_at(
    path: Float[torch.Tensor, "f 4 4"], time_s: Float[torch.Tensor, "f"], when: Float[torch.Tensor, "n"]
) -> Float[torch.Tensor, "n 4 4"]:
    """Poses of a path at other times: slerp and linear interpolation between its poses, extrapolated beyond its ends.

    Raises InputError for a path of one pose.
    """
    if len(time_s) < 2:
        raise InputError(f"a path of {len(time_s)} poses; expected at least 2 to say where it is in between")
    after = torch.searchsorted(time_s.contiguous(), when.contiguous(), right=True).clamp(1, len(time_s) - 1)
    share = (when - time_s[after - 1]) / (time_s[after] - time_s[after - 1])
    quaternion = quaternion_wxyz_from_matrix(path[:, :3, :3])
    turn = matrix_from_quaternion_wxyz(slerp(quaternion[after - 1], quaternion[after], share.to(path)))
    place = torch.lerp(path[after - 1, :3, 3], path[after, :3, 3], share.to(path)[:, None])
    return rigid(turn, place)
