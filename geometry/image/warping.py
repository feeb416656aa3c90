"""Images moved between cameras by their depth: forward and backward warping, visibility, filling."""

from dataclasses import replace

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.camera.rays import pixel_map, ray_map, world_from_pixel
from geometry.errors import InputError
from geometry.image.checks import checked_frames, single_camera
from geometry.image.coercion import DepthLike, DepthsLike, FramesLike, MapsLike, as_depth, as_depths, as_maps
from geometry.image.depth import depth_at
from geometry.image.sampling import sample_at
from geometry.rotation.transforms import transform_points
from geometry.shapes import Bool, Float

_FREE = torch.iinfo(torch.int64).max


def forward_warp(
    rgb: FramesLike,
    depth: DepthsLike,
    sources: Cameras,
    target: Cameras,
) -> tuple[Float[torch.Tensor, "3 h2 w2"], Float[torch.Tensor, "1 h2 w2"], Bool[torch.Tensor, "1 h2 w2"]]:
    """The pixels of posed images with depth, moved into one camera.

    Each source pixel moves to the target pixel its center projects into. The nearest wins, and among equals the first
    in the order of frames, rows and columns, so the result does not depend on the device. Sky (inf) moves by direction
    and lies behind everything; unknown depth (0) does not move.

    Args:
        rgb: Images of the sources [f, 3, h, w], of any range (`geometry.as_frames`).
        depth: Their depth [f, 1, h, w] in metres.
        sources: Cameras [f].
        target: A camera of batch shape [] or [1], of any size.

    Returns:
        The image [3, h2, w2], its depth [1, h2, w2] in metres, and which pixels anything fell into [1, h2, w2]; the
        others have color and depth 0.

    Raises:
        InputError: If shapes disagree.
    """
    rgb, depth = checked_frames("warp", rgb, depth, sources, beyond=torch.inf)
    target = single_camera(target)
    height, width = target.hw
    u, v, z = _places(depth, sources, target)
    falls = (z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height) & (depth > 0).flatten()
    nowhere = height * width
    pixel = torch.where(falls, v.int() * width + u.int(), nowhere).long()
    # The bits of a positive float order as the float does: depth first, then the pixel's place in the sources.
    key = (z.float().view(torch.int32).long() << 32) | torch.arange(len(z), device=z.device)
    best = torch.full((nowhere + 1,), _FREE, device=key.device).scatter_reduce(0, pixel, key, "amin")[:nowhere]
    visible = best != _FREE
    winner = torch.where(visible, best & 0xFFFFFFFF, 0)
    colors = rgb.movedim(1, 0).flatten(1).index_select(1, winner) * visible
    depths = torch.where(visible, z.index_select(0, winner), 0.0)
    return colors.view(-1, height, width), depths.view(1, height, width), visible.view(1, height, width)


def _places(
    depth: Float[torch.Tensor, "f 1 h w"], sources: Cameras, target: Cameras
) -> tuple[Float[torch.Tensor, "n"], Float[torch.Tensor, "n"], Float[torch.Tensor, "n"]]:
    """Where the pixels of cameras fall in another one: u, v and depth, in the order of frames, rows and columns."""
    if sources.lens is not None or target.lens is not None:
        uv, z = project_or_sky(target, *points_or_sky(depth, sources))
        return uv[:, 0], uv[:, 1], z
    # Between pinholes: pixels at depth 1 by one matrix, times their depth, plus the translation unless they are sky.
    turn = target.K @ target.camera_from_world[:3, :3] @ world_from_pixel(sources)
    shift = (target.K @ transform_points(target.camera_from_world, sources.centers)[..., None])[..., None]
    sky = depth.isinf()
    seen = torch.addcmul(shift * ~sky, pixel_map(turn, sources.hw), torch.where(sky, 1.0, depth.to(turn)))
    x, y, z = seen.movedim(-3, 0).flatten(1)
    inverse = 1 / z
    far = torch.where(z > 0, torch.inf, -torch.inf).to(z)
    return x * inverse, y * inverse, torch.where(sky.flatten(), far, z)


def project_or_sky(
    cameras: Cameras, points: Float[torch.Tensor, "*b n 3"], sky: Bool[torch.Tensor, "*#b n"]
) -> tuple[Float[torch.Tensor, "*b n 2"], Float[torch.Tensor, "*b n"]]:
    """`project`, with directions to infinity instead of points where `sky`: only the camera's rotation moves those.

    Their depth is inf, or -inf behind the camera.
    """
    uv, z = project(cameras, points)
    turned = cameras.world_from_camera.clone()
    turned[..., :3, 3] = 0
    far_uv, far_z = project(replace(cameras, world_from_camera=turned), points)
    far = torch.where(far_z > 0, torch.inf, -torch.inf).to(z)
    return torch.where(sky[..., None], far_uv, uv), torch.where(sky, far, z)


def points_or_sky(
    depth: Float[torch.Tensor, "*b 1 h w"], cameras: Cameras
) -> tuple[Float[torch.Tensor, "n 3"], Bool[torch.Tensor, "n"]]:
    """All pixels' world points, or unit directions where a pixel is sky, and which ones are sky."""
    sky = depth.isinf().movedim(-3, -1)
    points = unproject(cameras, torch.where(depth.isfinite(), depth, torch.ones_like(depth)))
    return torch.where(sky, ray_map(cameras)[1], points).flatten(0, -2), sky.flatten()


