"""Images as another camera in the same place would have taken them: undistortion, and any other change of lens."""

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.camera.rays import camera_directions, lens_mask, pixel_centers
from geometry.errors import InputError
from geometry.image.sampling import sample_across
from geometry.shapes import Bool, Float


def resampling_map(
    source: Cameras, target: Cameras
) -> tuple[Float[torch.Tensor, "*b h w 2"], Bool[torch.Tensor, "*b 1 h w"]]:
    """Where in the sources' images the targets' pixels lie, in the sources' pixels, and which are shown there.

    Both have one batch shape; each target stands where its source does, turned any way, with any lens and size.
    Raises InputError for batch shapes or places that differ.
    """
    if source.shape != target.shape:
        raise InputError(
            f"resampling from cameras {tuple(source.shape)} to {tuple(target.shape)}; expected the same batch shape"
        )
    apart = (source.centers - target.centers).norm(dim=-1)
    if bool((apart > 1e-5 * (1 + source.centers.norm(dim=-1))).any()):
        raise InputError(f"resampling between cameras {float(apart.max()):g} m apart; expected ones in the same place")
    uv = pixel_centers(target.hw, target.K.device, target.K.dtype)
    turn = source.world_from_camera[..., :3, :3].mT @ target.world_from_camera[..., :3, :3]
    found, depth = pixels_of(source, camera_directions(target, uv).flatten(-3, -2) @ turn.mT)
    inside = (depth > 0) & (found >= 0).all(-1) & (found <= found.new_tensor([source.hw[1], source.hw[0]])).all(-1)
    return found.unflatten(-2, target.hw), inside.unflatten(-1, (1, *target.hw)) & lens_mask(target)


def resample(
    images: Float[torch.Tensor, "*b c h w"], source: Cameras, target: Cameras
) -> tuple[Float[torch.Tensor, "*b c h2 w2"], Bool[torch.Tensor, "*b 1 h2 w2"]]:
    """What the targets would have taken instead of the sources, and which pixels are known; the others are 0.

    Bilinear, computed in float64, not prefiltered: shrink an image by its own lens first. Raises InputError as
    `resampling_map` does.
    """
    uv, known = resampling_map(source.to(torch.float64), target.to(torch.float64))
    position = torch.where(known.movedim(-3, -1), 2 * uv / uv.new_tensor([source.hw[1], source.hw[0]]) - 1, 0.0)
    sampled = sample_across(images.double(), position.flatten(-3, -2)).unflatten(-1, target.hw)
    return torch.where(known, sampled, 0.0).to(images.dtype), known


def undistort(
    images: Float[torch.Tensor, "*b c h w"], cameras: Cameras
) -> tuple[Float[torch.Tensor, "*b c h w"], Cameras, Bool[torch.Tensor, "*b 1 h w"]]:
    """The images that pinholes of the same poses, K and size would have taken, those cameras, and which pixels are
    known (the others are 0): what a lens does not show, or shows outside of its image, is not.

    Near the axis nothing moves. A fisheye's pinhole image shows less than the fisheye does; of a panorama it shows
    what is ahead. Without lenses the images come back as they are.
    """
    if cameras.lens is None:
        known = torch.ones(*cameras.shape, 1, *cameras.hw, dtype=torch.bool, device=images.device)
        return images, cameras, known
    pinholes = cameras.pinholes()
    flat, known = resample(images, cameras, pinholes)
    return flat, pinholes, known
