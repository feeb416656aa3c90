"""`Splats`: a scene as 3D Gaussians, and how a camera sees each of them (Kerbl et al. 2023).

Images of them are made by `geometry.gaussians.splatting`; they are fitted to images by `fit`, which is
`geometry.fit_splats`.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.errors import InputError
from geometry.gaussians.spherical_harmonics import degree_of, rotate_harmonics, spherical_harmonics
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import rigid, transform_points
from geometry.shapes import Float
from geometry.similarity import Similarity

NEAR_M = 0.01
_BLUR_PX2 = 0.3  # variance of a pixel's own footprint
_MARGIN = 0.3  # of half the field of view: how far outside the image the projection is linearised


def __getattr__(name: str) -> Any:
    """`fit`, which imports this module, only when it is asked for."""
    if name != "fit":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from geometry.gaussians.splat_fitting import fit_splats

    return fit_splats


@dataclass(frozen=True)
class Splats:
    """n Gaussians in the world, whose colors depend on where they are seen from.

    means             [n, 3] metres
    quaternions_wxyz  [n, 4] from each one's own axes to the world's, of any length but zero
    scales            [n, 3] standard deviations along its own axes, metres
    opacities         [n] in 0..1
    harmonics         [n, k, 3] spherical harmonics in world directions, k = 1, 4, 9 or 16; see `colors_from`
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
        half = self._half_covariances
        return half @ half.transpose(-1, -2)

    @property
    def _half_covariances(self) -> Float[torch.Tensor, "n 3 3"]:
        """Matrices M with M M^T the covariances: each one's axes, as long as it is wide."""
        return matrix_from_quaternion_wxyz(self.quaternions_wxyz) * self.scales[:, None, :]

    def colors_from(self, center: Float[torch.Tensor, "3"]) -> Float[torch.Tensor, "n 3"]:
        """sRGB of 0 and more as seen from a point of the world: the harmonics plus a half."""
        return (spherical_harmonics(self.harmonics, self.means - center) + 0.5).clamp_min(0)

    def moved(self, new_from_world: Float[torch.Tensor, "4 4"]) -> "Splats":
        """The same Gaussians expressed in another world frame (a rigid motion); their harmonics turn with them."""
        motion = new_from_world.to(self.means)
        turn = motion[:3, :3]
        return replace(
            self,
            means=transform_points(motion, self.means),
            quaternions_wxyz=quaternion_wxyz_from_matrix(turn @ matrix_from_quaternion_wxyz(self.quaternions_wxyz)),
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
        return Splats(
            self.means.to(target),
            self.quaternions_wxyz.to(target),
            self.scales.to(target),
            self.opacities.to(target),
            self.harmonics.to(target),
        )


@dataclass(frozen=True)
class Footprints:
    """n Gaussians in the images of cameras of batch shape b.

    means          [*b, n, 2] pixels
    covariances    [*b, n, 2, 2] square pixels, a pixel's own footprint included
    compensations  [*b, n] in 0..1: what share of a Gaussian's mass it had without that footprint, the rest being what
                   the footprint makes too much of Gaussians smaller than a pixel (Yu et al. 2023, "Mip-Splatting")
    depths         [*b, n] z in metres; where it is less than `NEAR_M`, the rest has no meaning
    """

    means: Float[torch.Tensor, "*b n 2"]
    covariances: Float[torch.Tensor, "*b n 2 2"]
    compensations: Float[torch.Tensor, "*b n"]
    depths: Float[torch.Tensor, "*b n"]

    @property
    def conics(self) -> Float[torch.Tensor, "*b n 3"]:
        """a, b and c of the inverse covariances [[a, b], [b, c]]."""
        xx, xy, yy = self.covariances[..., 0, 0], self.covariances[..., 0, 1], self.covariances[..., 1, 1]
        return torch.stack([yy, -xy, xx], -1) / (xx * yy - xy * xy)[..., None]


def footprints(splats: Splats, cameras: Cameras) -> Footprints:
    """The Gaussians as cameras see them: projected linearly about each one's mean (Zwicker et al. 2001, "EWA").

    Beyond 1.3 times the field of view the line is that at 1.3 times it, since true ones become arbitrarily steep.
    Raises InputError for cameras that are no pinholes.
    """
    cameras.check_pinhole("splats")
    height, width = cameras.hw
    camera_from_world = cameras.camera_from_world
    in_camera = transform_points(camera_from_world, splats.means.expand(*cameras.shape, -1, -1))
    x, y, z = in_camera.unbind(-1)
    in_front = torch.where(z > NEAR_M / 2, z, torch.ones_like(z))
    fx, fy, cx, cy = (cameras.K[..., i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    right, left = (width - cx + _MARGIN * width / 2) / fx, (cx + _MARGIN * width / 2) / fx
    below, above = (height - cy + _MARGIN * height / 2) / fy, (cy + _MARGIN * height / 2) / fy
    tangent = torch.stack([(x / in_front).clamp(-left, right), (y / in_front).clamp(-above, below)], -1)
    # The derivative of the plane's (x/z, y/z): [I, -tangent] / z; K takes it to pixels.
    slope = torch.cat([torch.eye(2).to(tangent).expand(*z.shape, 2, 2), -tangent[..., None]], -1)
    steps = cameras.K[..., None, :2, :2] @ slope / in_front[..., None, None]
    spread = steps @ camera_from_world[..., None, :3, :3] @ splats._half_covariances
    sharp = spread @ spread.transpose(-1, -2)
    blurred = sharp + _BLUR_PX2 * torch.eye(2).to(sharp)
    share = (_determinant(sharp) / _determinant(blurred)).clamp_min(0)
    # The root's slope is infinite at 0, where flat Gaussians seen edge on are.
    compensations = torch.where(share > 0, share, torch.ones_like(share)).sqrt() * (share > 0)
    return Footprints(pixels_of(cameras, in_camera)[0], blurred, compensations, z)


def _determinant(matrix: Float[torch.Tensor, "*b 2 2"]) -> Float[torch.Tensor, "*b"]:
    return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]
