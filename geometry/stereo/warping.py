"""Images looked up where one camera's rays are at given depths: the step that every plane sweep repeats."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.camera.rays import camera_directions, lens_mask, pixel_centers
from geometry.errors import InputError
from geometry.image.checks import single_camera
from geometry.image.coercion import DepthLike, FramesLike, MapsLike, as_depth, as_frames, as_maps
from geometry.image.sampling import sample_at
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Bool, Float
from geometry.values import as_value


@as_value
@dataclass(frozen=True)
class TargetRays:
    """One camera's rays in the axes of k others, for any depth: point / depth = turned + shift * inverse depth.

    sources   [k]
    turned    [k, h*w, 3] the rays' directions (of depth 1)
    shift     [k, 3] the target's center
    shown     [h*w] whether the target's lens shows the pixel at all
    hw        of the target
    """

    sources: Cameras
    turned: Float[Tensor, "k n 3"]
    shift: Float[Tensor, "k 3"]
    shown: Bool[Tensor, "n"]
    hw: tuple[int, int]

    @staticmethod
    def of(sources: Cameras, target: Cameras) -> "TargetRays":
        """Those of a target of batch shape [] or [1] among sources [k]. Raises InputError for other shapes."""
        target = single_camera(target)
        if len(sources.shape) != 1 or len(sources) == 0:
            raise InputError(f"sources of batch shape {tuple(sources.shape)}; expected [k], at least one")
        motion = invert_rigid(sources.world_from_camera) @ target.world_from_camera
        uv = pixel_centers(target.hw, target.K.device, target.K.dtype)
        directions = camera_directions(target, uv).flatten(-3, -2)
        turned = directions @ motion[:, :3, :3].mT
        return TargetRays(sources, turned, motion[:, :3, 3], lens_mask(target).flatten(), target.hw)

    def points(self, inverse: Float[Tensor, "d #n"]) -> Float[Tensor, "d k n 3"]:
        """Points over their depth at inverse depths: directions from the sources' centers, in their axes."""
        return self.turned + self.shift[:, None] * inverse.to(self.turned)[:, None, :, None]

    def looked_up(
        self, images: Float[Tensor, "k c h2 w2"], inverse: Float[Tensor, "d #n"]
    ) -> tuple[Float[Tensor, "d k c n"], Bool[Tensor, "d k n"]]:
        """The images there (bilinear), and whether they show it."""
        points = self.points(inverse)
        uv, depth = pixels_of(self.sources, points.movedim(0, 1).flatten(1, 2))
        uv, depth = (x.unflatten(1, (len(inverse), -1)).movedim(1, 0) for x in (uv, depth))
        size = uv.new_tensor([images.shape[-1], images.shape[-2]])
        inside = (depth > 0) & (uv >= 0).all(-1) & (uv <= size).all(-1) & self.shown
        uv = torch.where(inside[..., None], uv, size / 2)
        found = sample_at(images, uv.movedim(0, 1).flatten(1, 2)).unflatten(-1, (len(inverse), -1)).movedim(-2, 0)
        return found, inside

    def angles(self, inverse: Float[Tensor, "d #n"]) -> Float[Tensor, "d k n"]:
        """The angle there between the rays of the target and of the sources, radians."""
        points = self.points(inverse)
        cosine = (points * self.turned).sum(-1) / (points.norm(dim=-1) * self.turned.norm(dim=-1))
        return cosine.clamp(-1, 1).acos()


def warp_at_inverse_depth(
    images: MapsLike,
    sources: Cameras,
    target: Cameras,
    inverse_depth: DepthLike,
) -> tuple[Float[torch.Tensor, "k c h w"], Bool[torch.Tensor, "k 1 h w"]]:
    """Posed images looked up at one camera's surface points, whether or not something hides those from the sources.

    Unlike `geometry.image.backward_warp` it needs no depth of the sources. Inverse depth has no gap at the sky (0).

    Args:
        images: Images of the sources [k, c, h2, w2].
        sources: Cameras [k], with any lens.
        target: A camera of batch shape [] or [1], of any size, with any lens.
        inverse_depth: 1 / depth of the target's pixels [1, h, w], per metre; 0 = sky.

    Returns:
        The images as seen by the target [k, c, h, w], bilinear, and where the sources show anything [k, 1, h, w];
        elsewhere colors mean nothing.

    Raises:
        InputError: If shapes disagree.
    """
    images = as_maps(images, "images", sources.hw)
    _check_one_each(images, sources)
    rays, inverse_depth = TargetRays.of(sources, target), as_depth(inverse_depth, "inverse_depth", double=True)
    if inverse_depth.shape != (1, *rays.hw):
        raise InputError(f"inverse depth {tuple(inverse_depth.shape)} for a camera of {rays.hw}; expected [1, h, w]")
    found, inside = rays.looked_up(images, inverse_depth.flatten(1))
    return found[0].unflatten(-1, rays.hw), inside[0, :, None].unflatten(-1, rays.hw)


def frames_of(images: FramesLike, sources: Cameras) -> Float[Tensor, "k 3 h w"]:
    """Images of cameras [k] as a tensor (`geometry.as_frames`). Raises InputError unless there is one for each."""
    frames = as_frames(images, "images", double=True)
    _check_one_each(frames, sources)
    return frames


def _check_one_each(images: Tensor, sources: Cameras) -> None:
    if images.ndim != 4 or sources.shape != (len(images),) or tuple(images.shape[-2:]) != sources.hw:
        raise InputError(
            f"images {tuple(images.shape)} for cameras {tuple(sources.shape)} of size {sources.hw}; expected "
            "[k, c, h, w] of that size, one for each camera"
        )
