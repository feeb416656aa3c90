"""Where cameras are, and how far they are zoomed in, at several moments."""

from dataclasses import dataclass, replace

import torch

from geometry.rotation.transforms import rigid, rotation_about
from geometry.shapes import Float

UP = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class CameraState:
    """Cameras at n moments: poses `world_from_camera` [n, 4, 4] and how much their focal length is multiplied, [n]."""

    pose: Float[torch.Tensor, "n 4 4"]
    zoom: Float[torch.Tensor, "n"]

    def moved(self, offset: Float[torch.Tensor, "n 3"]) -> "CameraState":
        """Carried through the world, metres."""
        pose = self.pose.clone()
        pose[:, :3, 3] += offset
        return replace(self, pose=pose)

    def turned(self, rotation: Float[torch.Tensor, "n 3 3"]) -> "CameraState":
        """Turned on the spot by rotations in the world."""
        return replace(self, pose=rigid(rotation @ self.pose[:, :3, :3], self.pose[:, :3, 3]))

    def around(self, rotation: Float[torch.Tensor, "n 3 3"], pivot: Float[torch.Tensor, "n 3"]) -> "CameraState":
        """Carried and turned about points."""
        arm = (rotation @ (self.pose[:, :3, 3] - pivot)[..., None]).squeeze(-1)
        return CameraState(rigid(rotation @ self.pose[:, :3, :3], pivot + arm), self.zoom)

    def facing(self, point: Float[torch.Tensor, "n 3"], offset: Float[torch.Tensor, "n 3"]) -> "CameraState":
        """Carried through the world and turned, the shortest way, so that a point stays where it is in the image's
        directions."""
        before, after = point - self.pose[:, :3, 3], point - self.pose[:, :3, 3] - offset
        axis = torch.linalg.cross(before, after)
        angle = torch.atan2(axis.norm(dim=-1), (before * after).sum(-1))
        still = axis.norm(dim=-1, keepdim=True) < 1e-12
        return self.turned(rotation_about(torch.where(still, axis.new_tensor(UP), axis), angle)).moved(offset)

    @property
    def right(self) -> Float[torch.Tensor, "n 3"]:
        """The cameras' right in the world."""
        return self.pose[:, :3, 0]

    @property
    def forward(self) -> Float[torch.Tensor, "n 3"]:
        """Where they look."""
        return self.pose[:, :3, 2]
