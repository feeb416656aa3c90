"""Primitives as triangles, for export and for comparison with renderers of meshes."""

import math

import torch
from torch import Tensor

from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape


def tessellate(scene: Scene, b: int, n: int, fine: int = 32, plane_m: float = 40.0) -> tuple[Tensor, Tensor]:
    """The surface of primitive n of scene b in its own frame (metres, before its pose).

    fine     segments around a round shape
    plane_m  half the side of the square in place of an endless plane

    Returns vertices [v, 3] (float64) on the exact surface and faces [m, 3], counter-clockwise seen from outside.
    """
    kind, size = Shape(int(scene.kind[b, n])), scene.size[b, n].double()
    form = scene.form[b, n].double().tolist()
    if kind == Shape.MESH:
        corners = scene.triangles[b][scene.owner[b] == n].double().reshape(-1, 3)
        return corners, torch.arange(len(corners)).view(-1, 3)
    if kind == Shape.PLANE:
        return _grid_plane(plane_m, fine)
    if kind == Shape.BOX:
        vertices, faces = _box(max(1, fine // 8))
    else:
        vertices, faces = _revolved(kind, form, fine)
    return vertices * size, faces


def _quads(rows: int, columns: int, wrap_rows: bool, wrap_columns: bool) -> Tensor:
    """Two triangles for every cell of a grid of vertices."""
    i = torch.arange(rows if wrap_rows else rows - 1)[:, None]
    j = torch.arange(columns if wrap_columns else columns - 1)
    below, right = (i + 1) % rows, (j + 1) % columns
    a, b = i * columns + j, i * columns + right
    c, d = below * columns + j, below * columns + right
    return torch.stack([torch.stack([a, c, d], -1), torch.stack([a, d, b], -1)], -2).reshape(-1, 3)


def _grid_plane(half: float, fine: int) -> tuple[Tensor, Tensor]:
    """A square z = 0, denser towards its middle."""
    axis = torch.linspace(-1, 1, 2 * fine + 1, dtype=torch.float64)
    axis = half * axis.abs() ** 2 * axis.sign()
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    faces = _quads(len(axis), len(axis), False, False)
    return torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3), faces.flip(-1)


def _box(parts: int) -> tuple[Tensor, Tensor]:
    """Six square grids, without shared vertices, so that its edges stay sharp."""
    axis = torch.linspace(-1, 1, parts + 1, dtype=torch.float64)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    one, cell = torch.ones_like(u), _quads(parts + 1, parts + 1, False, False)
    vertices, faces = [], []
    for axis_out in range(3):
        for sign in (-1, 1):
            side = torch.stack([sign * one, u, v], -1).reshape(-1, 3).roll(axis_out, -1)
            faces.append((cell if sign < 0 else cell.flip(-1)) + sum(len(part) for part in vertices))
            vertices.append(side)
    return torch.cat(vertices), torch.cat(faces)


def _revolved(kind: Shape, form: list[float], fine: int) -> tuple[Tensor, Tensor]:
    """Shapes of revolution, and the superquadric, as rings of points from the bottom to the top."""
    around = torch.arange(fine, dtype=torch.float64) * (2 * math.pi / fine)

    def exact(values: Tensor) -> Tensor:
        """Zeros that rounding has missed, which small exponents would make large."""
        return torch.where(values.abs() < 1e-12, 0.0, values)

    if kind == Shape.TORUS:
        tube = torch.arange(fine // 2, dtype=torch.float64) * (4 * math.pi / fine)
        radius, height = (1 - form[0]) + form[0] * tube.cos(), tube.sin()
        return _rings(radius, height, around.cos(), around.sin()), _quads(fine // 2, fine, True, True).flip(-1)
    cosine, sine = exact(around.cos()), exact(around.sin())
    if kind in (Shape.CYLINDER, Shape.CONE):
        top = 1.0 if kind == Shape.CYLINDER else 0.0
        # Two rings where there is an edge, to keep it sharp; rings of radius 0 close the ends.
        radius = torch.tensor([0, 1, 1, top, top, 0], dtype=torch.float64)
        height = torch.tensor([-1, -1, -1, 1, 1, 1], dtype=torch.float64)
    else:
        angle = torch.linspace(-math.pi / 2, math.pi / 2, fine // 2 + 1, dtype=torch.float64)
        radius, height = exact(angle.cos()), exact(angle.sin())
        if kind == Shape.CAPSULE:
            straight = form[0]
            half = fine // 4 + 1
            low, high = angle[:half], angle[-half:]
            radius = torch.cat([low.cos(), high.cos()]).clamp_min(0)
            height = torch.cat([low.sin() * (1 - straight) - straight, high.sin() * (1 - straight) + straight])
        elif kind == Shape.SUPERQUADRIC:
            polar, equatorial = form
            radius, height = radius**polar, height.sign() * height.abs() ** polar
            cosine, sine = (part.sign() * part.abs() ** equatorial for part in (cosine, sine))
    faces = _quads(len(radius), fine, False, True).flip(-1)
    vertices = _rings(radius, height, cosine, sine)
    a, b, c = vertices[faces].unbind(1)
    return vertices, faces[torch.linalg.cross(b - a, c - a).norm(dim=-1) > 1e-12]


def _rings(radius: Tensor, height: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    x, y = radius[:, None] * cosine, radius[:, None] * sine
    return torch.stack([x, y, height[:, None].expand_as(x)], -1).reshape(-1, 3)
