"""Whether generated views show one world: do they agree where, by true depth and pose, they see the same surfaces?

No learned features and no estimated geometry. The images are generated; depth, poses and which pixels two views share
are the truth's. The same measures on the truth's own images are what a perfect model reaches (resampling and shading
are left), on another scene's images what a guess without the given images reaches. Blur agrees with everything: read
these beside PSNR, and beside the row mean, which has figures here too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.image.epipolar import fundamental, symmetric_epipolar_distance
from geometry.image.warping import backward_warp
from geometry.shapes import Bool, Float
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.intervals import Figures, interval, paired_difference, share_of_way
from worldgen.evaluation.predictions import Prediction

SEARCH_PX = 4  # how far around the true correspondence a patch is searched
TRUE, OTHERS = "true images (floor)", "another scene's (ceiling)"
TSED_PX, TSED_MATCHES = 2.0, 10  # of Yu et al. 2023 (arXiv 2304.10700)
_PATCH = 7
_POINTS = 48
_PLAIN = 0.01  # standard deviation below which a patch has nothing to match, in 0..1
_CORNER = 1e-4  # least eigenvalue of the structure tensor of a patch worth following


@as_value
@dataclass(frozen=True)
class Matches:
    """Where one view's points are found again in another, [n]: by a search around the true correspondence.

    source_uv, true_uv  [n, 2] the points, and their true places in the other view
    shift               [n, 2] from there to where the patch matches best, in pixels
    matched             [n] whether there was anything to match
    """

    source_uv: Float[Tensor, "n 2"]
    true_uv: Float[Tensor, "n 2"]
    shift: Float[Tensor, "n 2"]
    matched: Bool[Tensor, "n"]


def reprojection_psnr(rgb: Float[Tensor, "v 3 h w"], truth: Clip) -> Float[Tensor, "pairs"]:
    """PSNR in dB between each view and each other one warped into it, over the pixels both see, by true depth.

    rgb    images of the views of a still world; `truth` [v] has their depth and cameras
    pairs  (i, j) with i != j, i outermost; NaN where two views share no pixel, inf where they agree exactly

    MEt3R (Asim et al. 2025) with the truth in place of its networks: geometry for DUSt3R's, colors for DINO's.
    """
    result = []
    for i in range(len(truth)):
        others = [j for j in range(len(truth)) if j != i]
        warped, visible, _ = backward_warp(
            rgb[others], truth.depth[i], truth.cameras[i], truth.depth[others], truth.cameras[others]
        )
        squared = ((warped - rgb[i]).square().mean(1) * visible).sum((-2, -1)) / visible.sum((-2, -1))
        result.append(-10 * squared.log10())
    return torch.cat(result)


def find_matches(rgb: Float[Tensor, "2 3 h w"], truth: Clip) -> Matches:
    """Points of the first of two views of a still world searched for in the second.

    The points are up to 48 corners of the true first image (structure tensor, Shi and Tomasi 1994) with all of their
    7 x 7 patch seen by both views. The second image is sampled where the patch's surface is by true depth, so that
    foreshortening needs no search, then shifted by whole pixels up to 4 px; the least sum of squared differences, means
    taken out, wins, refined by a parabola in each direction. Patches without contrast match nothing.
    """
    _, visible, uv = backward_warp(rgb[1:], truth.depth[0], truth.cameras[0], truth.depth[1:], truth.cameras[1:])
    points = _corners(truth.rgb[0], visible[0])
    reach = _PATCH // 2
    offsets = torch.stack(torch.meshgrid(*[torch.arange(-reach, reach + 1)] * 2, indexing="ij"), -1).flatten(0, 1)
    rows, columns = (points[:, None] + offsets).unbind(-1)  # [n, 49]
    ours = rgb[0][:, rows, columns].movedim(0, 1)  # [n, 3, 49]
    side = 2 * SEARCH_PX + 1
    steps = torch.arange(-SEARCH_PX, SEARCH_PX + 1).to(uv)
    shifts = torch.stack(torch.meshgrid(steps, steps, indexing="ij")[::-1], -1).flatten(0, 1)  # (u, v), rows outermost
    places = uv[0][rows, columns][:, None] + shifts[:, None]  # [n, 81, 49, 2]
    size = uv.new_tensor([rgb.shape[-1], rgb.shape[-2]])
    grid = (2 * places / size - 1).flatten(1, 2)[None]
    theirs = torch.nn.functional.grid_sample(rgb[1:], grid, "bicubic", padding_mode="border", align_corners=False)
    theirs = theirs[0].unflatten(-1, (side * side, -1)).permute(1, 2, 0, 3)  # [n, 81, 3, 49]
    ours, theirs = (patch - patch.mean(-1, keepdim=True) for patch in (ours, theirs))
    cost = (theirs - ours[:, None]).square().mean((-2, -1))
    contrast = torch.minimum(ours.square().mean((-2, -1)), theirs[:, side * side // 2].square().mean((-2, -1))).sqrt()
    center = (points.to(uv) + 0.5).flip(-1)
    true_uv = uv[0][points[:, 0], points[:, 1]]
    return Matches(center, true_uv, _least(cost.unflatten(-1, (side, side))), contrast > _PLAIN)


def _corners(image: Tensor, allowed: Tensor) -> Tensor:
    """Up to 48 places (row, column) of an image [3, h, w], strongest first, with their whole patch `allowed` [h, w]
    and no two within a patch's reach of each other."""
    dy, dx = torch.zeros_like(image), torch.zeros_like(image)
    dy[:, 1:-1], dx[..., 1:-1] = (image[:, 2:] - image[:, :-2]) / 2, (image[..., 2:] - image[..., :-2]) / 2

    def pooled(values: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(values.mean(0)[None, None], _PATCH, 1, _PATCH // 2)[0, 0]

    xx, yy, xy = pooled(dx * dx), pooled(dy * dy), pooled(dx * dy)
    strength = (xx + yy) / 2 - ((xx - yy).square() / 4 + xy.square()).sqrt()
    reach = _PATCH // 2
    padded = torch.nn.functional.pad((~allowed).float()[None, None], [reach] * 4, value=1.0)
    whole = torch.nn.functional.max_pool2d(padded, _PATCH, 1)[0, 0] == 0
    strength = torch.where(whole, strength, 0.0)
    peak = strength == torch.nn.functional.max_pool2d(strength[None, None], _PATCH, 1, reach)[0, 0]
    strength = torch.where(peak & (strength > _CORNER), strength, 0.0).flatten()
    best = strength.argsort(descending=True, stable=True)[:_POINTS]
    best = best[strength[best] > 0]
    return torch.stack([best // image.shape[-1], best % image.shape[-1]], -1)


def _least(cost: Tensor) -> Tensor:
    """Where costs [n, side, side] (rows are v) are least, from the middle, (u, v) [n, 2], to a part of a step."""
    count, side, _ = cost.shape
    best = cost.flatten(1).argmin(-1)
    place = [best % side, best // side]
    each = torch.arange(count)
    parts = []
    for axis, (u, v) in enumerate([(1, 0), (0, 1)]):
        inner = (place[axis] > 0) & (place[axis] < side - 1)
        left, here, right = (
            cost[each, (place[1] + k * v).clamp(0, side - 1), (place[0] + k * u).clamp(0, side - 1)] for k in (-1, 0, 1)
        )
        bend = left - 2 * here + right
        part = torch.where(inner & (bend > 1e-12), (left - right) / (2 * bend.clamp_min(1e-12)), 0.0)
        parts.append(place[axis] - side // 2 + part.clamp(-0.5, 0.5))
    return torch.stack(parts, -1)


def epipolar_distances(matches: Matches, source: Cameras, target: Cameras) -> Float[Tensor, "n"]:
    """Symmetric distances in pixels (`geometry.image.epipolar`) of the matches to the true epipolar lines, matched ones
    only.

    Ignores what is wrong along the line; the length of `Matches.shift` does not.
    """
    F = fundamental(source.to(torch.float64), target.to(torch.float64))
    found = (matches.true_uv + matches.shift)[matches.matched].double()
    return symmetric_epipolar_distance(F, matches.source_uv[matches.matched].double(), found).to(torch.float32)


def consistency(rgb: Float[Tensor, "b v 3 h w"], truth: Clip) -> dict[str, Float[Tensor, "b"]]:
    """The figures of b scenes' views, each the mean over a scene's ordered pairs of views.

    rgb    the views' images; `truth` [b, v] has their exact images, depth and cameras

    reprojection_db  `reprojection_psnr`
    shift_px         median length of the shift by which points are found off their true place (4 px at most a side)
    epipolar_px      median symmetric epipolar distance of the same matches
    tsed             share of the pairs with at least 10 matches whose median distance is at most 2 px (TSED)
    Pairs whose true images have fewer than 10 points to follow count in the first figure only. NaN for a scene
    whose views share nothing, and where nothing could be matched.
    """
    figures: dict[str, list[Tensor]] = {name: [] for name in ("reprojection_db", "shift_px", "epipolar_px", "tsed")}
    views = rgb.shape[1]
    for b in range(len(rgb)):
        figures["reprojection_db"].append(reprojection_psnr(rgb[b], truth[b]).nanmean())
        shifts, distances, passed = [], [], []
        for i in range(views):
            for j in (j for j in range(views) if j != i):
                pair = truth[b].frames([i, j])
                matches = find_matches(rgb[b][[i, j]], pair)
                if len(matches.matched) < TSED_MATCHES:
                    continue
                distance = epipolar_distances(matches, pair.cameras[0], pair.cameras[1])
                enough = len(distance) >= TSED_MATCHES
                passed.append(torch.tensor(float(enough and bool(distance.median() <= TSED_PX))))
                if len(distance):
                    shifts.append(matches.shift[matches.matched].norm(dim=-1).median())
                    distances.append(distance.median())
        for name, values in (("shift_px", shifts), ("epipolar_px", distances), ("tsed", passed)):
            figures[name].append(torch.stack(values).mean() if values else torch.tensor(torch.nan))
    return {name: torch.stack(values) for name, values in figures.items()}


def consistency_figures(targets: Clip, predictions: Mapping[str, Prediction], seed: int) -> dict[str, Figures]:
    """The figures of every method's images of the targets [b, t]; none for fewer than two targets or scenes.

    Beside them those of the truth's own images and, for the other end, of each scene with the next scene's true
    images in place of its own. A single color agrees with itself perfectly and has no figure.

    reprojection_below_db  how far below the truth's own, scene by scene
    reprojection_share     0 as good as another scene's images, 1 as good as the truth's
    """
    if len(targets) < 2 or len(targets.rgb) < 2:
        return {}
    images = {TRUE: targets.rgb, OTHERS: targets.rgb.roll(-1, 0)}
    images |= {name: p.rgb for name, p in predictions.items() if p.rgb is not None and name != "mean color"}
    found = {name: consistency(rgb, targets) for name, rgb in images.items()}
    best, worst = (found[name]["reprojection_db"] for name in (TRUE, OTHERS))
    table: dict[str, Figures] = {}
    for name, values in found.items():
        table[name] = {figure: interval(per_scene, seed) for figure, per_scene in values.items()}
        reprojection = values["reprojection_db"]
        table[name]["reprojection_below_db"] = paired_difference(best, reprojection, seed)
        table[name]["reprojection_share"] = share_of_way(reprojection, worst, best, seed)
    return table
