"""Multi-view consistency of posed images with depth: how much of each other's pixels they explain."""

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.image.sampling import sample_at
from geometry.shapes import Float

DEPTH_TOLERANCE = 0.1  # standard deviation of relative differences of inverse depth on one surface
COLOR_TOLERANCE = 0.1  # root mean square difference of colors, in 0..1, that counts half
_FLOOR = 0.25  # least inverse depth that differences are relative to: far surfaces and the sky look much the same
_FARTHEST = 1e-3  # inverse depth of the sky


def agreement(
    rgb: Float[torch.Tensor, "*b f 3 h w"],
    inverse: Float[torch.Tensor, "*b f 1 h w"],
    cameras: Cameras,
    hold_depths: bool = False,
) -> Float[torch.Tensor, "*b"]:
    """How well the frames of each clip explain each other by their own depth.

    Each frame's pixels are moved by its depth into each other frame. A pixel scores D C where it falls inside the other
    image, else 0. D = exp(-(d / 0.1)^2 / 2), of the relative difference d between its inverse depth there and the
    other's; it falls fast, so that occluded surfaces are not pulled to what hides them. C = 1 / (1 + (c / 0.1)^2), of
    the root mean square difference c between their colors (Geman and McClure 1987). Colors and depth are looked up
    bilinearly.

    The result is the mean over ordered pairs of frames and all pixels, so depth that hides pixels gains nothing: what
    is occluded or outside scores 0. The true depth's agreement is thus the share of pixels that are visible in both
    frames. What d is relative to carries no gradient: otherwise all depths would shrink, which makes differences small.

    Args:
        rgb: Frames [*b, f, 3, h, w] in 0..1.
        inverse: 1 / z-depth [*b, f, 1, h, w], in units in which the scene is about 1 away; 0 is sky.
        cameras: Cameras [*b, f] of a static scene, in the same units.
        hold_depths: Whether D carries no gradient: then depth learns from colors alone, and is not bent to agree with
            itself.

    Returns:
        The agreement [*b], from 0 to less than 1, differentiable in frames and depth.
    """
    batch, frames = rgb.shape[:-4], rgb.shape[-4]
    rgb, inverse = rgb.reshape(-1, *rgb.shape[-4:]), inverse.reshape(-1, *inverse.shape[-4:])
    cameras = cameras.reshape(len(rgb), frames)
    height, width = cameras.hw
    points = unproject(cameras, 1 / inverse.clamp_min(_FARTHEST)).flatten(-3, -2)
    both = torch.cat([rgb, inverse], 2)
    scores = []
    for shift in range(1, frames):
        other = torch.roll(torch.arange(frames, device=rgb.device), -shift)
        uv, z = project(cameras[:, other], points)
        inside = (z > _FARTHEST) & (uv >= 0).all(-1) & (uv[..., 0] < width) & (uv[..., 1] < height)
        at = torch.where(inside[..., None], uv, uv.new_tensor([width, height]) / 2)
        found = sample_at(both[:, other], at).unflatten(-1, (height, width))
        there = 1 / torch.where(inside, z, 1.0).view_as(found[:, :, 3])
        tolerance = DEPTH_TOLERANCE * torch.maximum(found[:, :, 3], there).detach().clamp_min(_FLOOR)
        depth = ((found[:, :, 3] - there) / tolerance).square()
        color = (found[:, :, :3] - rgb).square().mean(2) / COLOR_TOLERANCE**2
        same = torch.exp(-depth / 2)
        score = (same.detach() if hold_depths else same) / (1 + color)
        scores.append((score * inside.view_as(score)).mean((1, 2, 3)))
    return torch.stack(scores).mean(0).reshape(batch)