def fill_nearest(
    rgb: Float[torch.Tensor, "*b c h w"], visible: Bool[torch.Tensor, "*b 1 h w"]
) -> Float[torch.Tensor, "*b c h w"]:
    """Pixels that are not visible get the values of the nearest one that is.

    Exact Euclidean distance (Maurer et al. 2003, by SciPy on the CPU, in linear time); among equals the upper, then the
    left one.

    Args:
        rgb: Images [*b, c, h, w].
        visible: Which pixels are visible [*b, 1, h, w].

    Returns:
        The images filled [*b, c, h, w]; those without any visible pixel are unchanged.
    """
    if bool(visible.all()):
        return rgb
    from scipy.ndimage import distance_transform_edt

    height, width = rgb.shape[-2:]
    seen = visible.expand(*rgb.shape[:-3], 1, height, width).flatten(0, -4)[:, 0] if rgb.ndim > 3 else visible
    source = torch.arange(height * width).repeat(len(seen), 1)
    for place, mask in zip(source, seen.cpu()):
        if bool(mask.any()):
            # Transposed, its choice among equals is the upper, then the left one.
            indices = distance_transform_edt(~mask.T.numpy(), return_distances=False, return_indices=True)
            assert indices is not None, "no indices of the nearest pixels; expected SciPy to return what was asked"
            column, row = indices
            place.copy_(torch.from_numpy(row.T * width + column.T).flatten())
    source = source.view(*rgb.shape[:-3], 1, -1).to(rgb.device).expand(*rgb.shape[:-2], -1)
    return rgb.flatten(-2).gather(-1, source).unflatten(-1, (height, width))


def backward_visible(
    depth: DepthLike,
    target: Cameras,
    source_depth: DepthsLike,
    sources: Cameras,
    tolerance: float = 0.02,
) -> Bool[torch.Tensor, "f h w"]:
    """Which pixels of one camera show surface points that are visible in other images.

    A point is visible if it falls inside the other image and that image's depth there agrees. The depth there is the
    nearest pixel's, or the bilinear mean of inverse depths, which is exact on planes however slanted: either may agree.
    Sky (inf) is visible if its direction falls on a sky pixel; unknown depth (0) is visible nowhere and hides nothing.

    Args:
        depth: Depth of the target [1, h, w] in metres.
        target: A camera of batch shape [] or [1].
        source_depth: Depth of the sources [f, 1, h2, w2] in metres.
        sources: Cameras [f].
        tolerance: How much depths may differ, relative to the source's depth.

    Returns:
        For each source, a mask of the target's pixels [f, h, w].

    Raises:
        InputError: If shapes disagree.
    """
    return _located(depth, target, source_depth, sources, tolerance)[1]


def backward_warp(
    rgb: MapsLike,
    depth: DepthLike,
    target: Cameras,
    source_depth: DepthsLike,
    sources: Cameras,
    tolerance: float = 0.02,
) -> tuple[Float[torch.Tensor, "f c h w"], Bool[torch.Tensor, "f h w"], Float[torch.Tensor, "f h w 2"]]:
    """Posed images looked up at the surface points of one camera's pixels, by that camera's own depth.

    Args:
        rgb: Images of the sources [f, c, h2, w2].
        depth: Depth of the target [1, h, w] in metres.
        target: A camera of batch shape [] or [1].
        source_depth: Depth of the sources [f, 1, h2, w2] in metres.
        sources: Cameras [f].
        tolerance: How much depths may differ where a point is visible (`backward_visible`).

    Returns:
        The images as seen by the target [f, c, h, w], bicubic; which pixels are visible in each source [f, h, w],
        without which colors mean nothing; and the positions (u, v) looked up [f, h, w, 2], in pixels of the sources.

    Raises:
        InputError: If shapes disagree.
    """
    rgb = as_maps(rgb, "warp: rgb")
    if rgb.ndim != 4 or rgb.shape[0] != len(sources) or tuple(rgb.shape[-2:]) != sources.hw:
        raise InputError(
            f"warp: images {tuple(rgb.shape)} for {len(sources)} cameras of size {sources.hw}; expected one each"
        )
    uv, visible = _located(depth, target, source_depth, sources, tolerance)
    middle = uv.new_tensor([sources.hw[1], sources.hw[0]]) / 2
    at = torch.where(visible[..., None], uv, middle)
    sampled = sample_at(rgb, at.flatten(-3, -2), "bicubic").unflatten(-1, tuple(uv.shape[1:3]))
    return sampled, visible, uv


def _located(
    depth: DepthLike, target: Cameras, source_depth: DepthsLike, sources: Cameras, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the surface points of one camera's pixels fall in the sources [f, h, w, 2], and are visible [f, h, w]."""
    target = single_camera(target)
    depth, source_depth = (
        as_depth(depth, "visibility: depth", double=True),
        as_depths(source_depth, "visibility: source_depth", double=True),
    )
    frames, hw = len(sources), target.hw
    if depth.shape != (1, *hw) or source_depth.shape != (frames, 1, *sources.hw):
        raise InputError(
            f"visibility: depth {tuple(depth.shape)} for size {hw}, source depth {tuple(source_depth.shape)} for "
            f"{frames} cameras of size {sources.hw}; expected [1, h, w] and [f, 1, h, w] of the cameras' sizes"
        )
    points, sky = points_or_sky(depth, target)
    uv, z = project_or_sky(sources, points.expand(frames, -1, -1), sky)
    inside = (z > 0) & ((uv >= 0) & (uv < uv.new_tensor([sources.hw[1], sources.hw[0]]))).all(-1)
    inside &= (depth > 0).flatten()
    at = torch.where(inside[..., None], uv, torch.zeros_like(uv))
    agrees = torch.zeros_like(inside)
    for mode in ("nearest", "bilinear"):
        there, known = depth_at(source_depth, at, mode)
        agrees |= known & torch.where(sky, there.isinf(), (z / there - 1).abs() <= tolerance)
    return uv.unflatten(-2, hw), (inside & agrees).unflatten(-1, hw)
