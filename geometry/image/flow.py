"""Optical flow (pixels) and scene flow (metres), from depth and motion."""

import torch
from einops import rearrange

from geometry.camera.cameras import Cameras
from geometry.camera.projection import unproject
from geometry.camera.rays import camera_directions, pixel_centers
from geometry.errors import InputError
from geometry.image.coercion import MapsLike, as_maps
from geometry.image.depth import depth_at
from geometry.image.sampling import sample_at
from geometry.image.warping import points_or_sky, project_or_sky
from geometry.rotation.transforms import transform_points
from geometry.shapes import Bool, Float


def flow_from_depth(
    depth: Float[torch.Tensor, "*b 1 h w"],
    source: Cameras,
    target: Cameras,
    scene_flow: Float[torch.Tensor, "*b 3 h w"] | None = None,
) -> tuple[Float[torch.Tensor, "*b 2 h w"], Bool[torch.Tensor, "*b 1 h w"]]:
    """Optical flow of each source pixel's surface point, from depth and cameras.

    Sky (inf) moves by direction. Differentiable in depth, cameras and scene flow.

    Args:
        depth: Depth of the source [*b, 1, h, w] in metres.
        source: Cameras of batch shape b.
        target: Cameras of batch shape b, of any size.
        scene_flow: How far the points move in the world until the target is taken [*b, 3, h, w], metres; by default
            they do not move.

    Returns:
        The flow [*b, 2, h, w] in pixels, and where it is defined [*b, 1, h, w]: where depth is known and the point is
        in front of the target, inside its image or not. Elsewhere flow is 0.

    Raises:
        InputError: If shapes disagree.
    """
    if depth.shape[:-3] != source.shape or source.shape != target.shape or tuple(depth.shape[-2:]) != source.hw:
        raise InputError(
            f"flow: depth {tuple(depth.shape)}, cameras {tuple(source.shape)} of size {source.hw} and "
            f"{tuple(target.shape)}; expected [*b, 1, h, w] and [b] twice"
        )
    points, sky = (part.reshape(*depth.shape[:-3], -1, *part.shape[1:]) for part in points_or_sky(depth, source))
    if scene_flow is not None:
        points = points + torch.where(sky[..., None], 0.0, rearrange(scene_flow, "... c h w -> ... (h w) c"))
    uv, z = project_or_sky(target, points, sky)
    valid = (rearrange(depth, "... 1 h w -> ... (h w)") > 0) & (z > 0)
    start = pixel_centers(source.hw, uv.device, uv.dtype).flatten(0, 1)
    flow = torch.where(valid[..., None], uv - start, 0.0)
    return flow.mT.unflatten(-1, source.hw), valid[..., None, :].unflatten(-1, source.hw)


def scene_flow_from_flow_and_depths(
    flow: Float[torch.Tensor, "*b 2 h w"],
    source_depth: Float[torch.Tensor, "*b 1 h w"],
    target_depth: Float[torch.Tensor, "*b 1 h2 w2"],
    source: Cameras,
    target: Cameras,
) -> tuple[Float[torch.Tensor, "*b 3 h w"], Bool[torch.Tensor, "*b 1 h w"]]:
    """Scene flow of each source pixel's surface point, from its optical flow and the depths at both ends.

    It is the motion to whatever the target shows there: check with `forward_backward_visible` that it is the same
    point. Differentiable in everything.

    Args:
        flow: Optical flow from the source to the target [*b, 2, h, w], pixels.
        source_depth: Depth of the source [*b, 1, h, w] in metres.
        target_depth: Depth of the target [*b, 1, h2, w2] in metres.
        source: Cameras of batch shape b.
        target: Cameras of batch shape b.

    Returns:
        The motion in the world [*b, 3, h, w] in metres, and where it is defined [*b, 1, h, w]: where both depths are
        known and finite and the flow ends inside the target's image. Elsewhere it is 0.
    """
    uv = _ends(flow)
    height, width = target.hw
    inside = ((uv >= 0) & (uv <= uv.new_tensor([width, height]))).all(-1)
    there, known = depth_at(target_depth, uv.flatten(-3, -2))
    before = rearrange(source_depth, "... 1 h w -> ... (h w)")
    valid = inside.flatten(-2) & known & there.isfinite() & (before > 0) & before.isfinite()
    mask = valid.unflatten(-1, source.hw)
    start = unproject(source, torch.where(mask[..., None, :, :], source_depth, 1.0))
    rays = camera_directions(target, uv).flatten(-3, -2) * torch.where(valid, there, 1.0)[..., None]
    end = transform_points(target.world_from_camera, rays).unflatten(-2, source.hw)
    moved = torch.where(mask[..., None], end - start, 0.0)
    return moved.movedim(-1, -3), mask[..., None, :, :]


def warp_by_flow(
    image: MapsLike, flow: Float[torch.Tensor, "*b 2 h w"]
) -> tuple[Float[torch.Tensor, "*b c h w"], Bool[torch.Tensor, "*b 1 h w"]]:
    """An image looked up at the ends of a flow from another one, bilinearly.

    Args:
        image: The image that the flow leads to [*b, c, h2, w2].
        flow: Optical flow [*b, 2, h, w], pixels.

    Returns:
        The image as seen from where the flow starts [*b, c, h, w], and where the flow ends between the centers of its
        pixels [*b, 1, h, w]; beyond them the border is repeated.
    """
    image = as_maps(image, "warp by flow: image")
    uv = _ends(flow)
    height, width = image.shape[-2:]
    slack = 1e-6 * max(height, width)  # a flow of 0 must not leave the image by rounding
    low, high = uv.new_tensor([0.5, 0.5]) - slack, uv.new_tensor([width - 0.5, height - 0.5]) + slack
    inside = ((uv >= low) & (uv <= high)).all(-1)
    found = sample_at(image, uv.flatten(-3, -2))
    return found.unflatten(-1, tuple(flow.shape[-2:])), inside[..., None, :, :]


def forward_backward_visible(
    flow: Float[torch.Tensor, "*b 2 h w"],
    back: Float[torch.Tensor, "*b 2 h2 w2"],
    relative: float = 0.01,
    absolute: float = 0.5,
) -> Bool[torch.Tensor, "*b 1 h w"]:
    """The pixels that are still visible where their flow ends: those that the opposite flow brings back.

    |flow + back|^2 < relative (|flow|^2 + |back|^2) + absolute, with `back` looked up where the flow ends (Sundaram et
    al. 2010, eq. 5).

    Args:
        flow: Optical flow to the other image [*b, 2, h, w], pixels.
        back: Optical flow of the other image [*b, 2, h2, w2], pixels.
        relative: The tolerance relative to the squared flows.
        absolute: The tolerance in squared pixels.

    Returns:
        A mask [*b, 1, h, w]; flows that end outside the other image are not visible.
    """
    returned, inside = warp_by_flow(back, flow)
    lengths = flow.square().sum(-3, keepdim=True) + returned.square().sum(-3, keepdim=True)
    return inside & ((flow + returned).square().sum(-3, keepdim=True) < relative * lengths + absolute)


def _ends(flow: torch.Tensor) -> torch.Tensor:
    """The pixel positions [*b, h, w, 2] that flow leads to."""
    height, width = flow.shape[-2:]
    return pixel_centers((height, width), flow.device, flow.dtype) + rearrange(flow, "... c h w -> ... h w c")
