"""How far apart two cameras are: every measure of it that is used here, and sets of cameras far from each other.

The measures differ in what they are for, and their numbers are part of results and of trained weights:

angle_plus_distance   which finished frames a call is given (`worldgen.pipelines.view_schedule`)
squared_distances     the nearest given image, and images spread over a capture (`worldgen.evaluation`)
attention_distances   which frames a frame attends to in mode "neighbors" (`worldgen.models.network.masks`)
overlap               a share, 1 = the same view: which frames a window shows together (`worldgen.sampling.windows`)
"""

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.shapes import Bool, Float, Int
from worldgen.core.normalization import scene_scale_from_cameras

_GRID, _DEPTHS = 8, (0.5, 1.0, 2.0, 4.0)  # of the points whose visibility `overlap` tests; depths in scene scales


def angle_plus_distance(a: Cameras, b: Cameras, scale: float) -> Float[Tensor, "n m"]:
    """The angle between optical axes (radians) plus the distance between centers over a scale.

    Args:
        a: Cameras [n].
        b: Cameras [m].
        scale: The scene scale, in the unit of the centers (`worldgen.core.normalization`).

    Returns:
        The distance of every pair [n, m].
    """
    cosine = (a.forward[:, None] * b.forward[None]).sum(-1).clamp(-1, 1)
    return cosine.acos() + (a.centers[:, None] - b.centers[None]).norm(dim=-1) / scale


def squared_distances(target: Cameras, sources: Cameras) -> Float[Tensor, "*b k"]:
    """(angle between optical axes)^2 + (distance between centers / scene scale)^2, in radians and scene scales.

    The scale is `worldgen.core.normalization.scene_scale_from_cameras` of all cameras together. So on an orbit both
    terms are about the angle traveled, and enlarging the world changes nothing.

    Args:
        target: One camera per clip [*b].
        sources: Cameras [*b, k].

    Returns:
        The squared distance of each source from its target [*b, k].
    """
    cosine = (sources.forward * target.forward[..., None, :]).sum(-1)
    sine = torch.linalg.cross(sources.forward, target.forward[..., None, :].expand_as(sources.forward)).norm(dim=-1)
    apart = (sources.centers - target.centers[..., None, :]).norm(dim=-1)
    scale = scene_scale_from_cameras(Cameras.cat([sources, target[..., None]]))[..., None]
    return torch.atan2(sine, cosine).square() + (apart / torch.where(scale > 1e-6, scale, 1.0)).square()


def nearest_camera(target: Cameras, sources: Cameras) -> Int[Tensor, "*b"]:
    """Which source is nearest to the target by `squared_distances`; the first among equals.

    Args:
        target: One camera per clip [*b].
        sources: Cameras [*b, k].

    Returns:
        Its index among the k sources [*b].
    """
    return squared_distances(target, sources).argmin(-1)


def attention_distances(queries: Cameras, keys: Cameras, known: Bool[Tensor, "b"]) -> Float[Tensor, "b f g"]:
    """Distance between centers plus angle between optical axes plus difference in time.

    Args:
        queries: Cameras [b, f], normalized (`worldgen.core.normalization`), so that lengths are in scene scales.
        keys: Cameras [b, g], normalized alike.
        known: Whether a clip's cameras are known; if not, time alone counts.

    Returns:
        Scene scales plus radians plus seconds of every pair [b, f, g].
    """
    apart = torch.cdist(queries.centers, keys.centers, compute_mode="donot_use_mm_for_euclid_dist")
    chord = torch.cdist(queries.forward, keys.forward, compute_mode="donot_use_mm_for_euclid_dist")
    apart = apart + 2 * (chord / 2).clamp(max=1).asin()  # the arc cosine of a dot product is inexact at small angles
    apart = torch.where(known[:, None, None], apart, 0.0)
    return apart + (queries.time_s[:, :, None] - keys.time_s[:, None]).abs()


def overlap(cameras: Cameras, scale: float = 1.0) -> Float[Tensor, "f f"]:
    """The share of what camera i may see that camera j sees too, times the cosine of the angle between their axes.

    The cosine makes it 0 from behind: the same place, but another side of what is there.

    Args:
        cameras: Cameras [f].
        scale: What camera i may see lies at half of this depth to four times this depth.

    Returns:
        A share in 0..1 of every pair [f, f], row i of camera i.
    """
    frames, (height, width) = len(cameras), cameras.hw
    small = cameras.resized((_GRID, _GRID))
    depths = scale * torch.tensor(_DEPTHS, dtype=cameras.K.dtype, device=cameras.K.device)
    points = torch.stack([unproject(small, depth.expand(frames, 1, _GRID, _GRID)) for depth in depths], 1)
    points = points.flatten(1, -2)  # [f, p, 3]
    columns = []
    for j in range(frames):
        uv, z = project(cameras[[j] * frames], points)
        inside = (z.reshape(frames, -1) > 0) & (uv >= 0).all(-1) & (uv[..., 0] < width) & (uv[..., 1] < height)
        columns.append(inside.to(points).mean(-1))
    return torch.stack(columns, 1) * (cameras.forward @ cameras.forward.T).clamp_min(0)


def farthest_first(distance: Float[Tensor, "n n"], count: int, first: int = 0) -> list[int]:
    """Farthest-point selection: each next one is the farthest from all chosen before (Gonzalez 1985).

    Args:
        distance: Distance of every pair.
        count: How many to choose; all n where there are fewer.
        first: The one to begin with.

    Returns:
        Indices in the order chosen, each once; the lower index among equals.
    """
    order, nearest = [first], distance[first].clone()
    while len(order) < min(count, len(distance)):
        nearest[order] = -1
        order.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, distance[order[-1]])
    return order


def spread_order(cameras: Cameras) -> list[int]:
    """All cameras by `farthest_first` of `squared_distances`, so that the first k of them are spread over a capture.

    The order of the input does not matter, but among equals.

    Args:
        cameras: Cameras [n].

    Returns:
        Indices of all n cameras; first the one that is farthest from all others on average.
    """
    distance = torch.stack([squared_distances(cameras[i], cameras) for i in range(len(cameras))]).sqrt()
    return farthest_first(distance, len(cameras), int(distance.mean(1).argmax()))
