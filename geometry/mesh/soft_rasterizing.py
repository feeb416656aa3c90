"""Soft rasterizing, in which outlines have gradients too: SoftRas (Liu et al. 2019, "Soft Rasterizer").

Triangle j covers pixel i with D = sigmoid(+-d^2 / sigma) (eq. 1): d is the distance on the screen from the pixel's
center to the triangle's edges, in units in which the image's shorter side is 2 long, + inside and - outside. A
silhouette is 1 - prod_j (1 - D_j) (eq. 4). Colors are means over triangles with weights D_j exp(z_j / gamma) (eq. 3),
where z_j is inverse depth, 1 at the nearest vertex and 0 at infinity. Three things are ours: outside a triangle its
depth and color are those of its nearest edge point, where the paper clamps barycentric weights; the mean is laid over
the background by the silhouette, where the paper gives the background a place in the mean; and where D < 1e-6 a
triangle counts as not there.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from geometry.camera.cameras import Cameras
from geometry.camera.rays import pixel_centers
from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.errors import InputError
from geometry.mesh.meshes import Mesh
from geometry.mesh.rasterizing import Fragments, check_mesh, colored, fragments
from geometry.rotation.transforms import transform_points
from geometry.shapes import Float, Int

_REACH = math.log(1e6)  # of d^2 / sigma; where it is more, a triangle counts as not there


def soft_silhouette(
    mesh: Mesh, cameras: Cameras, sigma: float = 1e-4, near_m: float = 0.01
) -> Float[torch.Tensor, "*b 1 h w"]:
    """How much of each pixel a mesh covers, differentiable in the vertices and the cameras (eq. 4).

    With gradients 16 bytes are kept for each pixel that a triangle may cover.

    Args:
        mesh: the mesh.
        cameras: pinhole cameras of batch shape b.
        sigma: softness, an area where the image's shorter side is 2 long: outlines are about sqrt(sigma) wide.
        near_m: z in metres of the near plane; triangles that reach nearer are left out whole.

    Returns:
        Coverage in 0..1.

    Raises:
        InputError: as `rasterize` raises it, or a sigma that is not positive.
    """
    _check("soft silhouette", mesh, cameras, near_m, sigma)
    silhouettes = [cameras.K.new_zeros(0, cameras.hw[0] * cameras.hw[1], dtype=torch.float64)]
    for screen in _screens(mesh, cameras, near_m):
        uncovered = torch.zeros_like(screen.pixels[:, 0])  # log of prod (1 - D)
        for triangle, pixel in screen.fragments(sigma):
            part = _checkpointed(_log_uncovered, screen, triangle, pixel, sigma)
            uncovered = uncovered.index_add(0, pixel, part)
        silhouettes.append(-torch.expm1(uncovered)[None])
    return torch.cat(silhouettes).to(cameras.K.dtype).reshape(*cameras.shape, 1, *cameras.hw)


def soft_render_mesh(
    mesh: Mesh,
    cameras: Cameras,
    sigma: float = 1e-4,
    gamma: float = 1e-3,
    background: Float[torch.Tensor, "3"] | None = None,
    near_m: float = 0.01,
) -> Float[torch.Tensor, "*b 3 h w"]:
    """Render a mesh with colors softly, unlit: differentiable in vertices, colors and cameras (eq. 3).

    Args:
        mesh: a mesh with colors; they are mixed in linear light.
        cameras: pinhole cameras of batch shape b.
        sigma: softness of outlines, as for `soft_silhouette`.
        gamma: how far apart in inverse depth (1 = the nearest vertex's) surfaces must be for the nearer one to hide the
            other; the nearer one's color then fills its whole reach, a few times sqrt(sigma).
        background: its sRGB; black by default.
        near_m: z in metres of the near plane; triangles that reach nearer are left out whole.

    Returns:
        Images, sRGB in 0..1.

    Raises:
        InputError: as `soft_silhouette` raises it, a mesh without colors, or a gamma that is not positive.
    """
    _check("soft rendering", mesh, cameras, near_m, sigma, gamma)
    colors = linear_from_srgb(colored("soft rendering", mesh)).to(cameras.K.device, torch.float64)
    behind = torch.zeros_like(colors[0]) if background is None else linear_from_srgb(background.to(colors))
    lights = [colors.new_zeros(0, cameras.hw[0] * cameras.hw[1], 3)]
    for screen in _screens(mesh, cameras, near_m):
        uncovered, total = torch.zeros_like(screen.pixels[:, 0]), torch.zeros_like(screen.pixels[:, 0])
        light, peak = torch.zeros_like(behind).repeat(len(uncovered), 1), torch.full_like(uncovered, -torch.inf)
        with torch.no_grad():  # the largest exponent is taken out of eq. 3, above and below
            for triangle, pixel in screen.fragments(sigma):
                peak = peak.scatter_reduce(0, pixel, _exponent(screen, triangle, pixel, sigma, gamma)[0], "amax")
        for triangle, pixel in screen.fragments(sigma):
            part = _checkpointed(_weighted, screen, colors, peak, triangle, pixel, sigma, gamma)
            sums = zip((uncovered, total, light), part)
            uncovered, total, light = (before.index_add(0, pixel, more) for before, more in sums)
        alpha = -torch.expm1(uncovered)[:, None]
        mean = light / torch.where(total > 0, total, torch.ones_like(total))[:, None]
        lights.append((alpha * mean + (1 - alpha) * behind)[None])
    rgb = srgb_from_linear(torch.cat(lights)).to(cameras.K.dtype)
    return rgb.mT.reshape(*cameras.shape, 3, *cameras.hw)


@dataclass(frozen=True)
class _Screen:
    """A mesh as one camera sees it, in units in which the image's shorter side is 2 long.

    corners    [t, 3, 2] of the triangles in front of the near plane
    nearness   [t, 3] inverse depth of the corners, 1 at the nearest of all
    vertices   [t, 3] which vertices of the mesh they are
    pixels     [p, 2] pixel centers
    """

    corners: Float[torch.Tensor, "t 3 2"]
    nearness: Float[torch.Tensor, "t 3"]
    vertices: Int[torch.Tensor, "t 3"]
    pixels: Float[torch.Tensor, "p 2"]
    hw: tuple[int, int]

    def fragments(self, sigma: float) -> Fragments:
        """Pairs of a triangle and a pixel in its reach."""
        corners, unit = self.corners.detach(), min(self.hw) / 2
        reach = math.sqrt(_REACH * sigma)
        lower, upper = (corners.amin(1) - reach) * unit, (corners.amax(1) + reach) * unit
        for triangle, pixel in fragments(lower, upper, self.hw):
            with torch.no_grad():
                near = _cover(self, triangle, pixel)[0] > -(reach**2)
            yield triangle[near], pixel[near]


def _screens(mesh: Mesh, cameras: Cameras, near_m: float) -> Iterator[_Screen]:
    flat = cameras.reshape(cameras.shape.numel()).to(torch.float64)
    vertices, faces = mesh.vertices.to(flat.K), mesh.faces.to(flat.K.device)
    unit = min(cameras.hw) / 2
    pixels = pixel_centers(cameras.hw, flat.K.device, torch.float64).flatten(0, 1) / unit
    for i in range(len(flat)):
        corners = transform_points(flat.camera_from_world[i], vertices)[faces]
        front = (corners[..., 2] >= near_m).all(-1)
        corners = corners[front]
        z = corners[..., 2]
        nearest = torch.cat([z.flatten(), z.new_full((1,), torch.inf)]).amin()
        image = corners @ flat.K[i].T
        yield _Screen(image[..., :2] / z[..., None] / unit, nearest / z, faces[front], pixels, cameras.hw)


def _cover(
    screen: _Screen, triangle: Int[torch.Tensor, "n"], pixel: Int[torch.Tensor, "n"]
) -> tuple[Float[torch.Tensor, "n"], Float[torch.Tensor, "n 3"]]:
    """Squared distances to the triangles' edges, negative outside, and screen weights of the corners.

    The weights are those of the pixel's center inside a triangle, and of the nearest point of its edges outside.
    """
    start = screen.corners[triangle]
    edge, aside = start.roll(-1, 1) - start, screen.pixels[pixel][:, None] - start
    along = ((aside * edge).sum(-1) / (edge * edge).sum(-1).clamp_min(1e-30)).clamp(0, 1)
    square, nearest = (aside - along[..., None] * edge).square().sum(-1).min(-1)
    turn = edge[..., 0] * aside[..., 1] - edge[..., 1] * aside[..., 0]
    area = turn.sum(-1)
    inside = ((turn >= 0).all(-1) | (turn <= 0).all(-1)) & (area != 0)
    within = turn.roll(-1, -1) / torch.where(inside, area, torch.ones_like(area))[:, None]
    first = torch.nn.functional.one_hot(nearest, 3).to(along)
    beside = first * (1 - along) + (first * along).roll(1, -1)
    return torch.where(inside, square, -square), torch.where(inside[:, None], within, beside)


def _checkpointed(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function whose intermediate values are computed again for the gradient, not kept."""
    if not torch.is_grad_enabled():
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)


