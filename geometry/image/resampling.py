"""Images as another camera at the same position would have taken them: undistortion, and any other change of lens."""

from collections.abc import Iterator

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.camera.rays import camera_directions, lens_mask, pixel_centers
from geometry.errors import InputError
from geometry.image.coercion import MapsLike, as_maps
from geometry.image.sampling import sample_across
from geometry.shapes import Bool, Float

_PIXELS_AT_ONCE = 2**15


def resampling_map(
    source: Cameras, target: Cameras
) -> tuple[Float[torch.Tensor, "*b h w 2"], Bool[torch.Tensor, "*b 1 h w"]]:
    """Where the targets' pixels lie in the sources' images.

    Args:
        source: Cameras of batch shape b.
        target: Cameras of batch shape b at the same positions, with any rotation, lens and size.

    Returns:
        Pixel positions (u, v) in the sources [*b, h, w, 2], and whether the sources show them [*b, 1, h, w].

    Raises:
        InputError: If batch shapes or positions differ.
    """
    positions, shown = zip(*_by_rows(source, target))
    return torch.cat(positions, -3), torch.cat(shown, -2)


def _by_rows(source: Cameras, target: Cameras) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`resampling_map`, some rows at a time: what a lens computes on the way then stays in the processor's cache."""
    if source.shape != target.shape:
        raise InputError(
            f"resampling from cameras {tuple(source.shape)} to {tuple(target.shape)}; expected the same batch shape"
        )
    apart = (source.centers - target.centers).norm(dim=-1)
    if bool((apart > 1e-5 * (1 + source.centers.norm(dim=-1))).any()):
        raise InputError(f"resampling between cameras {float(apart.max()):g} m apart; expected the same position")
    turn = source.world_from_camera[..., :3, :3].mT @ target.world_from_camera[..., :3, :3]
    size = turn.new_tensor([source.hw[1], source.hw[0]])
    lens_shows = lens_mask(target)
    rows = max(1, _PIXELS_AT_ONCE // (target.hw[1] * max(1, target.shape.numel())))
    centers = pixel_centers(target.hw, target.K.device, target.K.dtype)
    for uv, lens_row in zip(centers.split(rows), lens_shows.split(rows, -2)):
        found, depth = pixels_of(source, camera_directions(target, uv).flatten(-3, -2) @ turn.mT)
        u, v = found.unbind(-1)  # reductions over two numbers take longer
        inside = (depth > 0) & (u >= 0) & (u <= size[0]) & (v >= 0) & (v <= size[1])
        yield found.unflatten(-2, uv.shape[:2]), inside.unflatten(-1, (1, *uv.shape[:2])) & lens_row


def resample(
    images: MapsLike, source: Cameras, target: Cameras
) -> tuple[Float[torch.Tensor, "*b c h2 w2"], Bool[torch.Tensor, "*b 1 h2 w2"]]:
    """The images that the targets would have taken instead of the sources.

    Bilinear, computed in float64, not prefiltered: to shrink an image, resize it with its own lens first.

    Args:
        images: Images of the sources [*b, c, h, w].
        source: Cameras of batch shape b.
        target: Cameras of batch shape b at the same positions, with any rotation, lens and size.

    Returns:
        Images of the targets [*b, c, h2, w2], and which pixels are known [*b, 1, h2, w2]; the others are 0.

    Raises:
        InputError: If batch shapes or positions differ.
    """
    images = as_maps(images, "resampling: images", source.hw)
    source, target, exact = source.to(torch.float64), target.to(torch.float64), images.double()
    parts, masks = [], []
    for uv, known in _by_rows(source, target):
        position, whole = 2 * uv / uv.new_tensor([source.hw[1], source.hw[0]]) - 1, bool(known.all())
        position = position if whole else torch.where(known.movedim(-3, -1), position, 0.0)
        sampled = sample_across(exact, position.flatten(-3, -2)).unflatten(-1, uv.shape[-3:-1])
        parts.append((sampled if whole else torch.where(known, sampled, 0.0)).to(images.dtype))
        masks.append(known)
    return torch.cat(parts, -2), torch.cat(masks, -2)


def undistort(
    images: MapsLike, cameras: Cameras
) -> tuple[Float[torch.Tensor, "*b c h w"], Cameras, Bool[torch.Tensor, "*b 1 h w"]]:
    """The images that pinholes of the same poses, K and size would have taken.

    Near the axis nothing moves. A fisheye's pinhole image shows less than the fisheye does; a panorama's shows what is
    ahead. Images of cameras without lenses are returned as they are.

    Args:
        images: Images [*b, c, h, w].
        cameras: Their cameras, of batch shape b.

    Returns:
        The images [*b, c, h, w], the pinhole cameras, and which pixels are known [*b, 1, h, w]: those that the lens
        shows inside its image. The others are 0.
    """
    images = as_maps(images, "undistorting: images", cameras.hw)
    if cameras.lens is None:
        known = torch.ones(*cameras.shape, 1, *cameras.hw, dtype=torch.bool, device=images.device)
        return images, cameras, known
    pinholes = cameras.pinholes()
    flat, known = resample(images, cameras, pinholes)
    return flat, pinholes, known
