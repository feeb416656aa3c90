"""`Splats`: a scene as 3D Gaussians (Kerbl et al. 2023). The value alone: it knows nothing of cameras and images."""

from dataclasses import dataclass, replace

import torch

from geometry.errors import InputError
from geometry.gaussians.harmonics import degree_of, rotate_harmonics, spherical_harmonics
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import rigid, transform_points
from geometry.shapes import Float
from geometry.similarity import Similarity
from geometry.values import as_value


@as_value
@dataclass(frozen=True)
class Splats:
    """n Gaussians in the world, whose colors depend on the direction they are seen from.

    Attributes:
        means: [n, 3] metres.
        quaternions_wxyz: [n, 4] from each Gaussian's own axes to the world's, of any length but zero.
        scales: [n, 3] standard deviations along its own axes, metres.
        opacities: [n] in 0..1.
        harmonics: [n, k, 3] spherical harmonics in world directions, k = 1, 4, 9 or 16; see `colors_from`.

    Raises:
        InputError: shapes disagree, or k is another number.
    """

    means: Float[torch.Tensor, "n 3"]
    quaternions_wxyz: Float[torch.Tensor, "n 4"]
    scales: Float[torch.Tensor, "n 3"]
    opacities: Float[torch.Tensor, "n"]
    harmonics: Float[torch.Tensor, "n k 3"]

    def __post_init__(self) -> None:
        n = len(self.means)
        shapes = {
            "means": (self.means, (n, 3)),
            "quaternions": (self.quaternions_wxyz, (n, 4)),
            "scales": (self.scales, (n, 3)),
            "opacities": (self.opacities, (n,)),
            "harmonics": (self.harmonics, (n, *self.harmonics.shape[1:2], 3)),
        }
        for name, (values, expected) in shapes.items():
            if tuple(values.shape) != expected:
                raise InputError(f"splats: {name} of shape {tuple(values.shape)}; expected {expected}")
        degree_of(self.harmonics.shape[1])

    def __len__(self) -> int:
        """The number of Gaussians."""
        return len(self.means)

    @property
    def covariances(self) -> Float[torch.Tensor, "n 3 3"]:
        """In the world, square metres."""
        half = self.half_covariances
        return half @ half.transpose(-1, -2)

    @property
    def half_covariances(self) -> Float[torch.Tensor, "n 3 3"]:
        """Matrices M with M M^T the covariances: columns are each Gaussian's axes, as long as its scales."""
        return matrix_from_quaternion_wxyz(self.quaternions_wxyz) * self.scales[:, None, :]

    def colors_from(self, center: Float[torch.Tensor, "3"]) -> Float[torch.Tensor, "n 3"]:
        """sRGB, 0 or more, as seen from a point of the world: the sum of the harmonics plus a half."""
        return (spherical_harmonics(self.harmonics, self.means - center) + 0.5).clamp_min(0)

    def moved(self, new_from_world: Float[torch.Tensor, "4 4"]) -> "Splats":
        """The same Gaussians in another world frame (a rigid motion); their harmonics rotate with them."""
        motion = new_from_world.to(self.means)
        rotation = motion[:3, :3]
        return replace(
            self,
            means=transform_points(motion, self.means),
            quaternions_wxyz=quaternion_wxyz_from_matrix(rotation @ matrix_from_quaternion_wxyz(self.quaternions_wxyz)),
            harmonics=rotate_harmonics(self.harmonics, new_from_world[:3, :3]),
        )

    def scaled(self, factor: float) -> "Splats":
        """The same Gaussians in a world enlarged by `factor` about its origin."""
        return replace(self, means=self.means * factor, scales=self.scales * factor)

    def transformed(self, new_from_old: Similarity) -> "Splats":
        """The Gaussians in the new world; their harmonics turn."""
        scale = new_from_old.scale.double()
        motion = rigid(new_from_old.rotation.double(), new_from_old.translation.double() / scale)
        return self.moved(motion).scaled(float(new_from_old.scale))

    def with_float64_positions(self) -> "Splats":
        """The same Gaussians in float64."""
        return self.to(torch.float64)

    def to(self, target: torch.device | torch.dtype | str) -> "Splats":
        """The same Gaussians on another device, or in another float type."""
        return Splats(*(part.to(target) for part in vars(self).values()))
