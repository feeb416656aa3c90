"""`Motion`: poses of rigid bodies over time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix, slerp
from geometry.shapes import Float
from geometry.values import as_value


@as_value
@dataclass(frozen=True)
class Motion:
    """Tracks of n rigid bodies in each of b scenes, known at k moments.

    Between two moments positions move in a straight line and rotations turn at constant speed, as in a glTF animation;
    before the first and after the last moment bodies rest.

    Attributes:
        time_s: [b, k] rising.
        position: [b, n, k, 3] metres.
        rotation: [b, n, k, 4] world from body, wxyz.
    """

    time_s: Float[Tensor, "b k"]
    position: Float[Tensor, "b n k 3"]
    rotation: Float[Tensor, "b n k 4"]

    @staticmethod
    def still(position: Float[Tensor, "b n 3"], rotation: Float[Tensor, "b n 3 3"]) -> "Motion":
        """Bodies at rest, from positions and rotation matrices (world from body)."""
        return Motion(
            position.new_zeros(len(position), 1),
            position[:, :, None],
            quaternion_wxyz_from_matrix(rotation)[:, :, None],
        )

    def check(self) -> None:
        """Raise InputError for NaN or Inf, quaternions of length 0 or moments that do not rise."""
        for name in ("time_s", "position", "rotation"):
            value = getattr(self, name)
            if not bool(value.isfinite().all()):
                raise InputError(f"scene motion: {name} with NaN or Inf; expected finite numbers")
        if not bool((self.rotation.norm(dim=-1) > 1e-6).all()):
            raise InputError("scene motion: a quaternion of length 0; expected unit quaternions (w, x, y, z)")
        if not bool((self.time_s.diff(dim=-1) > 0).all()):
            raise InputError(f"scene motion: moments {self.time_s.tolist()[:2]}; expected rising times")

    def at(self, time_s: Float[Tensor, "b f"]) -> tuple[Float[Tensor, "b f n 3"], Float[Tensor, "b f n 3 3"]]:
        """Positions and rotation matrices (world from body) at some times of each scene."""
        frames, moments = time_s.shape[1], self.time_s.shape[1]
        if moments == 1:
            position, rotation = self.position.movedim(2, 1), matrix_from_quaternion_wxyz(self.rotation).movedim(2, 1)
            return position.expand(-1, frames, -1, -1), rotation.expand(-1, frames, -1, -1, -1)
        before = (torch.searchsorted(self.time_s, time_s.to(self.time_s), right=True) - 1).clamp(0, moments - 2)
        start, end = self.time_s.gather(1, before), self.time_s.gather(1, before + 1)
        share = ((time_s - start) / (end - start)).clamp(0, 1)[:, :, None]

        def pick(values: Tensor, index: Tensor) -> Tensor:
            index = index[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[3])
            return values.gather(2, index).movedim(2, 1)

        position = torch.lerp(pick(self.position, before), pick(self.position, before + 1), share[..., None])
        rotation = slerp(
            pick(self.rotation, before), pick(self.rotation, before + 1), share.expand(-1, -1, self.rotation.shape[1])
        )
        return position, matrix_from_quaternion_wxyz(rotation)