def _log_uncovered(
    screen: _Screen, triangle: torch.Tensor, pixel: torch.Tensor, sigma: float
) -> Float[torch.Tensor, "n"]:
    """log(1 - D), with D of eq. 1."""
    return torch.nn.functional.logsigmoid(-_cover(screen, triangle, pixel)[0] / sigma)


def _exponent(
    screen: _Screen, triangle: torch.Tensor, pixel: torch.Tensor, sigma: float, gamma: float
) -> tuple[Float[torch.Tensor, "n"], Float[torch.Tensor, "n"], Float[torch.Tensor, "n 3"]]:
    """log(D exp(z / gamma)) of eq. 3, D's distance over sigma, and perspective-correct weights of the corners."""
    square, place = _cover(screen, triangle, pixel)
    mix = place * screen.nearness[triangle]
    nearness = mix.sum(-1)
    exponent = torch.nn.functional.logsigmoid(square / sigma) + nearness / gamma
    return exponent, square / sigma, mix / nearness[:, None]


def _weighted(
    screen: _Screen,
    colors: Float[torch.Tensor, "v 3"],
    peak: Float[torch.Tensor, "p"],
    triangle: torch.Tensor,
    pixel: torch.Tensor,
    sigma: float,
    gamma: float,
) -> tuple[Float[torch.Tensor, "n"], Float[torch.Tensor, "n"], Float[torch.Tensor, "n 3"]]:
    """log(1 - D), the weight of eq. 3 over its largest, and that times the color (linear)."""
    exponent, distance, weights = _exponent(screen, triangle, pixel, sigma, gamma)
    weight = torch.exp(exponent - peak[pixel])
    light = torch.einsum("nk,nkc->nc", weights, colors[screen.vertices[triangle]])
    return torch.nn.functional.logsigmoid(-distance), weight, weight[:, None] * light


def _check(what: str, mesh: Mesh, cameras: Cameras, near_m: float, *softness: float) -> None:
    check_mesh(what, mesh, cameras, near_m)
    if not all(value > 0 for value in softness):
        raise InputError(f"{what}: softness of {', '.join(map(str, softness))}; expected more than 0")
