"""The scenes' solids, computed independently: what is inside them, found by walking along rays, and their meshes."""

import math

import numpy as np
import torch
import trimesh
from torch import Tensor

from geometry.camera.cameras import Cameras
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.families.builder import Builder, plain
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape

SOLIDS = (Shape.BALL, Shape.BOX, Shape.CYLINDER, Shape.CONE)
FORM = (0.35, 0.6)  # of the solids that have one
ALL_SOLIDS = (*SOLIDS, Shape.CAPSULE, Shape.TORUS, Shape.SUPERQUADRIC)


def inside(kind: int, p: Tensor) -> Tensor:
    """Whether points [..., 3] are inside the unit solid of a kind."""
    x, y, z = p.unbind(-1)
    around = x**2 + y**2
    if kind == Shape.BALL:
        return around + z**2 < 1
    if kind == Shape.BOX:
        return (x.abs() < 1) & (y.abs() < 1) & (z.abs() < 1)
    if kind == Shape.CAPSULE:  # a cylinder |z| <= 0.35 with half ellipsoids at its ends
        return around + ((z.abs() - FORM[0]).clamp_min(0) / (1 - FORM[0])) ** 2 < 1
    if kind == Shape.TORUS:
        return (around.sqrt() - (1 - FORM[0])) ** 2 + (FORM[0] * z) ** 2 < FORM[0] ** 2
    if kind == Shape.SUPERQUADRIC:
        ring = x.abs() ** (2 / FORM[1]) + y.abs() ** (2 / FORM[1])
        return ring ** (FORM[1] / FORM[0]) + z.abs() ** (2 / FORM[0]) < 1
    radius = torch.ones_like(z) if kind == Shape.CYLINDER else (1 - z) / 2
    return (z.abs() < 1) & (around < radius**2) & (radius > 0)


def walk(kind: int, origin: Tensor, direction: Tensor, far: float, steps: int = 2000) -> Tensor:
    """Where rays [..., 3] first get inside a unit solid, by equal steps and then halving; inf where no step did."""
    t = torch.linspace(0, far, steps + 1, dtype=origin.dtype)
    found = inside(kind, origin[..., None, :] + t[:, None] * direction[..., None, :])
    first = found.to(torch.uint8).argmax(-1)
    low, high = t[(first - 1).clamp_min(0)], t[first]
    for _ in range(30):
        middle = (low + high) / 2
        within = inside(kind, origin + middle[..., None] * direction)
        low, high = torch.where(within, low, middle), torch.where(within, middle, high)
    return torch.where(found.any(-1), high, torch.inf)


def mesh(kind: int) -> trimesh.Trimesh:
    """The unit solid of a kind as a fine mesh."""
    if kind == Shape.BALL:
        return trimesh.creation.icosphere(subdivisions=5)
    if kind == Shape.BOX:
        return trimesh.creation.box(extents=(2, 2, 2))
    if kind == Shape.CYLINDER:
        return trimesh.creation.cylinder(radius=1, height=2, sections=512)
    cone = trimesh.creation.cone(radius=1, height=2, sections=512)
    return cone.apply_translation([0, 0, -float(np.mean(cone.bounds[:, 2]))])


def rays(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Origins and directions (camera z = 1) [*b, h, w, 3] of the rays through the pixels' centers, float64."""
    pose, K = cameras.world_from_camera.double(), cameras.K.double()
    height, width = cameras.hw
    u, v = torch.arange(width).double() + 0.5, torch.arange(height).double()[:, None] + 0.5
    x = (u - K[..., 0, 2, None, None]) / K[..., 0, 0, None, None]
    y = (v - K[..., 1, 2, None, None]) / K[..., 1, 1, None, None]
    x, y = torch.broadcast_tensors(x, y)
    right, down, forward = (pose[..., None, None, :3, axis] for axis in range(3))
    direction = right * x[..., None] + down * y[..., None] + forward
    return pose[..., None, None, :3, 3].expand_as(direction), direction


def object_truth(scene: Scene, b: int, n: int, cameras: Cameras, far: float) -> Tensor:
    """The z-depth at which the rays of cameras [f] enter object n of scene b, [f, h, w]; inf where they miss."""
    origin, direction = rays(cameras)
    position, turn = scene.motion.at(torch.zeros(len(scene), 1))
    rotation, size = turn[b, 0, n].double(), scene.size[b, n].double()
    local = (origin - position[b, 0, n].double()) @ rotation / size
    return walk(int(scene.kind[b, n]), local, direction @ rotation / size, far)


def scene_of(kinds: list[int], centers: Tensor, sizes: Tensor, rotations: Tensor | None = None) -> Scene:
    """One scene of gray solids over a gray ground (its last slot), under a sun 45 degrees high over +x."""
    gray = plain((0.5, 0.5, 0.5))
    build = Builder()
    for n, kind in enumerate(kinds):
        rotation = None if rotations is None else rotations[n].numpy()
        center, size = centers[n].numpy(), sizes[n].numpy()
        build.add(Shape(kind), center, size, gray, rotation=rotation, instance=build.thing())
    build.add(Shape.PLANE, (0, 0, 0), (1, 1, 1), gray, semantic=SemanticClass.GROUND)
    light = np.full(3, 0.4)
    return build.scene(
        to_sun=(math.sqrt(0.5), 0.0, math.sqrt(0.5)), sun=light, ambient=light, horizon=light, zenith=2 * light
    )
