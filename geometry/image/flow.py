"""Optical flow (pixels) and scene flow (metres): from depth and motion, and back."""

import torch
from einops import rearrange

from geometry.camera.cameras import Cameras
from geometry.camera.projection import unproject
from geometry.camera.rays import camera_directions, pixel_centers
from geometry.errors import InputError
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
    """How far, in pixels, each source pixel's surface point is from there in the target's image, and where that is
    defined: where depth (metres) is known and the target has the point in front of it, be it in the image or not.

    scene_flow  what the points move by themselves until the target is taken, in the world, metres (default: nothing)

    Sky (inf) moves by direction. Elsewhere flow is 0. Differentiable in depth, cameras and scene flow. Both cameras
    have batch shape b. Raises InputError when shapes disagree.
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
    """How far, in the world and metres, each source pixel's surface point moves until the target is taken, by where
    flow (pixels) says that it is and the target's depth there; and where that is defined.

    That is where both depths are known and finite and the flow ends inside the target's image; elsewhere it is 0. It
    is the motion of what the target shows there: check with `forward_backward_visible` that it is the same.
    Differentiable in all of them.
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
    image: Float[torch.Tensor, "*b c h2 w2"], flow: Float[torch.Tensor, "*b 2 h w"]
) -> tuple[Float[torch.Tensor, "*b c h w"], Bool[torch.Tensor, "*b 1 h w"]]:
    """What an image shows where flow (pixels) from another one leads, bilinearly, and where that is between the
    centers of its pixels; beyond them its border goes on."""
    uv = _ends(flow)
    height, width = image.shape[-2:]
    slack = 1e-6 * max(height, width)  # a flow of nothing must not leave the image by rounding
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
    """Which pixels are still seen where their flow leads: those that the other image's flow brings back.

    |flow + back|^2 < relative (|flow|^2 + |back|^2) + absolute, `back` taken where flow leads, all in pixels (Sundaram
    et al. 2010, eq. 5), and inside the other image.
    """
    returned, inside = warp_by_flow(back, flow)
    lengths = flow.square().sum(-3, keepdim=True) + returned.square().sum(-3, keepdim=True)
    return inside & ((flow + returned).square().sum(-3, keepdim=True) < relative * lengths + absolute)


def _ends(flow: torch.Tensor) -> torch.Tensor:
    """The pixel positions [*b, h, w, 2] that flow leads to."""
    height, width = flow.shape[-2:]
    return pixel_centers((height, width), flow.device, flow.dtype) + rearrange(flow, "... c h w -> ... h w c")
