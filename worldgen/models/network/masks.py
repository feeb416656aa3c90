"""Attention modes as masks over the same weights: which tokens each token attends to."""

import math

import torch
from einops import rearrange
from torch import Tensor

from geometry.shapes import Bool, Float
from worldgen.core.conditioning import Conditioning
from worldgen.core.view_distance import attention_distances

# full        every frame of the clip
# frame       the frame itself
# time        the frames of the same physical camera
# view        the frames of the same moment
# neighbors   the frame itself and those nearest to it
# epipolar    every frame, but of each only the tokens near the query token's epipolar line
MODES = ("full", "frame", "time", "view", "neighbors", "epipolar")


def frame_mask(mode: str, queries: Conditioning, keys: Conditioning, neighbors: int) -> Bool[Tensor, "b f g"] | None:
    """Which of the g key frames each of the f query frames attends to; None = all.

    neighbors  how many others in mode "neighbors": the nearest by `worldgen.core.view_distance.attention_distances`.
               Of equally near ones all are attended to.
    """
    earlier = None
    if queries.order is not None and keys.order is not None:
        earlier = queries.order[:, :, None] >= keys.order[:, None]
    here, there = queries.cameras, keys.cameras
    if mode == "time":
        near = here.view[:, :, None] == there.view[:, None]
    elif mode == "view":
        near = here.time_s[:, :, None] == there.time_s[:, None]
    elif mode == "neighbors":
        apart = attention_distances(here, there, queries.cameras_known)
        if earlier is not None:
            apart = apart.masked_fill(~earlier, math.inf)
        count = min(neighbors + 1, apart.shape[-1])
        near = apart <= apart.topk(count, largest=False).values[..., -1:]
    else:
        return earlier
    return near if earlier is None else near & earlier


def token_mask(
    mode: str,
    queries: Conditioning,
    keys: Conditioning,
    rays: tuple[Float[Tensor, "b f n 6"], Float[Tensor, "b g m 6"]],
    pitch: Float[Tensor, "b f"],
    neighbors: int,
    band: float,
) -> Bool[Tensor, "b 1 q k"] | None:
    """The mask of attention from the f n query tokens to the g m key tokens; None = all.

    rays   Plücker rays of both
    pitch  angle between neighboring tokens of the query frames, radians
    band   half width of the epipolar band, in tokens
    """
    frames = frame_mask(mode, queries, keys, neighbors)
    if mode != "epipolar":
        if frames is None:
            return None
        n, m = rays[0].shape[2], rays[1].shape[2]
        return frames[:, None].repeat_interleave(n, 2).repeat_interleave(m, 3)
    near = _near_epipolar_plane(queries, keys, rays, pitch, band)
    if frames is not None:
        near = near & frames[:, :, None, :, None]
    return rearrange(near, "b f n g m -> b 1 (f n) (g m)")


def _near_epipolar_plane(
    queries: Conditioning,
    keys: Conditioning,
    rays: tuple[Tensor, Tensor],
    pitch: Tensor,
    band: float,
) -> Bool[Tensor, "b f n g m"]:
    """Key tokens whose ray lies within the band of the plane through both centers and the query ray, for any lens.

    The sine of that angle is the reciprocal product of the two Plücker rays over |baseline x query ray| (Hartley &
    Zisserman 2004, section 3.2.2: rays meet where it is 0). Where no plane is defined (cameras in one place, a ray
    along the baseline, cameras unknown) nothing is masked.
    """
    (d, moment), (e, other) = (part.split(3, -1) for part in rays)
    product = torch.einsum("bfnc,bgmc->bfngm", d, other) + torch.einsum("bfnc,bgmc->bfngm", moment, e)
    baseline = keys.cameras.centers[:, None] - queries.cameras.centers[:, :, None]
    plane = torch.linalg.cross(baseline[:, :, None], d[:, :, :, None]).norm(dim=-1)[..., None]
    width = band * pitch[:, :, None, None, None]
    degenerate = (plane < 1e-4) | ~queries.cameras_known[:, None, None, None, None]
    return (product.abs() <= width * plane) | degenerate
