"""Looking frames up in other frames of their clip, where rays meet given depths: the step all matching repeats.

As `geometry.stereo.warping`, for every frame of a batch of clips at once, in normalized units.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.nn import functional as F

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.camera.rays import camera_directions, pixel_centers
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Bool, Float, Int
from geometry.values import as_value

_NEAREST_Z = 1e-4


@as_value
@dataclass(frozen=True)
class Sources:
    """The frames of clips that others are looked up in.

    index    [b, k] their numbers; clips with fewer of them than others repeat some, which are not allowed
    allowed  [b, f, k] whether a frame may be looked up there: the camera is known, and the order of frames permits it
    """

    index: Int[Tensor, "b k"]
    allowed: Bool[Tensor, "b f k"]

    @staticmethod
    def of(known: Bool[Tensor, "b f"], allowed: Bool[Tensor, "b f f"], most: int) -> "Sources":
        """All frames that are known, at most `most` and at least one; allowed[:, i, j] is whether i may use j."""
        most = min(most, known.shape[1])
        # Of tensors that have shapes but no numbers (`worldgen plan`) as many as there can be.
        count = most if is_fake(known) else min(most, max(1, int(known.sum(1).max())))
        usable = allowed & known[:, None]
        # First those that most frames may use: with an order of frames, later ones never take the place of earlier.
        index = (known + usable.sum(1)).argsort(dim=-1, descending=True, stable=True)[:, :count]
        return Sources(index, usable.gather(2, index[:, None].expand(-1, known.shape[1], -1)))

    def closed(self) -> "Sources":
        """The same, where nothing may be looked up."""
        return Sources(self.index, torch.zeros_like(self.allowed))

    def of_frames(self, values: Float[Tensor, "b f *c"]) -> Float[Tensor, "b k *c"]:
        """The sources' part of something that every frame has."""
        return values[torch.arange(len(values), device=values.device)[:, None], self.index]


@as_value
@dataclass(frozen=True)
class Places:
    """Where m depths of n pixels of f frames lie in k sources.

    position  [b, k, f, m, n, 2] across the sources' images, -1 to 1
    seen      [b, k, f, m, n] 1 where the source shows the place, whether or not something is before it; else 0
    ratio     [b, k, f, m, n] depth in the source over depth in the frame
    """

    position: Float[Tensor, "b k f m n 2"]
    seen: Float[Tensor, "b k f m n"]
    ratio: Float[Tensor, "b k f m n"]

    def of(self, images: Float[Tensor, "b k c h w"]) -> Float[Tensor, "b k c f m n"]:
        """The sources' images there, bilinear."""
        b, _, f, m, _ = self.seen.shape
        grid = rearrange(self.position, "b k f m n c -> (b k) (f m) n c").to(images)
        found = F.grid_sample(images.flatten(0, 1), grid, "bilinear", padding_mode="border", align_corners=False)
        return rearrange(found, "(b k) c (f m) n -> b k c f m n", b=b, f=f, m=m)


@as_value
@dataclass(frozen=True)
class FrameRays:
    """Rays of every frame's h x w pixels in the axes of its sources: point / depth = turned + shift / depth.

    cameras  [b, k] of the sources
    turned   [b, k, f, n, 3]
    shift    [b, k, f, 1, 3]
    """

    sources: Sources
    cameras: Cameras
    turned: Float[Tensor, "b k f n 3"]
    shift: Float[Tensor, "b k f 1 3"]

    @staticmethod
    def of(cameras: Cameras, sources: Sources, hw: tuple[int, int]) -> "FrameRays":
        """Those of the cameras [b, f], with any lens, at another size."""
        frames = cameras.resized(hw)
        batch = torch.arange(cameras.shape[0], device=cameras.K.device)[:, None]
        chosen = cameras[batch, sources.index]
        directions = camera_directions(frames, pixel_centers(hw, frames.K.device, frames.K.dtype)).flatten(-3, -2)
        motion = invert_rigid(chosen.world_from_camera)[:, :, None] @ frames.world_from_camera[:, None]
        turned = directions[:, None] @ motion[..., :3, :3].mT
        return FrameRays(sources, chosen, turned, motion[..., None, :3, 3])

    def places(self, inverse: Float[Tensor, "b f m #n"]) -> Places:
        """Where points at inverse depths lie."""
        points = self.turned[:, :, :, None] + self.shift[:, :, :, None] * inverse[:, None, ..., None]
        if self.cameras.lens is None:
            uv, depth = _pinhole(self.cameras, points)
        else:
            uv, depth = (x.unflatten(2, points.shape[2:5]) for x in pixels_of(self.cameras, points.flatten(2, 4)))
        height, width = self.cameras.hw
        position = uv / uv.new_tensor([width, height]) * 2 - 1
        shown = (depth > _NEAREST_Z) & (position.abs() <= 1).all(-1)
        seen = shown & self.sources.allowed.mT[..., None, None]
        position = torch.where(seen[..., None], position, 0.0)
        return Places(position, seen.to(uv.dtype), depth)

    def cosines(self, inverse: Float[Tensor, "b f m n"]) -> Float[Tensor, "b k f m n"]:
        """Of the angle there between the rays of the frame and of the source."""
        points = self.turned[:, :, :, None] + self.shift[:, :, :, None] * inverse[:, None, ..., None]
        turned = self.turned[:, :, :, None]
        return F.cosine_similarity(points, turned.expand_as(points), -1, 1e-6)


def _pinhole(cameras: Cameras, points: Float[Tensor, "b k f m n 3"]) -> tuple[Tensor, Tensor]:
    """`pixels_of` with one product less over all points."""
    K = cameras.K[:, :, None, None, None]
    x, y, z = points.unbind(-1)
    safe = torch.where(z > _NEAREST_Z, z, 1.0)
    u = (K[..., 0, 0] * x + K[..., 0, 1] * y) / safe + K[..., 0, 2]
    v = (K[..., 1, 0] * x + K[..., 1, 1] * y) / safe + K[..., 1, 2]
    return torch.stack([u, v], -1), z
