"""How cameras see each Gaussian: an ellipse in the image, by linear projection about its mean."""

from dataclasses import dataclass

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.gaussians.splats import Splats
from geometry.rotation.transforms import transform_points
from geometry.shapes import Float
from geometry.values import as_value

NEAR_M = 0.01
_BLUR_PX2 = 0.3  # variance of a pixel's own footprint
_MARGIN = 0.3  # of half the field of view: how far outside the image the projection is linearized


@as_value
@dataclass(frozen=True)
class Footprints:
    """n Gaussians in the images of cameras of batch shape b.

    Attributes:
        means: [*b, n, 2] pixels.
        covariances: [*b, n, 2, 2] square pixels, a pixel's own footprint included.
        compensations: [*b, n] in 0..1, the share of a Gaussian's mass without that footprint; the rest is what the
            footprint adds to Gaussians smaller than a pixel (Yu et al. 2023, "Mip-Splatting").
        depths: [*b, n] z in metres; where it is less than `NEAR_M`, the rest has no meaning.
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
    """Project Gaussians linearly about each one's mean (Zwicker et al. 2001, "EWA Volume Splatting").

    Beyond 1.3 times the field of view the slope is that at 1.3 times it, since true slopes become arbitrarily steep.

    Args:
        splats: n Gaussians.
        cameras: pinhole cameras of batch shape b.

    Returns:
        The Gaussians in the images of all cameras.

    Raises:
        InputError: cameras with a lens other than a pinhole.
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
    spread = steps @ camera_from_world[..., None, :3, :3] @ splats.half_covariances
    sharp = spread @ spread.transpose(-1, -2)
    blurred = sharp + _BLUR_PX2 * torch.eye(2).to(sharp)
    share = (_determinant(sharp) / _determinant(blurred)).clamp_min(0)
    # The root's slope is infinite at 0, where flat Gaussians seen edge on are.
    compensations = torch.where(share > 0, share, torch.ones_like(share)).sqrt() * (share > 0)
    return Footprints(pixels_of(cameras, in_camera)[0], blurred, compensations, z)


def _determinant(matrix: Float[torch.Tensor, "*b 2 2"]) -> Float[torch.Tensor, "*b"]:
    return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]
