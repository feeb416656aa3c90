"""Where cameras are, and how far they are zoomed in, at several moments."""

from dataclasses import dataclass, replace

import torch

from geometry.rotation.transforms import rigid, rotation_about
from geometry.shapes import Float
from geometry.values import as_value

UP = (0.0, 0.0, 1.0)


@as_value
@dataclass(frozen=True)
class CameraState:
    """Where a camera is at n moments, and how far it is zoomed in.

    Attributes:
        pose: `world_from_camera` [n, 4, 4], metres.
        zoom: By how much the focal length is multiplied [n].
    """

    pose: Float[torch.Tensor, "n 4 4"]
    zoom: Float[torch.Tensor, "n"]

    def moved(self, offset: Float[torch.Tensor, "n 3"]) -> "CameraState":
        """Moved in the world by offsets in metres, without turning."""
        pose = self.pose.clone()
        pose[:, :3, 3] += offset
        return replace(self, pose=pose)

    def turned(self, rotation: Float[torch.Tensor, "n 3 3"]) -> "CameraState":
        """Turned on the spot, by rotations in the world."""
        return replace(self, pose=rigid(rotation @ self.pose[:, :3, :3], self.pose[:, :3, 3]))

    def around(self, rotation: Float[torch.Tensor, "n 3 3"], pivot: Float[torch.Tensor, "n 3"]) -> "CameraState":
        """Moved and turned around points, by rotations in the world."""
        arm = (rotation @ (self.pose[:, :3, 3] - pivot)[..., None]).squeeze(-1)
        return CameraState(rigid(rotation @ self.pose[:, :3, :3], pivot + arm), self.zoom)

    def facing(self, point: Float[torch.Tensor, "n 3"], offset: Float[torch.Tensor, "n 3"]) -> "CameraState":
        """Moved by offsets, and turned the shortest way so that a point keeps its direction in the image."""
        before, after = point - self.pose[:, :3, 3], point - self.pose[:, :3, 3] - offset
        axis = torch.linalg.cross(before, after)
        angle = torch.atan2(axis.norm(dim=-1), (before * after).sum(-1))
        still = axis.norm(dim=-1, keepdim=True) < 1e-12
        return self.turned(rotation_about(torch.where(still, axis.new_tensor(UP), axis), angle)).moved(offset)

    @property
    def right(self) -> Float[torch.Tensor, "n 3"]:
        """The cameras' right in the world, of unit length."""
        return self.pose[:, :3, 0]

    @property
    def forward(self) -> Float[torch.Tensor, "n 3"]:
        """The optical axes in the world."""
        return self.pose[:, :3, 2]
