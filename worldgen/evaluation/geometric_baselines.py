"""Baselines without learning that use where and when the known frames were taken: the ones a model has to beat.

Like the blind ones (`worldgen.evaluation.baselines`) they are given the known images, cameras and times, no depth and
nothing of the targets but their cameras and times. Plane sweeps and warps take the world for still.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.shapes import Float
from geometry.stereo import inverse_depth_planes, nearest_depth, sweep_view, warp_at_inverse_depth
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.core.view_distance import angle_plus_distance
from worldgen.evaluation.baselines import Views
from worldgen.evaluation.metrics.pose import blurred

PLANES = 64
NEARER = 0.8  # of the nearest depth that the known images agree on; chosen on scenes of seed 1, as the blur is
BLUR_PX = 1.5  # of a warped plane, at 64 px
ANGLE_RAD = 0.35


def plane_sweep(known: Clip, targets: Cameras, on_view: Callable[[], None] = lambda: None) -> dict[str, Views]:
    """A 64-plane sweep of each target: colors at the best depth, and "soft": expected over all depths.

    Planes are evenly spaced in inverse depth, from the nearest depth that the known images agree on to infinity. What
    no known image shows takes their mean color. Empty where there is no baseline: one known frame, or all in one place.
    `on_view` is called after each target.
    """
    clips, count = targets.shape
    if not _baseline(known):
        return {}
    hard, soft, depth, seen = [], [], [], []
    for b in range(clips):
        rgb, cameras = known.rgb[b].float(), known.cameras[b]
        planes = inverse_depth_planes(NEARER * nearest_depth(rgb, cameras), math.inf, PLANES)
        views = []
        for t in range(count):
            views.append(sweep_view(rgb, cameras, targets[b, t], planes))
            on_view()
        mean = rgb.mean((0, 2, 3))[:, None, None]
        hard.append(torch.stack([torch.where(view.seen, view.rgb, mean) for view in views]))
        soft.append(torch.stack([torch.where(view.seen, view.expected_rgb, mean) for view in views]))
        depth.append(torch.stack([view.depth for view in views]))
        seen.append(torch.stack([view.seen for view in views]).float())
    looked_up = torch.stack(seen)
    return {
        "plane sweep": Views(torch.stack(hard).clamp(0, 1), torch.stack(depth), looked_up),
        "plane sweep, soft": Views(torch.stack(soft).clamp(0, 1), looked_up=looked_up),
    }


def plane_warp(known: Clip, targets: Cameras) -> dict[str, Views]:
    """The known images on one plane before each target, at the distance the cameras look at, blended by angle, blurred.

    Empty where all cameras are in one place, which fixes no distance.
    """
    if not _baseline(known):
        return {}
    clips, count = targets.shape
    views = [[_warped(known[b], targets[b, t]) for t in range(count)] for b in range(clips)]
    return {"plane warp, blurred": Views(torch.stack([torch.stack(row) for row in views]))}


def _warped(known: Clip, target: Cameras) -> Float[Tensor, "3 h w"]:
    everything = Cameras.cat([known.cameras, target[None]])
    distance = float(scene_scale_from_cameras(everything))
    inverse = torch.full((1, *target.hw), 1 / distance)
    colors, inside = warp_at_inverse_depth(known.rgb.float(), known.cameras, target, inverse)
    apart = angle_plus_distance(target[None], known.cameras, distance)[0]
    weight = (-(apart / ANGLE_RAD).square() / 2).exp().clamp_min(1e-4)[:, None, None, None] * inside
    mean = known.rgb.mean((0, 2, 3))[:, None, None]
    blend = torch.where(inside.any(0), (weight * colors).sum(0) / weight.sum(0).clamp_min(1e-9), mean)
    return blurred(blend, BLUR_PX * target.hw[0] / 64).clamp(0, 1)


def blend_in_time(known: Clip, targets: Cameras) -> dict[str, Views]:
    """The known frames just before and after each target's time, mixed in proportion; outside their times the nearest.

    Empty where all known frames are of one time.
    """
    times, wanted = known.cameras.time_s, targets.time_s
    if not bool((times != times[:, :1]).any()):
        return {}
    order = times.argsort(stable=True, dim=-1)
    times = times.gather(-1, order)
    after = torch.searchsorted(times, wanted.contiguous()).clamp(1, times.shape[-1] - 1)
    early, late = (times.gather(-1, index) for index in (after - 1, after))
    share = ((wanted - early) / (late - early).clamp_min(1e-9)).clamp(0, 1)[..., None, None, None]
    clips = torch.arange(len(known.rgb))[:, None]
    first, second = (known.rgb[clips, order.gather(-1, index)] for index in (after - 1, after))
    return {"blend in time": Views(torch.lerp(first, second, share))}


def _baseline(known: Clip) -> bool:
    """Whether all clips have cameras in more than one place."""
    centers = known.cameras.centers
    spread = (centers - centers.mean(-2, keepdim=True)).norm(dim=-1).amax(-1)
    return len(known) > 1 and bool((spread > 1e-6 * (1 + centers.norm(dim=-1).amax(-1))).all())


GEOMETRIC: tuple[Callable[..., dict[str, Views]], ...] = (plane_sweep, plane_warp, blend_in_time)
