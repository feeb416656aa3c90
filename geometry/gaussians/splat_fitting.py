"""`fit_splats`: 3D Gaussians that reproduce given images, by gradient descent (Kerbl et al. 2023, sections 5 and 6).

Their number is fixed: Gaussians that become invisible are relocated to where they are of use (Kheradmand et al. 2024,
"3D Gaussian Splatting as Markov Chain Monte Carlo"). They start on the surfaces that depth shows, equally dense in the
images near and far.
"""

import math
import time
from collections.abc import Iterator

import torch
from torch.nn import functional as F

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.gaussians.harmonics import CONSTANT, COUNTS
from geometry.gaussians.rendering import render_splats
from geometry.gaussians.splats import Splats
from geometry.image.checks import checked_frames
from geometry.image.coercion import DepthsLike, FramesLike, as_frames
from geometry.image.structural_similarity import ssim
from geometry.points.pointclouds import PointCloud, points_from_depth, voxel_downsample
from geometry.shapes import Float, Int

_FAR = 30.0  # where the sky is put, in units of the scene
_DISSIMILARITY = 0.2  # weight of 1 - SSIM beside the absolute difference
_DEPTH = 0.2  # weight of the relative error of depth
# Adam's learning rates, ten times Kerbl's and more, for a thousand steps and not thirty thousand; means in scene units.
_RATES = {"means": 2.4e-3, "scales": 6e-2, "quaternions": 1.2e-2, "opacities": 0.3, "constant": 3e-2, "harmonics": 3e-3}
_START_OPACITY, _START_SCALE = 0.5, 0.5  # the scale in mean distances to the three nearest neighbors
_INVISIBLE, _RELOCATE_EVERY, _MOST_COPIES = 0.005, 100, 8


def fit_splats(
    rgb: FramesLike,
    cameras: Cameras,
    points: PointCloud | None = None,
    depth: DepthsLike | None = None,
    gaussians: int = 12_000,
    steps: int = 1500,
    seconds: float | None = None,
    degree: int = 1,
    seed: int = 0,
) -> Splats:
    """Fit 3D Gaussians to posed images.

    The loss is 0.8 of the mean absolute difference and 0.2 of 1 - SSIM, and with depth 0.2 of its relative error. With
    numba a CPU does about 15 steps a second of 12,000 Gaussians at 128 x 128 pixels. A terminal shows a progress bar.

    Args:
        rgb: f images, sRGB in 0..1, of at least 11 x 11 pixels.
        cameras: their pinhole cameras, of batch shape [f].
        points: where to start; None = on the surfaces of `depth`.
        depth: z in metres, 0 = unknown, inf = sky.
        gaussians: about how many.
        steps: number of steps, of one image each.
        seconds: ends the run after this time; the rates fall accordingly, so the result depends on the machine.
        degree: of the harmonics, 0 to 3: how much colors depend on direction.
        seed: of the order of images and of relocations.

    Returns:
        The fitted Gaussians.

    Raises:
        InputError: shapes disagree, images are too small, there are no points, or numbers are out of range.
    """
    rgb = as_frames(rgb, "splats: rgb", double=True)
    rgb, known = checked_frames("splats", rgb, torch.zeros_like(rgb[:, :1]) if depth is None else depth, cameras)
    depth = None if depth is None else known
    if not (len(rgb) and gaussians > 3 and steps >= 0 and degree in range(len(COUNTS)) and (seconds or 1) > 0):
        raise InputError(
            f"splats: {len(rgb)} images, {gaussians} Gaussians, {steps} steps, {seconds} seconds, degree {degree}; "
            "expected at least one image, 4 Gaussians, 0 steps, more than 0 seconds, degree 0 to 3"
        )
    draw = torch.Generator().manual_seed(seed)
    start, unit = _start(rgb, cameras, points, depth, gaussians)
    parameters = _Parameters(start, unit, gaussians, degree, draw)
    for frame, (i, share) in zip(_shuffled(len(rgb), draw), _schedule(steps, seconds)):
        image, seen, _ = render_splats(parameters.splats(), cameras[frame])
        difference = (image - rgb[frame]).abs().mean()
        loss = (1 - _DISSIMILARITY) * difference + _DISSIMILARITY * (1 - ssim(image, rgb[frame]))
        if depth is not None:
            loss = loss + _DEPTH * _relative(seen, depth[frame])
        parameters.step(loss, share)
        if i % _RELOCATE_EVERY == _RELOCATE_EVERY - 1 and share < 0.7:
            parameters.relocate(draw)
    return Splats(*(part.detach() for part in vars(parameters.splats()).values()))


def _shuffled(count: int, draw: torch.Generator) -> Iterator[int]:
    """The numbers below `count` in random order, again and again."""
    while True:
        yield from torch.randperm(count, generator=draw).tolist()


def _relative(depth: Float[torch.Tensor, "1 h w"], truth: Float[torch.Tensor, "1 h w"]) -> torch.Tensor:
    """Mean relative error of depth, where the truth is known and finite."""
    known = (truth > 0) & truth.isfinite()
    safe = torch.where(known, truth, 1.0)
    return torch.where(known, (depth - safe).abs() / safe, 0.0).sum() / known.sum().clamp_min(1)


def _schedule(steps: int, seconds: float | None) -> Iterator[tuple[int, float]]:
    """The number of each step, and the share of the budget that is spent before it."""
    from tqdm import tqdm

    began = time.monotonic()
    for i in tqdm(range(steps), unit="step", disable=None, leave=False):
        share = max(i / steps, (time.monotonic() - began) / (seconds or math.inf))
        if share >= 1:
            return
        yield i, share


def _start(
    rgb: torch.Tensor, cameras: Cameras, points: PointCloud | None, depth: torch.Tensor | None, count: int
) -> tuple[PointCloud, float]:
    """About `count` points, the sky's among them, and the unit of the scene in metres.

    The unit is the median distance of points from the mean of the cameras. Points beyond it are contracted (Barron et
    al. 2022, eq. 10) before voxels thin them out.
    """
    if points is None and depth is None:
        raise InputError("splats: neither points nor depth; expected one of them to start from")
    if points is None:
        assert depth is not None
        points = points_from_depth(rgb, depth, cameras)
    if len(points) < 4:
        raise InputError(f"splats: {len(points)} points to start from; expected at least 4")
    middle = cameras.centers.mean(0)
    unit = float((points.points - middle).norm(dim=-1).median())
    if depth is not None:
        far = torch.where(depth.isinf(), _FAR * unit, 0.0)
        sky = points_from_depth(rgb, far, cameras, None)
        points = PointCloud(torch.cat([points.points, sky.points]), torch.cat([points.colors, sky.colors]))
    near = (points.points - middle) / unit
    distance = near.norm(dim=-1, keepdim=True)
    contracted = torch.where(distance > 1, (2 - 1 / distance.clamp_min(1)) / distance.clamp_min(1), 1.0) * near
    cloud, voxel = PointCloud(contracted, points.colors), 0.05
    thin = cloud
    for _ in range(8):
        thin = voxel_downsample(cloud, voxel)
        if abs(len(thin) / count - 1) < 0.02 or len(thin) == len(cloud) < count:
            break
        voxel *= math.sqrt(len(thin) / count)  # they lie on surfaces
    distance = thin.points.norm(dim=-1, keepdim=True).clamp_max(2 - 1 / _FAR)
    expanded = torch.where(distance > 1, 1 / (distance.clamp_min(1) * (2 - distance)), 1.0) * thin.points
    return PointCloud(expanded * unit + middle, thin.colors), unit


def _spacing(points: Float[torch.Tensor, "n 3"]) -> Float[torch.Tensor, "n"]:
    """Root mean square distance to the three nearest others."""
    rows = [torch.cdist(some, points).topk(4, largest=False).values[:, 1:] for some in points.split(2048)]
    return torch.cat(rows).square().mean(-1).sqrt().clamp_min(1e-9)


class _Parameters:
    """What gradient descent changes: Gaussians as numbers without bounds, and Adam's moments of each."""

    def __init__(self, start: PointCloud, unit: float, count: int, degree: int, draw: torch.Generator):
        # Where there are fewer points than Gaussians, the others start invisible and are relocated.
        n = max(len(start), int(0.9 * count))
        again = torch.arange(n, device=start.points.device) % len(start)
        like = start.points[again]
        opacities = torch.where(torch.arange(n, device=like.device) < len(start), _START_OPACITY, _INVISIBLE / 5)
        self._values = {
            "means": like.clone(),
            "scales": (_START_SCALE * _spacing(start.points)).log()[again, None].repeat(1, 3),
            "quaternions": F.normalize(torch.randn(n, 4, generator=draw), dim=-1).to(like),
            "opacities": opacities.to(like).logit(),
            "constant": (start.colors[again, None] - 0.5) / CONSTANT,
            "harmonics": like.new_zeros(n, COUNTS[degree] - 1, 3),
        }
        self._rates = _RATES | {"means": _RATES["means"] * unit}
        groups = [{"params": [value.requires_grad_()], "name": name} for name, value in self._values.items()]
        self._adam = torch.optim.Adam(groups, lr=0.0, eps=1e-15, fused=True)

    def splats(self) -> Splats:
        """The Gaussians as they are."""
        v = self._values
        harmonics = torch.cat([v["constant"], v["harmonics"]], 1)
        return Splats(v["means"], v["quaternions"], v["scales"].exp(), v["opacities"].sigmoid(), harmonics)

    def step(self, loss: torch.Tensor, share: float) -> None:
        """One step of Adam. The rate of means falls to a hundredth, others to a tenth in the second half of the run."""
        for group in self._adam.param_groups:
            slower = 0.01**share if group["name"] == "means" else 0.1 ** max(0.0, 2 * share - 1)
            group["lr"] = self._rates[group["name"]] * slower
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()

    @torch.no_grad()
    def relocate(self, draw: torch.Generator) -> None:
        """Move invisible Gaussians to visible ones, drawn by opacity, which they then share; at most as many as are
        visible.

        Opacities multiply to what was hidden before, scales follow (Kheradmand et al. 2024, eq. 9). Means are drawn
        from the visible Gaussian, since equal ones would never separate.
        """
        v, splats = self._values, self.splats()
        visible = splats.opacities >= _INVISIBLE
        dead = (~visible).nonzero()[: int(visible.sum()), 0]
        if not len(dead):
            return
        weight = torch.where(visible, splats.opacities, 0.0).cpu()
        source = torch.multinomial(weight, len(dead), True, generator=draw).to(dead.device)
        copies = 1 + source.bincount(minlength=len(visible))[source].clamp_max(_MOST_COPIES - 1)
        opacity = splats.opacities[source].clamp_max(0.99)
        share = 1 - (1 - opacity) ** (1 / copies)
        v["scales"][source] += (opacity / _mass(share, copies)).log()[:, None]
        v["opacities"][source] = share.logit()
        offset = torch.randn(len(dead), 3, generator=draw).to(weight.dtype).to(dead.device)
        for value in v.values():
            value[dead] = value[source]
        v["means"][dead] += (splats.half_covariances[source] @ offset[..., None]).squeeze(-1)
        both = torch.cat([dead, source])
        for group in self._adam.param_groups:
            for moment in (self._adam.state[group["params"][0]][key] for key in ("exp_avg", "exp_avg_sq")):
                moment[both] = 0


def _mass(share: Float[torch.Tensor, "n"], copies: Int[torch.Tensor, "n"]) -> Float[torch.Tensor, "n"]:
    """What `copies` equal Gaussians one behind another hide along a line through them, in units of their width.

    The sum over i <= copies and k < i of (i - 1 choose k) (-1)^k share^(k + 1) / sqrt(k + 1), summed over i first.
    """
    total = torch.zeros_like(share)
    for k in range(_MOST_COPIES):
        choose = (torch.lgamma(copies + 1.0) - math.lgamma(k + 2) - torch.lgamma((copies - k).clamp_min(1.0))).exp()
        total += torch.where(k < copies, (-1) ** k * choose * share ** (k + 1) / math.sqrt(k + 1), 0.0)
    return total
